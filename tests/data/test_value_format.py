"""Maps of numbers: which folders are taken for them, what a value means, and that label maps stay label maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from pixelwise.data.dataset import Dataset
from pixelwise.data.doctor import examine, fix
from pixelwise.data.formats import open_dataset
from pixelwise.data.pictures import write_png
from pixelwise.data.values import ValueCoding, read_map, write_map
from pixelwise.errors import UserError

SIZE = (6, 9)


def values_of(number: int) -> np.ndarray:
    """Heights in metres that 16 bits of millimetres hold exactly, one of them unknown."""
    values = np.random.default_rng(number).integers(1, 60000, SIZE).astype(np.float64) / 1000
    values[number % SIZE[0], 2] = np.nan
    return values.astype(np.float32)


def write(root: Path, folder: str, kind: str, count: int = 4, pictures: str = "images") -> None:
    for number in range(count):
        picture = np.full((*SIZE, 3), number, np.uint8)
        write_png(root / pictures / f"{number}.png", picture)
        path = root / folder / f"{number}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = values_of(number)
        if kind == "tif":
            write_map(path, values)
        elif kind == "npy":
            np.save(path, values.astype(np.float64))
        else:
            write_png(path, np.nan_to_num(np.rint(values * 1000)).astype(np.uint16))


def decoded(dataset: Dataset) -> list[np.ndarray]:
    assert isinstance(dataset.coding, ValueCoding)
    return [dataset.coding.decode_values(record, *dataset.size(record)) for record in dataset.records]


@pytest.mark.parametrize("folder", ["values", "depth", "heights", "density", "distance", "maps", "targets", "Depth"])
@pytest.mark.parametrize("kind", ["tif", "npy", "png"])
def test_every_kind_of_file_in_every_folder(tmp_path: Path, folder: str, kind: str) -> None:
    write(tmp_path, folder, kind)
    if kind == "png":
        (tmp_path / "values.txt").write_text("scale 0.001\nunit m\n# missing returns\nvoid 0\nname height\n")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "values"
    assert dataset.coding.kind == "values"
    if kind == "png":
        assert (dataset.coding.unit, dataset.class_names) == ("m", ("height",))  # type: ignore[attr-defined]
    for number, values in enumerate(decoded(dataset)):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, values_of(number), rtol=1e-6)  # NaN where it is NaN


def test_folders_of_splits(tmp_path: Path) -> None:
    write(tmp_path, "train/depth", "tif", 3, "train/images")
    write(tmp_path, "depth/val", "tif", 2, "images/val")
    dataset = open_dataset(tmp_path)
    assert dataset.splits == {
        "train": ("train/images/0", "train/images/1", "train/images/2"),
        "val": ("images/val/0", "images/val/1"),
    }
    assert all(str(tmp_path / "depth" / "val") == str(r.labels[0].parent) for r in dataset.split("val"))


def test_lists_of_splits_pictures_without_a_map_and_maps_without_a_picture(tmp_path: Path) -> None:
    write(tmp_path, "density", "npy", 5)
    (tmp_path / "density" / "1.npy").rename(tmp_path / "density" / "other.npy")
    (tmp_path / "train.txt").write_text("0\n2\n")
    (tmp_path / "val.txt").write_text("3.png\n4\n")
    dataset = open_dataset(tmp_path)
    assert dataset.splits == {
        "train": ("images/0", "images/2"),
        "val": ("images/3", "images/4"),
        "unlabelled": ("images/1",),
    }
    assert any("density/other.npy" in note for note in dataset.notes)
    assert any("images/1" in note for note in dataset.notes)


def test_whole_numbers_without_a_scale_are_one_sentence(tmp_path: Path) -> None:
    write(tmp_path, "depth", "png")
    with pytest.raises(UserError, match=r"0\.png: holds whole numbers, .* add a line such as `scale 0.001`"):
        open_dataset(tmp_path)


def test_label_maps_stay_label_maps(tmp_path: Path) -> None:
    write(tmp_path / "a", "targets", "png")
    assert open_dataset(tmp_path / "a").layout == "labelmap"
    write(tmp_path / "b", "targets", "tif")
    for number, file in enumerate(sorted((tmp_path / "b" / "targets").iterdir())):
        tifffile.imwrite(file, np.full(SIZE, number % 2, np.float32))
    assert open_dataset(tmp_path / "b").layout != "values"


def test_masks_and_annotations_of_another_layout_come_first(tmp_path: Path) -> None:
    write(tmp_path / "a", "depth", "tif")
    for number in range(4):
        write_png(tmp_path / "a" / "masks" / f"{number}.png", np.eye(*SIZE, dtype=np.uint8))
    assert open_dataset(tmp_path / "a").layout == "folder"
    assert open_dataset(tmp_path / "a", "values").layout == "values"
    write(tmp_path / "b", "depth", "tif")
    annotation = '{"version": "5", "flags": {}, "shapes": [{"label": "cat", "points": [[1, 1], [5, 1], [5, 4]], '
    annotation += '"shape_type": "polygon"}], "imagePath": "NUMBER.png", "imageHeight": 6, "imageWidth": 9}'
    for number in range(4):
        (tmp_path / "b" / "images" / f"{number}.json").write_text(annotation.replace("NUMBER", str(number)))
    assert open_dataset(tmp_path / "b").layout == "labelme"


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_classes_named_as_maps_stay_classes(tmp_path: Path, depth: type) -> None:
    for root, above in ((tmp_path / "a", ""), (tmp_path / "b", "images")):
        for class_name in ("cats", "maps"):
            for number in range(4):
                write_png(root / above / class_name / f"{class_name[0]}{number}.png", np.full(SIZE, 7 * number, depth))
        assert open_dataset(root).layout == "classes"


def test_pictures_in_a_folder_of_maps_are_no_values(tmp_path: Path) -> None:
    write(tmp_path, "maps", "png")
    for file in (tmp_path / "maps").iterdir():
        write_png(file, np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(UserError, match="no masks"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("scale", "'scale' found, expected a single line"),
        ("scale 0", "the scale is 0"),
        ("scale 1mm", "'scale 1mm' found, expected a number"),
        ("void none", "'void none' found, expected a number"),
        ("scal 1", "did you mean 'scale'"),
        ("unit m\nunit mm", "'unit mm' found, expected a single line"),
    ],
)
def test_statements_that_make_no_sense(tmp_path: Path, statement: str, message: str) -> None:
    write(tmp_path, "depth", "tif")
    (tmp_path / "values.txt").write_text(statement)
    with pytest.raises(UserError, match=message):
        open_dataset(tmp_path)


def test_void_numbers_infinity_and_scale_of_floats(tmp_path: Path) -> None:
    write(tmp_path, "depth", "npy", 2)
    np.save(tmp_path / "depth" / "0.npy", np.full(SIZE, -1.0, np.float32))
    np.save(tmp_path / "depth" / "1.npy", np.where(np.eye(*SIZE) > 0, np.inf, 3).astype(np.float32))
    (tmp_path / "values.txt").write_text("void -1\nscale = 0.5")
    first, second = decoded(open_dataset(tmp_path))
    assert np.isnan(first).all()
    np.testing.assert_array_equal(second, np.where(np.eye(*SIZE) > 0, np.nan, 1.5))


def test_files_that_cannot_be_maps(tmp_path: Path) -> None:
    write(tmp_path, "depth", "npy", 2)
    dataset = open_dataset(tmp_path)
    for content, message in (
        (np.zeros((3, 4), np.float32), "the map is 4 x 3 but its picture is 9 x 6"),
        (np.zeros((*SIZE, 2), np.float32), "6 x 9 x 2 numbers found"),
        (np.zeros(SIZE, np.uint8), "uint8 found"),
        (np.zeros(SIZE, np.int64), "holds whole numbers"),
        (np.array({}, object), "cannot be read"),
    ):
        np.save(tmp_path / "depth" / "0.npy", content, allow_pickle=True)
        with pytest.raises(UserError, match=message):
            decoded(dataset)
    with pytest.raises(UserError, match=r"holds one depth per pixel, not class ids"):
        dataset.load_mask(dataset.records[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint16, np.int32])
def test_a_tiff_gives_its_own_numbers(tmp_path: Path, dtype: type) -> None:
    numbers = np.arange(54).reshape(SIZE).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", numbers)
    np.testing.assert_array_equal(read_map(tmp_path / "x.tif"), numbers)


def test_write_then_read(tmp_path: Path) -> None:
    write_map(tmp_path / "a" / "x.tif", values_of(1))
    np.testing.assert_array_equal(read_map(tmp_path / "a" / "x.tif"), values_of(1))
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["x.tif"]


def test_the_doctor_names_maps_that_are_broken_or_void(tmp_path: Path) -> None:
    write(tmp_path, "depth", "tif", 6)
    assert examine(tmp_path).ok
    assert not examine(tmp_path).findings
    write_map(tmp_path / "depth" / "0.tif", np.full(SIZE, np.nan))
    write_map(tmp_path / "depth" / "1.tif", np.zeros((2, 3)))
    content = (tmp_path / "depth" / "2.tif").read_bytes()
    (tmp_path / "depth" / "2.tif").write_bytes(content[: len(content) - 40])
    (tmp_path / "depth" / "3.tif").unlink()
    diagnosis = examine(tmp_path)
    found = {finding.code: finding.files for finding in diagnosis.findings}
    assert set(found) >= {"map-broken", "all-void", "picture-without-mask"}
    assert [text.split(": ")[0].rsplit("/", 1)[-1] for text in found["map-broken"]] == ["1.tif", "2.tif"]
    assert found["all-void"] == ("depth/0.tif",)
    assert (diagnosis.summary.task, diagnosis.summary.labelled) == ("regress", 3)
    with pytest.raises(UserError, match="maps of values"):
        fix(tmp_path, tmp_path.parent / "fixed")


@pytest.mark.parametrize(("blank", "ready"), [(2, True), (4, False)])
def test_maps_without_any_value_are_not_ready(blank: int, ready: bool, tmp_path: Path) -> None:
    write(tmp_path, "depth", "tif", 4)
    for number in range(blank):
        write_map(tmp_path / "depth" / f"{number}.tif", np.full(SIZE, np.nan))
    assert examine(tmp_path).ok == ready
