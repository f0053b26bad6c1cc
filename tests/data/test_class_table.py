"""Class names and colours out of the files in which people keep them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from people_files import mask, picture, save

from pixelwise.data.class_table import ClassTable, class_table, read_classes
from pixelwise.data.doctor import examine, fix
from pixelwise.data.formats import open_dataset
from pixelwise.data.pictures import read_ids
from pixelwise.errors import UserError

NAMES = ("background", "cat", "dog")
SPELLINGS = {
    "plain": ("classes.txt", "background\ncat\ndog\n"),
    "blank lines, comments, CRLF": ("classes.txt", "# animals\r\nbackground\r\n\r\ncat  \r\ndog\r\n"),
    "ids": ("classes.txt", "0 background\n1 cat\n2 dog\n"),
    "ids out of order": ("classes.txt", "2: dog\n0: background\n1: cat\n"),
    "ids from 1": ("classes.txt", "1,cat\n2,dog\n"),
    "one line": ("classes.txt", "background,cat,dog\n"),
    "one line of semicolons": ("classes.txt", "background; cat; dog"),
    "labelme": ("class_names.txt", "__ignore__\nbackground\ncat\ndog\n"),
    "labelme's other": ("labels.txt", "__ignore__\nbackground\ncat\ndog\n"),
    "cvat": ("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:255,0,0::\ndog:0,255,0::\n"),
    "roboflow": ("train/_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n2, dog\n"),
    "table of colours": ("class_dict.csv", "name,r,g,b\nbackground,0,0,0\ncat,255,0,0\ndog,0,255,0\n"),
    "colours first": ("label_colors.txt", "0 0 0\tbackground\n255 0 0\tcat\n0 255 0\tdog\n"),
    "ids after names": ("classes.txt", "background: 0\ncat: 1\ndog: 2\n"),
    "ids from 1 after names": ("classes.txt", "cat 1\ndog 2\n"),
    "dashes": ("classes.txt", "0 - background\n1 - cat\n2 - dog\n"),
    "quotation marks": ("classes.txt", '"background"\n"cat"\n"dog"\n'),
    "a list": ("classes.txt", "['background', 'cat', 'dog']"),
    "one line of blanks": ("classes.txt", "background cat dog\n"),
    "YAML": ("classes.txt", "names:\n  0: background\n  1: cat\n  2: dog\n"),
    "a table": ("classes.txt", "id,name\n0,background\n1,cat\n2,dog\n"),
    "a table, names first": ("Classes.txt", "Name;ID\nbackground;0\ncat;1\ndog;2\n"),
    "a table of names": ("classes.csv", "name\nbackground\ncat\ndog\n"),
    "colours in hexadecimal": ("classes.txt", "background #000000\ncat #ff0000\ndog #00ff00\n"),
    "shades": ("classes.txt", "dog 255\nbackground 0\ncat 127\n"),
    "a name of 255": ("classes.txt", "0 background\n1 cat\n2 dog\n255 void\n"),
    "ADE20K": ("objectInfo150.txt", "Idx\tRatio\tName\n1\t0.5\tcat\n2\t0.1\tdog\n"),
    "JSON": ("classes.json", '["background", "cat", "dog"]'),
    "JSON of entries": ("classes.json", '{"classes": [{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}]}'),
    "in the one folder": ("DATA/classes.txt", "background\ncat\ndog\n"),
    "nnU-Net": ("dataset.json", '{"labels": {"background": 0, "cat": 1, "dog": 2}}'),
    "nnU-Net of old": ("dataset.json", '{"labels": {"0": "background", "1": "cat", "2": "dog"}}'),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_one_table_in_many_spellings(spelling: tuple[str, str], encoding: str, tmp_path: Path) -> None:
    file = tmp_path / spelling[0]
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(spelling[1].encode(encoding))
    assert read_classes(tmp_path) == NAMES


def test_gaps_between_ids_are_filled(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("0 road\n3 car\n")
    assert read_classes(tmp_path) == ("road", "class 1", "class 2", "car")


def test_digits_are_names(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    assert read_classes(tmp_path) == tuple("0123456789")


@pytest.mark.parametrize(
    "names",
    [
        ("background", "1 cat", "2 dogs"),
        ("level 0", "level 1", "level 2"),
        ("Boeing 737", "Airbus 320"),
        ("black cat", "big dog"),
        ("3-door car", "5-door car"),
        ("yes", "no"),
    ],
)
def test_names_with_numbers_and_blanks_stay_whole(names: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(names))
    assert read_classes(tmp_path) == names


def test_the_name_of_255_is_said_to_be_void(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("0 sea\n1 land\n255 clouds\n")
    table = class_table(tmp_path)
    assert table.names == ("sea", "land")
    assert any("clouds" in guess for guess in table.guesses)


def test_what_fills_the_ids_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("1 cat\n3 dog\n")
    assert class_table(tmp_path).names == ("background", "cat", "class 2", "dog")
    assert class_table(tmp_path).listed == ("cat", "dog")


@pytest.mark.parametrize("content", ["a.png\nb.png\n", "images/a\nimages/b\n"])
def test_a_list_of_pictures_names_no_classes(content: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(content)
    assert class_table(tmp_path) == ClassTable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\na\n", "'a' occurs twice"),
        (b"\n", "0 class names found"),
        (b"\xe4\n", "not UTF-8"),
        (b"names: {0: a", "cannot be read as one"),
        (b"".join(b"c%d\n" % number for number in range(300)), "300 class names"),
    ],
)
def test_a_table_that_makes_no_sense(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        class_table(tmp_path)


class TestColours:
    def test_names_and_colours_come_from_the_same_lines(self, tmp_path: Path) -> None:
        (tmp_path / "classes.txt").write_text("background\nroad 128 64 128\nlane 128 64 128\ncar 0 0 142\n")
        table = class_table(tmp_path)
        assert table.names == ("background", "road", "lane", "car")
        assert table.colours == {(0, 0, 0): 0, (128, 64, 128): 1, (0, 0, 142): 3}
        assert any("road and lane have the same colour" in guess for guess in table.guesses)
        assert any("black is read as background" in guess for guess in table.guesses)

    def test_a_number_is_a_name_even_if_its_colour_has_the_same_number(self, tmp_path: Path) -> None:
        (tmp_path / "colors.txt").write_text("0 230 159 0\n86 86 180 233\n")
        table = class_table(tmp_path)
        assert table.names == ("0", "86")
        assert table.colours == {(230, 159, 0): 0, (86, 180, 233): 1}

    def test_a_file_of_colours_adds_to_the_names(self, tmp_path: Path) -> None:
        (tmp_path / "classes.txt").write_text("background\nroad\ncar\n")
        (tmp_path / "colors.txt").write_text("car 0 0 142\nroad 128 64 128\nbackground 0 0 0\n")
        assert class_table(tmp_path).colours == {(0, 0, 0): 0, (128, 64, 128): 1, (0, 0, 142): 2}

    @pytest.mark.parametrize("alpha", [False, True])
    @pytest.mark.parametrize("folders", [("images", "masks"), ("JPEGImages", "SegmentationClass")])
    def test_masks_in_the_colours_of_the_table_are_read(
        self, folders: tuple[str, str], alpha: bool, tmp_path: Path
    ) -> None:
        root = tmp_path / "data"
        colours = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 142]], np.uint8)
        for number in range(4):
            ids = mask(number) + mask(0, corner=(5, 5))
            drawn = colours[ids]
            opaque = np.full((*ids.shape, 1), 255, np.uint8)
            save(root / folders[0] / f"p{number}.png", picture(number))
            save(root / folders[1] / f"p{number}.png", np.concatenate([drawn, opaque], 2) if alpha else drawn)
        (root / "classes.txt").write_text("background\nroad 128 64 128\nlane 128 64 128\ncar 0 0 142\n")
        dataset = open_dataset(root)
        found = dataset.load(dataset.records[2]).mask
        np.testing.assert_array_equal(found, np.array([0, 1, 3])[mask(2) + mask(0, corner=(5, 5))])
        fix(root, tmp_path / "fixed")
        np.testing.assert_array_equal(read_ids(tmp_path / "fixed/masks/p2.png"), found)
        assert examine(root).ok


def write_coloured(root: Path, kinds: int, each: int, stray: tuple[int, int, int] | None = None) -> Path:
    """Pictures `k0_000` with coloured masks, a colour per kind, and the table of these colours."""
    colours = [(200, 50 * kind, 10) for kind in range(kinds)]
    (root / "images").mkdir(parents=True)
    (root / "classes.txt").write_text(
        "sea 0 0 0\n" + "".join(f"kind{kind} {r} {g} {b}\n" for kind, (r, g, b) in enumerate(colours))
    )
    for kind, colour in enumerate(colours):
        for number in range(each):
            drawn = (mask(number)[:, :, None] * np.array(colour)).astype(np.uint8)
            if stray:
                drawn[-3:] = stray
            save(root / f"images/k{kind}_{number:03d}.png", picture(10 * kind + number))
            save(root / f"masks/k{kind}_{number:03d}.png", drawn)
    return root


@pytest.mark.parametrize("kinds", [2, 5])
def test_a_split_holds_every_colour_on_both_sides(kinds: int, tmp_path: Path) -> None:
    dataset = open_dataset(write_coloured(tmp_path, kinds, 5))
    for split in ("train", "val"):
        assert {int(dataset.load(record).mask.max()) for record in dataset.split(split)} == set(range(1, kinds + 1))


def test_colours_that_the_table_lacks_are_named(tmp_path: Path) -> None:
    findings = examine(write_coloured(tmp_path, 2, 3, stray=(1, 2, 3))).findings
    assert any("colours of no class (rgb(1, 2, 3))" in f.sentence for f in findings if f.code == "mask-rgb")
