"""Writes masks and pictures from top to bottom, one band of rows at a time. Only complete files get their final
name."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np

from pixelwise.atomic import sync_folder
from pixelwise.errors import UserError

SUFFIXES = (".png", ".tif", ".tiff")
PNG_PIXELS = 100_000_000
"""Masks without a suffix become PNG if they have fewer pixels, else tiled TIFF: viewers open a PNG as a whole."""
CLASSIC_BYTES = 4_000_000_000
"""Masks of more bytes become BigTIFF; every program can read the others."""
TILE = 256
LEVEL = 1
"""The level of deflate. Higher levels are several times slower and make masks only a little smaller."""


def mask_path(path: Path | str, height: int, width: int) -> Path:
    """The file of a mask: `path` if it ends in .png, .tif or .tiff, else `path` with .png, or .tif if it is large."""
    path = Path(path)
    if path.suffix.lower() in SUFFIXES:
        return path
    return path.with_name(path.name + (".png" if height * width < PNG_PIXELS else ".tif"))


def output_names(pictures: Sequence[Path], root: Path) -> list[str]:
    """A name without suffix for each picture's result; all names differ, even if case is ignored.

    The name is the path below `root`. Pictures that differ only in their suffix keep it: `a/x.png` alone gives `a/x`;
    `a/x.png` and `a/x.jpg` give `a/x_png` and `a/x_jpg`. So does `a/x.tif.png` (`a/x.tif_png`), since `mask_path` would
    take `a/x.tif` for a TIFF.
    """
    short = [_below(path, root).with_suffix("").as_posix() for path in pictures]
    frequency = Counter(name.lower() for name in short)
    names: list[str] = []
    taken: set[str] = set()
    for path, name in zip(pictures, short, strict=True):
        plain = frequency[name.lower()] == 1 and not name.lower().endswith(SUFFIXES)
        base = name if plain else f"{name}_{path.suffix[1:].lower()}"
        name, number = base, 1
        while name.lower() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def _below(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else Path(path.name)


class MaskWriter:
    """A context manager that writes a mask or a picture of known size, band by band.

    >>> with MaskWriter("mask.png", 4, 6) as writer:  # doctest: +SKIP
    ...     writer.write(np.zeros((3, 6), np.uint8))
    ...     writer.write(np.ones((1, 6), np.uint8))

    Args:
        path: see `mask_path`; `writer.path` is the resulting file. Its folder is made if needed.
        dtype: uint8 or uint16; float32 in a TIFF.
        channels: 1, or 3 for RGB; any number in a TIFF.

    Raises:
        UserError: the file cannot be written, for example without space or permission.
    """

    def __init__(
        self, path: Path | str, height: int, width: int, dtype: np.dtype | type = np.uint8, channels: int = 1
    ) -> None:
        self.path = mask_path(path, height, width)
        self.shape = (height, width, channels)
        self.dtype = np.dtype(dtype)
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._rows = 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._partial.open("wb")
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            kind = _Png if self.path.suffix.lower() == ".png" else _Tiff
            self._format: _Format = kind(self._file, self.shape, self.dtype)
        except BaseException:
            self._discard()
            raise

    def write(self, rows: np.ndarray) -> None:
        """Adds rows (n, W) or (n, W, C) below those that were written.

        Raises:
            UserError: as for the class.
            ValueError: rows of a different width or number of channels, or more rows than the mask has.
        """
        if rows.ndim == 2:
            rows = rows[:, :, None]
        if rows.shape[1:] != self.shape[1:] or self._rows + len(rows) > self.shape[0]:
            raise ValueError(f"rows {rows.shape} do not fit a mask {self.shape} of which {self._rows} are written")
        try:
            self._format.write(np.ascontiguousarray(rows, self.dtype))
        except OSError as error:
            raise self._unwritable(error) from None
        self._rows += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                return
            if self._rows < self.shape[0]:
                raise ValueError(f"{self._rows} of {self.shape[0]} rows were written to {self.path}")
            try:
                self._format.finish()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                os.replace(self._partial, self.path)
            except OSError as problem:
                raise self._unwritable(problem) from None
            sync_folder(self.path.parent)
        finally:
            self._discard()

    def _discard(self) -> None:
        with contextlib.suppress(OSError):  # on a full disk the rest cannot be flushed either
            self._file.close()
        self._partial.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path}: cannot be written ({error.strerror or error}); free some disk space or choose another place."
        )


class _Format(Protocol):
    """Rows are (n, W, C)."""

    def write(self, rows: np.ndarray) -> None: ...

    def finish(self) -> None: ...


class _Png:
    """Grey or RGB PNG (W3C PNG, third edition): one deflate stream of rows, each preceded by filter type 0."""

    def __init__(self, file: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        self._file = file
        self._deflate = zlib.compressobj(LEVEL)
        height, width, channels = shape
        colour_type = {1: 0, 3: 2}[channels]
        file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, dtype.itemsize * 8, colour_type, 0, 0, 0))

    def write(self, rows: np.ndarray) -> None:
        length = math.prod(rows.shape[1:]) * rows.itemsize
        values = rows.astype(rows.dtype.newbyteorder(">"), copy=False).view(np.uint8).reshape(len(rows), length)
        lines = np.zeros((len(rows), 1 + values.shape[1]), np.uint8)
        lines[:, 1:] = values
        self._chunk(b"IDAT", self._deflate.compress(lines.data))

    def finish(self) -> None:
        self._chunk(b"IDAT", self._deflate.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, name: bytes, content: bytes) -> None:
        if content or name == b"IEND":
            self._file.write(struct.pack(">I", len(content)) + name + content)
            self._file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))


class _Tiff:
    """TIFF 6.0 (BigTIFF if offsets need it) with deflate-compressed tiles; the directory comes last."""

    def __init__(self, file: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        self._file = file
        self._shape = shape
        self._dtype = dtype
        self._big = math.prod(shape) * dtype.itemsize > CLASSIC_BYTES
        self._waiting = np.empty((0, *shape[1:]), dtype)
        self._offsets: list[int] = []
        self._counts: list[int] = []
        # The offset of the directory is filled in at the end.
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if self._big else struct.pack("<2sHI", b"II", 42, 0))
        self._end = file.tell()

    def write(self, rows: np.ndarray) -> None:
        if len(self._waiting):  # a row of tiles that is not full yet
            missing = TILE - len(self._waiting)
            self._waiting = np.concatenate([self._waiting, rows[:missing]])
            rows = rows[missing:]
            if len(self._waiting) < TILE:
                return
            self._tiles(self._waiting)
        whole = len(rows) // TILE * TILE
        for top in range(0, whole, TILE):
            self._tiles(rows[top : top + TILE])
        self._waiting = rows[whole:].copy()

    def finish(self) -> None:
        if len(self._waiting):
            self._tiles(self._waiting)
        self._append(b"\0" * (self._end % 2))  # a directory starts at an even offset
        height, width, channels = self._shape
        # Tag, type (3 = uint16, 4 = uint32, 16 = uint64) and values, in ascending order of tags.
        wide = 16 if self._big else 4
        entries = [
            (256, 4, [width]),
            (257, 4, [height]),
            (258, 3, [self._dtype.itemsize * 8] * channels),
            (259, 3, [8]),  # deflate
            (262, 3, [2 if channels == 3 else 1]),  # RGB, or 0 is black
            (277, 3, [channels]),
            (284, 3, [1]),  # the channels of a pixel follow one another
            (322, 3, [TILE]),
            (323, 3, [TILE]),
            (324, wide, self._offsets),
            (325, 4, self._counts),
            *(
                [] if channels in (1, 3) else [(338, 3, [0] * (channels - 1))]
            ),  # what further channels are is not stated
            (339, 3, [3 if self._dtype.kind == "f" else 1] * channels),  # float, or unsigned
        ]
        count, offset = ("<Q", "<Q") if self._big else ("<H", "<I")
        room = struct.calcsize(offset)
        listed = []
        for tag, kind, values in entries:
            packed = struct.pack(f"<{len(values)}{ {3: 'H', 4: 'I', 16: 'Q'}[kind] }", *values)
            if len(packed) > room:
                place = self._end
                self._append(packed + b"\0" * (len(packed) % 2))
                packed = struct.pack(offset, place)
            listed.append(struct.pack("<HH" + offset[1], tag, kind, len(values)) + packed.ljust(room, b"\0"))
        directory = self._end
        self._append(struct.pack(count, len(listed)) + b"".join(listed) + struct.pack(offset, 0))
        self._file.seek(8 if self._big else 4)
        self._file.write(struct.pack(offset, directory))

    def _tiles(self, rows: np.ndarray) -> None:
        padded = np.zeros((TILE, -(-rows.shape[1] // TILE) * TILE, rows.shape[2]), self._dtype)
        padded[: len(rows), : rows.shape[1]] = rows
        for left in range(0, padded.shape[1], TILE):
            tile = np.ascontiguousarray(padded[:, left : left + TILE], self._dtype.newbyteorder("<"))
            packed = zlib.compress(tile.data, LEVEL)
            self._offsets.append(self._end)
            self._counts.append(len(packed))
            self._append(packed)

    def _append(self, content: bytes) -> None:
        self._file.write(content)
        self._end += len(content)
