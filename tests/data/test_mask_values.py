"""Class ids, numbers of objects, shades of grey, black and white: told apart by what the masks hold."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from people_files import SIZE, mask, picture, save, write_pairs
from PIL import Image

from pixelwise.data.dataset import Dataset
from pixelwise.data.doctor import examine, fix
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.mask_values import grey_levels
from pixelwise.data.pictures import read_ids
from pixelwise.errors import UserError


def write(root: Path, draw: Callable[[int], np.ndarray], count: int = 8) -> Path:
    """Pictures, and masks as PNGs, or as TIFFs where no PNG holds such numbers."""
    for number in range(count):
        save(root / f"images/p{number}.png", picture(number))
        ids = draw(number)
        if ids.dtype in (np.uint8, np.uint16):
            save(root / f"masks/p{number}.png", ids)
        else:
            (root / "masks").mkdir(exist_ok=True)
            tifffile.imwrite(root / f"masks/p{number}.tif", ids)
    return root


def discs(number: int, dtype: type) -> np.ndarray:
    """Three discs or more, each of a number of its own."""
    ids = np.zeros(SIZE, dtype)
    for disc in range(3 + number % 3):
        cv2.circle(ids, (6 + 11 * disc, 8 + 6 * (disc % 4)), 4, disc + 1, -1)
    return ids


def stripes(number: int, dtype: type, values: tuple[int, ...] = (1, 2)) -> np.ndarray:
    """Six stripes of the values in turn: each value in several regions."""
    ids = np.zeros(SIZE, dtype)
    for stripe in range(6):
        ids[5 + number % 3 : 30, 9 * stripe : 9 * stripe + 5] = values[stripe % len(values)]
    return ids


def said(root: Path, dataset: Dataset) -> bool:
    """Whether the guess is told before training and by the doctor."""
    return bool(dataset.guesses) and any(f.code == "guess" for f in examine(root).findings)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_objects_whatever_the_depth(dtype: type, tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path, lambda number: discs(number, dtype)))
    assert dataset.layout == "labelmap"
    assert [len(dataset.load(record).instances) for record in dataset.records] == [3, 4, 5, 3, 4, 5, 3, 4]
    assert said(tmp_path, dataset)
    assert open_dataset(tmp_path, "folder").knows == {"pixels"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_class_ids_whatever_the_depth(dtype: type, tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path, lambda number: stripes(number, dtype)))
    assert (dataset.layout, len(dataset.class_names)) == ("folder", 3)
    assert said(tmp_path, dataset) == (dtype != np.uint8)
    assert examine(tmp_path).summary.class_names == dataset.class_names


def test_organs_of_one_region_each_are_classes(tmp_path: Path) -> None:
    def organs(number: int) -> np.ndarray:
        return np.maximum(mask(number, 1), mask(number, 2, corner=(5, 30)))

    assert open_dataset(write(tmp_path, organs)).class_names == ("class 0", "class 1", "class 2")


def test_codes_beyond_255_are_classes_in_their_order(tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path / "data", lambda number: stripes(number, np.uint16, (111, 2, 512))))
    assert dataset.class_names == ("background", "value 2", "value 111", "value 512")
    drawn = stripes(3, np.uint16, (111, 2, 512))
    found = dataset.load(dataset.records[3]).mask
    for class_id, value in enumerate((0, 2, 111, 512)):
        np.testing.assert_array_equal(found == class_id, drawn == value)
    diagnosis = examine(tmp_path / "data")
    assert diagnosis.ok
    assert len(diagnosis.summary.class_names) == 4
    fix(tmp_path / "data", tmp_path / "fixed")
    np.testing.assert_array_equal(read_ids(tmp_path / "fixed/masks/p3.png"), found)


@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (65535, np.uint16), (1, np.uint16)])
def test_black_and_white(value: int, dtype: type, tmp_path: Path) -> None:
    def two(number: int) -> np.ndarray:
        return np.maximum(mask(number, value, dtype), mask(0, value, dtype, corner=(25, 35)))

    dataset = open_dataset(write(tmp_path, two))
    assert len(dataset.class_names) == 2
    sample = dataset.load(dataset.records[2])
    assert sample.instances is None
    assert int((sample.mask == 1).sum()) == 240 + 200
    assert examine(tmp_path).ok


@pytest.mark.parametrize("every", [1, 3], ids=["all", "a third"])
def test_straight_soft_edges_are_no_third_class(every: int, tmp_path: Path) -> None:
    """Each value of a straight ramp has many pixels, but none of them fill an area."""

    def drawn(number: int) -> np.ndarray:
        sharp = mask(number, 255)
        return sharp if number % every else cv2.GaussianBlur(sharp, (5, 5), 1.2)

    write_pairs(tmp_path, "images/p{0}.png", "masks/p{0}.png", 9, drawn)
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("background", "foreground")
    assert said(tmp_path, dataset)
    assert examine(tmp_path).ok
    for number, record in enumerate(dataset.records):
        np.testing.assert_array_equal(dataset.load(record).mask, drawn(number) > 127)


def test_a_lossy_mask_among_ids_does_not_make_them_black_and_white(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / f"images/p{number}.png", picture(number))
        ids = mask(number, 1) + mask(number, 2, corner=(25, 35))
        save(tmp_path / f"masks/p{number}.png", ids if number else cv2.GaussianBlur(mask(0, 255), (5, 5), 1.2))
    with pytest.raises(UserError, match="blurred, scaled or saved as JPEG"):
        open_dataset(tmp_path)


def test_objects_numbered_with_gaps_are_told(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / f"images/p{number}.png", picture(number))
        ids = sum(
            mask(0, value, corner=(25 * (value % 2), 20 * (value // 2) - 10))
            for value in (1, 3, 4, 5)[: 2 + number % 3]
        )
        save(tmp_path / f"masks/p{number}.png", ids)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "folder"
    assert any("`labelmap`" in guess for guess in dataset.guesses)


def test_soft_edges_are_cut_at_half_height(tmp_path: Path) -> None:
    def soft(number: int) -> np.ndarray:
        large = np.zeros((160, 240), np.uint8)
        cv2.line(large, (0, 20 + 10 * number), (239, 120), 237, 24)
        noise = np.random.default_rng(number).integers(-2, 3, large.shape)
        blurred = cv2.GaussianBlur(large, (0, 0), 1.5).astype(int)
        return np.clip(blurred + noise * (blurred > 0), 0, 237).astype(np.uint8)

    for number in range(8):
        save(tmp_path / f"data/images/p{number}.png", picture(number, (160, 240)))
        save(tmp_path / f"data/masks/p{number}.png", soft(number))
    dataset = open_dataset(tmp_path / "data")
    assert len(dataset.class_names) == 2
    np.testing.assert_array_equal(dataset.load(dataset.records[1]).mask, soft(1) > 118)
    assert said(tmp_path / "data", dataset)
    fix(tmp_path / "data", tmp_path / "fixed")
    np.testing.assert_array_equal(read_ids(tmp_path / "fixed/masks/p1.png"), soft(1) > 118)


def test_straight_soft_edges_are_no_classes(tmp_path: Path) -> None:
    def soft(number: int) -> np.ndarray:
        return cv2.GaussianBlur(mask(number + 9, 255), (0, 0), 1.2)

    dataset = open_dataset(write(tmp_path, soft))
    np.testing.assert_array_equal(dataset.load(dataset.records[1]).mask, soft(1) > 127)


def test_a_third_class_in_lossy_masks_is_no_edge(tmp_path: Path) -> None:
    def soft(number: int) -> np.ndarray:
        three = np.maximum(mask(number + 9, 255), mask(number + 9, 128, corner=(5, 32)))
        return cv2.GaussianBlur(three, (0, 0), 1.2)

    with pytest.raises(UserError, match="blurred"):
        open_dataset(write(tmp_path, soft))


@pytest.mark.parametrize("levels", [(0, 128, 255), (0, 64, 128, 255), (0, 127, 254), (0, 100, 200)])
def test_shades_of_grey_are_classes_in_their_order(levels: tuple[int, ...], tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path, lambda number: stripes(number, np.uint8, levels)))
    assert dataset.class_names == tuple(f"grey {level}" for level in levels)
    drawn = stripes(1, np.uint8, levels)
    for class_id, level in enumerate(levels):
        np.testing.assert_array_equal(dataset.load(dataset.records[1]).mask == class_id, drawn == level)
    assert said(tmp_path, dataset)
    (tmp_path / "classes.txt").write_text("".join(f"kind{level}\n" for level in levels))
    named = open_dataset(tmp_path)
    np.testing.assert_array_equal(named.load(named.records[1]).mask == 1, drawn == levels[1])
    assert named.class_names[1] == f"kind{levels[1]}"


def test_ids_next_to_each_other_are_no_shades() -> None:
    assert grey_levels({0, 1, 13, 150}) == ()
    assert grey_levels({0, 10, 20, 150}) == (0, 10, 20, 150)


def test_ids_are_no_shades() -> None:
    for ids in ({0, 1, 2}, {0, 1, 2, 255}, {0, 7, 11, 26}, set(range(200)), {0, 255}, {0, 1, 255}):
        assert grey_levels(ids) == ()
    assert grey_levels({0, 100, 200, 255}) == (0, 100, 200)  # 255 stays void
    assert grey_levels({0, 100, 200, 255}, classes=4) == (0, 100, 200, 255)


def test_two_spellings_of_the_foreground_and_a_stray_id_are_both_found(tmp_path: Path) -> None:
    def drawn(number: int) -> np.ndarray:
        ids = mask(number, 255 if number == 1 else 1)
        if number == 4:
            ids[0, 0] = 7
        return ids

    write(tmp_path, drawn, count=10)
    (tmp_path / "classes.txt").write_text("background\nthing\n")
    assert {"id-beyond-classes", "mask-0-255"} <= {finding.code for finding in examine(tmp_path).findings}


@pytest.mark.parametrize("bits", [2, 4])
def test_ids_in_few_bits(bits: int, tmp_path: Path) -> None:
    """A grey PNG of 2 bits holds the ids 0 to 3, whatever a viewer makes of them."""
    drawn = stripes(0, np.uint8, (1, 3))
    rows = np.unpackbits(drawn[:, :, None], axis=2)[:, :, -bits:].reshape(len(drawn), -1)
    packed = b"".join(b"\0" + np.packbits(row).tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(packed)), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (tmp_path / "mask.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    np.testing.assert_array_equal(read_ids(tmp_path / "mask.png"), drawn)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_mask_in_the_alpha_channel(mode: str, tmp_path: Path) -> None:
    """A white shape cut out of a white picture: nothing but its transparency says where it is."""
    for number in range(4):
        save(tmp_path / f"images/p{number}.png", picture(number))
        white = Image.new(mode[:-1], SIZE[::-1], "white")
        white.putalpha(Image.fromarray(mask(number, 255)))
        (tmp_path / "masks").mkdir(exist_ok=True)
        white.save(tmp_path / f"masks/p{number}.png")
    dataset = open_dataset(tmp_path)
    np.testing.assert_array_equal(dataset.load(dataset.records[2]).mask, mask(2, 1))
    assert examine(tmp_path).ok
