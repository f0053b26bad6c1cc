"""YOLO's data.yaml: the names of the classes, the splits, and the number of keypoints per line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pixelwise.data.formats import entries
from pixelwise.data.formats.survey import SPLITS
from pixelwise.data.listing import Faults, homes_of, read_lines, read_text, relative, some
from pixelwise.data.names import Finder, Unmatched
from pixelwise.data.record import Record
from pixelwise.errors import UserError

SUFFIXES = (".yaml", ".yml")
USUAL = ("data.yaml", "dataset.yaml", "data.yml")
_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


@dataclass(frozen=True, slots=True)
class Config:
    """One data.yaml.

    Attributes:
        file: its path.
        names: class id in the text files -> name.
        entries: split -> folders and list files of pictures, as written.
        keypoints: how many numbers of a line are keypoints.
    """

    file: Path
    names: Mapping[int, str]
    entries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keypoints: int = 0

    def guesses(self) -> list[str]:
        """A sentence on names that several ids share."""
        ids: dict[str, list[int]] = {}
        for class_id, name in self.names.items():
            ids.setdefault(name, []).append(class_id)
        double = [f"{name}: {', '.join(map(str, several))}" for name, several in ids.items() if len(several) > 1]
        if not double:
            return []
        return [
            f"{self.file.name} gives one name to several ids ({some(double, 3)}), which are read as one class; give "
            "each its own name if they differ."
        ]


def is_config(path: Path) -> bool:
    """Whether a path is that of a YAML file."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def home_of(path: Path) -> Path:
    """The folder of a dataset that is given as a folder or as a data.yaml in it."""
    return path.parent if is_config(path) else path


def configs_of(root: Path, faults: Faults) -> list[Config]:
    """The files at the root that name classes, the usual names first."""
    found = []
    for home in homes_of(root):
        files = [file for file in home.iterdir() if is_config(file)]
        for file in sorted(files, key=lambda file: (file.name.lower() not in USUAL, file.name)):
            try:
                config = read_config(file)
            except UserError as error:
                faults.append(str(error))
                continue
            found += [config] if config is not None else []
    return found


def read_config(file: Path) -> Config | None:
    """The content of the file; None if it names no classes.

    Raises:
        UserError: the file is not text or not YAML, or its names are neither a list nor an object by id.
    """
    try:
        content = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read as YAML ({' '.join(str(error).split())}); correct it.") from None
    if not isinstance(content, dict) or "names" not in content:
        return None
    names = content["names"]
    pairs = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else None
    if pairs is None:
        raise UserError(f"{file}: 'names' is {entries.short(names)}, expected a list, or an object of ids and names.")
    try:
        by_id = {_id(key): entries.name({"name": name}, "name") for key, name in pairs}
    except UserError as error:
        raise UserError(f"{file}, names: {error}") from None
    splits = {split: _paths(content, keys) for split, keys in _KEYS.items()}
    return Config(file, dict(sorted(by_id.items())), splits, _keypoints(file, content.get("kpt_shape")))


def _id(key: Any) -> int:
    class_id = entries.identity({"id": key}, "id")
    if not isinstance(class_id, int):
        raise UserError(f"the id {entries.short(key)} is not a whole number.")
    return class_id


def _paths(content: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    given = next((content[key] for key in keys if content.get(key)), ())
    return tuple(str(path) for path in (given if isinstance(given, list) else [given] if given else ()))


def _keypoints(file: Path, shape: Any) -> int:
    if shape is None:
        return 0
    if not isinstance(shape, list) or [type(side) for side in shape] != [int, int] or min(shape) < 1:
        raise UserError(f"{file}: 'kpt_shape' is {entries.short(shape)}, expected [keypoints, 2 or 3].")
    return int(shape[0] * shape[1])


@dataclass(slots=True)
class GivenSplits:
    """The splits that a data.yaml states.

    Attributes:
        names: split -> names of records.
        unmatched: entries that name no folder, file or picture here.
        guesses: on entries that are not followed.
    """

    names: dict[str, list[str]] = field(default_factory=dict)
    unmatched: Unmatched = field(default_factory=Unmatched)
    guesses: list[str] = field(default_factory=list)


def splits_of(config: Config, root: Path, records: Sequence[Record], finder: Finder, faults: Faults) -> GivenSplits:
    """The pictures of each split: those below its folders and those that its list files name.

    A path may begin with folders of another machine, and `..` in it is ignored. A `val` that repeats `train`, as in
    demonstrations, is not used.
    """
    given, where = GivenSplits(), relative(root, config.file)
    for split in SPLITS:
        names: list[str] = []
        for entry in config.entries.get(split, ()):
            path = _existing(config.file.parent, entry)
            if path is None:
                given.unmatched.missing[f"{where}: {split} {entry}"] = None
            elif path.is_dir():
                below = f"{relative(root, path)}/".removeprefix("/")
                names += [record.name for record in records if record.name.startswith(below)]
            else:
                names += _listed(path, root, finder, split, given.unmatched, faults)
        if names:
            given.names[split] = list(dict.fromkeys(names))
    train, val = (set(given.names.get(split, ())) for split in ("train", "val"))
    if val and val == train:
        del given.names["val"]
        given.guesses.append(
            f"{where} gives the same pictures for train and val, so val is not followed: some pictures are held out "
            "instead. Give val its own folder to choose them yourself."
        )
    return given


def _listed(file: Path, root: Path, finder: Finder, split: str, unmatched: Unmatched, faults: Faults) -> Iterable[str]:
    lines = faults.attempt(lambda: read_lines(file), list[str]())
    for line, found in finder.all_of(file, lines, split).items():
        unmatched.note(relative(root, file), line, found)
        yield from found.names


def _existing(home: Path, entry: str) -> Path | None:
    """The folder or file that a path means: the longest end of the path that exists below `home`."""
    parts = [part for part in PurePosixPath(entry.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    for start in range(len(parts)):
        path = home.joinpath(*parts[start:])
        if _exists(path):
            return path
    return home if not parts else None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with characters that no file name can have
        return False
