"""Entries of annotation files: what has one meaning is read however it is spelled, what is none breaks its picture."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_files import (
    HEIGHT,
    SQUARE,
    WIDTH,
    area,
    dump,
    findings,
    labelme_file,
    masks,
    pictures,
    png,
    shape,
    table,
)

from pixelwise.data import rle
from pixelwise.data.doctor import examine, fix
from pixelwise.data.formats import open_dataset
from pixelwise.errors import UserError

NAMES = "abcd"
WHOLE = np.zeros((HEIGHT, WIDTH), bool)
WHOLE[1:4, 1:5] = True
COUNTS = rle.encode(WHOLE)
FULL = png(np.ones((3, 4), bool))


def instances() -> dict[str, Any]:
    """Four pictures, each with a car of 12 pixels."""
    return {
        "images": [
            {"id": number, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH}
            for number, name in enumerate(NAMES)
        ],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [
            {"id": 10 + number, "image_id": number, "category_id": 1, "segmentation": copy.deepcopy(SQUARE)}
            for number in range(len(NAMES))
        ],
    }


def assert_breaks_alone(root: Path, words: str, broken: str = "a") -> None:
    """One picture cannot be loaded, all others can; the doctor names it, and a corrected copy is made of the others."""
    dataset = open_dataset(root)
    for record in dataset.records:
        if record.name == f"images/{broken}":
            with pytest.raises(UserError, match=words):
                dataset.load(record)
        else:
            assert np.array_equal(dataset.load(record).mask == 1, WHOLE), record.name
    diagnosis = examine(root)
    (found,) = (finding for finding in diagnosis.findings if finding.code == "shape-broken")
    assert all(entry.startswith(f"images/{broken}: ") for entry in found.files)
    assert diagnosis.summary.labelled == len(NAMES) - 1
    out = root.with_name(f"{root.name}-fixed")
    fix(root, out)
    assert sorted(masks(open_dataset(out))) == sorted(set(NAMES) - {broken})


class TestCoco:
    def write(self, root: Path, change: Callable[[dict[str, Any]], None]) -> None:
        pictures(root, *NAMES)
        content = instances()
        change(content)
        dump(root / "x.json", content)

    @pytest.mark.parametrize(
        ("segmentation", "words"),
        [
            ([[1, 1, 5, 1]], "a polygon of 2 points"),
            ([[4, 6, 20, 12]], "a polygon of 2 points"),
            ([4, 6, 20, 12], "a polygon of 2 points"),
            ([[1, 1, 5, 1, 5, 4, 1]], "not made of pairs"),
            ([[]], "a polygon of 0 points"),
            ([*SQUARE, [3, 3]], "a polygon of 1 points"),
            ([["a", 1, 5, 1, 5, 4]], "not made of pairs"),
            ([[1, 1, 1], [5, 1, 1], [5, 4, 1], [1, 4, 1]], "not made of pairs"),
            ([[1, 1, 5, 1, 5, float("nan")]], "not finite"),
            ([[1, 1, 5, 1, 5, 1e300]], "1e\\+300 pixels away"),
            ([5], "not made of pairs"),
            (5, "expected polygons"),
            ("car", "expected polygons"),
            ({"size": [6], "counts": "0"}, "expected .height, width."),
            ({"size": "x", "counts": "0"}, "expected .height, width."),
            ({"size": [6, 8], "counts": [1.5]}, "other than whole numbers"),
            ({"size": [6, 8], "counts": 5}, "other than whole numbers"),
            ({"size": [6, 8], "counts": [2**62, 2**62, 48]}, "other than whole numbers"),
            ({"size": [6, 8], "counts": [2**61] * 8 + [48]}, "add up to"),
            ({"size": [6, 8]}, "'counts' is missing"),
            ({"size": [6, 8], "counts": "b'zz"}, "compressed run-length encoding"),
            ({"size": [8, 6], "counts": [48]}, "picture of 6 x 8, but this picture is 8 x 6"),
            (None, r"neither an outline \(segmentation\) nor a box \(bbox\)"),
        ],
    )
    def test_an_outline_that_is_none(self, tmp_path: Path, segmentation: Any, words: str) -> None:
        self.write(tmp_path, lambda content: content["annotations"][0].update(segmentation=segmentation))
        assert_breaks_alone(tmp_path, r"x\.json, annotation 10 \(a\.png\): .*" + words)

    @pytest.mark.parametrize("bbox", [[0, 0, 1], [0, 0, -1, 1], [0, 0, "x", 1], [0, 0, float("nan"), 1], 5, "x", {}])
    def test_a_box_that_is_none(self, tmp_path: Path, bbox: Any) -> None:
        self.write(tmp_path, lambda content: content["annotations"][0].update(segmentation=[], bbox=bbox))
        assert_breaks_alone(tmp_path, r"annotation 10 \(a\.png\): the bbox is .*expected \[left, top, width, height\]")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"category_id": 9}, "category_id 9 is not among the categories"),
            ({"category_id": None}, "'category_id' is missing"),
            ({"category_id": [1]}, "'category_id' is '\\[1\\]', expected a number or text"),
        ],
    )
    def test_an_annotation_of_no_category(self, tmp_path: Path, change: dict[str, Any], words: str) -> None:
        self.write(tmp_path, lambda content: content["annotations"][0].update(change))
        assert_breaks_alone(tmp_path, words)

    def test_a_category_that_stands_for_two_labels(self, tmp_path: Path) -> None:
        def change(content: dict[str, Any]) -> None:
            content["categories"] += [{"id": 2, "name": "dog"}, {"id": 2, "name": "cat"}]
            content["annotations"][0]["category_id"] = 2

        self.write(tmp_path, change)
        assert_breaks_alone(tmp_path, "category_id 2 stands for several categories")

    def test_an_image_id_that_stands_for_two_pictures(self, tmp_path: Path) -> None:
        pictures(tmp_path, *NAMES, "e")
        content = instances()
        content["images"].append({**content["images"][0], "file_name": "e.png"})
        dump(tmp_path / "x.json", content)
        dataset = open_dataset(tmp_path)
        assert sorted(finding.split(":")[0] for finding in findings(tmp_path)["shape-broken"].files) == [
            "images/a",
            "images/e",
        ]
        assert area(dataset_without(dataset, "a", "e"), "b") == {0: 36, 1: 12}

    @pytest.mark.parametrize(
        ("key", "entry", "words"),
        [
            ("annotations", {"id": 5, "image_id": 77, "category_id": 1}, "annotation 5 .image_id 77 is not among"),
            ("annotations", {"id": 5, "category_id": 1}, "annotation 5 .the key 'image_id' is missing"),
            ("annotations", {"id": 5, "image_id": True, "category_id": 1}, "annotation 5 .'image_id' is 'True'"),
            ("annotations", 5, "entry 4 of annotations .a JSON object expected, int found"),
            ("annotations", None, "entry 4 of annotations .a JSON object expected"),
            ("images", [], "entry 4 of images .a JSON object expected, list found"),
            ("images", {"id": 8}, "entry 4 of images .the key 'file_name' is missing"),
            ("images", {"file_name": "e.png"}, "entry 4 of images .the key 'id' is missing"),
            ("images", {"id": 8, "file_name": "gone.png"}, "x.json: gone.png"),
        ],
    )
    def test_an_entry_of_no_picture_is_named_and_all_pictures_are_read(
        self, tmp_path: Path, key: str, entry: Any, words: str
    ) -> None:
        self.write(tmp_path, lambda content: content[key].append(entry))
        diagnosis = examine(tmp_path)
        assert diagnosis.ok
        assert diagnosis.summary.labelled == len(NAMES)
        (named,) = findings(tmp_path)["list-entry-missing"].files
        assert np.array_equal(masks(open_dataset(tmp_path))["a"] == 1, WHOLE)
        assert re.search(words, named), named

    def test_a_category_without_a_name_is_told(self, tmp_path: Path) -> None:
        self.write(tmp_path, lambda content: content["categories"].append({"id": 2}))
        assert "entry 1 of categories is not read: the key 'name' is missing" in findings(tmp_path)["guess"].sentence

    def test_a_label_that_classes_txt_does_not_name(self, tmp_path: Path) -> None:
        def change(content: dict[str, Any]) -> None:
            content["categories"].append({"id": 2, "name": "crr"})
            content["annotations"][0]["category_id"] = 2

        self.write(tmp_path, change)
        (tmp_path / "classes.txt").write_text("road\ncar\n")
        assert_breaks_alone(tmp_path, "unknown class 'crr'; did you mean 'car'.* add the name to classes.txt")

    @pytest.mark.parametrize(
        "change",
        [
            {"segmentation": [1, 1, 5, 1, 5, 4, 1, 4]},
            {"segmentation": [[1, 1], [5, 1], [5, 4], [1, 4]]},
            {"segmentation": [[[1, 1], [5, 1], [5, 4], [1, 4]]]},
            {"segmentation": [["1", "1", "5", "1", "5", "4", "1", "4"]]},
            {"segmentation": {"size": [HEIGHT, WIDTH], "counts": COUNTS.tolist()}},
            {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [float(count) for count in COUNTS]}},
            {"segmentation": [{"size": [HEIGHT, WIDTH], "counts": COUNTS.tolist()}]},
            {"segmentation": {"size": [float(HEIGHT), float(WIDTH)], "counts": rle.compress(COUNTS)}},
            {"segmentation": {"size": [HEIGHT, WIDTH], "counts": str(rle.compress(COUNTS).encode())}},
            {"image_id": 0.0, "category_id": 1.0},
            {"image_id": "0", "category_id": "1"},
            {"image_id": "0.0", "category_id": "1.0"},
            {"segmentation": "[[1, 1, 5, 1, 5, 4, 1, 4]]"},
            {"iscrowd": None, "area": None, "bbox": None},
            {"iscrowd": "0"},
            {"iscrowd": False},
            {"id": None},
        ],
    )
    def test_spellings_of_one_meaning(self, tmp_path: Path, change: dict[str, Any]) -> None:
        self.write(tmp_path, lambda content: content["annotations"][0].update(change))
        dataset = open_dataset(tmp_path)
        sample = dataset.load(dataset.records[0])
        assert np.array_equal(sample.mask == 1, WHOLE)
        assert sample.instances is not None
        assert len(sample.instances) == 1

    @pytest.mark.parametrize("crowd", [1, 1.0, "1", True, "true"])
    def test_crowds_in_all_spellings(self, tmp_path: Path, crowd: Any) -> None:
        self.write(tmp_path, lambda content: content["annotations"][0].update(iscrowd=crowd))
        objects = open_dataset(tmp_path)
        instances = objects.load(objects.records[0]).instances
        assert instances is not None
        assert len(instances) == 0

    @pytest.mark.parametrize("key", ["images", "categories", "annotations"])
    def test_entries_as_an_object_by_id(self, tmp_path: Path, key: str) -> None:
        def change(content: dict[str, Any]) -> None:
            content[key] = {str(entry.pop("id")): entry for entry in content[key]}

        self.write(tmp_path, change)
        assert np.array_equal(masks(open_dataset(tmp_path))["a"] == 1, WHOLE)

    @pytest.mark.parametrize(
        "sides", [{}, {"height": None, "width": None}, {"height": HEIGHT}, {"height": 0, "width": 0}]
    )
    def test_a_size_that_is_not_stated_is_not_checked(self, tmp_path: Path, sides: dict[str, Any]) -> None:
        def change(content: dict[str, Any]) -> None:
            content["images"][0] = {"id": 0, "file_name": "a.png", **sides}

        self.write(tmp_path, change)
        assert np.array_equal(masks(open_dataset(tmp_path))["a"] == 1, WHOLE)

    def test_files_of_segments_captions_and_lists_beside_are_left_alone(self, tmp_path: Path) -> None:
        self.write(tmp_path, lambda content: None)
        content = instances()
        segments = [{"image_id": 0, "file_name": "a.png", "segments_info": [{"id": 3, "category_id": 1}]}]
        dump(tmp_path / "panoptic_train.json", {**content, "annotations": segments})
        dump(tmp_path / "captions_train.json", {**content, "annotations": [{"image_id": 0, "caption": "a car"}]})
        dump(tmp_path / "image_info_test.json", {"images": content["images"], "categories": content["categories"]})
        pictures(tmp_path, *NAMES, folder="panoptic_train")  # the segments' label maps, named as the pictures
        dataset = open_dataset(tmp_path)
        assert [record.name for record in dataset.records] == [f"images/{name}" for name in NAMES]
        assert np.array_equal(masks(dataset)["a"] == 1, WHOLE)
        assert any("panoptic_train.json" in note for note in dataset.notes)

    def test_a_file_that_cannot_be_read_is_a_fault_and_the_others_are_read(self, tmp_path: Path) -> None:
        self.write(tmp_path, lambda content: None)
        (tmp_path / "y.json").write_text('{"images": [')
        dump(tmp_path / "z.json", {**instances(), "annotations": 5})
        no_categories = instances()
        del no_categories["categories"]
        dump(tmp_path / "zz.json", no_categories)
        diagnosis = examine(tmp_path)
        told = [finding.sentence for finding in diagnosis.findings if finding.code == "text-file"]
        for words in (
            "/y.json: not JSON",
            "/z.json: 'annotations' is '5'",
            "/zz.json: the key 'categories' is missing",
        ):
            assert sum(words in sentence for sentence in told) == 1, words
        assert len(told) == 3
        assert diagnosis.summary.labelled == len(NAMES)
        with pytest.raises(UserError, match=r"y\.json: not JSON"):
            open_dataset(tmp_path)


class TestLabelMe:
    def write(self, root: Path, *shapes: Any, **changes: Any) -> None:
        pictures(root, *NAMES)
        square = shape("car", "polygon", (1, 1), (5, 1), (5, 4), (1, 4))
        for name in NAMES:
            own = shapes if name == "a" else (square,)
            more = changes if name == "a" else {}
            dump(root / f"images/{name}.json", labelme_file(*own, picture=f"{name}.png", **more))

    @pytest.mark.parametrize(
        ("entry", "words"),
        [
            (shape("car", "polygon", (0, 0), (3, 0)), "a polygon of 2 points"),
            (shape("car", "polygon"), "a polygon of 0 points"),
            ({**shape("car", "polygon"), "points": 5}, "'points' is '5', expected a list"),
            ({**shape("car", "polygon"), "points": [[1, 2, 3]] * 4}, "not made of pairs"),
            (shape("car", "circle", (0, 0)), "a circle needs two points"),
            (shape("car", "rectangle", (0, 0), (1, 1), (2, 2)), "a rectangle needs two points or four corners"),
            (shape("car", "blob", (0, 0)), "the shape_type 'blob' is unknown"),
            ({**shape("car", ""), "shape_type": ["polygon"]}, "the shape_type .* is unknown"),
            ({**shape("car", ""), "shape_type": {"a": 1}}, "the shape_type .* is unknown"),
            ({**shape("car", ""), "shape_type": 5}, "the shape_type '5' is unknown"),
            ({"points": []}, "the key 'label' is missing"),
            (shape("", "polygon", (0, 0), (3, 0), (3, 3)), "'label' is '', expected text"),
            (5, "a JSON object expected, int found"),
            (shape("car", "polygon", (0, 0), (3, 0), (3, 3), group_id=[1]), "'group_id' is"),
            (shape("car", "mask", (0, 0), (1, 1), mask="!"), "the mask is not a PNG"),
            (shape("car", "mask", (0, 0), (1, 1), mask=5), "the mask is not a PNG"),
            (shape("car", "mask", (0, 0), (1, 1), mask=png(np.ones((3, 2), bool))), "mask is 2 x 3, but its box 2 x 2"),
            (shape("car", "mask", (7, 5), (8, 6), mask=png(np.ones((2, 2), bool))), "columns 7 to 9 and rows 5 to 7"),
        ],
    )
    def test_a_shape_that_is_none(self, tmp_path: Path, entry: Any, words: str) -> None:
        self.write(tmp_path, shape("car", "polygon", (1, 1), (5, 1), (5, 4)), entry)
        assert_breaks_alone(tmp_path, r"a\.json, shape 2 \(a\.png\): .*" + words)

    def test_all_broken_shapes_of_a_picture_are_listed(self, tmp_path: Path) -> None:
        self.write(tmp_path, shape("car", "blob"), shape("car", "polygon", (1, 1), (5, 1), (5, 4)), 5)
        first, third = findings(tmp_path)["shape-broken"].files
        assert "shape 1 (a.png)" in first
        assert "shape 3 (a.png)" in third

    @pytest.mark.parametrize(
        "entry",
        [
            shape("car", "rectangle", (1, 1), (5, 4)),
            shape("car", "rectangle", (1, 1), (5, 1), (5, 4), (1, 4)),
            shape("car", "rectangle", (1, 1), (5, 1), (1, 4), (5, 4)),
            shape("car", "rectangle", (1, 1), (5, 1), (5, 4), (1, 4), (1, 1)),
            {**shape("car", ""), "shape_type": None, "points": [[1, 1], [5, 1], [5, 4], [1, 4]]},
            {"label": "car", "points": [[1, 1], [5, 1], [5, 4], [1, 4]]},
            {"label": "car", "points": [1, 1, 5, 1, 5, 4, 1, 4]},
            shape("car", "Rectangle", (1, 1), (5, 4)),
            shape(" car ", "rectangle", (1, 1), (5, 4)),
            shape("car", "mask", (1, 1), (4, 3), mask=f"data:image/png;base64,{FULL}"),
            shape("car", "mask", (1, 1), (4, 3), mask=f"{FULL[:20]}\n{FULL[20:]}\n"),
        ],
    )
    def test_spellings_of_one_meaning(self, tmp_path: Path, entry: dict[str, Any]) -> None:
        self.write(tmp_path, entry, imageHeight=None, imageWidth=str(WIDTH))
        assert np.array_equal(masks(open_dataset(tmp_path))["a"] == 1, WHOLE)
        assert examine(tmp_path).ok

    def test_a_turned_rectangle_is_the_polygon_of_its_corners_and_told(self, tmp_path: Path) -> None:
        corners = ((3, 0), (6, 3), (3, 6), (0, 3))
        self.write(tmp_path, shape("car", "rotation", *corners))
        turned = masks(open_dataset(tmp_path))["a"]
        assert "of the type rotation" in findings(tmp_path)["guess"].sentence
        self.write(tmp_path, shape("car", "polygon", *corners))
        np.testing.assert_array_equal(masks(open_dataset(tmp_path))["a"], turned)
        self.write(tmp_path, shape("car", "rectangle", *corners))
        np.testing.assert_array_equal(masks(open_dataset(tmp_path))["a"], turned)

    def test_shapes_of_one_label_and_group_are_one_object(self, tmp_path: Path) -> None:
        left, middle, right = (((x, 1), (x + 2, 3)) for x in (0, 3, 6))
        self.write(
            tmp_path,
            shape("cow", "rectangle", *left, group_id=1),
            shape("cow", "rectangle", *middle, group_id="1"),
            shape("car", "rectangle", *right, group_id=1),
            shape("cow", "rectangle", (0, 4), (2, 6), group_id=None),
            shape("cow", "point", (7, 5), group_id=1),
        )
        dataset = open_dataset(tmp_path)
        objects = dataset.load(dataset.records[0]).instances
        assert objects is not None
        names = [dataset.class_names[class_id] for class_id in objects.classes]
        assert sorted(zip(names, objects.boxes.tolist(), strict=True)) == [
            ("car", [6, 1, 8, 3]),
            ("cow", [0, 1, 5, 3]),
            ("cow", [0, 4, 2, 6]),
        ]
        assert any("2 shapes are parts of 1 object" in note for note in dataset.notes)

    def test_a_broken_part_of_a_group_is_named(self, tmp_path: Path) -> None:
        whole = shape("car", "rectangle", (0, 1), (2, 3), group_id=1)
        self.write(tmp_path, whole, shape("car", "polygon", (0, 0), (1, 1), group_id=1), whole)
        assert_breaks_alone(tmp_path, r"a\.json, shape 2 \(a\.png\): a polygon of 2 points")

    def test_a_file_that_cannot_be_read_is_a_fault_and_the_others_are_read(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        (tmp_path / "images/a.json").write_text('{"shapes": [{"label"')
        dump(tmp_path / "images/b.json", labelme_file(shapes={}))
        dump(tmp_path / "settings.json", ["shapes"])  # no file of LabelMe's
        diagnosis = examine(tmp_path)
        told = [finding.sentence for finding in diagnosis.findings if finding.code == "text-file"]
        assert ["a.json: not JSON" in told[0], "b.json: 'shapes' is '{}'" in told[1], len(told)] == [True, True, 2]
        assert diagnosis.summary.labelled == 2

    def test_an_empty_file_is_told(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        (tmp_path / "images/a.json").write_text("")
        assert "images/a.json" in findings(tmp_path)["guess"].sentence
        assert not open_dataset(tmp_path).records[0].labels

    def test_a_picture_that_lies_inside_of_the_json_is_named(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        dump(tmp_path / "images/z.json", labelme_file(picture="z.png", imageData="iVBORw0KGgo="))
        assert "is embedded in the JSON" in findings(tmp_path)["list-entry-missing"].files[0]
        for name in NAMES:
            (tmp_path / f"images/{name}.png").rename(tmp_path / f"images/other_{name}.png")
        with pytest.raises(UserError, match="pictures are embedded in LabelMe's JSON files"):
            open_dataset(tmp_path, "labelme")


class TestTables:
    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ("a,1 2 3", "has 3 numbers"),
            ("a,x y", "other than whole numbers"),
            ("a", "1 columns found, at least 2 expected"),
            ("a,1 2,x", "3 columns found, 2 expected by the first line"),
            ("a,48 2", "the run '48 2' lies outside"),
            ("a,9223372036854775807 9223372036854775807", "lies outside"),
            ("a,0 2", "the run '0 2' lies outside"),
            ('a,"[[1,1,5,1,5,4]]"', "a list of lists, as polygons are written"),
        ],
    )
    def test_a_row_that_is_none(self, tmp_path: Path, row: str, words: str) -> None:
        pictures(tmp_path, *NAMES)
        runs = rle.write_pairs(rle.to_pairs(WHOLE))
        table(tmp_path, "id,rle", row, *(f"{name},{runs}" for name in NAMES[1:]))
        assert_breaks_alone(tmp_path, rf"train\.csv, line 2 \(a\.png\): .*{words}")

    def test_runs_without_a_class_and_classes_beyond(self, tmp_path: Path) -> None:
        pictures(tmp_path, *NAMES)
        table(tmp_path, "id,class,rle", "a,,1 2", "b,1,1 2", "c,7,1 2", "d,2,1 2")
        (tmp_path / "classes.txt").write_text("sea\nship\nbird\n")
        assert [entry.split(": ", 2)[2] for entry in findings(tmp_path)["shape-broken"].files] == [
            "runs without a class, where other rows have one.",
            "class 7 found, but there are 3 classes with background (sea, ship, bird); add the name to classes.txt.",
        ]
        assert area(dataset_without(open_dataset(tmp_path), "a", "c"), "d") == {0: 46, 2: 2}

    def test_a_size_that_the_table_states_is_checked(self, tmp_path: Path) -> None:
        pictures(tmp_path, *NAMES)
        runs = rle.write_pairs(rle.to_pairs(WHOLE))
        rows = [f"{name},{WIDTH},{2 * HEIGHT if name == 'a' else HEIGHT},{runs}" for name in NAMES]
        table(tmp_path, "id,width,height,rle", *rows)
        assert_breaks_alone(tmp_path, r"a\.png is 8 x 12 in this file")
        table(tmp_path, "id,x,y,width,height,rle", *(row.replace(",", ",0,0,", 1) for row in rows))  # of a box
        assert "shape-broken" not in findings(tmp_path)


def dataset_without(dataset: Any, *names: str) -> Any:
    """The dataset without some pictures."""
    return replace(
        dataset, records=tuple(r for r in dataset.records if r.name.removeprefix("images/") not in names), splits={}
    )
