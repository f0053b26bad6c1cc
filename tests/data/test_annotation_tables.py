"""Tables of run lengths: columns under all their names and marks, cells in all their spellings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotation_files import HEIGHT, WIDTH, area, findings, masks, pictures, table
from PIL import Image

from pixelwise.data import rle
from pixelwise.data.doctor import examine
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.convert import convert
from pixelwise.data.formats.tables import columns_of, is_nothing
from pixelwise.errors import UserError

MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[1:5, 2:7] = True
RUNS = rle.write_pairs(rle.to_pairs(MASK))


class TestColumns:
    @pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            (("id", "rle_mask"), (0, 1, -1)),
            (("ImageId", "EncodedPixels"), (0, 1, -1)),
            (("IMAGE_ID", "CLASS", "RLE"), (0, 2, 1)),
            (('"Image Id"', '"Encoded Pixels"'), (0, 1, -1)),
            ((" file name ", " run-lengths", " Label"), (0, 1, 2)),
            (("", "ImageId", "EncodedPixels"), (1, 2, -1)),  # with the index that pandas writes
            (("id", "image", "rle"), (1, 2, -1)),  # the id is that of the row
            (("image", "ClassId", "class_name", "segmentation"), (0, 3, 2)),
            (("ImageId_ClassId", "EncodedPixels"), (0, 1, -1)),
            (("EncodedPixels", "Image_Label"), (1, 0, -1)),
            (("id", "rle_encoding", "width"), (0, 1, -1)),
            (("image_id", "image_label", "rle"), (0, 2, 1)),
            (("id", "Image_Label", "rle"), (1, 2, -1)),
        ],
    )
    def test_are_found(self, mark: str, header: tuple[str, ...], expected: tuple[int, int, int]) -> None:
        for start in ("", "\ufeff", "\n", f"sep={mark}\n"):
            found = columns_of(start + mark.join(header) + "\n")
            assert found is not None
            assert (found.picture, found.runs, found.label) == expected
            assert found.joined == any(cell in ("ImageId_ClassId", "Image_Label") for cell in header)

    @pytest.mark.parametrize(
        "text", ["", "id,depth\na,3\n", "rle,class\n1 2,x\n", "image,mask\na.png,masks/a.png\n", "a b c\n", "id,mask\n"]
    )
    def test_of_other_tables_are_none(self, text: str) -> None:
        assert columns_of(text) is None

    @pytest.mark.parametrize("name", ["mask", "annotation", "encoding"])
    def test_that_may_hold_something_else_are_judged_by_their_first_cell(self, name: str) -> None:
        assert columns_of(f"id,{name}\na,\nb,1 2 3 4\n") is not None
        assert columns_of(f"id,{name}\na,\nb,masks/b.png\n") is None

    def test_a_quotation_mark_that_is_not_closed_is_a_fault(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c")
        table(tmp_path, "id,rle", "a,1 1", '"b,1 1', "c,1 1")
        with pytest.raises(UserError, match=r"train\.csv, line 3: a quotation mark is not closed"):
            open_dataset(tmp_path)

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("name", ["train.csv", "train.tsv"])
    def test_lines_of_all_systems(self, tmp_path: Path, end: str, name: str) -> None:
        pictures(tmp_path, "a", "b")
        lines = ["ImageId\tEncodedPixels", f"a\t{RUNS}", f"b\t{RUNS}"]
        (tmp_path / name).write_bytes(end.join(lines).encode())
        np.testing.assert_array_equal(masks(open_dataset(tmp_path))["b"] == 1, MASK)

    def test_lines_are_counted_from_the_first(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b")
        (tmp_path / "x.csv").write_text("sep=;\n\nid;rle\na;1 1\nb;1\n")
        with pytest.raises(UserError, match=r"x\.csv, line 5 \(b\.png\)"):
            masks(open_dataset(tmp_path))


class TestCells:
    @pytest.mark.parametrize(
        "cell",
        ["", " ", "nan", "None", "NULL", "-1", "-1.0", "[]", "[ ]", "{}", "'nan'", "N/A", "<NA>", "#N/A", "-", "1 0"],
    )
    def test_nothing_in_all_spellings(self, tmp_path: Path, cell: str) -> None:
        pictures(tmp_path, "a", "b")
        table(tmp_path, "id,rle", f"a,{RUNS}", f"b,{cell}")
        assert area(open_dataset(tmp_path), "b") == {0: HEIGHT * WIDTH}
        assert is_nothing(cell) or cell == "1 0"

    @pytest.mark.parametrize(
        "spell",
        [
            lambda pairs: " ".join(f"{start} {length}" for start, length in pairs),
            lambda pairs: f'"{[number for pair in pairs for number in pair]}"',
            lambda pairs: f'"{[tuple(pair) for pair in pairs]}"',
            lambda pairs: f'"{pairs}"',
            lambda pairs: ",".join(f"{start},{length}" for start, length in pairs),
            lambda pairs: ",".join(f"{start}.0,{length}.0" for start, length in pairs),
            lambda pairs: "  ".join(f"{start}  {length}" for start, length in reversed(pairs)),
        ],
    )
    def test_runs_in_all_spellings(self, tmp_path: Path, spell: object) -> None:
        assert callable(spell)
        pictures(tmp_path, "a", "b")
        table(tmp_path, "id,rle", f"a,{spell(rle.to_pairs(MASK).tolist())}", "b,")
        np.testing.assert_array_equal(masks(open_dataset(tmp_path))["a"] == 1, MASK)

    def test_classes_that_pandas_wrote_as_floats(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c")
        table(tmp_path, "id,class,rle", "a,1.0,1 1", "b,2.0,1 2", "c,nan,nan")
        dataset = open_dataset(tmp_path)
        assert dataset.class_names == ("background", "class 1", "class 2")
        assert [area(dataset, name) for name in "abc"] == [{0: 47, 1: 1}, {0: 46, 2: 2}, {0: 48}]

    @pytest.mark.parametrize("labels", [("1", "2", "3"), ("Fish", "Big_Flower", "Sugar")])
    @pytest.mark.parametrize("suffix", ["", ".png", ".jpg"])
    def test_picture_and_class_in_one_cell(self, tmp_path: Path, labels: tuple[str, ...], suffix: str) -> None:
        names = ("a", "x_1", "x_1_2")
        pictures(tmp_path, *names)
        rows = [
            f"{name}{suffix}_{label},{f'{1 + place} 1' if place != number else ''}"
            for number, name in enumerate(names)
            for place, label in enumerate(labels)
        ]
        table(tmp_path, "Image_Label,EncodedPixels", *rows)
        dataset = open_dataset(tmp_path)
        assert [name.removeprefix("class ") for name in dataset.class_names] == ["background", *sorted(labels)]
        for number, name in enumerate(names):
            expected = np.zeros(HEIGHT * WIDTH, int)
            for place, label in enumerate(labels):
                if place != number:
                    expected[place] = 1 + sorted(labels).index(label)
            np.testing.assert_array_equal(masks(dataset)[name].ravel(order="F"), expected)

    def test_the_class_of_a_lost_picture_goes_to_no_namesake(self, tmp_path: Path) -> None:
        """`x_3` is gone, so that `x_3_1` must not become the class `3_1` of `x`."""
        pictures(tmp_path, "x", "x_1", "x_2")
        names = ("x", "x_1", "x_2", "x_3")
        table(tmp_path, "ImageId_ClassId,rle", *(f"{name}_{label},1 2" for name in names for label in "12"))
        dataset = open_dataset(tmp_path)
        assert dataset.class_names == ("background", "class 1", "class 2")
        assert findings(tmp_path)["list-entry-missing"].files == ("train.csv: x_3",)

    def test_a_quotation_mark_that_swallows_rows_breaks_its_picture(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b", "c", "d")
        table(tmp_path, "id,rle", "a,1 2", "b,1 2", 'c,"1 2', "d,1 2")
        (trouble,) = findings(tmp_path)["shape-broken"].files
        assert "a quotation mark that opens in line 4 is not closed there, so that all lines up to line" in trouble

    @pytest.mark.parametrize(
        ("ids", "given", "expected", "painted"),
        [
            ("012", "cat dog bird", "background cat dog bird", [1, 2, 3]),
            ("123", "cat dog bird", "background cat dog bird", [1, 2, 3]),
            ("012", "background cat dog", "background cat dog", [0, 1, 2]),
            ("012", "background cat dog bird", "background cat dog bird", [1, 2, 3]),
            ("122", "sea cat dog", "sea cat dog", [1, 2, 2]),
        ],
    )
    def test_numbered_classes_by_the_names_in_classes_txt(
        self, tmp_path: Path, ids: str, given: str, expected: str, painted: list[int]
    ) -> None:
        pictures(tmp_path, "a", "b", "c")
        table(tmp_path, "id,class,rle", *(f"{name},{number},1 48" for name, number in zip("abc", ids, strict=True)))
        (tmp_path / "classes.txt").write_text(given.replace(" ", "\n"))
        dataset = open_dataset(tmp_path)
        assert dataset.class_names == tuple(expected.split())
        assert [area(dataset, name) for name in "abc"] == [{class_id: 48} for class_id in painted]


class TestPicturesThatAreNotFound:
    def test_names_spread_over_folder_and_file_are_found_and_told(self, tmp_path: Path) -> None:
        for folder in ("case1/case1_day2", "case2/case2_day2"):
            pictures(tmp_path, "slice_01_266", "slice_02_266", folder=f"{folder}/scans")
        rows = [f"case{case}_day2_slice_0{number},1 {case + number}" for case in (1, 2) for number in (1, 2)]
        table(tmp_path, "id,segmentation", *rows)
        dataset = open_dataset(tmp_path)
        covered = {record.name: int(dataset.load_mask(record).sum()) for record in dataset.records}
        assert covered == {
            f"case{case}/case{case}_day2/scans/slice_0{number}_266": case + number
            for case in (1, 2)
            for number in (1, 2)
        }
        assert "case1_day2_slice_01 is read as case1/case1_day2/scans/slice_01_266" in dataset.guesses[0]

    def test_the_sentence_compares_names(self, tmp_path: Path) -> None:
        pictures(tmp_path, "0001", "0002")
        table(tmp_path, "id,rle", "1,1 2", "2,1 2")
        with pytest.raises(UserError, match=r"\(1, 2\) .* where the pictures are images/0001, images/0002; write"):
            open_dataset(tmp_path)
        assert "the errors about text files explain why" in findings(tmp_path)["no-masks"].sentence

    def test_a_table_without_rows_is_told(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b")
        table(tmp_path, "id,rle")
        with pytest.raises(UserError, match="has no rows"):
            open_dataset(tmp_path)


def compact(seed: int, height: int, width: int) -> np.ndarray:
    """An ellipse, for which the order of runs matters."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height, :width]
    y, x = height * rng.uniform(0.4, 0.6), width * rng.uniform(0.4, 0.6)
    return ((ys - y) / (height / 4)) ** 2 + ((xs - x) / (width / 4)) ** 2 < 1


class TestOrder:
    def write(self, root: Path, order: rle.Order, height: int = 24, width: int = 40) -> list[np.ndarray]:
        found = [compact(seed, height, width) for seed in range(4)]
        rows = []
        (root / "images").mkdir(parents=True)
        for number, mask in enumerate(found):
            noise = np.random.default_rng(number).integers(0, 256, (height, width)).astype(np.uint8)
            Image.fromarray(noise).save(root / f"images/{number}.png")
            rows.append(f"{number},{rle.write_pairs(rle.to_pairs(mask if order == 'columns' else mask.T))}")
        table(root, "id,rle", *rows)
        return found

    @pytest.mark.parametrize("order", ["columns", "rows"])
    def test_is_taken_as_said_and_doubted_where_it_makes_stripes(self, tmp_path: Path, order: rle.Order) -> None:
        expected = self.write(tmp_path / "data", order)
        other: rle.Order = "rows" if order == "columns" else "columns"
        dataset = open_dataset(tmp_path / "data", rle_order=order)
        for number, mask in enumerate(expected):
            np.testing.assert_array_equal(masks(dataset)[str(number)] == 1, mask)
        assert not dataset.guesses
        (said,) = open_dataset(tmp_path / "data", rle_order=other).guesses
        assert f"--rle-order {order}" in said
        assert f"data.rle_order={order}" in said
        doubts = [found for found in examine(tmp_path / "data", rle_order=other).findings if found.code == "guess"]
        assert [(found.severity, found.sentence) for found in doubts] == [("warning", said)]
        assert "guess" not in {found.code for found in examine(tmp_path / "data", rle_order=order).findings}

    def test_copies_go_down_the_columns(self, tmp_path: Path) -> None:
        expected = self.write(tmp_path / "data", "rows")
        convert(tmp_path / "data", "rle_csv", tmp_path / "copy", rle_order="rows")
        for number, mask in enumerate(expected):
            np.testing.assert_array_equal(masks(open_dataset(tmp_path / "copy"))[str(number)] == 1, mask)

    def test_is_not_doubted_by_runs_that_lie_alone(self, tmp_path: Path) -> None:
        pictures(tmp_path, "a", "b")
        table(tmp_path, "id,rle", "a,7 3", "b,20 4 40 2")
        assert not open_dataset(tmp_path).guesses
        assert not open_dataset(tmp_path, rle_order="rows").guesses

    def test_of_labels_without_runs_is_refused(self, tmp_path: Path) -> None:
        self.write(tmp_path / "data", "columns")
        convert(tmp_path / "data", "coco", tmp_path / "copy")
        with pytest.raises(UserError, match="the labels are in the layout 'coco', which has no tables of run lengths"):
            open_dataset(tmp_path / "copy", rle_order="rows")
        with pytest.raises(UserError, match="unknown rle_order 'diagonal'"):
            open_dataset(tmp_path / "data", rle_order="diagonal")  # type: ignore[arg-type]


def test_real_runs_are_not_doubted(shared_folder: Path) -> None:
    root = shared_folder / "data/salt"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    assert not open_dataset(root).guesses
    assert "guess" not in findings(root)
