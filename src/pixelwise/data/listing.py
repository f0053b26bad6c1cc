"""What lies in a dataset's folder: its picture files, what folder names mean, and the small text files beside them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pixelwise.data.pictures import PICTURE_SUFFIXES
from pixelwise.errors import UserError

PICTURE_WORDS = frozenset(
    {
        "images",
        "image",
        "imgs",
        "img",
        "pictures",
        "picture",
        "pics",
        "photos",
        "photo",
        "jpegimages",
        "inputs",
        "input",
    }
    | {"imagestr", "imagests"}
)
MASK_WORDS = frozenset(
    {
        "masks",
        "mask",
        "labels",
        "label",
        "annotations",
        "annotation",
        "annots",
        "annot",
        "segmentations",
        "segmentation",
    }
    | {"segmentationclass", "segs", "seg", "gt", "groundtruth", "truth", "targets", "target"}
    | {"labelstr", "labelsts", "trainannot", "valannot", "testannot"}
)
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
# Words that name a split and a role at once: nnU-Net's imagesTr, SegNet's trainannot.
_JOINED = {
    "imagestr": "train",
    "labelstr": "train",
    "imagests": "test",
    "labelsts": "test",
    "trainannot": "train",
    "valannot": "val",
    "testannot": "test",
}
_FILLERS = frozenset({"png", "jpg", "jpeg", "tif", "tiff", "bmp", "ground"})
MASK_SUFFIXES = ("mask", "masks", "label", "labels", "labelids", "seg", "segmentation", "gt", "annotation", "annot")
_MASK_SUFFIX = re.compile(rf"^(?P<stem>.+)[_\-. ](?:{'|'.join(MASK_SUFFIXES)})$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """What the folders above a file say of it.

    Attributes:
        role: `picture`, `mask`, or empty where no folder tells.
        split: `train`, `val`, `test`, or empty.
        key: what is left of the path when those folders and the suffix are taken away: `b/x` of `train/images/b/x.png`.
    """

    role: str
    split: str
    key: str


def place(path: PurePosixPath) -> Place:
    """Reads the meaning of a path relative to the dataset's root.

    >>> place(PurePosixPath("train_images/street/x.jpg"))
    Place(role='picture', split='train', key='street/x')
    """
    role = split = ""
    kept = []
    for folder in path.parts[:-1]:
        words = [word for word in re.split(r"[_\-. ]+", folder.lower()) if word]
        if not words or not all(word in PICTURE_WORDS | MASK_WORDS | _FILLERS or word in SPLIT_WORDS for word in words):
            kept.append(folder)
            continue
        for word in words:
            if word in PICTURE_WORDS:
                role = "picture"
            elif word in MASK_WORDS:
                role = "mask"
            split = split or SPLIT_WORDS.get(word, "") or _JOINED.get(word, "")
    return Place(role, split, "/".join([*kept, path.stem]))


def without_mask_suffix(key: str) -> str:
    """`a/x` of `a/x_mask`, and empty where there is no such suffix."""
    match = _MASK_SUFFIX.match(key)
    return match["stem"] if match else ""


def without_suffix(path: str) -> str:
    """A path without its suffix if that is one of a picture file: `v1.2` keeps its dot."""
    pure = PurePosixPath(path)
    return path[: -len(pure.suffix)] if pure.suffix.lower() in PICTURE_SUFFIXES else path


def picture_files(root: Path, suffixes: Collection[str] = PICTURE_SUFFIXES) -> tuple[PurePosixPath, ...]:
    """All files with a picture's suffix, at any depth, relative to `root`, sorted; hidden ones are skipped.

    Args:
        suffixes: in lower case, with their dot.

    Raises:
        UserError: `root` is missing or no folder.
    """
    if not root.exists():
        raise UserError(f"{root}: no such folder.")
    if not root.is_dir():
        raise UserError(f"{root}: a file, but a dataset is a folder of pictures and masks; give the folder above it.")
    found = []
    seen = set()
    for folder, below, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above would go round for ever
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith(".") and name != "__MACOSX")
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        found += [
            here / name for name in names if not name.startswith(".") and PurePosixPath(name).suffix.lower() in suffixes
        ]
    return tuple(sorted(found))


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped; blank ones and those that begin with `#` are left out.

    Raises:
        UserError: not UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save it again as plain UTF-8.") from None
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def read_classes(root: Path) -> tuple[str, ...] | None:
    """The class names of `classes.txt` in order of id, or None where there is no such file.

    Raises:
        UserError: empty, not text, more than 255 names, or a name twice.
    """
    path = root / "classes.txt"
    if not path.is_file():
        return None
    names = tuple(_name_and_colour(line)[0] for line in read_lines(path))
    if not 0 < len(names) <= 255:
        raise UserError(f"{path}: {len(names)} class names found, expected 1 to 255, one a line in order of id.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: '{twice[0]}' stands there twice; every class needs a name of its own.")
    return names


def read_colours(root: Path) -> dict[tuple[int, int, int], str]:
    """RGB colour -> class name, in order of id, from `colors.txt` or `classes.txt` with lines `name r g b`.

    Raises:
        UserError: not UTF-8 text.
    """
    for file in ("colors.txt", "colours.txt", "classes.txt"):
        if (root / file).is_file():
            pairs = [_name_and_colour(line) for line in read_lines(root / file)]
            colours = {colour: name for name, colour in pairs if colour is not None}
            if colours:
                return colours
    return {}


def _name_and_colour(line: str) -> tuple[str, tuple[int, int, int] | None]:
    match = re.match(r"^(?P<name>.+?)[\s,:;]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})$", line)
    if not match:
        return line, None
    red, green, blue = (int(value) for value in match.groups()[1:])
    return match["name"], (red, green, blue)


class Names:
    """Finds records by what people write in list files: with or without suffix, folders, or a stale prefix.

    >>> Names(["train/images/a", "train/images/b"]).find("/old/disk/images/b.png")
    ('train/images/b',)
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_tail: dict[str, set[str]] = defaultdict(set)
        for name in names:
            for tail in {*_tails(name), *_tails(without_suffix(name))}:
                self._by_tail[tail].add(name)

    def find(self, entry: str) -> tuple[str, ...]:
        """The name that ends in the longest possible tail of `entry`; several if they differ in their suffix alone.

        Empty where there is none, or where it cannot be told which one is meant.
        """
        entry = entry.replace("\\", "/").strip("/")
        for spelling in dict.fromkeys((entry, without_suffix(entry))):
            for tail in _tails(spelling):
                found = self._by_tail.get(tail)
                if found:
                    return tuple(sorted(found)) if len(set(map(without_suffix, found))) == 1 else ()
        return ()


def _tails(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def list_file(root: Path, split: str) -> Path | None:
    """The file that lists a split's pictures: `train.txt` at the root or where Pascal VOC keeps it."""
    folders = (root, root / "splits", root / "ImageSets" / "Segmentation")
    return next((path for folder in folders if (path := folder / f"{split}.txt").is_file()), None)


def some(names: Sequence[object], limit: int = 5) -> str:
    """The first few of many, and how many more there are."""
    shown = ", ".join(str(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def counted(number: int, one: str, many: str) -> str:
    """`1 picture is`, `3 pictures are`."""
    return f"{number:,} {one if number == 1 else many}"
