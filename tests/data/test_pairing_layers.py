"""Several masks per picture, told apart by what their names or folders add to the picture's name."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from people_files import SIZE, mask, picture, save

from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.pairing_layers import named_layers
from pixelwise.data.path_words import parse_path

PLACES = {"cat": (2, 2), "dog": (2, 35), "eel": (25, 10)}
"""Where the masks of `mask(0)` lie, so that no two of them meet."""
BY_CLASS = {
    "a folder per class": ("images/p{0}.png", "masks/{1}/p{0}.png"),
    "a folder per class, with suffix": ("images/p{0}.png", "masks/{1}/p{0}_mask.png"),
    "a suffix per class": ("images/p{0}.png", "masks/p{0}_{1}.png"),
    "a folder per picture": ("images/p{0}.png", "masks/p{0}/{1}.png"),
    "a folder per picture, names in full": ("images/p{0}.png", "masks/p{0}/p{0}_{1}.png"),
    "zeros before the number": ("faces-img/{0}.png", "faces-mask-anno/0/0000{0}_{1}.png"),
    "words of folders": ("chest_img/p{0}.png", "chest_set/{1}Mask/p{0}.png"),
}


def objects_of(number: int) -> list[str]:
    """The classes of a picture; some have one, some several, and it is not always the first."""
    return [["cat"], ["dog"], ["cat", "dog"], ["eel"], ["dog", "eel"], ["cat", "eel"], ["cat", "dog", "eel"]][
        number % 7
    ]


@pytest.mark.parametrize("names", BY_CLASS.values(), ids=BY_CLASS)
@pytest.mark.parametrize("alone", [False, True], ids=["some with several", "each with one"])
def test_every_mask_is_of_its_class(names: tuple[str, str], alone: bool, tmp_path: Path) -> None:
    shown = {number: objects_of(number)[: 1 if alone else None] for number in range(14)}
    for number, classes in shown.items():
        save(tmp_path / names[0].format(number), picture(number))
        for name in classes:
            save(tmp_path / names[1].format(number, name), mask(0, 255, corner=PLACES[name]))
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("background", "cat", "dog", "eel")
    assert any("cat, dog, eel" in guess for guess in dataset.guesses)
    for record in dataset.records:
        expected = np.zeros(SIZE, np.uint8)
        for name in shown[int("".join(filter(str.isdigit, record.picture.stem)))]:
            expected[mask(0, corner=PLACES[name]) > 0] = dataset.class_names.index(name)
        np.testing.assert_array_equal(dataset.load(record).mask, expected)


@pytest.mark.parametrize(
    "name", ["masks/p{0}/{1}.png", "masks/p{0}/object_{1}.png", "masks/p{0}/{2}.png", "masks/p{0}_{1}.png"]
)
def test_names_of_single_objects_are_no_classes(name: str, tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / f"images/p{number}.png", picture(number))
        for index, corner in enumerate(list(PLACES.values())[: 1 + number % 3]):
            unique = f"{number * 31 + index * 7:x}f{index}e"
            save(tmp_path / name.format(number, index, unique), mask(0, 255, corner=corner))
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("background", "foreground")
    marked = {record.name[-1]: int((dataset.load(record).mask == 1).sum()) for record in dataset.records}
    assert marked == {str(number): 200 * (1 + number % 3) for number in range(6)}


def test_masks_of_ids_in_folders_of_batches_keep_their_ids(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / f"images/p{number}.png", picture(number))
        ids = mask(number, 1) + mask(number, 2, corner=(25, 35))
        save(tmp_path / f"masks/{'early' if number < 3 else 'late'}/p{number}.png", ids)
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("class 0", "class 1", "class 2")
    assert len(dataset.records) == sum(record.labelled for record in dataset.records) == 6


@pytest.mark.parametrize(
    ("added", "classes"),
    [("cat dog cat dog", {"cat", "dog"}), ("1 2 1 2", {""}), ("L L L L", {""}), ("a3 b7 c1 d9", {""})],
)
def test_what_names_no_class(added: str, classes: set[str]) -> None:
    masks = [PurePosixPath(f"{index}.png") for index in range(4)]
    chosen = {PurePosixPath("x"): masks[:2], PurePosixPath("y"): masks[2:]}
    parsed = {picture: [(file, parse_path(file)) for file in found] for picture, found in chosen.items()}
    assert set(named_layers(parsed, dict(zip(masks, added.split(), strict=True))).values()) == classes


def test_a_name_that_says_the_class_is_no_group(tmp_path: Path) -> None:
    classes = ["ant", "bee", "cow", "dog", "eel"]
    for kind, name in enumerate(classes):
        for number in range(5):
            save(tmp_path / f"images/k{kind}_{number:03d}.png", picture(10 * kind + number))
            save(tmp_path / f"masks/{name}/k{kind}_{number:03d}.png", mask(number, 255))
    dataset = open_dataset(tmp_path)
    for split in ("train", "val"):
        shown = {int(dataset.load(record).mask.max()) for record in dataset.split(split)}
        assert {dataset.class_names[class_id] for class_id in shown} == set(classes)
