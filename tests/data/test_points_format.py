"""The layout `points`: a table of labelled pixels, in which all others are void."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise import api
from pixelwise.data.doctor import examine
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.convert import convert
from pixelwise.data.formats.points import MAX_ROWS
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError

ROWS = ("a.png,2,1,road", "a.png,0,0,sky", "b.png,5.9,3.2,sky", "b.png,1,2,road")


def write_points(
    root: Path, rows: tuple[str, ...] = ROWS, header: str = "picture,x,y,class", classes: str = ""
) -> Path:
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    for name in "abc":
        Image.fromarray(rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)).save(root / "images" / f"{name}.png")
    (root / "points.csv").write_text("\n".join((header, *rows)) + "\n")
    if classes:
        (root / "classes.txt").write_text(classes)
    return root


def test_a_pixel_per_row_and_void_elsewhere(tmp_path: Path) -> None:
    dataset = open_dataset(write_points(tmp_path))
    assert (dataset.layout, dataset.class_names, dataset.knows) == ("points", ("road", "sky"), {"pixels"})
    a, b, c = dataset.records
    expected = np.full((4, 6), VOID, np.uint8)
    expected[1, 2], expected[0, 0] = 0, 1
    assert np.array_equal(dataset.load_mask(a), expected)
    expected[:] = VOID
    expected[3, 5], expected[2, 1] = 1, 0  # 5.9 is in column 5
    sample = dataset.load(b)
    assert sample.mask is not None
    assert np.array_equal(sample.mask, expected)
    assert sample.instances is None
    assert not c.labelled
    assert dataset.splits["unlabelled"] == (c.name,)
    assert "points.csv: 4 labelled pixels in 2 pictures; all others are void." in dataset.notes


@pytest.mark.parametrize("header", ["image;x;y;label", "filename\tX\tY\tclass_name", "picture|x|y|class|by"])
def test_other_names_of_columns_and_separators(tmp_path: Path, header: str) -> None:
    separator = next(mark for mark in ";\t|" if mark in header)
    rows = tuple(row.replace(",", separator) for row in ROWS)
    assert open_dataset(write_points(tmp_path, rows, header)).class_names == ("road", "sky")


def test_classes_txt_gives_the_order_and_ids_are_accepted(tmp_path: Path) -> None:
    rows = (*ROWS, "a.png,3,3,2", "a.png,4,3,void", "a.png,5,3,255")
    dataset = open_dataset(write_points(tmp_path, rows, classes="sky\ncar\nroad\n"))
    mask = dataset.load_mask(dataset.records[0])
    assert dataset.class_names == ("sky", "car", "road")
    assert [mask[0, 0], mask[1, 2], mask[3, 3], mask[3, 4], mask[3, 5]] == [0, 2, 2, VOID, VOID]


def test_numbers_are_ids(tmp_path: Path) -> None:
    dataset = open_dataset(write_points(tmp_path, ("a.png,0,0,3", "b.png,1,0,0", "b.png,2,0,255")))
    assert dataset.class_names == ("class 0", "class 1", "class 2", "class 3")
    assert dataset.load_mask(dataset.records[0])[0, 0] == 3


def test_rows_without_a_class_are_counted(tmp_path: Path) -> None:
    dataset = open_dataset(write_points(tmp_path, (*ROWS, "c.png,0,0,", "c.png,1,1,")))
    assert "points.csv: 2 rows have no class yet and no effect (the first is line 6)." in dataset.notes
    assert not dataset.records[2].labelled


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.png,6,0,sky", r"the pixel x 6, y 0 is outside the picture, which is 6 x 4"),
        ("a.png,-1,0,sky", r"the pixel x -1, y 0 is outside"),
        ("a.png,left,0,sky", r"line 6 .*x and y are 'left', '0', but the numbers"),
        ("a.png,nan,0,sky", r"x and y are 'nan'"),
        ("a.png,2,1,sky", r"line 6 .*the pixel x 2, y 1 is 'sky' here and 'road' in line 2; remove one"),
        ("a.png,3", r"x and y are '3', ''"),
    ],
)
def test_what_cannot_be_read_concerns_its_own_picture_only(tmp_path: Path, row: str, words: str) -> None:
    dataset = open_dataset(write_points(tmp_path, (*ROWS, row)))
    with pytest.raises(UserError, match=words):
        dataset.load_mask(dataset.records[0])
    dataset.load_mask(dataset.records[1])
    findings = {finding.code: finding for finding in examine(tmp_path).findings}
    assert findings["shape-broken"].severity == "error"


def test_an_unknown_class_names_the_nearest(tmp_path: Path) -> None:
    dataset = open_dataset(write_points(tmp_path, (*ROWS, "a.png,4,0,skye"), classes="sky\nroad\n"))
    with pytest.raises(UserError, match="unknown class 'skye'; did you mean 'sky'"):
        dataset.load_mask(dataset.records[0])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (("a.png,0,0,", "b.png,1,1,"), "no row has a class yet"),
        (("x.png,0,0,sky", "y.png,1,1,sky"), r"none of the 2 pictures it names \(x.png, y.png\)"),
    ],
)
def test_a_table_that_labels_nothing(tmp_path: Path, rows: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_dataset(write_points(tmp_path, rows))


def test_a_picture_that_is_missing_is_reported(tmp_path: Path) -> None:
    dataset = open_dataset(write_points(tmp_path, (*ROWS, "d.png,0,0,sky")))
    assert any("points.csv: d.png" in note for note in dataset.notes)


def test_the_doctor_finds_nothing_wrong_with_sound_points(tmp_path: Path) -> None:
    diagnosis = examine(write_points(tmp_path))
    assert {finding.code for finding in diagnosis.findings if finding.severity == "error"} == set()
    assert not {"shape-tiny", "void-heavy", "empty-masks"} & {finding.code for finding in diagnosis.findings}
    assert diagnosis.summary.class_pixels == (2, 2)


def test_tables_of_boxes_and_keypoints_are_not_points(tmp_path: Path) -> None:
    root = write_points(tmp_path)
    (root / "points.csv").rename(root / "keypoints.csv")
    with pytest.raises(UserError, match="no masks"):
        open_dataset(root)


class TestConvert:
    def dataset(self, root: Path) -> Path:
        rng = np.random.default_rng(1)
        for name in "abcd":
            for folder, values in (("images", rng.integers(0, 256, (9, 8, 3))), ("masks", rng.integers(0, 3, (9, 8)))):
                (root / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(values.astype(np.uint8)).save(root / folder / f"{name}.png")
        return root

    def test_a_number_of_pixels_per_picture_is_drawn_from_the_masks(self, tmp_path: Path) -> None:
        source = open_dataset(self.dataset(tmp_path / "data"))
        done = api.convert(tmp_path / "data", to="points", out=tmp_path / "copy", points_per_picture=7)
        assert "28 labelled pixels are written: at most 7 of each picture, at random" in done[-1]
        copy = open_dataset(tmp_path / "copy")
        for one, other in zip(source.records, copy.records, strict=True):
            mask, whole = copy.load_mask(other), source.load_mask(one)
            assert np.count_nonzero(mask != VOID) == 7
            assert np.array_equal(mask[mask != VOID], whole[mask != VOID])
        convert(tmp_path / "data", "points", tmp_path / "again", points_per_picture=7)
        assert (tmp_path / "again" / "points.csv").read_bytes() == (tmp_path / "copy" / "points.csv").read_bytes()

    def test_too_many_rows_and_options_of_other_formats(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = self.dataset(tmp_path / "data")
        with pytest.raises(UserError, match="only the format 'points' has it, not 'coco'"):
            convert(data, "coco", tmp_path / "copy", points_per_picture=7)
        with pytest.raises(UserError, match="--points 0"):
            convert(data, "points", tmp_path / "copy", points_per_picture=0)
        monkeypatch.setattr("pixelwise.data.formats.points.MAX_ROWS", 100)
        with pytest.raises(UserError, match="up to 288 rows of single pixels, at most 100"):
            convert(data, "points", tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
        assert MAX_ROWS > 100
