"""What the user sees during a training run: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Protocol

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from pixelwise.terminal import Prose, console

BAR = 24
"""Width of the bar in characters, if there is room."""
MIN_BAR = 8


class Display(Protocol):
    """Shows what the loop reports."""

    def __enter__(self) -> Display: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def step(self, progress: float, values: Mapping[str, float], rate: float, left: float) -> None: ...
    def say(self, text: str) -> None: ...


class Silent:
    """Shows nothing; for tests, and for all processes but the first."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def step(self, progress: float, values: Mapping[str, float], rate: float, left: float) -> None:
        return None

    def say(self, text: str) -> None:
        return None


class Lines:
    """Prints a line every ten seconds, for logs and pipes."""

    def __init__(self, every: float = 10.0) -> None:
        self.every = every
        self._due = 0.0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def step(self, progress: float, values: Mapping[str, float], rate: float, left: float) -> None:
        """Prints how far the run is, unless it did so less than `every` seconds ago."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self.every
        self.say(f"{100 * progress:3.0f} %  {status(values, rate, left)}")

    def say(self, text: str) -> None:
        print(text, flush=True)


class _Status(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(str(task.fields["status"]))


class Bar:
    """A live line at the bottom of a terminal; `say` prints above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = BarColumn(bar_width=BAR)
        columns = (TextColumn("training"), self._bar, TextColumn("{task.percentage:>3.0f} %"), _Status())
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("training", total=1.0, status="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, progress: float, values: Mapping[str, float], rate: float, left: float) -> None:
        room = self._console.width - len("training   100 %   ")
        text = next(
            (fitting for fitting in _shorter(values, rate, left) if cell_len(fitting) + MIN_BAR <= room),
            f"{clock(left)} left",
        )
        self._bar.bar_width = max(min(BAR, room - cell_len(text)), 1)
        self._progress.update(self._task, completed=progress, status=text)

    def say(self, text: str) -> None:
        self._progress.console.print(Prose(text), soft_wrap=True)


def make_display() -> Display:
    """A bar on a terminal, lines elsewhere."""
    stream = console()
    return Bar(stream) if stream.is_terminal and sys.stdout.isatty() else Lines()


def status(values: Mapping[str, float], rate: float, left: float) -> str:
    """`loss 0.512  mean IoU 0.431  18.3 pictures/s  2:41 left`; without the rate while it is not known."""
    parts = [f"{label} {value:.3f}" for label, value in values.items()]
    if rate > 0:
        parts.append(f"{rate:.1f} pictures/s")
    return "  ".join([*parts, f"{clock(left)} left"])


def _shorter(values: Mapping[str, float], rate: float, left: float) -> Iterator[str]:
    """The status, then without the rate, then with fewer and fewer values."""
    yield status(values, rate, left)
    for count in range(len(values), -1, -1):
        yield status(dict(list(values.items())[:count]), 0.0, left)


def clock(seconds: float) -> str:
    """Seconds as `m:ss` or `h:mm:ss`.

    >>> clock(61), clock(3725)
    ('1:01', '1:02:05')
    """
    minutes, second = divmod(round(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
