"""Checks of pictures of two kinds, from which networks learn to translate one into the other."""

from __future__ import annotations

from pixelwise.data.doctor.diagnosis import Finding, Findings
from pixelwise.data.doctor.examination import Examination
from pixelwise.data.listing import counted


def partners(ex: Examination) -> Findings:
    """Other pictures that cannot be read, or that differ in size from the picture of their pair."""
    if ex.coding.kind != "pairs":
        return
    troubles = tuple(
        dict.fromkeys(trouble for mask in ex.masks if mask.damage == "undrawn" for trouble in mask.troubles)
    )
    if troubles:
        yield Finding(
            "error",
            "partner-broken",
            f"{counted(len(troubles), 'picture does', 'pictures do')} not fit the picture of the pair; correct or "
            "remove the pair.",
            troubles,
        )


def gaps(ex: Examination) -> Findings:
    """Other pictures with values that are missing."""
    if ex.coding.kind != "pairs":
        return
    holed = tuple(dict.fromkeys(trouble for mask in ex.masks if not mask.damage for trouble in mask.troubles))
    if holed:
        yield Finding(
            "warning",
            "no-data",
            f"{counted(len(holed), 'picture of the other kind lacks', 'pictures of the other kind lack')} some values: "
            "NaN, infinite, extreme, or equal to the no-data value. They are filled with the mean of their channel, "
            "which networks then learn to draw there; crop these pictures, or leave them out.",
            holed,
        )


def halves(ex: Examination) -> Findings:
    """Files of two pictures side by side that cannot be divided in the middle."""
    odd = tuple(ex.relative(look.record.picture) for look in ex.looks if look.damage == "odd-width")
    if odd:
        yield Finding(
            "error",
            "odd-width",
            f"{counted(len(odd), 'file of two pictures side by side is', 'files of two pictures side by side are')} an "
            "odd number of pixels wide, so the two are not equally wide; save both pictures at one width, or as two "
            "files in a/ and b/.",
            odd,
        )
