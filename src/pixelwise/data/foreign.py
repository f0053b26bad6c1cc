"""Picture formats that are not read, recognised by their suffix or first bytes, so that messages can name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

_RAWS = "3fr arw cr2 cr3 crw dng erf iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f"
_SLIDES = "bif mrxs ndpi scn svs svslide vms"
_MICROSCOPES = "czi dv ims lif lsm nd2 oib oif oir stk vsi zvi"

NAMES = {
    **dict.fromkeys((".heic", ".heif", ".hif", ".heics"), "HEIC"),
    ".jxl": "JPEG XL",
    **dict.fromkeys((".jxr", ".hdp", ".wdp"), "JPEG XR"),
    **{f".{suffix}": "camera raw" for suffix in _RAWS.split()},
    **dict.fromkeys((".dcm", ".dicom"), "DICOM"),
    **dict.fromkeys((".nii", ".nii.gz"), "NIfTI"),
    **dict.fromkeys((".mha", ".mhd"), "MetaImage"),
    ".nrrd": "NRRD",
    ".mnc": "MINC",
    **{f".{suffix}": "microscope file" for suffix in _MICROSCOPES.split()},
    **{f".{suffix}": "slide scan" for suffix in _SLIDES.split()},
    **dict.fromkeys((".psd", ".psb"), "Photoshop"),
    ".xcf": "GIMP",
    ".kra": "Krita",
    **dict.fromkeys((".svg", ".svgz"), "SVG"),
    ".pdf": "PDF",
    **dict.fromkeys((".eps", ".ps", ".ai"), "PostScript"),
    **dict.fromkeys((".emf", ".wmf"), "Windows metafile"),
    **dict.fromkeys((".djvu", ".djv"), "DjVu"),
    ".exr": "OpenEXR",
    ".hdr": "Radiance HDR",
    ".pfm": "PFM",
    ".dds": "DirectDraw surface",
    ".pcx": "PCX",
    ".sgi": "SGI",
    ".ras": "Sun raster",
    ".qoi": "QOI",
    ".ico": "icon",
    **dict.fromkeys((".fits", ".fit", ".fts"), "FITS"),
    **dict.fromkeys((".ecw", ".sid"), "compressed aerial picture"),
    **dict.fromkeys((".npy", ".npz"), "NumPy array"),
    ".mat": "MATLAB file",
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".wmv", ".mpg", ".mpeg"), "video"),
}
"""Suffix -> its format."""
LAST_SUFFIXES = frozenset(f".{name.rsplit('.', 1)[-1]}" for name in NAMES)
"""For `listing.picture_files`, which looks at the last suffix; `.gz` may be something else, see `format_of`."""


def format_of(path: PurePath) -> str:
    """The format that a file name indicates; empty if it is none of `NAMES`."""
    if path.suffix.lower() == ".gz":
        return NAMES[".nii.gz"] if path.name.lower().endswith(".nii.gz") else ""
    return NAMES.get(path.suffix.lower(), "")


def named(files: Iterable[PurePath]) -> str:
    """How many files there are of each format: `3 HEIC, 1 DICOM`."""
    counts = Counter(format_of(file) for file in files)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis"), "HEIC"),
    b"crx ": "camera raw",
    **dict.fromkeys((b"mp41", b"mp42", b"isom", b"qt  ", b"M4V "), "video"),
}
_BEGINNINGS = {
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"8BPS": "Photoshop",
    b"gimp xcf": "GIMP",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"\x93NUMPY": "NumPy array",
    b"PK\x03\x04": "ZIP archive",
    b"\x1f\x8b": "gzip archive",
    b"<svg": "SVG",
    b"<!DOCTYPE": "web page",
    b"<!doctype": "web page",
    b"<html": "web page",
    b"version https://git-lfs": "pointer of Git LFS, whose file was not fetched",
}


def format_of_bytes(beginning: bytes) -> str:
    """The format that a file's first 32 bytes indicate; empty if it is none of the formats that are not read."""
    if beginning[4:8] == b"ftyp":
        return _BRANDS.get(beginning[8:12], "")
    found = (name for start, name in _BEGINNINGS.items() if beginning.startswith(start))
    return next(found, "")
