"""How many threads a run uses while other programs keep cores busy.

The threads of an operation wait for the slowest of them. So a program that keeps one core busy does not just take its
share: with as many threads as cores, every operation waits for the thread on that core, and a step can take three times
as long. With one thread less it takes only as long as the remaining cores need.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from pixelwise.distributed import world_size

WINDOW, STEPS = 2.0, 2
"""The least seconds and the least steps over which the speed is measured."""
LOST = 0.3
"""If a run lacks more processor time than this, in cores, other programs may be using a core."""
BETTER = 1.1
"""Fewer threads have to be this many times as fast as all of them."""
SETTLING = 1
"""Steps after a change that are not measured: operations prepare themselves for the new number of threads."""
PAUSE, MAX_PAUSE = 15.0, 120.0
"""Seconds until the numbers of threads are compared again; they double each time, up to the second number."""
GLANCE = 0.3
"""Seconds of work that shows at the start whether other programs use cores."""
VALUES = 1 << 20
"""Size of the tensors of this work."""


class ThreadCount:
    """Leaves cores to other programs as long as that makes the run faster.

    If the threads get less processor time than they could use, one thread less is tried for each core that others seem
    to use, and kept if that is faster. After a pause, all threads are tried again.

    Args:
        limit: the number of threads at the start, and the largest one.
        clock, processor: seconds that have passed, and seconds of processor time that this process has used.
        use: sets the number of threads.
        work: something short that all threads do together.
    """

    def __init__(
        self,
        limit: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.process_time,
        use: Callable[[int], None] = torch.set_num_threads,
        work: Callable[[], object] = lambda: torch.ones(VALUES).exp_(),
    ) -> None:
        self.count = self.limit = limit
        self._clock, self._processor, self._use, self._work = clock, processor, use, work
        self._with_all: float | None = None
        """Steps per second with all threads, while fewer are measured."""
        self._pause, self._next = PAUSE, 0.0
        self.restart()

    def glance(self) -> None:
        """Chooses the first number of threads from a moment of work, without a comparison."""
        if self.limit == 1:
            return
        started, used = self._clock(), self._processor()
        while self._clock() - started < GLANCE:
            self._work()
        lost = self.count - (self._processor() - used) / (self._clock() - started)
        if lost > LOST:
            self._set(self._without(lost))
            self._next = self._clock() + self._pause

    def restart(self) -> None:
        """Begins to measure anew, for example after a validation."""
        self._steps, self._since, self._used = 0, self._clock(), self._processor()

    def tick(self) -> None:
        """Counts a step."""
        self._steps += 1
        elapsed = self._clock() - self._since
        if self._steps <= 0:
            self._since, self._used = self._clock(), self._processor()
        elif elapsed >= WINDOW and self._steps >= STEPS and self.limit > 1:
            lost = self.count - (self._processor() - self._used) / elapsed
            speed = self._steps / elapsed
            self.restart()
            self._decide(speed, lost)

    def stop(self) -> None:
        """Returns to the number of threads at the start."""
        self._set(self.limit)

    def _decide(self, speed: float, lost: float) -> None:
        """Chooses the number of threads after a measurement.

        Args:
            speed: steps per second.
            lost: processor time, in cores, that the threads did not use, because they got none or had to wait.
        """
        now = self._clock()
        if self._with_all is not None:
            if speed < BETTER * self._with_all:
                self._set(self.limit)
            self._with_all = None
            self._next = now + self._pause
            self._pause = min(2 * self._pause, MAX_PAUSE)
        elif self.count < self.limit:
            if now >= self._next:
                self._set(self.limit)
        elif lost <= LOST:
            self._pause = PAUSE
        elif now >= self._next:
            self._with_all = speed
            self._set(self._without(lost))

    def _without(self, lost: float) -> int:
        """The number of threads without the cores that others use: half of such a core is lost, the other half got."""
        return max(self.limit - max(round(2 * lost), 1), 1)

    def _set(self, count: int) -> None:
        if count != self.count:
            self.count = count
            self._use(count)
            self._steps = -SETTLING


@contextmanager
def free_cores(minutes: float | None, device: torch.device) -> Iterator[ThreadCount]:
    """The number of threads for a part of a run, which follows the load of the machine from the start of this part.

    It stays as it is in several processes, and in runs without a budget of minutes, which repeat to the byte.
    """
    follows = minutes is not None and device.type == "cpu" and world_size() == 1
    threads = ThreadCount(torch.get_num_threads() if follows else 1)
    threads.glance()
    threads.restart()
    try:
        yield threads
    finally:
        threads.stop()
