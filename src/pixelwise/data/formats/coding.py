"""From the values that masks hold to what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from pixelwise.data.dataset import MaskCoding
from pixelwise.data.pictures import probe, read_ids
from pixelwise.data.sample import VOID
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError


def values_of(mask: Path) -> np.ndarray:
    """The distinct values of a mask, rising.

    Raises:
        UserError: unreadable, or no ids.
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


def decide_coding(
    masks: Sequence[Path], class_names: tuple[str, ...] | None
) -> tuple[MaskCoding, tuple[str, ...], list[str]]:
    """The coding of one-file masks, the class names, and sentences on what was assumed.

    Masks are binary (0 and 255 are classes 0 and 1) if none holds any other value and at most two classes are named;
    otherwise values are class ids, and 255 is void. With three names or more nothing is read.

    Args:
        masks: one file a labelled picture.
        class_names: as given, or None.

    Raises:
        UserError: a mask that is unreadable, in colour, lossy, or with values beyond 255.
    """
    if class_names is not None and len(class_names) > 2:
        return MaskCoding(), class_names, []
    if class_names is None:
        for mask in even_sample(masks, 20):
            if is_lossy(read_ids(mask), probe(mask).kind):
                raise UserError(
                    f"{mask}: the mask was blurred, scaled or saved as JPEG, so that values between the class ids have "
                    "come up; export the masks as PNG without smoothing, or let `pixelwise check DATA --fix DIR` write "
                    "a copy with the nearest ids; if all these values are ids, give their names in classes.txt."
                )
    found = found_values(masks, lambda values: class_names is not None and not values <= {0, VOID})
    if max(found) > VOID or min(found) < 0:
        raise UserError(
            f"{masks[0].parent}: mask values from {min(found)} to {max(found)} found, but class ids go from 0 to 254 "
            "(255 = void); if they number objects, read the dataset with the layout `labelmap`."
        )
    return coding_from_values(found, class_names)


def coding_from_values(
    found: set[int], class_names: tuple[str, ...] | None
) -> tuple[MaskCoding, tuple[str, ...], list[str]]:
    """As `decide_coding`, from the distinct values of all masks, 0 to 255."""
    notes = []
    if class_names is not None and len(class_names) == 1:
        class_names = ("background", class_names[0])
        notes.append(f"classes.txt names one class, so 0 is read as background and the rest as {class_names[1]}.")
    if found <= {0, VOID} and (class_names is None or len(class_names) == 2):
        names = class_names or ("background", "foreground")
        notes.append(f"The masks hold 0 and 255 only: 0 is read as {names[0]}, 255 as {names[1]}.")
        return MaskCoding(kind="binary"), names, notes
    if class_names is None:
        top = max(found - {VOID})
        class_names = tuple(f"class {class_id}" for class_id in range(top + 1))
        notes.append(
            f"There is no classes.txt, so the ids found in the masks make {top + 1} classes, class 0 to class {top}"
            f"{' (255 is void)' if VOID in found else ''}."
        )
    return MaskCoding(), class_names, notes


def is_lossy(ids: np.ndarray, kind: str) -> bool:
    """Whether a mask was smoothed or saved lossily, so that values lie between its ids.

    Ids fill areas. Soft edges and the ringing of JPEG bring many values that hardly anywhere fill a square of 3x3
    pixels; weak ringing brings few, but of the whole range, and only in JPEGs.

    Args:
        ids: (H, W) stored values.
        kind: the file's true format.
    """
    if ids.dtype != np.uint8:
        return False
    values = np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
    inner = values[values != VOID]
    if kind in {"JPEG", "MPO"} and len(inner) and inner[-1] > 2 * len(values):
        return True
    if len(values) <= 8:
        return False
    square = np.ones((3, 3), np.uint8)
    filled = np.unique(ids[cv2.erode(ids, square) == cv2.dilate(ids, square)])
    return len(filled) < len(values) / 2
