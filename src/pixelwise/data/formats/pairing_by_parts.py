"""Pairs pictures and masks by parts of words: `crack_masks/`, `gtFine/`, `x_sat.jpg`, or a number in two names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pixelwise.data.formats.appearance import second_are_masks
from pixelwise.data.formats.pairing_layers import named_layers
from pixelwise.data.formats.pairs import Pairing, ParsedFile, how_paired, make_pairing
from pixelwise.data.path_words import (
    MASK_PARTS,
    PICTURE_PARTS,
    SPLIT_WORDS,
    PathMeaning,
    parse_path,
    without_suffix,
    words_of,
)

_RENDERING_PARTS = frozenset({"color", "colors", "colour", "colours", "visualization", "visualisation", "vis", "viz"})
_RENDERING_PARTS |= {"overlay", "overlays", "preview", "previews", "instance", "instances", "instanceids", "human"}
"""Words of files that show masks, or hold something other than the class of each pixel."""
_MOST_SHARING = 200
"""A word that more pictures share identifies none of them."""


@dataclass(frozen=True, slots=True)
class _Named:
    """A file with the words of its name and of the folders above it, without words for role and split.

    Attributes:
        scene: the words of folders, without the numbers of folders that state the role: `mask-2` may be the third
            annotator.
    """

    file: PurePosixPath
    split: str
    folders: tuple[str, ...]
    scene: tuple[str, ...]
    words: tuple[str, ...]


def by_parts_of_words(root: Path, files: Sequence[PurePosixPath]) -> Pairing:
    """Pairs by the rest of the names or by shared words; none if the masks do not look like masks."""
    named: dict[str, list[_Named]] = {"picture": [], "mask": [], "": []}
    for file in files:
        role, one = _named(file)
        named[role].append(one)
    masks = _without_renderings(named["mask"])
    pictures = named["picture"] or named[""]
    ignored = named[""] if named["picture"] else []
    if not masks or not pictures:
        return Pairing()
    chosen = _by_cores(pictures, masks)
    chosen |= _by_shared_words(
        [one for one in pictures if one.file not in chosen],
        [one for one in masks if one.file not in {mask for found in chosen.values() for mask in found}],
    )
    looked = [(root / picture, root / found[0]) for picture, found in sorted(chosen.items())]
    if not second_are_masks(looked):
        return Pairing()
    parsed = {file: [(mask, PathMeaning("mask", "", "")) for mask in found] for file, found in chosen.items()}
    left_out = {one.file for one in named["mask"]} - {one.file for one in masks}
    pairing = make_pairing(
        [(one.file, PathMeaning("picture", one.split, "")) for one in pictures],
        parsed,
        [(one.file, PathMeaning("mask", one.split, "")) for one in masks],
        sorted({one.file for one in ignored} | left_out),
        _layers(pictures, masks, parsed),
    )
    return replace(pairing, guesses=(how_paired(looked, root, "what their names have in common"),))


def _named(file: PurePosixPath) -> tuple[str, _Named]:
    """The role of a file by the words in its own name and in the names of its folders."""
    role = split = ""
    folders: list[str] = []
    scene: list[str] = []
    for folder in file.parts[:-1]:
        words = words_of(folder)
        if MASK_PARTS & set(words):
            role = "mask"
        elif PICTURE_PARTS & set(words):
            role = "picture"
        split = (
            split or next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "") or parse_path(file).split
        )
        left = [word for word in words if word not in (*MASK_PARTS, *PICTURE_PARTS, *SPLIT_WORDS)]
        says_role = bool((MASK_PARTS | PICTURE_PARTS) & set(words))
        folders += left
        scene += [word for word in left if not (says_role and word.isdigit())]
    words = words_of(without_suffix(file.stem))
    ends = {words[0], words[-1]} if words else set()
    if role != "mask" and (MASK_PARTS & ends or MASK_PARTS & set(words[-2:])):
        role = "mask"
    elif not role and PICTURE_PARTS & ends:
        role = "picture"
    return role, _Named(file, split, tuple(folders), tuple(scene), words)


def _without_renderings(masks: Sequence[_Named]) -> Sequence[_Named]:
    """Masks without those that show others in colour or number objects, if any masks remain."""
    kept = [one for one in masks if not _RENDERING_PARTS & {*one.words, *one.folders}]
    return kept or masks


def _layers(
    pictures: Sequence[_Named], masks: Sequence[_Named], chosen: Mapping[PurePosixPath, Sequence[ParsedFile]]
) -> dict[PurePosixPath, str]:
    """Mask -> the part of its name (`7_hair`), or else of its folders (`cat_masks/`), that its picture's lack.

    Words that all masks have are left out.
    """
    of_file = {one.file: one for one in (*pictures, *masks)}
    for part in (lambda one: one.words, lambda one: one.folders):
        added = {}
        for picture, found in chosen.items():
            known = set(map(_number, part(of_file[picture])))
            for mask, _ in found:
                added[mask] = [word for word in part(of_file[mask]) if _number(word) not in known]
        shared = set.intersection(*map(set, added.values()))
        layers = {mask: "_".join(word for word in words if word not in shared) for mask, words in added.items()}
        apart = all(len({layers[mask] for mask, _ in found}) == len(found) for found in chosen.values())
        if apart and len(set(layers.values())) > 1:
            return named_layers(chosen, layers)
    return {mask: "" for found in chosen.values() if len(found) > 1 for mask, _ in found}


def _number(word: str) -> str:
    """A number without leading zeros: `7` and `00007` belong to the same picture."""
    return word.lstrip("0") or "0" if word.isdigit() else word


def _by_cores(pictures: Sequence[_Named], masks: Sequence[_Named]) -> dict[PurePosixPath, list[PurePosixPath]]:
    """Pairs by the rest of the names without the words with which all pictures, or all masks, begin or end."""
    of_picture, of_mask = _cores(pictures), _cores(masks)
    for by in (
        lambda one: (one.split, one.folders),
        lambda one: (one.split, one.scene),
        lambda one: (one.split,),
        lambda one: (),
    ):
        index: dict[object, list[_Named]] = defaultdict(list)
        for one in pictures:
            index[by(one), of_picture[one.file]].append(one)
        pairs: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
        for one in masks:
            found = index.get((by(one), of_mask[one.file]), [])
            if len(found) == 1:
                pairs[found[0].file].append(one.file)
        if 2 * len(pairs) >= min(len(pictures), len(masks)):
            return dict(pairs)
    return {}


def _cores(files: Sequence[_Named]) -> dict[PurePosixPath, tuple[str, ...]]:
    """The words of each name between the common beginning and the common end."""
    shortest = min(len(one.words) for one in files)
    start = 0
    while start < shortest and len({one.words[start] for one in files}) == 1:
        start += 1
    end = 0
    while end < shortest - start and len({one.words[-1 - end] for one in files}) == 1:
        end += 1
    return {one.file: one.words[start : len(one.words) - end] for one in files}


def _by_shared_words(pictures: Sequence[_Named], masks: Sequence[_Named]) -> dict[PurePosixPath, list[PurePosixPath]]:
    """Pairs of files that share more words than either shares with any other file."""
    if not pictures or not masks:
        return {}
    sharing: dict[str, list[_Named]] = defaultdict(list)
    for one in pictures:
        for word in set(map(_number, one.words)):
            sharing[word].append(one)
    best: dict[PurePosixPath, tuple[PurePosixPath, int]] = {}
    for mask in masks:
        scores: Counter[PurePosixPath] = Counter()
        words = list(map(_number, mask.words))
        for word in set(words):
            if len(sharing[word]) <= min(_MOST_SHARING, max(len(pictures) // 2, 1)):
                for one in sharing[word]:
                    scores[one.file] += 2 + (list(map(_number, one.words)).index(word) == words.index(word))
        ranked = scores.most_common(2)
        if ranked and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]):
            best[mask.file] = ranked[0]
    pairs: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    top: dict[PurePosixPath, int] = defaultdict(int)
    for picture, score in best.values():
        top[picture] = max(top[picture], score)
    for mask_file, (picture, score) in best.items():
        if score == top[picture]:
            pairs[picture].append(mask_file)
    return dict(pairs)
