"""Handles Ctrl-C, for which Typer would print nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import typer

from pixelwise.cli.messages import print_error

P = ParamSpec("P")
STOPPED = 130
"""Exit status of a program that Ctrl-C ended: 128 + SIGINT."""


def stoppable(verb: Callable[P, None]) -> Callable[P, None]:
    """Wraps a command so that Ctrl-C ends it with a sentence: what was saved, and how to continue."""

    @functools.wraps(verb)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            verb(*args, **kwargs)
        except KeyboardInterrupt as stop:
            print_error(str(stop) or "stopped.")
            raise typer.Exit(STOPPED) from None

    return wrapped
