"""Active learning: which pictures, regions or pixels to label next.

Acquisition functions measure how much a label would help: `uncertainty` from probabilities, `sensitivity` from
gradients, `coverage` from features. `suggest` applies them to a pool of pictures.
"""

from pixelwise.active.coverage import k_centre, principal_subspace
from pixelwise.active.dropout import with_monte_carlo_dropout
from pixelwise.active.sensitivity import adversarial_distance, margin_sensitivity
from pixelwise.active.uncertainty import bald, entropy, margin, power_bald, variation_ratio

__all__ = [
    "adversarial_distance",
    "bald",
    "entropy",
    "k_centre",
    "margin",
    "margin_sensitivity",
    "power_bald",
    "principal_subspace",
    "variation_ratio",
    "with_monte_carlo_dropout",
]
