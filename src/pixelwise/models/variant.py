"""Constructors for a family of networks that differ in a few settings: VGG-11 to VGG-19, FCN-32s to FCN-8s."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def variant(
    name: str, family: Callable[..., Network], about: str, *, defaults: Mapping[str, Any] | None = None, **fixed: Any
) -> Callable[..., Network]:
    """Makes a constructor in which some of its family's keyword-only options are fixed.

    `inspect.signature` shows the remaining options with their defaults; the catalog checks options against it.

    Args:
        name: the constructor's name, as in its module.
        family: the constructor of the whole family.
        about: the docstring, which states this member's parameter counts.
        defaults: defaults that differ from the family's.
        fixed: the options that define this member; the new constructor does not take them.
    """
    signature = inspect.signature(family)
    changed = dict(defaults or {})
    for option in (*fixed, *changed):
        assert option in signature.parameters, f"{name}: {option} is not an option of {family.__name__}"
    options = [
        parameter.replace(default=changed.get(parameter.name, parameter.default))
        for parameter in signature.parameters.values()
        if parameter.name not in fixed
    ]

    def build(**given: Any) -> Network:
        return family(**fixed, **{**changed, **given})

    result = family if inspect.isclass(family) else signature.return_annotation
    build.__signature__ = signature.replace(parameters=options, return_annotation=result)  # type: ignore[attr-defined]
    build.__name__ = build.__qualname__ = name
    build.__module__ = family.__module__
    build.__doc__ = about
    return build
