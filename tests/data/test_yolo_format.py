"""YOLO's text files: boxes, polygons and lines with keypoints in shares of the picture's sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotation_files import HEIGHT, WIDTH, findings, pictures
from typer.testing import CliRunner

from pixelwise.cli import app
from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import open_dataset
from pixelwise.data.sample import Instances
from pixelwise.errors import UserError

BOX = "1 0.5 0.5 0.25 0.5"
"""2 x 3 pixels in the middle of a picture of 8 x 6."""


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def objects(dataset: Dataset, name: str) -> Instances:
    record = next(record for record in dataset.records if record.name.endswith(name))
    found = dataset.load(record).instances
    assert found is not None
    return found


def test_boxes_names_and_splits_of_data_yaml(tmp_path: Path) -> None:
    pictures(tmp_path, "a", "b", folder="images/train")
    pictures(tmp_path, "c", folder="images/val")
    write(
        tmp_path / "data.yaml", "path: ../datasets/mine", "train: images/train", "val: images/val", "names: [car, dog]"
    )
    write(tmp_path / "labels/train/a.txt", BOX, "", "0 0.125 0.25 0.25 0.5")
    write(tmp_path / "labels/train/b.txt")
    write(tmp_path / "labels/val/c.txt", BOX)
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.class_names, dataset.knows) == ("yolo", ("background", "car", "dog"), {"objects"})
    assert objects(dataset, "a").boxes.tolist() == [[3, 1.5, 5, 4.5], [0, 0, 2, 3]]
    assert objects(dataset, "a").classes.tolist() == [2, 1]
    assert len(objects(dataset, "b")) == 0
    assert dict(dataset.splits) == {"train": ("images/train/a", "images/train/b"), "val": ("images/val/c",)}


@pytest.mark.parametrize("names", ["names: {7: car, 1: dog}", "names:\n  1: dog\n  7: car"])
def test_ids_with_gaps_have_their_names(tmp_path: Path, names: str) -> None:
    pictures(tmp_path, "a", "b")
    write(tmp_path / "dataset.yaml", names)
    write(tmp_path / "images/a.txt", "7 0.5 0.5 0.25 0.5")
    write(tmp_path / "images/b.txt", BOX)
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("background", "dog", "car")
    assert [objects(dataset, name).classes.tolist() for name in "ab"] == [[2], [1]]


def test_names_by_line_or_none(tmp_path: Path) -> None:
    pictures(tmp_path, "a", "b")
    write(tmp_path / "labels/a.txt", BOX)
    write(tmp_path / "labels/b.txt", BOX)
    assert open_dataset(tmp_path).class_names == ("background", "class 1")
    write(tmp_path / "labels/classes.txt", "car", "dog")
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("background", "car", "dog")
    assert objects(dataset, "a").classes.tolist() == [2]


def test_a_polygon_covers_the_pixels_whose_centres_it_holds(tmp_path: Path) -> None:
    pictures(tmp_path, "a", "b")
    corners = np.array([[1, 1], [5, 1], [5, 4], [1, 4]]) / (WIDTH, HEIGHT)
    write(tmp_path / "labels/a.txt", f"0 {' '.join(map(str, corners.ravel()))}")
    write(tmp_path / "labels/b.txt", "0 0 0 1 0 1 1")
    dataset = open_dataset(tmp_path)
    mask = dataset.load_mask(dataset.records[0])
    assert "outlines" in dataset.knows
    assert (mask[1:4, 1:5].tolist(), mask.sum()) == ([[1] * 4] * 3, 12)
    assert dataset.load_mask(dataset.records[1]).mean() == pytest.approx(0.5, abs=0.1)


def test_of_a_line_with_keypoints_the_box_is_read(tmp_path: Path) -> None:
    pictures(tmp_path, "a", "b")
    write(tmp_path / "data.yaml", "kpt_shape: [2, 3]", "names: {0: car, 1: person}")
    for name in "ab":
        write(tmp_path / f"labels/{name}.txt", f"{BOX} 0.5 0.5 2 0.25 0.25 0")
    dataset = open_dataset(tmp_path)
    assert objects(dataset, "a").boxes.tolist() == [[3, 1.5, 5, 4.5]]
    assert "Of 2 objects with keypoints, only the boxes are read." in dataset.notes


def test_a_missing_file_is_no_empty_one(tmp_path: Path) -> None:
    pictures(tmp_path, *"abcd")
    for name in "abc":
        write(tmp_path / f"labels/{name}.txt", *([BOX] if name == "a" else []))
    dataset = open_dataset(tmp_path)
    assert [record.name[-1] for record in dataset.records if record.labelled] == ["a", "b", "c"]
    assert dataset.splits["unlabelled"] == ("images/d",)
    assert (
        "1 picture has no text file where others have one (images/d), and counts as"
        in findings(tmp_path)["guess"].sentence
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.2", "line 1 .*4 numbers; expected a class and four numbers of a box"),
        ("0 0.5 0.5 0.2 0.2 0.9", "a fifth number is a confidence"),
        ("0 0.5 0.5 -0.2 0.2", "-0.2 wide"),
        ("0 120 80 40 30", "120 found, but coordinates are shares"),
        ("0 0.5 0.5 0.2 nan", "not finite"),
        ("car 0.5 0.5 0.2 0.2", "the class is 'car', expected a whole number"),
        ("5 0.5 0.5 0.2 0.2", "class 5 has no name in data.yaml"),
        ("0 0.5 0,5 0.2 0.2", "not made of numbers"),
    ],
)
def test_a_line_that_is_none_breaks_its_picture_alone(tmp_path: Path, line: str, said: str) -> None:
    pictures(tmp_path, "a", "b")
    write(tmp_path / "data.yaml", "names: [car, dog]")
    write(tmp_path / "labels/a.txt", line)
    write(tmp_path / "labels/b.txt", BOX)
    dataset = open_dataset(tmp_path)
    with pytest.raises(UserError, match=said):
        dataset.load(dataset.records[0])
    assert len(objects(dataset, "b")) == 1
    assert findings(tmp_path)["shape-broken"].severity == "error"


def test_lists_in_data_yaml_and_entries_that_lead_nowhere(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc", folder="images")
    for name in "abc":
        write(tmp_path / f"labels/{name}.txt", BOX)
    write(tmp_path / "sets/first.txt", "./images/a.png", "/home/me/images/b.png")
    write(tmp_path / "data.yaml", "train: sets/first.txt", "val: images/val2017", "names: [car, dog]")
    dataset = open_dataset(tmp_path)
    assert set(dataset.splits["train"]) | set(dataset.splits["val"]) == {"images/a", "images/b"}
    assert findings(tmp_path)["list-entry-missing"].files == ("data.yaml: val images/val2017",)


def test_the_same_folder_for_training_and_validation_is_no_split(tmp_path: Path) -> None:
    pictures(tmp_path, *"abcd", folder="images/train")
    for name in "abcd":
        write(tmp_path / f"labels/train/{name}.txt", BOX)
    write(tmp_path / "data.yaml", "train: ../images/train", "val: ../images/train", "names: [car, dog]")
    dataset = open_dataset(tmp_path)
    assert sorted(map(len, dataset.splits.values())) == [1, 3]
    assert "the same pictures for train and val" in findings(tmp_path)["guess"].sentence


class TestSeveralFolders:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        pictures(tmp_path, "a", "b", folder="images/all")
        for name in "ab":
            write(tmp_path / f"boxes/all/{name}.txt", BOX)
            write(tmp_path / f"outlines/all/{name}.txt", "90 0 0 1 0 1 1")
        write(tmp_path / "boxes.yaml", "names: [car, dog]")
        write(tmp_path / "outlines.yaml", "names: {90: tree}")
        return tmp_path

    def test_polygons_go_before_boxes_and_it_is_told(self, root: Path) -> None:
        dataset = open_dataset(root)
        assert dataset.class_names == ("background", "tree")
        assert "those in outlines are read, and those in boxes are not" in dataset.guesses[0]

    def test_data_yaml_in_place_of_the_folder_chooses(self, root: Path) -> None:
        dataset = open_dataset(root / "boxes.yaml")
        assert (dataset.root, dataset.class_names, dataset.guesses) == (root, ("background", "car", "dog"), ())
        found = CliRunner().invoke(app, ["check", str(root / "boxes.yaml")])
        assert found.exit_code == 0, found.output
        with pytest.raises(UserError, match="of the layout 'yolo', not 'coco'"):
            open_dataset(root / "boxes.yaml", "coco")
        write(root / "recipe.yaml", "model: unet")
        with pytest.raises(UserError, match="no key 'names'"):
            open_dataset(root / "recipe.yaml")


@pytest.mark.parametrize("content", ["names: [car", "names: 3", "names: {a: car}", "names: [car]\nkpt_shape: 17"])
def test_a_data_yaml_that_cannot_be_understood_is_a_fault(tmp_path: Path, content: str) -> None:
    pictures(tmp_path, "a", "b")
    write(tmp_path / "labels/a.txt", "0 0.5 0.5 0.25 0.5")
    write(tmp_path / "data.yaml", content)
    with pytest.raises(UserError, match=r"data\.yaml"):
        open_dataset(tmp_path)
    assert findings(tmp_path)["text-file"].severity == "error"


def test_ids_that_share_a_name_are_told(tmp_path: Path) -> None:
    pictures(tmp_path, "a", "b")
    for name in "ab":
        write(tmp_path / f"labels/{name}.txt", BOX)
    write(tmp_path / "data.yaml", "names: [car, car]")
    assert "car: 0, 1" in findings(tmp_path)["guess"].sentence


def test_captions_are_no_labels(tmp_path: Path) -> None:
    pictures(tmp_path, "a", "b")
    write(tmp_path / "images/a.txt", "a dog beside a car")
    with pytest.raises(UserError, match="no masks"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(("name", "count", "labelled"), [("detect", 542, 63), ("segment", 546, 64)])
def test_coco128(shared_folder: Path, name: str, count: int, labelled: int) -> None:
    dataset = open_dataset(shared_folder / f"data/coco128/{name}.yaml")
    assert len(dataset.class_names) == 81
    assert sum(record.labelled for record in dataset.records) == labelled
    assert sum(len(drawing.shapes) for drawing in dataset.coding.drawings.values()) == count  # type: ignore[attr-defined]
    people = [record for record in dataset.records if record.labelled and "person" in dataset.class_names]
    assert sum(1 in dataset.load(record).instances.classes for record in people) > 20  # type: ignore[union-attr]


def test_boxes_of_the_two_folders_of_coco128_agree(shared_folder: Path) -> None:
    boxes, outlines = (open_dataset(shared_folder / f"data/coco128/{name}.yaml") for name in ("detect", "segment"))
    assert boxes.class_names[1:5] == outlines.class_names[1:5]
    close = []
    for record in boxes.records[:20]:
        if record.labelled and next(r for r in outlines.records if r.name == record.name).labelled:
            ours, theirs = objects(boxes, record.name).boxes, objects(outlines, record.name).boxes
            close += [np.abs(theirs - box).max(1).min() for box in ours if len(theirs)]
    assert np.median(close) < 2
