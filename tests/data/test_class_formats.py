"""Pictures sorted into classes: folders, and MNIST's files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from people_files import mask, picture, save, write_pairs, write_sorted
from sorted_pictures import idx_bytes, write_digits

from pixelwise.data.doctor import examine, fix
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.convert import convert
from pixelwise.data.pictures import write_png
from pixelwise.data.stock import fingerprint
from pixelwise.errors import UserError


def write_idx(root: Path, images: np.ndarray, labels: np.ndarray, part: str = "train", suffix: str = ".gz") -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = idx_bytes(array)
        (root / f"{part}-{name}-ubyte{suffix}").write_bytes(gzip.compress(content) if suffix else content)


def test_a_folder_is_a_class(tmp_path: Path) -> None:
    dataset = open_dataset(write_digits(tmp_path))
    assert dataset.layout == "classes"
    assert dataset.knows == {"classes"}
    assert dataset.class_names == ("digit0", "digit1", "digit2")
    for record in dataset.records:
        sample = dataset.load(record)
        assert sample.class_id == int(record.picture.parent.name[-1])
        assert sample.mask is None
        assert sample.image.shape == (*dataset.size(record), 1) == (8, 8, 1)


def test_every_class_is_held_out_in_proportion(tmp_path: Path) -> None:
    dataset = open_dataset(write_digits(tmp_path, classes=3, each=20))
    for split, expected in (("train", 16), ("val", 4)):
        counts = np.bincount([record.class_id for record in dataset.split(split)])
        assert np.abs(counts - expected).max() <= 1


def test_a_validation_folder_without_classes_leaves_every_class_on_both_sides(tmp_path: Path) -> None:
    """As tiny-imagenet has it, where names begin with the class: a class is no group to be held out as a whole."""
    for class_id in range(5):
        for number in range(8):
            name = f"n0{class_id}44_{number}.png"
            write_png(
                tmp_path / "train" / f"n0{class_id}44" / "images" / name,
                np.full((8, 8), 10 * class_id + number, np.uint8),
            )
    for number in range(5):
        write_png(tmp_path / "val" / "images" / f"val_{number}.png", np.full((8, 8), 200 + number, np.uint8))
    dataset = open_dataset(tmp_path)
    for split in ("train", "val"):
        assert {record.class_id for record in dataset.split(split)} == set(range(5))


def test_folders_say_the_split(tmp_path: Path) -> None:
    dataset = open_dataset(write_digits(tmp_path, each=4, splits=("train", "valid", "test")))
    assert {split: len(names) for split, names in dataset.splits.items()} == {"train": 12, "val": 12, "test": 12}
    assert dataset.class_names == ("digit0", "digit1", "digit2")


def test_groups_within_a_class_stay_together(tmp_path: Path) -> None:
    for class_name in ("sick", "well"):
        for patient in range(6):
            for number in range(3):
                write_png(
                    tmp_path / class_name / f"p{class_name}{patient}" / f"{number}.png", np.zeros((8, 8), np.uint8)
                )
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("sick", "well")
    held = {record.picture.parent for record in dataset.split("val")}
    assert not held & {record.picture.parent for record in dataset.split("train")}
    assert {folder.parent.name for folder in held} == {"sick", "well"}


def test_classes_txt_gives_the_order_and_must_know_every_folder(tmp_path: Path) -> None:
    write_digits(tmp_path)
    (tmp_path / "classes.txt").write_text("digit2\ndigit0\ndigit1\nnever\n")
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("digit2", "digit0", "digit1", "never")
    assert {r.class_id for r in dataset.records if r.picture.parent.name == "digit2"} == {0}
    (tmp_path / "classes.txt").write_text("digit2\ndigit0\n")
    with pytest.raises(UserError, match=r"1 folder is no class \(digit1\) of classes.txt"):
        open_dataset(tmp_path)


def test_masks_make_it_another_task(tmp_path: Path) -> None:
    for number in range(4):
        write_png(tmp_path / "a" / f"{number}.png", np.zeros((8, 8), np.uint8))
        write_png(tmp_path / "b" / f"{number}.png", np.zeros((8, 8), np.uint8))
    assert open_dataset(tmp_path).knows == {"classes"}
    mask = np.zeros((8, 8), np.uint8)
    mask[0] = 1
    for number in range(4):
        write_png(tmp_path / "a" / f"{number}_mask.png", mask)
    assert open_dataset(tmp_path).knows == {"pixels"}


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_idx_files(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 6, 5), np.uint8), (np.arange(30) % 3).astype(np.uint8)
    write_idx(tmp_path, images, labels, suffix=suffix)
    write_idx(tmp_path, images[:7, ::-1], labels[:7], "t10k", suffix=suffix)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "idx"
    assert dataset.class_names == ("0", "1", "2")
    assert {split: len(names) for split, names in dataset.splits.items()} == {"train": 24, "val": 6, "test": 7}
    by_name = {record.name: dataset.load(record) for record in dataset.records}
    for place in range(30):
        sample = by_name[f"train/{place:02d}"]
        np.testing.assert_array_equal(sample.image[:, :, 0], images[place])
        assert sample.class_id == labels[place]
    facts = fingerprint(dataset)
    assert facts.height == (6, 6, 6)
    assert facts.width == (5, 5, 5)
    assert sum(facts.class_pixels) == 24


@pytest.mark.parametrize(
    "part", ["emnist-letters-{}", "{}-letters", "letters_{}", "raw/{}", "raw/deep/emnist-letters-{}"]
)
def test_idx_parts_tell_their_split_by_a_word_of_their_name(part: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 8), ("val", 6)):
        file = tmp_path / part.format(split)
        labels = (np.arange(count) % 2 + 1).astype(np.uint8)
        write_idx(file.parent, rng.integers(0, 256, (count, 6, 5), np.uint8), labels, file.name)
    dataset = open_dataset(tmp_path)
    assert {split: len(names) for split, names in dataset.splits.items()} == {"train": 20, "val": 6, "test": 8}
    assert any("no picture has a class below 1" in note for note in dataset.notes)
    assert any("rows and columns exchanged" in note for note in dataset.notes) == ("emnist" in part)


@pytest.mark.parametrize("parts", [("emnist-letters-train", "emnist-digits-train"), ("a/train", "b/train")])
def test_idx_files_of_several_collections_are_not_mixed(parts: tuple[str, str], tmp_path: Path) -> None:
    for part in parts:
        file = tmp_path / part
        write_idx(file.parent, np.zeros((4, 3, 3), np.uint8), np.arange(4, dtype=np.uint8) % 2, file.name)
    with pytest.raises(UserError, match="several collections"):
        open_dataset(tmp_path)


def test_idx_files_that_do_not_fit_are_said(tmp_path: Path) -> None:
    images, labels = np.zeros((4, 3, 3), np.uint8), np.arange(4, dtype=np.uint8)
    write_idx(tmp_path, images, labels[:3])
    with pytest.raises(UserError, match="as many class ids"):
        open_dataset(tmp_path)
    write_idx(tmp_path, images, labels)
    (tmp_path / "classes.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"class id 3 found, but classes.txt names 2"):
        open_dataset(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"no train-labels-idx1-ubyte"):
        open_dataset(tmp_path)


def test_weights_of_classes_follow_how_many_pictures_they_have(tmp_path: Path) -> None:
    write_digits(tmp_path, classes=2, each=20)
    for index in range(5, 20):
        (tmp_path / "digit1" / f"{index:03d}.png").unlink()
    facts = fingerprint(open_dataset(tmp_path))
    assert facts.class_pixels == (16, 4)
    assert facts.present_pixels == (20, 20)
    rare, common = reversed(facts.median_frequency_weights())
    assert rare / common == pytest.approx(4)


def test_the_digest_notices_a_picture_that_changed_its_class(tmp_path: Path) -> None:
    before = fingerprint(open_dataset(write_digits(tmp_path))).digest
    (tmp_path / "digit0" / "000.png").rename(tmp_path / "digit1" / "900.png")
    assert fingerprint(open_dataset(tmp_path)).digest != before


def test_the_doctor_knows_classes(tmp_path: Path) -> None:
    assert examine(write_digits(tmp_path / "good", classes=2, each=30)).findings == ()
    bad = write_digits(tmp_path / "bad", classes=3, each=12, splits=("train", "val"))
    picture = (bad / "train" / "digit0" / "000.png").read_bytes()
    (bad / "train" / "digit1" / "copy.png").write_bytes(picture)
    (bad / "val" / "digit2" / "cut.png").write_bytes(picture[:40])
    for file in (bad / "train" / "digit2").iterdir():
        file.unlink()
    codes = {finding.code for finding in examine(bad).findings}
    assert {"contradiction", "class-absent-from-split"} <= codes
    assert codes & {"truncated", "unreadable"}
    with pytest.raises(UserError, match="sorted into classes"):
        fix(bad, tmp_path / "fixed")


def test_the_doctor_reads_idx(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_idx(tmp_path, rng.integers(0, 256, (40, 6, 5), np.uint8), (np.arange(40) % 2).astype(np.uint8))
    diagnosis = examine(tmp_path)
    assert diagnosis.ok
    assert diagnosis.summary.class_pixels == (20, 20)
    assert diagnosis.summary.height == (6, 6, 6)


def test_there_is_nothing_to_convert(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no masks; conversion is only possible for masks and objects"):
        convert(write_digits(tmp_path / "data"), "voc", tmp_path / "out")


class TestFoldersThatLookLikeSomethingElse:
    @pytest.mark.parametrize(
        "names",
        [
            ["bus", "car", "train"],
            ["mask", "no_mask"],
            ["valid", "invalid"],
            ["photo", "sketch"],
            ["target", "decoy"],
            ["test", "control"],
            ["labels", "blank"],
        ],
    )
    def test_their_neighbours_and_pictures_say_that_they_are_classes(self, names: list[str], tmp_path: Path) -> None:
        dataset = open_dataset(write_sorted(tmp_path, names))
        assert (dataset.layout, dataset.class_names) == ("classes", tuple(sorted(names)))
        assert {r.class_id for r in dataset.split("val")} == set(range(len(names)))

    def test_a_split_without_classes_has_no_labels(self, tmp_path: Path) -> None:
        write_sorted(tmp_path, ["train/ok", "train/nok", "test"])
        dataset = open_dataset(tmp_path)
        assert dataset.class_names == ("nok", "ok")
        assert {record.name.split("/")[0] for record in dataset.records if not record.labelled} == {"test"}

    def test_a_stray_picture_changes_nothing(self, tmp_path: Path) -> None:
        write_sorted(tmp_path, ["ok", "nok"])
        save(tmp_path / "chart.png", picture(99))
        dataset = open_dataset(tmp_path)
        assert dataset.class_names == ("nok", "ok")
        assert any("chart.png" in note for note in dataset.notes)

    def test_a_single_file_called_label_changes_nothing(self, tmp_path: Path) -> None:
        write_sorted(tmp_path, ["ok", "nok"])
        save(tmp_path / "ok/x1a_label.png", picture(99))
        assert open_dataset(tmp_path).layout == "classes"

    def test_folders_of_images_below_the_classes(self, tmp_path: Path) -> None:
        write_sorted(tmp_path, ["train/n01/images", "train/n02/images", "val/images"], name="x_{0}.png")
        dataset = open_dataset(tmp_path)
        assert dataset.class_names == ("n01", "n02")
        assert {record.class_id for record in dataset.split("val")} == {0, 1}

    def test_the_split_named_twice(self, tmp_path: Path) -> None:
        write_sorted(tmp_path, [f"seg_{s}/seg_{s}/{c}" for s in ("train", "test") for c in ("sea", "street")])
        dataset = open_dataset(tmp_path)
        assert dataset.class_names == ("sea", "street")
        assert set(dataset.splits) == {"train", "val", "test"}

    def test_masks_of_the_defective_ones_beside_are_not_passed_over(self, tmp_path: Path) -> None:
        write_sorted(tmp_path, ["train/good"], 8, "{0}.png")
        write_sorted(tmp_path, ["test/good"], 3, "g{0}.png")
        write_pairs(tmp_path, "test/crack/{0}.png", "ground_truth/crack/{0}_mask.png")
        with pytest.raises(UserError, match="all 6 labelled pictures are in `test`"):
            open_dataset(tmp_path)
        masks = [record for record in open_dataset(tmp_path, to_measure=True).records if record.labelled]
        assert len(masks) == 6

    def test_pictures_and_their_masks_are_no_classes(self, tmp_path: Path) -> None:
        write_pairs(tmp_path, "benign/x{0}.png", "benign/x{0}_mask.png")
        write_pairs(tmp_path, "malignant/x{0}.png", "malignant/x{0}_mask.png")
        assert open_dataset(tmp_path).task == "segment"


@pytest.mark.parametrize("name", ["{0}_{{0:04d}}.png", "{0}{{0:02d}}.png", "Tr-{0}_{{0}}.png"])
def test_a_name_that_says_the_class_is_no_group(name: str, tmp_path: Path) -> None:
    kinds = ["Forest", "River", "Highway", "Pasture", "SeaLake"]
    for kind in kinds:
        write_sorted(tmp_path, [kind], name=name.format(kind))
    dataset = open_dataset(tmp_path)
    for split in ("train", "val"):
        assert {record.class_id for record in dataset.split(split)} == set(range(5))
    assert not any("last number" in note for note in dataset.notes)


def test_few_pictures_of_many_classes_are_on_both_sides(tmp_path: Path) -> None:
    dataset = open_dataset(write_sorted(tmp_path, [f"kind{number}" for number in range(12)], count=2))
    for split in ("train", "val"):
        assert {record.class_id for record in dataset.split(split)} == set(range(12))


SPLIT_NAMES = {
    "numbers": ("train2017/{0}/x{1}.png", "val2017/{0}/y{1}.png"),
    "words for masks": ("seg_train/seg_train/{0}/x{1}.png", "seg_test/seg_test/{0}/y{1}.png"),
}


@pytest.mark.parametrize("names", SPLIT_NAMES.values(), ids=SPLIT_NAMES)
def test_splits_with_more_in_their_names_and_other_folders_beside(names: tuple[str, str], tmp_path: Path) -> None:
    for place, name in enumerate(names):
        for class_id, class_name in enumerate(("forest", "sea")):
            for number in range(5):
                save(tmp_path / name.format(class_name, number), picture(100 * place + 10 * class_id + number))
    for number in range(8):
        save(tmp_path / f"to_predict/z{number}.png", picture(300 + number))
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("forest", "sea")
    assert sum(map(len, dataset.splits.values())) == 20
    assert any("to_predict" in note for note in dataset.notes)


def test_names_that_begin_with_words_are_no_classes_but_told(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / f"train/cat.{number}.png", picture(number))
        save(tmp_path / f"train/dog.{number}.png", picture(20 + number))
        save(tmp_path / f"test1/{number}.png", picture(40 + number))
    with pytest.raises(UserError, match="begin with cat, dog: if these are classes"):
        open_dataset(tmp_path)


def test_folders_of_a_few_pictures_may_be_samples(tmp_path: Path) -> None:
    write_sorted(tmp_path, [f"s{number}" for number in range(6)], 3)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "classes"
    assert any("each is a sample" in guess for guess in dataset.guesses)


def test_small_black_and_white_pictures_are_no_masks_of_each_other(tmp_path: Path) -> None:
    for number in range(8):
        save(tmp_path / f"bar/{number}.png", mask(number, 255))
        save(tmp_path / f"two/{number}.png", mask(number, 255) + mask(0, 255, corner=(25, 35)))
    assert open_dataset(tmp_path).class_names == ("bar", "two")


def test_ids_from_1_in_a_list_add_no_class(tmp_path: Path) -> None:
    write_sorted(tmp_path, ["ant", "bee"])
    (tmp_path / "classes.txt").write_text("1 bee\n2 ant\n")
    assert open_dataset(tmp_path).class_names == ("bee", "ant")


@pytest.mark.parametrize(
    ("folder", "held"),
    [("", "valid.txt"), ("meta", "val.txt"), ("lists", "validation.txt"), ("", "val_list.txt"), ("", "list_val.txt")],
)
def test_lists_count_wherever_they_are_kept(folder: str, held: str, tmp_path: Path) -> None:
    write_sorted(tmp_path / "DATA/images", ["ant", "bee"])
    (tmp_path / "DATA" / folder).mkdir(exist_ok=True)
    (tmp_path / "DATA" / folder / held).write_text("ant/x0a\nbee/x3a\n")
    for root in (tmp_path, tmp_path / "DATA"):
        assert [name[-7:] for name in open_dataset(root).splits["val"]] == ["ant/x0a", "bee/x3a"]


def test_two_halves_of_each_split_are_told(tmp_path: Path) -> None:
    root = write_sorted(tmp_path, ["trainA", "trainB", "testA", "testB"])
    assert any("if a and b are parts of one split" in guess for guess in open_dataset(root).guesses)
    assert any("if they hold a split" in guess for guess in open_dataset(root, "classes").guesses)
