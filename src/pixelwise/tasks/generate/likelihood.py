"""Exact likelihoods of pictures under autoregressive networks: prediction and scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelwise.data.listing import counted
from pixelwise.data.pictures import convert
from pixelwise.data.sample import Sample
from pixelwise.data.value_colours import coloured_over
from pixelwise.errors import UserError
from pixelwise.inference.forms import check_form
from pixelwise.inference.predictor import Prediction, Progress, Written
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.metrics.bootstrap import mean_margin
from pixelwise.metrics.headline import Headline
from pixelwise.models.generate.autoregressive import bits_per_dimension
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.finite import check_answer
from pixelwise.tasks.evaluation import Scores
from pixelwise.tasks.generate.inference import PictureModel, as_pictures, surprise_suffixes
from pixelwise.tasks.generate.outliers import complexity

NATS = (
    Headline(
        "nats",
        "negative log-likelihood (nats)",
        higher=False,
        definition="The negative logarithm of the probability of a picture, averaged over pictures. It is exact.",
        limits=(0.0, None),
        unit="nats",
    ),
    Headline(
        "bits_per_dim",
        "bits per dimension",
        higher=False,
        definition="The same with logarithms to base 2, divided by the number of values of a picture.",
        limits=(0.0, None),
        unit="bits",
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class SurprisePrediction(Prediction):
    """How improbable a picture is under a network, and which pixels make it so.

    Attributes:
        nats: the negative log-probability of the picture.
        values: number of values of the picture, over pixels and colours.
        surprise: (H, W) float32, the negative log-probability of each pixel given the earlier ones, in nats, summed
            over colours; at the network's size.
        picture: (H, W, C), as the network saw it, in the units of the files; None in validation.
    """

    columns = ("nats", "bits_per_dim")

    nats: float
    values: int
    surprise: np.ndarray
    picture: np.ndarray | None = None

    def rows(self) -> list[list[str]]:
        return [[f"{self.nats:.6g}", f"{bits_per_dimension(self.nats, self.values):.6g}"]]

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8: the surprise in colours over the picture, bright for the most surprising pixel."""
        assert self.picture is not None
        return coloured_over(self.picture, self.surprise, 0.0, float(self.surprise.max()))


class SurpriseInference(PictureModel[SurprisePrediction]):
    """Inference by an autoregressive network: the probability of a picture, and of each of its pixels.

    `pixelwise predict` writes `NAME_surprise.tif` with the nats of each pixel, and `surprise.csv` with those of each
    picture. Values between black and white are drawn for networks of binary pictures, always with the same random
    numbers.
    """

    table = "surprise.csv"
    columns = SurprisePrediction.columns

    @property
    def suffixes(self) -> dict[str, tuple[str, ...]]:
        return surprise_suffixes(self.options)

    def predict(self, raster: Raster, picture: Picture) -> SurprisePrediction:
        pixels = raster.read(0, raster.height, 0, raster.width)
        return self.measured([self.prepare(convert(pixels, self.spec.form, raster.name))])[0]

    def measured(self, prepared: Sequence[np.ndarray]) -> list[SurprisePrediction]:
        with torch.inference_mode():
            return surprises(self.model, self.seen(prepared), self.spec)

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        with open_raster(file) as raster:
            check_form(raster, self.spec)
            found = self.predict(raster, file)
        return Written(tuple(self.write_surprise(found, target)), found.rows())


def surprises(network: Any, images: torch.Tensor, spec: ModelSpec | None = None) -> list[SurprisePrediction]:
    """The surprise at pictures (N, C, H, W) in 0..1; with a spec, predictions hold the pictures that were seen."""
    seen = network.discrete(images, torch.Generator().manual_seed(0))
    surprise = check_answer(network.surprise(seen))
    totals, maps = surprise.flatten(1).sum(1).tolist(), surprise.sum(1).cpu().numpy()
    pictures = [None] * len(totals) if spec is None else as_pictures(seen, spec)
    return [
        SurprisePrediction(nats, images[0].numel(), each, picture)
        for nats, each, picture in zip(totals, maps, pictures, strict=True)
    ]


class LikelihoodScores(Scores[SurprisePrediction]):
    """Averages the negative log-likelihood over pictures.

    Args:
        levels: of the network; 1 for binary pictures.
    """

    headlines: Sequence[Headline] = NATS

    def __init__(self, *, levels: int) -> None:
        self.levels = levels
        self.nats: list[float] = []
        self.complexities: list[float] = []
        self._values = 1

    def update(self, prediction: SurprisePrediction, sample: Sample) -> None:
        self.nats.append(prediction.nats)
        self._values = prediction.values
        if prediction.picture is not None:
            self.complexities.append(complexity(prediction.picture))

    def merge(self, other: LikelihoodScores) -> None:
        self.nats += other.nats
        self.complexities += other.complexities
        self._values = max(self._values, other._values)

    def values(self) -> dict[str, float]:
        nats = math.fsum(self.nats) / len(self.nats) if self.nats else math.nan
        return {"nats": nats, "bits_per_dim": bits_per_dimension(nats, self._values)}

    def evidence(self) -> dict[str, np.ndarray]:
        return {"auc": np.array(self.nats), "auc_corrected": np.array(self.nats) - np.array(self.complexities)}

    def margin(self) -> float:
        return mean_margin(np.array(self.nats))

    def summary(self, split: str) -> dict[str, Any]:
        if not self.nats:
            raise UserError(f"no picture in the split '{split}', so there is nothing to measure; choose another.")
        what = (
            "of binary pictures, drawn with the values as probabilities (dynamic binarisation)"
            if self.levels == 1
            else f"of pictures with {self.levels} levels per value"
        )
        return {
            "split": split,
            "pictures": len(self.nats),
            **self.values(),
            "bound": "exact",
            "definition": "nats per picture, summed over its values, averaged over "
            f"{counted(len(self.nats), 'picture', 'pictures')} of the {split} split; "
            f"the exact negative log-likelihood {what}",
        }
