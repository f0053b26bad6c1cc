"""Chooses which of several folders of YOLO text files are read, and which data.yaml belongs to them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.formats.texts import head
from pixelwise.data.formats.yolo_config import Config
from pixelwise.data.listing import counted, some
from pixelwise.data.splits import even_sample

Folders = defaultdict[str, dict[Path, tuple[str, ...]]]
"""Folder of labels, empty for `labels` and for files next to pictures -> text file -> the records that it labels."""
LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class Chosen:
    """The files that are read.

    Attributes:
        files: text file -> the records that it labels.
        config: None if there is none.
        guesses: on folders and files that are not read.
    """

    files: Mapping[Path, tuple[str, ...]]
    config: Config | None
    guesses: tuple[str, ...]


def choose(folders: Folders, configs: Sequence[Config], *, given: bool) -> Chosen:
    """All text files or, if a picture has several of them in different folders, those of one folder.

    That is the folder named like the data.yaml, else `labels`, else the folder with the most polygons.

    Args:
        configs: the usual names first.
        given: whether the user has chosen the only one of them.
    """
    pictures = Counter(
        name for files in folders.values() for name in {one for names in files.values() for one in names}
    )
    double = sum(count > 1 for count in pictures.values())
    by_stem = {config.file.stem.lower(): config for config in configs}
    guesses: list[str] = []
    if not double:
        files = {file: names for part in folders.values() for file, names in part.items()}
        folder = next(iter(folders), "") if len(folders) == 1 else ""
    else:
        folder = _folder(folders, by_stem if given else {})
        files = folders[folder]
        others = [_called(other) for other in folders if other != folder]
        if not given:
            guesses.append(
                f"{counted(double, 'picture has', 'pictures have')} text files in several folders; those in "
                f"{_called(folder)} are read, and those in {some(others, 3)} are not. To choose others, move these out"
                + (f", or give {configs[0].file.parent}/NAME.yaml in place of the folder." if configs else ".")
            )
    own = by_stem.get(folder.rpartition("/")[2].lower())
    config = own or (configs[0] if configs else None)
    if config is not own and config is not None and any(other.names != config.names for other in configs):
        rest = [other.file.name for other in configs if other is not config]
        guesses.append(
            f"The classes are named as in {config.file.name}; {some(rest, 3)} gives other names or ids. Move out what "
            "does not belong to these labels."
        )
    return Chosen(files, config, (*guesses, *(config.guesses() if config is not None else ())))


def _folder(folders: Folders, by_stem: Mapping[str, Config]) -> str:
    def preference(folder: str) -> tuple[bool, bool, int]:
        files = even_sample(list(folders[folder]), LOOKED_AT)
        polygons = sum(len(line.split()) > 5 for file in files for line in head(file).splitlines())
        return folder.rpartition("/")[2].lower() in by_stem, folder == "", polygons

    return max(sorted(folders), key=preference)


def _called(folder: str) -> str:
    return folder or "labels"
