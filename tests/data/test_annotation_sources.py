"""One picture in several places of annotation files: the same counts once, versions are told apart, parts add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from annotation_files import HEIGHT, WIDTH, dump, findings, labelme_file, pictures, shape, table

from pixelwise.data.dataset import Dataset
from pixelwise.data.doctor import examine, fix
from pixelwise.data.formats import open_dataset
from pixelwise.errors import UserError

NAMES = "abcd"
BOXES = {"left": (1, 1, 3, 3), "right": (5, 1, 7, 3), "low": (1, 4, 3, 6)}


def counts(dataset: Dataset) -> dict[str, int]:
    """Picture -> its objects."""
    found = {}
    for record in dataset.records:
        if record.labels:
            instances = dataset.load(record).instances
            assert instances is not None
            found[record.name.removeprefix("images/")] = len(instances)
    return found


def coco(objects: dict[str, str], *, bare: bool = False, label: str = "car") -> dict[str, Any]:
    """`{"a": "left right"}`: which boxes lie on which picture, as outlines or as boxes alone."""
    annotations = []
    for name, places in objects.items():
        for place in places.split():
            x0, y0, x1, y1 = BOXES[place]
            outline = [] if bare else [[x0, y0, x1, y0, x1, y1, x0, y1]]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": NAMES.index(name),
                    "category_id": 1,
                    "segmentation": outline,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                }
            )
    images = [
        {"id": NAMES.index(name), "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH} for name in objects
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": label}]}


ALL = {"a": "left", "b": "left right", "c": "", "d": "low"}


class TestCoco:
    @pytest.mark.parametrize("bare", [False, True])
    @pytest.mark.parametrize("parts", [{"train": "ab", "val": "cd"}, {"copy": "abcd"}, {"one": "a", "two": "ab"}])
    def test_a_copy_and_parts_beside_the_whole_count_once(
        self, tmp_path: Path, parts: dict[str, str], bare: bool
    ) -> None:
        pictures(tmp_path, *NAMES)
        dump(tmp_path / "all.json", coco(ALL, bare=bare))
        for part, names in parts.items():
            dump(tmp_path / f"more/{part}.json", coco({name: ALL[name] for name in names}, bare=bare))
        dataset = open_dataset(tmp_path)
        assert counts(dataset) == {"a": 1, "b": 2, "c": 0, "d": 1}
        assert any("count once" in note or "counts once" in note for note in dataset.notes)
        assert not dataset.guesses

    def test_an_annotation_that_is_there_twice_counts_once(self, tmp_path: Path) -> None:
        pictures(tmp_path, *NAMES)
        dump(tmp_path / "x.json", coco({**ALL, "a": "left left right"}))
        assert counts(open_dataset(tmp_path))["a"] == 2

    def test_versions_that_contradict_each_other_are_refused_and_named(self, tmp_path: Path) -> None:
        pictures(tmp_path, *NAMES)
        dump(tmp_path / "x.json", coco(ALL))
        dump(tmp_path / "old/x.json", coco({**ALL, "d": "right"}))
        with pytest.raises(UserError, match=r"\(images/d\): the shapes of this picture differ from those in"):
            open_dataset(tmp_path)
        assert [entry.split(":")[0] for entry in findings(tmp_path)["shape-broken"].files] == ["images/d"]
        assert examine(tmp_path).summary.labelled == 3
        fix(tmp_path, tmp_path.with_name(f"{tmp_path.name}-fixed"))
        assert "images/d.png" in (tmp_path.with_name(f"{tmp_path.name}-fixed") / "left_out.txt").read_text()

    def test_versions_of_which_one_holds_more_are_taken_together_and_told(self, tmp_path: Path) -> None:
        pictures(tmp_path, *NAMES)
        dump(tmp_path / "x.json", coco({**ALL, "c": "low"}))
        dump(tmp_path / "old/x.json", coco(ALL))
        dataset = open_dataset(tmp_path)
        assert counts(dataset)["c"] == 1
        (said,) = dataset.guesses
        assert "(images/c)" in said
        assert findings(tmp_path)["guess"].severity == "warning"

    def test_files_of_one_class_each_add_up(self, tmp_path: Path) -> None:
        pictures(tmp_path, *NAMES)
        dump(tmp_path / "cars.json", coco(ALL))
        dump(tmp_path / "dogs.json", coco({**ALL, "a": "right"}, label="dog"))
        dataset = open_dataset(tmp_path)
        assert counts(dataset) == {"a": 2, "b": 2, "c": 0, "d": 1}  # a dog that covers a car hides it
        (guess,) = dataset.guesses
        assert "two labels or more (images/b: car and dog" in guess

    def test_files_of_the_same_classes_add_up_and_are_told(self, tmp_path: Path) -> None:
        pictures(tmp_path, *NAMES)
        dump(tmp_path / "x.json", coco({"a": "left", "b": "left"}))
        dump(tmp_path / "y.json", coco({"a": "right", "b": "", "c": "low"}))
        dataset = open_dataset(tmp_path)
        assert counts(dataset) == {"a": 2, "b": 1, "c": 1}
        assert "(images/a)" in dataset.guesses[0]

    def test_a_picture_under_two_ids(self, tmp_path: Path) -> None:
        """Two videos, exported together, whose frames have the same names."""
        pictures(tmp_path, *NAMES)
        content = coco(ALL)
        other = coco({"a": "right", "b": "left right", "d": ""})
        for entry in other["images"]:
            entry["id"] += 100
        for entry in other["annotations"]:
            entry["image_id"] += 100
        content["images"] += other["images"]
        content["annotations"] += other["annotations"]
        dump(tmp_path / "x.json", content)
        with pytest.raises(UserError, match=r"x\.json, image 100 \(images/a\): .* from those in image 0 of x\.json"):
            open_dataset(tmp_path)
        assert [entry.split(":")[0] for entry in findings(tmp_path)["shape-broken"].files] == ["images/a"]
        assert examine(tmp_path).summary.labelled == 3

    def test_files_that_state_two_sizes_contradict_each_other(self, tmp_path: Path) -> None:
        pictures(tmp_path, *NAMES)
        dump(tmp_path / "x.json", coco(ALL))
        small = coco({"a": ""})
        small["images"][0].update(height=3, width=4)
        dump(tmp_path / "y.json", small)
        with pytest.raises(UserError, match=r"the picture is 4 x 3 here, but 8 x 6 in image 0 of x\.json"):
            open_dataset(tmp_path)


class TestLabelMe:
    def write(self, root: Path, files: dict[str, tuple[str, str]]) -> None:
        """`{"old/a.json": ("a", "left right")}`: file -> its picture and the boxes on it."""
        pictures(root, *NAMES)
        for file, (name, places) in files.items():
            shapes = [shape("car", "rectangle", BOXES[place][:2], BOXES[place][2:]) for place in places.split()]
            dump(root / file, labelme_file(*shapes, picture=f"{name}.png"))

    def test_copies_count_once(self, tmp_path: Path) -> None:
        own = {f"images/{name}.json": (name, places) for name, places in ALL.items()}
        copies = {f"old/{name}.json": (name, places) for name, places in ALL.items()}
        self.write(tmp_path, {**own, **copies, "images/a (1).json": ("a", "left")})
        assert counts(open_dataset(tmp_path)) == {"a": 1, "b": 2, "c": 0, "d": 1}

    @pytest.mark.parametrize("places", ["left right", "low", ""])
    def test_another_version_of_a_picture_is_refused_and_named(self, tmp_path: Path, places: str) -> None:
        own = {f"images/{name}.json": (name, there) for name, there in ALL.items()}
        self.write(tmp_path, {**own, "old/a.json": ("a", places)})
        with pytest.raises(UserError, match=r"all shapes of old/a\.json \(images/a\)"):
            open_dataset(tmp_path)
        assert [entry.split(":")[0] for entry in findings(tmp_path)["shape-broken"].files] == ["images/a"]
        assert examine(tmp_path).summary.labelled == 3

    def test_a_file_named_as_one_picture_that_states_another(self, tmp_path: Path) -> None:
        self.write(tmp_path, {"images/a.json": ("b", "left"), "images/c.json": ("c", "low")})
        dataset = open_dataset(tmp_path)
        assert counts(dataset) == {"a": 1, "c": 1}
        assert "images/a.json" in dataset.guesses[0]


class TestTables:
    def test_rows_and_tables_that_repeat_each_other_count_once(self, tmp_path: Path) -> None:
        pictures(tmp_path, *NAMES)
        rows = ["a,8 2 14 2", "b.png,8 2", "b,20 2", "c,", "d,1 1", "a,8 2 14 2"]
        table(tmp_path, "id,rle", *rows, name="train.csv")
        table(tmp_path / "more", "id,rle", *rows[2:], name="train_v2.csv")
        dataset = open_dataset(tmp_path)
        assert counts(dataset) == {"a": 1, "b": 2, "c": 0, "d": 1}
        assert any("repeat" in note for note in dataset.notes)

    def test_another_version_of_a_table_is_told(self, tmp_path: Path) -> None:
        pictures(tmp_path, *NAMES)
        table(tmp_path, "id,rle", "a,8 2", "b,8 2", "c,", "d,1 1", name="new.csv")
        table(tmp_path, "id,rle", "a,8 2", "b,9 2", "c,", "d,1 1", name="old.csv")
        with pytest.raises(UserError, match=r"\(images/b\): the shapes of this picture differ"):
            open_dataset(tmp_path)
        assert examine(tmp_path).summary.labelled == 3
