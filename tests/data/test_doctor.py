"""Each defect alone gives its code and no other, all at once give all, and a fixed copy has no errors left."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

from pixelwise.data.class_table import ClassTable
from pixelwise.data.doctor import Diagnosis, examine, fix, render
from pixelwise.data.doctor.colours import frequent, ids_of, nearest
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.voc import voc_palette
from pixelwise.data.pictures import read_ids, read_picture
from pixelwise.errors import UserError

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[3] / "shared")) / "data"
HEIGHT, WIDTH = 24, 32


def picture(number: int, height: int = HEIGHT, width: int = WIDTH, channels: int = 3) -> np.ndarray:
    """A smooth pattern, another one for every number."""
    rng = np.random.default_rng(number)
    small = rng.integers(0, 256, (5, 6, channels)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, channels)


def mask(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A disc of class 1 on class 0, of about half the pixels."""
    ys, xs = np.mgrid[:height, :width]
    return ((ys - height / 2) ** 2 + (xs - width / 2 - number % 3) ** 2 < height * width / 6).astype(np.uint8)


def save(path: Path, array: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def clean(root: Path) -> Path:
    for number in range(10):
        save(root / f"images/p{number}.png", picture(number))
        save(root / f"masks/p{number}.png", mask(number))
    (root / "train.txt").write_text("".join(f"p{number}\n" for number in range(7)))
    (root / "val.txt").write_text("".join(f"p{number}\n" for number in range(7, 10)))
    return root


def each_mask(root: Path, change: Callable[[np.ndarray], np.ndarray], numbers: range = range(10)) -> None:
    for number in numbers:
        save(root / f"masks/p{number}.png", change(mask(number)))


def to_colours(ids: np.ndarray) -> np.ndarray:
    return np.array([[0, 0, 0], [200, 30, 60]], np.uint8)[ids]


def rotated(root: Path) -> None:
    """Stored lying, upright by EXIF; the mask is drawn on the upright one."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(picture(2)).copy()).save(root / "images/p2.png", exif=exif)


def rotated_picture_only(root: Path) -> None:
    """Stored lying, upright by EXIF; the mask was drawn on the lying one."""
    rotated(root)
    save(root / "masks/p2.png", np.rot90(mask(2)).copy())


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])


def jpeg_masks(root: Path) -> None:
    for number in range(10):
        (root / f"masks/p{number}.png").unlink()
        save(root / f"masks/p{number}.jpg", mask(number) * 255, quality=60)


def jpeg_masks_of_three_classes(root: Path) -> None:
    for number in range(10):
        (root / f"masks/p{number}.png").unlink()
        three = mask(number, 120, 160) * 128
        three[:, 120:] = 255
        save(root / f"images/p{number}.png", picture(number, 120, 160))
        save(root / f"masks/p{number}.jpg", three, quality=60)


def blurred_colour_masks(root: Path) -> None:
    for number in range(10):
        large = cv2.resize(to_colours(mask(number)), (160, 120), interpolation=cv2.INTER_LINEAR)
        save(root / f"images/p{number}.png", picture(number, 120, 160))
        noise = np.random.default_rng(number).integers(0, 9, large.shape)
        save(root / f"masks/p{number}.png", np.clip(large.astype(int) + noise, 0, 255).astype(np.uint8))


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def reencode_in_val(root: Path) -> None:
    save(root / "images/again.jpg", picture(1), quality=90)
    save(root / "masks/again.png", mask(1))
    append(root / "val.txt", "again\n")


def duplicate(root: Path) -> None:
    shutil.copy(root / "images/p1.png", root / "images/copy.png")
    shutil.copy(root / "masks/p1.png", root / "masks/copy.png")


def copy_in_val(root: Path) -> None:
    duplicate(root)
    append(root / "val.txt", "copy\n")


def rare(root: Path) -> None:
    def change(ids: np.ndarray) -> np.ndarray:
        dotted = np.zeros_like(ids)
        dotted[0, 0] = 1
        dotted[:, 8:] = 2
        return dotted

    each_mask(root, change)


def half_empty(ids: np.ndarray) -> np.ndarray:
    return np.zeros_like(ids)


def names(root: Path, *lines: str) -> None:
    (root / "classes.txt").write_text("\n".join(lines))


ZOO: dict[str, Callable[[Path], object]] = {
    "zero-byte": lambda root: (root / "images/p1.png").write_bytes(b""),
    "truncated": lambda root: truncate(root / "images/p1.png"),
    "truncated mask": lambda root: (
        save(root / "masks/p1.png", np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH)).astype(np.uint8)),
        truncate(root / "masks/p1.png"),
    ),
    "unreadable": lambda root: (root / "images/p1.png").write_text("not a picture"),
    "mask-rgb": lambda root: each_mask(root, to_colours),
    "guess": jpeg_masks,
    "mask-lossy": jpeg_masks_of_three_classes,
    "mask-lossy in colour": blurred_colour_masks,
    "mask-0-255": lambda root: each_mask(root, lambda ids: ids * 255),
    "mask-0-255 mixed": lambda root: each_mask(root, lambda ids: ids * 255, range(4)),
    "mask-0-255 three names": lambda root: (names(root, "a", "b", "c"), each_mask(root, lambda ids: ids * 255)),
    "id-beyond-classes": lambda root: (names(root, "a", "b"), each_mask(root, lambda ids: ids * 2, range(3))),
    "id-beyond-classes in 16 bits": lambda root: save(root / "masks/p1.png", mask(1).astype(np.uint16) * 300),
    "picture-without-mask": lambda root: save(root / "images/extra.png", picture(50)),
    "mask-without-picture": lambda root: save(root / "masks/extra.png", mask(50)),
    "size-mismatch": lambda root: save(root / "masks/p1.png", mask(1, 20, 30)),
    "size-mismatch by exif": rotated_picture_only,
    "exif-rotated": rotated,
    "lying-extension": lambda root: save(root / "images/p1.png", picture(1), format="JPEG", quality=95),
    "duplicate": duplicate,
    "leak": copy_in_val,
    "leak in lists": lambda root: append(root / "val.txt", "p1\n"),
    "leak-similar": reencode_in_val,
    "class-absent-from-split": lambda root: each_mask(root, lambda ids: ids * 2 + (ids == 0), range(7, 8)),
    "imbalance": rare,
    "sixteen-bit": lambda root: save(root / "images/p1.png", picture(1, channels=1)[:, :, 0].astype(np.uint16) * 257),
    "cmyk": lambda root: (
        (root / "images/p1.png").unlink(),
        Image.fromarray(picture(1)).convert("CMYK").save(root / "images/p1.jpg"),
    ),
    "alpha": lambda root: save(root / "images/p1.png", picture(1, channels=4)),
    "grey-among-colour": lambda root: save(root / "images/p1.png", picture(1, channels=1)[:, :, 0]),
    "channels": lambda root: (
        (root / "images/p1.png").unlink(),
        tifffile.imwrite(
            root / "images/p1.tif", picture(1, channels=5), photometric="minisblack", planarconfig="contig"
        ),
    ),
    "all-void": lambda root: each_mask(root, lambda ids: np.full_like(ids, 255), range(1)),
    "void-heavy": lambda root: each_mask(
        root, lambda ids: np.where(np.arange(WIDTH) % 4 > 0, 255, ids).astype(np.uint8)
    ),
    "empty-masks": lambda root: each_mask(root, half_empty, range(6)),
    "sparse-ids": lambda root: each_mask(root, lambda ids: ids * 90),
    "list-entry-missing": lambda root: append(root / "train.txt", "nowhere/gone.png\n"),
    "same-name": lambda root: save(root / "images/p1.jpg", picture(60)),
    "not-read": lambda root: save(root / "preview/p1.png", picture(61)),
    "text-file": lambda root: (root / "classes.txt").write_bytes(b"\xe4\x00a"),
}
COMPANIONS = {"sixteen-bit": {"grey-among-colour"}}
"""What comes with a defect by its nature."""


def codes(diagnosis: Diagnosis) -> set[str]:
    return {finding.code for finding in diagnosis.findings}


def errors(diagnosis: Diagnosis) -> list[str]:
    return [f"{finding.code}: {finding.sentence}" for finding in diagnosis.findings if finding.severity == "error"]


def test_clean_data_has_no_findings(tmp_path: Path) -> None:
    diagnosis = examine(clean(tmp_path))
    assert diagnosis.findings == ()
    assert diagnosis.ok
    summary = diagnosis.summary
    assert summary.splits == {"train": 7, "val": 3}
    assert sum(summary.class_pixels) == 10 * HEIGHT * WIDTH
    assert summary.width == (WIDTH, WIDTH, WIDTH)


@pytest.mark.parametrize("defect", ZOO)
def test_each_defect_alone_is_named_and_fixed(defect: str, tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    ZOO[defect](root)
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
    diagnosis = examine(root)
    assert codes(diagnosis) == {defect.split()[0]} | COMPANIONS.get(defect, set())
    fix(root, tmp_path / "fixed")
    assert {file: file.read_bytes() for file in root.rglob("*") if file.is_file()} == before
    assert errors(examine(tmp_path / "fixed")) == []
    dataset = open_dataset(tmp_path / "fixed")
    for record in dataset.records:
        dataset.load(record)


def test_void_among_classes_is_no_defect(tmp_path: Path) -> None:
    root = clean(tmp_path)
    each_mask(root, lambda ids: ids + 1, range(6))
    each_mask(root, lambda ids: ids * 255, range(6, 7))
    assert "mask-0-255" not in codes(examine(root))


@pytest.mark.parametrize("value", [1, 255])
def test_pixels_are_counted_by_class(value: int, tmp_path: Path) -> None:
    root = clean(tmp_path)
    each_mask(root, lambda ids: ids * value)
    drawn = sum(int(mask(number).sum()) for number in range(10))
    assert examine(root).summary.class_pixels == (10 * HEIGHT * WIDTH - drawn, drawn)


def test_everything_at_once(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    for number in range(20, 40):  # room for many defects
        save(root / f"images/p{number}.png", picture(number))
        save(root / f"masks/p{number}.png", mask(number))
    append(root / "train.txt", "".join(f"p{number}\n" for number in range(20, 40)))
    copy_in_val(root)
    rotated_picture_only(root)
    (root / "images/p20.png").write_bytes(b"")
    truncate(root / "images/p21.png")
    (root / "masks/p22.png").write_text("hello")
    save(root / "masks/p23.png", to_colours(mask(23)))
    save(root / "masks/p24.png", mask(24) * 255)
    save(root / "masks/p25.png", mask(25, 9, 9))
    save(root / "images/p26.png", picture(26), format="JPEG")
    save(root / "images/p27.png", picture(27, channels=4))
    save(root / "images/lonely.png", picture(70))
    save(root / "masks/orphan.png", mask(71))
    append(root / "val.txt", "p28\nmissing\n")
    diagnosis = examine(root)
    assert codes(diagnosis) >= {
        "leak",
        "zero-byte",
        "truncated",
        "unreadable",
        "mask-rgb",
        "mask-0-255",
        "size-mismatch",
        "lying-extension",
        "alpha",
        "picture-without-mask",
        "mask-without-picture",
        "list-entry-missing",
    }
    json.dumps(diagnosis.to_dict())
    fix(root, tmp_path / "fixed")
    assert errors(examine(tmp_path / "fixed")) == []
    left_out = (tmp_path / "fixed/left_out.txt").read_text()
    for name in ("p20.png", "p21.png", "p22.png", "p25.png", "p1.png", "lonely.png", "orphan.png"):
        assert name in left_out
    assert "p28" not in (tmp_path / "fixed/train.txt").read_text().split()
    assert {"p28", "copy"} <= set((tmp_path / "fixed/val.txt").read_text().split())


@pytest.mark.parametrize("content", ["nothing", "text", "one", "unlabelled", "damaged"])
def test_useless_folders_are_survived(content: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    if content == "text":
        (root / "notes.txt").write_text("hello")
    if content in ("one", "unlabelled"):
        save(root / "images/a.png", picture(0))
    if content == "one":
        save(root / "masks/a.png", mask(0))
    if content == "damaged":
        for name in "abc":
            (root / f"{name}.png").write_bytes(b"")
            (root / f"{name}_mask.png").write_bytes(b"\x89PNG")
    diagnosis = examine(root)
    assert not diagnosis.ok
    Console(file=io.StringIO()).print(render(diagnosis))
    with pytest.raises(UserError):
        fix(root, tmp_path / "fixed")
    assert not (tmp_path / "fixed").exists()


def test_no_folder_is_an_error() -> None:
    with pytest.raises(UserError, match="no such folder"):
        examine("nowhere/at/all")


def test_fix_turns_the_mask_with_the_picture(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    rotated_picture_only(root)
    fix(root, tmp_path / "fixed")
    np.testing.assert_array_equal(read_picture(tmp_path / "fixed/images/p2.png"), picture(2))
    np.testing.assert_array_equal(read_ids(tmp_path / "fixed/masks/p2.png"), mask(2))


@pytest.mark.parametrize("defect", ["mask-rgb", "guess", "mask-lossy in colour", "mask-0-255", "sparse-ids"])
def test_fixed_masks_are_the_ids_that_were_drawn(defect: str, tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    ZOO[defect](root)
    fix(root, tmp_path / "fixed")
    for number in range(10):
        found = read_ids(tmp_path / f"fixed/masks/p{number}.png")
        drawn = cv2.resize(mask(number), found.shape[::-1], interpolation=cv2.INTER_NEAREST)
        agreement = (found == drawn).mean()
        # Blurred edges can fall to either side, nothing else may differ.
        assert agreement > 0.95 if defect in ("guess", "mask-lossy in colour") else agreement == 1


def test_named_colours_choose_the_ids(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    each_mask(root, to_colours)
    names(root, "nucleus 200 30 60", "ground 0 0 0")
    fix(root, tmp_path / "fixed")
    assert (tmp_path / "fixed/classes.txt").read_text().split() == ["nucleus", "ground"]
    np.testing.assert_array_equal(read_ids(tmp_path / "fixed/masks/p0.png"), 1 - mask(0))


def test_fix_writes_objects_as_label_maps(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("one", "two", "three"):
        save(root / f"{name}/images/{name}.png", picture(len(name) + ord(name[0])))
        for index in range(3):
            single = np.zeros((HEIGHT, WIDTH), np.uint8)
            single[index * 8 : index * 8 + 5, 3:9] = 255
            save(root / f"{name}/masks/{index}.png", single)
    fix(root, tmp_path / "fixed")
    dataset = open_dataset(tmp_path / "fixed")
    before = open_dataset(root)
    assert (before.layout, dataset.layout) == ("nuclei", "labelmap")
    for old, new in zip(before.records, dataset.records, strict=True):
        old_ids, new_ids = before.load(old).instances.ids, dataset.load(new).instances.ids
        np.testing.assert_array_equal(old_ids, new_ids)


def test_objects_in_colour_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(4):
        save(root / f"images/{number}.png", picture(number))
        save(root / f"labels/{number}.png", mask(number).astype(np.uint16) * 700)
    save(root / "labels/3.png", to_colours(mask(3)))
    assert codes(examine(root, "labelmap")) == {"mask-rgb"}
    fix(root, tmp_path / "fixed", "labelmap")
    assert "images/3.png\tits mask 3.png is a colour picture" in (tmp_path / "fixed/left_out.txt").read_text()
    assert errors(examine(tmp_path / "fixed")) == []


def test_fix_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    with pytest.raises(UserError, match="lies inside"):
        fix(root, root / "fixed")
    (tmp_path / "fixed").mkdir()
    (tmp_path / "fixed/precious.txt").write_text("keep me")
    with pytest.raises(UserError, match="exists already"):
        fix(root, tmp_path / "fixed")
    assert (tmp_path / "fixed/precious.txt").read_text() == "keep me"


def test_interrupted_fix_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    root = clean(tmp_path / "data")
    monkeypatch.setattr("pixelwise.data.doctor.repair.write_png", full)
    with pytest.raises(OSError, match="No space"):
        fix(root, tmp_path / "fixed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_voc_palette_is_the_published_one() -> None:
    # Pascal VOC 2012 development kit: background, aeroplane, bicycle, bird, boat, ..., tv/monitor.
    assert voc_palette()[:5] == [0x000000, 0x800000, 0x008000, 0x808000, 0x000080]
    assert voc_palette()[20] == 0x004080


def test_colours_become_ids_by_a_fixed_order() -> None:
    assert ids_of([0xFF0000, 0x000000, 0x00FF00], ClassTable()) == {0x000000: 0, 0x00FF00: 1, 0xFF0000: 2}
    assert ids_of([0x800000, 0x000000, 0x008000, 0x000080], ClassTable()) == {0x0: 0, 0x80: 4, 0x8000: 2, 0x800000: 1}
    assert ids_of([0x010101, 0x000000, 0xFFFFFF], ClassTable()) == {0x0: 0, 0x010101: 1, 0xFFFFFF: 255}
    assert ids_of([0x000000, 0xFFFFFF], ClassTable()) == {0x0: 0, 0xFFFFFF: 1}


def test_noise_is_gathered_and_rare_colours_are_dropped() -> None:
    noisy = {0x000000: 500, 0x010100: 400, 0x000203: 100, 0xFF0000: 40, 0xFE0101: 60}
    assert frequent(noisy | {0x00FF00: 1}) == [0x000000, 0xFE0101]
    assert frequent(noisy | {0x00FF00: 2}) == [0x000000, 0xFE0101, 0x00FF00]
    assert frequent({0x123456: 1}) == [0x123456]


def test_nearest_colour_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (9, 11, 3)).astype(np.uint8)
    colours = {0x102030: 4, 0xFF8000: 1, 0x00FF7F: 7}
    palette = np.array([[0x10, 0x20, 0x30], [0xFF, 0x80, 0x00], [0x00, 0xFF, 0x7F]])
    distance = ((image[:, :, None].astype(int) - palette) ** 2).sum(axis=3)
    np.testing.assert_array_equal(nearest(image, colours), np.array([4, 1, 7])[distance.argmin(axis=2)])


def test_rendering_names_everything(tmp_path: Path) -> None:
    root = clean(tmp_path)
    each_mask(root, to_colours)
    stream = io.StringIO()
    Console(file=stream, width=100).print(render(examine(root)))
    text = stream.getvalue()
    assert "mask-rgb" in text
    assert "masks/p0.png" in text
    assert "and 5 more" in text
    assert "Not ready" in text


@pytest.mark.parametrize("name", ["camvid", "nuclei", "membrane"])
def test_real_data_has_no_errors(name: str) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is missing")
    assert errors(examine(SHARED / name)) == []
