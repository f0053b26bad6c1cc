"""Schedules of the learning rate: factors of its peak for a progress from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable

from pixelwise.errors import unknown

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    return 1.0


def cosine(progress: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov & Hutter, ICLR 2017, equation 5, one period)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def poly(progress: float) -> float:
    """(1 - progress) ** 0.9, the schedule of DeepLab and PSPNet."""
    return (1 - progress) ** 0.9


def late_linear(progress: float) -> float:
    """1 in the first half, then linear to 0, as pix2pix's and CycleGAN's code decays (Zhu et al., section 7.1)."""
    return min(1.0, 2 * (1 - progress))


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "late_linear": late_linear,
    "poly": poly,
}


def make_schedule(name: str, *, warmup: float = 0.0, final: float = 0.0) -> Schedule:
    """The schedule with this name, after a linear rise over the first `warmup` share of the run.

    `cosine` with a warm-up of 0.1 to 0.3 is the one-cycle policy (Smith & Topin 2019).

    Args:
        final: the factor at the end; the decay goes from 1 to this factor.

    Raises:
        UserError: unknown name.
    """
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    decay = SCHEDULES[name]

    def schedule(progress: float) -> float:
        progress = min(max(progress, 0.0), 1.0)
        if progress < warmup:
            return max(progress / warmup, 0.02)
        return final + (1 - final) * decay((progress - warmup) / (1 - warmup))

    return schedule
