"""Builds networks from the keywords that a user gave."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pixelwise.errors import UserError, unknown

N = TypeVar("N")


def keywords(build: Callable[..., object]) -> list[str]:
    """The keywords of a constructor."""
    return list(inspect.signature(build).parameters)


def construct(name: str, build: Callable[..., N], options: Mapping[str, Any]) -> N:
    """Calls `build(**options)` and reports keywords that are unknown or missing.

    Raises:
        UserError: an option is unknown or missing, or the constructor refuses a value.
    """
    allowed = keywords(build)
    for option in options:
        if option not in allowed:
            raise unknown(f"option of {name}:", option, allowed)
    try:
        return build(**options)
    except TypeError as error:
        raise UserError(f"{name}: {error}; its options are {', '.join(allowed)}.") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, ValueError) as error:
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{name}: cannot be built with {given} ({reason}); change or remove one of them.") from error
