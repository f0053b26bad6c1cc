"""Decides the size of the crops that networks are trained on, and prepares pictures for crops."""

from __future__ import annotations

import math

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import UNLABELLED, Dataset
from pixelwise.data.fit import Cover
from pixelwise.recipe.draft import Draft, Pace

CROP_SIDE = 384
"""Longest side of a crop on a CPU: larger crops cost time without adding context that such a network could use."""
ROOM = 0.85
"""A crop's side as a share of the picture's side, so that the crop has room to move."""
SHORT_OF_TIME = 160
"""Crops are not made smaller than this side if the time allows only a few of them."""
FEWEST_CROPS = 2000
"""Crops that a run with a budget of minutes should see."""
LARGE_SIDE = 288
"""Crops with sides of this length or more are large enough for training at half the size first."""
MANY_CROPS = 30_000
"""If this many crops fit into the time, there is enough of it for the whole size from the start."""
HALF_SIZE_SHARE = 0.6
"""Share of a run from random weights that has crops at half the size. On CamVid this gained three points of mean IoU in
runs of minutes; on the small pictures of the demo it lost as many (benchmarks/learning_speed.md)."""


def plan_dense_crop(draft: Draft, least: int, most: int, share: float = ROOM) -> None:
    """Decides the size of a crop, which is a multiple of the network's stride, and the batch size.

    Args:
        least, most: the limits of the batch size.
        share: a crop's side is at most this share of the picture's side.
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
            why += f"; only {rate:,.0f} crops of {sides[1]} x {sides[0]} would fit into the time"
            sides = list(affordable)
    draft.derive("augment", "crop", sides, why)
    draft.derive_batch(least, most, "crops")


def plan_half_size(draft: Draft) -> None:
    """Decides whether the run begins with crops at half the height and width.

    A short run from random weights benefits from this, since large shapes can be learned from a quarter of the pixels.
    """
    if draft.pace is None or draft.values["model"].get("weights") is not None or min(draft.crop) < LARGE_SIDE:
        return
    crops = draft.pace.crops(draft.crop)
    if crops < MANY_CROPS:
        why = f"only {crops:,.0f} whole crops would fit into the time; a quarter of the pixels suffices to learn large "
        draft.derive("train", "half_size", HALF_SIZE_SHARE, f"{why}shapes first")


def _affordable(pace: Pace, crop: tuple[int, int], stride: int) -> tuple[int, int]:
    """The largest crop of about the same shape of which enough fit into the time."""
    factor = min(1.0, math.sqrt(pace.crops(crop) / FEWEST_CROPS))
    smaller = (
        max(int(factor * side) // stride * stride, min(side, -(-SHORT_OF_TIME // stride) * stride)) for side in crop
    )
    height, width = smaller
    return height, width


def covering(cache: SampleCache, dataset: Dataset, crop: tuple[int, int]) -> SampleCache:
    """A cache with pictures reduced to just cover a crop; reads all of them once.

    Raises:
        UserError: a picture that cannot be read.
    """
    covered = cache.then(Cover(crop))
    if covered is not cache:
        splits = (split for split in ("train", "val", UNLABELLED) if split in dataset.splits)
        covered.read_all([record for split in splits for record in dataset.split(split)])
    return covered
