"""Slices of DICOM and NIfTI files keep their units, on the way to TIFFs and back."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pixelwise import api
from pixelwise.cli import app
from pixelwise.data.medical import export_slices, import_slices
from pixelwise.data.values import read_map, write_map
from pixelwise.errors import UserError

RNG = np.random.default_rng(0)


def volume(shape: tuple[int, int, int] = (24, 20, 6)) -> np.ndarray:
    """(X, Y, Z) Hounsfield units of a body with an organ."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    body = np.where(x**2 + y**2 < 0.8, 40.0, -1000.0)
    organ = (x - 0.2 * z) ** 2 + (y + 0.1) ** 2 < 0.1
    return np.rint(body + 160 * organ + 20 * np.cos(5 * z + 3 * x)).astype(np.float32)


@pytest.fixture
def nibabel() -> Any:
    return pytest.importorskip("nibabel")


@pytest.fixture
def pydicom() -> Any:
    return pytest.importorskip("pydicom")


@pytest.fixture
def shipped(pydicom: Any, tmp_path: Path) -> Path:
    """The CT and the MR picture that pydicom ships, in a folder."""
    folder = tmp_path / "dicom"
    folder.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm"):
        file = pydicom.data.get_testdata_file(name)
        if file is None:
            pytest.skip(f"this pydicom ships no {name}")
        shutil.copyfile(file, folder / name)
    return folder


def write_nifti(nibabel: Any, file: Path, values: np.ndarray, *, slope: float = 2.0, intercept: float = -1024.0) -> Any:
    """int16 with a slope and an intercept, as scanners' software writes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    affine = np.array([[0.7, 0, 0, -30], [0, 0.7, 0, 12], [0, 0, 3.0, 5], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(np.rint((values - intercept) / slope).astype(np.int16), affine)
    image.header.set_slope_inter(slope, intercept)
    nibabel.save(image, file)
    return nibabel.load(file)


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_a_volume_returns_as_it_was(name: str, nibabel: Any, tmp_path: Path) -> None:
    image = write_nifti(nibabel, tmp_path / name, volume())
    units = image.get_fdata()
    files = export_slices(tmp_path / name, tmp_path / "slices")
    assert [file.name for file in files] == [f"ct_{number:04d}.tif" for number in range(6)]
    np.testing.assert_array_equal(read_map(files[2]), units[:, :, 2].T)
    assert units.min() < -900  # Hounsfield units, not stored steps
    (written,) = import_slices(tmp_path / "slices", tmp_path / name, tmp_path / "back" / name)
    back = nibabel.load(written)
    np.testing.assert_array_equal(back.get_fdata(), units)
    np.testing.assert_array_equal(back.affine, image.affine)
    np.testing.assert_allclose(back.header.get_zooms(), image.header.get_zooms())


def test_dicom_pictures_keep_their_units_and_geometry(pydicom: Any, shipped: Path, tmp_path: Path) -> None:
    files = export_slices(shipped, tmp_path / "slices")
    assert [file.name for file in files] == ["CT_small.tif", "MR_small.tif"]
    original = pydicom.dcmread(shipped / "CT_small.dcm")
    units = original.pixel_array * float(original.RescaleSlope) + float(original.RescaleIntercept)
    np.testing.assert_array_equal(read_map(files[0]), units)
    changed = read_map(files[0]) * 0.5 + RNG.normal(0, 3, units.shape)
    write_map(files[0], changed)
    written = import_slices(tmp_path / "slices", shipped, tmp_path / "back")
    assert [file.name for file in written] == ["CT_small.dcm", "MR_small.dcm"]
    back = pydicom.dcmread(written[0])
    found = back.pixel_array * float(back.RescaleSlope) + float(back.RescaleIntercept)
    assert np.abs(found - changed).max() <= np.ptp(changed) / 131_070 + 1e-3
    for key in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "StudyInstanceUID", "PatientID"):
        assert back[key].value == original[key].value, key
    assert back.SOPInstanceUID != original.SOPInstanceUID
    assert back.SeriesInstanceUID == pydicom.dcmread(written[1]).SeriesInstanceUID != original.SeriesInstanceUID
    assert back.ImageType[0] == "DERIVED"
    again = export_slices(written[0], tmp_path / "again")
    np.testing.assert_allclose(read_map(again[0]), changed, atol=np.ptp(changed) / 131_070 + 1e-3)


def test_a_flat_picture_is_written_with_its_value(pydicom: Any, shipped: Path, tmp_path: Path) -> None:
    (file,) = export_slices(shipped / "CT_small.dcm", tmp_path / "slices")
    write_map(file, np.full((128, 128), -7.25, np.float32))
    (written,) = import_slices(tmp_path / "slices", shipped / "CT_small.dcm", tmp_path / "back")
    back = pydicom.dcmread(written)
    np.testing.assert_allclose(back.pixel_array * float(back.RescaleSlope) + float(back.RescaleIntercept), -7.25)


def test_names_that_are_identifiers_stay_apart(pydicom: Any, shipped: Path, tmp_path: Path) -> None:
    (shipped / "MR_small.dcm").unlink()
    (shipped / "CT_small.dcm").rename(shipped / "1.2.840.1")
    shutil.copyfile(shipped / "1.2.840.1", shipped / "1.2.840.2")
    (shipped / "notes.txt").write_text("not a picture")
    files = export_slices(shipped, tmp_path / "slices")
    assert [file.name for file in files] == ["1.2.840.1.tif", "1.2.840.2.tif"]
    assert len(import_slices(tmp_path / "slices", shipped, tmp_path / "back")) == 2
    files = export_slices(shipped, tmp_path / "pairs", name="p7")
    assert [file.name for file in files] == ["p7_0000.tif", "p7_0001.tif"]
    back = import_slices(tmp_path / "pairs", shipped, tmp_path / "again", name="p7")
    assert [file.name for file in back] == ["1.2.840.1.dcm", "1.2.840.2.dcm"]


def test_mistakes_are_explained(nibabel: Any, pydicom: Any, shipped: Path, tmp_path: Path) -> None:
    write_nifti(nibabel, tmp_path / "ct.nii", volume())
    write_nifti(nibabel, tmp_path / "time.nii", np.zeros((4, 4, 2, 3), np.float32))
    (tmp_path / "broken.nii").write_bytes(b"no volume")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"time\.nii: 4 axes of 4 x 4 x 2 x 3 found, expected a volume of three"):
        export_slices(tmp_path / "time.nii", tmp_path / "out")
    with pytest.raises(UserError, match=r"broken\.nii: cannot be read as NIfTI"):
        export_slices(tmp_path / "broken.nii", tmp_path / "out")
    with pytest.raises(UserError, match="empty: no DICOM file found"):
        export_slices(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        export_slices(tmp_path / "nowhere", tmp_path / "out")
    slices = export_slices(tmp_path / "ct.nii", tmp_path / "slices")
    with pytest.raises(UserError, match="exists already and would be overwritten"):
        export_slices(tmp_path / "ct.nii", tmp_path / "slices")
    with pytest.raises(UserError, match=r"out\.tif: expected a name that ends in \.nii"):
        import_slices(tmp_path / "slices", tmp_path / "ct.nii", tmp_path / "out.tif")
    write_map(slices[1], np.zeros((5, 7), np.float32))
    with pytest.raises(UserError, match=r"7 x 5 pixels found, but the slices of .* have 24 x 20"):
        import_slices(tmp_path / "slices", tmp_path / "ct.nii", tmp_path / "out.nii")
    slices[3].unlink()
    with pytest.raises(UserError, match=r"1 of 6 slices are missing \(.*ct_0003\.tif\)"):
        import_slices(tmp_path / "slices", tmp_path / "ct.nii", tmp_path / "out.nii")
    several = pydicom.dcmread(shipped / "CT_small.dcm")
    several.NumberOfFrames = 2
    several.save_as(shipped / "CT_small.dcm")
    (shipped / "CT_small.dcm").rename(shipped / "Z.dcm")  # after the MR
    with pytest.raises(UserError, match=r"Z\.dcm: 2 frames of 1 channels found"):
        export_slices(shipped, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ct.nii").write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"nibabel is not installed; install it with: pip install 'pixelwise\[medical\]'"
    ):
        export_slices(tmp_path / "ct.nii", tmp_path / "out")


def slices(*words: object) -> str:
    """Runs the command, and returns what it printed."""
    result = CliRunner().invoke(app, ["slices", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_window_limits_values(nibabel: Any, tmp_path: Path) -> None:
    units = volume()
    units[3, 4, 2] = 20_000  # metal
    write_nifti(nibabel, tmp_path / "ct.nii", units)
    slices(tmp_path / "ct.nii", "--out", tmp_path / "slices", "--window", -900, 300)
    found = np.stack([read_map(file) for file in sorted((tmp_path / "slices").iterdir())])
    assert (found.min(), found.max()) == (-900, 300)
    inside = (found > -900) & (found < 300)
    np.testing.assert_array_equal(found[inside], nibabel.load(tmp_path / "ct.nii").get_fdata().T[inside])
    with pytest.raises(UserError, match="window is 300 to -900, expected the smaller value first"):
        slices(tmp_path / "ct.nii", "--out", tmp_path / "other", "--window", 300, -900)
    with pytest.raises(UserError, match="--window limits what is read from a source; it does not go with --like"):
        slices(
            tmp_path / "slices", "--like", tmp_path / "ct.nii", "--out", tmp_path / "back.nii", "--window", -900, 300
        )


def test_a_ct_becomes_an_mr_in_its_geometry(nibabel: Any, shipped: Path, tmp_path: Path) -> None:
    """Synthetic pairs: the MR is a function of the CT, as no real pair is."""
    for split, shape in (("train", (24, 20, 6)), ("val", (24, 20, 3))):
        units = volume(shape)
        write_nifti(nibabel, tmp_path / f"{split}_ct.nii.gz", units)
        write_nifti(nibabel, tmp_path / f"{split}_mr.nii.gz", np.where(units > -500, 900 - 2 * units, 0), intercept=0)
        for kind, folder in (("ct", "a"), ("mr", "b")):
            slices(tmp_path / f"{split}_{kind}.nii.gz", "--name", "p1", "--out", tmp_path / "data" / split / folder)
    overrides = {"model.depth": 3, "model.width": 8, "optimizer.lr": 5e-3}
    run = api.train("ct_to_mr", data=tmp_path / "data", out=tmp_path / "run", epochs=20, overrides=overrides)
    assert run.metrics["l1"] < 0.5 * run.metrics["constant_l1"]
    slices(tmp_path / "val_ct.nii.gz", "--out", tmp_path / "slices")
    api.predict(run.path, tmp_path / "slices", tmp_path / "translated")
    written = tmp_path / "val_made.nii.gz"
    said = slices(tmp_path / "translated", "--like", tmp_path / "val_ct.nii.gz", "--out", written)
    assert said == f"1 file written: {written}\n"
    made, truth = nibabel.load(written), nibabel.load(tmp_path / "val_mr.nii.gz")
    assert made.shape == truth.shape
    np.testing.assert_array_equal(made.affine, truth.affine)
    error = np.abs(made.get_fdata() - truth.get_fdata()).mean()
    assert error < 0.2 * np.ptp(truth.get_fdata())
    # The CT of a scanner, with values from elsewhere: its translation has its geometry, too.
    slices(shipped / "CT_small.dcm", "--out", tmp_path / "patient", "--window", -1000, 200)
    api.predict(run.path, tmp_path / "patient", tmp_path / "patient_mr")
    slices(tmp_path / "patient_mr", "--like", shipped / "CT_small.dcm", "--out", tmp_path / "patient_dicom")
    (found,) = export_slices(tmp_path / "patient_dicom", tmp_path / "again")
    translated = read_map(tmp_path / "patient_mr" / "CT_small.tif")
    np.testing.assert_allclose(read_map(found), translated, atol=np.ptp(translated) / 131_070 + 1e-3)
