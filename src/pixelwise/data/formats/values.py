"""Pictures with maps of numbers: depth, heights, densities, distances; one file per picture, under the picture's name.

images/x.jpg + depth/x.tif      train/images/x.png + train/values/x.npy      images/x.png + depth/x.png + values.txt

Maps are float TIFFs, `.npy` arrays of two dimensions, or 16-bit PNGs or TIFFs of whole numbers, whose scale
`values.txt` states.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from pixelwise.data.formats import coco, folder, idx, labelme, points, rle_csv, voc_xml, yolo
from pixelwise.data.formats.pairing import pair
from pixelwise.data.formats.pairing_by_words import by_words
from pixelwise.data.formats.pairs import Pairing
from pixelwise.data.formats.survey import Survey, given_splits
from pixelwise.data.listing import Faults, picture_files
from pixelwise.data.path_words import MASK_WORDS, PICTURE_WORDS, parse_path
from pixelwise.data.pictures import probe
from pixelwise.data.splits import even_sample
from pixelwise.data.values import STATEMENTS, VALUE_SUFFIXES, ValueCoding, lacks_scale, read_coding, read_map
from pixelwise.errors import UserError

VALUE_WORDS = ("values", "depth", "heights", "density", "distance", "maps", "targets")
"""Names of the folder with the maps; if there are several, the first in this list is used."""


def detect(root: Path) -> bool:
    """Whether there are pictures in `images/` (or a similar folder), and maps of numbers under their names in a folder
    of `VALUE_WORDS`, judged by 20 of them, and no labels of another layout.

    16-bit PNGs without a stated scale count as well, so that `survey` can report what they lack; not in `targets`,
    where they are label maps.
    """
    word, maps = _maps(root)
    if not maps or not _pair(root, word, maps).masked:
        return False
    sample = [root / file for file in even_sample(maps, 20)]
    try:
        kinds = {_dtype(file).kind for file in sample}
    except UserError:  # pictures or damaged files; the layouts that follow report them
        return False
    stated = (root / STATEMENTS).is_file()
    if word in MASK_WORDS and not stated and not (kinds == {"f"} and any(map(_has_fractions, sample))):
        return False
    if any(layout.detect(root) for layout in (coco, rle_csv, points, labelme, voc_xml, yolo, idx)):
        return False
    others = set(picture_files(root)) - set(maps)
    return not pair(root, sorted(others), looks=False).masked


def survey(root: Path) -> Survey:
    """Every picture with its map, if one has its name; whole numbers need a stated scale."""
    faults = Faults()
    word, maps = _maps(root)
    name = word if word in ("depth", "density", "distance") else "value"
    coding = faults.attempt(partial(read_coding, root, name), ValueCoding(scale=1.0, name=name))
    whole = [root / file for file in even_sample(maps, 20) if _stores_whole_numbers(root / file)]
    if whole and coding.scale is None:
        faults.append(str(lacks_scale(whole[0])))
    pairing = _pair(root, word, maps)
    records, by_folder, notes = folder.records_of(root, pairing)
    given, unmatched = given_splits(root, records, by_folder, faults)
    unit = f" ({coding.unit})" if coding.unit else ""
    return Survey(
        root=root,
        layout="values",
        records=records,
        given=given,
        class_names=(coding.name,),
        coding=coding,
        orphans=tuple(map(str, pairing.orphans)),
        ignored=tuple(str(file) for file in pairing.ignored if file.parts[0] not in folder.EXTRAS),
        missing=tuple(unmatched.missing),
        ambiguous=tuple(unmatched.ambiguous),
        faults=tuple(faults),
        notes=(*notes, f"The files in {word} hold one {coding.name}{unit} per pixel, not class ids."),
    )


def _maps(root: Path) -> tuple[str, list[PurePosixPath]]:
    """The name of the maps' folder, and the files in folders with that name that are not below a picture folder."""
    found: dict[str, list[PurePosixPath]] = defaultdict(list)
    for file in picture_files(root, VALUE_SUFFIXES):
        folders = [part.lower() for part in file.parts[:-1]]
        words = [part for part in folders if part in VALUE_WORDS]
        if len(words) == 1 and not PICTURE_WORDS & set(folders):
            found[words[0]].append(file)
    word = next((word for word in VALUE_WORDS if found[word]), VALUE_WORDS[0])
    return word, found[word]


def _pair(root: Path, word: str, maps: list[PurePosixPath]) -> Pairing:
    """Pairs as the folder layout does, with the folder of maps in place of a folder of masks."""
    as_mask = {
        PurePosixPath(*("masks" if part.lower() == word else part for part in file.parts)): file for file in maps
    }
    pictures = [file for file in picture_files(root) if parse_path(file).role == "picture"]
    if not pictures:
        return Pairing()
    pairing = by_words([*pictures, *as_mask])
    taken = {*pictures, *maps}
    return Pairing(
        pairs=tuple(
            (picture, tuple(as_mask[mask] for mask in masks[:1]), split) for picture, masks, split in pairing.pairs
        ),
        orphans=tuple(as_mask[file] for file in pairing.orphans),
        ignored=tuple(file for file in picture_files(root) if file not in taken),
    )


def _stores_whole_numbers(file: Path) -> bool:
    try:
        return _dtype(file).kind != "f"
    except UserError:  # reported when the file is read
        return False


def _has_fractions(file: Path) -> bool:
    """Whether a map of floats holds anything that cannot be a class id: fractions, negative numbers, NaN."""
    try:
        values = read_map(file)
    except UserError:
        return False
    return not bool(np.all((values >= 0) & (values == np.rint(values))))


def _dtype(file: Path) -> np.dtype:
    """The type of a map's numbers, from the header of its file.

    Raises:
        UserError: a file that cannot be read, several channels, or 8-bit numbers.
    """
    if file.suffix.lower() == ".npy":
        return read_map(file).dtype
    header = probe(file)
    if header.channels != 1 or header.dtype in ("uint8", "bool"):
        raise UserError(f"{file}: {header.channels} channels of {header.dtype}, expected one of floats or 16 bits.")
    return np.dtype(header.dtype)
