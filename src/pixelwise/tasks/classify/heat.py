"""Slides a trained classifier over large pictures, to show where they look like a class."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import tifffile
from torch import nn

from pixelwise.atomic import write_bytes
from pixelwise.data.pictures import convert, write_png
from pixelwise.errors import UserError, unknown
from pixelwise.hardware import default_device
from pixelwise.inference.forms import check_form
from pixelwise.inference.overview import OVERVIEW_SIDE
from pixelwise.inference.rasters import open_raster
from pixelwise.models.convert import fully_convolutional
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.encoder import Classifier
from pixelwise.report.boxes import heat_overlay
from pixelwise.tasks.classify.sliding import heat_map, window_counts

BAND = 64  # rows of an overview that are read at a time


class SlidingClassifier:
    """A classifier that predicts the class of every window of a picture, at the picture's own scale.

    A window is as large as the crops on which the classifier was trained. Training pictures were resized to
    that size (`data.fit.Cover`), but the picture over which the classifier slides is not resized.

    Args:
        class_name: the class to look for.

    Raises:
        UserError: the network is not a classifier, it does not have the class, or it cannot be made fully
            convolutional.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, class_name: str) -> None:
        if spec.input_size is None or not isinstance(model, Classifier):
            raise UserError(f"'{spec.model}' does not classify whole pictures; give a network of the task `classify`.")
        if class_name not in spec.class_names:
            raise unknown(f"class of {spec.model}:", class_name, spec.class_names)
        self.spec = spec
        self.class_id = spec.class_names.index(class_name)
        self.network = fully_convolutional(model.to(default_device()), spec.input_size).eval()

    def __call__(self, file: Path) -> np.ndarray:
        """(h, w) float32: the probability of the class in each window.

        Raises:
            UserError: the picture cannot be read, does not suit the model, or is smaller than a window.
        """
        spec = self.spec
        with open_raster(file) as raster:
            check_form(raster, spec)
            try:
                window_counts((raster.height, raster.width), self.network.window, self.network.stride)
            except UserError as error:
                raise UserError(f"{file}: {error}") from None
        # Padding at the border of a tile affects far less than this.
        margin = max(self.network.window)
        return heat_map(self.network, file, self.class_id, mean=spec.mean, std=spec.std, form=spec.form, margin=margin)


def write_heat_map(classifier: SlidingClassifier, file: Path, target: Path) -> Path:
    """Writes the heat map of a class as `TARGET_heat.tif` and `TARGET_heat.png`.

    The TIFF holds the probability of the class in each window as float32. The PNG shows it over the picture, which is
    reduced if it is large.

    Returns:
        The TIFF.

    Raises:
        UserError: the picture cannot be read, does not suit the network, or is smaller than a window.
    """
    heat = classifier(file)
    image, factor = overview(file, classifier.spec)
    window, stride = (
        (pair[0] / factor, pair[1] / factor) for pair in (classifier.network.window, classifier.network.stride)
    )
    drawn, written = (target.with_name(f"{target.name}_heat{suffix}") for suffix in (".png", ".tif"))
    drawn.parent.mkdir(parents=True, exist_ok=True)
    write_png(drawn, heat_overlay(image, heat, window=window, stride=stride))
    stream = io.BytesIO()
    tifffile.imwrite(stream, heat, photometric="minisblack")
    write_bytes(written, stream.getvalue())
    return written


def overview(file: Path, spec: ModelSpec) -> tuple[np.ndarray, int]:
    """A picture (h, w, C), reduced by a whole factor to `OVERVIEW_SIDE` or less, and the factor.

    Pixels at the right and at the bottom that do not fill a whole step are cut off.

    Raises:
        UserError: the picture cannot be read.
    """
    with open_raster(file) as raster:
        factor = -(-max(raster.height, raster.width) // OVERVIEW_SIDE)
        rows, columns = max(raster.height // factor, 1), max(raster.width // factor, 1)
        bands = []
        for top in range(0, rows, BAND):
            bottom = min(top + BAND, rows)
            band = raster.read(top * factor, bottom * factor, 0, columns * factor)
            band = convert(band, spec.form, raster.name)
            if factor > 1:
                band = cv2.resize(band, (columns, bottom - top), interpolation=cv2.INTER_AREA)
            bands.append(band.reshape(bottom - top, columns, -1))
        return np.concatenate(bands), factor
