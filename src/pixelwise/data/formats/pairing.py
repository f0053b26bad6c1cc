"""Which mask belongs to which picture: by folders and names, and where these leave it open, by the look of the files.

Three ways are tried, and the first that finds masks for pictures counts:

1. words: folders called `images` and `masks` or the like, or masks beside pictures with a suffix such as `_mask`, whose
   names are those of the pictures;
2. parts of words: folders and names that contain such a word (`crack_masks/`, `gtFine/`, `x_sat.jpg`), names paired by
   what is left of them without the beginning and the end that all share, or else by the one number or word that a
   picture and a mask alone have in common;
3. looks: two files of one name in a folder, two files in each folder, or two folders of the same names, where one file
   of each pair is flat as masks are.

What the second and the third way find is checked by the look of some pairs, and said as a guess.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pixelwise.data.formats.appearance import second_are_masks
from pixelwise.data.listing import some
from pixelwise.data.places import (
    MASK_WORDS,
    PICTURE_WORDS,
    SPLIT_WORDS,
    Place,
    place,
    without_mask_suffix,
    without_suffix,
    words_of,
)

Placed = tuple[PurePosixPath, Place]

MASK_PARTS = MASK_WORDS | {"truth", "semantic", "manual", "matte", "mattes", "trimap", "trimaps", "labelids", "ids"}
_PICTURE_PARTS = PICTURE_WORDS | {"sat", "rgb", "rgbn", "irrg", "orig", "original", "raw"}
_VIEW_PARTS = frozenset({"color", "colors", "colour", "colours", "visualization", "visualisation", "vis", "viz"})
_VIEW_PARTS |= {"overlay", "overlays", "preview", "previews", "instance", "instances", "instanceids", "human"}
"""Words of files that show masks, or say something else than the class of a pixel."""
_MOST_SHARING = 200
"""A word that more pictures share tells none of them."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which masks belong to which picture; paths relative to the root.

    Attributes:
        pairs: (picture, its masks, split or empty), sorted by picture.
        orphans: masks without a picture.
        ignored: files that are neither.
        layers: mask -> what its name or folder adds to that of the picture, where pictures have several masks.
        guesses: sentences on what the look of files decided.
    """

    pairs: tuple[tuple[PurePosixPath, tuple[PurePosixPath, ...], str], ...] = ()
    orphans: tuple[PurePosixPath, ...] = ()
    ignored: tuple[PurePosixPath, ...] = ()
    layers: Mapping[PurePosixPath, str] = field(default_factory=dict)
    guesses: tuple[str, ...] = ()

    @property
    def masked(self) -> int:
        """How many pictures have a mask."""
        return sum(bool(masks) for _, masks, _ in self.pairs)


def pair(root: Path, files: Sequence[PurePosixPath], *, looks: bool = True) -> Pairing:
    """Tells pictures from masks and pairs them.

    Args:
        root: the dataset's folder, in which the files are looked at where names leave it open.
        files: all picture files, relative to `root`.
        looks: whether the look of the files may decide alone; False where other labels would be better evidence.
    """
    words = by_words(files)
    masks = words.masked + len(words.orphans)
    if words.masked and 2 * words.masked >= masks:
        return words
    attempts = [words, _by_parts_of_words(root, files)]
    if looks and not attempts[1].masked:
        attempts.append(_by_looks(root, files))
    return max(attempts, key=lambda attempt: attempt.masked)


# 1. Words


def by_words(files: Sequence[PurePosixPath]) -> Pairing:
    """A mask has the name of its picture, perhaps with a suffix such as `_mask`, and lies in a folder of the same name
    (`images/b`, `masks/b`) and of the same split. Where either side keeps no such folders, the bare name does if only
    one picture has it."""
    placed = [(file, place(file)) for file in files]
    roles = {where.role for _, where in placed}
    ignored: list[PurePosixPath] = []
    if "mask" in roles:
        masks = [(file, where) for file, where in placed if where.role == "mask"]
        pictures = [(file, where) for file, where in placed if where.role == "picture"]
        others = [(file, where) for file, where in placed if where.role == ""]
        if pictures:
            ignored = [file for file, _ in others]
        else:
            pictures = others
    else:
        if "picture" in roles:
            ignored = [file for file, where in placed if where.role == ""]
            placed = [(file, where) for file, where in placed if where.role == "picture"]
        keys = {(where.split, where.key) for _, where in placed}
        masks = [(file, where) for file, where in placed if (where.split, without_mask_suffix(where.key)) in keys]
        beside = {file for file, _ in masks}
        pictures = [(file, where) for file, where in placed if file not in beside]
    chosen, layers = _match(pictures, masks)
    pairing = _pairing(pictures, chosen, masks, ignored, layers)
    return _with_other_masks(pairing, {where.key for file, where in pictures if file in chosen})


def _with_other_masks(pairing: Pairing, keys: Set[str]) -> Pairing:
    """Says where masks lie that may be meant as well: of pictures that have one, or in folders called after masks.

    Args:
        keys: of the pictures that have a mask.
    """
    spare = [file for file in pairing.orphans if {place(file).key, without_mask_suffix(place(file).key)} & keys]
    named = [
        file for file in pairing.ignored if MASK_PARTS & {word for part in file.parts[:-1] for word in words_of(part)}
    ]
    others = sorted({str(file.parent) for file in (*spare, *named)})
    if not pairing.masked or not others:
        return pairing
    read = sorted({str(mask.parent) for _, masks, _ in pairing.pairs for mask in masks})
    return replace(
        pairing,
        orphans=tuple(file for file in pairing.orphans if file not in set(spare)),
        ignored=(*pairing.ignored, *spare),
        guesses=(
            *pairing.guesses,
            f"The masks in {some(read)} are read, and those in {some(others)} are not; if you mean the others, move "
            "the first away.",
        ),
    )


def _match(
    pictures: Sequence[Placed], masks: Sequence[Placed]
) -> tuple[dict[PurePosixPath, list[Placed]], dict[PurePosixPath, str]]:
    """Picture -> its masks, and mask -> the name of its layer.

    By the exact key, then without the mask's suffix, then by the last part of the key, then by what a mask's name or
    folder adds to the picture's."""
    chosen: dict[PurePosixPath, list[Placed]] = {}
    exact = _index((spelling, (file, where)) for file, where in masks for spelling in _spellings(where.key))
    suffixed = _index((without_mask_suffix(where.key), (file, where)) for file, where in masks)
    layers: dict[PurePosixPath, str] = {}
    for file, where in pictures:
        for index in (exact, suffixed):
            found = [mask for mask in index.get(where.key, ()) if _same_split(where, mask[1])]
            if found:
                # A mask in a split of its own is nearer than one that serves all.
                nearest = max(mask[1].split == where.split for mask in found)
                found = [mask for mask in found if (mask[1].split == where.split) == nearest]
                chosen[file] = found if index is suffixed else found[:1]
                layers |= {mask: "" for mask, _ in chosen[file]} if len(chosen[file]) > 1 else {}
                break
    taken = {mask for found in chosen.values() for mask, _ in found}
    left = [(file, where) for file, where in pictures if file not in chosen]
    free = [(file, where) for file, where in masks if file not in taken]
    by_stem = _index(
        (_last(without_mask_suffix(where.key) if suffixed_name else where.key), (file, where))
        for file, where in free
        for suffixed_name in (False, True)
    )
    namesakes = Counter(_last(where.key) for _, where in left)
    for file, where in left:
        found = [
            mask
            for mask in by_stem.get(_last(where.key), ())
            if _same_split(where, mask[1]) and ("/" not in where.key or "/" not in mask[1].key)
        ]
        if len(found) == 1 and namesakes[_last(where.key)] == 1:
            chosen[file] = found
    if not chosen:
        return _layered(left, free)
    return chosen, layers


def _layered(
    pictures: Sequence[Placed], masks: Sequence[Placed]
) -> tuple[dict[PurePosixPath, list[Placed]], dict[PurePosixPath, str]]:
    """Several masks per picture: `masks/cat/x.png` and `masks/dog/x.png`, or `x_cat.png` and `x_1.png`, of `x`."""
    of_key: dict[str, list[Placed]] = defaultdict(list)
    for file, where in pictures:
        of_key[where.key].append((file, where))
    chosen: dict[PurePosixPath, list[Placed]] = defaultdict(list)
    layers: dict[PurePosixPath, str] = {}
    for file, where in masks:
        for key, layer in _without_layer(where.key):
            found = [picture for picture, its in of_key.get(key, ()) if _same_split(its, where)]
            if len(found) == 1:
                chosen[found[0]].append((file, where))
                layers[file] = layer
                break
    if len(set(layers.values())) == 1 or all(layer.isdigit() for layer in layers.values()):
        several = {mask for found in chosen.values() if len(found) > 1 for mask, _ in found}
        layers = dict.fromkeys(several, "")  # a suffix that all have, or numbers, name no class
    return dict(chosen), layers


def _without_layer(key: str) -> Iterable[tuple[str, str]]:
    """The keys that a picture may have whose mask is `key`, each with what names the layer: longest first."""
    folders, _, last = key.rpartition("/")
    if folders:
        above, _, layer = folders.rpartition("/")
        for name in _spellings(last):
            yield f"{above}/{name}" if above else name, layer
        first, _, below = key.partition("/")
        yield below, first
    for match in reversed(list(re.finditer(r"[_\-. ]", last))):
        head = last[: match.start()]
        yield f"{folders}/{head}" if folders else head, last[match.end() :]


def _spellings(key: str) -> tuple[str, ...]:
    """`x.jpg` and `x` of a mask called x.jpg.png."""
    return tuple(dict.fromkeys((key, without_suffix(key))))


# 2. Parts of words


@dataclass(frozen=True, slots=True)
class _Named:
    """A file with the words of its name and of the folders above it, those of role and split left out."""

    file: PurePosixPath
    split: str
    folders: tuple[str, ...]
    words: tuple[str, ...]


def _by_parts_of_words(root: Path, files: Sequence[PurePosixPath]) -> Pairing:
    named: dict[str, list[_Named]] = {"picture": [], "mask": [], "": []}
    for file in files:
        role, one = _named(file)
        named[role].append(one)
    masks = _without_views(named["mask"])
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
    several = {mask for found in chosen.values() if len(found) > 1 for mask in found}
    left_out = {one.file for one in named["mask"]} - {one.file for one in masks}
    pairing = _pairing(
        [(one.file, Place("picture", one.split, "")) for one in pictures],
        {file: [(mask, Place("mask", "", "")) for mask in found] for file, found in chosen.items()},
        [(one.file, Place("mask", one.split, "")) for one in masks],
        sorted({one.file for one in ignored} | left_out),
        _layers_by_folder([one for one in masks if one.file in several]),
    )
    return replace(pairing, guesses=(_guess(looked, root, "what their names have in common"),))


def _named(file: PurePosixPath) -> tuple[str, _Named]:
    """The role of a file by the words in the names above it and in its own."""
    role = split = ""
    folders: list[str] = []
    for folder in file.parts[:-1]:
        words = words_of(folder)
        if MASK_PARTS & set(words):
            role = "mask"
        elif _PICTURE_PARTS & set(words):
            role = "picture"
        split = split or next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "") or place(file).split
        folders += [word for word in words if word not in (*MASK_PARTS, *_PICTURE_PARTS, *SPLIT_WORDS)]
    words = words_of(without_suffix(file.stem))
    ends = {words[0], words[-1]} if words else set()
    if role != "mask" and (MASK_PARTS & ends or MASK_PARTS & set(words[-2:])):
        role = "mask"
    elif not role and _PICTURE_PARTS & ends:
        role = "picture"
    return role, _Named(file, split, tuple(folders), words)


def _without_views(masks: Sequence[_Named]) -> Sequence[_Named]:
    """Masks without those that show others in colour or number objects, if that leaves any."""
    kept = [one for one in masks if not _VIEW_PARTS & {*one.words, *one.folders}]
    return kept or masks


def _layers_by_folder(masks: Sequence[_Named]) -> dict[PurePosixPath, str]:
    """Mask -> what its folders add (`cat` of cat_masks/), where that tells several masks of a picture apart."""
    layers = {one.file: "_".join(one.folders) for one in masks}
    return layers if len(set(layers.values())) > 1 else dict.fromkeys(layers, "")


def _by_cores(pictures: Sequence[_Named], masks: Sequence[_Named]) -> dict[PurePosixPath, list[PurePosixPath]]:
    """Pairs by what is left of the names without the words with which all pictures, or all masks, begin or end."""
    of_picture, of_mask = _cores(pictures), _cores(masks)
    for by in (lambda one: (one.split, one.folders), lambda one: (one.split,), lambda one: ()):
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
    """Pairs of files that have more words in common than either has with any other file."""
    if not pictures or not masks:
        return {}
    sharing: dict[str, list[_Named]] = defaultdict(list)
    for one in pictures:
        for word in set(one.words):
            sharing[word].append(one)
    best: dict[PurePosixPath, tuple[PurePosixPath, int]] = {}
    for mask in masks:
        scores: Counter[PurePosixPath] = Counter()
        for word in set(mask.words):
            if len(sharing[word]) <= min(_MOST_SHARING, max(len(pictures) // 2, 1)):
                for one in sharing[word]:
                    scores[one.file] += 2 + (one.words.index(word) == mask.words.index(word))
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


# 3. Looks


def _by_looks(root: Path, files: Sequence[PurePosixPath]) -> Pairing:
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
                pairing = _pairing(
                    [(picture, place(picture)) for picture in pairs],
                    {picture: [(mask, Place("mask", "", ""))] for picture, mask in pairs.items()},
                    masks,
                    [file for file in files if file not in taken],
                    {},
                )
                return replace(pairing, guesses=(_guess(looked, root, "their look"),))
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


# What all three share


def _pairing(
    pictures: Sequence[Placed],
    chosen: Mapping[PurePosixPath, Sequence[Placed]],
    masks: Sequence[Placed],
    ignored: Sequence[PurePosixPath],
    layers: Mapping[PurePosixPath, str],
) -> Pairing:
    used = {file for found in chosen.values() for file, _ in found}
    return Pairing(
        pairs=tuple(
            (
                file,
                tuple(mask for mask, _ in chosen.get(file, ())),
                where.split or next((its.split for _, its in chosen.get(file, ())), ""),
            )
            for file, where in sorted(pictures)
        ),
        orphans=tuple(file for file, _ in masks if file not in used),
        ignored=tuple(ignored),
        layers=layers,
    )


def _guess(looked: Sequence[tuple[Path, Path]], root: Path, by: str) -> str:
    shown = [f"{picture.relative_to(root)} with {mask.relative_to(root)}" for picture, mask in looked]
    return (
        f"Pictures and masks are paired by {by}: {some(shown, 2)}. If that is wrong, put the pictures into images/ and "
        "the masks into masks/ under the names of their pictures."
    )


def _index(pairs: Iterable[tuple[str, Placed]]) -> dict[str, list[Placed]]:
    index: dict[str, list[Placed]] = defaultdict(list)
    for key, mask in pairs:
        if key:
            index[key].append(mask)
    return index


def _same_split(picture: Place, mask: Place) -> bool:
    return picture.split == mask.split or not picture.split or not mask.split


def _last(key: str) -> str:
    return key.rsplit("/", 1)[-1]
