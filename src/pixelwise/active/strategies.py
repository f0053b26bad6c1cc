"""The strategies of `pixelwise suggest`: what is measured of each picture, and how the budget is spent on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pixelwise.active import selection, sensitivity
from pixelwise.active.selection import Select
from pixelwise.active.sensitivity import LogitsOf
from pixelwise.active.uncertainty import Passes, entropy, margin, variation_ratio

DEFAULT = "mixed"


@dataclass(frozen=True, slots=True)
class Strategy:
    """How pictures, regions or pixels are chosen.

    Attributes:
        summary: what it measures, in a few words.
        phrase: the reason in the table, with `{}` for the number that was measured.
        select: chooses among the candidates.
        score: the passes for some pictures -> a score per prediction; large scores are chosen first. None if the
            predictions do not matter.
        distance: a network and pictures (N, C, H, W) -> distances (N,) to the decision boundary; the smallest are
            chosen first.
        dropout: whether passes with Monte Carlo dropout are measured instead of a single one.
        features: whether features are compared.
        whole: whether only networks with one prediction per picture have it.
    """

    summary: str
    phrase: str
    select: Select
    score: Callable[[Passes], Tensor] | None = None
    distance: Callable[[LogitsOf, Tensor], Tensor] | None = None
    dropout: bool = False
    features: bool = False
    whole: bool = False


def _entropy(passes: Passes) -> Tensor:
    return entropy(passes.mean())


def _margin(passes: Passes) -> Tensor:
    return 1 - margin(passes.mean())


def _variation_ratio(passes: Passes) -> Tensor:
    return variation_ratio(passes.mean())


STRATEGIES: dict[str, Strategy] = {
    "mixed": Strategy(
        "uncertain, and far from all others in the space of the features",
        "1 - margin {:.3f}",
        selection.mixed,
        score=_margin,
        features=True,
    ),
    "entropy": Strategy("the entropy of the prediction", "entropy {:.3f} nats", selection.top, score=_entropy),
    "margin": Strategy(
        "the best class hardly exceeds the second best", "1 - margin {:.3f}", selection.top, score=_margin
    ),
    "variation_ratio": Strategy(
        "the best class is improbable (Monte Carlo dropout)",
        "variation ratio {:.3f}",
        selection.top,
        score=_variation_ratio,
        dropout=True,
    ),
    "bald": Strategy(
        "the passes of Monte Carlo dropout disagree",
        "mutual information {:.4f} nats",
        selection.top,
        score=Passes.bald,
        dropout=True,
    ),
    "power_bald": Strategy(
        "as bald, drawn at random in proportion to it",
        "mutual information {:.4f} nats",
        selection.power,
        score=Passes.bald,
        dropout=True,
    ),
    "sensitivity": Strategy(
        "the margin over the norm of its input gradient is small",
        "distance {:.3g} to the boundary (first order)",
        selection.top,
        distance=sensitivity.margin_sensitivity,
    ),
    "adversarial": Strategy(
        "a small perturbation changes the class (DeepFool)",
        "distance {:.3g} to the boundary (DeepFool)",
        selection.top,
        distance=sensitivity.adversarial_distance,
        whole=True,
    ),
    "k_centre": Strategy("far from all others in the space of the features", "", selection.cover, features=True),
    "k_centre_subspace": Strategy(
        "as k_centre, in the low-dimensional space that the features span",
        "",
        selection.cover_subspace,
        features=True,
    ),
    "random": Strategy("drawn at random, as a baseline", "drawn at random", selection.random),
}
"""The values of `--strategy`."""
