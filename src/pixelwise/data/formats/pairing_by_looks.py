"""Pictures and masks paired by their look, where no word says which are the masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pixelwise.data.formats.appearance import second_are_masks
from pixelwise.data.formats.pairs import Pairing, how_paired, make_pairing
from pixelwise.data.places import Place, place


def by_looks(root: Path, files: Sequence[PurePosixPath]) -> Pairing:
    for candidates in (_twins(files), _duos(files), _like_folders(files)):
        if 2 * len(candidates) < 0.8 * len(files) or len(candidates) < 2:
            continue
        for first, second in ((0, 1), (1, 0)):
            pairs = {pair[first]: pair[second] for pair in candidates}
            looked = [(root / picture, root / mask) for picture, mask in pairs.items()]
            contradicted = any(place(mask).role == "picture" != place(picture).role for picture, mask in pairs.items())
            if not contradicted and second_are_masks(looked, strict=True):
                masks = [(mask, Place("mask", "", "")) for mask in pairs.values()]
                taken = {*pairs, *pairs.values()}
                pairing = make_pairing(
                    [(picture, place(picture)) for picture in pairs],
                    {picture: [(mask, Place("mask", "", ""))] for picture, mask in pairs.items()},
                    masks,
                    [file for file in files if file not in taken],
                    {},
                )
                return replace(pairing, guesses=(how_paired(looked, root, "their look"),))
    return Pairing()


def _twins(files: Sequence[PurePosixPath]) -> list[tuple[PurePosixPath, PurePosixPath]]:
    """Files of one name and two suffixes in one folder, in the order of the suffixes."""
    by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
    for file in files:
        by_name[str(file.with_suffix(""))].append(file)
    return [
        (first, second)
        for first, second in (
            sorted(same, key=lambda file: file.suffix.lower()) for same in by_name.values() if len(same) == 2
        )
    ]


def _duos(files: Sequence[PurePosixPath]) -> list[tuple[PurePosixPath, PurePosixPath]]:
    """The two files of each folder that holds just two, in an order that is the same in all folders."""
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for file in files:
        by_folder[file.parent].append(file)
    duos = [sorted(same) for same in by_folder.values() if len(same) == 2]
    alike = [{file.suffix.lower() for file in duo} for duo in duos]
    if alike and all(len(suffixes) == 2 and suffixes == alike[0] for suffixes in alike):
        duos = [sorted(duo, key=lambda file: file.suffix.lower()) for duo in duos]
    return [(first, second) for first, second in duos]


def _like_folders(files: Sequence[PurePosixPath]) -> list[tuple[PurePosixPath, PurePosixPath]]:
    """The files of the same names in just two folders."""
    by_folder: dict[PurePosixPath, dict[str, PurePosixPath]] = defaultdict(dict)
    for file in files:
        by_folder[file.parent][file.stem] = file
    if len(by_folder) != 2:
        return []
    first, second = (by_folder[folder] for folder in sorted(by_folder))
    return [(first[stem], second[stem]) for stem in sorted(first.keys() & second.keys())]
