"""A progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pixelwise.terminal.prose import console


@contextmanager
def progress_bar(title: str, wanted: bool) -> Iterator[Callable[[float], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    from rich.progress import Progress  # not needed for help

    stream = console(stderr=True)
    if not (wanted and stream.is_terminal):
        yield lambda done: None
        return
    with Progress(console=stream, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda done: bar.update(task, completed=done)
