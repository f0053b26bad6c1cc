"""The weight map of the U-Net paper, which weights the gaps between touching cells more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pixelwise.data.sample import VOID, Sample

REACH = 5
"""Beyond this many standard deviations a border has no weight: exp(-12.5) is 4e-6."""


def border_weights(ids: np.ndarray, *, weight: float, sigma: float) -> np.ndarray:
    """weight exp(-(d1 + d2)^2 / (2 sigma^2)) between objects (Ronneberger et al., MICCAI 2015, equation 2).

    d1 and d2 are the distances in pixels to the nearest and to the second nearest object. The paper uses a weight of 10
    and a sigma of about 5; class weights belong to the loss. Inside objects the weight is 0, because there is nothing
    to separate.

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
    """Adds `weights` to the crops of another transform: more than 1 between objects, 1 elsewhere.

    The objects are those that the dataset distinguishes; otherwise the connected parts of everything but class 0.
    """

    transform: Callable[[Sample, np.random.Generator], Sample]
    weight: float
    sigma: float

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        crop = self.transform(sample, rng)
        if crop.mask is None:
            return crop
        if crop.instances is not None and crop.instances.ids is not None:
            ids = crop.instances.ids
        else:
            things = (crop.mask > 0) & (crop.mask != VOID)
            _, ids = cv2.connectedComponents(things.astype(np.uint8), connectivity=4)
        return replace(crop, weights=1 + border_weights(ids, weight=self.weight, sigma=self.sigma))
