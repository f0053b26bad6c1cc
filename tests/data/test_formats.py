"""Folders as people keep them are read as they mean them, and what cannot be read is refused in a sentence."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data.class_table import read_classes
from pixelwise.data.codings import MaskCoding
from pixelwise.data.dataset import Dataset
from pixelwise.data.doctor import examine
from pixelwise.data.formats import LAYOUTS, open_dataset
from pixelwise.data.formats.decision import is_lossy
from pixelwise.data.formats.pairing_by_words import by_words
from pixelwise.data.listing import picture_files
from pixelwise.data.names import Found, Names
from pixelwise.data.path_words import parse_path
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.record import Record
from pixelwise.errors import UserError

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[3] / "shared")) / "data"


def save(path: Path, values: object, dtype: type = np.uint8) -> None:
    """Writes an array, or a 4 x 6 picture of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((4, 6), values, dtype) if np.isscalar(values) else np.asarray(values, dtype)
    Image.fromarray(array).save(path)


def grey(number: int) -> np.ndarray:
    return np.full((4, 6, 3), number, np.uint8)


def ids(*values: int) -> np.ndarray:
    return np.resize(np.array(values), (4, 6))


def labels_by_picture(dataset: Dataset) -> dict[str, list[str]]:
    return {
        record.picture.relative_to(dataset.root).as_posix(): [
            label.relative_to(dataset.root).as_posix() for label in record.labels
        ]
        for record in dataset.records
    }


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("imgs/{}.png", "labels/{}.png"),
        ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
        ("imagesTr/{}.png", "labelsTr/{}.png"),
        ("train/images/{}.jpg", "train/masks/{}.png"),
        ("images/train/{}.jpg", "masks/train/{}.png"),
        ("train_images/{}.bmp", "train_masks/{}.tif"),
        ("images/city/north/{}.jpg", "annotations/city/north/{}.png"),
        ("images/{}.JPG", "masks/{}.PNG"),
        ("images/{}.png", "masks/{}_mask.png"),
        ("images/{}.png", "gt/{}-gt.png"),
        ("images/city/{}.png", "masks/{}.png"),
        ("{}.jpg", "{}_mask.png"),
        ("deep/below/{}.jpg", "deep/below/{}_seg.png"),
        ("images/{}.png", "images/{}_label.png"),
        ("{}.png", "masks/{}.png"),
        ("photos of 2024/{}.png", "photos of 2024/masks/{}.png"),
        ("images/{}.webp", "masks/{}.bmp"),
        ("images/v1.2 {}.png", "masks/v1.2 {}.png"),
    ],
)
def test_pairs_by_name(picture: str, mask: str, tmp_path: Path) -> None:
    for name in ("a", "b", "c7"):
        save(tmp_path / picture.format(name), grey(ord(name[0])))
        save(tmp_path / mask.format(name), ids(0, 1, 2))
    save(tmp_path / ".hidden/images/z.png", grey(1))
    (tmp_path / "images").mkdir(exist_ok=True)
    (tmp_path / "images/Thumbs.db").write_bytes(b"x")
    dataset = open_dataset(tmp_path)
    assert labels_by_picture(dataset) == {picture.format(n): [mask.format(n)] for n in ("a", "b", "c7")}
    assert dataset.class_names == ("class 0", "class 1", "class 2")
    assert {record.name for record in dataset.records} == {
        str(PurePosixPath(picture.format(name)).with_suffix("")) for name in ("a", "b", "c7")
    }
    for record in dataset.records:
        assert set(np.unique(dataset.load(record).mask)) == {0, 1, 2}


def test_a_mask_is_taken_from_its_own_split() -> None:
    files = [PurePosixPath(f"{split}/{kind}/x.png") for split in ("train", "val") for kind in ("images", "masks")]
    assert by_words(files).pairs == (
        (PurePosixPath("train/images/x.png"), (PurePosixPath("train/masks/x.png"),), "train"),
        (PurePosixPath("val/images/x.png"), (PurePosixPath("val/masks/x.png"),), "val"),
    )


def test_a_mask_of_another_split_is_none() -> None:
    pairing = by_words([PurePosixPath("train/images/x.png"), PurePosixPath("val/masks/x.png")])
    assert pairing.pairs == ((PurePosixPath("train/images/x.png"), (), "train"),)


def test_a_link_to_a_folder_above_is_not_followed_for_ever(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", 1)
    try:
        (tmp_path / "images/loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    assert picture_files(tmp_path) == (PurePosixPath("images/a.png"),)


def test_the_bare_name_is_not_enough_where_folders_disagree() -> None:
    pairing = by_words([PurePosixPath("images/a/x.png"), PurePosixPath("masks/b/x.png")])
    assert pairing.pairs == ((PurePosixPath("images/a/x.png"), (), ""),)
    assert pairing.orphans == (PurePosixPath("masks/b/x.png"),)


def test_nothing_is_dropped_silently(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        save(tmp_path / f"images/{name}.png", grey(1))
        save(tmp_path / f"masks/{name}.png", ids(0, 1))
    save(tmp_path / "images/bare.png", grey(2))
    save(tmp_path / "masks/orphan.png", ids(0, 1))
    save(tmp_path / "elsewhere/a.png", ids(0, 1))
    dataset = open_dataset(tmp_path)
    notes = " ".join(dataset.notes)
    for name in ("images/bare", "masks/orphan.png", "elsewhere/a.png"):
        assert name in notes
    assert not next(record for record in dataset.records if record.name == "images/bare").labels
    assert [split for split, names in dataset.splits.items() if "images/bare" in names] == ["unlabelled"]
    save(tmp_path / "more/far.png", grey(3))
    joined = open_dataset(tmp_path, unlabelled=tmp_path / "more")
    assert joined.splits["unlabelled"] == ("images/bare", "unlabelled/far")
    assert {split: names for split, names in joined.splits.items() if split != "unlabelled"} == {
        split: names for split, names in dataset.splits.items() if split != "unlabelled"
    }


def test_pictures_that_differ_in_suffix_alone_keep_it_and_stay_together(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        save(tmp_path / f"images/{name}.png", grey(1))
        save(tmp_path / f"masks/{name}.png", ids(0, 1))
    save(tmp_path / "images/a.jpg", grey(2))
    dataset = open_dataset(tmp_path)
    assert {"images/a.jpg", "images/a.png", "images/b"} <= {record.name for record in dataset.records}
    assert len({record.group for record in dataset.records}) == 4
    assert any("images/a" in note for note in dataset.notes)


class TestCoding:
    def write(self, root: Path, *masks: object, names: str = "") -> Path:
        for index, mask in enumerate(masks):
            save(root / f"images/{index}.png", grey(index))
            save(root / f"masks/{index}.png", mask)
        if names:
            (root / "classes.txt").write_text(names)
        return root

    def test_0_and_255_are_two_classes(self, tmp_path: Path) -> None:
        dataset = open_dataset(self.write(tmp_path, ids(0, 255), ids(0), ids(255)))
        assert dataset.coding == MaskCoding(kind="binary")
        assert dataset.class_names == ("background", "foreground")
        assert set(np.unique(dataset.load(dataset.records[0]).mask)) == {0, 1}

    def test_any_other_value_makes_255_void(self, tmp_path: Path) -> None:
        dataset = open_dataset(self.write(tmp_path, ids(0, 255), ids(0, 1, 3)))
        assert dataset.coding.kind == "ids"
        assert dataset.class_names == ("class 0", "class 1", "class 2", "class 3")
        assert set(np.unique(dataset.load(dataset.records[0]).mask)) == {0, 255}

    @pytest.mark.parametrize(("names", "kind"), [("a\nb", "binary"), ("b", "binary"), ("a\nb\nc", "ids")])
    def test_names_decide_with_the_values(self, names: str, kind: str, tmp_path: Path) -> None:
        dataset = open_dataset(self.write(tmp_path, ids(0, 255), ids(0, 255), names=names))
        assert dataset.coding.kind == kind
        assert dataset.class_names == (("background", "b") if names == "b" else tuple(names.split()))

    def test_an_id_without_a_name_is_refused_when_read(self, tmp_path: Path) -> None:
        dataset = open_dataset(self.write(tmp_path, ids(0, 7), ids(0, 1), names="a\nb\nc"))
        with pytest.raises(UserError, match="class id 7 found, but there are 3 classes"):
            dataset.load(dataset.records[0])

    def test_colours_are_refused_with_the_way_out(self, tmp_path: Path) -> None:
        save(tmp_path / "images/a.png", grey(0))
        save(tmp_path / "images/b.png", grey(1))
        for name in "ab":
            save(tmp_path / f"masks/{name}.png", np.stack([ids(0, 1), ids(1, 0), ids(0, 0)], axis=2))
        with pytest.raises(UserError, match=r"colour picture.*--fix"):
            open_dataset(tmp_path)

    def test_three_equal_channels_hold_ids(self, tmp_path: Path) -> None:
        for name in "ab":
            save(tmp_path / f"images/{name}.png", grey(1))
            save(tmp_path / f"masks/{name}.png", np.repeat(ids(0, 1, 2)[:, :, None], 3, axis=2))
        dataset = open_dataset(tmp_path)
        np.testing.assert_array_equal(dataset.load(dataset.records[0]).mask, ids(0, 1, 2))

    def test_lossy_masks_are_told_from_ids(self) -> None:
        rng = np.random.default_rng(0)
        blocks = np.kron(rng.integers(0, 30, (8, 8)), np.ones((9, 9))).astype(np.uint8)
        assert not is_lossy(blocks, "PNG")
        assert not is_lossy(np.minimum(blocks, 3), "JPEG")
        y, x = np.mgrid[:96, :96]
        soft = np.clip(128 + 60 * (30 - np.hypot(y - 48, x - 48)), 0, 255).astype(np.uint8)
        assert is_lossy(soft, "PNG")
        assert is_lossy(np.array([[0, 1, 254, 255]], np.uint8), "JPEG")

    def test_void_alone_is_still_read(self, tmp_path: Path) -> None:
        dataset = open_dataset(self.write(tmp_path, ids(255), ids(0)))
        assert dataset.coding.kind == "binary"


class TestSplits:
    def write(self, root: Path, names: str = "abcdef") -> Path:
        for name in names:
            save(root / f"images/{name}.png", grey(ord(name)))
            save(root / f"masks/{name}.png", ids(0, 1))
        return root

    def test_lists_in_any_spelling(self, tmp_path: Path) -> None:
        root = self.write(tmp_path)
        (root / "train.txt").write_text("# mine\nimages/a.png\n/home/me/images/b.jpg masks/b.png\n\nc\n")
        (root / "val.txt").write_text("d.png\nimages\\e\n")
        (root / "test.txt").write_text("f\n")
        assert open_dataset(root).splits == {
            "train": ("images/a", "images/b", "images/c"),
            "val": ("images/d", "images/e"),
            "test": ("images/f",),
        }

    def test_folders(self, tmp_path: Path) -> None:
        for split, name in (("train", "a"), ("train", "b"), ("valid", "a"), ("test", "c")):
            save(tmp_path / f"{split}/images/{name}.png", grey(1))
            save(tmp_path / f"{split}/masks/{name}.png", ids(0, 1))
        splits = open_dataset(tmp_path).splits
        assert splits == {
            "train": ("train/images/a", "train/images/b"),
            "val": ("valid/images/a",),
            "test": ("test/images/c",),
        }

    def test_val_is_made_out_of_train(self, tmp_path: Path) -> None:
        root = self.write(tmp_path)
        (root / "test.txt").write_text("a\n")
        (root / "train.txt").write_text("b\nc\nd\ne\nf\n")
        dataset = open_dataset(root)
        assert dataset.splits["test"] == ("images/a",)
        assert len(dataset.splits["val"]) == 1
        assert len(dataset.splits["train"]) == 4

    def test_train_is_the_rest(self, tmp_path: Path) -> None:
        root = self.write(tmp_path)
        (root / "val.txt").write_text("a\nb\n")
        assert open_dataset(root).splits["train"] == tuple(f"images/{name}" for name in "cdef")

    def test_a_picture_in_two_lists_is_refused(self, tmp_path: Path) -> None:
        root = self.write(tmp_path)
        (root / "train.txt").write_text("a\nb\n")
        (root / "val.txt").write_text("b\nc\n")
        with pytest.raises(UserError, match="images/b in train and val"):
            open_dataset(root)

    def test_entries_without_a_picture_are_said(self, tmp_path: Path) -> None:
        root = self.write(tmp_path)
        (root / "train.txt").write_text("a\ngone\n")
        (root / "val.txt").write_text("b\n")
        assert any("train.txt: gone" in note for note in open_dataset(root).notes)


class TestRefusals:
    @pytest.mark.parametrize(
        ("files", "sentence"),
        [
            ([], "the folder is empty"),
            (["notes.txt"], "no pictures found"),
            (["images/a.png", "images/b.png"], "2 pictures found but no masks.*masks, labels, annotations"),
            (["images/a.png", "masks/a.png"], "only one picture has a mask"),
        ],
    )
    def test_useless_folders(self, files: list[str], sentence: str, tmp_path: Path) -> None:
        for file in files:
            if file.endswith(".png"):
                save(tmp_path / file, 1)
            else:
                (tmp_path / file).write_text("x")
        with pytest.raises(UserError, match=sentence):
            open_dataset(tmp_path)

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such folder"):
            open_dataset(tmp_path / "missing")
        (tmp_path / "file.png").write_bytes(b"x")
        with pytest.raises(UserError, match="a file, but a dataset is a folder"):
            open_dataset(tmp_path / "file.png")

    def test_unknown_layout(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="did you mean 'camvid'"):
            open_dataset(tmp_path, "camvids")

    def test_wrong_layout(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="not in the layout 'camvid'"):
            open_dataset(tmp_path, "camvid")

    @pytest.mark.parametrize(
        ("content", "sentence"), [("", "0 class names"), ("a\na\n", "'a' occurs twice"), (b"\xff\xfea", "UTF-8")]
    )
    def test_class_files(self, content: str | bytes, sentence: str, tmp_path: Path) -> None:
        (tmp_path / "classes.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UserError, match=sentence):
            read_classes(tmp_path)


class TestCamvid:
    def write(self, root: Path, *, stale: str = "", suffix: str = ".png") -> Path:
        for split, names in (("train", "ab"), ("val", "c")):
            for name in names:
                save(root / f"{split}/{name}.jpg", grey(1))
                save(root / f"{split}annot/{name}.png", ids(0, 10, 11))
            lines = [f"{stale}{split}/{name}{suffix} {stale}{split}annot/{name}.png\n" for name in names]
            (root / f"{split}.txt").write_text("".join(lines))
        return root

    @pytest.mark.parametrize("stale", ["", "/SegNet/CamVid/"])
    def test_stale_prefix_and_suffix(self, stale: str, tmp_path: Path) -> None:
        dataset = open_dataset(self.write(tmp_path, stale=stale))
        assert dataset.layout == "camvid"
        assert dataset.splits == {"train": ("train/a", "train/b"), "val": ("val/c",)}
        assert len(dataset.class_names) == 11
        assert set(np.unique(dataset.load(dataset.records[0]).mask)) == {0, 10, 255}

    def test_without_lists(self, tmp_path: Path) -> None:
        root = self.write(tmp_path)
        (root / "train.txt").unlink()
        (root / "val.txt").unlink()
        assert open_dataset(root).splits == {"train": ("train/a", "train/b"), "val": ("val/c",)}

    def test_given_names_and_void_as_a_twelfth(self, tmp_path: Path) -> None:
        root = self.write(tmp_path)
        (root / "classes.txt").write_text("\n".join([*"abcdefghijk", "Unlabelled"]))
        dataset = open_dataset(root)
        assert dataset.class_names == tuple("abcdefghijk")
        assert dataset.coding.mapping == {11: 255}

    def test_unlisted_pictures_are_said(self, tmp_path: Path) -> None:
        root = self.write(tmp_path)
        save(root / "train/spare.jpg", grey(3))
        assert any("train/spare.jpg" in note for note in open_dataset(root).notes)


class TestObjects:
    def write(self, root: Path) -> Path:
        for name in ("id1", "id2", "id3"):
            save(root / f"stage1_train/{name}/images/{name}.png", np.full((4, 6, 4), 200))
            first, second = np.zeros((4, 6)), np.zeros((4, 6))
            first[:2, :2], second[2:, 3:] = 255, 255
            save(root / f"stage1_train/{name}/masks/aaa.png", first)
            save(root / f"stage1_train/{name}/masks/bbb.png", second)
        for name in ("m1", "m2"):
            save(root / f"images/{name}.png", grey(10))
            save(root / f"labels/{name}.png", ids(0, 5, 900), np.uint16)
        return root

    def test_files_of_objects_and_label_maps_together(self, tmp_path: Path) -> None:
        dataset = open_dataset(self.write(tmp_path))
        assert dataset.layout == "nuclei"
        assert dataset.class_names == ("background", "nucleus")
        assert dataset.form == PictureFormat(3, "uint8")
        by_name = {record.name: dataset.load(record) for record in dataset.records}
        assert len(by_name) == 5
        one = by_name["stage1_train/id1/images/id1"]
        assert one.instances is not None
        np.testing.assert_array_equal(one.instances.boxes, [[0, 0, 2, 2], [3, 2, 6, 4]])
        assert int(one.mask.sum()) == 4 + 6
        two = by_name["images/m1"]
        assert two.instances is not None
        np.testing.assert_array_equal(two.instances.ids > 0, two.mask > 0)
        assert len(two.instances) == 2
        for record in dataset.records:
            np.testing.assert_array_equal(dataset.load_mask(record), by_name[record.name].mask)

    def test_a_lone_object_reads_alike_either_way(self, tmp_path: Path) -> None:
        save(tmp_path / "one.png", ids(0, 255, 0))
        save(tmp_path / "nothing.png", 0)
        coding = MaskCoding(kind="objects")
        alone = Record("one", tmp_path / "x.png", (tmp_path / "one.png",))
        both = Record("both", tmp_path / "x.png", (tmp_path / "one.png", tmp_path / "nothing.png"))
        np.testing.assert_array_equal(coding.decode(alone, 4, 6)[0], coding.decode(both, 4, 6)[0])
        assert len(coding.decode(alone, 4, 6)[1]) == len(coding.decode(both, 4, 6)[1]) == 1

    def test_one_picture_a_split_is_no_folder_of_objects(self, tmp_path: Path) -> None:
        for split in ("train", "val"):
            save(tmp_path / f"{split}/images/x.png", grey(1))
            save(tmp_path / f"{split}/masks/x.png", ids(0, 1))
        assert open_dataset(tmp_path).layout == "folder"

    def test_16_bits_number_objects(self, tmp_path: Path) -> None:
        for name in "abc":
            save(tmp_path / f"images/{name}.png", grey(1))
            save(tmp_path / f"labels/{name}.png", np.sort(ids(0, 1, 300), axis=None).reshape(4, 6), np.uint16)
        dataset = open_dataset(tmp_path)
        assert dataset.layout == "labelmap"
        assert dataset.class_names == ("background", "object")
        assert any("label maps" in note for note in dataset.notes)
        assert len(dataset.load(dataset.records[0]).instances) == 2

    def test_few_objects_in_8_bits_are_read_as_such_on_request(self, tmp_path: Path) -> None:
        for name in "abc":
            save(tmp_path / f"images/{name}.png", grey(1))
            save(tmp_path / f"labels/{name}.png", ids(0, 1, 2))
        assert open_dataset(tmp_path).layout == "folder"
        dataset = open_dataset(tmp_path, "labelmap")
        assert len(dataset.load(dataset.records[0]).instances) == 2

    def test_16_bits_with_named_classes_are_ids(self, tmp_path: Path) -> None:
        for name in "abc":
            save(tmp_path / f"images/{name}.png", grey(1))
            save(tmp_path / f"labels/{name}.png", ids(0, 1, 2), np.uint16)
        (tmp_path / "classes.txt").write_text("x\ny\nz\n")
        dataset = open_dataset(tmp_path)
        assert dataset.layout == "folder"
        assert set(np.unique(dataset.load(dataset.records[0]).mask)) == {0, 1, 2}

    def test_many_ids_without_gaps_are_objects_in_8_bits(self, tmp_path: Path) -> None:
        many = np.kron(np.arange(64).reshape(8, 8), np.ones((3, 3)))
        for name in "abc":
            save(tmp_path / f"images/{name}.png", np.zeros((24, 24, 3)))
            save(tmp_path / f"masks/{name}.png", many)
        assert open_dataset(tmp_path).layout == "labelmap"
        (tmp_path / "classes.txt").write_text("\n".join(f"c{index}" for index in range(64)))
        assert open_dataset(tmp_path).layout == "folder"


def test_form_is_that_of_most_pictures(tmp_path: Path) -> None:
    for name in "abcde":
        save(tmp_path / f"masks/{name}.png", ids(0, 1))
    for name in "abc":
        (tmp_path / "images").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / f"images/{name}.tif", np.zeros((4, 6), np.uint16))
    for name in "de":
        save(tmp_path / f"images/{name}.png", grey(1))
    dataset = open_dataset(tmp_path)
    assert dataset.form == PictureFormat(1, "uint16")
    for record in dataset.records:
        assert dataset.load(record).image.shape == (4, 6, 1)


def test_multi_channel_pictures(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "images").mkdir(exist_ok=True)
        pages = np.arange(7 * 4 * 6, dtype=np.float32).reshape(7, 4, 6)
        tifffile.imwrite(tmp_path / f"images/{name}.tif", pages, photometric="minisblack")
        save(tmp_path / f"masks/{name}.png", ids(0, 1))
    dataset = open_dataset(tmp_path)
    assert dataset.form == PictureFormat(7, "float32")
    assert dataset.load(dataset.records[0]).image.shape == (4, 6, 7)


def test_an_entry_means_the_record_whose_path_it_ends_in() -> None:
    names = Names(["train/images/a", "val/images/a", "images/b.v2"])
    assert names.find("val/images/a.png").names == ("val/images/a",)
    assert names.find("somewhere/val/images/a").names == ("val/images/a",)
    assert names.find("a") == Found((), ("train/images/a", "val/images/a"))
    assert names.find("a", split="val").names == ("val/images/a",)
    assert names.find("a", beside="train").names == ("train/images/a",)
    assert names.find("b.v2").names == ("images/b.v2",)
    assert names.find("b.v2.jpg").names == ("images/b.v2",)
    assert Names(["c.jpg", "c.png"]).find("c").names == ("c.jpg", "c.png")
    assert Names(["c.jpg", "c.png"]).find("c.png").names == ("c.png",)


def test_a_folder_that_exists_is_never_dropped() -> None:
    names = Names(["images/a/1", "images/a/2", "images/b/1"])
    assert names.find("b/2.jpg") == Found()
    assert names.find("/old/disk/a/2.jpg").names == ("images/a/2",)
    assert names.find("elsewhere/2.jpg") == Found()  # a picture of a folder that is missing as a whole
    assert Names(["images/x", "images/y"]).find("elsewhere/x.jpg").names == ("images/x",)


def test_folders_of_role_and_split_tell_no_pictures_apart() -> None:
    names = Names(["images/train/x", "images/val/x", "images/val/y"])
    assert names.find("images/y").names == ("images/val/y",)
    assert names.find("images/x") == Found((), ("images/train/x", "images/val/x"))
    assert names.find("val/x.png").names == ("images/val/x",)
    assert names.find("train/y.png") == Found()


def test_one_name_in_several_spellings() -> None:
    names = Names(["images/mu\u0308ll 1"])
    for entry in ("mu\u0308ll 1.png", "m\u00fcll 1.png", "images\\m\u00fcll%201.png", "./images/m%C3%BCll%201"):
        assert names.find(entry).names == ("images/mu\u0308ll 1",), entry
    assert Names(["a%20b", "a b"]).find("a%20b.png").names == ("a%20b",)


def test_folder_words_keep_other_folders() -> None:
    assert parse_path(PurePosixPath("my images 7/x.png")).role == ""
    assert parse_path(PurePosixPath("train/trainannot/x.png")).split == "train"


def test_every_layout_has_both_functions() -> None:
    for module in LAYOUTS.values():
        assert callable(module.detect)
        assert callable(module.survey)


@pytest.mark.parametrize(
    ("name", "layout", "records", "splits"),
    [
        ("camvid", "camvid", 468, {"train": 367, "val": 101}),
        ("nuclei", "nuclei", 300, {"train": 240, "val": 60}),
        ("membrane", "folder", 30, {"train": 24, "val": 6}),
    ],
)
def test_real_data(name: str, layout: str, records: int, splits: dict[str, int]) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is missing")
    dataset = open_dataset(SHARED / name)
    assert (dataset.layout, len(dataset.records)) == (layout, records)
    assert {split: len(names) for split, names in dataset.splits.items()} == splits
    for record in dataset.records[:: max(records // 10, 1)]:
        sample = dataset.load(record)
        assert sample.mask is not None
        assert sample.mask.shape == sample.image.shape[:2]


def test_hidden_files_are_skipped_and_said(tmp_path: Path) -> None:
    for name in "abc":
        save(tmp_path / f"images/{name}.png", grey(1))
        save(tmp_path / f"masks/{name}.png", ids(0, 1))
    for hidden in ("images/._a.png", "images/@eaDir/a.png", "__MACOSX/images/a.png", ".thumbnails/a.png"):
        save(tmp_path / hidden, grey(1))
    assert [str(file) for file in picture_files(tmp_path / "images")] == ["a.png", "b.png", "c.png"]
    said = [finding for finding in examine(tmp_path).findings if finding.code == "not-read"]
    assert len(said[0].files) == 4


@pytest.mark.parametrize(("split", "refused"), [("train", True), ("val", True), ("test", False)])
def test_a_list_of_other_data(split: str, refused: bool, tmp_path: Path) -> None:
    """Held-out pictures are often kept back, so a list of them alone is no mistake."""
    for name in "abcd":
        save(tmp_path / f"images/{name}.png", grey(1))
        save(tmp_path / f"masks/{name}.png", ids(0, 1))
    (tmp_path / f"{split}.txt").write_text("x\ny\n")
    assert examine(tmp_path).ok != refused
    assert "list-entry-missing" in {finding.code for finding in examine(tmp_path).findings}
    if refused:
        with pytest.raises(UserError, match=f"{split}.txt: none of its 2 entries"):
            open_dataset(tmp_path)
    else:
        assert set(open_dataset(tmp_path).splits) == {"train", "val"}
