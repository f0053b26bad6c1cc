"""`pixelwise slices`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_pictures
from pixelwise.errors import UserError


def slices(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="A NIfTI volume, a DICOM file or a folder of them; with --like, the folder of TIFFs."
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="PLACE", help="The folder to write into; with --like VOLUME, the NIfTI file.")
    ],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name the slices NAME_0000 and so on, so that CT and MR become pairs."),
    ] = None,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Limit values to this range, in the units of the source."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(metavar="SOURCE", help="Write TIFFs back as DICOM or NIfTI, in the geometry of this source."),
    ] = None,
) -> None:
    """Turn slices of DICOM and NIfTI files into TIFFs in their units, and TIFFs back into these formats."""
    from pixelwise.data.listing import counted
    from pixelwise.data.medical import export_slices, import_slices

    prepare_for_pictures()
    if like is None:
        written = export_slices(source, out, name=name, window=window)
    elif window is None:
        written = import_slices(source, like, out, name=name)
    else:
        raise UserError("--window limits what is read from a source; it does not go with --like.")
    print(f"{counted(len(written), 'file', 'files')} written: {written[0]}{' ...' if written[1:] else ''}")
