"""A digest of a dataset, which notices changes of any file."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pixelwise.data.dataset import UNLABELLED, Dataset
from pixelwise.data.pictures import PICTURE_SUFFIXES

_BLOCK = 64 * 1024


def digest(dataset: Dataset) -> str:
    """BLAKE2b over names, sizes and the first and last 64 KB of every file, the class names and the splits.

    Annotation files, in which a change may be anywhere, are read whole. The location of the folders does not matter.
    """
    names: dict[Path, str] = {}
    for record in dataset.records:
        for file in (record.picture, *record.labels):
            inside = file.is_relative_to(dataset.root)
            names[file] = file.relative_to(dataset.root).as_posix() if inside else f"{record.name}{file.suffix}"
    files = sorted(names, key=lambda file: Path(names[file]))
    whole = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor() as pool:
        for file, ends in zip(files, pool.map(_ends, files), strict=True):
            whole.update(f"{names[file]}\0".encode())
            whole.update(ends)
    splits = sorted(item for item in dataset.splits.items() if item[0] != UNLABELLED)  # all other pictures are in it
    whole.update(repr((dataset.class_names, splits)).encode())
    return whole.hexdigest()


def _ends(file: Path) -> bytes:
    size = file.stat().st_size
    parts = hashlib.blake2b(str(size).encode(), digest_size=16)
    with file.open("rb") as stream:
        parts.update(stream.read(_BLOCK))
        if file.suffix.lower() not in PICTURE_SUFFIXES:
            parts.update(stream.read())
        elif size > _BLOCK:
            stream.seek(max(_BLOCK, size - _BLOCK))
            parts.update(stream.read())
    return parts.digest()
