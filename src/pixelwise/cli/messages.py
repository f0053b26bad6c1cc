"""Sentences on the error stream: errors, and what the package logs."""

from __future__ import annotations

import logging


def print_error(sentence: str) -> None:
    """Prints an error; its first line begins with the name of the program."""
    from pixelwise.terminal import Prose, show

    show(Prose(sentence, first="pixelwise: ", rest="  "), stderr=True)


class Messages(logging.Handler):
    """Shows log records as paragraphs that fit the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        from pixelwise.terminal import show

        show(self.format(record), stderr=True)
