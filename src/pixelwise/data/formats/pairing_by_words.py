"""Pairs pictures and masks by names: folders called `images` and `masks`, suffixes such as `_mask`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from pathlib import PurePosixPath

from pixelwise.data.formats.pairing_layers import layers_of
from pixelwise.data.formats.pairs import Pairing, ParsedFile, make_pairing, same_split, spellings
from pixelwise.data.listing import some
from pixelwise.data.path_words import MASK_PARTS, parse_path, without_mask_suffix, words_of


def by_words(files: Sequence[PurePosixPath]) -> Pairing:
    """A mask has the name of its picture, perhaps with a suffix such as `_mask`, and is in a folder with the same name
    (`images/b`, `masks/b`) and of the same split. If either side has no such folders, the bare name is enough, provided
    that only one picture has it."""
    parsed = [(file, parse_path(file)) for file in files]
    roles = {where.role for _, where in parsed}
    ignored: list[PurePosixPath] = []
    if "mask" in roles:
        masks = [(file, where) for file, where in parsed if where.role == "mask"]
        pictures = [(file, where) for file, where in parsed if where.role == "picture"]
        others = [(file, where) for file, where in parsed if where.role == ""]
        if pictures:
            ignored = [file for file, _ in others]
        else:
            pictures = others
    else:
        if "picture" in roles:
            ignored = [file for file, where in parsed if where.role == ""]
            parsed = [(file, where) for file, where in parsed if where.role == "picture"]
        keys = {(where.split, where.key) for _, where in parsed}
        masks = [(file, where) for file, where in parsed if (where.split, without_mask_suffix(where.key)) in keys]
        beside = {file for file, _ in masks}
        pictures = [(file, where) for file, where in parsed if file not in beside]
    chosen, layers = _match(pictures, masks)
    pairing = make_pairing(pictures, chosen, masks, ignored, layers)
    return _with_other_masks(pairing, {where.key for file, where in pictures if file in chosen})


def _with_other_masks(pairing: Pairing, keys: Set[str]) -> Pairing:
    """Reports other masks that may be meant: second masks of pictures, or masks in folders named after masks.

    Args:
        keys: the keys of the pictures that have a mask.
    """
    spare = [
        file for file in pairing.orphans if {parse_path(file).key, without_mask_suffix(parse_path(file).key)} & keys
    ]
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
            f"The masks in {some(read)} are read, and those in {some(others)} are not; if you mean the latter, move "
            "the former away.",
        ),
    )


def _match(
    pictures: Sequence[ParsedFile], masks: Sequence[ParsedFile]
) -> tuple[dict[PurePosixPath, list[ParsedFile]], dict[PurePosixPath, str]]:
    """Picture -> its masks, and mask -> the name of its layer.

    Masks are found by the exact key, then without the mask's suffix, then by the last part of the key. If no key is
    equal, masks are found by the part that their name or folder adds to the picture's key, provided that no more masks
    are left over than by the other ways.
    """
    chosen, layers = _by_key(pictures, masks)
    taken = {mask for found in chosen.values() for mask, _ in found}
    by_last = _by_last_part(
        [(file, where) for file, where in pictures if file not in chosen],
        [(file, where) for file, where in masks if file not in taken],
    )
    if chosen:
        return chosen | by_last, layers
    layered, layers = layers_of(pictures, masks)
    if layered and sum(map(len, layered.values())) >= len(by_last):
        return layered, layers
    return by_last, {}


def _by_key(
    pictures: Sequence[ParsedFile], masks: Sequence[ParsedFile]
) -> tuple[dict[PurePosixPath, list[ParsedFile]], dict[PurePosixPath, str]]:
    """The result of `_match` by the whole key."""
    chosen: dict[PurePosixPath, list[ParsedFile]] = {}
    exact = _index((spelling, (file, where)) for file, where in masks for spelling in spellings(where.key))
    suffixed = _index((without_mask_suffix(where.key), (file, where)) for file, where in masks)
    layers: dict[PurePosixPath, str] = {}
    for file, where in pictures:
        for index in (exact, suffixed):
            found = [mask for mask in index.get(where.key, ()) if same_split(where, mask[1])]
            if found:
                # A mask in the picture's split takes precedence over one that serves all splits.
                nearest = max(mask[1].split == where.split for mask in found)
                found = [mask for mask in found if (mask[1].split == where.split) == nearest]
                chosen[file] = found if index is suffixed else found[:1]
                layers |= {mask: "" for mask, _ in chosen[file]} if len(chosen[file]) > 1 else {}
                break
    return chosen, layers


def _by_last_part(pictures: Sequence[ParsedFile], masks: Sequence[ParsedFile]) -> dict[PurePosixPath, list[ParsedFile]]:
    """The only mask with a picture's bare name, if one of the two has no folders."""
    by_stem = _index(
        (_last(without_mask_suffix(where.key) if suffixed_name else where.key), (file, where))
        for file, where in masks
        for suffixed_name in (False, True)
    )
    namesakes = Counter(_last(where.key) for _, where in pictures)
    chosen = {}
    for file, where in pictures:
        found = [
            mask
            for mask in by_stem.get(_last(where.key), ())
            if same_split(where, mask[1]) and ("/" not in where.key or "/" not in mask[1].key)
        ]
        if len(found) == 1 and namesakes[_last(where.key)] == 1:
            chosen[file] = found
    return chosen


def _index(pairs: Iterable[tuple[str, ParsedFile]]) -> dict[str, list[ParsedFile]]:
    index: dict[str, list[ParsedFile]] = defaultdict(list)
    for key, mask in pairs:
        if key:
            index[key].append(mask)
    return index


def _last(key: str) -> str:
    return key.rsplit("/", 1)[-1]
