"""Checks that a picture has the channels and the range of values that a model was trained on."""

from __future__ import annotations

import numpy as np

from pixelwise.data.pictures import holds_fractions
from pixelwise.errors import UserError
from pixelwise.inference.rasters import Raster
from pixelwise.models.spec import ModelSpec

FARTHEST = 50
"""Integers this many standard deviations above the mean of the training pictures have a different range of values."""


def check_form(raster: Raster, spec: ModelSpec) -> None:
    """Checks that a picture suits a model.

    Raises:
        UserError: the picture's channels or range of values differ from those that the model was trained on.
    """
    expected = spec.form.channels
    if raster.channels != expected and {raster.channels, expected} != {1, 3}:
        pages = ", one per page of the file," if raster.pages > 1 else ""
        raise UserError(
            f"{raster.name}: {raster.channels} channels{pages} found, but the model takes {expected}; use pictures "
            "like those that the model was trained on."
        )
    if (raster.dtype == "float32") == (spec.form.dtype == "float32"):
        return
    sample = raster.read(0, min(raster.height, 512), 0, min(raster.width, 512))
    if spec.form.dtype != "float32" and holds_fractions(sample):
        top = np.iinfo(spec.form.dtype).max
        raise UserError(
            f"{raster.name}: values from 0 to 1 found, but the model takes 0 to {top}; multiply the picture by {top}."
        )
    if spec.form.dtype == "float32" and sample.max() > max(spec.mean) + FARTHEST * max(spec.std):
        raise UserError(
            f"{raster.name}: integers up to {sample.max():,} found, but the model was trained on floats around "
            f"{max(spec.mean):.3g}; scale the picture to that range."
        )
