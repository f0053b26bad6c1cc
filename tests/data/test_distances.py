"""Distance maps against their definition and against scipy, and the datasets that hold them."""

from __future__ import annotations

import filecmp
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import watershed

from pixelwise.data.distances import distance_map, write_distance_maps
from pixelwise.data.formats import open_dataset
from pixelwise.data.pictures import write_png
from pixelwise.data.scenes import scene, write_scenes
from pixelwise.data.value_scenes import write_value_scenes
from pixelwise.data.values import ValueCoding
from pixelwise.errors import UserError


def two_discs() -> np.ndarray:
    """A label map of two discs that touch, ids 3 and 9, and one that the edge cuts."""
    ys, xs = np.mgrid[:40, :60]
    ids = np.zeros((40, 60), np.int64)
    for number, (x, y, radius) in ((3, (18, 20, 10)), (9, (37, 20, 10)), (4, (58, 2, 8))):
        ids[(xs - x) ** 2 + (ys - y) ** 2 <= radius**2] = number
    return ids


def test_by_hand() -> None:
    ids = np.zeros((5, 9), int)
    ids[1:4, 1:4], ids[1:4, 4:7] = 7, 2  # squares of 3 that touch
    expected = np.zeros((5, 9), np.float32)
    expected[1:4, 1:7] = 1
    expected[2, 2] = expected[2, 5] = 2
    np.testing.assert_allclose(distance_map(ids), expected, atol=1e-6)
    np.testing.assert_allclose(distance_map(ids, normalised=True), expected / 2, atol=1e-6)
    full = distance_map(np.ones((3, 3), int))  # what lies beyond the edge is outside
    np.testing.assert_allclose(full, [[1, 1, 1], [1, 2, 1], [1, 1, 1]], atol=1e-6)


@pytest.mark.parametrize("normalised", [False, True])
def test_equal_to_scipy_object_by_object(normalised: bool) -> None:
    ids = two_discs()
    expected = np.zeros(ids.shape)
    for number in (3, 4, 9):
        inside = ndimage.distance_transform_edt(np.pad(ids == number, 1))[1:-1, 1:-1]
        expected += inside / inside.max() if normalised else inside
    found = distance_map(ids, normalised=normalised)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.array_equal(found > 0, ids > 0)
    assert not distance_map(np.zeros((4, 4), int)).any()


def test_its_watershed_parts_what_touches() -> None:
    ids = two_discs()
    distances = distance_map(ids)
    assert ndimage.label(ids > 0)[1] == 2
    peaks = ndimage.label(distances > 3)[0]
    parted = watershed(-distances, peaks, mask=ids > 0)
    assert parted.max() == 3
    for number in (3, 4, 9):
        here = ids == number
        best = max(np.sum(here & (parted == n)) / np.sum(here | (parted == n)) for n in (1, 2, 3))
        assert best > 0.95


def test_a_dataset_of_distances(tmp_path: Path) -> None:
    ids = two_discs().astype(np.uint16)
    for number in range(3):
        write_png(tmp_path / "data" / "images" / f"{number}.png", np.full((40, 60, 3), number, np.uint8))
        write_png(tmp_path / "data" / "labels" / f"{number}.png", np.roll(ids, number, axis=0))
    write_png(tmp_path / "data" / "images" / "unlabelled.png", np.zeros((40, 60, 3), np.uint8))
    (tmp_path / "data" / "val.txt").write_text("1\n")
    write_distance_maps(tmp_path / "data", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert dataset.layout == "values"
    assert dataset.splits == {"train": ("images/0", "images/2"), "val": ("images/1",)}
    assert isinstance(dataset.coding, ValueCoding)
    assert (dataset.coding.name, dataset.coding.unit) == ("distance", "px")
    for number, record in enumerate(dataset.records):
        np.testing.assert_array_equal(
            dataset.coding.decode_values(record, 40, 60), distance_map(np.roll(ids, number, axis=0))
        )
    with pytest.raises(UserError, match="exists already"):
        write_distance_maps(tmp_path / "data", tmp_path / "out")


def test_classes_have_no_distances(scenes_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="need objects"):
        write_distance_maps(scenes_folder, tmp_path / "out")


def test_nuclei(shared_folder: Path, tmp_path: Path) -> None:
    folder = shared_folder / "data" / "nuclei"
    source = open_dataset(folder)
    names = [record for record in source.records if "stage1_train" in str(record.picture)][:2]
    for record in names:  # a dataset of two, one mask per nucleus
        here = record.picture.parent.parent
        target = tmp_path / "data" / "stage1_train" / here.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(here)
    write_distance_maps(tmp_path / "data", tmp_path / "out", normalised=True)
    dataset = open_dataset(tmp_path / "out")
    assert isinstance(dataset.coding, ValueCoding)
    assert len(dataset.records) == 2
    for record in dataset.records:
        original = next(r for r in names if r.picture.stem == record.picture.stem)
        instances = source.load(original).instances
        assert instances is not None
        values = dataset.coding.decode_values(record, *dataset.size(record))
        assert np.array_equal(values > 0, instances.ids > 0)
        for number in range(1, instances.outlined + 1):
            assert values[instances.ids == number].max() == pytest.approx(1)


def test_scenes_with_distances(tmp_path: Path) -> None:
    for out in (tmp_path / "a", tmp_path / "b"):
        write_value_scenes(out, train=2, val=1, size=(64, 96), seed=5)
    write_scenes(tmp_path / "scenes", train=2, val=1, size=(64, 96), seed=5)
    files = [str(file.relative_to(tmp_path / "a")) for file in (tmp_path / "a").rglob("*") if file.is_file()]
    assert set(filecmp.cmpfiles(tmp_path / "a", tmp_path / "b", files, shallow=False)[0]) == set(files)
    pictures = [file for file in files if file.startswith("images")]
    assert filecmp.cmpfiles(tmp_path / "a", tmp_path / "scenes", pictures, shallow=False)[0] == pictures
    dataset = open_dataset(tmp_path / "a")
    assert (dataset.layout, {s: len(n) for s, n in dataset.splits.items()}) == ("values", {"train": 2, "val": 1})
    assert isinstance(dataset.coding, ValueCoding)
    values = dataset.coding.decode_values(dataset.split("val")[0], 64, 96)
    ids = scene((5, 1, 0), (64, 96), pool="val").instances.ids  # type: ignore[union-attr]
    np.testing.assert_array_equal(values, distance_map(ids))
    assert values.max() > 2
