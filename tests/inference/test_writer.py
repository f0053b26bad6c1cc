"""Masks arrive whole or not at all, in files that other programs read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelwise.data.pictures import read_ids, read_picture
from pixelwise.errors import UserError
from pixelwise.inference import writer as module
from pixelwise.inference.writer import MaskWriter, mask_path, output_names


def ids(height: int, width: int, dtype: str) -> np.ndarray:
    generator = np.random.default_rng(height * 1000 + width)
    coarse = generator.integers(0, np.iinfo(dtype).max, (height // 9 + 1, width // 9 + 1))
    return np.kron(coarse, np.ones((9, 9), int))[:height, :width].astype(dtype)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 700), (256, 256), (513, 300), (900, 2)])
def test_bands_of_any_height_make_the_mask(suffix: str, dtype: str, height: int, width: int, tmp_path: Path) -> None:
    mask = ids(height, width, dtype)
    with MaskWriter(tmp_path / f"new/mask{suffix}", height, width, np.dtype(dtype)) as writer:
        top = 0
        for step in (1, 0, 255, 2, 1000):
            writer.write(mask[top : top + step])
            top += step
    assert os.listdir(tmp_path / "new") == [f"mask{suffix}"]
    with Image.open(writer.path) as image:
        assert np.array_equal(np.asarray(image), mask)
    assert np.array_equal(read_ids(writer.path), mask)
    if suffix == ".tif":
        with tifffile.TiffFile(writer.path) as tiff:
            assert tiff.pages[0].is_tiled
            assert tiff.pages[0].offset % 2 == 0  # as TIFF 6.0 asks
            assert np.array_equal(tiff.asarray(), mask)


@pytest.mark.parametrize(("suffix", "channels"), [(".png", 3), (".tif", 2), (".tif", 3), (".tif", 5)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pictures_of_several_channels_keep_every_value(suffix: str, channels: int, dtype: str, tmp_path: Path) -> None:
    if (suffix, dtype) == (".png", "float32"):
        pytest.skip("a PNG holds integers")
    rng = np.random.default_rng(0)
    picture = rng.uniform(0, 250 if dtype == "uint8" else 60_000, (300, 270, channels)).astype(dtype)
    with MaskWriter(tmp_path / f"x{suffix}", 300, 270, np.dtype(dtype), channels) as writer:
        for top in (0, 100, 101, 290):
            writer.write(picture[top : {0: 100, 100: 101, 101: 290, 290: 300}[top]])
        with pytest.raises(ValueError, match="do not fit"):
            writer.write(picture[:1])
    np.testing.assert_array_equal(read_picture(writer.path), picture)
    if suffix == ".tif":
        np.testing.assert_array_equal(tifffile.imread(writer.path), picture)


def test_big_tiff_is_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = ids(600, 520, "uint8")
    monkeypatch.setattr(module, "CLASSIC_BYTES", 0)
    with MaskWriter(tmp_path / "mask.tif", 600, 520) as writer:
        writer.write(mask)
    with tifffile.TiffFile(writer.path) as tiff:
        assert tiff.is_bigtiff
        assert np.array_equal(tiff.asarray(), mask)


def test_the_size_chooses_the_suffix_where_none_is_given() -> None:
    assert mask_path("a/b", 10, 10) == Path("a/b.png")
    assert mask_path("a/b.v2", 10_000, 10_000) == Path("a/b.v2.tif")
    assert mask_path("a/b.png", 50_000, 50_000) == Path("a/b.png")
    assert mask_path("a/b.TIFF", 1, 1) == Path("a/b.TIFF")


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(b"old")
    for failure in (KeyboardInterrupt, UserError):
        with pytest.raises(failure), MaskWriter(path, 4, 4) as writer:  # noqa: PT012
            writer.write(np.zeros((2, 4), np.uint8))
            raise failure
    with pytest.raises(ValueError, match="2 of 4 rows"), MaskWriter(path, 4, 4) as writer:
        writer.write(np.zeros((2, 4), np.uint8))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["mask.png"]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_is_a_sentence(suffix: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def predict() -> None:
        with MaskWriter(tmp_path / f"mask{suffix}", 600, 600) as writer:
            if step == "write":
                writer._format._file = type("Full", (), {"write": full})()
            else:
                monkeypatch.setattr(os, step, full)
            writer.write(np.random.default_rng(0).integers(0, 255, (600, 600)).astype(np.uint8))

    with pytest.raises(UserError, match=r"mask\.\w+: cannot be written \(No space left on device\)"):
        predict()
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        MaskWriter(tmp_path / "file/mask.png", 1, 1)


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for rows in (np.zeros((5, 4), np.uint8), np.zeros((2, 5), np.uint8)):
        with pytest.raises(ValueError, match="do not fit"), MaskWriter(tmp_path / "mask.png", 4, 4) as writer:
            writer.write(rows)


def test_names_follow_the_pictures() -> None:
    root = Path("data")
    pictures = [root / name for name in ("a/x.jpg", "b/x.jpg", "y.png", "y.JPG", "Y.tif", "y_png.bmp")]
    names = output_names([*pictures, Path("elsewhere/z.v1.png"), root / "w.tif.png"], root)
    assert names == ["a/x", "b/x", "y_png", "y_jpg", "Y_tif", "y_png-2", "z.v1", "w.tif_png"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.from_regex(r"[abA]{1,2}(_png|-2)?\.(png|jpg|PNG)", fullmatch=True), unique=True, max_size=12))
def test_names_are_unique_even_where_case_does_not_count(files: list[str]) -> None:
    names = output_names([Path(file) for file in files], Path())
    assert len({name.lower() for name in names}) == len(files)
