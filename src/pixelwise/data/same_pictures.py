"""Recognises pictures by their content, under whatever name they are stored."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from pixelwise.data.idx import read_idx
from pixelwise.data.record import Record


class SamePictures:
    """A set of pictures; a picture is in it if one of them has the same bytes.

    Pictures are read only if their sizes in bytes agree, and each picture of the set is read at most once.

    Args:
        records: the pictures of the set.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._of_size: dict[int, list[Record]] = defaultdict(list)
        for record in records:
            self._of_size[_size(record)].append(record)
        self._digests: dict[int, set[bytes]] = {}

    def __contains__(self, record: Record) -> bool:
        size = _size(record)
        if size not in self._of_size:
            return False
        if size not in self._digests:
            self._digests[size] = {_digest(each) for each in self._of_size[size]}
        return _digest(record) in self._digests[size]


def _size(record: Record) -> int:
    return (
        record.picture.stat().st_size if record.position is None else read_idx(record.picture)[record.position].nbytes
    )


def _digest(record: Record) -> bytes:
    if record.position is not None:
        return hashlib.blake2b(read_idx(record.picture)[record.position].tobytes()).digest()
    with record.picture.open("rb") as content:
        return hashlib.file_digest(content, "blake2b").digest()
