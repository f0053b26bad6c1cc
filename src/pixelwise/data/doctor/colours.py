"""Masks in colour: which colours occur, which of them are noise, and which class ids the others become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from pixelwise.data.class_table import ClassTable
from pixelwise.data.formats.voc import VOC_VOID, voc_palette
from pixelwise.data.packed import are_grey, pack, unpack
from pixelwise.data.sample import VOID

MAX_COLOURS = 4096
MIN_SHARE = 0.001
"""In lossy masks, a colour is noise if it covers less than this share of the pixels, similar colours included."""
MIN_DISTANCE = 48.0
"""In lossy masks, colours nearer than this (Euclidean, 0..255 per channel) count as one."""


def colour_counts(image: np.ndarray, *, inside_only: bool = False) -> tuple[dict[int, int], int]:
    """Counts the pixels of the most frequent colours (0xRRGGBB -> pixels), and how many colours there are.

    Args:
        image: (H, W, 3) uint8.
        inside_only: count only pixels whose 3x3 neighbourhood varies by at most 16 in every channel, which leaves out
            soft edges and ringing.
    """
    packed = pack(image)
    if inside_only:
        square = np.ones((3, 3), np.uint8)
        even = ((cv2.dilate(image, square).astype(np.int16) - cv2.erode(image, square)) <= 16).all(axis=2)
        packed = packed[even] if even.any() else packed
    colours, counts = np.unique(packed, return_counts=True)
    first = np.argsort(-counts, kind="stable")[:MAX_COLOURS]
    return dict(zip(colours[first].tolist(), counts[first].tolist(), strict=True)), len(colours)


def edges_are_soft(image: np.ndarray, distinct: int) -> bool:
    """Whether a mask has many colours, most of which fill no 3x3 square, like the mixed colours along an edge.

    Args:
        image: (H, W, 3) uint8.
        distinct: how many colours it has.
    """
    if distinct <= 8:
        return False
    square = np.ones((3, 3), np.uint8)
    filled = (cv2.dilate(image, square) == cv2.erode(image, square)).all(axis=2)
    return len(np.unique(pack(image[filled]))) < distinct / 2


def frequent(counts: Mapping[int, int]) -> list[int]:
    """The colours of lossy masks that are not noise, the most frequent first.

    The most frequent colour absorbs all colours nearer than `MIN_DISTANCE`, then the most frequent remaining colour
    does, and so on. Colours that gather less than `MIN_SHARE` of the pixels are noise. The first is always kept.
    """
    left = np.array(sorted(counts, key=lambda colour: (-counts[colour], colour)), np.int32)
    pixels = np.array([counts[colour] for colour in left.tolist()])
    least = MIN_SHARE * pixels.sum()
    kept: list[int] = []
    while len(left) and len(kept) < VOID:
        near = np.linalg.norm(unpack(left) - unpack(left[:1]), axis=1) <= MIN_DISTANCE
        if pixels[near].sum() >= least or not kept:
            kept.append(int(left[0]))
        left, pixels = left[~near], pixels[~near]
    return kept


def ids_of(colours: Sequence[int], named: ClassTable) -> dict[int, int]:
    """The class ids of colours, 0xRRGGBB -> class id.

    Named colours take the ids of their names. Otherwise, greys that count from 0 are ids already (255 is void if there
    are three or more), four colours or more that all belong to Pascal VOC take its ids, and any other colours are
    numbered by red, green and blue, so that black comes first.
    """
    known = named.palette()
    if known:
        others = sorted(set(colours) - set(known))
        return known | {colour: len(named.names) + index for index, colour in enumerate(others)}
    voc = {colour: class_id for class_id, colour in enumerate(voc_palette())}
    red, green, blue = VOC_VOID
    voc[red << 16 | green << 8 | blue] = VOID
    ordered = sorted(set(colours))
    if len(ordered) > 1 and are_grey(ordered):
        greys = [colour & 255 for colour in ordered]
        counting = [grey for grey in greys if grey != VOID]
        if counting == list(range(len(counting))) and counting != [0]:
            return {grey * 0x010101: grey for grey in greys}
    if len(ordered) > 3 and set(ordered) <= set(voc):
        return {colour: voc[colour] for colour in ordered}
    return {colour: class_id for class_id, colour in enumerate(ordered)}


def nearest(image: np.ndarray, ids: Mapping[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) uint8: for every pixel the id of the nearest colour."""
    colours, where = np.unique(pack(image), return_inverse=True)
    palette, codes = unpack(list(ids)).astype(np.float32), np.array(list(ids.values()), np.uint8)
    chosen = np.empty(len(colours), np.uint8)
    for start in range(0, len(colours), 65536):  # bounded memory, even for a photograph mistaken for a mask
        part = unpack(colours[start : start + 65536]).astype(np.float32)
        distance = np.stack([((part - colour) ** 2).sum(axis=1) for colour in palette])
        chosen[start : start + 65536] = codes[distance.argmin(axis=0)]
    return chosen[where].reshape(image.shape[:2])
