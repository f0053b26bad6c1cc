"""For every format: what is written reads as what was read, to the pixel."""

from __future__ import annotations

import filecmp
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pixelwise import api
from pixelwise.cli import app
from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.convert import OF_BOXES, WRITERS, convert
from pixelwise.data.formats.export import parts_of
from pixelwise.data.formats.outlines import joined_ring, outline
from pixelwise.data.formats.voc import CLASS_NAMES
from pixelwise.data.regions import Patch, Polygons
from pixelwise.data.sample import VOID, Instances
from pixelwise.errors import UserError

OF_PIXELS = [to for to in WRITERS if to not in ("voc_xml", "labelmap")]
"""Formats that give masks back to the pixel."""


def special_masks(void: bool) -> dict[str, np.ndarray]:
    """Holes with islands, split regions, diagonal neighbours, single pixels, borders, all, nothing; random ones."""
    rng = np.random.default_rng(0)
    ring = np.zeros((12, 15), np.uint8)
    ring[1:11, 2:13] = 1
    ring[3:9, 4:11] = 0
    ring[5:7, 6:9] = 2
    ring[6, 7] = 0
    split = np.zeros((12, 15), np.uint8)
    split[:3, :4] = split[9:, 11:] = 1
    split[3, 4] = split[4, 5] = 1
    dots = np.zeros((12, 15), np.uint8)
    dots[0, 0] = dots[11, 14] = dots[5, 7] = dots[11, 0] = 1
    dots[0, 14] = dots[6, 8] = 2
    masks = {
        "ring": ring,
        "split": split,
        "dots": dots,
        "empty": np.zeros((12, 15), np.uint8),
        "full": np.full((12, 15), 2, np.uint8),
        "row": rng.integers(0, 3, (1, 17)).astype(np.uint8),
        "column": rng.integers(0, 3, (9, 1)).astype(np.uint8),
        "noise": rng.integers(0, 3, (12, 15)).astype(np.uint8),
        "blobs": np.kron(rng.integers(0, 3, (4, 5)), np.ones((5, 4))).astype(np.uint8),
    }
    if void:
        masks["void"] = np.where(rng.random((12, 15)) < 0.5, masks["noise"], VOID).astype(np.uint8)
    return masks


def write_folder(root: Path, masks: dict[str, np.ndarray], classes: tuple[str, ...] = ("sky", "road", "car")) -> Path:
    """The folder layout with sub-folders, several suffixes, splits, and a picture without a label."""
    rng = np.random.default_rng(1)
    names = [f"street/{name}" if number % 2 else name for number, name in enumerate(masks)]
    for number, (name, mask) in enumerate(zip([*names, "bare"], [*masks.values(), None], strict=True)):
        size = (7, 7) if mask is None else mask.shape
        picture = root / "images" / f"{name}.{('png', 'bmp', 'jpg')[number % 3]}"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(picture)
        if mask is not None:
            (root / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    (root / "train.txt").write_text("".join(f"{name}\n" for name in names[:4]))
    (root / "val.txt").write_text("".join(f"{name}\n" for name in names[4:7]))
    return root


def below(name: str) -> str:
    """A record's name without the folder of pictures."""
    return name.split("/", 1)[1]


def assert_same(one: Dataset, other: Dataset) -> None:
    assert other.class_names == one.class_names
    assert {split: [below(name) for name in names] for split, names in other.splits.items()} == {
        split: [below(name) for name in names] for split, names in one.splits.items()
    }
    records = {below(record.name): record for record in other.records}
    assert records.keys() == {below(record.name) for record in one.records}
    for record in one.records:
        twin = records[below(record.name)]
        assert filecmp.cmp(record.picture, twin.picture, shallow=False)
        assert bool(twin.labels) == bool(record.labels), record.name
        if record.labels:
            np.testing.assert_array_equal(other.load_mask(twin), one.load_mask(record), err_msg=record.name)


@pytest.mark.parametrize("void", [False, True])
@pytest.mark.parametrize("to", OF_PIXELS)
def test_masks_pictures_classes_and_splits_come_back(tmp_path: Path, to: str, void: bool) -> None:
    source = open_dataset(write_folder(tmp_path / "data", special_masks(void)))
    convert(tmp_path / "data", to, tmp_path / "copy")
    copy = open_dataset(tmp_path / "copy")
    assert copy.layout == to
    assert_same(source, copy)


@pytest.mark.parametrize("last", OF_PIXELS)
@pytest.mark.parametrize("first", OF_PIXELS)
def test_from_any_format_to_any_other(tmp_path: Path, first: str, last: str) -> None:
    source = open_dataset(write_folder(tmp_path / "data", special_masks(True)))
    convert(tmp_path / "data", first, tmp_path / "one")
    convert(tmp_path / "one", last, tmp_path / "two")
    assert_same(source, open_dataset(tmp_path / "two"))


@pytest.mark.parametrize("to", OF_PIXELS)
def test_two_classes_and_nothing_but_background_in_all_but_one(tmp_path: Path, to: str) -> None:
    masks = {name: np.zeros((5, 6), np.uint8) for name in "abcdefg"}
    masks["g"][2, 3] = 1
    source = open_dataset(write_folder(tmp_path / "data", masks, ("background", "cell")))
    convert(tmp_path / "data", to, tmp_path / "copy")
    assert_same(source, open_dataset(tmp_path / "copy"))


@pytest.mark.parametrize("to", ["coco", "rle_csv", "labelme", "yolo", "labelmap"])
def test_objects_stay_objects(tmp_path: Path, to: str) -> None:
    """Touching objects, one in two parts, one with a hole that holds another."""
    ids = np.zeros((10, 12), np.uint16)
    ids[1:6, 1:6] = 300
    ids[2:4, 2:4] = 0
    ids[2, 2] = 5
    ids[1:6, 6:9] = 7
    ids[8, 0] = ids[8, 2] = 9
    for name in "abc":
        (tmp_path / "data/images").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data/labels").mkdir(exist_ok=True)
        Image.fromarray(np.full((10, 12, 3), ord(name), np.uint8)).save(tmp_path / f"data/images/{name}.png")
        Image.fromarray(ids).save(tmp_path / f"data/labels/{name}.png")
    assert open_dataset(tmp_path / "data").layout == "labelmap"
    convert(tmp_path / "data", to, tmp_path / "copy")
    dataset = open_dataset(tmp_path / "copy", to)
    for record in dataset.records:
        objects = dataset.load(record).instances
        assert objects is not None
        assert objects.ids is not None
        pairs = {(int(old), int(new)) for old, new in zip(ids.ravel(), objects.ids.ravel(), strict=True)}
        assert len(pairs) == 5  # one to one: background and four objects
        assert len(objects) == 4


def test_parts_of_an_object_share_a_group_in_labelme_and_an_annotation_in_coco(tmp_path: Path) -> None:
    """Read, written and read again: the same objects, in the same pixels."""
    pieces = [[(1, 1), (3, 4)], [(5, 1), (7, 4)], [(9, 1), (11, 4)]]
    for number, groups in enumerate(([1, 1, None], [1, 2, 1], [None, None, None])):
        shapes = [
            {"label": "cow", "shape_type": "rectangle", "points": points, "group_id": group}
            for points, group in zip(pieces, groups, strict=True)
        ]
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / f"data/{number}.json").write_text(json.dumps({"shapes": shapes, "imagePath": f"{number}.png"}))
        Image.fromarray(np.full((6, 12), number, np.uint8)).save(tmp_path / f"data/{number}.png")
    source = open_dataset(tmp_path / "data")
    expected = [source.load(record).instances for record in source.records]
    assert [len(objects) for objects in expected if objects is not None] == [2, 2, 3]
    previous = tmp_path / "data"
    for to in ("labelme", "coco", "labelme", "yolo", "rle_csv", "labelmap"):
        copy = tmp_path / f"{to} of {previous.name}"
        convert(previous, to, copy)
        previous = copy
        dataset = open_dataset(copy, "labelmap" if to == "labelmap" else "auto")
        for record, objects in zip(dataset.records, expected, strict=True):
            found = dataset.load(record).instances
            assert found is not None
            assert objects is not None
            assert sorted(found.boxes.tolist()) == sorted(objects.boxes.tolist())
        if to == "labelme":
            written = [json.loads(file.read_text())["shapes"] for file in sorted((copy / "images").glob("*.json"))]
            assert [[shape["shape_type"] for shape in shapes] for shapes in written] == [["polygon"] * 3] * 3
            groups_of = [[shape["group_id"] for shape in shapes] for shapes in written]
            assert [len(set(groups) - {None}) for groups in groups_of] == [1, 1, 0]
            assert [groups.count(None) for groups in groups_of] == [1, 1, 3]


def test_crowds_stay_crowds_in_coco(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", special_masks(False))
    convert(tmp_path / "data", "coco", tmp_path / "one")
    file = tmp_path / "one/annotations/instances_train.json"
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:
        annotation["iscrowd"] = int(annotation["category_id"] == 1)
    file.write_text(json.dumps(content))
    convert(tmp_path / "one", "coco", tmp_path / "two")
    one, two = open_dataset(tmp_path / "one"), open_dataset(tmp_path / "two")
    assert_same(one, two)
    counts = []
    for dataset in (one, two):
        objects = [dataset.load(record).instances for record in dataset.split("train")]
        counts.append([len(found) for found in objects if found is not None])
        assert any("crowds" in note for note in dataset.notes)
    assert counts[0] == counts[1]
    assert sum(counts[0]) > 0


def test_boxes_without_an_outline_come_back_from_coco(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", special_masks(True))
    convert(tmp_path / "data", "coco", tmp_path / "one")
    for file in (tmp_path / "one/annotations").iterdir():
        content = json.loads(file.read_text())
        for annotation in content["annotations"][::2]:
            left, top, width, height = annotation.pop("bbox")
            annotation.update(segmentation=[], bbox=[left + 0.25, top, width + 0.5, height])
        file.write_text(json.dumps(content))
    assert not any("box" in sentence for sentence in convert(tmp_path / "one", "coco", tmp_path / "two")[3:])
    one, two = open_dataset(tmp_path / "one"), open_dataset(tmp_path / "two")
    assert_same(one, two)
    bare = 0
    for record in one.split("train"):
        objects, others = (dataset.load(record).instances for dataset in (one, two))
        assert objects is not None
        assert others is not None
        bare += len(objects) - objects.outlined
        kept = [
            sorted([class_id, *box] for class_id, box in zip(o.classes.tolist(), o.boxes.tolist(), strict=True))
            for o in (objects, others)
        ]
        assert kept[0] == kept[1]
    assert bare
    said = convert(tmp_path / "one", "rle_csv", tmp_path / "three")
    assert any("have a box but no outline; rle_csv cannot hold them" in sentence for sentence in said)


@pytest.mark.parametrize("to", OF_PIXELS)
def test_names_that_end_alike_stay_apart(tmp_path: Path, to: str) -> None:
    for number, name in enumerate(("x", "a/x", "b/a/x", "b_a_x")):
        for folder, values in (("images", np.full((4, 5, 3), number)), ("masks", np.full((4, 5), number))):
            file = tmp_path / "data" / folder / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(file)
    convert(tmp_path / "data", to, tmp_path / "copy")
    dataset = open_dataset(tmp_path / "copy")
    assert len(dataset.records) == 4
    for record in dataset.records:
        sample = dataset.load(record)
        assert (sample.mask == sample.image[:, :, 0]).all()


@pytest.mark.parametrize("to", OF_PIXELS)
def test_pictures_that_differ_in_their_suffix_alone(tmp_path: Path, to: str) -> None:
    write_folder(tmp_path / "data", special_masks(False))
    twin = tmp_path / "data/images/ring.jpg"
    Image.fromarray(np.zeros((12, 15, 3), np.uint8)).save(twin)
    assert twin.with_suffix(".png").exists()
    convert(tmp_path / "data", to, tmp_path / "copy")
    assert_same(open_dataset(tmp_path / "data"), open_dataset(tmp_path / "copy"))


@pytest.mark.parametrize("to", WRITERS)
def test_one_split_alone(tmp_path: Path, to: str) -> None:
    source = open_dataset(write_folder(tmp_path / "data", special_masks(False)))
    convert(tmp_path / "data", to, tmp_path / "train", splits=("train",))
    convert(tmp_path / "data", to, tmp_path / "val", splits=("val",))
    for split in ("train", "val"):
        expected, copy = source.splits[split], open_dataset(tmp_path / split)
        assert sorted(below(record.name) for record in copy.records) == sorted(map(below, expected))


def test_voc_masks_have_the_palette(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", special_masks(True), CLASS_NAMES)
    convert(tmp_path / "data", "voc", tmp_path / "copy")
    with Image.open(tmp_path / "copy/SegmentationClass/ring.png") as image:
        assert image.mode == "P"
        palette = image.getpalette()
    assert palette is not None
    assert palette[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    assert palette[-3:] == [224, 224, 192]
    assert open_dataset(tmp_path / "copy").class_names == CLASS_NAMES


class TestParts:
    def test_cover_every_labelled_pixel_once(self) -> None:
        rng = np.random.default_rng(2)
        for mask in special_masks(True).values():
            ids = np.where((mask > 0) & (mask < VOID) & (rng.random(mask.shape) < 0.5), mask, 0)
            classes = [value for value in (1, 2) if (ids == value).any()]
            for objects in (None, Instances.from_label_map(ids, np.array(classes))):
                for connected in (False, True):
                    found = np.zeros(mask.shape, int)
                    count = np.zeros(mask.shape, int)
                    for part in parts_of(mask, objects, connected=connected):
                        found[part.patch.window][part.patch.mask] = part.class_id
                        count[part.patch.window][part.patch.mask] += 1
                    np.testing.assert_array_equal(found, mask)
                    np.testing.assert_array_equal(count, mask > 0)

    def test_of_a_crowd_that_lies_beneath_an_object_what_is_seen_or_all_of_it(self) -> None:
        mask, ids, hidden = (np.zeros((12, 12), np.uint8) for _ in range(3))
        hidden[6:10, 6:10] = 1
        mask[6:10, 6:10] = 2
        mask[2:8, 2:8] = ids[2:8, 2:8] = 1
        crowd = replace(Instances.from_label_map(hidden, 2), crowd=np.array([True]))
        objects = replace(Instances.from_label_map(ids), ignored=crowd)
        seen, whole = (parts_of(mask, objects, connected=False, whole=all_of_it) for all_of_it in (False, True))
        assert [(part.class_id, part.crowd, int(part.patch.mask.sum())) for part in seen] == [
            (1, False, 36),
            (2, True, 16 - 4),
        ]
        assert [int(part.patch.mask.sum()) for part in whole] == [36, 16]
        assert whole[1].edges == (6, 6, 10, 10)

    def test_outlines_cover_exactly_their_pixels_or_are_none(self) -> None:
        rng = np.random.default_rng(3)
        drawn = 0
        for mask in [np.kron(rng.random((5, 6)) < 0.5, np.ones((3, 2), bool)) for _ in range(60)]:
            for part in parts_of(mask.astype(np.uint8), None, connected=True):
                ring = outline(part.patch)
                if ring is not None:
                    drawn += 1
                    patch = Polygons(((ring,),)).draw(*mask.shape)
                    whole, expected = np.zeros(mask.shape, bool), np.zeros(mask.shape, bool)
                    whole[patch.window], expected[part.patch.window] = patch.mask, part.patch.mask
                    np.testing.assert_array_equal(whole, expected)
        assert drawn > 60

    def test_a_box_is_a_polygon_of_four_corners_and_a_ring_is_none(self) -> None:
        full = np.ones((4, 6), bool)
        ring = outline(Patch(2, 3, full))
        assert ring is not None
        assert len(ring) == 4
        full[1, 1] = False
        assert outline(Patch(2, 3, full)) is None

    def test_one_ring_covers_exactly_its_pixels_whatever_holes_and_parts_there_are(self) -> None:
        rng = np.random.default_rng(5)
        for number in range(100):
            mask = rng.random(rng.integers(1, 12, 2)) < rng.choice([0.2, 0.5, 0.8])
            mask = np.kron(mask, np.ones((3, 2), bool)) if number % 2 else mask
            if mask.any():
                patch = Polygons(((joined_ring(Patch(3, 5, mask)),),)).draw(50, 50)
                whole, expected = np.zeros((50, 50), bool), np.zeros((50, 50), bool)
                whole[patch.window], expected[Patch(3, 5, mask).window] = patch.mask, mask
                np.testing.assert_array_equal(whole, expected)


Described = list[tuple[int, bool, bool, list[float]]]


def described(dataset: Dataset) -> dict[str, Described]:
    """Picture -> class, whether ignored, whether a crowd, and box of each object, in order."""
    found: dict[str, Described] = {}
    for record in dataset.records:
        objects = dataset.load(record).instances if record.labels else None
        if objects is None:
            continue
        own = [(int(k), False, False, box) for k, box in zip(objects.classes, objects.boxes.tolist(), strict=True)]
        if objects.ignored is not None:
            left = objects.ignored
            crowd = np.zeros(len(left), bool) if left.crowd is None else left.crowd
            flags = zip(left.classes, crowd, left.boxes.tolist(), strict=True)
            own += [(int(k), True, bool(many), box) for k, many, box in flags]
        found[below(record.name)] = sorted(own)
    return found


class TestObjects:
    @pytest.fixture
    def boxes(self, tmp_path: Path) -> Path:
        """Boxes alone of three classes, some difficult and some crowds, a picture with none, and one not labelled."""
        rng = np.random.default_rng(7)
        images, annotations = [], []
        (tmp_path / "boxes/images").mkdir(parents=True)
        for number in range(7):
            size = (int(rng.integers(20, 60)), int(rng.integers(20, 60)))
            Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(
                tmp_path / f"boxes/images/{number}.png"
            )
            if number == 6:
                continue
            images.append({"id": number, "file_name": f"{number}.png", "height": size[0], "width": size[1]})
            for kind in range(0 if number == 3 else 6):
                left, top = (int(rng.integers(0, side - 9)) for side in size[::-1])
                annotation = {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": int(rng.choice([3, 5, 90])),
                    "bbox": [left, top, *(int(side) for side in rng.integers(2, 9, 2))],
                    "iscrowd": int(kind > 3),
                }
                annotations.append({**annotation, "difficult": 1} if kind == 4 else annotation)
        categories = [{"id": number, "name": name} for number, name in ((3, "dog & cat"), (5, "Größe"), (90, "car"))]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "boxes/all.json").write_text(json.dumps(content))
        return tmp_path / "boxes"

    @pytest.mark.parametrize("to", OF_BOXES)
    def test_boxes_alone_come_back(self, boxes: Path, tmp_path: Path, to: str) -> None:
        source = open_dataset(boxes)
        assert source.knows == {"objects"}
        said = convert(boxes, to, tmp_path / "copy")
        copy = open_dataset(tmp_path / "copy")
        assert (copy.layout, copy.class_names, copy.knows) == (to, source.class_names, {"objects"})
        assert not [guess for guess in copy.guesses if "as not labelled yet" not in guess]
        assert {split: [below(name) for name in names] for split, names in copy.splits.items()} == {
            split: [below(name) for name in names] for split, names in source.splits.items()
        }
        expected = described(source)
        if to == "voc_xml":
            expected = {
                name: sorted((k, left, False, box) for k, left, _, box in own) for name, own in expected.items()
            }
            assert any("5 crowds are written as difficult objects" in sentence for sentence in said)
        if to == "yolo":
            expected = {
                name: sorted((k, False, False, box) for k, _, crowd, box in own if not crowd)
                for name, own in expected.items()
            }
            assert any("5 crowds are not written" in sentence for sentence in said)
            assert any("5 difficult objects" in sentence for sentence in said)
        found = described(copy)
        assert found.keys() == expected.keys()
        assert found["3"] == []
        for name, own in expected.items():
            assert [one[:3] for one in found[name]] == [one[:3] for one in own]
            np.testing.assert_allclose(
                np.array([one[3] for one in found[name]]), np.array([one[3] for one in own]), atol=1e-4
            )

    def test_boxes_are_rounded_to_pixels_in_voc_xml_and_told(self, boxes: Path, tmp_path: Path) -> None:
        content = json.loads((boxes / "all.json").read_text())
        content["annotations"][0]["bbox"] = [3.4, 2.6, 0.2, 3.2]
        (boxes / "all.json").write_text(json.dumps(content))
        said = convert(boxes, "voc_xml", tmp_path / "copy")
        assert "1 boxes are rounded to whole pixels." in said
        assert [3, 3, 4, 6] in [one[3] for one in described(open_dataset(tmp_path / "copy"))["0"]]

    @pytest.mark.parametrize("to", [to for to in WRITERS if to not in OF_BOXES])
    def test_what_holds_no_boxes_refuses_them(self, boxes: Path, tmp_path: Path, to: str) -> None:
        with pytest.raises(UserError, match=f"which {to} cannot hold; choose coco, voc_xml"):
            convert(boxes, to, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()

    @pytest.mark.parametrize("to", ["coco", "labelme", "rle_csv", "folder", "voc"])
    def test_outlines_of_crowds_and_difficult_objects_come_back(self, boxes: Path, tmp_path: Path, to: str) -> None:
        content = json.loads((boxes / "all.json").read_text())
        for annotation in content["annotations"]:
            left, top, width, height = annotation["bbox"]
            annotation["segmentation"] = [
                [left, top, left + width, top, left + width, top + height, left, top + height]
            ]
        (boxes / "all.json").write_text(json.dumps(content))
        convert(boxes, to, tmp_path / "copy")
        source, copy = open_dataset(boxes), open_dataset(tmp_path / "copy")
        assert_same(source, copy)
        if to not in ("coco", "labelme"):  # where crowds are objects, or there are none
            return
        assert described(source) == described(copy)
        assert any(crowd for own in described(copy).values() for _, _, crowd, _ in own)

    def test_a_label_map_has_neither_classes_nor_crowds_and_says_so(self, boxes: Path, tmp_path: Path) -> None:
        content = json.loads((boxes / "all.json").read_text())
        for annotation in content["annotations"]:
            left, top, width, height = annotation["bbox"]
            annotation["segmentation"] = [[left, top, left + width, top, left + width, top + height]]
        (boxes / "all.json").write_text(json.dumps(content))
        said = convert(boxes, "labelmap", tmp_path / "copy")
        assert any("all 3 are merged into one, object" in sentence for sentence in said)
        copy = open_dataset(tmp_path / "copy", "labelmap")
        assert copy.class_names == ("background", "object")
        expected = {
            name: [box for _, left, _, box in own if not left] for name, own in described(open_dataset(boxes)).items()
        }
        assert {name: sorted(box for *_, box in own) for name, own in described(copy).items()} == {
            name: sorted(own) for name, own in expected.items()
        }

    def test_lists_of_yolo_have_suffixes_as_other_programs_need_them(self, boxes: Path, tmp_path: Path) -> None:
        convert(boxes, "yolo", tmp_path / "copy")
        lines = (tmp_path / "copy/train.txt").read_text().split()
        assert lines
        assert all((tmp_path / "copy" / line).is_file() for line in lines)

    def test_steel_comes_back_from_every_format_of_boxes(self, shared_folder: Path, tmp_path: Path) -> None:
        source, names = shared_folder / "data/neu-det", ("crazing_2", "patches_7", "scratches_9", "inclusion_11")
        for name in names:
            for file in (f"images/{name}.jpg", f"annotations/{name}.xml"):
                (tmp_path / "data" / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "data" / file).write_bytes((source / file).read_bytes())
        previous, expected = tmp_path / "data", described(open_dataset(tmp_path / "data"))
        for to in ("yolo", "coco", "voc_xml", "labelme", "voc_xml"):
            copy = tmp_path / f"{to} of {previous.name}"
            convert(previous, to, copy)
            previous = copy
            for name, own in described(open_dataset(copy)).items():
                np.testing.assert_allclose(
                    np.array([one[3] for one in own]), np.array([one[3] for one in expected[name]]), atol=1e-4
                )


class TestRefusals:
    def test_before_anything_is_written(self, tmp_path: Path) -> None:
        data = write_folder(tmp_path / "data", special_masks(False))
        (tmp_path / "there").mkdir()
        (tmp_path / "there/x").write_text("mine")
        for to, out, splits, words in (
            ("coko", "new", (), "did you mean 'coco'"),
            ("coco", "there", (), "exists already"),
            ("coco", "data/new", (), "lies inside"),
            ("coco", "new", ("vall",), "did you mean 'val'"),
        ):
            with pytest.raises(UserError, match=words):
                convert(data, to, tmp_path / out, splits=splits)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "there"]
        assert (tmp_path / "there/x").read_text() == "mine"

    def test_what_fails_half_way_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = write_folder(tmp_path / "data", special_masks(False))
        Image.fromarray(np.zeros((1, 1), np.uint8)).save(data / "masks/ring.png")
        for to in WRITERS:
            with pytest.raises(UserError, match="the mask is 1 x 1"):
                convert(data, to, tmp_path / "copy")

        def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("os.rename", stopped)
        write_folder(tmp_path / "data", special_masks(False))
        with pytest.raises(KeyboardInterrupt):
            convert(data, "coco", tmp_path / "copy")
        assert [path.name for path in tmp_path.iterdir()] == ["data"]

    def test_void_and_background_alone_cannot_be_told_by_the_folder_layout(self, tmp_path: Path) -> None:
        masks = {name: np.zeros((5, 6), np.uint8) for name in "abcdefg"}
        masks["c"][2, 3] = VOID
        write_folder(tmp_path / "data", masks)
        convert(tmp_path / "data", "coco", tmp_path / "coco")
        (tmp_path / "coco/classes.txt").write_text("background\ncell\n")
        file = tmp_path / "coco/annotations/instances_train.json"
        content = json.loads(file.read_text())
        content["categories"] = [category for category in content["categories"] if category["name"] == "__ignore__"]
        for other in (file, file.with_name("instances_val.json")):
            other.write_text(json.dumps(json.loads(other.read_text()) | {"categories": content["categories"]}))
        with pytest.raises(UserError, match="choose another format, such as voc"):
            convert(tmp_path / "coco", "folder", tmp_path / "copy")


def test_the_command_and_the_function(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", special_masks(False))
    result = CliRunner().invoke(app, ["convert", str(data), "--to", "coco", "--out", str(tmp_path / "coco")])
    assert result.exit_code == 0, result.output
    assert "10 pictures are written as coco, 9 of them labelled (4 train, 3 val)" in result.output
    said = api.convert(tmp_path / "coco", to="rle_csv", out=tmp_path / "csv")
    assert any("10 pictures" in line for line in said)
    assert_same(open_dataset(data), open_dataset(tmp_path / "csv"))


@pytest.mark.parametrize("to", OF_PIXELS)
def test_real_pictures_come_back(tmp_path: Path, shared_folder: Path, to: str) -> None:
    root = shared_folder / "data/salt"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    (tmp_path / "data/images").mkdir(parents=True)
    lines = (root / "train.csv").read_text().splitlines()[:25]
    (tmp_path / "data/train.csv").write_text("\n".join(lines))
    for line in lines[1:]:
        name = line.split(",")[0]
        (tmp_path / f"data/images/{name}.png").write_bytes((root / f"images/{name}.png").read_bytes())
    convert(tmp_path / "data", to, tmp_path / "copy")
    assert_same(open_dataset(tmp_path / "data"), open_dataset(tmp_path / "copy"))
