"""Pictures find their masks under the names that people give them, and only theirs."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from people_files import mask, picture, save, write_pairs

from pixelwise.data.dataset import Dataset
from pixelwise.data.doctor import examine
from pixelwise.data.formats import open_dataset
from pixelwise.errors import UserError

NAMED_AS_MASKS = {
    "suffix": ("p{0}.png", "p{0}_mask.png"),
    "two suffixes of a file": ("img/p{0}.jpg", "masks/p{0}.jpg.png"),
    "split and role in one word": ("train_images/p{0}.jpg", "train_masks/p{0}.png"),
    "a suffix of no meaning": ("train/0001TP_{0:06d}.png", "train_labels/0001TP_{0:06d}_L.png"),
    "accents": (unicodedata.normalize("NFC", "images/mü{0}.png"), unicodedata.normalize("NFD", "masks/mü{0}.png")),
    "blanks": ("images/a b{0}.png", "masks/a%20b{0}.png"),
}
NAMED_IN_PART = {
    "prefix of the folder": ("crack_images/c{0}.jpg", "crack_masks/c{0}.png"),
    "words run together": ("DUTS-TR/DUTS-TR-Image/s{0}x.jpg", "DUTS-TR/DUTS-TR-Mask/s{0}x.png"),
    "suffix of the picture": ("top/tile_{0}_RGB.png", "top/tile_{0}_label.png"),
    "a channel's number": ("imagesTr/road_{0:03d}_0000.png", "labelsTr/road_{0:03d}.png"),
    "beginnings": ("images/img{0}.png", "masks/mask{0}.png"),
    "one common number": ("images/{0}1_training.png", "masks/{0}1_manual1.png"),
    "both beside": ("{0:03d}_img.png", "{0:03d}_masks.png"),
    "a folder per picture": ("s{0}/image.png", "s{0}/mask.png"),
    "nested": ("leftImg8bit/train/ulm/ulm_{0:06d}_leftImg8bit.png", "gtFine/train/ulm/ulm_{0:06d}_gtFine_labelIds.png"),
    "labelled pictures": ("701_StillsRaw_full/a_{0:06d}.png", "LabeledApproved_full/a_{0:06d}_L.png"),
    "lab": ("train_img/p{0}.png", "train_lab/p{0}.png"),
    "no separator": ("image{0}.png", "mask{0}.png"),
}
BY_LOOKS = {
    "one name and two suffixes": ("Imgs/{0}x.jpg", "Imgs/{0}x.png"),
    "two files per folder": ("case{0}/scan.jpg", "case{0}/tumor.png"),
    "two folders": ("aerial/p{0}.png", "roads/p{0}.png"),
    "two folders per part": ("north/aerial/p{0}.png", "north/roads/p{0}.png"),
    "an addition": ("eye_{0}.png", "eye_{0}_1stHO.png"),
    "an addition, each in a folder": ("c{0}/c{0}_scan_image/c{0}.png", "c{0}/c{0}_lesion/c{0}_lesion.png"),
}


def own_masks(dataset: Dataset) -> bool:
    """Whether every picture has the mask of its number: mask N marks 20 * (10 + N) pixels of `picture(N)`."""
    marked = {picture(number).tobytes(): 20 * (10 + number) for number in range(6)}
    samples = [dataset.load(record) for record in dataset.records if record.labelled]
    lossless = [sample for sample in samples if sample.image.tobytes() in marked]
    counts = [int((sample.mask == 1).sum()) for sample in samples]
    return sorted(counts) == sorted(marked.values()) and all(
        (sample.mask == 1).sum() == marked[sample.image.tobytes()] for sample in lossless
    )


@pytest.mark.parametrize("names", NAMED_AS_MASKS.values(), ids=NAMED_AS_MASKS)
def test_names_that_say_mask(names: tuple[str, str], tmp_path: Path) -> None:
    dataset = open_dataset(write_pairs(tmp_path, *names))
    assert own_masks(dataset)
    assert dataset.guesses == ()


@pytest.mark.parametrize("names", [*NAMED_IN_PART.values(), *BY_LOOKS.values()], ids=[*NAMED_IN_PART, *BY_LOOKS])
def test_what_is_guessed_is_right_and_said(names: tuple[str, str], tmp_path: Path) -> None:
    dataset = open_dataset(write_pairs(tmp_path, *names))
    assert dataset.task == "segment"
    assert own_masks(dataset)
    assert any("paired by" in guess for guess in dataset.guesses)
    assert ("warning", "guess") in {(f.severity, f.code) for f in examine(tmp_path).findings}


def test_pictures_without_a_mask_stay_without(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/p{0}.png", "masks/p{0}.png")
    for number in range(6, 12):
        save(tmp_path / f"images/p{number}.png", picture(number))
    assert sorted(r.name for r in open_dataset(tmp_path).records if r.labelled) == [f"images/p{n}" for n in range(6)]


def test_names_with_nothing_in_common_are_no_pairs(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"images/{'abcd'[number]}.png", picture(number))
        save(tmp_path / f"masks/{'wxyz'[number]}.png", mask(number))
    with pytest.raises(UserError, match="4 masks have no picture's name"):
        open_dataset(tmp_path)


def test_photographs_in_two_folders_are_no_pairs(tmp_path: Path) -> None:
    write_pairs(tmp_path, "aerial/p{0}.png", "infrared/p{0}.png", draw=lambda number: picture(50 + number))
    assert open_dataset(tmp_path).layout == "classes"


def test_masks_in_another_folder_are_said(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/p{0}.png", "masks/p{0}.png")
    write_pairs(tmp_path, "images/p{0}.png", "1st_manual/p{0}.png")
    dataset = open_dataset(tmp_path)
    assert {record.labels[0].parent.name for record in dataset.records} == {"masks"}
    assert any("1st_manual" in guess for guess in dataset.guesses)


class TestLayers:
    def marked(self, root: Path, name: str) -> dict[str, int]:
        dataset = open_dataset(root)
        sample = dataset.load(next(record for record in dataset.records if record.name.endswith(name)))
        return {dataset.class_names[value]: int((sample.mask == value).sum()) for value in np.unique(sample.mask)}

    def test_numbered_masks_are_one(self, tmp_path: Path) -> None:
        for number in range(4):
            save(tmp_path / f"x ({number}).png", picture(number))
            save(tmp_path / f"x ({number})_mask.png", mask(0, 255))
        save(tmp_path / "x (2)_mask_1.png", mask(2, 255, corner=(25, 35)))
        assert self.marked(tmp_path, "x (2)")["foreground"] == 200 + 240
        assert self.marked(tmp_path, "x (1)")["foreground"] == 200
        assert any("x (2)_mask_1.png" in guess for guess in open_dataset(tmp_path).guesses)

    @pytest.mark.parametrize("name", ["masks/{1}/p{0}.png", "masks/p{0}_{1}.png", "{1}_masks/p{0}.png"])
    def test_a_folder_or_a_file_per_class(self, name: str, tmp_path: Path) -> None:
        for number in range(4):
            save(tmp_path / f"images/p{number}.png", picture(number))
            save(tmp_path / name.format(number, "cat"), mask(0, 255))
            save(tmp_path / name.format(number, "dog"), mask(2, 255, corner=(25, 35)))
        assert self.marked(tmp_path, "p1") == {"background": 2400 - 440, "cat": 200, "dog": 240}
        summary = examine(tmp_path).summary
        assert dict(zip(summary.class_names, summary.class_pixels, strict=True))["dog"] == 4 * 240

    def test_small_things_stay_on_top(self, tmp_path: Path) -> None:
        for number in range(4):
            save(tmp_path / f"images/p{number}.png", picture(number))
            save(tmp_path / f"masks/wall/p{number}.png", mask(20, 255))
            save(tmp_path / f"masks/door/p{number}.png", mask(0, 255))
        assert self.marked(tmp_path, "p0") == {"background": 2400 - 600, "door": 200, "wall": 400}

    def test_two_masks_of_the_same_are_not_united(self, tmp_path: Path) -> None:
        for number in range(4):
            save(tmp_path / f"images/p{number}.png", picture(number))
            save(tmp_path / f"masks/p{number}_1stHO.png", mask(0, 255))
            save(tmp_path / f"masks/p{number}_2ndHO.png", mask(1, 255))
        assert self.marked(tmp_path, "p0") == {"background": 2200, "foreground": 200}
        assert any("show the same" in guess for guess in open_dataset(tmp_path).guesses)

    def test_an_orphan_is_no_layer_of_a_namesake(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, "images/p{0}.png", "masks/p{0}.png")
        save(tmp_path / "masks/p1_7.png", mask(9, corner=(25, 30)))
        assert self.marked(tmp_path, "p1") == {"class 0": 2400 - 220, "class 1": 220}


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("labels/of_no_picture.txt", "0 0.5 0.5 0.2 0.2\n", "YOLO"),
        ("annotations.xml", "<annotations><image/></annotations>", "suffix .xml"),
        ("masks/p1.npy", "anything", ".npy"),
        ("labels.csv", "picture;kind\np1;cat\n", "columns"),
    ],
)
def test_labels_that_are_not_read_are_named(file: str, content: str, said: str, tmp_path: Path) -> None:
    save(tmp_path / "images/p1.png", picture(1))
    save(tmp_path / "images/p2.png", picture(2))
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=f"(?s)Found, but not read.*{said}"):
        open_dataset(tmp_path)
    assert any(f.code == "no-masks" and said in f.sentence for f in examine(tmp_path).findings)


def test_pictures_of_the_test_split_alone_can_be_measured_but_not_trained_on(tmp_path: Path) -> None:
    write_pairs(tmp_path, "test/images/p{0}.png", "test/masks/p{0}.png")
    with pytest.raises(UserError, match="all 6 labelled pictures are in `test`"):
        open_dataset(tmp_path)
    assert {split: len(names) for split, names in open_dataset(tmp_path, to_measure=True).splits.items()} == {"test": 6}


def test_channels_in_files_of_their_own_are_named(tmp_path: Path) -> None:
    for number in range(4):
        for channel in range(2):
            save(tmp_path / f"imagesTr/a_{number:03d}_000{channel}.png", picture(10 * channel + number)[:, :, 0])
        save(tmp_path / f"labelsTr/a_{number:03d}.png", mask(number))
    with pytest.raises(UserError, match="one file per channel"):
        open_dataset(tmp_path)


def disc() -> np.ndarray:
    """A field of view: all but a margin is white."""
    return np.pad(np.full((36, 56), 255, np.uint8), 2)


@pytest.mark.parametrize("draw", [lambda number: mask(0), lambda number: mask(number) + 1], ids=["few", "all"])
def test_masks_that_mark_few_pixels_or_all_are_no_fields_of_view(
    draw: Callable[[int], np.ndarray], tmp_path: Path
) -> None:
    write_pairs(tmp_path, "images/p{0}.png", "labels/p{0}.png", draw=draw)
    write_pairs(tmp_path, "images/p{0}.png", "instance_masks/p{0}.png", draw=lambda number: mask(number, 7))
    dataset = open_dataset(tmp_path)
    assert {record.labels[0].parent.name for record in dataset.records} == {"labels"}


@pytest.mark.parametrize("own", ["1st_manual/{0}_manual1.png", "manual/{0}_scan.png"])
def test_fields_of_view_are_not_read_where_other_masks_are(own: str, tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/{0}_scan.png", own)
    write_pairs(tmp_path, "images/{0}_scan.png", "mask/{0}_scan_mask.png", draw=lambda number: disc())
    dataset = open_dataset(tmp_path)
    assert own_masks(dataset)
    assert any("fields of view" in guess for guess in dataset.guesses)


def test_masks_that_are_the_same_everywhere_are_read_where_no_others_are(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/{0}.png", "mask/{0}_mask.png", draw=lambda number: disc())
    save(tmp_path / "plots/curve.png", picture(50))
    assert sum(record.labelled for record in open_dataset(tmp_path).records) == 6


def test_numbered_folders_of_masks_are_annotators(tmp_path: Path) -> None:
    for patient in range(3):
        for number in range(2):
            save(tmp_path / f"p{patient}/images/slice-{number}.png", picture(2 * patient + number))
            for annotator in range(3):
                drawn = mask(2 * patient + number)
                drawn[5, : 5 + 2 * annotator] = 0
                save(tmp_path / f"p{patient}/mask-{annotator}/slice-{number}.png", drawn)
    dataset = open_dataset(tmp_path)
    assert own_masks(dataset)
    assert any("show the same" in guess for guess in dataset.guesses)
