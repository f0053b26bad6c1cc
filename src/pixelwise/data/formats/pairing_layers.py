"""Several masks per picture, distinguished by what their names and folders add to the name of the picture.

masks/cat/x.png + masks/dog/x.png      x_cat.png + x_dog.png      masks/x/cat.png + masks/x/dog.png      of x.jpg
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from pixelwise.data.formats.pairs import ParsedFile, same_split, spellings
from pixelwise.data.path_words import without_mask_suffix


def layers_of(
    pictures: Sequence[ParsedFile], masks: Sequence[ParsedFile]
) -> tuple[dict[PurePosixPath, list[ParsedFile]], dict[PurePosixPath, str]]:
    """Picture -> its masks, and mask -> the name of its layer, empty if that names no class."""
    of_key: dict[str, list[ParsedFile]] = defaultdict(list)
    for file, where in pictures:
        of_key[where.key].append((file, where))
    read = _below_picture if _lie_below_pictures(of_key.keys(), masks) else _without_layer
    chosen: dict[PurePosixPath, list[ParsedFile]] = defaultdict(list)
    layers: dict[PurePosixPath, str] = {}
    for file, where in masks:
        for key, layer in read(where.key):
            found = [picture for picture, its in of_key.get(key, ()) if same_split(its, where)]
            if len(found) == 1:
                chosen[found[0]].append((file, where))
                layers[file] = layer
                break
    return dict(chosen), named_layers(chosen, layers)


def named_layers(
    chosen: Mapping[PurePosixPath, Sequence[ParsedFile]], layers: Mapping[PurePosixPath, str]
) -> dict[PurePosixPath, str]:
    """Mask -> the name of its layer, if these may be classes; else each mask of pictures with several -> an empty name.

    Numbers, an addition that all masks have, and names most of which occur only once do not distinguish classes.
    """
    counts = Counter(layers.values())
    once = sum(count == 1 for count in counts.values())
    hashes = len(chosen) > 1 and 2 * once > len(counts)
    if len(counts) == 1 or all(re.fullmatch(r"\d*", layer) for layer in counts) or hashes:
        return dict.fromkeys((mask for found in chosen.values() if len(found) > 1 for mask, _ in found), "")
    return dict(layers)


def _lie_below_pictures(keys: Collection[str], masks: Sequence[ParsedFile]) -> bool:
    """Whether the folders of masks are named after the pictures (`masks/x/0.png`), at least half of which have one."""
    folders = {where.key.rpartition("/")[0] for _, where in masks}
    return all(folder in keys for folder in folders) and 2 * len(folders) >= len(keys)


def _below_picture(key: str) -> Iterable[tuple[str, str]]:
    """The folder, which is the picture's key, and the part that the name adds to it."""
    folder, _, last = key.rpartition("/")
    yield folder, last.removeprefix(folder.rpartition("/")[2]).lstrip("_-. ")


def _without_layer(key: str) -> Iterable[tuple[str, str]]:
    """The keys that a picture with the mask `key` may have, each with the name of the layer: longest first."""
    folders, _, last = key.rpartition("/")
    if folders:
        above, _, layer = folders.rpartition("/")
        for name in filter(None, (*spellings(last), without_mask_suffix(last))):
            yield f"{above}/{name}" if above else name, layer
        first, _, below = key.partition("/")
        yield below, first
    for match in reversed(list(re.finditer(r"[_\-. ]", last))):
        head = last[: match.start()]
        yield f"{folders}/{head}" if folders else head, last[match.end() :]
