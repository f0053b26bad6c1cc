"""TIFF tags mean what they say: Pillow and tifffile are the oracles."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from pixelwise.data.orientation import stored_window, swaps_sides, upright
from pixelwise.data.pictures import probe, read_ids, read_picture
from pixelwise.errors import UserError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
GREY = RGB[:, :, 0]


def oriented(path: Path, array: np.ndarray, orientation: int, **options: Any) -> Path:
    tifffile.imwrite(path, array, extratags=[(274, 3, 1, orientation, True)], metadata=None, **options)
    return path


def transposed_by_pillow(array: np.ndarray, orientation: int) -> np.ndarray:
    image = Image.fromarray(array)
    image.getexif()[0x0112] = orientation
    return np.array(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
class TestOrientation:
    def test_upright_is_what_pillow_makes(self, orientation: int) -> None:
        np.testing.assert_array_equal(upright(RGB, orientation), transposed_by_pillow(RGB, orientation))

    def test_a_window_is_a_part_of_the_upright_picture(self, orientation: int) -> None:
        whole = upright(RGB, orientation)
        height, width = whole.shape[:2]
        for window in ((0, height, 0, width), (1, 3, 2, 5), (0, 1, 4, 5)):
            top, bottom, left, right = stored_window(window, height, width, orientation)
            found = upright(RGB[top:bottom, left:right], orientation)
            np.testing.assert_array_equal(found, whole[window[0] : window[1], window[2] : window[3]])

    def test_pictures_and_masks(self, orientation: int, tmp_path: Path) -> None:
        picture = oriented(tmp_path / "x.tif", RGB, orientation, photometric="rgb")
        mask = oriented(tmp_path / "m.tif", GREY, orientation, photometric="minisblack")
        expected = np.array(Image.open(picture))  # Pillow turns TIFFs while it reads them
        np.testing.assert_array_equal(read_picture(picture), expected)
        np.testing.assert_array_equal(read_ids(mask), expected[:, :, 0])
        header = probe(picture)
        assert (header.height, header.width) == expected.shape[:2]
        assert header.rotated == (orientation != 1)
        assert (header.stored_size != expected.shape[:2]) == swaps_sides(orientation)

    def test_planes_palettes_and_16_bits(self, orientation: int, tmp_path: Path) -> None:
        planes = oriented(
            tmp_path / "p.tif", np.moveaxis(RGB, 2, 0), orientation, photometric="rgb", planarconfig="separate"
        )
        np.testing.assert_array_equal(read_picture(planes), transposed_by_pillow(RGB, orientation))
        deep = oriented(tmp_path / "d.tif", RGB.astype(np.uint16) * 257, orientation, photometric="rgb")
        np.testing.assert_array_equal(
            read_picture(deep), transposed_by_pillow(RGB, orientation).astype(np.uint16) * 257
        )


def test_an_orientation_that_is_none_is_upright(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_picture(oriented(tmp_path / "x.tif", RGB, 9, photometric="rgb")), RGB)


class TestExtraSamples:
    @pytest.mark.parametrize("planar", [False, True])
    @pytest.mark.parametrize("extra", ["unspecified", None])
    def test_infrared_is_a_band(self, planar: bool, extra: str | None, tmp_path: Path) -> None:
        bands = RNG.integers(0, 65536, (5, 7, 4)).astype(np.uint16)
        stored = np.moveaxis(bands, 2, 0) if planar else bands
        options: dict[str, Any] = {"planarconfig": "separate" if planar else "contig", "photometric": "rgb"}
        tifffile.imwrite(tmp_path / "x.tif", stored, extrasamples=extra or ["unspecified"], **options)
        if extra is None:  # a file without the tag
            with tifffile.TiffFile(tmp_path / "x.tif", mode="r+b") as tiff:
                tiff.pages[0].tags["ExtraSamples"].overwrite(0)
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), bands)
        assert not probe(tmp_path / "x.tif").has_alpha

    @pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
    @pytest.mark.parametrize("channels", [2, 4])
    def test_alpha_is_dropped(self, kind: str, channels: int, tmp_path: Path) -> None:
        bands = RNG.integers(0, 256, (5, 7, channels)).astype(np.uint8)
        photometric = "rgb" if channels == 4 else "minisblack"
        tifffile.imwrite(tmp_path / "x.tif", bands, photometric=photometric, planarconfig="contig", extrasamples=[kind])
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), bands[:, :, :-1])
        assert probe(tmp_path / "x.tif").has_alpha

    def test_alpha_among_bands_is_dropped_wherever_it_is(self, tmp_path: Path) -> None:
        bands = RNG.integers(0, 256, (5, 7, 5)).astype(np.uint8)
        tifffile.imwrite(
            tmp_path / "x.tif", bands, photometric="rgb", planarconfig="contig",
            extrasamples=["unassalpha", "unspecified"],
        )  # fmt: skip
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), bands[:, :, [0, 1, 2, 4]])

    def test_two_bands_of_radar(self, tmp_path: Path) -> None:
        bands = RNG.normal(size=(5, 7, 2)).astype(np.float32)
        tifffile.imwrite(tmp_path / "x.tif", bands, photometric="minisblack", planarconfig="contig")
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), bands)

    def test_a_mask_with_alpha_holds_ids(self, tmp_path: Path) -> None:
        bands = np.stack([GREY % 5, np.full_like(GREY, 255)], axis=2)
        tifffile.imwrite(
            tmp_path / "x.tif", bands, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
        )
        np.testing.assert_array_equal(read_ids(tmp_path / "x.tif"), GREY % 5)


class TestWhiteIsZero:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_masks_are_turned_around_as_pictures_are(self, dtype: type, tmp_path: Path) -> None:
        full = np.iinfo(dtype).max
        white = GREY > 127
        tifffile.imwrite(tmp_path / "x.tif", np.where(white, 0, full).astype(dtype), photometric="miniswhite")
        np.testing.assert_array_equal(read_ids(tmp_path / "x.tif"), np.where(white, full, 0))
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif")[:, :, 0], np.where(white, full, 0))

    @pytest.mark.parametrize("compression", ["raw", "group4"])
    def test_fax(self, compression: str, tmp_path: Path) -> None:
        bilevel = Image.fromarray(GREY > 127)
        bilevel.save(tmp_path / "x.tif", **({} if compression == "raw" else {"compression": compression}))
        seen = np.array(bilevel.convert("L"))
        np.testing.assert_array_equal(read_ids(tmp_path / "x.tif"), seen)
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif")[:, :, 0], seen)


class TestColour:
    @pytest.mark.parametrize("scale", [1, 257])
    def test_palettes_of_8_and_of_16_bits(self, scale: int, tmp_path: Path) -> None:
        colours = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
        tifffile.imwrite(tmp_path / "x.tif", GREY, photometric="palette", colormap=colours * np.uint16(scale))
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), colours.T[GREY])
        np.testing.assert_array_equal(read_ids(tmp_path / "x.tif"), GREY)

    @pytest.mark.parametrize("photometric", ["cielab", "icclab"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_cielab(self, photometric: str, dtype: type, tmp_path: Path) -> None:
        from PIL import ImageCms

        profile = ImageCms.createProfile
        smooth = np.array(Image.fromarray(RGB).resize((28, 20), Image.Resampling.BICUBIC))
        transform = ImageCms.buildTransform(profile("sRGB"), profile("LAB"), "RGB", "LAB")
        stored = np.array(ImageCms.applyTransform(Image.fromarray(smooth), transform)).astype(dtype)
        if dtype == np.uint16:
            stored = np.concatenate([stored[:, :, :1] * 257, stored[:, :, 1:] * 256], axis=2)
        if photometric == "icclab":  # a and b are offset by half the range, not in two's complement
            stored[:, :, 1:] ^= 1 << (8 * stored.itemsize - 1)
        tifffile.imwrite(tmp_path / "x.tif", stored, photometric=photometric)
        found = read_picture(tmp_path / "x.tif").astype(float) / (257 if dtype == np.uint16 else 1)
        assert probe(tmp_path / "x.tif").channels == 3
        assert np.abs(found - smooth).mean() < 2  # of the 8 bits of the oracle's a and b
        assert np.abs(found - smooth).max() < 12

    def test_ycbcr_without_jpeg(self, tmp_path: Path) -> None:
        stored = np.array(Image.fromarray(RGB).convert("YCbCr"))
        tifffile.imwrite(tmp_path / "x.tif", stored, photometric="ycbcr", subsampling=(1, 1))
        expected = np.array(Image.fromarray(stored, "YCbCr").convert("RGB"))
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), expected)

    def test_ycbcr_by_jpeg(self, tmp_path: Path) -> None:
        smooth = np.array(Image.fromarray(RGB).resize((64, 48), Image.Resampling.BICUBIC))
        tifffile.imwrite(tmp_path / "x.tif", smooth, photometric="ycbcr", compression="jpeg")
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), np.array(Image.open(tmp_path / "x.tif")))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_ycbcr_of_half_the_colour(self, orientation: int, tmp_path: Path) -> None:
        """Uncompressed blocks of 2 x 2 pixels that share their chroma, of which no Python library writes any."""
        light, blue, red = RNG.integers(0, 256, (4, 6)), RNG.integers(0, 256, (2, 3)), RNG.integers(0, 256, (2, 3))
        blocks = light.reshape(2, 2, 3, 2).transpose(0, 2, 1, 3).reshape(2, 3, 4)
        strip = np.concatenate([blocks, blue[:, :, None], red[:, :, None]], 2).astype(np.uint8).tobytes()
        subsampling = 2 | 2 << 16
        tags = ((256, 6), (257, 4), (258, 8), (259, 1), (262, 6), (273, 8), (274, orientation), (277, 3), (278, 4),
                (279, len(strip)), (530, subsampling))  # fmt: skip
        entries = b"".join(struct.pack("<HHII", tag, 3, 2 if tag == 530 else 1, value) for tag, value in tags)
        head = struct.pack("<2sHI", b"II", 42, 8 + len(strip))
        (tmp_path / "x.tif").write_bytes(head + strip + struct.pack("<H", len(tags)) + entries + bytes(4))
        found = read_picture(tmp_path / "x.tif")
        wide = [np.kron(plane, np.ones((2, 2))) for plane in (blue, red)]
        whole = np.stack([light, *wide], 2).astype(np.uint8)
        expected = upright(np.array(Image.fromarray(whole, "YCbCr").convert("RGB")), orientation).astype(int)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 2

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_cmyk(self, dtype: type, tmp_path: Path) -> None:
        inks = np.array(Image.fromarray(RGB).convert("CMYK"))
        inks[:, :, 3] = GREY // 2
        expected = np.array(Image.fromarray(inks, "CMYK").convert("RGB")).astype(int)
        scale = 257 if dtype == np.uint16 else 1
        tifffile.imwrite(tmp_path / "x.tif", inks.astype(dtype) * dtype(scale), photometric="separated")
        found = read_picture(tmp_path / "x.tif")
        assert found.dtype == dtype
        assert np.abs(found / scale - expected).max() <= 1

    def test_complex_numbers_are_a_sentence(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "x.tif", np.ones((5, 7), np.complex64))
        with pytest.raises(UserError, match="complex numbers"):
            read_picture(tmp_path / "x.tif")


class TestPages:
    SMALL = RGB[::2, ::2]

    @pytest.mark.parametrize("flag", [{"subfiletype": 1}, {}], ids=["flagged", "unflagged"])
    @pytest.mark.parametrize("first", ["preview", "picture"])
    def test_the_full_picture_is_read(self, flag: dict[str, int], first: str, tmp_path: Path) -> None:
        preview = (self.SMALL, {"photometric": "rgb", "metadata": None, **flag})
        picture = (RGB, {"photometric": "rgb", "metadata": None})
        with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
            for array, options in (preview, picture) if first == "preview" else (picture, preview):
                writer.write(array, **options)
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), RGB)
        if first == "preview":
            assert probe(tmp_path / "x.tif").frames == (1 if flag else 2)

    def test_the_full_picture_in_a_subfile(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
            writer.write(self.SMALL, photometric="rgb", subfiletype=1, subifds=1, metadata=None)
            writer.write(RGB, photometric="rgb", metadata=None)
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), RGB)

    def test_a_mask_of_transparency_is_no_picture(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
            writer.write(GREY > 9, photometric="mask", subfiletype=4, metadata=None)
            writer.write(RGB, photometric="rgb", metadata=None)
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), RGB)

    @pytest.mark.parametrize("axes", ["ZYX", "TYX"])
    @pytest.mark.parametrize("kind", ["ome", "imagej"])
    def test_slices_and_times_are_no_channels(self, axes: str, kind: str, tmp_path: Path) -> None:
        stack = np.stack([GREY] * 3)
        options: dict[str, Any] = {kind: True}
        tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack", metadata={"axes": axes}, **options)
        for read in (read_picture, read_ids):
            with pytest.raises(UserError, match="a stack of 3 pages"):
                read(tmp_path / "x.tif")

    @pytest.mark.parametrize("kind", ["ome", "imagej"])
    def test_channels_that_say_so_are_channels(self, kind: str, tmp_path: Path) -> None:
        stack = RNG.integers(0, 256, (4, 5, 7)).astype(np.uint8)
        options: dict[str, Any] = {kind: True}
        tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack", metadata={"axes": "CYX"}, **options)
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), np.moveaxis(stack, 0, 2))
        assert probe(tmp_path / "x.tif").meaning == "channels"
        with pytest.raises(UserError, match="a stack of 4 pages"):
            read_ids(tmp_path / "x.tif")

    @pytest.mark.parametrize(("pages", "meaning"), [(2, "unknown"), (16, "unknown"), (17, "slices")])
    def test_pages_that_say_nothing(self, pages: int, meaning: str, tmp_path: Path) -> None:
        first, *others = (Image.fromarray(GREY + np.uint8(page)) for page in range(pages))
        first.save(tmp_path / "x.tif", save_all=True, append_images=others)
        assert probe(tmp_path / "x.tif").meaning == meaning
        if meaning == "unknown":
            assert read_picture(tmp_path / "x.tif").shape == (5, 7, pages)
        else:
            with pytest.raises(UserError, match="a stack of 17 pages"):
                read_picture(tmp_path / "x.tif")

    def test_pages_in_colour_are_a_stack(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "x.tif", np.stack([RGB] * 2), photometric="rgb")
        with pytest.raises(UserError, match="a stack of 2 pages"):
            read_picture(tmp_path / "x.tif")
