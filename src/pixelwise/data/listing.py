"""What lies in a dataset's folder: its picture files, what folder names mean, and the small text files beside them."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import unquote

from pixelwise.data.pictures import PICTURE_SUFFIXES
from pixelwise.errors import UserError

T = TypeVar("T")

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
_MASK_SUFFIX = re.compile(rf"^(?P<stem>.+)[_\-. ](?:{'|'.join(MASK_SUFFIXES)})(?:[_\-. ]?\d+)?$", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Place:
    """What the folders above a file say of it.

    Attributes:
        role: `picture`, `mask`, or empty where no folder tells.
        split: `train`, `val`, `test`, or empty.
        key: what is left of the path when those folders and the suffix are taken away: `b/x` of `train/images/b/x.png`;
            with composed accents, and blanks for `%20`.
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
        meaning = _folder_meaning(folder)
        if meaning is None:
            kept.append(folder)
            continue
        role = meaning[0] or role
        split = split or meaning[1]
    key = "/".join([*kept, path.stem])
    return Place(role, split, unicodedata.normalize("NFC", key).replace("%20", " "))


@lru_cache(maxsize=4096)
def _folder_meaning(folder: str) -> tuple[str, str] | None:
    """The role and the split that a folder's name says, empty where it does not; None where it says anything else."""
    words = [word for word in re.split(r"[_\-. ]+", folder.lower()) if word]
    if not words or not all(word in PICTURE_WORDS | MASK_WORDS | _FILLERS or word in SPLIT_WORDS for word in words):
        return None
    roles = ["picture" if word in PICTURE_WORDS else "mask" for word in words if word in PICTURE_WORDS | MASK_WORDS]
    splits = (SPLIT_WORDS.get(word, "") or _JOINED.get(word, "") for word in words)
    return roles[-1] if roles else "", next(filter(None, splits), "")


def without_mask_suffix(key: str) -> str:
    """`a/x` of `a/x_mask` and `a/x_mask_1`, and empty where there is no such suffix."""
    match = _MASK_SUFFIX.match(key)
    return match["stem"] if match else ""


def words_of(name: str) -> tuple[str, ...]:
    """The words and numbers in a name, in lower case.

    >>> words_of("gtFine_labelIds-07")
    ('gt', 'fine', 'label', 'ids', '07')
    """
    return tuple(word.lower() for word in _WORD.findall(name))


def without_suffix(path: str) -> str:
    """A path without its suffix if that is one of a picture file: `v1.2` keeps its dot."""
    stem, dot, suffix = path.rpartition(".")
    named = bool(stem) and not stem.endswith("/")
    return stem if named and dot + suffix.lower() in PICTURE_SUFFIXES else path


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


class Faults(list[str]):
    """Sentences on text files that cannot be read or understood, kept so that one does not hide the others."""

    def attempt(self, read: Callable[[], T], instead: T) -> T:
        """What `read()` returns; where it raises a `UserError`, keeps the sentence and returns `instead`."""
        try:
            return read()
        except UserError as error:
            self.append(str(error))
            return instead


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark (Windows' Notepad, PowerShell's `>`).

    Raises:
        UserError: another encoding.
    """
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save it again as plain UTF-8.") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped; blank ones and those that begin with `#` are left out.

    Raises:
        UserError: as `read_text`.
    """
    lines = (line.strip() for line in read_text(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@dataclass(frozen=True, slots=True)
class Found:
    """What an entry of a list or an annotation file means.

    Attributes:
        names: the record; several if they differ in their suffix alone; empty where there is none.
        rivals: the records that the entry fits equally well, where there are several and `names` is empty.
    """

    names: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()


@dataclass(slots=True)
class Unmatched:
    """Entries of list and annotation files that mean no picture here, or several: `train.txt: x.png`, in order."""

    missing: dict[str, None] = field(default_factory=dict)
    ambiguous: dict[str, None] = field(default_factory=dict)

    def note(self, file: str, entry: str, found: Found) -> None:
        """Keeps an entry that was not found."""
        if found.rivals:
            self.ambiguous[f"{file}: {entry} ({' or '.join(found.rivals[:3])})"] = None
        elif not found.names:
            self.missing[f"{file}: {entry}"] = None


class Names:
    """Finds records by the paths that people write into list and annotation files.

    An entry may lack the suffix or have another one, use backslashes, `%20`, decomposed accents, or begin with folders
    of another machine. In this order, an entry means

    1. the record of exactly that path below the dataset's root, or below the folder of the file that holds the entry;
    2. the record whose path ends in the entry; of several, the one of the file's own split, then of the file's own
       folder;
    3. the same without leading folders of the entry that exist nowhere in the dataset, if what is left is the record's
       whole path but for folders that say its role or split (`images`, `train`);
    4. the record of the same path once those folders are taken away on both sides (`images/x` of `images/train/x`).

    A folder that exists in the dataset is never dropped: `b/2.jpg` does not mean `a/2.jpg`.

    >>> Names(["images/a/1", "images/b/1"]).find("/old/disk/images/b/1.png").names
    ('images/b/1',)
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._of_path: dict[str, set[str]] = defaultdict(set)
        self._of_tail: dict[str, set[str]] = defaultdict(set)
        self._of_key: dict[str, set[str]] = defaultdict(set)
        self._folders: set[str] = set()
        self._split: dict[str, str] = {}
        names = list(names)
        self._common = _common_folders(names)
        for name in names:
            path = _spelled(name)
            where = place(PurePosixPath(path + ".x"))
            self._split[name] = where.split
            self._folders.update(path.split("/")[:-1])
            for spelling in {path, without_suffix(path)}:
                self._of_path[spelling].add(name)
                for tail in _tails(spelling):
                    self._of_tail[tail].add(name)
            for key in {where.key, without_suffix(where.key)}:
                self._of_key[key.removeprefix(self._common)].add(name)

    def find(self, entry: str, *, beside: str = "", split: str = "") -> Found:
        """What `entry` means.

        Args:
            beside: the folder of the file that holds the entry, relative to the root; empty for the root itself.
            split: the split that this file is about, or empty.
        """
        plain = entry.replace("\\", "/")
        spellings = [_spelled(text) for text in dict.fromkeys((plain, unquote(plain)))]
        for spelling in dict.fromkeys(each for one in spellings for each in (one, without_suffix(one))):
            if spelling and (found := self._find(spelling, _spelled(beside), split)) != Found():
                return found
        return Found()

    def _find(self, path: str, beside: str, split: str) -> Found:
        for exact in (path, posixpath.normpath(posixpath.join(beside, path))):
            if self._alike(self._of_path.get(exact, ())):
                return Found(tuple(sorted(self._of_path[exact])))
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        path = "/".join(parts)
        if path in self._of_tail:
            return self._nearest(self._of_tail[path], beside, split)
        known = next((index for index, part in enumerate(parts[:-1]) if part in self._folders), len(parts) - 1)
        tail = "/".join(parts[known:])
        if known and tail in self._of_tail:
            found = {name for name in self._of_tail[tail] if self._says_no_more(name, tail)}
            if found:
                return self._nearest(found, beside, split)
        where = place(PurePosixPath("/".join(parts[known:]) + ".x"))
        return self._nearest(
            {
                name
                for name in self._of_key.get(where.key.removeprefix(self._common), ())
                if not (where.split and self._split[name] and where.split != self._split[name])
            },
            beside,
            split or where.split,
        )

    def _says_no_more(self, name: str, tail: str) -> bool:
        """Whether the folders of a record before `tail` tell its role or split alone, or are those of all records."""
        path = _spelled(name)
        head = (path if path.endswith(tail) else without_suffix(path)).removesuffix(tail).removeprefix(self._common)
        return not head.strip("/") or "/" not in place(PurePosixPath(head) / "x").key

    def _nearest(self, names: Collection[str], beside: str, split: str) -> Found:
        """One of several records: of the split, then below the folder."""
        left = set(names)
        for nearer in (
            {name for name in left if split and self._split[name] == split},
            {name for name in left if beside and _spelled(name).startswith(f"{beside}/")},
        ):
            left = left & nearer or left
        ordered = tuple(sorted(left))
        return Found(ordered) if self._alike(left) else Found((), ordered)

    @staticmethod
    def _alike(names: Collection[str]) -> bool:
        return len({without_suffix(name) for name in names}) == 1


def _spelled(path: str) -> str:
    """A path in the one form in which paths are compared: composed accents, no `./` before it, no `/` around it."""
    return unicodedata.normalize("NFC", path).removeprefix("./").strip("/")


def _tails(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _common_folders(names: Sequence[str]) -> str:
    """`data/` where all names lie in that folder and it tells neither role nor split."""
    columns = zip(*(_spelled(name).split("/")[:-1] for name in names), strict=False)
    shared = (column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
    return "".join(f"{folder}/" for folder in takewhile(lambda one: place(PurePosixPath(one) / "x").key != "x", shared))


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
