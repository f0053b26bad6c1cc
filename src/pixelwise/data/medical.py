"""Slices of medical pictures (DICOM, NIfTI) as float TIFFs in their units, and pictures back into these formats.

Networks learn from the TIFFs as from any others, and values stay what they are: Hounsfield units of a CT, intensities
of an MR. The functions need pydicom and nibabel (`pip install "pixelwise[medical]"`).
"""

from __future__ import annotations

import copy
import gzip
import importlib
import importlib.util
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.atomic import write_bytes
from pixelwise.data.listing import some
from pixelwise.data.values import read_map, write_map
from pixelwise.errors import UserError

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
NIFTI_SUFFIXES = (".nii", ".nii.gz")
STEPS = 65_535
"""Steps between the smallest and the largest value of a DICOM picture that is written."""
DIGITS = 4
"""Digits of a slice's number in the name of its file."""


def export_slices(
    source: Path | str, out: Path | str, *, name: str | None = None, window: tuple[float, float] | None = None
) -> list[Path]:
    """Writes slices as float32 TIFFs, in the units of the source: its slope and intercept are applied.

    Args:
        source: a NIfTI volume, whose slices along the third axis become `SOURCE_0000.tif` and so on, each with the
            second axis downwards; a DICOM file; or a folder, below which every DICOM file becomes a TIFF of its path
            and name.
        out: the folder of the TIFFs.
        name: names the slices `NAME_0000.tif` and so on, so that those of two sources become pairs; DICOM files are
            numbered in the order of their names. None for the names above.
        window: the smallest and the largest value that is written; values beyond them are set to them. Networks take
            the range of their training pictures as the whole range, and the metal in a single slice of a CT would
            leave all tissue a small part of it. None for all values.

    Returns:
        The files that were written.

    Raises:
        UserError: a file that cannot be read or holds several pictures or colours, no DICOM file, a result that exists
            already, a window without width, or a package that is missing.
    """
    source, out = Path(source), Path(out)
    low, high = window or (-np.inf, np.inf)
    if not low < high:
        raise UserError(f"window is {low:g} to {high:g}, expected the smaller value first, such as -1000 to 2000.")
    if _is_nifti(source):
        volume = _read_volume(source)
        targets = [out / f"{one}.tif" for one in _slice_names(name or _stem(source), volume.shape[2])]
        _refuse_to_overwrite(targets)
        for number, target in enumerate(targets):
            write_map(target, volume[:, :, number].T.clip(low, high))
        return targets
    files = _dicom_files(source)
    targets = [out / f"{one}.tif" for one in _names(files, source, name)]
    _refuse_to_overwrite(targets)
    for file in files:  # so that nothing is written if one of them cannot be read
        _read_dicom(file)
    for file, target in zip(files, targets, strict=True):
        write_map(target, _values(_read_dicom(file), file).clip(low, high))
    return targets


def import_slices(slices: Path | str, like: Path | str, out: Path | str, *, name: str | None = None) -> list[Path]:
    """Writes TIFFs, such as translations of exported slices, in the format and the geometry of their source.

    NIfTI volumes hold float32. DICOM pictures hold 16 bits with a slope and an intercept, so that a value is off by at
    most a 131,070th of the picture's range; they get new identifiers, one series for all, and are marked as derived.

    Args:
        slices: the folder of the TIFFs, with the names that `export_slices` gave them.
        like: the source of which they are slices.
        out: the NIfTI file, or the folder of the DICOM files.
        name: the one that `export_slices` got.

    Returns:
        The files that were written.

    Raises:
        UserError: as in `export_slices`, or slices that are missing or differ in size from the source.
    """
    slices, like, out = Path(slices), Path(like), Path(out)
    if _is_nifti(like):
        return [_write_volume(slices, like, out, name or _stem(like))]
    files = _dicom_files(like)
    sources = [slices / f"{one}.tif" for one in _names(files, like, name)]
    targets = [out / f"{one}.dcm" for one in _names(files, like, None)]
    _refuse_missing(sources)
    _refuse_to_overwrite(targets)
    series = _package("pydicom").uid.generate_uid()
    for file, source, target in zip(files, sources, targets, strict=True):
        dataset = _read_dicom(file)
        values = _sized(source, (int(dataset.Rows), int(dataset.Columns)), file)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, _derived(dataset, values, series))
    return targets


def _package(name: str) -> Any:
    """An optional package.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise UserError(f"{name} is not installed; install it with: pip install 'pixelwise[medical]'.")
    return importlib.import_module(name)


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def _stem(source: Path) -> str:
    return source.name[: source.name.lower().rindex(".nii")]


def _slice_names(stem: str, count: int) -> list[str]:
    return [f"{stem}_{number:0{DIGITS}d}" for number in range(count)]


def _read_volume(source: Path) -> np.ndarray:
    """(X, Y, Z) float32."""
    nibabel = _package("nibabel")
    try:
        volume = np.asarray(nibabel.load(source).get_fdata(dtype=np.float32))
    except (OSError, ValueError, EOFError, nibabel.filebasedimages.ImageFileError) as error:
        raise UserError(f"{source}: cannot be read as NIfTI ({error}); copy or export it again.") from None
    if volume.ndim != 3:
        raise UserError(
            f"{source}: {volume.ndim} axes of {' x '.join(map(str, volume.shape))} found, expected a volume of three; "
            "save each of its volumes by itself."
        )
    return volume


def _write_volume(slices: Path, like: Path, out: Path, stem: str) -> Path:
    nibabel = _package("nibabel")
    if not _is_nifti(out):
        raise UserError(f"{out}: expected a name that ends in .nii or .nii.gz, like that of the source {like}.")
    shape = _read_volume(like).shape
    sources = [slices / f"{one}.tif" for one in _slice_names(stem, shape[2])]
    _refuse_missing(sources)
    _refuse_to_overwrite([out])
    volume = np.stack([_sized(source, (shape[1], shape[0]), like).T for source in sources], axis=2)
    original = nibabel.load(like)
    header = original.header.copy()
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1, 0)
    content = nibabel.Nifti1Image(volume.astype(np.float32), original.affine, header).to_bytes()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, gzip.compress(content, mtime=0) if out.name.lower().endswith(".gz") else content)
    return out


def _dicom_files(source: Path) -> list[Path]:
    """The DICOM files below a folder, or the file itself, by their first bytes, whatever their suffix."""
    if not source.exists():
        raise UserError(f"{source}: no such file or folder.")
    every = [source]
    if source.is_dir():
        every = [Path(folder) / name for folder, _, names in os.walk(source) for name in names]
    files = sorted(file for file in every if _is_dicom(file))
    if not files:
        raise UserError(f"{source}: no DICOM file found (and no NIfTI volume, whose name ends in .nii or .nii.gz).")
    return files


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _names(files: Sequence[Path], source: Path, name: str | None) -> list[str]:
    """The numbered name, or the paths below the source without suffixes; two that differ only in their suffix keep it.

    The numbers of an identifier are no suffix: `1.2.840` and `1.2.841` are two names.
    """
    if name is not None:
        return _slice_names(name, len(files))
    below = [file.relative_to(source).as_posix() if source.is_dir() else file.name for file in files]
    stems = [path[: -len(end)] if (end := Path(path).suffix).lower() in DICOM_SUFFIXES else path for path in below]
    return [stem if stems.count(stem) == 1 else path for stem, path in zip(stems, below, strict=True)]


def _read_dicom(file: Path) -> Any:
    pydicom = _package("pydicom")
    try:
        dataset = pydicom.dcmread(file)
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        samples = int(dataset.SamplesPerPixel)
    except (pydicom.errors.InvalidDicomError, AttributeError, OSError, ValueError, EOFError) as error:
        raise UserError(f"{file}: cannot be read as a DICOM picture ({error}); export it again.") from None
    if frames != 1 or samples != 1:
        raise UserError(
            f"{file}: {frames} frames of {samples} channels found, expected one frame of one channel; export every "
            "slice as a file of its own."
        )
    return dataset


def _values(dataset: Any, file: Path) -> np.ndarray:
    """(H, W) float32, in the units of the file."""
    try:
        stored = dataset.pixel_array
    except (AttributeError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UserError(f"{file}: its pixels cannot be decoded ({error}); export it without compression.") from None
    slope, intercept = (float(dataset.get(key, value)) for key, value in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    return (stored * np.float64(slope) + intercept).astype(np.float32)


def _derived(dataset: Any, values: np.ndarray, series: str) -> bytes:
    """A DICOM file with new values and the geometry of another one."""
    pydicom = _package("pydicom")
    derived = copy.deepcopy(dataset)
    low, high = float(values.min()), float(values.max())
    slope = float(f"{(high - low) / STEPS or 1.0:.10g}")  # decimal strings have at most 16 characters
    intercept = float(f"{low:.10g}")
    stored = np.clip(np.rint((values.astype(np.float64) - intercept) / slope), 0, STEPS).astype("<u2")
    for key in ("WindowCenter", "WindowWidth", "SmallestImagePixelValue", "LargestImagePixelValue", "RescaleType"):
        if key in derived:
            delattr(derived, key)
    for key in ("PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "VOILUTSequence"):
        if key in derived:
            delattr(derived, key)
    derived.BitsAllocated = derived.BitsStored = 16
    derived.HighBit, derived.PixelRepresentation = 15, 0
    derived.PhotometricInterpretation = "MONOCHROME2"
    derived.RescaleSlope, derived.RescaleIntercept = f"{slope:.10g}", f"{intercept:.10g}"
    derived.PixelData = stored.tobytes()
    derived["PixelData"].VR = "OW"
    derived["PixelData"].is_undefined_length = False
    derived.ImageType = ["DERIVED", "SECONDARY"]
    derived.SeriesInstanceUID = series
    derived.SOPInstanceUID = pydicom.uid.generate_uid()
    derived.file_meta.MediaStorageSOPInstanceUID = derived.SOPInstanceUID
    derived.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, derived, enforce_file_format=True, little_endian=True, implicit_vr=False)
    return stream.getvalue()


def _sized(file: Path, size: tuple[int, int], like: Path) -> np.ndarray:
    """The finite values of a TIFF, (H, W), which must have this size."""
    values = read_map(file)
    if values.shape != size:
        raise UserError(
            f"{file}: {values.shape[1]} x {values.shape[0]} pixels found, but the slices of {like} have {size[1]} x "
            f"{size[0]} (width x height); give pictures that were made from these slices."
        )
    if not np.isfinite(values).all():
        raise UserError(f"{file}: holds NaN or infinity, which {like} cannot hold; replace these values.")
    return values


def _refuse_missing(files: Sequence[Path]) -> None:
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(files)} slices are missing ({some(missing, 2)}); export_slices gives the names."
        )


def _refuse_to_overwrite(files: Sequence[Path]) -> None:
    for taken in files:
        if taken.exists():
            raise UserError(f"{taken}: exists already and would be overwritten; give another place, or remove it.")
