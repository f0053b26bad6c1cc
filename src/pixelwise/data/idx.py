"""idx files: one array per file, as in MNIST and its relatives (yann.lecun.com/exdb/mnist, "The IDX file format").

Two zero bytes, a byte for the type, a byte for the number of dimensions, each dimension as a big-endian 32-bit integer,
then the values. Files that end in `.gz` are compressed.
"""

from __future__ import annotations

import gzip
import zlib
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np

from pixelwise.errors import UserError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """The array of a file, read-only, in the machine's byte order; cached, because it is needed for every picture.

    Raises:
        UserError: the file is missing, damaged, or not an idx file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, modified: int, size: int) -> np.ndarray:
    try:
        stored = path.read_bytes()
        data = gzip.decompress(stored) if stored[:2] == b"\x1f\x8b" else stored
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); download it again.") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES:
        raise UserError(f"{path}: not an idx file (it begins with {data[:4].hex() or 'nothing'}); download it again.")
    dtype, dimensions = np.dtype(_TYPES[data[2]]), data[3]
    start = 4 + 4 * dimensions
    shape = np.frombuffer(data[4:start].ljust(4 * dimensions, b"\0"), ">i4").tolist()
    expected = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or len(data) - start != expected:
        raise UserError(
            f"{path}: {max(len(data) - start, 0):,} bytes of values found, {expected:,} expected for "
            f"{' x '.join(map(str, shape))}; the file is cut short or damaged, download it again."
        )
    array = np.frombuffer(data, dtype, offset=start).reshape(shape)
    return array if array.dtype.isnative else array.astype(dtype.newbyteorder("="))
