"""Which picture an annotation file means: its own, never a namesake in another folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from annotation_files import HEIGHT, SQUARE, WIDTH, dump, findings, labelme_file, pictures, shape, table

from pixelwise.data.formats import open_dataset
from pixelwise.data.names import Finder, Found
from pixelwise.data.record import Record
from pixelwise.errors import UserError


def finder(root: Path, *names: str) -> Finder:
    return Finder(root, [Record(name, root / f"{name}.png") for name in names])


class TestFilesOfManyPictures:
    @pytest.mark.parametrize(("file", "split"), [("b/x.json", ""), ("val.json", "val"), ("labels/val.json", "val")])
    def test_a_bare_name_that_is_gone_means_no_namesake(self, tmp_path: Path, file: str, split: str) -> None:
        own = "b" if not split else "val"
        found = finder(tmp_path, "a/1", "a/2", f"{own}/1", f"{own}/3").all_of(
            tmp_path / file, ["1.png", "2.png", "3.png"], split
        )
        assert [found[entry].names for entry in found] == [(f"{own}/1",), (), (f"{own}/3",)]

    def test_names_that_do_not_repeat_are_found_anywhere(self, tmp_path: Path) -> None:
        found = finder(tmp_path, "a/1", "a/2", "b/3").all_of(tmp_path / "b/x.json", ["1.png", "2.png", "3.png"])
        assert [found[entry].names for entry in found] == [("a/1",), ("a/2",), ("b/3",)]

    def test_a_path_is_found_anywhere(self, tmp_path: Path) -> None:
        found = finder(tmp_path, "a/1", "b/1", "a/2").all_of(tmp_path / "b/x.json", ["1.png", "a/2.png"])
        assert [found[entry].names for entry in found] == [("b/1",), ("a/2",)]

    def test_a_name_among_ambiguous_ones_is_no_better(self, tmp_path: Path) -> None:
        """The file is about b, says so nowhere, and b/2 is gone."""
        names = [f"{folder}/{number}" for folder in "ab" for number in range(1, 5) if (folder, number) != ("b", 2)]
        found = finder(tmp_path, *names).all_of(tmp_path / "x.json", [f"{number}.png" for number in range(1, 5)])
        assert found["2.png"] == Found((), ("a/2",))

    def test_an_ambiguous_name_stays_ambiguous(self, tmp_path: Path) -> None:
        found = finder(tmp_path, "a/1", "b/1", "a/2").all_of(tmp_path / "x.json", ["1.png", "2.png"])
        assert found["1.png"] == Found((), ("a/1", "b/1"))

    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            ("img_1.jpg", ("A/IMG_1",)),
            ("a/img_1.jpg", ("A/IMG_1",)),
            ("b/img_1.jpg", ()),
            ("b/x", ("b/x",)),
            ("B/X.PNG", ("b/X",)),
            ("https://server/data/a/img_1.jpg?signature=1", ("A/IMG_1",)),
            ("/data/local-files/?d=b%5Cx.png", ("b/x",)),
            ("b/x.json", ("b/x",)),
        ],
    )
    def test_capitals_addresses_and_label_files(self, tmp_path: Path, entry: str, expected: tuple[str, ...]) -> None:
        records = ("A/IMG_1", "b/x", "c/y") if "X" not in entry else ("A/IMG_1", "b/X", "c/y")
        assert finder(tmp_path, *records).all_of(tmp_path / "x.json", [entry])[entry].names == expected

    def test_names_that_differ_in_capitals_alone_are_ambiguous_to_a_third(self, tmp_path: Path) -> None:
        found = finder(tmp_path, "a/xy", "a/XY").all_of(tmp_path / "x.json", ["a/xy.png", "a/Xy.png"])
        assert found == {"a/xy.png": Found(("a/xy",)), "a/Xy.png": Found((), ("a/XY", "a/xy"))}

    def test_a_bare_name_in_other_capitals_that_is_gone_means_no_namesake(self, tmp_path: Path) -> None:
        names = finder(tmp_path, "a/IMG_1", "a/IMG_2", "b/IMG_1")
        found = names.all_of(tmp_path / "b/x.json", ["img_1.png", "img_2.png"])
        assert [found[entry].names for entry in found] == [("b/IMG_1",), ()]

    @pytest.mark.parametrize("file", ["b/annotations/x.json", "labels/b.json", "b/x.json"])
    def test_a_bare_name_means_the_picture_at_the_home_of_the_file(self, tmp_path: Path, file: str) -> None:
        found = finder(tmp_path, *(f"{folder}/images/{n}" for folder, n in ("a1", "a2", "a3", "b1", "b3"))).all_of(
            tmp_path / file, ["1.png", "2.png", "3.png"]
        )
        assert [found[entry].names for entry in found] == [("b/images/1",), (), ("b/images/3",)]

    def test_names_that_may_all_mean_several_are_told(self, tmp_path: Path) -> None:
        for folder in "ab":
            pictures(tmp_path, "1", "2", folder=folder)
        dump(tmp_path / "x.json", coco("1.png", "2.png"))
        with pytest.raises(UserError, match=r"may mean several pictures, such as 1\.png \(a/1 or b/1\)"):
            open_dataset(tmp_path)


class TestFilesOfOnePicture:
    def test_of_several_names_that_differ_in_their_suffix_the_stated_one_is_meant(self, tmp_path: Path) -> None:
        pictures(tmp_path, "1", "2", "3")
        (tmp_path / "images/1.jpg").write_bytes((tmp_path / "images/2.png").read_bytes())
        for name in "123":
            square = shape("car", "rectangle", (1, 1), (5, 4))
            dump(tmp_path / f"images/{name}.json", labelme_file(square, picture=f"{name}.png"))
        dataset = open_dataset(tmp_path)
        assert [record.name for record in dataset.records if not record.labels] == ["images/1.jpg"]
        assert "guess" not in findings(tmp_path)
        assert "same-name" not in findings(tmp_path)

    @pytest.mark.parametrize(
        ("file", "path", "expected"),
        [
            ("json/1.json", "..\\images\\1.jpg", ("images/1",)),
            ("json/1.json", "../images/b/1.jpg", ("images/b/1",)),
            ("json/x.json", "C:\\data\\images\\b\\1.jpg", ("images/b/1",)),
            ("json/x.json", "/old/images/b/1.jpg", ("images/b/1",)),
            ("json/b/2.json", "2.png", ()),  # b/2 is gone, and a/2 is its namesake
            ("images/b/2.json", "2.png", ()),
            ("json/b/3.json", "3.png", ("images/b/3",)),
            ("json/x.json", "3.png", ("images/b/3",)),
            ("x.json", "3.png", ("images/b/3",)),
            ("images/b/json/x.json", "1.png", ("images/b/1",)),
            ("images/b/json/x.json", "2.png", ()),
        ],
    )
    def test_the_path_starts_at_the_file(self, tmp_path: Path, file: str, path: str, expected: tuple[str, ...]) -> None:
        found = finder(tmp_path, "images/1", "images/a/1", "images/a/2", "images/b/1", "images/b/3")
        assert found.find(tmp_path / file, path).names == expected


def coco(*files: str) -> dict[str, Any]:
    images = [{"id": n, "file_name": file, "height": HEIGHT, "width": WIDTH} for n, file in enumerate(files)]
    annotations = [{"id": n, "image_id": n, "category_id": 1, "segmentation": SQUARE} for n in range(len(files))]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}


@pytest.mark.parametrize("layout", ["coco", "labelme", "rle_csv"])
def test_labels_of_a_lost_picture_are_named_and_go_nowhere(tmp_path: Path, layout: str) -> None:
    """In each folder a file for its own pictures, by bare names; b/2 is lost."""
    pictures(tmp_path, "1", "2", "3", folder="a")
    pictures(tmp_path, "1", "3", folder="b")
    for folder, names in (("a", "13"), ("b", "123")):
        if layout == "coco":
            dump(tmp_path / folder / "x.json", coco(*(f"{name}.png" for name in names)))
        elif layout == "rle_csv":
            table(tmp_path / folder, "id,rle", *(f"{name}.png,1 2" for name in names), name="x.csv")
        else:
            for name in names:
                square = shape("car", "rectangle", (1, 1), (3, 3))
                dump(tmp_path / folder / f"{name}.json", labelme_file(square, picture=f"{name}.png"))
    dataset = open_dataset(tmp_path)
    assert dataset.layout == layout
    assert {record.name for record in dataset.records if record.labels} == {"a/1", "a/3", "b/1", "b/3"}
    (named,) = findings(tmp_path)["list-entry-missing"].files
    assert named.startswith("b/")
    assert named.endswith(": 2.png")
