"""The number of threads of a run, on a machine that is simulated."""

from __future__ import annotations

import pytest
import torch

from pixelwise.training.threads import MAX_PAUSE, ThreadCount, free_cores


class Machine:
    """Cores, some of which other programs keep busy; a step takes half a second on a single idle core."""

    def __init__(self, cores: int) -> None:
        self.cores, self.busy, self.waits = cores, 0, 0.0
        self.now = self.used = 0.0
        self.history: list[int] = []
        self.threads = ThreadCount(
            cores,
            clock=lambda: self.now,
            processor=lambda: self.used,
            use=self.history.append,
            work=self.work,
        )

    def step(self) -> None:
        self.work()
        self.now += self.waits
        self.threads.tick()

    def work(self) -> None:
        count = self.threads.count
        shared = max(count - (self.cores - self.busy), 0)  # threads on cores that other programs use
        seconds = 0.5 / count * (3 if shared else 1)
        self.now += seconds
        self.used += (count - 0.5 * shared) * seconds

    def run(self, seconds: float) -> list[int]:
        """The number of threads in each step of that time."""
        counts, end = [], self.now + seconds
        while self.now < end:
            counts.append(self.threads.count)
            self.step()
        return counts


def test_an_idle_machine_is_left_alone() -> None:
    machine = Machine(4)
    assert set(machine.run(300)) == {4}
    assert not machine.history


@pytest.mark.parametrize(("cores", "busy"), [(2, 1), (4, 1), (4, 2)])
def test_cores_that_others_use_are_avoided(cores: int, busy: int) -> None:
    machine = Machine(cores)
    machine.busy = busy
    counts = machine.run(600)
    assert sum(count == cores - busy for count in counts) > 0.9 * len(counts)
    machine.busy = 0
    machine.run(MAX_PAUSE + 10)
    assert set(machine.run(60)) == {cores}
    machine.threads.stop()
    assert machine.threads.count == cores


def test_fewer_threads_that_do_not_help_are_tried_rarely() -> None:
    """A run that waits for its data also uses little processor time."""
    machine = Machine(2)
    machine.waits = 0.2
    counts = machine.run(900)
    assert counts.count(1) < 0.1 * len(counts)
    assert 1 in machine.history  # it was tried


@pytest.mark.parametrize(("cores", "busy", "expected"), [(4, 0, 4), (4, 1, 3), (2, 1, 1), (2, 2, 1), (1, 1, 1)])
def test_a_glance_finds_the_free_cores(cores: int, busy: int, expected: int) -> None:
    machine = Machine(cores)
    machine.busy = busy
    machine.threads.glance()
    assert machine.threads.count == expected


def test_a_glance_that_erred_is_corrected() -> None:
    machine = Machine(4)
    machine.busy = 2
    machine.threads.glance()
    machine.busy = 0
    machine.run(MAX_PAUSE)
    assert set(machine.run(60)) == {4}


@pytest.mark.parametrize(("minutes", "follows"), [(1.0, True), (None, False)])
def test_only_runs_with_a_budget_of_minutes_follow(minutes: float | None, follows: bool) -> None:
    before = torch.get_num_threads()
    with free_cores(minutes, torch.device("cpu")) as threads:
        assert threads.limit == (before if follows else 1)
        torch.set_num_threads(1)
        threads.count = 1
    assert torch.get_num_threads() == (before if follows else 1)
    torch.set_num_threads(before)


def test_a_single_thread_stays() -> None:
    machine = Machine(1)
    machine.busy = 1
    assert set(machine.run(100)) == {1}


def test_measuring_begins_anew() -> None:
    """A validation, in which no step was done, does not count as slowness."""
    machine = Machine(2)
    for _ in range(40):
        machine.run(1)
        machine.now += 30
        machine.threads.restart()
    assert not machine.history
