"""Labels in tables and JSON files: read as they mean it, and what is broken is told with file and entry."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from annotation_files import (
    HEIGHT,
    WIDTH,
    area,
    coco_file,
    dump,
    findings,
    labelme_file,
    masks,
    pictures,
    png,
    shape,
    table,
)
from PIL import Image

from pixelwise.data.digest import digest
from pixelwise.data.doctor import examine, fix
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.voc import CLASS_NAMES, voc_palette
from pixelwise.data.stock import fingerprint
from pixelwise.errors import UserError


class TestTables:
    @pytest.mark.parametrize("header", ["id,rle_mask", "ImageId,EncodedPixels", "image,rle", "File,Mask"])
    def test_columns_by_their_usual_names(self, tmp_path: Path, header: str) -> None:
        pictures(tmp_path, "a", "b", "c")
        table(tmp_path, header, "a,7 3", "b.png,", "images/c,-1")
        dataset = open_dataset(tmp_path)
        assert dataset.layout == "rle_csv"
        assert dataset.class_names == ("background", "object")
        assert {name: np.argwhere(mask).tolist() for name, mask in masks(dataset).items()} == {
            "a": [[0, 1], [1, 1], [2, 1]],
            "b": [],
            "c": [],
        }

    def test_a_row_is_an_object_and_rows_of_one_picture_add_up(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b")
        table(tmp_path, "ImageId,EncodedPixels", "a.png,1 6", "a.png,13 2 19 2", "b.png,")
        dataset = open_dataset(tmp_path)
        sample = dataset.load(dataset.records[0])
        assert area(dataset, "a") == {0: 38, 1: 10}
        assert sample.instances is not None
        assert len(sample.instances) == 2

    @pytest.mark.parametrize(
        ("cells", "classes", "names", "expected"),
        [
            (("ship", "bird"), None, ("background", "bird", "ship"), (2, 1)),
            (("ship", "bird"), "ship\nbird\n", ("background", "ship", "bird"), (1, 2)),
            (("ship", "bird"), "sea\nship\nbird\n", ("sea", "ship", "bird"), (1, 2)),
            (("3", "1"), None, ("background", "class 1", "class 2", "class 3"), (3, 1)),
            (("1", "0"), None, ("background", "class 0", "class 1"), (2, 1)),
            (("2", "1"), "sea\nship\nbird\n", ("sea", "ship", "bird"), (2, 1)),
            (("ship", "__ignore__"), None, ("background", "ship"), (1, 255)),
        ],
    )
    def test_classes(
        self, tmp_path: Path, cells: tuple[str, str], classes: str | None, names: tuple[str, ...], expected: tuple[int]
    ) -> None:
        pictures(tmp_path, "a", "b")
        table(tmp_path, "id,class,rle", f"a,{cells[0]},1 4", f"b,{cells[1]},1 5")
        if classes:
            (tmp_path / "classes.txt").write_text(classes)
        dataset = open_dataset(tmp_path)
        assert dataset.class_names == names
        assert [int(masks(dataset)[name].max()) for name in "ab"] == list(expected)

    def test_tables_named_by_splits_are_the_splits(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c", "d", "e")
        table(tmp_path, "id,rle", "a,1 1", "b,", "c,2 1")
        table(tmp_path, "id,rle", "d,", name="val.csv")
        table(tmp_path, "id,rle", "e,1 1", name="sample_submission.csv")
        table(tmp_path, "id,z", "a,100", name="depths.csv")
        dataset = open_dataset(tmp_path)
        assert dataset.splits == {
            "train": ("images/a", "images/b", "images/c"),
            "val": ("images/d",),
            "unlabelled": ("images/e",),
        }
        assert not next(record for record in dataset.records if record.name == "images/e").labels
        assert any("sample_submission.csv" in note for note in dataset.notes)

    def test_a_picture_in_two_tables_of_splits_is_refused(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c")
        table(tmp_path, "id,rle", "a,1 1", "b,", "c,2 1")
        table(tmp_path, "id,rle", "c,", name="val.csv")
        with pytest.raises(UserError, match="more than one split"):
            open_dataset(tmp_path)

    def test_masks_as_files_go_before(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b")
        pictures(tmp_path, "a", "b", folder="masks")
        table(tmp_path, "id,rle", "a,1 1", "b,")
        assert open_dataset(tmp_path, "rle_csv").layout == "rle_csv"
        assert masks(open_dataset(tmp_path, "rle_csv"))["a"].sum() == 1
        with pytest.raises(UserError, match="colour picture"):
            masks(open_dataset(tmp_path))

    def test_rows_without_a_picture_are_named(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b")
        table(tmp_path, "id,rle", "a,1 1", "b,", "gone,1 1")
        assert any("train.csv: gone" in note for note in open_dataset(tmp_path).notes)


class TestVoc:
    def write(self, root: Path, mode: str) -> np.ndarray:
        """Masks of three classes and void as palette pictures, in colour, or as grey ids."""
        ids = np.resize(np.array([0, 0, 1, 15, 255], np.uint8), (HEIGHT, WIDTH))
        colours = np.array([[c >> 16, c >> 8 & 255, c & 255] for c in voc_palette(256)], np.uint8)
        assert colours[[1, 15, 255]].tolist() == [[128, 0, 0], [192, 128, 128], [224, 224, 192]]
        pictures(root, "a", "b", "c", folder="JPEGImages")
        for name in "abc":
            image = Image.fromarray(colours[ids] if mode == "RGB" else ids)
            if mode == "P":
                image.putpalette(colours.ravel().tolist())
            (root / "SegmentationClass").mkdir(exist_ok=True)
            image.save(root / "SegmentationClass" / f"{name}.png")
        (root / "ImageSets/Segmentation").mkdir(parents=True)
        (root / "ImageSets/Segmentation/train.txt").write_text("a\nb\n")
        (root / "ImageSets/Segmentation/val.txt").write_text("c\n")
        return ids

    def test_the_folder_above_will_do(self, tmp_path: Path) -> None:
        self.write(tmp_path / "VOC2012", "RGB")
        dataset = open_dataset(tmp_path)
        assert (dataset.layout, dataset.class_names) == ("voc", CLASS_NAMES)
        assert set(dataset.splits) == {"train", "val"}

    @pytest.mark.parametrize("mode", ["P", "RGB"])
    def test_palette_and_colour_give_the_same_ids_and_names(self, tmp_path: Path, mode: str) -> None:
        ids = self.write(tmp_path, mode)
        dataset = open_dataset(tmp_path)
        assert dataset.layout == "voc"
        assert dataset.class_names == CLASS_NAMES
        assert {split: len(names) for split, names in dataset.splits.items()} == {"train": 2, "val": 1}
        for mask in masks(dataset).values():
            np.testing.assert_array_equal(mask, ids)
        diagnosis = examine(tmp_path)
        assert diagnosis.ok, diagnosis.findings
        counted = {
            name: pixels for name, pixels in zip(CLASS_NAMES, diagnosis.summary.class_pixels, strict=True) if pixels
        }
        assert counted == {name: int((ids == CLASS_NAMES.index(name)).sum()) * 3 for name in counted}
        assert diagnosis.summary.void_pixels == 3 * (ids == 255).sum()
        fix(tmp_path, tmp_path.with_name(f"{tmp_path.name}-fixed"))
        for mask in masks(open_dataset(tmp_path.with_name(f"{tmp_path.name}-fixed"))).values():
            np.testing.assert_array_equal(mask, ids)

    def test_grey_masks_in_such_folders_are_none_of_vocs(self, tmp_path: Path) -> None:
        self.write(tmp_path, "L")
        assert open_dataset(tmp_path).layout == "folder"

    def test_classes_txt_gives_other_names(self, tmp_path: Path) -> None:
        ids = self.write(tmp_path, "P")
        (tmp_path / "classes.txt").write_text("".join(f"c{number}\n" for number in range(16)))
        dataset = open_dataset(tmp_path)
        assert dataset.layout == "voc"
        assert len(dataset.class_names) == 16
        np.testing.assert_array_equal(masks(dataset)["a"], ids)

    def test_a_colour_of_no_class_is_told_with_its_place(self, tmp_path: Path) -> None:
        self.write(tmp_path, "RGB")
        odd = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        odd[2, 5] = (1, 2, 3)
        Image.fromarray(odd).save(tmp_path / "SegmentationClass/b.png")
        with pytest.raises(UserError, match=r"b\.png: the colour rgb\(1,2,3\) at x 5, y 2"):
            masks(open_dataset(tmp_path, "voc"))


class TestCoco:
    def test_outlines_categories_and_crowds(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c", "d", folder="anywhere/photos")
        dump(tmp_path / "annotations/x.json", coco_file())
        dataset = open_dataset(tmp_path)
        assert dataset.layout == "coco"
        assert dataset.class_names == ("background", "car", "toothbrush")
        assert area(dataset, "a") == {0: 48 - 13, 1: 12, 2: 1}
        assert area(dataset, "b") == {0: 42, 1: 6}  # the single car lies on the crowd
        assert area(dataset, "c") == {0: 48}
        unlabelled = [record.name for record in dataset.records if not record.labels]
        assert unlabelled == ["anywhere/photos/d"]
        objects = dataset.load(dataset.records[1]).instances
        assert objects is not None
        assert objects.classes.tolist() == [1]
        assert any("crowd" in note for note in dataset.notes)

    def test_files_named_by_splits_are_the_splits_and_keypoints_are_left_alone(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c", "e")
        train, val = coco_file(), coco_file(annotations=[])
        train["images"] = train["images"][:2]
        val["images"] = [*val["images"][2:], {"id": 1, "file_name": "gone.png", "height": 1, "width": 1}]
        dump(tmp_path / "annotations/instances_train2017.json", train)
        dump(tmp_path / "annotations/instances_val2017.json", val)
        keypoints = coco_file(categories=[{"id": 1, "name": "person", "keypoints": ["nose"]}], annotations=[])
        dump(tmp_path / "annotations/person_keypoints_train2017.json", keypoints)
        dump(tmp_path / "annotations/captions_val2017.json", {"images": [], "annotations": []})
        dataset = open_dataset(tmp_path)
        assert dataset.splits == {
            "train": ("images/a", "images/b"),
            "val": ("images/c",),
            "unlabelled": ("images/e",),
        }
        assert len(dataset.class_names) == 3
        for said in ("gone.png", "person_keypoints_train2017.json", "captions_val2017.json"):
            assert any(said in note for note in dataset.notes), said

    def test_files_that_share_a_picture_add_up_and_are_all_told_apart(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c")
        one, two = coco_file(), coco_file()
        one["annotations"], two["annotations"] = one["annotations"][:1], two["annotations"][1:]
        two["categories"] = [{"id": 90, "name": "car"}, {"id": 3, "name": "toothbrush"}]  # ids are of one file
        dump(tmp_path / "one.json", one)
        dump(tmp_path / "two.json", two)
        dataset = open_dataset(tmp_path)
        names = dataset.class_names
        assert {names[one]: pixels for one, pixels in area(dataset, "a").items()} == {"background": 35, "car": 13}
        assert {names[one]: pixels for one, pixels in area(dataset, "b").items()} == {"background": 42, "toothbrush": 6}
        before = digest(dataset)
        two["annotations"][0]["segmentation"] = [[1, 0, 2, 0, 2, 1, 1, 1]]
        dump(tmp_path / "two.json", two)
        assert digest(open_dataset(tmp_path)) != before
        two["annotations"][0]["segmentation"] = {"size": [1, 1], "counts": [1]}
        dump(tmp_path / "two.json", two)
        with pytest.raises(UserError, match=r"annotation 2 of two\.json \(a\.png\)"):
            masks(open_dataset(tmp_path))

    def test_a_lone_file_of_val_is_split_all_the_same(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c")
        dump(tmp_path / "instances_val2017.json", coco_file())
        assert {split: len(names) for split, names in open_dataset(tmp_path).splits.items()} == {"train": 2, "val": 1}

    def test_what_is_no_json_is_told_with_its_place(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b")
        (tmp_path / "x.json").write_text(json.dumps(coco_file())[:200])
        with pytest.raises(UserError, match=r"x\.json: not JSON .*line 1, column 190"):
            open_dataset(tmp_path)
        assert "text-file" in {finding.code for finding in examine(tmp_path).findings}

    def test_of_a_box_without_an_outline_the_pixels_are_not_known(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c")
        bare = {"id": 8, "image_id": 7, "category_id": 90, "bbox": [2.4, 2, 4.2, 9]}
        dump(tmp_path / "x.json", coco_file(annotations=[*coco_file()["annotations"][:2], bare]))
        dataset = open_dataset(tmp_path)
        sample = dataset.load(dataset.records[0])
        assert sample.mask is not None
        objects = sample.instances
        assert objects is not None
        assert objects.ids is not None
        assert (objects.classes.tolist(), objects.outlined) == ([1, 2, 2], 2)
        np.testing.assert_allclose(objects.boxes[2], [2.4, 2, 6.6, 6], rtol=1e-6)  # cut off at the border
        expected = np.zeros((HEIGHT, WIDTH), int)
        expected[2:, 2:7] = 255
        expected[1:4, 1:5] = 1  # outlines are known, whatever box they lie in
        expected[0, 0] = 2
        np.testing.assert_array_equal(sample.mask, expected)
        np.testing.assert_array_equal(dataset.load_mask(dataset.records[0]), expected)
        assert np.unique(objects.ids).tolist() == [0, 1, 2]
        assert any(note.startswith("1 annotations have a box but no outline") for note in dataset.notes)


class TestLabelMe:
    @pytest.mark.parametrize("beside", [True, False])
    def test_all_shapes(self, tmp_path: Path, beside: bool) -> None:
        pictures(tmp_path, "a", "b", "c")
        patch = np.array([[True, False], [True, True]])
        shapes = [
            shape("dog", "polygon", (0, 0), (3, 0), (3, 2), (0, 2)),
            shape("cat", "rectangle", (8, 6), (6, 4)),
            shape("bee", "circle", (5, 2), (5.8, 2)),
            shape("cat", "mask", (1, 4), (2, 5), mask=png(patch)),
            shape("__ignore__", "rectangle", (0, 0), (1, 1)),
            shape("_background_", "rectangle", (1, 0), (2, 1)),
            shape("dog", "point", (4, 4)),
        ]
        folder = tmp_path / ("images" if beside else "annotations")
        dump(folder / "a.json", labelme_file(*shapes))
        dump(folder / "b.json", labelme_file(picture="b.png"))
        dataset = open_dataset(tmp_path)
        assert dataset.layout == "labelme"
        assert dataset.class_names == ("background", "bee", "cat", "dog")
        expected = np.zeros((HEIGHT, WIDTH), int)
        expected[:2, :3] = 3
        expected[4:6, 6:8] = 2
        expected[1:3, 4:6] = 1
        expected[4:6, 1:3] = 2 * patch
        expected[0, 0] = 255
        expected[0, 1] = 0
        np.testing.assert_array_equal(masks(dataset)["a"], expected)
        assert area(dataset, "b") == {0: 48}
        assert set(masks(dataset)) == {"a", "b"}
        assert any("1 point" in note for note in dataset.notes)

    def test_classes_txt_gives_the_order(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", folder=".")
        for name in "ab":
            dump(
                tmp_path / f"{name}.json",
                labelme_file(shape("ant", "rectangle", (0, 0), (1, 1)), picture=f"{name}.png"),
            )
        (tmp_path / "classes.txt").write_text("__ignore__\n_background_\nzebra\nant\n")
        dataset = open_dataset(tmp_path)
        assert dataset.class_names == ("_background_", "zebra", "ant")
        assert area(dataset, "a") == {0: 47, 2: 1}


def test_the_digest_notices_a_change_anywhere_in_a_large_annotation_file(tmp_path: Path) -> None:
    pictures(tmp_path, "a", "b")
    filler = [f"nothing{number:05},1 1" for number in range(9000)]
    lines = ["id,rle", *filler, "a,1 1", "b,", *filler]
    table(tmp_path, *lines)
    before = digest(open_dataset(tmp_path))
    assert fingerprint(open_dataset(tmp_path)).digest == before
    lines[9001] = "a,2 1"
    table(tmp_path, *lines)
    assert digest(open_dataset(tmp_path)) != before


class TestDoctor:
    def test_sound_shapes_are_ready_and_written_as_masks(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c")
        dump(tmp_path / "x.json", coco_file())
        diagnosis = examine(tmp_path)
        assert diagnosis.ok, diagnosis.findings
        assert diagnosis.summary.class_pixels == (35 + 42 + 48, 12 + 6, 1)
        assert "shapes" in {finding.code for finding in diagnosis.findings}
        copy = tmp_path.with_name(f"{tmp_path.name}-fixed")
        fix(tmp_path, copy)
        fixed = open_dataset(copy)
        assert fixed.layout == "folder"
        for name, mask in masks(open_dataset(tmp_path)).items():
            np.testing.assert_array_equal(masks(fixed)[name], mask)

    def test_a_size_before_the_exif_orientation_is_told_as_such(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c")
        exif = Image.Exif()
        exif[0x0112] = 6
        with Image.open(tmp_path / "images/a.png") as image:
            image.save(tmp_path / "images/a.png", exif=exif.tobytes())
        dump(tmp_path / "x.json", coco_file())
        found = findings(tmp_path)
        (entry,) = found["shape-broken"].files
        assert "a.png is 8 x 6 in this file, which is its size before the EXIF orientation" in entry
        assert "exif-rotated" not in found  # which says that masks fit in size
        content = coco_file()
        content["images"][0].update(height=WIDTH, width=HEIGHT)
        dump(tmp_path / "x.json", content)
        found = findings(tmp_path)
        assert "shape-broken" not in found
        assert found["exif-rotated"].files == ("images/a.png",)

    def test_shapes_that_cannot_be_drawn_or_seen_are_findings(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c", "d")
        content = coco_file()
        content["annotations"][0]["segmentation"] = {"size": [6, 8], "counts": [1]}
        content["annotations"][3]["segmentation"] = [[90, 1, 95, 1, 95, 4]]
        content["images"].append({"id": 10, "file_name": "d.png", "height": HEIGHT, "width": WIDTH})
        dump(tmp_path / "x.json", content)
        found = {finding.code: finding for finding in examine(tmp_path).findings}
        assert found["shape-broken"].severity == "error"
        assert "annotation 1" in found["shape-broken"].files[0]
        assert found["shape-vanishes"].files == ("images/b, annotation 4",)
        copy = tmp_path.with_name(f"{tmp_path.name}-fixed")
        fix(tmp_path, copy)
        assert "annotation 1" in (copy / "left_out.txt").read_text()
        assert sorted(masks(open_dataset(copy))) == ["b", "c", "d"]


@pytest.mark.parametrize(("name", "layout", "classes"), [("salt", "rle_csv", 2), ("coco-mini", "coco", 81)])
def test_real_data(shared_folder: Path, name: str, layout: str, classes: int) -> None:
    root = shared_folder / "data" / name
    if not root.is_dir():
        pytest.skip(f"no {root}")
    dataset = open_dataset(root)
    assert dataset.layout == layout
    assert len(dataset.class_names) == classes
    assert all(record.labels for record in dataset.records)
    for record in dataset.records[:20]:
        sample = dataset.load(record)
        assert sample.mask is not None
        np.testing.assert_array_equal(sample.mask, dataset.load_mask(record))


def test_real_polygons_have_the_areas_their_file_states(shared_folder: Path) -> None:
    """COCO states the area within each outline (but not that of crowds' runs); ours count pixels' centres."""
    file = shared_folder / "data/coco-mini/instances_train2017.json"
    if not file.is_file():
        pytest.skip(f"no {file}")
    dataset = open_dataset(file.parent)
    annotations = json.loads(file.read_text())["annotations"]
    stated = {f"annotation {one['id']}": one["area"] for one in annotations if not one["iscrowd"]}
    drawn = {}
    for drawing in dataset.coding.drawings.values():
        for one in drawing.shapes:
            if not one.crowd:
                drawn[one.entry] = int(one.region.draw(*drawing.size).mask.sum())
    assert drawn.keys() == stated.keys()
    assert abs(sum(drawn.values()) / sum(stated.values()) - 1) < 1e-3
    large = [entry for entry, pixels in stated.items() if pixels > 2000]
    assert max(abs(drawn[entry] / stated[entry] - 1) for entry in large) < 0.02
