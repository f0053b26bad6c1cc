"""Run-length encodings of masks: COCO's counts and their compressed string, and the pairs of csv files.

All of them go down the columns: pixel (y, x) of a mask of height H has the number x * H + y. (Pairs may go along the
rows instead, if the user says so.) Counts are the lengths of alternating runs, beginning with a run of zeros that may
be empty; a 2 x 3 mask

    0 1 1
    0 1 0        has the counts 2 3 1, the pairs `3 3` and the compressed string `231`.

Law: `decode(encode(mask), *mask.shape) == mask`, and the same for pairs and strings.
"""

from __future__ import annotations

import re

import numpy as np

from pixelwise.data.order import Order
from pixelwise.errors import UserError

_FIRST = 48
"""The compressed string writes the numbers 0 to 63 as the characters from `0` (code 48) on."""
_LONGEST = 13
"""Maximum length of a number in a compressed string: 13 characters of five bits hold any 64-bit count."""
_BETWEEN = re.compile(r"[\[\](),;\s]+")
_WHOLE = re.compile(r"\.0*$")
_CORNERS = re.compile(r"\s*\[\s*[\[(]\s*(\[|[\d.]+\s*,\s*[\d.]+\s*,)")
"""How lists within a list begin if they are longer than the pairs of runs."""


def encode(mask: np.ndarray) -> np.ndarray:
    """(H, W), zero or not -> (R,) int64 counts, which sum to H * W."""
    flat = np.ravel(mask != 0, order="F")
    if flat.size == 0:
        return np.zeros(0, np.int64)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]]))
    return np.concatenate([[0], counts]) if flat[0] else counts


def decode(counts: np.ndarray, height: int, width: int) -> np.ndarray:
    """(R,) counts -> (H, W) bool.

    Raises:
        UserError: negative counts, or a sum other than the picture's pixels.
    """
    counts = np.asarray(counts, np.int64)
    beyond = counts.max(initial=0) > height * width  # such a count could make the sum overflow
    if counts.min(initial=0) < 0 or beyond or counts.sum() != height * width:
        raise UserError(
            f"the runs add up to {sum(counts.tolist())} pixels, but the picture has {width} x {height} = "
            f"{height * width}."
        )
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def to_pairs(mask: np.ndarray) -> np.ndarray:
    """(H, W), zero or not -> (R, 2) int64: the start of each run of ones, counted from 1, and its length."""
    counts = encode(mask)
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1] + 1
    return np.stack([starts[1::2], counts[1::2]], axis=1)


def from_pairs(pairs: np.ndarray, height: int, width: int, order: Order = "columns") -> np.ndarray:
    """(R, 2) starts and lengths -> (H, W) bool. Runs may come in any order and overlap.

    Args:
        order: the direction in which the starts count the pixels.

    Raises:
        UserError: a run that begins before pixel 1, is empty, or ends beyond the picture.
    """
    starts, lengths = np.asarray(pairs, np.int64).reshape(-1, 2).T
    pixels = height * width
    # Compared before they are added, because large numbers overflow.
    wrong = np.flatnonzero((starts < 1) | (lengths < 1) | (starts > pixels) | (lengths > pixels - starts + 1))
    if len(wrong):
        raise UserError(
            f"the run '{starts[wrong[0]]} {lengths[wrong[0]]}' lies outside the picture, whose "
            f"{width} x {height} pixels are numbered from 1 to {pixels}."
        )
    ends = starts - 1 + lengths
    edges = np.zeros(pixels + 1, np.int32)
    np.add.at(edges, starts - 1, 1)
    np.add.at(edges, ends, -1)
    covered = np.cumsum(edges[:-1]) > 0
    return covered.reshape(height, width) if order == "rows" else covered.reshape(width, height).T


def parse_pairs(text: str) -> np.ndarray:
    """`3 3 9 1` -> (R, 2) int64; lists (`[3, 3, 9, 1]`, `[(3, 3), (9, 1)]`) and numbers such as `3.0` are read alike.

    Raises:
        UserError: an odd number of numbers, anything else between them, or lists of corners.
    """
    if _CORNERS.match(text):
        raise UserError(
            f"'{_short(text)}' is a list of lists, as polygons are written, but runs of start and length are expected; "
            "export polygons as COCO's JSON."
        )
    try:
        numbers = np.array([_WHOLE.sub("", word) for word in _BETWEEN.sub(" ", text).split()], np.int64)
    except (ValueError, OverflowError):
        raise UserError(f"the run-length encoding '{_short(text)}' holds something other than whole numbers.") from None
    if len(numbers) % 2:
        raise UserError(
            f"the run-length encoding '{_short(text)}' has {len(numbers)} numbers, but they come in pairs of start and "
            "length."
        )
    return numbers.reshape(-1, 2)


def write_pairs(pairs: np.ndarray) -> str:
    """The inverse of `parse_pairs`; empty if there is no run."""
    return " ".join(map(str, np.asarray(pairs).ravel().tolist()))


def compress(counts: np.ndarray) -> str:
    """Counts as the string in COCO's files.

    From the fourth on, a count is written as its difference from the count two before it. A number is written with five
    bits per character, lowest first, in two's complement, and the sixth bit is set on all characters but the last
    (rleToString of the COCO API).
    """
    numbers = np.asarray(counts, np.int64).tolist()
    text = []
    for index, number in enumerate(numbers):
        rest = number - numbers[index - 2] if index > 2 else number
        more = True
        while more:
            five = rest & 31
            rest >>= 5
            more = rest != (-1 if five & 16 else 0)
            text.append(chr(_FIRST + (five | 32 if more else five)))
    return "".join(text)


def decompress(text: str) -> np.ndarray:
    """The inverse of `compress`.

    Raises:
        UserError: other characters, or a string that ends within a number.
    """
    counts: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - _FIRST
        if not 0 <= bits < 64:
            raise UserError(
                f"the compressed run-length encoding '{_short(text)}' holds '{character}', which is invalid."
            )
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32 and shift < 5 * _LONGEST:
            continue
        if bits & 16:
            number -= 1 << shift
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number = shift = 0
    if shift:
        raise UserError(f"the compressed run-length encoding '{_short(text)}' ends within a number.")
    if any(not 0 <= count < 1 << 62 for count in counts):
        raise UserError(f"the compressed run-length encoding '{_short(text)}' has a run of impossible length.")
    return np.array(counts, np.int64)


def _short(text: str, limit: int = 30) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."
