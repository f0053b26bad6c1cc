"""Checks of what masks hold: colours, ids, classes, void."""

from __future__ import annotations

import numpy as np

from pixelwise.data.codings import MaskCoding
from pixelwise.data.doctor.diagnosis import FIX, Finding, Findings, Severity
from pixelwise.data.doctor.examination import Examination
from pixelwise.data.fingerprint import sqrt_median_frequency_weights
from pixelwise.data.listing import counted, some
from pixelwise.data.sample import VOID

MAX_UNEQUAL = 100
"""A dataset is imbalanced if the most frequent class has at least this many times the pixels of the rarest."""


def coloured_masks(ex: Examination) -> Findings:
    """Masks that are colour pictures, and masks with colours or values between the classes."""
    # Objects may have soft edges, and soft edges between black and white are split at half of the range.
    soft = ex.coding.kind in ("objects", "layers") or ex.halved
    lossy = [mask for mask in ex.masks if mask.lossy and (mask.in_colour or not (soft or _named(ex, mask.top)))]
    coloured = [mask for mask in ex.masks if mask.in_colour and not mask.lossy]
    palette = ex.coding.palette if isinstance(ex.coding, MaskCoding) else {}
    unknown = sorted({colour for mask in coloured for colour in mask.colours} - palette.keys())
    if palette and unknown:
        shown = some([f"rgb({colour >> 16}, {colour >> 8 & 255}, {colour & 255})" for colour in unknown], 3)
        yield Finding(
            "error",
            "mask-rgb",
            f"{counted(len(coloured), 'mask holds', 'masks hold')} colours of no class ({shown}); add them to the file "
            f"that gives the colours of the classes, or let {FIX} make a class of each.",
            tuple(ex.relative(mask.file) for mask in coloured),
        )
    elif coloured:
        colours = {colour for mask in coloured for colour in mask.colours}
        yield Finding(
            "error",
            "mask-rgb",
            f"{counted(len(coloured), 'mask is a colour picture', 'masks are colour pictures')} ({len(colours)} "
            f"colours), but a mask must hold one class id per pixel; {FIX} turns each colour into an id (give "
            "colors.txt with lines `name r g b` to choose names and order).",
            tuple(ex.relative(mask.file) for mask in coloured),
        )
    if lossy:
        yield Finding(
            "error",
            "mask-lossy",
            f"{counted(len(lossy), 'mask was', 'masks were')} smoothed or saved as JPEG, which added colours or values "
            f"between the classes; export again as PNG without smoothing, or let {FIX} give every pixel the nearest "
            "frequent one.",
            tuple(ex.relative(mask.file) for mask in lossy),
        )


ODD_SHAPES: tuple[tuple[str, Severity, str, str, str, str], ...] = (
    (
        "beyond", "warning", "shape-beyond", "shape reaches", "shapes reach",
        "far beyond the picture, as if drawn on a larger version of it, and will be cut off at its edge; export again "
        "for exactly these pictures.",
    ),
    (
        "cut_off", "warning", "box-cut-off", "box reaches", "boxes reach",
        "beyond the picture by more than a pixel, and will be cut off at its edge; see whether it was drawn on exactly "
        "this picture.",
    ),
    (
        "flat", "warning", "box-flat", "box has", "boxes have",
        "no width or no height, so that there is no object to find; delete it, or draw it again.",
    ),
    (
        "contradicting", "warning", "object-two-classes", "object has", "objects have",
        "two classes: two shapes lie on the same pixels, or nearly so; delete the wrong one.",
    ),
    (
        "doubled", "warning", "shape-doubled", "object is", "objects are",
        "annotated twice: two shapes of one class lie on the same pixels; delete one of each pair.",
    ),
    (
        "tiny", "warning", "shape-tiny", "object is", "objects are",
        "a single pixel, as after an accidental click; delete it, or draw the outline of what it stands for.",
    ),
    (
        "vanishing", "note", "shape-vanishes", "shape covers", "shapes cover",
        "no pixel's centre, because it is smaller than a pixel or outside the picture, and will not be seen.",
    ),
)  # fmt: skip
"""Attribute of `MaskLook`, severity and code of the finding, and the words of its sentence after the number."""


def shapes(ex: Examination) -> Findings:
    """Shapes that cannot be drawn, and shapes that are probably mistakes."""
    if ex.coding.kind not in ("shapes", "points"):
        return
    broken = [(look, mask) for look in ex.looks for mask in look.masks if mask.troubles]
    if broken:
        yield Finding(
            "error",
            "shape-broken",
            f"The shapes of {counted(len(broken), 'picture', 'pictures')} cannot be drawn; correct the entries "
            f"in the annotation file, or let {FIX} leave these pictures out.",
            tuple(f"{look.record.name}: {trouble}" for look, mask in broken for trouble in mask.troubles),
        )
    for kind, severity, code, one, many, rest in ODD_SHAPES:
        entries = tuple(
            f"{look.record.name}, {entry}"
            for look in ex.looks
            for mask in look.masks
            for entry in getattr(mask.odd, kind)
        )
        if entries:
            yield Finding(severity, code, f"{counted(len(entries), one, many)} {rest}", entries)
    yield Finding(
        "note",
        "shapes",
        "The labels are shapes in annotation files, drawn at each picture's size. Whether they were drawn on exactly "
        "these pictures cannot be checked; look at some." + ("" if ex.boxes_alone else f" {FIX} writes them as masks."),
    )


def _named(ex: Examination, top: int) -> bool:
    return ex.survey.class_names is not None and top < len(ex.survey.class_names)


def ids(ex: Examination) -> Findings:
    """Ids beyond the classes, ids with gaps like those of shades of grey, and what 255 means."""
    if ex.coding.kind in ("objects", "layers", "shapes", "points", "values", "keypoints", "pairs"):
        return
    clean = [mask for mask in ex.masks if not (mask.damage or mask.lossy or mask.in_colour)]
    yield from _zero_and_255(ex)
    given, names = ex.survey.class_names, ex.class_names
    beyond = []
    for mask in clean:
        ids = {mask.top} if mask.values is None else set(np.flatnonzero(mask.values).tolist())
        ids -= {VOID, *ex.mapping}
        if ids and max(ids) >= len(names):
            beyond.append(f"{ex.relative(mask.file)} (id {max(ids)})")
    if beyond:
        yield Finding(
            "error",
            "id-beyond-classes",
            f"{counted(len(beyond), 'mask holds', 'masks hold')} ids beyond the {len(names)} classes (0 to "
            f"{len(names) - 1}); add the missing names to classes.txt, or set those pixels to 255 (void).",
            tuple(beyond),
        )
    found = {int(value) for mask in clean if mask.values is not None for value in np.flatnonzero(mask.values)} - {VOID}
    if given is None and ex.coding.kind == "ids" and not ex.mapping and found and 2 * len(found) < max(found) + 1:
        yield Finding(
            "warning",
            "sparse-ids",
            f"Only {len(found)} of the ids 0 to {max(found)} occur in the masks ({some(sorted(found))}), as if they "
            f"were shades of grey"
            + (
                ", with 255 for void or for white"
                if any(mask.values is not None and mask.values[VOID] for mask in clean)
                else ""
            )
            + f"; {FIX} numbers them from 0, or name all of them in classes.txt.",
        )


def _zero_and_255(ex: Examination) -> Findings:
    binary = tuple(ex.relative(mask.file) for mask in ex.masks if mask.is_0_and_255 and not mask.lossy)
    if not binary or ex.mapping:
        return
    if ex.coding.kind == "binary":
        yield Finding(
            "note",
            "mask-0-255",
            f"The masks hold 0 and 255: 0 is read as {ex.class_names[0]} (class 0), 255 as {ex.class_names[1]} "
            "(class 1).",
            binary,
        )
    elif too_many_names(ex):
        yield Finding(
            "error",
            "mask-0-255",
            f"The masks hold 0 and 255 only, but classes.txt names {len(ex.class_names)} classes, so that 255 would be "
            f"read as void; list two names in classes.txt, or let {FIX} write 255 as class 1.",
            binary,
        )
    elif mixed_binary(ex):
        yield Finding(
            "error",
            "mask-0-255",
            f"{counted(len(binary), 'mask marks', 'masks mark')} the foreground with 255 and the others with 1, where "
            f"255 means void; {FIX} writes 1 everywhere.",
            binary,
        )


def too_many_names(ex: Examination) -> bool:
    """Whether all masks hold only 0 and 255, but three classes or more are named."""
    masks = [mask for mask in ex.masks if mask.values is not None and not mask.lossy]
    return (
        ex.coding.kind == "ids"
        and not ex.mapping
        and len(ex.class_names) > 2
        and all(mask.is_0_or_255 for mask in masks)
        and any(mask.is_0_and_255 for mask in masks)
    )


def mixed_binary(ex: Examination) -> bool:
    """Whether the foreground is written in two ways: some masks hold only 0 and 255, most others only 0 and 1, and no
    mask holds 255 in addition to other values."""
    masks = [mask for mask in ex.masks if mask.values is not None and not mask.lossy]
    others = [mask.values for mask in masks if not mask.is_0_or_255 and mask.values is not None]
    return (
        ex.coding.kind == "ids"
        and any(mask.is_0_and_255 for mask in masks)
        and len(ex.class_names) <= 2
        and 2 * sum(not values[2:].any() for values in others) > len(others)
        and not any(values[255] for values in others)
    )


def classes(ex: Examination) -> Findings:
    """Classes that are missing from a split or rare, and masks without a labelled pixel or with a single class."""
    if not ex.has_masks or ex.boxes_alone:
        return
    counts = {look.record.name: found for look in ex.looks if (found := ex.class_counts(look)) is not None}
    if not counts or not ex.class_names or too_many_names(ex) or mixed_binary(ex):
        return
    classes = len(ex.class_names)
    pixels = np.sum(list(counts.values()), axis=0)
    yield from _void(ex, counts, pixels)
    for split, consequence in (("train", "cannot be learned"), ("val", "cannot be measured")):
        names = [name for name in ex.splits.get(split, ()) if name in counts]
        if names:
            there = np.sum([counts[name] for name in names], axis=0)[:classes]
            # Without given names, an id that never occurs is not a class.
            expected = np.ones(classes, bool) if ex.survey.class_names else pixels[:classes] > 0
            absent = tuple(ex.class_names[class_id] for class_id in np.flatnonzero(expected & (there == 0)))
            if absent:
                yield Finding(
                    "warning",
                    "class-absent-from-split",
                    f"{some(absent)} {'never occurs' if len(absent) == 1 else 'never occur'} in {split} and "
                    f"{consequence}; label pictures that show {'it' if len(absent) == 1 else 'them'}, or move some "
                    f"from another split to {split}.",
                )
    train = np.stack(
        [counts[name][:classes] for name in ex.splits.get("train", counts) if name in counts] or [pixels[:classes]]
    )
    frequent, rarest = int(train.sum(axis=0).argmax()), _rarest(train.sum(axis=0))
    ratio = train[:, frequent].sum() / max(train[:, rarest].sum(), 1)
    if frequent != rarest and ratio >= MAX_UNEQUAL:
        present = (train.sum(axis=1, keepdims=True) * (train > 0)).sum(axis=0)
        weights = sqrt_median_frequency_weights(train.sum(axis=0).tolist(), present.tolist())
        lightest, *_, heaviest = sorted(
            (weight, name) for weight, name in zip(weights, ex.class_names, strict=True) if weight
        )
        yield Finding(
            "warning",
            "imbalance",
            f"{ex.class_names[rarest]} has {ratio:,.0f} times fewer pixels than {ex.class_names[frequent]}; training "
            f"will use class weights, the square roots of those of median frequency balancing, from "
            f"{lightest[0]:.3g} for {lightest[1]} to {heaviest[0]:.3g} for {heaviest[1]}.",
        )


def _rarest(pixels: np.ndarray) -> int:
    """The class with the fewest pixels among those that occur."""
    return int(np.where(pixels > 0, pixels, np.iinfo(np.int64).max).argmin())


def _void(ex: Examination, counts: dict[str, np.ndarray], pixels: np.ndarray) -> Findings:
    if ex.coding.kind in ("ids", "shapes"):
        blank = tuple(name for name, found in counts.items() if found[VOID] == found.sum())
        if blank:
            yield Finding(
                "warning",
                "all-void",
                f"{counted(len(blank), 'mask holds', 'masks hold')} nothing but 255 (void), which teaches nothing; "
                "label the picture or move it out.",
                blank,
            )
        share = (pixels[VOID] - sum(counts[name][VOID] for name in blank)) / max(pixels.sum(), 1)
        if share > 0.5:
            yield Finding(
                "warning",
                "void-heavy",
                f"{share:.0%} of all pixels are void (255) and teach nothing; if 255 stands for a class, give it "
                "the next free id.",
            )
    empty = tuple(name for name, found in counts.items() if found[0] == found.sum())
    if 2 * len(empty) > len(counts):
        yield Finding(
            "warning",
            "empty-masks",
            f"{len(empty)} of {len(counts)} masks show nothing but {ex.class_names[0]} (id 0); make sure that they "
            "were exported with their labels.",
            empty,
        )
