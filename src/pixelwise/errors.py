"""Errors in what the user gave, each explained in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input, with a sentence that names what is wrong, in which file, expected against found, and how to fix it.

    The command line prints the sentence and exits with status 1; `--debug` shows the traceback as well.

    Args:
        code: code of the doctor's finding about such a file; empty if there is no special code.
    """

    def __init__(self, sentence: str = "", *, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


class NotFinite(UserError):
    """A network computed NaN or infinite numbers."""


def unknown(kind: str, name: object, known: Iterable[str]) -> UserError:
    """The error for a name (or a value instead of a name) that is not in `known`, with the nearest known name.

    >>> str(unknown("model", "unte", ["unet", "segnet"]))
    "unknown model 'unte'; did you mean 'unet'? Known: segnet, unet"
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return UserError(f"unknown {kind} '{name}'{hint} Known: {', '.join(names)}")
