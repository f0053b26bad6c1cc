"""Pairs of pictures and pictures of two kinds: what is recognised, how it is read, and what the doctor reports."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from pair_files import discs, write_pairs
from pixelwise.data.doctor import examine
from pixelwise.data.doctor.repair import fix
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.convert import convert
from pixelwise.data.formats.domains import place_of
from pixelwise.data.pair_scenes import write_pair_scenes
from pixelwise.data.pairs import swapped
from pixelwise.data.pictures import write_png
from pixelwise.data.stock import take_stock
from pixelwise.data.values import write_map
from pixelwise.errors import UserError


def codes(folder: Path, layout: str = "auto") -> dict[str, str]:
    return {finding.code: finding.severity for finding in examine(folder, layout).findings}


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("layout", ["side_by_side", "pairs"])
def test_pairs_are_recognised_and_read_pixel_by_pixel(layout: str, deep: bool, tmp_path: Path) -> None:
    size = (40, 40) if layout == "side_by_side" else (40, 48)
    write_pairs(tmp_path, layout, size=size, deep=deep)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == layout
    assert dataset.knows == {"domains", "pairs"}
    assert {split: len(names) for split, names in dataset.splits.items()} == {"train": 6, "val": 2}
    assert (dataset.form.channels, dataset.form.dtype) == ((1, "uint16") if deep else (3, "uint8"))
    first, second = discs(0, size, deep=deep)
    sample = dataset.load(dataset.split("train")[0])
    assert sample.partner is not None
    assert sample.paired
    np.testing.assert_array_equal(sample.image.squeeze(), first)
    np.testing.assert_array_equal(sample.partner.squeeze(), second)
    assert dataset.size(dataset.records[0]) == size


def test_swapped_pairs_change_places_and_swapping_twice_changes_nothing(tmp_path: Path) -> None:
    write_pair_scenes(tmp_path, train=3, val=2, size=(48, 48))
    dataset = open_dataset(tmp_path)
    other = swapped(dataset)
    one, two = dataset.load(dataset.records[0]), other.load(other.records[0])
    np.testing.assert_array_equal(one.image, two.partner)
    np.testing.assert_array_equal(one.partner, two.image)
    assert swapped(other) == dataset
    assert dataset.coding.colours[0] is None  # type: ignore[attr-defined]
    assert other.coding.colours[0] is not None  # type: ignore[attr-defined]
    unlabelled = open_dataset(tmp_path, "folder", labels=False)
    with pytest.raises(ValueError, match="no partners to swap"):
        swapped(unlabelled)


def test_forms_of_both_kinds_may_differ(tmp_path: Path) -> None:
    for index in range(3):
        colour, _ = discs(index)
        _, deep = discs(index, deep=True)
        write_png(tmp_path / "A" / f"{index}.png", colour)
        write_png(tmp_path / "B" / f"{index}.png", deep)
    dataset = open_dataset(tmp_path)
    pairs = take_stock(dataset, None).facts.pairs
    assert pairs is not None
    assert (pairs.input.form.channels, pairs.input.form.dtype) == (3, "uint8")
    assert (pairs.target.form.channels, pairs.target.form.dtype) == (1, "uint16")
    assert (pairs.input.low, pairs.input.high) == (0, 255)
    known = [dataset.load(record).partner for record in dataset.split("train")]
    assert (pairs.target.low, pairs.target.high) == (min(map(np.min, known)), max(map(np.max, known)))


def test_two_kinds_are_recognised_with_every_picture_in_its_split(tmp_path: Path) -> None:
    for index in range(5):
        write_png(tmp_path / "trainA" / f"{index}.png", discs(index)[0])
    for index in range(2):
        write_png(tmp_path / "trainB" / f"x{index}.png", discs(index, (30, 30))[1])
        write_png(tmp_path / "testA" / f"{index}.png", discs(20 + index)[0])
        write_png(tmp_path / "testB" / f"y{index}.png", discs(30 + index)[1])
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "unpaired"
    assert dataset.knows == {"domains"}
    assert len(dataset.records) == 7
    of_split = {split: dataset.split(split) for split in dataset.splits}
    assert len(of_split["test"]) == 2
    seconds = {split: {record.labels[0].name for record in records} for split, records in of_split.items()}
    assert seconds["train"] | seconds["val"] == {"x0.png", "x1.png"}
    assert not seconds["train"] & seconds["val"]  # a repeated picture is on one side of the split
    assert seconds["test"] == {"y0.png", "y1.png"}
    sample = dataset.load(of_split["train"][0])
    assert not sample.paired
    assert sample.partner is not None
    assert sample.partner.shape == (30, 30, 3)
    assert not sample.window(0, 0, 10, 10).partner
    assert codes(tmp_path) == {"guess": "warning"}  # repeating a picture is no duplicate


def test_classes_called_a_and_b_stay_classes_unless_a_translator_is_trained(tmp_path: Path) -> None:
    for index in range(4):
        write_png(tmp_path / "a" / f"{index}.png", discs(index)[0])
        write_png(tmp_path / "b" / f"{index}.png", discs(50 + index)[1])
    assert open_dataset(tmp_path).layout == "classes"
    assert open_dataset(tmp_path, preferred=("pairs", "side_by_side")).layout == "pairs"
    assert open_dataset(tmp_path, preferred=("unpaired", "pairs")).layout == "unpaired"
    assert open_dataset(tmp_path, "pairs").layout == "pairs"


def test_one_wide_picture_is_not_two(tmp_path: Path) -> None:
    """A panorama has no seam in its middle."""
    for index in range(3):
        rng = np.random.default_rng(index)
        smooth = np.cumsum(rng.normal(0, 3, (32, 64, 3)), axis=1) + 128
        write_png(tmp_path / f"{index}.png", smooth.clip(0, 255).astype(np.uint8))
    assert open_dataset(tmp_path, labels=False).layout == "folder"
    assert open_dataset(tmp_path, preferred=("pairs", "side_by_side")).layout == "side_by_side"


@pytest.mark.parametrize(
    ("path", "domain", "split", "key"),
    [
        ("trainA/x.png", "a", "train", "x"),
        ("testB/street/1_B.jpg", "b", "test", "street/1"),
        ("train_b/x_a.png", "b", "train", "x_a"),
        ("A/val/x.png", "a", "val", "x"),
        ("data/train/a/x.png", "a", "train", "data/x"),
    ],
)
def test_places(path: str, domain: str, split: str, key: str) -> None:
    place = place_of(PurePosixPath(path))
    assert place is not None
    assert (place.domain, place.split, place.key) == (domain, split, key)


def test_folders_with_other_names_are_no_places() -> None:
    assert place_of(PurePosixPath("alpha/x.png")) is None
    assert place_of(PurePosixPath("trainAB/x.png")) is None


def test_the_doctor_names_every_faulty_pair(tmp_path: Path) -> None:
    write_pairs(tmp_path, "pairs", train=8)
    write_png(tmp_path / "train" / "b" / "1.png", discs(1, (20, 20))[1])
    (tmp_path / "train" / "b" / "2.png").unlink()
    (tmp_path / "train" / "a" / "3.png").unlink()
    (tmp_path / "train" / "b" / "4.png").write_bytes(b"no picture")
    diagnosis = examine(tmp_path, "pairs")
    found = {finding.code: finding for finding in diagnosis.findings}
    assert "20 x 20 but its partner" in found["partner-broken"].files[0]
    assert found["picture-without-mask"].files == ("train/a/2.png",)
    assert "no picture of that name in b" in found["picture-without-mask"].sentence
    assert found["partner-without-picture"].files == ("train/b/3.png",)
    assert "train/b/4.png" in " ".join(found["partner-broken"].files + found.get("unreadable", found["guess"]).files)
    assert not diagnosis.ok
    with pytest.raises(UserError, match=r"1\.png: the picture is 20 x 20 but its partner .* is 48 x 40"):
        take_stock(open_dataset(tmp_path, "pairs"), None)


def test_missing_values_of_either_picture_are_told(tmp_path: Path) -> None:
    for index in range(4):
        first, second = (np.squeeze(one).astype(np.float32) for one in discs(index, deep=True))
        first[0, 0] = np.nan if index == 1 else 3000
        second[:4] = np.nan if index == 2 else 21_000
        for name, picture in (("a", first), ("b", second)):
            write_map(tmp_path / name / f"{index}.tif", picture)
    found = [finding.files for finding in examine(tmp_path, "pairs").findings if finding.code == "no-data"]
    assert sorted(Path(file).name for files in found for file in files) == ["1.tif (0.1%)", "2.tif (10.0%)"]


def test_an_odd_width_is_one_sentence(tmp_path: Path) -> None:
    write_pairs(tmp_path, "side_by_side", size=(40, 40))
    write_png(tmp_path / "train" / "0.png", np.zeros((40, 81, 3), np.uint8))
    diagnosis = examine(tmp_path, "side_by_side")
    assert [f.files for f in diagnosis.findings if f.code == "odd-width"] == [("train/0.png",)]
    assert not diagnosis.ok
    with pytest.raises(UserError, match=r"0\.png: 81 pixels wide, which is odd"):
        take_stock(open_dataset(tmp_path, "side_by_side"), None)


def test_a_kind_without_training_pictures_is_a_fault(tmp_path: Path) -> None:
    for index in range(3):
        write_png(tmp_path / "trainA" / f"{index}.png", discs(index)[0])
        write_png(tmp_path / "testB" / f"{index}.png", discs(index)[1])
    with pytest.raises(UserError, match=r"3 pictures to train on in a .* none of the other kind"):
        open_dataset(tmp_path)
    assert codes(tmp_path)["text-file"] == "error"


def test_colours_belong_to_the_kind_of_picture_that_has_them(tmp_path: Path) -> None:
    write_pairs(tmp_path, "pairs")
    (tmp_path / "colors.txt").write_text("disc 200 30 30\nground 20 40 220\n")
    dataset = open_dataset(tmp_path)
    first, second = dataset.coding.colours  # type: ignore[attr-defined]
    assert first is None
    assert second is not None
    assert second.names == ("disc", "ground")
    _, partner = discs(0)
    noisy = np.clip(partner.astype(int) + np.random.default_rng(0).integers(-20, 21, partner.shape), 0, 255)
    np.testing.assert_array_equal(second.ids(noisy.astype(np.uint8)), (partner[:, :, 0] < 100).astype(np.uint8))
    (tmp_path / "colors.txt").write_text("one 1 200 3\ntwo 9 90 200\n")
    dataset = open_dataset(tmp_path)
    assert dataset.coding.colours == (None, None)  # type: ignore[attr-defined]
    assert any("Neither kind of picture has the colours" in note for note in dataset.notes)


def test_pairs_become_no_masks(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", "pairs")
    with pytest.raises(UserError, match="no masks; conversion is only possible"):
        convert(tmp_path / "data", to="folder", out=tmp_path / "out")
    with pytest.raises(UserError, match="pictures of two kinds; a corrected copy"):
        fix(tmp_path / "data", tmp_path / "out")
    dataset = open_dataset(tmp_path / "data")
    with pytest.raises(UserError, match="a picture of another kind, not a mask"):
        dataset.load_mask(dataset.split("train")[0])


def test_the_pairs_of_maps(shared_folder: Path) -> None:
    dataset = open_dataset(shared_folder / "data" / "maps")
    assert (dataset.layout, len(dataset.split("train")), len(dataset.split("val"))) == ("side_by_side", 100, 20)
    assert dataset.size(dataset.records[0]) == (600, 600)


def test_folders_called_a_and_b_that_have_masks_are_no_pairs(tmp_path: Path) -> None:
    for letter in "ab":
        for number in range(4):
            picture, _ = discs(number, (40, 48))
            write_png(tmp_path / "images" / letter / f"{number}.png", picture)
            write_png(tmp_path / "masks" / letter / f"{number}.png", (picture[:, :, 0] > 128).astype(np.uint8))
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "folder"
    assert len(dataset.records) == 8
