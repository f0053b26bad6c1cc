"""Reads pictures in blocks, so that memory does not limit their size."""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import tifffile
from PIL import Image

from pixelwise.data.gaps import channel_means, fill, find_gaps, valueless
from pixelwise.data.header import DAMAGE, unreadable
from pixelwise.data.orientation import stored_window, upright
from pixelwise.data.pictures import MAX_PIXELS, Header, from_pillow, probe, read_filled
from pixelwise.data.tiff import check_segments, find_picture, stack_error
from pixelwise.errors import UserError

AT_ONCE_BYTES = 1 << 27
"""TIFFs up to this decoded size are read as a whole."""
TILE_CACHE_BYTES = 1 << 25
"""Cache for decoded tiles of a TIFF, which the next blocks need again: two rows of tiles of 256 pixels over a width of
20,000 pixels."""
STRIP_CACHE_BYTES = 1 << 28
"""Cache for decoded strips of a TIFF. A strip crosses the picture, so every block of a row needs it again."""
SEGMENT_BYTES = 1 << 29
"""A strip or tile of a TIFF that decodes to more than this is not read."""
SAMPLES = 4
SAMPLE_SIDE = 256
"""Gaps in a TIFF that is read in blocks are filled with the mean of 4 x 4 blocks with this side."""
BOMB_PIXELS = 100_000_000
PIXELS_PER_BYTE = 10_000
"""A file that claims more than `BOMB_PIXELS`, and more than this per byte, is refused. Deflate reaches about 1,000
bytes per byte, which is 8,000 black-and-white pixels."""

Picture = str | os.PathLike[str] | np.ndarray | Image.Image


class Raster:
    """A picture in memory, and the base class of pictures that are read in blocks.

    Attributes:
        name: the file name, for messages.
        height, width: size in pixels.
        channels: channels after palettes were converted to RGB and alpha was dropped.
        dtype: `uint8`, `uint16` or `float32`.
        pages: the number of the file's pages that form the channels together; 1 if one page has all channels.

    Args:
        pixels: (H, W, C).
        unknown: (H, W) bool, the pixels without a value, which are already filled in `pixels`; None for none.
    """

    def __init__(
        self, pixels: np.ndarray, name: str = "picture", unknown: np.ndarray | None = None, pages: int = 1
    ) -> None:
        self.name = name
        self.pages = pages
        self.height, self.width, self.channels = pixels.shape
        self.dtype = str(pixels.dtype)
        self._pixels = pixels
        self._unknown = unknown

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Reads rows top..bottom and columns left..right as (bottom - top, right - left, C), with gaps filled (see
        `data.gaps`). May be called from any thread.

        Raises:
            UserError: a damaged file.
        """
        return self._pixels[top:bottom, left:right]

    def unknown(self, top: int, bottom: int, left: int, right: int) -> np.ndarray | None:
        """(bottom - top, right - left) bool: which pixels have no value in any channel; None if all have a value.

        May be called from any thread.

        Raises:
            UserError: a damaged file.
        """
        return None if self._unknown is None else self._unknown[top:bottom, left:right]

    def close(self) -> None:
        """Closes the file, if there is one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_raster(picture: Picture) -> Raster:
    """Opens a picture for reading in blocks: a file, an array (H, W) or (H, W, C), or a Pillow image.

    Large TIFFs are decoded block by block; every other file is decoded once, as a whole.

    Raises:
        UserError: the picture is missing, damaged, empty, or larger than can be read.
    """
    if isinstance(picture, np.ndarray):
        return _in_memory(_from_array(picture))
    if isinstance(picture, Image.Image):
        return _in_memory(from_pillow(picture))
    path = Path(picture)
    header = probe(path)
    pixels = header.height * header.width
    if pixels > max(BOMB_PIXELS, path.stat().st_size * PIXELS_PER_BYTE):
        raise UserError(
            f"{path}: has {path.stat().st_size:,} bytes but claims {header.width:,} x {header.height:,} pixels, so it "
            "is damaged or was made to fill the memory; export it again."
        )
    if header.kind == "TIFF" and pixels * header.channels * np.dtype(header.dtype).itemsize > AT_ONCE_BYTES:
        try:
            reason = unreadable_by_blocks(path, header)
        except DAMAGE as error:
            raise unreadable(path, error) from None
        if reason is None:
            return TiffRaster(path, header)
        if pixels > MAX_PIXELS:
            raise UserError(
                f"{path}: {header.width:,} x {header.height:,} pixels must be read in blocks, but {reason}; save it as "
                "a tiled TIFF."
            )
    filled, gaps = read_filled(path)
    return Raster(filled, str(path), valueless(gaps), header.pages)


def _in_memory(pixels: np.ndarray) -> Raster:
    """A raster of pixels in memory, with their gaps filled."""
    gaps = find_gaps(pixels)
    if gaps is None:
        return Raster(pixels)
    return Raster(fill(pixels, gaps, channel_means(pixels, gaps)), unknown=valueless(gaps))


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim not in (2, 3) or array.size == 0:
        raise UserError(f"a picture must be an array (H, W) or (H, W, C) with pixels; found shape {array.shape}.")
    if array.dtype.kind not in "buif":
        raise UserError(f"a picture must hold numbers; found {array.dtype}.")
    pixels = array[:, :, None] if array.ndim == 2 else array
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    with np.errstate(over="ignore", invalid="ignore"):  # values that float32 cannot hold become gaps
        return pixels.astype(np.float32)


def unreadable_by_blocks(path: Path, header: Header) -> str | None:
    """Why a TIFF cannot be read in blocks, as the end of a sentence; None if it can."""
    with tifffile.TiffFile(path) as tiff:
        picture = find_picture(tiff)
        pages = picture.series.pages
        if picture.is_subsampled:
            return "its chroma is stored at a lower resolution"
        if any(page is None for page in pages):
            return "a part of it lies in another file"
        first = pages[0].keyframe
        if first.imagedepth > 1:
            return "it is a volume"
        if len(pages) * first.samplesperpixel != header.channels:
            return "its planes follow one another without a directory"
        if first.is_final:
            return None
        segment = math.prod(first.chunks) * np.dtype(first.dtype).itemsize
        if segment > SEGMENT_BYTES:
            return f"it is compressed in pieces of {segment:,} bytes"
    return None


class TiffRaster(Raster):
    """A TIFF or BigTIFF of which only those segments (tiles or strips) are decoded that a block touches.

    Several pages, and planes that are stored one after the other, become channels. Uncompressed pictures are mapped
    into memory, one block at a time. Gaps are filled with the mean of some blocks that are spread over the picture.

    Raises:
        UserError: a stack of slices, or a directory that does not list all segments.
    """

    def __init__(self, path: Path, header: Header | None = None) -> None:
        self.name = str(path)
        self._header = header or probe(path)
        if self._header.meaning == "slices":
            raise stack_error(path, self._header)
        self.height, self.width, self.pages = self._header.height, self._header.width, self._header.pages
        try:
            self._tiff = tifffile.TiffFile(path)
        except DAMAGE as error:
            raise unreadable(path, error) from None
        try:
            self._picture = find_picture(self._tiff)
            self._pages: list[Any] = list(self._picture.series.pages)
            for page in self._pages:
                check_segments(page)
        except DAMAGE as error:
            self.close()
            raise unreadable(path, error) from None
        tiled = self._pages[0].keyframe.is_tiled
        self._cache_bytes = TILE_CACHE_BYTES if tiled else STRIP_CACHE_BYTES
        self._decoded: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._cached = 0
        self._reading = threading.Lock()
        sample = self._with_gaps(0, 1, 0, 1)
        self.channels, self.dtype = sample.shape[2], str(sample.dtype)

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        block = self._with_gaps(top, bottom, left, right)
        gaps = self._gaps(block)
        return block if gaps is None else fill(block, gaps, self._filling)

    def unknown(self, top: int, bottom: int, left: int, right: int) -> np.ndarray | None:
        if not self._header.may_have_gaps:
            return None
        return valueless(self._gaps(self._with_gaps(top, bottom, left, right)))

    def _with_gaps(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        orientation = self._header.orientation
        stored = self._stored(*stored_window((top, bottom, left, right), self.height, self.width, orientation))
        return upright(self._picture.pixels(stored), orientation)

    def _gaps(self, block: np.ndarray) -> np.ndarray | None:
        return find_gaps(block, self._header.nodata) if self._header.may_have_gaps else None

    @cached_property
    def _filling(self) -> np.ndarray:
        """(C,) the mean of the known values in blocks on a grid over the picture, the same for every block."""
        sums, counts = np.zeros(self.channels), np.zeros(self.channels)
        for top in np.linspace(0, max(self.height - SAMPLE_SIDE, 0), SAMPLES).astype(int).tolist():
            for left in np.linspace(0, max(self.width - SAMPLE_SIDE, 0), SAMPLES).astype(int).tolist():
                bottom, right = min(top + SAMPLE_SIDE, self.height), min(left + SAMPLE_SIDE, self.width)
                block = self._with_gaps(top, bottom, left, right)
                gaps = self._gaps(block)
                known = np.ones(block.shape, bool) if gaps is None else ~gaps
                counts += known.sum(axis=(0, 1))
                sums += np.where(known, block, 0).sum(axis=(0, 1), dtype=np.float64)
        return sums / np.maximum(counts, 1)

    def close(self) -> None:
        self._tiff.close()

    def _stored(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """The values in the file, (h, w, samples of all pages)."""
        try:
            with self._reading:
                parts = [self._page(number, top, bottom, left, right) for number in range(len(self._pages))]
        except DAMAGE as error:
            raise UserError(
                f"{self.name}: damaged near row {top:,}, column {left:,} ({error}); export it again."
            ) from None
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _page(self, number: int, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        page, keyframe = self._pages[number], self._pages[number].keyframe
        height, width = self._header.stored_size
        planar = keyframe.planarconfig == 2 and keyframe.samplesperpixel > 1
        if keyframe.is_final:
            shape = (keyframe.samplesperpixel, height, width) if planar else (height, width, -1)
            # One memory map per block: all pages that were read through a shared map would count as used memory.
            values = np.memmap(
                self.name,
                np.dtype(self._tiff.byteorder + keyframe.dtype.char),
                "r",
                page.dataoffsets[0],
                (height * width * keyframe.samplesperpixel,),
            ).reshape(shape)
            block = values[:, top:bottom, left:right].transpose(1, 2, 0) if planar else values[top:bottom, left:right]
            return block.astype(keyframe.dtype.newbyteorder("="))
        tall, wide = keyframe.chunks[:2]
        down, across = -(-height // tall), -(-width // wide)
        block = np.empty((bottom - top, right - left, keyframe.samplesperpixel), keyframe.dtype.newbyteorder("="))
        rows, columns = range(top // tall, -(-bottom // tall)), range(left // wide, -(-right // wide))
        self._forget(number, rows, columns.start, across, down)
        for plane in range(keyframe.samplesperpixel if planar else 1):
            samples = slice(plane, plane + 1) if planar else slice(None)
            for row in rows:
                for column in columns:
                    segment = self._segment(number, (plane * down + row) * across + column)
                    y0, x0 = max(top, row * tall), max(left, column * wide)
                    y1, x1 = min(bottom, (row + 1) * tall), min(right, (column + 1) * wide)
                    block[y0 - top : y1 - top, x0 - left : x1 - left, samples] = segment[
                        y0 - row * tall : y1 - row * tall, x0 - column * wide : x1 - column * wide
                    ]
        return block

    def _segment(self, number: int, index: int) -> np.ndarray:
        """One decoded tile or strip, (h, w, samples)."""
        key = (number, index)
        if key in self._decoded:
            self._decoded.move_to_end(key)
            return self._decoded[key]
        page, keyframe = self._pages[number], self._pages[number].keyframe
        tables: dict[str, Any] = {}
        if keyframe.compression.name in ("JPEG", "OJPEG", "ALT_JPEG", "JPEG_LOSSY"):
            tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
        stored = None
        if page.databytecounts[index]:
            self._tiff.filehandle.seek(page.dataoffsets[index])
            stored = self._tiff.filehandle.read(page.databytecounts[index])
        values, _, shape = keyframe.decode(stored, index, **tables, _fullsize=keyframe.is_tiled)
        if values is None:  # a sparse file in which this segment was never written
            values = np.full(shape, keyframe.nodata, keyframe.dtype)
        self._decoded[key] = values[0]
        self._cached += values.nbytes
        while self._cached > self._cache_bytes and len(self._decoded) > 1:
            self._cached -= self._decoded.popitem(last=False)[1].nbytes
        return values[0]

    def _forget(self, number: int, rows: range, first_column: int, across: int, down: int) -> None:
        """Drops the segments of a page that are no longer needed if blocks are read row by row: those above the block,
        and those to its left that the next row of blocks does not overlap."""
        for key in [key for key in self._decoded if key[0] == number]:
            row, column = divmod(key[1] % (down * across), across)
            if row < rows.start or (row < rows.stop - 1 and column < first_column):
                self._cached -= self._decoded.pop(key).nbytes
