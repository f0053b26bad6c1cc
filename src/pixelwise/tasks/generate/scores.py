"""Scores of generative models: bounds on the likelihood, and distances between generated and real pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.listing import counted
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.json_values import or_none
from pixelwise.metrics.kid import diversity, frechet_distance, jackknife_error, kernel_distance
from pixelwise.models.generate.autoregressive import bits_per_dimension
from pixelwise.report.limits import Limit
from pixelwise.tasks.evaluation import Scores
from pixelwise.tasks.generate.features import Features
from pixelwise.tasks.generate.inference import SAMPLES, BoundPrediction, PairPrediction
from pixelwise.tasks.generate.outliers import complexity

NATS = (
    Headline(
        "negative_elbo",
        "negative ELBO (nats)",
        higher=False,
        definition="Reconstruction plus KL divergence: an upper bound on the negative log-likelihood of a picture.",
        limits=(0.0, None),
        unit="nats",
    ),
    Headline(
        "reconstruction",
        "reconstruction (nats)",
        higher=False,
        definition="The negative log-likelihood of a picture given its code, summed over the picture's values.",
        limits=(0.0, None),
        unit="nats",
    ),
    Headline(
        "kl",
        "KL divergence (nats)",
        higher=False,
        definition="The divergence of the distribution of a picture's code from N(0, I), summed over the code's "
        "dimensions.",
        limits=(0.0, None),
        unit="nats",
    ),
)
DISTANCES = (
    Headline(
        "kid",
        "KID",
        higher=False,
        definition="Kernel distance between the features of equally many generated and real pictures: an unbiased "
        "estimate of the squared maximum mean discrepancy, which is 0 if both come from the same distribution "
        "(Bińkowski et al. 2018).",
        limits=(0.0, None),
        unit="squared discrepancy",
    ),
    Headline(
        "fid",
        "Fréchet distance (FID)",
        higher=False,
        definition="The distance between two Gaussians, fitted to the features of generated and of real pictures "
        "(Heusel et al. 2017).",
        limits=(0.0, None),
    ),
)

FEWEST_COMPARED = 2
"""The fewest real pictures whose distribution can be compared with that of generated ones."""
LEAST_DIVERSITY = 0.5
"""A generator whose pictures differ less from each other, as a share of how far real ones do, has collapsed."""
CONSTANT_SHARE = 0.5
"""So has one whose KID is at least this share of the KID of a constant picture."""


class BoundScores(Scores[BoundPrediction]):
    """Averages the terms of the evidence lower bound over pictures.

    Args:
        binarised: whether the network draws a binary picture from each picture.
        bound: what kind of bound on the negative log-likelihood the terms are; empty for none.
    """

    headlines: Sequence[Headline] = NATS

    def __init__(self, *, binarised: bool, bound: str = "") -> None:
        self.binarised = binarised
        self.bound = bound
        self._terms: list[tuple[float, float]] = []
        self._complexities: list[float] = []
        self._bounds: list[float] = []
        self._values = 1

    def update(self, prediction: BoundPrediction, sample: Sample) -> None:
        self._terms.append((prediction.reconstruction, prediction.kl))
        if prediction.seen is not None:
            self._values = prediction.seen.size
            self._complexities.append(complexity(prediction.seen))
        if not math.isnan(prediction.bound):
            self._bounds.append(prediction.bound)

    def merge(self, other: BoundScores) -> None:
        self._terms += other._terms
        self._complexities += other._complexities
        self._bounds += other._bounds
        self._values = max(self._values, other._values)

    def values(self) -> dict[str, float]:
        reconstruction, kl = np.mean(self._terms, 0) if self._terms else (math.nan, math.nan)
        return {
            "negative_elbo": float(reconstruction + kl),
            "reconstruction": float(reconstruction),
            "kl": float(kl),
        }

    def evidence(self) -> dict[str, np.ndarray]:
        reconstruction, kl = np.array(self._terms).T
        bounds = reconstruction + kl
        return {
            "auc": bounds,
            "auc_corrected": bounds - np.array(self._complexities),
            "auc_reconstruction": reconstruction,
        }

    def summary(self, split: str) -> dict[str, Any]:
        if not self._terms:
            raise UserError(f"no picture in the split '{split}', so there is nothing to measure; choose another.")
        drawn = ", binary pictures drawn with the values as probabilities" if self.binarised else ""
        values = self.values()
        summary: dict[str, Any] = {
            "split": split,
            "pictures": len(self._terms),
            **values,
        }
        if self.bound:
            nats = values["negative_elbo"]
            summary |= {"nats": nats, "bits_per_dim": bits_per_dimension(nats, self._values), "bound": self.bound}
        definition = (
            "nats per picture, summed over values and code dimensions, averaged over "
            f"{counted(len(self._terms), 'picture', 'pictures')} of the {split} split{drawn}; one sample of the code "
            "per picture"
        )
        if self._bounds:
            summary["importance_weighted_bound"] = -math.fsum(self._bounds) / len(self._bounds)
            definition += (
                f"; importance_weighted_bound: the tighter bound from {SAMPLES} samples of the code (Burda et al. "
                f"2016), averaged over the first {len(self._bounds)} pictures"
            )
        return {**summary, "definition": definition}


class DistanceScores(Scores[PairPrediction]):
    """Distances between the features of real pictures and of equally many generated pictures.

    Args:
        folder: the run's folder; it may hold the classifier whose features are compared.
    """

    headlines: Sequence[Headline] = DISTANCES

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._real: list[np.ndarray] = []
        self._generated: list[np.ndarray] = []

    def update(self, prediction: PairPrediction, sample: Sample) -> None:
        self._real.append(prediction.real)
        self._generated.append(prediction.generated)

    def merge(self, other: DistanceScores) -> None:
        self._real += other._real
        self._generated += other._generated

    def values(self) -> dict[str, float]:
        if len(self._real) < FEWEST_COMPARED:
            return {"kid": math.nan, "fid": math.nan}
        real, generated = self._features(Features(self.folder))
        return {"kid": kernel_distance(generated, real).mean, "fid": frechet_distance(generated, real)}

    def _features(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        return features(np.stack(self._real)), features(np.stack(self._generated))

    def summary(self, split: str) -> dict[str, Any]:
        if len(self._real) < FEWEST_COMPARED:
            raise UserError(
                f"fewer than {FEWEST_COMPARED} pictures in the split '{split}', so there is nothing to compare with; "
                "choose another."
            )
        features = Features(self.folder)
        real, generated = self._features(features)
        constant = features(np.repeat(np.mean(self._real, 0, keepdims=True), len(self._real), 0))
        definition = (
            f"{len(self._real)} generated pictures compared with as many of the {split} split by {features.words}; "
            "comparable only with distances that use the same features. kid_error and fid_error are standard errors "
            "(jackknife over ten parts); kid_constant is the distance of pictures that all equal the mean picture, "
            "kid_real that of one half of the real pictures from the other; diversity is how far generated pictures "
            "differ from each other, as a share of how far real ones do"
        )
        return {
            "split": split,
            "pictures": len(self._real),
            "kid": kernel_distance(generated, real).mean,
            "fid": frechet_distance(generated, real),
            "kid_error": or_none(jackknife_error(lambda x, y: kernel_distance(x, y).mean, generated, real)),
            "fid_error": or_none(jackknife_error(frechet_distance, generated, real)),
            "kid_constant": kernel_distance(constant, real).mean,
            "kid_real": kernel_distance(real[::2], real[1::2]).mean if len(real) > 3 else None,
            "diversity": diversity(generated, real),
            "definition": definition,
        }


def collapsed(summary: Mapping[str, Any]) -> Limit | None:
    """The finding that a generator makes always the same, or nothing like the data; None if it does neither."""
    varied, kid, constant = summary["diversity"], summary["kid"], summary["kid_constant"]
    if varied >= LEAST_DIVERSITY and kid < CONSTANT_SHARE * constant:
        return None
    alike = f"generated pictures differ from each other {varied:.0%} as far as real ones do"
    return Limit(
        "collapsed",
        f"The generator has collapsed: {alike}, and their KID is {kid:.3g} (a constant picture has {constant:.3g}).",
        "Control the discriminator's slope, or train longer; look at the samples over time first.",
        "--set method.lipschitz=spectral_norm",
    )
