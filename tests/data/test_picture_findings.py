"""The doctor on what files hold: depths, gaps, pages, numbers that are no ids, formats that are not read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from test_doctor import clean, codes, errors, mask, picture, save

from pixelwise.data.doctor import Diagnosis, examine, fix
from pixelwise.data.doctor.diagnosis import Finding
from pixelwise.data.foreign import format_of, format_of_bytes
from pixelwise.data.formats import open_dataset
from pixelwise.data.orientation import upright
from pixelwise.data.pictures import read_picture
from pixelwise.errors import UserError


def as_tiff(root: Path, array: np.ndarray, **options: object) -> None:
    """The second picture anew, as a TIFF."""
    (root / "images/p1.png").unlink()
    photometric = "rgb" if array.ndim == 3 and array.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(root / "images/p1.tif", array, **{"photometric": photometric, **options})


def mask_as_tiff(root: Path, array: np.ndarray, **options: object) -> None:
    (root / "masks/p1.png").unlink()
    tifffile.imwrite(root / "masks/p1.tif", array, **options)


def fractions(*, hole: bool = False) -> np.ndarray:
    image = picture(1).astype(np.float32) / 255
    if hole:
        image[:5, :5] = np.nan
    return image


def animated(path: Path) -> None:
    frames = [Image.fromarray(picture(number)) for number in (1, 20)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


DEFECTS: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "fractions": (lambda root: as_tiff(root, fractions()), {"depths"}),
    "floats beyond bytes": (lambda root: as_tiff(root, picture(1).astype(np.float32) * 40), {"depths"}),
    "floats in the range of bytes": (lambda root: as_tiff(root, picture(1).astype(np.float32)), set()),
    "a value beyond all": (
        lambda root: as_tiff(root, np.where(np.arange(picture(1).shape[1])[None, :, None] < 4, -999, fractions())),
        {"no-data", "depths"},
    ),
    "a hole": (lambda root: as_tiff(root, fractions(hole=True)), {"no-data", "depths"}),
    "12 bits": (
        lambda root: as_tiff(root, picture(1).astype(np.uint16) * 16),
        {"sixteen-bit", "dark"},
    ),
    "16 bits": (lambda root: as_tiff(root, picture(1).astype(np.uint16) * 257), {"sixteen-bit"}),
    "a stack": (lambda root: as_tiff(root, np.stack([picture(1)] * 3)), {"stack"}),
    "an animation": (
        lambda root: ((root / "images/p1.png").unlink(), animated(root / "images/p1.gif")),
        {"frames"},
    ),
    "mask of NaN": (lambda root: mask_as_tiff(root, np.full((24, 32), np.nan, np.float32)), {"mask-values"}),
    "mask of -1": (lambda root: mask_as_tiff(root, mask(1).astype(np.int16) - 1), {"mask-values"}),
    "mask of fractions": (lambda root: mask_as_tiff(root, mask(1) * np.float32(0.5)), {"mask-values"}),
    "mask of pages": (lambda root: mask_as_tiff(root, np.stack([mask(1)] * 3), photometric="minisblack"), {"stack"}),
    "not read": (lambda root: (root / "images/IMG_1.HEIC").write_bytes(b"x"), {"unread-format"}),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_alone_is_named_and_nothing_else(defect: str, tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    spoil, expected = DEFECTS[defect]
    spoil(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnosis = examine(root)
    assert codes(diagnosis) == expected
    fix(root, tmp_path / "fixed")
    assert errors(examine(tmp_path / "fixed")) == []
    dataset = open_dataset(tmp_path / "fixed")
    for record in dataset.records:
        assert np.isfinite(dataset.load(record).image).all()


def test_all_at_once_are_all_named(tmp_path: Path) -> None:
    root = clean(tmp_path)
    as_tiff(root, np.stack([picture(1)] * 3))
    save(root / "images/p2.png", picture(2, channels=1)[:, :, 0].astype(np.uint16) * 16)
    tifffile.imwrite(root / "images/p3.tif", fractions(hole=True), photometric="rgb")
    (root / "images/p3.png").unlink()
    tifffile.imwrite(root / "masks/p4.tif", np.full((24, 32), np.nan, np.float32))
    (root / "masks/p4.png").unlink()
    (root / "scan.dcm").write_bytes(b"x")
    assert codes(examine(root)) >= {"stack", "dark", "depths", "no-data", "mask-values", "unread-format"}


def finding(diagnosis: Diagnosis, code: str) -> Finding:
    return next(each for each in diagnosis.findings if each.code == code)


def test_pages_of_unknown_meaning_are_a_guess(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "images").mkdir(exist_ok=True)
        pages = np.stack([picture(number, channels=1)[:, :, 0] + np.uint8(page) for page in range(4)])
        tifffile.imwrite(tmp_path / f"images/p{number}.tif", pages, photometric="minisblack")
        save(tmp_path / f"masks/p{number}.png", mask(number))
    assert finding(examine(tmp_path), "pages").files == ("images/p0.tif", "images/p1.tif", "images/p2.tif")
    dataset = open_dataset(tmp_path)
    assert dataset.form.channels == 4
    assert any("pages" in guess for guess in dataset.guesses)


def test_another_range_among_floats_is_named(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / "images").mkdir(exist_ok=True)
        image = picture(number).astype(np.float32) / 255
        tifffile.imwrite(tmp_path / f"images/p{number}.tif", image, photometric="rgb")
        save(tmp_path / f"masks/p{number}.png", mask(number))
    save(tmp_path / "masks/q.png", mask(9))
    save(tmp_path / "images/q.png", picture(9))
    assert finding(examine(tmp_path), "depths").files == ("images/q.png",)
    (tmp_path / "images/q.png").unlink()
    tifffile.imwrite(tmp_path / "images/q.tif", picture(9).astype(np.float32), photometric="rgb")
    assert finding(examine(tmp_path), "depths").files == ("images/q.tif",)


def test_a_picture_of_nothing_is_an_error(tmp_path: Path) -> None:
    root = clean(tmp_path)
    as_tiff(root, np.full((24, 32, 3), np.nan, np.float32))
    assert finding(examine(root), "no-data").severity == "error"


@pytest.mark.parametrize("orientation", range(5, 9))
def test_a_mask_drawn_on_a_tiff_as_stored_is_turned_with_it(orientation: int, tmp_path: Path) -> None:
    root = clean(tmp_path / "data")
    stored = picture(1)
    as_tiff(root, stored, extratags=[(274, 3, 1, orientation, True)])
    assert "would fit the picture before" in finding(examine(root), "size-mismatch").sentence
    fix(root, tmp_path / "fixed")
    dataset = open_dataset(tmp_path / "fixed")
    sample = dataset.load(next(record for record in dataset.records if record.name == "images/p1"))
    np.testing.assert_array_equal(sample.image, upright(stored, orientation))
    np.testing.assert_array_equal(sample.mask, upright(mask(1), orientation))


READ = {"jfif": "JPEG", "jpe": "JPEG", "gif": "GIF", "ppm": "PPM", "jp2": "JPEG2000", "avif": "AVIF", "tga": "TGA"}


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("suffix", READ)
def test_what_pillow_reads_is_read(suffix: str, upper: bool, tmp_path: Path) -> None:
    root = clean(tmp_path)
    (root / "images/p1.png").unlink()
    name = f"p1.{suffix.upper() if upper else suffix}"
    Image.fromarray(picture(1)).save(root / "images" / name, format=READ[suffix])
    diagnosis = examine(root)
    assert diagnosis.findings == ()
    assert diagnosis.summary.labelled == 10
    expected = np.array(Image.open(root / "images" / name).convert("RGB"))
    np.testing.assert_array_equal(read_picture(root / "images" / name), expected)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("IMG.HEIC", "HEIC"),
        ("a.b.dcm", "DICOM"),
        ("brain.nii.gz", "NIfTI"),
        ("DSC.CR2", "camera raw"),
        ("labels.csv.gz", ""),
        ("x.png", ""),
        ("Thumbs.db", ""),
        ("notes.txt", ""),
    ],
)
def test_names_of_other_formats(name: str, kind: str) -> None:
    assert format_of(Path(name)) == kind


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(40), "HEIC"),
        (b"%PDF-1.7 and more", "PDF"),
        (b"<!DOCTYPE html><html>404", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ],
)
def test_another_format_under_the_name_of_a_picture_is_told(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    assert words in format_of_bytes(content[:32])
    with pytest.raises(UserError, match=f"not a known picture format, but a.*{words}"):
        read_picture(tmp_path / "x.jpg")


def test_a_folder_of_other_formats_alone_is_told(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"IMG_{number}.heic").write_bytes(b"x")
    with pytest.raises(UserError, match="but 3 HEIC, which are not read"):
        open_dataset(tmp_path)
    assert codes(examine(tmp_path)) == {"no-pictures", "unread-format"}


def test_opening_notes_what_is_not_read(tmp_path: Path) -> None:
    (clean(tmp_path) / "images/x.nef").write_bytes(b"x")
    assert any("1 camera raw" in note for note in open_dataset(tmp_path).notes)
