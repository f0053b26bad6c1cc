"""Decides what the values of masks mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data.codings import Coding, MaskCoding
from pixelwise.data.formats.mask_values import grey_levels, is_lossy
from pixelwise.data.pictures import probe, read_ids
from pixelwise.data.sample import VOID
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError


def values_of(mask: Path) -> np.ndarray:
    """The distinct values of a mask, ascending.

    Raises:
        UserError: a file that cannot be read, or values that are not ids.
    """
    ids = read_ids(mask)
    if ids.dtype == np.uint8:
        return np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
    return np.unique(ids)


def found_values(masks: Sequence[Path], enough: Callable[[set[int]], bool]) -> set[int]:
    """The distinct values of many masks; reads on only until `enough` of them are seen."""
    found: set[int] = set()
    for values in _in_parallel(masks):
        found.update(values.tolist())
        if enough(found):
            break
    return found


def _in_parallel(masks: Sequence[Path], chunk: int = 32) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(masks), chunk):
            yield from pool.map(values_of, masks[start : start + chunk])


@dataclass(frozen=True, slots=True)
class Decision:
    """How masks with one file per picture are read.

    Attributes:
        coding: what stored values mean.
        class_names: by class id.
        notes: sentences on what was assumed.
        guesses: sentences on what the values suggest, and how to overrule it.
    """

    coding: Coding
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()


def decide_coding(masks: Sequence[Path], class_names: tuple[str, ...] | None) -> Decision:
    """The coding of masks with one file per picture, and the class names.

    Masks are binary (0 and 255 are classes 0 and 1) if none holds any other value and at most two classes are named;
    shades of grey are classes in their order; otherwise values are class ids, and 255 is void. With three names or more
    not all masks need be read.

    Args:
        masks: one file per labelled picture.
        class_names: as given, or None.

    Raises:
        UserError: a mask that cannot be read, is in colour or lossy, or holds values beyond 255.
    """
    if class_names is not None and len(class_names) > 2:
        return coding_from_values(_sampled_values(masks), class_names)
    if class_names is None:
        for mask in even_sample(masks, 20):
            if is_lossy(read_ids(mask), probe(mask).kind):
                raise UserError(
                    f"{mask}: the mask was blurred, scaled or saved as JPEG, which added values between the class ids; "
                    "export the masks as PNG without smoothing, or let `pixelwise check DATA --fix DIR` write a copy "
                    "with the nearest ids; if all these values are ids, give their names in classes.txt."
                )
    found = found_values(masks, lambda values: class_names is not None and not values <= {0, VOID})
    if max(found) > VOID:
        raise UserError(
            f"{masks[0].parent}: mask values up to {max(found)} found, but class ids go from 0 to 254 "
            "(255 = void); if they number objects, read the dataset with the layout `labelmap`."
        )
    return coding_from_values(found, class_names)


def _sampled_values(masks: Sequence[Path]) -> set[int]:
    """The values of 20 masks; masks that cannot be read are reported later, when they are read."""
    found: set[int] = set()
    for mask in even_sample(masks, 20):
        try:
            found.update(values_of(mask).tolist())
        except UserError:
            continue
    return found


def coding_from_values(found: set[int], class_names: tuple[str, ...] | None) -> Decision:
    """The decision of `decide_coding`, from the distinct values of the masks."""
    notes: list[str] = []
    if class_names is not None and len(class_names) == 1:
        class_names = ("background", class_names[0])
        notes.append(f"classes.txt names one class, so 0 is read as background and the rest as {class_names[1]}.")
    if found <= {0, VOID} and (class_names is None or len(class_names) == 2):
        names: tuple[str, ...] = class_names or ("background", "foreground")
        notes.append(f"The masks hold 0 and 255 only: 0 is read as {names[0]}, 255 as {names[1]}.")
        return Decision(MaskCoding(kind="binary"), names, tuple(notes))
    levels = grey_levels(found, None if class_names is None else len(class_names))
    if levels:
        names = class_names or tuple(f"grey {value}" for value in levels)
        void = " 255 is void." if VOID in found and VOID not in levels else ""
        guess = (
            f"The values {', '.join(map(str, levels))} of the masks look like shades of grey and are read as classes 0 "
            f"to {len(levels) - 1} in this order: {', '.join(names)}.{void} If they are class ids, name all "
            f"{levels[-1] + 1} in classes.txt."
        )
        return Decision(
            MaskCoding(mapping={value: class_id for class_id, value in enumerate(levels)}), names, (), (guess,)
        )
    if class_names is None:
        top = max(found - {VOID}, default=0)
        class_names = tuple(f"class {class_id}" for class_id in range(top + 1))
        notes.append(
            f"There is no classes.txt, so the ids found in the masks make {top + 1} classes, class 0 to class {top}"
            f"{' (255 is void)' if VOID in found else ''}."
        )
    return Decision(MaskCoding(), class_names, tuple(notes))
