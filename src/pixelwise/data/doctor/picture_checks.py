"""Checks of what pictures hold: channels, depths, orientation, missing values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from pixelwise.data.doctor.diagnosis import FIX, Finding, Findings
from pixelwise.data.doctor.examination import Examination
from pixelwise.data.doctor.look import Look
from pixelwise.data.formats.forms import PAGES_AS_CHANNELS, form_of, seen_channels, seen_dtype
from pixelwise.data.listing import counted
from pixelwise.data.pictures import FULL_RANGE

APART = 50
"""A picture of floats has a different range if its largest value is this many times above or below that of most."""
DARK = 1 / 8
"""A 16-bit picture is dark if all of its values lie below this part of the range."""


def forms(ex: Examination) -> Findings:
    """Pictures whose channels or orientation differ from those of most pictures."""
    sound = [look for look in ex.looks if not look.damage]
    headers = [(ex.relative(look.record.picture), look.header) for look in sound if look.header is not None]
    sizes_agree = {ex.relative(look.record.picture) for look in ex.looks if look.fits}
    channels = Counter(seen_channels(header) for _, header in headers)
    usual = max(channels, key=lambda count: (channels[count], count), default=3)

    def where(wanted: Callable[..., bool]) -> tuple[str, ...]:
        return tuple(name for name, header in headers if wanted(header))

    odd = where(lambda header: seen_channels(header) != usual and {seen_channels(header), usual} != {1, 3})
    grey = where(lambda header: seen_channels(header) == 1) if usual == 3 else ()
    cmyk = where(lambda header: header.mode == "CMYK")
    alpha = where(lambda header: header.has_alpha)
    rotated = tuple(name for name in where(lambda header: header.rotated) if name in sizes_agree)
    if odd:
        yield Finding(
            "error",
            "channels",
            f"{counted(len(odd), 'picture differs', 'pictures differ')} in the number of channels from most pictures, "
            f"which have {usual}, and there is no natural conversion; convert or move out.",
            odd,
        )
    if cmyk:
        yield Finding(
            "warning",
            "cmyk",
            f"{counted(len(cmyk), 'picture is', 'pictures are')} CMYK, made for print, and converted to RGB without a "
            f"colour profile; if exact colours matter, convert with a profile ({FIX} writes RGB without one).",
            cmyk,
        )
    if alpha:
        yield Finding(
            "note",
            "alpha",
            f"{counted(len(alpha), 'picture has', 'pictures have')} an alpha channel, which is dropped while reading.",
            alpha,
        )
    if grey:
        yield Finding(
            "note",
            "grey-among-colour",
            f"{counted(len(grey), 'grey picture', 'grey pictures')} among coloured ones: read as RGB.",
            grey,
        )
    if rotated:
        yield Finding(
            "note",
            "exif-rotated",
            f"{counted(len(rotated), 'picture is', 'pictures are')} turned upright by the orientation tag while "
            "reading; the masks fit in size, but make sure that they were drawn on the upright picture.",
            rotated,
        )


def pages(ex: Examination) -> Findings:
    """Files that hold several pictures, or one picture in several pages."""
    paged = _where(ex, lambda look: look.header is not None and look.header.meaning == "unknown" and not look.damage)
    several = _where(ex, lambda look: look.header is not None and look.header.frames > 1)
    if paged:
        yield Finding(
            "warning",
            "pages",
            f"{counted(len(paged), 'picture is', 'pictures are')} among {PAGES_AS_CHANNELS}",
            paged,
        )
    if several:
        yield Finding(
            "note",
            "frames",
            f"{counted(len(several), 'file holds', 'files hold')} several pictures (an animation, or pages of several "
            "sizes): the first of the largest ones is read.",
            several,
        )


def gaps(ex: Examination) -> Findings:
    """Pictures with pixels that have no value."""
    holed = [look for look in ex.looks if look.gaps]
    empty = tuple(ex.relative(look.record.picture) for look in holed if look.gaps == 1)
    if empty:
        yield Finding(
            "error",
            "no-data",
            f"{counted(len(empty), 'picture holds', 'pictures hold')} no value at all (NaN, infinity or the no-data "
            "value everywhere); move out or export again.",
            empty,
        )
    partly = tuple(f"{ex.relative(look.record.picture)} ({look.gaps:.1%})" for look in holed if look.gaps < 1)
    if partly:
        yield Finding(
            "warning",
            "no-data",
            f"{counted(len(partly), 'picture lacks', 'pictures lack')} some values: NaN, infinite, extreme, or equal "
            "to the no-data value (-9999, or what the file states). They are filled with the mean of their channel; "
            "pixels without any value are void in training and in predictions.",
            partly,
        )


def lone_values(ex: Examination) -> Findings:
    """Values that may stand for "no value" although no tag says so."""
    lone = tuple(
        f"{ex.relative(look.record.picture)} ({look.lone[0]:g} in {look.lone[1]:.1%})" for look in ex.looks if look.lone
    )
    if lone:
        yield Finding(
            "warning",
            "no-data",
            f"In {counted(len(lone), 'picture', 'pictures')}, many pixels hold one value far beyond all others, as if "
            "it stood for a missing value; it is read as a value. If values are missing there, write NaN, or state "
            "this value in the file's no-data tag (gdal_edit.py -a_nodata).",
            lone,
        )


def depths(ex: Examination) -> Findings:
    """Pictures whose range of values differs from that of most pictures."""
    looks = [look for look in ex.looks if look.header is not None and not look.damage]
    if not looks:
        return
    usual = form_of([look.header for look in looks if look.header is not None]).dtype
    deep = _of_dtype(looks, "uint16")
    if deep:
        yield Finding(
            "note",
            "sixteen-bit",
            f"{counted(len(deep), 'picture holds', 'pictures hold')} 16 bits per channel, of {len(looks)}; all are "
            "read at the depth of most pictures.",
            _named(ex, deep),
        )
    if usual == "float32":
        yield from _among_floats(ex, looks)
    else:
        yield from _among_integers(ex, looks, usual)


def _among_floats(ex: Examination, looks: list[Look]) -> Findings:
    whole = [*_of_dtype(looks, "uint8"), *_of_dtype(looks, "uint16")]
    floats = [look for look in _of_dtype(looks, "float32") if look.gaps < 1]
    known = [look.values for look in floats if look.values is not None]
    if whole and known:
        low, high = min(each[0] for each in known), max(each[1] for each in known)
        yield Finding(
            "warning",
            "depths",
            f"{counted(len(whole), 'picture holds', 'pictures hold')} integers up to 255 or 65,535 among pictures of "
            f"floats ({low:.6g} to {high:.6g}) and keep their values; bring all pictures to one range.",
            _named(ex, whole),
        )
    sizes = [max(abs(low), abs(high)) for low, high in known]
    usual = float(np.median(sizes)) if sizes else 0.0
    odd = [look for look, size in zip(floats, sizes, strict=True) if size and not 1 / APART < size / usual < APART]
    if usual and odd:
        yield Finding(
            "warning",
            "depths",
            f"{counted(len(odd), 'picture holds', 'pictures hold')} floats in a different range from most (up to about "
            f"{usual:.3g}), as if 0 to 1 stood for 0 to 255; bring all pictures to one range.",
            _named(ex, odd),
        )


def _among_integers(ex: Examination, looks: list[Look], usual: str) -> Findings:
    full = FULL_RANGE[usual]
    floats = [(look, look.values) for look in _of_dtype(looks, "float32") if look.values is not None]
    fractions = [look for look, (low, high) in floats if low >= 0 and high <= 1]
    beyond = [look for look, (low, high) in floats if low < 0 or high > full]
    if fractions:
        yield Finding(
            "note",
            "depths",
            f"{counted(len(fractions), 'picture holds', 'pictures hold')} floats from 0 to 1 among pictures of 0 to "
            f"{full:,.0f}: multiplied by {full:,.0f} while reading, unless all of its values are 0 or 1.",
            _named(ex, fractions),
        )
    if beyond:
        yield Finding(
            "warning",
            "depths",
            f"{counted(len(beyond), 'picture holds', 'pictures hold')} floats beyond 0 to {full:,.0f}, the range of "
            "most pictures, and values outside of it are cut off; bring all pictures to one range.",
            _named(ex, beyond),
        )
    deep = [(look, look.values[1]) for look in _of_dtype(looks, "uint16") if look.values is not None]
    dark = [look for look, high in deep if high < DARK * FULL_RANGE["uint16"]]
    bright = _of_dtype(looks, "uint8")
    if usual == "uint8" and dark:
        yield Finding(
            "warning",
            "dark",
            f"{counted(len(dark), 'picture of 16 bits uses', 'pictures of 16 bits use')} only the lowest values (as "
            "those of cameras of 10 to 12 bits do) and will be almost black among pictures of 8 bits; stretch the "
            "values to 0 to 65,535, or save these pictures with 8 bits.",
            tuple(f"{ex.relative(look.record.picture)} (up to {high:,.0f})" for look, high in deep if look in dark),
        )
    if usual == "uint16" and bright and np.median([high for _, high in deep]) < DARK * FULL_RANGE["uint16"]:
        yield Finding(
            "warning",
            "depths",
            f"{counted(len(bright), 'picture of 8 bits is', 'pictures of 8 bits are')} stretched to 0 to 65,535, while "
            "most pictures of 16 bits use only the lowest values; bring all pictures to one range.",
            _named(ex, bright),
        )


def _of_dtype(looks: list[Look], dtype: str) -> list[Look]:
    return [look for look in looks if look.header is not None and seen_dtype(look.header) == dtype]


def _named(ex: Examination, looks: list[Look]) -> tuple[str, ...]:
    return tuple(ex.relative(look.record.picture) for look in looks)


def _where(ex: Examination, wanted: Callable[[Look], bool]) -> tuple[str, ...]:
    return tuple(ex.relative(look.record.picture) for look in ex.looks if wanted(look))
