"""The form to which the pictures of a dataset are converted: the channels and depth of most of them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pixelwise.data.listing import some
from pixelwise.data.pictures import KIND_SUFFIXES, Header, PictureFormat, probe
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError


def seen_channels(header: Header) -> int:
    """The channels that `read_picture` returns: alpha is dropped, palettes and CMYK become RGB."""
    if header.mode in {"P", "PA", "CMYK"}:
        return 3
    return header.channels - 1 if header.has_alpha else header.channels


def seen_dtype(header: Header) -> str:
    """The dtype that `read_picture` returns."""
    if header.dtype == "bool" or header.mode == "P":
        return "uint8"
    return header.dtype if header.dtype in {"uint8", "uint16"} else "float32"


def majority_form(pictures: Sequence[Path], limit: int = 200) -> PictureFormat:
    """The channels and the dtype of most pictures, from the headers of at most `limit` of them.

    Raises:
        UserError: none of them can be read.
    """
    headers = []
    failure: UserError | None = None
    for picture in even_sample(pictures, limit):
        try:
            headers.append(probe(picture))
        except UserError as error:  # reported when that picture is read, or by the doctor
            failure = failure or error
    if not headers and failure is not None:
        raise failure
    return form_of(headers)


def form_of(headers: Sequence[Header]) -> PictureFormat:
    """The channels and the dtype of most of these pictures."""
    channels = Counter(seen_channels(header) for header in headers)
    dtypes = Counter(seen_dtype(header) for header in headers)
    # On a tie the richer form wins, which loses nothing.
    return PictureFormat(
        channels=max(channels, key=lambda count: (channels[count], count)),
        dtype=max(dtypes, key=lambda dtype: (dtypes[dtype], dtype != "uint8", dtype == "float32")),
    )


def guessed_channels(pictures: Sequence[Path], limit: int = 200) -> tuple[str, ...]:
    """What is guessed about TIFFs of several pages, from the headers of at most `limit` of them."""
    paged = []
    for picture in even_sample([one for one in pictures if one.suffix.lower() in KIND_SUFFIXES["TIFF"]], limit):
        with contextlib.suppress(UserError):  # reported when that picture is read, or by the doctor
            if probe(picture).meaning == "unknown":
                paged.append(picture.name)
    return (f"{some(paged, 3)}: {PAGES_AS_CHANNELS}",) if paged else ()


PAGES_AS_CHANNELS = (
    "TIFFs of several pages whose meaning is not stated. The pages are read as the channels of one picture; if "
    "they are slices, split them into one file per slice (in Fiji: Save As > Image Sequence). To state that they are "
    "channels, save them with the axes CYX."
)
