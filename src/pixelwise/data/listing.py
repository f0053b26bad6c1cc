"""The files in a dataset's folder: its pictures, and the small text files next to them."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pixelwise.data.pictures import PICTURE_SUFFIXES
from pixelwise.errors import UserError

T = TypeVar("T")
PathLike = str | os.PathLike[str]
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, because it begins with UTF-16's mark
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LIST_FOLDERS = (
    "",
    "splits",
    "lists",
    "meta",
    "annotations",
    "ImageSets/Segmentation",
    "ImageSets/Main",
    "ImageSets",
)
"""Folders in which lists of pictures are looked for, below the dataset's folder, in this order."""
LIST_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
MAX_HOMES = 4
"""How many nested folders may each hold nothing but the next one."""


def picture_files(root: Path, suffixes: Collection[str] = PICTURE_SUFFIXES) -> tuple[PurePosixPath, ...]:
    """All files with a picture's suffix, at any depth, relative to `root`, sorted; hidden files are skipped.

    Args:
        suffixes: in lower case, with their dot.

    Raises:
        UserError: `root` is missing or not a folder.
    """
    if not root.exists():
        raise UserError(f"{root}: no such folder.")
    if not root.is_dir():
        raise UserError(f"{root}: a file, but a dataset is a folder of pictures and masks; give the folder above it.")
    return tuple(sorted(_files(root, suffixes)))


def hidden_pictures(root: Path) -> tuple[PurePosixPath, ...]:
    """The picture files that `picture_files` skips: hidden ones, thumbnails of drives, leftovers of archives."""
    return tuple(sorted(file for file in _files(root, PICTURE_SUFFIXES, hidden=True) if is_hidden(file)))


def is_hidden(path: PurePosixPath) -> bool:
    """Whether a file, or a folder above it, is hidden from users."""
    return any(part.startswith((".", "@eaDir")) or part == "__MACOSX" for part in path.parts)


def _files(root: Path, suffixes: Collection[str], *, hidden: bool = False) -> Iterator[PurePosixPath]:
    seen = set()
    for folder, below, names in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above would lead into an endless loop
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if hidden or not is_hidden(PurePosixPath(name)))
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        for name in names:
            if os.path.splitext(name)[1].lower() in suffixes and (hidden or not name.startswith(".")):
                yield here / name


def _refuse(error: OSError) -> None:
    """Reports a folder that cannot be read, which `os.walk` would skip.

    Raises:
        UserError: always.
    """
    raise UserError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions, or move it away.")


class Faults(list[str]):
    """Sentences on text files that cannot be read or understood, kept so that one does not hide the others."""

    def attempt(self, read: Callable[[], T], instead: T) -> T:
        """Returns the result of `read()`; if it raises a `UserError`, keeps the sentence and returns `instead`."""
        try:
            return read()
        except UserError as error:
            self.append(str(error))
            return instead


def encoding_of(content: bytes) -> str:
    """The encoding that the first bytes indicate: by a mark, or by zeros between letters (UTF-16, UTF-32)."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    zeros = [index for index, byte in enumerate(content[:4]) if byte == 0]
    return {(1, 3): "utf-16-le", (0, 2): "utf-16-be", (1, 2, 3): "utf-32-le", (0, 1, 2): "utf-32-be"}.get(
        tuple(zeros), "utf-8"
    )


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 (Windows' Notepad, PowerShell's `>`).

    Raises:
        UserError: the text has another encoding.
    """
    data = path.read_bytes()
    try:
        return data.decode(encoding_of(data))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save it again as plain UTF-8.") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped; blank ones and those that begin with `#` are left out.

    Raises:
        UserError: as in `read_text`.
    """
    lines = (line.strip() for line in read_text(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def homes_of(root: Path) -> tuple[Path, ...]:
    """The dataset's folder, then the only folder in it if that holds everything, and so on: DATA, then DATA/VOC2012."""
    homes = [root]
    while len(homes) < MAX_HOMES and homes[-1].is_dir():
        below = [one for one in homes[-1].iterdir() if one.is_dir() and not is_hidden(PurePosixPath(one.name))]
        if len(below) != 1:
            break
        homes += below
    return tuple(homes)


def list_file(root: Path, split: str, folders: Sequence[str] = LIST_FOLDERS) -> Path | None:
    """The file that lists a split's pictures: `train.txt` or similar, at the root or where Pascal VOC keeps it."""
    for home in homes_of(root):
        for folder in (home / each for each in folders):
            files = sorted(file for file in folder.glob("*.txt") if file.is_file()) if folder.is_dir() else []
            found = [file for file in files if _lists(file.stem, split)]
            if found:
                return min(found, key=lambda file: len(file.name))
    return None


def _lists(stem: str, split: str) -> bool:
    """Whether a name such as `train`, `train_list`, `list_train` or `training-ids` means the list of a split."""
    words = "|".join(LIST_NAMES[split])
    return bool(re.fullmatch(rf"(list[_-]?)?({words})([_-]?(list|files|filenames|names|ids|set|split))?", stem.lower()))


def some(names: Sequence[object], limit: int = 5) -> str:
    """The first few of many, and the number of the others."""
    shown = ", ".join(str(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def counted(number: int, one: str, many: str) -> str:
    """`1 picture is`, `3 pictures are`."""
    return f"{number:,} {one if number == 1 else many}"


def relative(root: Path, file: Path) -> str:
    """A file's path below the dataset's folder, with `/`; empty for the folder itself."""
    path = file.relative_to(root).as_posix()
    return "" if path == "." else path
