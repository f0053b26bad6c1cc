"""idx files: what is written is read, and damage is said."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from sorted_pictures import CODES, idx_bytes

from pixelwise.data.idx import read_idx
from pixelwise.errors import UserError


@pytest.mark.parametrize("dtype", sorted(CODES))
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_written_is_read(tmp_path: Path, dtype: str, shape: tuple[int, ...], packed: bool) -> None:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    stored = idx_bytes(array)
    (tmp_path / "x").write_bytes(gzip.compress(stored) if packed else stored)
    found = read_idx(tmp_path / "x")
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(idx_bytes(np.zeros(3, np.uint8)))
    assert read_idx(path).shape == (3,)
    path.write_bytes(idx_bytes(np.zeros(4, np.uint8)))
    assert read_idx(path).shape == (4,)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an idx file"),
        (b"\x89PNG\r\n\x1a\n", "not an idx file"),
        (b"\0\0\x07\x01\0\0\0\1a", "not an idx file"),
        (idx_bytes(np.zeros((2, 3), np.uint8))[:-1], "5 bytes of values found, 6 expected for 2 x 3"),
        (idx_bytes(np.zeros((2, 3), np.uint8)) + b"x", "7 bytes of values found, 6 expected"),
        (b"\0\0\x08\x03\0\0\0\1", "cut short"),
        (gzip.compress(idx_bytes(np.zeros(9, np.uint8)))[:-6], "cannot be read"),
    ],
    ids=["empty", "png", "unknown type", "a byte short", "a byte more", "head alone", "packed and cut"],
)
def test_damage_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_idx(tmp_path / "x")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_idx(tmp_path / "x")


@pytest.mark.parametrize("length", range(17))
def test_every_cut_through_the_head_is_a_sentence(length: int, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes((b"\0\0\x08\x03" + b"\0\0\0\x02" * 3 + bytes(8))[:length])
    with pytest.raises(UserError):
        read_idx(tmp_path / "x")
