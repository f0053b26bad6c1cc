"""Pairs pictures and masks by their look, if no word says which files are the masks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pixelwise.data.formats.appearance import second_are_masks
from pixelwise.data.formats.pairing_layers import named_layers
from pixelwise.data.formats.pairs import Pairing, ParsedFile, how_paired, make_pairing
from pixelwise.data.path_words import PathMeaning, parse_path

MIN_SHARE = 0.8
"""The pairs of one way of naming must include at least this share of the files."""

Pairs = list[tuple[PurePosixPath, PurePosixPath]]


def by_looks(root: Path, files: Sequence[PurePosixPath]) -> Pairing:
    """Pairs by the first way of naming that fits most files and in which one file of each pair looks like a mask."""
    for candidates in (_twins(files), _duos(files), _like_folders(files)):
        if 2 * len(candidates) < MIN_SHARE * len(files) or len(candidates) < 2:
            continue
        for ordered in (candidates, [(second, first) for first, second in candidates]):
            contradicted = any(
                parse_path(mask).role == "picture" != parse_path(picture).role for picture, mask in ordered
            )
            if not contradicted and _are_masks(root, ordered):
                return _pairing(root, files, {"": ordered})
    return _pairing(root, files, {name: pairs for name, pairs in _additions(files).items() if _are_masks(root, pairs)})


def _are_masks(root: Path, pairs: Pairs) -> bool:
    return second_are_masks([(root / picture, root / mask) for picture, mask in pairs], strict=True)


def _pairing(root: Path, files: Sequence[PurePosixPath], layers: Mapping[str, Pairs]) -> Pairing:
    """Pictures with their masks, and the guess that they belong together.

    Args:
        layers: pictures with masks, by the part that the names of the masks add to those of the pictures.
    """
    chosen: dict[PurePosixPath, list[ParsedFile]] = defaultdict(list)
    layer_of = {}
    for layer, pairs in layers.items():
        for picture, mask in pairs:
            chosen[picture].append((mask, PathMeaning("mask", "", "")))
            layer_of[mask] = layer
    if not chosen:
        return Pairing()
    taken = {*chosen, *layer_of}
    pairing = make_pairing(
        [(picture, parse_path(picture)) for picture in chosen],
        chosen,
        [(mask, PathMeaning("mask", "", "")) for mask in layer_of],
        [file for file in files if file not in taken],
        named_layers(chosen, layer_of),
    )
    looked = [(root / picture, root / found[0][0]) for picture, found in sorted(chosen.items())]
    return replace(pairing, guesses=(how_paired(looked, root, "their look"),))


def _twins(files: Sequence[PurePosixPath]) -> list[tuple[PurePosixPath, PurePosixPath]]:
    """Files with one name and two suffixes in one folder, in the order of the suffixes."""
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
    """The two files of each folder that holds exactly two, in the same order in all folders."""
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for file in files:
        by_folder[file.parent].append(file)
    duos = [sorted(same) for same in by_folder.values() if len(same) == 2]
    alike = [{file.suffix.lower() for file in duo} for duo in duos]
    if alike and all(len(suffixes) == 2 and suffixes == alike[0] for suffixes in alike):
        duos = [sorted(duo, key=lambda file: file.suffix.lower()) for duo in duos]
    return [(first, second) for first, second in duos]


def _like_folders(files: Sequence[PurePosixPath]) -> Pairs:
    """The files whose paths differ in only one folder, which has one of two names: a/x and b/x, or 1/a/x and 1/b/x."""
    best: Pairs = []
    for level in range(min((len(file.parts) - 1 for file in files), default=0)):
        names = sorted({file.parts[level] for file in files})
        if len(names) != 2:
            continue
        by_name: dict[str, dict[tuple[str, ...], PurePosixPath]] = {name: {} for name in names}
        for file in files:
            rest = (*file.parts[:level], *file.parts[level + 1 : -1], file.stem)
            by_name[file.parts[level]][rest] = file
        first, second = (by_name[name] for name in names)
        best = max(best, [(first[rest], second[rest]) for rest in sorted(first.keys() & second.keys())], key=len)
    return best


def _additions(files: Sequence[PurePosixPath]) -> dict[str, Pairs]:
    """What names add to those of most pictures (`x_outline.png` and `x_second.png` to `x.jpg`) -> the pairs."""
    of_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
    for file in files:
        of_stem[file.stem].append(file)
    found: dict[str, Pairs] = defaultdict(list)
    for file in files:
        for match in reversed(list(re.finditer(r"[_\-. ]", file.stem))):
            named = of_stem.get(file.stem[: match.start()], [])
            if len(named) == 1:
                found[file.stem[match.end() :]].append((named[0], file))
                break
    pictures = {picture for pairs in found.values() for picture, _ in pairs}
    rest = set(files) - {mask for pairs in found.values() for _, mask in pairs}
    if 2 * len(pictures) < len(rest):
        return {}
    return {layer: pairs for layer, pairs in found.items() if len(pairs) >= max(MIN_SHARE * len(pictures), 2)}
