"""From a picture of any size and kind to its class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import nn

from pixelwise.data.fit import Centre
from pixelwise.data.pictures import convert
from pixelwise.errors import UserError, unknown
from pixelwise.inference.augmentation import FLIPS
from pixelwise.inference.engine import TorchEngine
from pixelwise.inference.forms import check_form
from pixelwise.inference.rasters import Picture, open_raster
from pixelwise.models.spec import ModelSpec, load_model

BATCH_PIXELS = 1 << 21
"""Pixels that go through the network together."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassPrediction:
    """What a classifier says of one picture.

    Attributes:
        probabilities: (K,) float32, summing to 1.
        class_names: by class id.
    """

    probabilities: np.ndarray
    class_names: tuple[str, ...]

    @property
    def class_id(self) -> int:
        return int(self.probabilities.argmax())

    @property
    def class_name(self) -> str:
        return self.class_names[self.class_id]

    @property
    def confidence(self) -> float:
        """The probability of that class."""
        return float(self.probabilities.max())

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.class_names[index], float(self.probabilities[index])) for index in order]


class ClassPredictor:
    """A model ready to say what pictures show.

    A picture is resized, its proportions kept, until it covers the view that the model was trained on, and its middle
    is looked at (`data.fit.Centre`).

    Args:
        device, precision: see `TorchEngine`.
        flips: average over mirrored views, a name in `augmentation.FLIPS`.

    Raises:
        UserError: options that are unknown, or a model that is no classifier.
    """

    def __init__(
        self, model: nn.Module, spec: ModelSpec, *, device: str = "auto", precision: str = "auto", flips: str = "none"
    ) -> None:
        if spec.view is None:
            raise UserError(f"'{spec.model}' is no classifier of whole pictures.")
        if flips not in FLIPS:
            raise unknown("flips", flips, FLIPS)
        self.spec = spec
        self.class_names = spec.class_names
        self.engine = TorchEngine(model, spec, device=device, precision=precision)
        self.batch_size = max(BATCH_PIXELS // (spec.view[0] * spec.view[1]), 1)
        self._flips = FLIPS[flips]
        self._fit = Centre(spec.view)

    @classmethod
    def from_file(cls, path: Path | str, *, device: str = "auto", precision: str = "auto", flips: str = "none") -> Self:
        """The classifier of a model file, such as a run's `best.safetensors`; options as for the class.

        Raises:
            UserError: a file that is missing, damaged, not written by pixelwise, or of another kind of model.
        """
        model, spec = load_model(path)
        return cls(model, spec, device=device, precision=precision, flips=flips)

    def __call__(self, picture: Picture) -> ClassPrediction:
        """Classifies a file, an array (H, W) or (H, W, C), or a Pillow image, of any mode and size.

        Raises:
            UserError: a picture that cannot be read or does not suit the model.
        """
        return ClassPrediction(self.probabilities([self.read(picture)])[0], self.class_names)

    def read(self, picture: Picture) -> np.ndarray:
        """A picture as the model sees it, before normalisation: (height, width, C) of the view.

        Raises:
            UserError: as for a call.
        """
        with open_raster(picture) as raster:
            check_form(raster, self.spec)
            pixels = raster.read(0, raster.height, 0, raster.width)
            return self._fit.image(convert(pixels, self.spec.form, raster.name))

    def probabilities(self, views: Sequence[np.ndarray]) -> np.ndarray:
        """N pictures from `read` -> (N, K) float32."""
        found = []
        for start in range(0, len(views), self.batch_size):
            prepared = self.engine.prepare(np.stack(views[start : start + self.batch_size]))
            total = torch.zeros(())
            for axes in self._flips:
                # `flip` copies and forgets channels_last.
                view = prepared.flip(axes).contiguous(memory_format=torch.channels_last) if axes else prepared
                total = total + self.engine.run(view).float().softmax(1).cpu()
            found.append(total / len(self._flips))
        return torch.cat(found).numpy() if found else np.zeros((0, len(self.class_names)), np.float32)
