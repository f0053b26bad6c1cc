"""Prediction of the class of a picture of any size and kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import nn

from pixelwise import notebook
from pixelwise.data.fit import Centre
from pixelwise.data.pictures import convert
from pixelwise.errors import UserError, unknown
from pixelwise.inference.augmentation import FLIPS
from pixelwise.inference.engine import TorchEngine
from pixelwise.inference.forms import check_form
from pixelwise.inference.predictor import Inference, InferenceOptions, Prediction, Progress, Written
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.encoder import Classifier
from pixelwise.tasks.classify.heat import SlidingClassifier, write_heat_map

BATCH_PIXELS = 1 << 21
"""Pixels per batch."""
RANKS = 5
"""Classes per picture in the table."""


class ClassifyOptions(InferenceOptions):
    """Options of prediction by classifiers."""

    flips: str = Field("none", description="mirror images to average over: none, horizontal or all")
    heatmap: str | None = Field(None, description="name of a class: slide the classifier over each picture instead")


@dataclass(frozen=True, slots=True, eq=False)
class ClassPrediction(Prediction):
    """The classes that a classifier predicts for one picture.

    Attributes:
        probabilities: (K,) float32, summing to 1.
        class_names: in the order of the class ids.
        best: ids of the five most probable classes, or of all if there are fewer, best first; None to derive them from
            the probabilities. Logits of 16 bits are often equal; their order is then the one chosen by the caller.
    """

    probabilities: np.ndarray
    class_names: tuple[str, ...]
    best: tuple[int, ...] | None = None

    @property
    def ranking(self) -> tuple[int, ...]:
        """`best`, or the ids by decreasing probability; of equally probable classes the lower id comes first."""
        if self.best is not None:
            return self.best
        return tuple(np.argsort(-self.probabilities, kind="stable")[:RANKS].tolist())

    @property
    def class_id(self) -> int:
        return self.ranking[0]

    @property
    def class_name(self) -> str:
        return self.class_names[self.class_id]

    @property
    def confidence(self) -> float:
        """The probability of the most probable class."""
        return float(self.probabilities.max())

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.class_names[index], float(self.probabilities[index])) for index in order]

    def _repr_html_(self) -> str:
        """What a notebook shows: the most probable classes."""
        return notebook.table(("class", "probability"), [(name, f"{share:.3f}") for name, share in self.top()])

    def rows(self) -> list[list[str]]:
        best = self.top(min(RANKS, len(self.class_names)))
        return [[cell for name, probability in best for cell in (name, f"{probability:.6f}")]]


class ClassifyInference(Inference[ClassPrediction]):
    """Prediction by a classifier.

    A picture is resized, with its proportions, until it just covers the size that the network was trained on; the
    network sees the middle of it (`data.fit.Centre`).

    Raises:
        UserError: options are unknown or do not go together, or the network is not a classifier.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, options: ClassifyOptions) -> None:
        if spec.input_size is None or not isinstance(model, Classifier):
            raise UserError(f"'{spec.model}' does not classify whole pictures; give a network of the task `classify`.")
        if options.flips not in FLIPS:
            raise unknown("flips", options.flips, FLIPS)
        super().__init__(spec)
        self.engine = TorchEngine(model, spec, device=options.device, precision=options.precision)
        self.batch_size = max(BATCH_PIXELS // (spec.input_size[0] * spec.input_size[1]), 1)
        self._flips = FLIPS[options.flips]
        self._fit = Centre(spec.input_size)
        self._sliding = None
        if options.heatmap is None:
            self.table = "predictions.csv"
            ranks = range(2, min(RANKS, len(spec.class_names)) + 1)
            more = [f"{word}_{rank}" for rank in ranks for word in ("class", "probability")]
            self.columns = ("class", "probability", *more)
        elif options.flips != "none":
            raise UserError("--heatmap cannot be combined with --flips; leave out one of them.")
        else:
            self._sliding = SlidingClassifier(model, spec, options.heatmap)

    @property
    def suffixes(self) -> dict[str, tuple[str, ...]]:
        return {} if self._sliding is None else {"heat": (".tif", ".png")}

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return self._fit.image(image)

    def predict(self, raster: Raster, picture: Picture) -> ClassPrediction:
        pixels = raster.read(0, raster.height, 0, raster.width)
        return self.measured([self.prepare(convert(pixels, self.spec.form, raster.name))])[0]

    def measured(self, prepared: Sequence[np.ndarray]) -> list[ClassPrediction]:
        return [ClassPrediction(row, self.spec.class_names) for row in self.probabilities(prepared)]

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        if self._sliding is not None:
            return Written((write_heat_map(self._sliding, file, target),))
        with open_raster(file) as raster:
            check_form(raster, self.spec)
            return Written(rows=self.predict(raster, file).rows())

    def probabilities(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """N pictures from `prepare` -> (N, K) float32."""
        found = []
        for start in range(0, len(prepared), self.batch_size):
            images = self.engine.prepare(np.stack(prepared[start : start + self.batch_size]))
            total = torch.zeros(())
            for axes in self._flips:
                # `flip` copies and does not keep channels_last.
                copy = images.flip(axes).contiguous(memory_format=torch.channels_last) if axes else images
                total = total + self.engine.run(copy).float().softmax(1).cpu()
            found.append(total / len(self._flips))
        return torch.cat(found).numpy() if found else np.zeros((0, len(self.spec.class_names)), np.float32)
