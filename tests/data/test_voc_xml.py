"""Pascal VOC's XML: one file per picture, boxes by their first and last pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotation_files import HEIGHT, WIDTH, findings, pictures
from PIL import Image

from pixelwise.data.formats import open_dataset
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError


def voc_object(name: str, *corners: float, more: str = "") -> str:
    edges = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=False)
    box = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
    return f"<object><name>{name}</name>{f'<bndbox>{box}</bndbox>' if corners else ''}{more}</object>"


def voc_file(
    path: Path, *objects: str, size: tuple[int, int] = (WIDTH, HEIGHT), filename: str = "", encoding: str = "utf-8"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    text = f"<annotation>\n<filename>{filename}</filename>{sides}{''.join(objects)}</annotation>"
    path.write_bytes(text.encode(encoding))


def boxes(root: Path, name: str) -> list[list[float]]:
    dataset = open_dataset(root)
    record = next(record for record in dataset.records if record.name.endswith(name))
    objects = dataset.load(record).instances
    assert objects is not None
    return objects.boxes.tolist()


def test_the_first_and_the_last_pixel_of_a_box_are_in_it(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc", folder="JPEGImages")
    voc_file(tmp_path / "Annotations/a.xml", voc_object("dog", 1, 2, 3, 6), voc_object("cat", 8, 6, 8, 6))
    voc_file(tmp_path / "Annotations/b.xml")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.class_names, dataset.knows) == (
        "voc_xml",
        ("background", "cat", "dog"),
        {"objects"},
    )
    assert [record.name for record in dataset.records if record.labelled] == ["JPEGImages/a", "JPEGImages/b"]
    sample = dataset.load(dataset.records[0])
    assert sample.instances is not None
    assert sample.mask is not None
    assert sample.instances.boxes.tolist() == [[0, 1, 3, 6], [7, 5, 8, 6]]
    assert sample.instances.classes.tolist() == [2, 1]
    assert np.argwhere(sample.mask == VOID)[:, 1].tolist() == [0, 1, 2] * 4 + [0, 1, 2, 7]
    assert len(dataset.load(dataset.records[1]).instances or ()) == 0


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ([(0, 0, 4, 4), (0, 2, 8, 6)], [[0, 0, 4, 4], [0, 2, 8, 6]]),
        ([(0, 2, 4, 4), (1, 1, 8, 6), (1, 2, 2, 6)], [[0, 1, 4, 4], [0, 0, 8, 6], [0, 1, 2, 6]]),
    ],
    ids=["counts from 0", "a slip in a set that counts from 1"],
)
def test_zeros_tell_where_counting_begins(
    tmp_path: Path, corners: list[tuple[int, ...]], expected: list[list[float]]
) -> None:
    pictures(tmp_path, *"ab")
    voc_file(tmp_path / "annotations/a.xml", *(voc_object("dog", *each) for each in corners))
    voc_file(tmp_path / "annotations/b.xml")
    assert sorted(boxes(tmp_path, "a")) == sorted(expected)
    assert "Pascal VOC's first pixel" in findings(tmp_path)["guess"].sentence


@pytest.mark.parametrize(
    "polygon",
    [
        "<x1>1</x1><y1>1</y1><x2>5</x2><y2>1</y2><x3>5</x3><y3>4</y3><x4>1</x4><y4>4</y4>",
        "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((1, 1), (5, 1), (5, 4), (1, 4))),
    ],
)
def test_a_polygon_is_the_outline(tmp_path: Path, polygon: str) -> None:
    pictures(tmp_path, *"ab")
    for name in "ab":
        voc_file(tmp_path / f"images/{name}.xml", voc_object("dog", 1, 1, 8, 6, more=f"<polygon>{polygon}</polygon>"))
    dataset = open_dataset(tmp_path)
    mask = dataset.load_mask(dataset.records[0])
    assert (dataset.layout, mask[1:4, 1:5].tolist(), mask.sum()) == ("voc_xml", [[1] * 4] * 3, 12)


def test_lists_of_the_challenge_are_the_splits(tmp_path: Path) -> None:
    pictures(tmp_path, *"abcd", folder="VOC2007/JPEGImages")
    for name in "abcd":
        voc_file(tmp_path / f"VOC2007/Annotations/{name}.xml", voc_object("dog", 1, 1, 3, 3))
    lists = {"Main/train": "ab", "Main/val": "c", "Main/test": "d", "Segmentation/train": "d", "Main/dog_train": "d"}
    for name, members in lists.items():
        path = tmp_path / f"VOC2007/ImageSets/{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{member}\n" for member in members))
    splits = open_dataset(tmp_path).splits
    found = {split: "".join(name[-1] for name in names) for split, names in splits.items()}
    assert found == {"train": "ab", "val": "c", "test": "d"}


def test_masks_of_the_devkit_go_before_unless_the_layout_is_given(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc", folder="JPEGImages")
    for name in "abc":
        voc_file(tmp_path / f"Annotations/{name}.xml", voc_object("dog", 1, 1, 3, 3))
    for folder in ("SegmentationClass", "SegmentationObject"):
        (tmp_path / folder).mkdir()
        for name in "ab":
            ids = Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8))
            ids.putpalette([0, 0, 0, 128, 0, 0])
            ids.save(tmp_path / folder / f"{name}.png")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "voc"
    assert any("--layout voc_xml reads them instead" in guess for guess in dataset.guesses)
    of_boxes = open_dataset(tmp_path, "voc_xml")
    assert [record.name for record in of_boxes.records] == ["JPEGImages/a", "JPEGImages/b", "JPEGImages/c"]
    assert all(record.labelled for record in of_boxes.records)


@pytest.mark.parametrize(
    ("element", "said"),
    [
        (voc_object("dog"), "object 1 .*neither a box .bndbox. nor an outline"),
        (voc_object("dog", 3, 1, 1, 2), "object 1 .*backwards"),
        (voc_object("dog", 3, 1, 4), "object 1 .*ymax is missing"),
        (voc_object("", 1, 1, 4, 4), "object 1 .*'name' is '', expected text"),
        (voc_object("dog", 1, 1, 3, 3, more="<polygon><x1>3</x1><y1>2</y1></polygon>"), "a polygon of 1 points"),
    ],
)
def test_an_object_that_is_none_breaks_its_picture_alone(tmp_path: Path, element: str, said: str) -> None:
    pictures(tmp_path, *"ab")
    voc_file(tmp_path / "images/a.xml", element)
    voc_file(tmp_path / "images/b.xml", voc_object("dog", 1, 1, 3, 3))
    dataset = open_dataset(tmp_path)
    with pytest.raises(UserError, match=said):
        dataset.load(dataset.records[0])
    assert len(dataset.load(dataset.records[1]).instances or ()) == 1
    assert findings(tmp_path)["shape-broken"].severity == "error"


def test_a_size_of_another_picture_is_a_finding(tmp_path: Path) -> None:
    pictures(tmp_path, *"ab")
    voc_file(tmp_path / "images/a.xml", voc_object("dog", 1, 1, 3, 3), size=(80, 60))
    voc_file(tmp_path / "images/b.xml", voc_object("dog", 1, 1, 3, 3), size=(0, 0))
    assert "a.png is 80 x 60 in this file" in findings(tmp_path)["shape-broken"].files[0]
    assert len(findings(tmp_path)["shape-broken"].files) == 1


def test_a_file_belongs_to_the_picture_of_its_own_name(tmp_path: Path) -> None:
    pictures(tmp_path, *"abc")
    voc_file(tmp_path / "annotations/a.xml", voc_object("dog", 1, 1, 3, 3), filename="b.png")
    voc_file(tmp_path / "annotations/0001.xml", voc_object("cat", 1, 1, 3, 3), filename="c")
    dataset = open_dataset(tmp_path)
    assert [record.name for record in dataset.records if record.labelled] == ["images/a", "images/c"]
    assert any("another one in filename (annotations/a.xml)" in guess for guess in dataset.guesses)


def test_what_is_no_xml_is_told_with_its_place(tmp_path: Path) -> None:
    pictures(tmp_path, *"ab")
    voc_file(tmp_path / "images/b.xml", voc_object("dog", 1, 1, 3, 3))
    (tmp_path / "images/a.xml").write_text("<annotation>\n<object>")
    with pytest.raises(UserError, match=r"a\.xml: not XML .*line 2"):
        open_dataset(tmp_path)


def test_other_programs_additions_are_told(tmp_path: Path) -> None:
    pictures(tmp_path, *"ab")
    voc_file(
        tmp_path / "images/a.xml",
        voc_object("dog", 2, 2, 4, 4, more="<part><name>head</name><bndbox><xmin>0</xmin></bndbox></part>"),
        voc_object("dog", 1, 1, 3, 3, more="<deleted>1</deleted>"),
    )
    voc_file(tmp_path / "images/b.xml", voc_object("Größe", 1, 1, 3, 3), encoding="utf-16")
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("background", "Größe", "dog")
    assert len(dataset.load(dataset.records[0]).instances or ()) == 1
    assert "1 part of an object is not read (head, hand, ...)." in dataset.notes
    assert "1 object is marked as deleted and not read." in dataset.notes


def test_steel(shared_folder: Path) -> None:
    dataset = open_dataset(shared_folder / "data/neu-det")
    assert dataset.layout == "voc_xml"
    assert {split: len(names) for split, names in dataset.splits.items()} == {"train": 480, "val": 120}
    assert len(dataset.class_names) == 7
    assert (
        sum(len(dataset.load(record).instances or ()) for record in dataset.records) == 1308
    )  # of 1,320, 11 are difficult and one is there twice
