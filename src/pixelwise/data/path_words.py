"""The meaning of names of folders and files: which role and split they state, and the rest of a path without them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from pixelwise.data.pictures import PICTURE_SUFFIXES

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
MASK_PARTS = MASK_WORDS | {"truth", "semantic", "manual", "matte", "mattes", "trimap", "trimaps", "labelids", "ids"}
MASK_PARTS |= {"lab", "labs", "lbl", "lbls", "ann", "anns", "anno", "annos", "labeled", "labelled", "gts"}
PICTURE_PARTS = PICTURE_WORDS | {"sat", "rgb", "rgbn", "irrg", "orig", "original", "raw"}
"""Words that state the role as parts of longer names."""
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
# Words that state a split and a role at once: nnU-Net's imagesTr, SegNet's trainannot.
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
class PathMeaning:
    """The meaning of the folders above a file.

    Attributes:
        role: `picture`, `mask`, or empty if no folder states it.
        split: `train`, `val`, `test`, or empty.
        key: the rest of the path without those folders and the suffix: `b/x` of `train/images/b/x.png`; with composed
            accents, and blanks for `%20`.
    """

    role: str
    split: str
    key: str


def parse_path(path: PurePosixPath) -> PathMeaning:
    """Reads the meaning of a path relative to the dataset's root.

    >>> parse_path(PurePosixPath("train_images/street/x.jpg"))
    PathMeaning(role='picture', split='train', key='street/x')
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
    return PathMeaning(role, split, unicodedata.normalize("NFC", key).replace("%20", " "))


@lru_cache(maxsize=4096)
def _folder_meaning(folder: str) -> tuple[str, str] | None:
    """The role and the split that a folder's name states, empty if it does not; None if it means something else."""
    words = [word for word in re.split(r"[_\-. ]+", folder.lower()) if word]
    if not words or not all(word in PICTURE_WORDS | MASK_WORDS | _FILLERS or word in SPLIT_WORDS for word in words):
        return None
    roles = ["picture" if word in PICTURE_WORDS else "mask" for word in words if word in PICTURE_WORDS | MASK_WORDS]
    splits = (SPLIT_WORDS.get(word, "") or _JOINED.get(word, "") for word in words)
    return roles[-1] if roles else "", next(filter(None, splits), "")


def without_mask_suffix(key: str) -> str:
    """A key without the suffix of a mask: `a/x` for `a/x_mask` and `a/x_mask_1`; empty if there is no such suffix."""
    match = _MASK_SUFFIX.match(key)
    return match["stem"] if match else ""


def words_of(name: str) -> tuple[str, ...]:
    """The words and numbers in a name, in lower case.

    >>> words_of("gtFine_labelIds-07")
    ('gt', 'fine', 'label', 'ids', '07')
    """
    return tuple(word.lower() for word in _WORD.findall(name))


def without_suffix(path: str) -> str:
    """A path without its suffix if that is the suffix of a picture file: `v1.2` keeps its dot."""
    stem, dot, suffix = path.rpartition(".")
    named = bool(stem) and not stem.endswith("/")
    return stem if named and dot + suffix.lower() in PICTURE_SUFFIXES else path


def record_names(pictures: Collection[PurePosixPath]) -> dict[PurePosixPath, str]:
    """Picture -> its path without the suffix, or with it if other pictures differ only in their suffix."""
    counts = Counter(without_suffix(str(picture)) for picture in pictures)
    return {
        picture: name if counts[name := without_suffix(str(picture))] == 1 else str(picture) for picture in pictures
    }
