"""A trained classifier slid over large pictures: where they look like a class."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import tifffile

from pixelwise.atomic import write_bytes
from pixelwise.data.pictures import convert, write_png
from pixelwise.errors import UserError, unknown
from pixelwise.hardware import default_device
from pixelwise.inference.forms import check_form
from pixelwise.inference.many import complain, each, refuse_to_overwrite
from pixelwise.inference.overview import OVERVIEW_SIDE
from pixelwise.inference.rasters import open_raster
from pixelwise.inference.sliding import heat_map, window_counts
from pixelwise.inference.writer import output_names
from pixelwise.models.convert import fully_convolutional
from pixelwise.models.spec import ModelSpec, load_model

BAND = 64  # rows of an overview that are read at a time


class SlidingClassifier:
    """A classifier that answers for every window of a picture, at the picture's own scale.

    A window is as large as the view that the classifier was trained on. What it was trained on was resized to that view
    (`data.fit.Cover`); a picture that it slides over is taken as it is.

    Args:
        class_name: what is looked for.

    Raises:
        UserError: a file that holds no classifier, a class that it does not know, or a classifier that cannot be made
            fully convolutional.
    """

    def __init__(self, path: Path | str, class_name: str) -> None:
        model, self.spec = load_model(path)
        if self.spec.view is None:
            raise UserError(f"'{self.spec.model}' is no classifier of whole pictures.")
        if class_name not in self.spec.class_names:
            raise unknown(f"class of {path}:", class_name, self.spec.class_names)
        self.class_id = self.spec.class_names.index(class_name)
        self.network = fully_convolutional(model.to(default_device()), self.spec.view).eval()

    def __call__(self, file: Path) -> np.ndarray:
        """(h, w) float32: the probability of the class in each window.

        Raises:
            UserError: a picture that cannot be read, does not suit the model, or is smaller than a window.
        """
        spec = self.spec
        with open_raster(file) as raster:
            check_form(raster, spec)
            try:
                window_counts((raster.height, raster.width), self.network.window, self.network.stride)
            except UserError as error:
                raise UserError(f"{file}: {error}") from None
        # Far more than what padding does to a window reaches over the border of a tile.
        margin = max(self.network.window)
        return heat_map(self.network, file, self.class_id, mean=spec.mean, std=spec.std, form=spec.form, margin=margin)


def write_heat_maps(
    classifier: SlidingClassifier, files: Sequence[Path], root: Path, out: Path, progress: Callable[[float], None]
) -> list[Path]:
    """Writes for each picture `NAME_heat.tif`, the probability of the class in each window as float32, and
    `NAME_heat.png`, the same over the picture, reduced where that is large.

    Returns:
        The TIFFs.

    Raises:
        UserError: a result exists already, or pictures that could not be used, once all others are done.
    """
    from pixelwise.report.boxes import heat_overlay

    targets = [out / f"{name}_heat" for name in output_names(files, root)]
    maps, drawn = ([target.with_name(target.name + suffix) for target in targets] for suffix in (".tif", ".png"))
    refuse_to_overwrite([*maps, *drawn])

    def write(number: int, file: Path) -> None:
        heat = classifier(file)
        image, factor = overview(file, classifier.spec)
        window, stride = (
            (pair[0] / factor, pair[1] / factor) for pair in (classifier.network.window, classifier.network.stride)
        )
        drawn[number].parent.mkdir(parents=True, exist_ok=True)
        write_png(drawn[number], heat_overlay(image, heat, window=window, stride=stride))
        stream = io.BytesIO()
        tifffile.imwrite(stream, heat, photometric="minisblack")
        write_bytes(maps[number], stream.getvalue())

    complain(each(files, write, progress), len(files))
    return maps


def overview(file: Path, spec: ModelSpec) -> tuple[np.ndarray, int]:
    """A picture (h, w, C) reduced by a whole factor to `OVERVIEW_SIDE` or less, and that factor. What is left over at
    the right and at the bottom is cut off.

    Raises:
        UserError: it cannot be read.
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
