"""Constructors of a family of networks that differ in a few settings: VGG-11 to VGG-19, FCN-32s to FCN-8s."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def variant(
    name: str, family: Callable[..., Network], about: str, *, defaults: Mapping[str, Any] | None = None, **fixed: Any
) -> Callable[..., Network]:
    """A constructor with some of its family's keyword-only options fixed.

    `inspect.signature` of it shows the remaining options with their defaults: the catalog checks options against it.

    Args:
        name: of the constructor, as it is called in its module.
        family: the constructor of the whole family.
        about: the docstring, which states the figures of this member.
        defaults: defaults that differ from the family's.
        fixed: the options that make this member what it is; they are not options of the result.
    """
    signature = inspect.signature(family)
    changed = dict(defaults or {})
    for option in (*fixed, *changed):
        assert option in signature.parameters, f"{name}: {option} is no option of {family.__name__}"
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
