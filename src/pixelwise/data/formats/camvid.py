"""SegNet's layout of CamVid (Badrinarayanan et al. 2017, the authors' tutorial).

    train/x.png trainannot/x.png val/ valannot/ [test/ testannot/] train.txt val.txt [test.txt]

List files hold `picture label` pairs whose paths may begin with a folder of another machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from pixelwise.data.class_table import read_classes
from pixelwise.data.codings import MaskCoding
from pixelwise.data.formats.survey import SPLITS, Survey
from pixelwise.data.listing import Faults, picture_files, read_lines
from pixelwise.data.record import Record
from pixelwise.data.sample import VOID

CLASS_NAMES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)


@dataclass
class _Files:
    """The picture files below the root, found by the last two parts of their paths, if need be without the suffix."""

    root: Path
    by_name: dict[str, PurePosixPath] = field(default_factory=dict)
    by_stem: dict[str, PurePosixPath] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for file in picture_files(self.root):
            if len(file.parts) == 2:
                self.by_name[str(file)] = file
                self.by_stem.setdefault(str(file.with_suffix("")), file)

    def find(self, entry: str) -> PurePosixPath | None:
        tail = PurePosixPath(*PurePosixPath(entry.replace("\\", "/")).parts[-2:])
        return self.by_name.get(str(tail)) or self.by_stem.get(str(tail.with_suffix("")))


def detect(root: Path) -> bool:
    return (root / "train").is_dir() and (root / "trainannot").is_dir()


def survey(root: Path) -> Survey:
    """The pictures in the lists; if a list is missing, all pictures of the folder."""
    faults = Faults()
    files = _Files(root)
    pictures: dict[PurePosixPath, PurePosixPath | None] = {}
    given: dict[str, tuple[str, ...]] = {}
    missing: list[str] = []
    for split in SPLITS:
        pairs = _pairs_of(root, split, files, missing, faults)
        pictures |= pairs
        if pairs:
            given[split] = tuple(sorted(_name(picture) for picture in pairs))
    labels = {label for label in pictures.values() if label is not None}
    others = [file for file in files.by_name.values() if file not in pictures and file not in labels]
    names, mapping = _classes(faults.attempt(partial(read_classes, root), None))
    return Survey(
        root=root,
        layout="camvid",
        records=tuple(
            Record(_name(picture), root / picture, () if label is None else (root / label,))
            for picture, label in sorted(pictures.items())
        ),
        given=given,
        class_names=names,
        coding=MaskCoding(mapping=mapping),
        orphans=tuple(str(file) for file in others if file.parts[0].endswith("annot")),
        ignored=tuple(str(file) for file in others if not file.parts[0].endswith("annot")),
        missing=tuple(missing),
        faults=tuple(faults),
        notes=tuple(f"Id {stored} of the masks is read as void." for stored in mapping),
    )


def _pairs_of(
    root: Path, split: str, files: _Files, missing: list[str], faults: Faults
) -> dict[PurePosixPath, PurePosixPath | None]:
    """Picture -> label of one split; entries that name no file are added to `missing`, unreadable lists to `faults`."""
    list_file = root / f"{split}.txt"
    if not list_file.is_file():
        return {
            file: files.by_stem.get(f"{split}annot/{file.stem}")
            for file in files.by_name.values()
            if file.parts[0] == split
        }
    pairs = {}
    for line in faults.attempt(partial(read_lines, list_file), list[str]()):
        entries = line.split()
        picture = files.find(entries[0])
        label = files.find(entries[1] if len(entries) > 1 else f"{split}annot/{PurePosixPath(entries[0]).name}")
        if picture is None:
            missing.append(f"{list_file.name}: {entries[0]}")
        else:
            pairs[picture] = label
            if label is None and len(entries) > 1:
                missing.append(f"{list_file.name}: {entries[1]}")
    return pairs


def _classes(given: tuple[str, ...] | None) -> tuple[tuple[str, ...], dict[int, int]]:
    """The names, and the mapping of the id that follows them to void; a twelfth name is the name of void."""
    names = given or CLASS_NAMES
    if len(names) == len(CLASS_NAMES) + 1:
        names = names[:-1]
    return names, {len(names): VOID} if len(names) == len(CLASS_NAMES) else {}


def _name(picture: PurePosixPath) -> str:
    return str(picture.with_suffix(""))
