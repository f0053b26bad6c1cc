"""Several kinds of labels in one folder, and labels that are spelled alike: what is read is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotation_files import HEIGHT, WIDTH, coco_file, dump, findings, labelme_file, pictures, shape, table
from PIL import Image

from pixelwise.data.formats import open_dataset
from pixelwise.errors import UserError

CAR = shape("car", "rectangle", (1, 1), (5, 4))


def write_labelme(root: Path, *names: str, label: str = "car") -> None:
    for name in names:
        dump(root / f"images/{name}.json", labelme_file({**CAR, "label": label}, picture=f"{name}.png"))


def write_mask(root: Path, name: str) -> None:
    (root / "masks").mkdir(exist_ok=True)
    Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8)).save(root / f"masks/{name}.png")


def test_annotation_files_beside_masks_are_noted(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc")
    write_labelme(tmp_path, *"abc")
    dump(tmp_path / "x.json", coco_file())
    table(tmp_path, "id,rle", "a,1 2", "b,1 2")
    for name in "abc":
        write_mask(tmp_path, name)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "folder"
    for layout in ("coco", "labelme", "rle_csv"):
        assert any(f"--layout {layout} reads them instead" in note for note in dataset.notes)
        assert open_dataset(tmp_path, layout).layout == layout
    assert not dataset.guesses


def test_more_files_of_labelme_than_masks_are_a_warning(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc")
    write_labelme(tmp_path, *"abc")
    write_mask(tmp_path, "a")
    assert "images/a.json" in findings(tmp_path)["guess"].sentence


@pytest.mark.parametrize("content", [[{"annotations": [], "data": {}}], {"annotations": [{"image": "a"}]}])
def test_a_stray_file_of_another_program_does_not_hide_the_labels(tmp_path: Path, content: object) -> None:
    pictures(tmp_path, *"abc")
    dump(tmp_path / "project.json", content)
    with pytest.raises(UserError, match=r"export the labels as COCO's JSON"):
        open_dataset(tmp_path)
    write_labelme(tmp_path, *"abc")
    assert open_dataset(tmp_path).layout == "labelme"


def test_labels_that_differ_in_capitals_are_classes_and_told(tmp_path: Path) -> None:
    pictures(tmp_path, *"abcd")
    for name, label in zip("abcd", ("big car", "Big_Car", "big car ", "Background"), strict=True):
        write_labelme(tmp_path, name, label=label)
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("background", "Big_Car", "big car")
    assert "'Big_Car' and 'big car'" in findings(tmp_path)["guess"].sentence
    assert not dataset.load_mask(dataset.records[3]).any()


def test_an_outline_under_two_labels_is_told(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc")
    content = coco_file()
    content["annotations"].append({**content["annotations"][0], "id": 9, "category_id": 90})
    dump(tmp_path / "x.json", content)
    assert "images/a: car and toothbrush" in findings(tmp_path)["guess"].sentence


def test_fractions_of_the_sides_are_a_fault(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc")
    for name in "abc":
        square = shape("car", "polygon", (0.1, 0.1), (0.9, 0.1), (0.9, 1))
        dump(tmp_path / f"images/{name}.json", labelme_file(square, picture=f"{name}.png"))
    with pytest.raises(UserError, match="fractions of the picture's sides"):
        open_dataset(tmp_path)


def test_outlines_of_a_larger_version_are_named(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc")
    content = coco_file()
    for image in content["images"]:
        del image["height"]
    content["annotations"][0]["segmentation"] = [[1, 1, 2 * WIDTH, 1, 2 * WIDTH, HEIGHT]]
    dump(tmp_path / "x.json", content)
    assert findings(tmp_path)["shape-beyond"].files == ("images/a, annotation 1 (to 16, 6 of 8 x 6)",)


def test_a_stray_file_with_the_same_words_is_none_of_labelme(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc")
    write_labelme(tmp_path, *"abc")
    dump(tmp_path / "config.json", {"shapes": {"in": 1}})
    assert open_dataset(tmp_path).layout == "labelme"


def test_coordinates_that_differ_in_their_last_decimals_are_the_same(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc")
    content = coco_file()
    dump(tmp_path / "train.json", content)
    rounded = [[value + 1e-4 for value in content["annotations"][0]["segmentation"][0]]]
    content["annotations"][0] |= {"segmentation": rounded}
    dump(tmp_path / "all.json", content)
    instances = open_dataset(tmp_path).load(open_dataset(tmp_path).records[0]).instances
    assert instances is not None
    assert len(instances) == 2
    assert "guess" not in findings(tmp_path)


def test_pictures_that_differ_in_their_suffix_share_no_labels_of_their_own(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc")
    content = coco_file()
    (tmp_path / "images/a.jpg").write_bytes((tmp_path / "images/b.png").read_bytes())
    content["images"].append({"id": 20, "file_name": "a.jpg"})
    dump(tmp_path / "x.json", content)
    assert "same-name" not in findings(tmp_path)
