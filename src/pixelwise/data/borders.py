"""The weight map of the U-Net paper: what lies between touching cells counts more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pixelwise.data.sample import VOID, Sample

REACH = 5
"""Standard deviations beyond which a border weighs nothing: exp(-12.5) is 4e-6."""


def border_weights(ids: np.ndarray, *, weight: float, sigma: float) -> np.ndarray:
    """weight exp(-(d1 + d2)^2 / (2 sigma^2)) between objects (Ronneberger et al., MICCAI 2015, equation 2).

    d1 and d2 are the distances in pixels to the nearest and to the second nearest object. The paper has 10 and about 5;
    class weights are the loss's own. Inside of objects it is 0: nothing is to be kept apart there.

    Args:
        ids: (H, W) label map, 0 where there is no object.

    Returns:
        (H, W) float32.
    """
    nearest, second = (np.full(ids.shape, np.inf, np.float32) for _ in range(2))
    reach = int(np.ceil(REACH * sigma))
    for number in np.unique(ids[ids > 0]):
        here = ids == number
        rows, columns = (np.flatnonzero(here.any(axis)) for axis in (1, 0))
        window = (
            slice(max(rows[0] - reach, 0), rows[-1] + reach + 1),
            slice(max(columns[0] - reach, 0), columns[-1] + reach + 1),
        )
        distance = cv2.distanceTransform((~here[window]).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        farther = np.maximum(nearest[window], distance)
        nearest[window] = np.minimum(nearest[window], distance)
        second[window] = np.minimum(second[window], farther)
    return np.where(ids > 0, 0, weight * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))).astype(np.float32)


@dataclass(frozen=True, slots=True)
class WithBorderWeights:
    """Views of another transform, with `weights` of 1 and more between their objects.

    Objects are those that the dataset tells apart; else the connected parts of everything that is not class 0.
    """

    transform: Callable[[Sample, np.random.Generator], Sample]
    weight: float
    sigma: float

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        view = self.transform(sample, rng)
        if view.mask is None:
            return view
        if view.instances is not None and view.instances.ids is not None:
            ids = view.instances.ids
        else:
            things = (view.mask > 0) & (view.mask != VOID)
            _, ids = cv2.connectedComponents(things.astype(np.uint8), connectivity=4)
        return replace(view, weights=1 + border_weights(ids, weight=self.weight, sigma=self.sigma))
