"""How large the crops are that networks are trained on, and pictures at the size that they are made from."""

from __future__ import annotations

import math

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import UNLABELLED, Dataset
from pixelwise.data.fit import Cover
from pixelwise.recipe.draft import Draft, Pace

CROP_SIDE = 384
"""Longest side of a crop on a CPU: larger crops cost time without showing a network of this kind more context."""
ROOM = 0.85
"""Share of a picture's side that leaves a crop room to move."""
SHORT_OF_TIME = 160
"""Side that a crop is made smaller to, at most, where the time allows few of them."""
FEWEST_CROPS = 2000
"""Crops that a run of a given length is to see."""
LARGE_SIDE = 288
"""Sides from which a crop is large enough to be learned from at half the size first."""
MANY_CROPS = 30_000
"""Crops that leave time enough for the whole size from the start."""
HALF_SIZE_SHARE = 0.6
"""Of a run from random weights: on CamVid it gained three points of mean IoU in minutes, on the small pictures of the
demo it lost as many (benchmarks/learning_speed.md)."""


def plan_dense_crop(draft: Draft, least: int, most: int, share: float = ROOM) -> None:
    """Decides the size of a crop, a multiple of the network's stride, and how many go into a step.

    Args:
        least, most: limits of the batch.
        share: of a picture's side that a crop has at most.
    """
    facts = draft.facts
    stride = getattr(draft.network, "stride", 1)
    limit = CROP_SIDE if draft.device.type == "cpu" else 2 * CROP_SIDE
    sides = []
    for side in (facts.height[1], facts.width[1]):
        wanted = min(limit, side if side <= stride else max(stride, int(share * side) // stride * stride))
        sides.append(max(wanted, 1))
    size = f"{facts.height[1]} x {facts.width[1]}"
    why = f"pictures are {size} (median); a multiple of the network's stride {stride}"
    if draft.pace is not None:
        affordable = _affordable(draft.pace, (sides[0], sides[1]), stride)
        if affordable != tuple(sides):
            rate = draft.pace.crops((sides[0], sides[1]))
            why += f"; only {rate:,.0f} of {sides[1]} x {sides[0]} would fit into the time"
            sides = list(affordable)
    draft.derive("augment", "crop", sides, why)
    draft.derive_batch(least, most, "crops")


def plan_half_size(draft: Draft) -> None:
    """Decides whether crops show the same at half the size first, which a run in minutes from random weights gains by:
    what is large can be learned from a quarter of the pixels."""
    if draft.pace is None or draft.values["model"].get("weights") is not None or min(draft.crop) < LARGE_SIDE:
        return
    crops = draft.pace.crops(draft.crop)
    if crops < MANY_CROPS:
        why = f"{crops:,.0f} whole crops would fit into the time; random weights learn the large from a quarter of the "
        draft.derive("train", "half_size", HALF_SIZE_SHARE, f"{why}pixels")


def _affordable(pace: Pace, crop: tuple[int, int], stride: int) -> tuple[int, int]:
    """The largest crop, of the same shape or nearly so, of which enough fit into the time."""
    factor = min(1.0, math.sqrt(pace.crops(crop) / FEWEST_CROPS))
    smaller = (
        max(int(factor * side) // stride * stride, min(side, -(-SHORT_OF_TIME // stride) * stride)) for side in crop
    )
    height, width = smaller
    return height, width


def covering(cache: SampleCache, dataset: Dataset, crop: tuple[int, int]) -> SampleCache:
    """A cache of pictures that just cover a crop, all of them read once.

    Raises:
        UserError: a picture that cannot be read.
    """
    covered = cache.then(Cover(crop))
    if covered is not cache:
        splits = (split for split in ("train", "val", UNLABELLED) if split in dataset.splits)
        covered.read_all([record for split in splits for record in dataset.split(split)])
    return covered
