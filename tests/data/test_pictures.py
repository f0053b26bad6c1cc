"""Every mode, depth and orientation reads as Pillow or plain arithmetic says, and damage is told in a sentence."""

from __future__ import annotations

import contextlib
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pixelwise.data import pictures
from pixelwise.data.pictures import PictureFormat, convert, from_pillow, probe, read_ids, read_picture, write_png
from pixelwise.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1"])
def test_png_modes_as_pillow_reads_them(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(RGB).convert(mode)
    image.save(tmp_path / "x.png")
    grey = mode in ("L", "LA", "1")
    expected = np.array(image.convert("L" if grey else "RGB")).reshape(5, 7, -1)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), expected)
    header = probe(tmp_path / "x.png")
    assert (header.kind, header.height, header.width, header.dtype) == ("PNG", 5, 7, "uint8")
    assert header.has_alpha == (mode in ("RGBA", "LA"))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_lossless_formats(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / f"x.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_picture(tmp_path / f"x.{suffix}"), RGB)


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "x.jpg", format="PNG")
    assert probe(tmp_path / "x.jpg").kind == "PNG"
    np.testing.assert_array_equal(read_picture(tmp_path / "x.jpg"), RGB)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8, 3), (200, 40, 90), np.uint8)).convert("CMYK").save(tmp_path / "x.jpg", quality=100)
    assert probe(tmp_path / "x.jpg").mode == "CMYK"
    assert np.abs(read_picture(tmp_path / "x.jpg").astype(int) - (200, 40, 90)).max() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_exif_orientation(orientation: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(RGB).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_picture(path), expected)
    header = probe(path)
    assert (header.height, header.width) == expected.shape[:2]
    assert header.rotated == (orientation != 1)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "F", "I", "I;16", "I;16B", "CMYK"])
def test_large_pictures_are_taken_out_in_strips(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = mode.startswith("I;16")
    image = Image.fromarray(RGB).convert("I" if deep else mode)
    image = image.convert(mode) if deep else image
    whole = from_pillow(image)
    monkeypatch.setattr(pictures, "STRIP_PIXELS", 2 * image.width)  # of five rows: two strips and a half
    strips = from_pillow(image)
    assert strips.dtype == whole.dtype
    np.testing.assert_array_equal(strips, whole)


def test_masks_turn_as_pictures_do(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB[:, :, 0]).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_ids(tmp_path / "x.png"), read_picture(tmp_path / "x.png")[:, :, 0])


def test_16_bits_keep_their_depth(tmp_path: Path) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    Image.fromarray(deep[:, :, 0]).save(tmp_path / "grey.png")
    cv2.imwrite(str(tmp_path / "colour.png"), deep[:, :, ::-1])
    tifffile.imwrite(tmp_path / "colour.tif", deep)
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), deep[:, :, :1])
    np.testing.assert_array_equal(read_picture(tmp_path / "colour.png"), deep)
    np.testing.assert_array_equal(read_picture(tmp_path / "colour.tif"), deep)
    assert {probe(path).dtype for path in tmp_path.iterdir()} == {"uint16"}
    np.testing.assert_array_equal(read_ids(tmp_path / "grey.png"), deep[:, :, 0])


@pytest.mark.parametrize(("shape", "expected"), [((4, 5, 7), (5, 7, 4)), ((5, 7), (5, 7, 1)), ((5, 7, 6), (5, 7, 6))])
def test_tiff_pages_and_channels(shape: tuple[int, ...], expected: tuple[int, ...], tmp_path: Path) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    planar = {"planarconfig": "contig"} if shape == (5, 7, 6) else {}
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="minisblack", **planar)
    found = read_picture(tmp_path / "x.tif")
    assert found.shape == expected
    header = probe(tmp_path / "x.tif")
    assert (header.height, header.width, header.channels) == expected
    np.testing.assert_array_equal(found, np.moveaxis(array, 0, 2) if shape == (4, 5, 7) else array.reshape(expected))


def test_white_is_zero_as_pillow_reads_it(tmp_path: Path) -> None:
    bilevel = Image.fromarray(RGB[:, :, 0] > 127)
    bilevel.save(tmp_path / "fax.tif", compression="group4")
    np.testing.assert_array_equal(read_picture(tmp_path / "fax.tif")[:, :, 0], np.array(bilevel.convert("L")))
    tifffile.imwrite(tmp_path / "scan.tif", RGB[:, :, 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(tmp_path / "scan.tif")[:, :, 0], 255 - RGB[:, :, 0])


class TestIds:
    def test_palette_pictures_give_their_indices(self, tmp_path: Path) -> None:
        ids = RGB[:, :, 0] % 20
        image = Image.fromarray(ids)
        image.putpalette(np.random.default_rng(2).integers(0, 256, 768).astype(np.uint8).tobytes())
        assert image.mode == "P"
        for suffix in ("png", "tif", "bmp"):
            image.save(tmp_path / f"x.{suffix}")
            np.testing.assert_array_equal(read_ids(tmp_path / f"x.{suffix}"), ids)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.float32])
    def test_tiff_of_any_depth(self, dtype: type, tmp_path: Path) -> None:
        ids = (RGB[:, :, 0] % 9).astype(dtype)
        tifffile.imwrite(tmp_path / "x.tif", ids)
        np.testing.assert_array_equal(read_ids(tmp_path / "x.tif"), ids)
        assert read_ids(tmp_path / "x.tif").dtype.kind in "iu"

    def test_one_pixel_wide_tiff(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "x.tif", np.ones((1, 5), np.uint8))
        assert read_ids(tmp_path / "x.tif").shape == (1, 5)

    def test_fractions_and_colours_are_refused(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "x.tif", np.full((3, 3), 0.5, np.float32))
        with pytest.raises(UserError, match="fractions"):
            read_ids(tmp_path / "x.tif")
        Image.fromarray(RGB).save(tmp_path / "x.png")
        with pytest.raises(UserError, match="colour picture"):
            read_ids(tmp_path / "x.png")


class TestConvert:
    def test_law_grey_to_colour_and_back(self) -> None:
        grey = RGB[:, :, :1]
        colour = convert(grey, PictureFormat(3, "uint8"))
        np.testing.assert_array_equal(convert(colour, PictureFormat(1, "uint8")), grey)

    def test_law_depth_up_and_down(self) -> None:
        deep = convert(RGB, PictureFormat(3, "uint16"))
        np.testing.assert_array_equal(deep, RGB.astype(np.uint16) * 257)
        np.testing.assert_array_equal(convert(deep, PictureFormat(3, "uint8")), RGB)

    def test_luminance_as_pillow(self) -> None:
        expected = np.array(Image.fromarray(RGB).convert("L")).astype(int)
        found = convert(RGB, PictureFormat(1, "uint8"))[:, :, 0].astype(int)
        assert np.abs(found - expected).max() <= 1

    def test_the_same_form_is_the_same_array(self) -> None:
        assert convert(RGB, PictureFormat(3, "uint8")) is RGB

    def test_no_natural_conversion(self) -> None:
        with pytest.raises(UserError, match="5 channels found, 3 expected"):
            convert(np.zeros((2, 2, 5), np.uint8), PictureFormat(3, "uint8"))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_png_that_cannot_be_written_leaves_the_old_one(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.png"
    write_png(file, RGB)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"os.{call}", fail)
        with pytest.raises(OSError, match="No space"):
            write_png(file, 255 - RGB)
    np.testing.assert_array_equal(read_picture(file), RGB)
    assert list(tmp_path.iterdir()) == [file]


def test_pillows_limit_is_lifted_for_opening_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3)
    write_png(tmp_path / "x.png", RGB)
    with ThreadPoolExecutor(4) as pool:
        for picture in pool.map(read_picture, [tmp_path / "x.png"] * 40):
            np.testing.assert_array_equal(picture, RGB)
    (tmp_path / "y.png").write_bytes(b"text")
    with pytest.raises(UserError, match="not a known picture format"):
        read_picture(tmp_path / "y.png")
    assert Image.MAX_IMAGE_PIXELS == 3
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "x.png")


def test_write_png_round_trip(tmp_path: Path) -> None:
    for array in (RGB, RGB[:, :, 0], RGB[:, :, 0].astype(np.uint16) * 257):
        write_png(tmp_path / "deep/x.png", array)
        found = read_picture(tmp_path / "deep/x.png")
        np.testing.assert_array_equal(found, array.reshape(5, 7, -1))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.png"]


def test_header_of_a_png_is_read_without_its_pixels(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(content[: len(content) // 2])
    assert probe(tmp_path / "x.png").height == 64
    with pytest.raises(UserError, match="cannot be read"):
        read_picture(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "no such file"), (b"", "zero bytes"), (b"text", "not a known")]
)
def test_no_picture(content: bytes | None, sentence: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    for read in (probe, read_picture, read_ids):
        with pytest.raises(UserError, match=sentence):
            read(tmp_path / "x.png")


FORMATS = ("png", "jpg", "tif", "lzw.tif", "deflate.tif", "jpeg.tif", "zstd.tif", "bmp", "webp")


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("intact")
    image = Image.fromarray(cv2.resize(RGB, (40, 32)))
    contents = {}
    for name in FORMATS:
        codec, _, _ = name.rpartition(".")
        path = folder / f"x.{name}"
        if codec == "zstd":
            tifffile.imwrite(path, np.array(image)[:, :, 0], compression="zstd")
        elif codec:
            compression = {"lzw": "lzw", "deflate": "zlib", "jpeg": "jpeg"}[codec]
            tifffile.imwrite(path, np.array(image), compression=compression)
        else:
            image.save(path)
        contents[name] = path.read_bytes()
    return contents


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(st.sampled_from(FORMATS), st.data())
def test_damage_of_any_kind_is_a_user_error(
    intact: dict[str, bytes], tmp_path: Path, name: str, data: st.DataObject
) -> None:
    content = bytearray(intact[name])
    if data.draw(st.booleans(), "cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1), "length")]
    for _ in range(data.draw(st.integers(0, 8), "changes")):
        if content:
            content[data.draw(st.integers(0, min(len(content) - 1, 400)))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"x.{name.rpartition('.')[2]}"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for read in (probe, read_picture, read_ids):
            with contextlib.suppress(UserError):  # anything else would be a traceback for the user
                read(path)
