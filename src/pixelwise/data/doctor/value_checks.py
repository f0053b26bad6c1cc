"""Checks of maps of numbers, the labels of per-pixel regression."""

from __future__ import annotations

from pixelwise.data.doctor.diagnosis import Finding, Findings
from pixelwise.data.doctor.examination import Examination
from pixelwise.data.listing import counted


def maps(ex: Examination) -> Findings:
    """Maps that cannot be read at their picture's size, and maps without a known value."""
    if ex.coding.kind != "values":
        return
    troubles = tuple(trouble for mask in ex.masks for trouble in mask.troubles)
    if troubles:
        yield Finding(
            "error",
            "map-broken",
            f"{counted(len(troubles), 'map', 'maps')} of values cannot be read; correct or remove them.",
            troubles,
        )
    blank = tuple(ex.relative(mask.file) for mask in ex.masks if not mask.damage and not mask.nonzero)
    if blank:
        yield Finding(
            "error" if len(blank) == len(ex.masks) else "warning",
            "all-void",
            f"{counted(len(blank), 'map holds', 'maps hold')} no known value, which teaches nothing; correct the "
            "`void` of values.txt, or remove these pictures.",
            blank,
        )
