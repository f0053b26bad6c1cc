"""What the doctor says of objects: their sizes, their numbers, and boxes that cannot be meant so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotation_files import dump, findings
from PIL import Image

from pixelwise.data.doctor import examine, fix, render
from pixelwise.errors import UserError

SIDE = 400
Box = tuple[float, float, float, float]


def write(root: Path, boxes: list[tuple[int, Box]], *, outlines: bool = False, **more: int) -> None:
    """Twelve pictures of 400 x 400 pixels, among which boxes (left, top, width, height) of class 1 or 2 are dealt."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    for number in range(12):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3)).astype(np.uint8))
        small.resize((SIDE, SIDE)).save(root / f"images/{number:02d}.png")
    annotations = []
    for number, (category, (left, top, width, height)) in enumerate(boxes):
        right, bottom = left + width, top + height
        ring = [left, top, right, top, right, bottom, left, bottom]
        annotations.append(
            {
                "id": number,
                "image_id": number % 12,
                "category_id": category,
                "bbox": [left, top, width, height],
                **({"segmentation": [ring]} if outlines else {}),
                **more,
            }
        )
    images = [{"id": n, "file_name": f"{n:02d}.png", "height": SIDE, "width": SIDE} for n in range(12)]
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]
    dump(root / "all.json", {"images": images, "annotations": annotations, "categories": categories})


def usual(count: int, category: int = 1, side: float = 20) -> list[tuple[int, Box]]:
    """Boxes around that side, none like another."""
    rng = np.random.default_rng(category)
    corners, sides = rng.integers(0, 200, (count, 2)), side * np.exp(rng.normal(0, 0.3, (count, 2)))
    return [(category, (*map(float, corner), *map(float, size))) for corner, size in zip(corners, sides, strict=True)]


def test_usual_objects_are_no_findings(tmp_path: Path) -> None:
    write(tmp_path, [*usual(60), *usual(60, 2, 90)])
    assert {code for code in findings(tmp_path) if not code.startswith("shapes")} == set()


@pytest.mark.parametrize("outlines", [False, True])
@pytest.mark.parametrize("box", [(5.0, 5.0, 350.0, 350.0), (5.0, 5.0, 1.0, 2.0)])
def test_an_object_of_quite_another_size_than_its_class_is_named(tmp_path: Path, box: Box, outlines: bool) -> None:
    write(tmp_path, [*usual(60), (1, box)], outlines=outlines)
    found = findings(tmp_path)["object-size"]
    assert found.severity == "warning"
    assert len(found.files) == 1
    assert found.files[0].startswith("images/00, annotation 60 (")


def test_sizes_that_vary_by_nature_are_none_of_that(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sides = np.exp(rng.uniform(np.log(3), np.log(300), 80))
    write(tmp_path, [(1, (float(rng.integers(0, 90)), 2.0, side, side)) for side in sides.tolist()])
    assert "object-size" not in findings(tmp_path)


def test_few_objects_tell_nothing_of_what_is_usual(tmp_path: Path) -> None:
    write(tmp_path, [*usual(19), (1, (5.0, 5.0, 350.0, 350.0))][1:])
    assert "object-size" not in findings(tmp_path)


def test_a_box_around_the_picture_is_named_where_it_is_rare(tmp_path: Path) -> None:
    write(tmp_path, [*usual(60, side=60), (1, (0.0, 0.0, 400.0, 399.0)), *((2, (0.0, 0.0, 400.0, 400.0)),) * 12])
    assert findings(tmp_path)["box-whole-picture"].files == ("images/00, annotation 60",)


def test_boxes_without_area_and_beyond_the_picture(tmp_path: Path) -> None:
    odd: list[tuple[int, Box]] = [
        (1, (20.0, 20.0, 0.0, 9.0)),
        (1, (390.0, 20.0, 30.0, 20.0)),
        (1, (390.0, 60.0, 10.8, 20.0)),
        (1, (-8.0, 90.0, 28.0, 20.0)),
        (1, (500.0, 500.0, 20.0, 20.0)),
    ]
    write(tmp_path, [*usual(60), *odd])
    found = findings(tmp_path)
    assert found["box-flat"].files == ("images/00, annotation 60",)
    assert found["box-cut-off"].files == ("images/01, annotation 61", "images/03, annotation 63")
    assert found["shape-vanishes"].files == ("images/04, annotation 64",)


@pytest.mark.parametrize("outlines", [False, True])
def test_nearly_the_same_box_of_two_classes_is_named(tmp_path: Path, outlines: bool) -> None:
    boxes = usual(60)
    twin = boxes[0][1]
    write(tmp_path, [*boxes, (2, (twin[0], twin[1], twin[2] + 0.2, twin[3])), *usual(23, 2)], outlines=outlines)
    found = findings(tmp_path)["object-two-classes"]
    assert found.files == ("images/00, annotation 0 and annotation 60",) or found.files == (
        "images/00, annotation 60 and annotation 0",
    )
    assert "shape-doubled" not in findings(tmp_path)


def test_classes_with_few_objects_and_with_none(tmp_path: Path) -> None:
    write(tmp_path, [*usual(60), *usual(1, 2)])
    found = findings(tmp_path)
    assert (found["few-objects"].severity, found["class-absent-from-split"].severity) == ("warning", "warning")
    assert "dog (1): fewer than 10 objects" in found["few-objects"].sentence
    assert "dog never occurs in val" in found["class-absent-from-split"].sentence


def test_of_outlines_few_objects_are_a_note(tmp_path: Path) -> None:
    write(tmp_path, [*usual(60), *usual(2, 2)], outlines=True)
    assert findings(tmp_path)["few-objects"].severity == "note"


@pytest.mark.parametrize("flag", ["iscrowd", "difficult"])
def test_crowds_and_difficult_objects_count_for_nothing(tmp_path: Path, flag: str) -> None:
    write(tmp_path, [*usual(60), (1, (5.0, 5.0, 350.0, 350.0))], **{flag: 1})
    diagnosis = examine(tmp_path)
    assert diagnosis.summary.class_pixels == (0, 0, 0)
    assert "object-size" not in {finding.code for finding in diagnosis.findings}
    assert any("neither trained on" in note for note in diagnosis.summary.notes)


def test_boxes_are_summed_up_as_objects(tmp_path: Path) -> None:
    write(tmp_path, [*usual(60), *usual(40, 2)])
    diagnosis = examine(tmp_path)
    assert (diagnosis.summary.task, diagnosis.summary.class_pixels) == ("detect", (0, 60, 40))
    assert diagnosis.summary.void_pixels == 0
    render(diagnosis)
    with pytest.raises(UserError, match="boxes of objects; a corrected copy"):
        fix(tmp_path, tmp_path.with_name("copy"))


@pytest.mark.parametrize("name", ["neu-det", "coco128/detect.yaml", "coco128/segment.yaml", "coco-mini", "nuclei"])
def test_no_false_alarm_on_real_objects(shared_folder: Path, name: str) -> None:
    codes = {finding.code for finding in examine(shared_folder / "data" / name).findings}
    alarms = {"object-size", "box-whole-picture", "box-flat", "box-cut-off", "object-two-classes", "shape-beyond"}
    assert codes.isdisjoint(alarms)
