"""Classes found by name: the same pixels get the same class whatever order a folder lists them in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.class_names import matching_ids, with_class_names
from pixelwise.data.codings import ClassCoding
from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import open_dataset
from pixelwise.data.record import Record
from pixelwise.data.sample import VOID
from pixelwise.data.scenes import CLASS_NAMES, write_coco_scenes
from pixelwise.errors import UserError


@pytest.mark.parametrize(
    ("names", "known", "ids"),
    [
        (["a", "b"], ["a", "b"], (0, 1)),
        (["b", "a"], ["a", "b", "c"], (1, 0)),
        (["Traffic_Light", "road "], ["road", "traffic light"], (1, 0)),
        (["cat", "Cat"], ["cat", "Cat"], (0, 1)),
        (["CAT"], ["cat", "Cat"], None),
        (["cat", "CAT"], ["cat", "dog"], None),
        (["a", "z"], ["a", "b"], None),
        (["class 0", "class 1"], ["class 0", "class 1", "class 2"], (0, 1)),
        (["background", "object"], ["class 0", "class 1"], (0, 1)),
        (["background", "object"], ["class 0", "class 1", "class 2"], None),
        (["class 0", "class 1"], ["background", "nucleus"], (0, 1)),
        (["class 0", "class 1"], ["road", "car"], None),
        (["class 0", "class 1", "class 2"], ["background", "road", "car"], None),
        (["background", "dog"], ["background", "cat"], None),
    ],
)
def test_places_of_names(names: list[str], known: list[str], ids: tuple[int, ...] | None) -> None:
    assert matching_ids(names, known) == ids


def test_another_order_changes_ids_and_nothing_else(tmp_path: Path) -> None:
    """Of masks, objects and void alike; the other names of the list are of classes that the data lacks."""
    write_coco_scenes(tmp_path / "coco", train=3, val=2, size=(64, 96), digits=(2, 3))
    dataset = open_dataset(tmp_path / "coco")
    names = ("x", *reversed(CLASS_NAMES), "y")
    moved = with_class_names(dataset, names)
    assert moved.class_names == names
    assert "11 of the network's 13 classes" in moved.notes[-1]
    for record in dataset.records:
        before, after = dataset.load(record), moved.load(record)
        assert before.mask is not None and after.mask is not None  # noqa: PT018
        assert before.instances is not None and after.instances is not None  # noqa: PT018
        assert [CLASS_NAMES[k] for k in before.mask.ravel()] == [names[k] for k in after.mask.ravel()]
        assert [CLASS_NAMES[k] for k in before.instances.classes] == [names[k] for k in after.instances.classes]
        np.testing.assert_array_equal(moved.load_mask(record), after.mask)
        np.testing.assert_array_equal(before.instances.boxes, after.instances.boxes)


def test_void_stays_void_and_ids_without_a_name_are_still_refused(scenes_folder: Path) -> None:
    dataset = open_dataset(scenes_folder)
    moved = with_class_names(dataset, tuple(reversed(CLASS_NAMES)))
    record = dataset.records[0]
    own = dataset.load_mask(record)
    own[0, 0] = VOID
    assert moved._checked(own, record)[0, 0] == VOID
    own[0, 0] = len(CLASS_NAMES)
    with pytest.raises(UserError, match="class id 11 found, but there are 11 classes"):
        moved._checked(own, record)


def test_pictures_with_a_class() -> None:
    records = tuple(Record(name, Path(name), class_id=k) for k, name in enumerate(("dog", "cat")))
    dataset = Dataset(Path("data"), "classes", ("dog", "cat"), records, {}, coding=ClassCoding())
    moved = with_class_names(dataset, ("bird", "cat", "dog"))
    assert [record.class_id for record in moved.records] == [2, 1]
    assert with_class_names(dataset, ("dog", "cat")) is dataset


@pytest.mark.parametrize(
    ("names", "known", "words"),
    [
        (("road", "tree"), ("road", "car"), r"do not include 'tree'.*the lines: road, car"),
        (("class 0", "class 1", "class 2"), ("sky", "road", "car"), r"classes\.txt.*the lines: sky, road, car"),
        (("sky", "road"), ("class 0", "class 1", "class 2"), r"classes\.txt.*the lines: class 0, class 1"),
        (("class 0", "class 1", "class 2"), ("class 0", "class 1"), "do not include 'class 2'"),
        (("cat", "CAT"), ("cat", "dog"), "several of them match the same one"),
    ],
)
def test_what_cannot_be_matched_says_how_to_make_it_match(
    names: tuple[str, ...], known: tuple[str, ...], words: str
) -> None:
    dataset = replace(Dataset(Path("data"), "folder", names, (), {}))
    with pytest.raises(UserError, match=words):
        with_class_names(dataset, known)
