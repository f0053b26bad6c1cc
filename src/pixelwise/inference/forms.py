"""Whether a picture is of the form that a model was trained on."""

from __future__ import annotations

import numpy as np

from pixelwise.data.pictures import holds_fractions
from pixelwise.errors import UserError
from pixelwise.inference.rasters import Raster
from pixelwise.models.spec import ModelSpec

FARTHEST = 50
"""Standard deviations above the mean of the training pictures beyond which integers are of another range."""


def check_form(raster: Raster, spec: ModelSpec) -> None:
    """
    Raises:
        UserError: a picture whose channels or values are not what the model was trained on.
    """
    expected = spec.form.channels
    if raster.channels != expected and {raster.channels, expected} != {1, 3}:
        pages = ", one per page of the file," if raster.pages > 1 else ""
        raise UserError(
            f"{raster.name}: {raster.channels} channels{pages} found, but the model takes {expected}; give it pictures "
            "like those that it was trained on."
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
            f"{max(spec.mean):.3g}; bring the picture to their range."
        )
