"""Pairs masks with pictures: by folders and names and, if these do not decide, by the look of the files.

Three ways are tried, and the first that finds masks for pictures is used:

1. words: folders called `images` and `masks` or similar, or masks next to pictures with a suffix such as `_mask`, whose
   names are those of the pictures;
2. parts of words: folders and names that contain such a word (`crack_masks/`, `gtFine/`, `x_sat.jpg`). Names are paired
   by what remains without their common beginning and end, or else by the one number or word that only one picture and
   one mask share;
3. looks: two files of one name in a folder, two files in each folder, two folders with the same names, or names that
   add the same to others (`x.jpg`, `x_outline.png`), where one file of each pair is flat like a mask.

Pairs from the second and the third way are checked by the look of some of them, and reported as a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pixelwise.data.formats.appearance import are_fields_of_view
from pixelwise.data.formats.pairing_by_looks import by_looks
from pixelwise.data.formats.pairing_by_parts import by_parts_of_words
from pixelwise.data.formats.pairing_by_words import by_words
from pixelwise.data.formats.pairs import Pairing
from pixelwise.data.listing import some


def pair(root: Path, files: Sequence[PurePosixPath], *, looks: bool = True) -> Pairing:
    """Distinguishes pictures from masks and pairs them.

    Masks that mark most of the picture, and nearly the same in every picture, are fields of view; if there are other
    masks, those are read.

    Args:
        root: the dataset's folder, needed to look at the files if names do not decide.
        files: all picture files, relative to `root`.
        looks: whether the look of the files alone may decide; False if other labels would be better evidence.
    """
    found = _pair_once(root, files, looks)
    fields = [mask for _, masks, _ in found.pairs for mask in masks[:1]]
    if not (found.ignored and fields and are_fields_of_view([root / mask for mask in fields])):
        return found
    others = _pair_once(root, [file for file in files if file not in set(fields)], looks)
    if others.masked < found.masked:
        return found
    read, left = (sorted({str(mask.parent) for mask in masks}) for masks in (_masks_of(others), fields))
    guess = (
        f"The masks in {some(left)} are nearly the same for every picture, like fields of view, so the masks in "
        f"{some(read)} are read; if you mean the former, move the latter away."
    )
    return replace(others, ignored=(*others.ignored, *fields), guesses=(*others.guesses, guess))


def _masks_of(pairing: Pairing) -> list[PurePosixPath]:
    return [mask for _, masks, _ in pairing.pairs for mask in masks]


def _pair_once(root: Path, files: Sequence[PurePosixPath], looks: bool) -> Pairing:
    words = by_words(files)
    masks = words.masked + len(words.orphans)
    if words.masked and 2 * words.masked >= masks:
        return words
    attempts = [words, by_parts_of_words(root, files)]
    if looks and not attempts[1].masked:
        attempts.append(by_looks(root, files))
    return max(attempts, key=lambda attempt: attempt.masked)
