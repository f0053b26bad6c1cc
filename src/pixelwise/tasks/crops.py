"""How large the crops are that networks are trained on, and pictures at the size that they are made from."""

from __future__ import annotations

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import UNLABELLED, Dataset
from pixelwise.data.fit import Cover
from pixelwise.recipe.draft import Draft

CROP_SIDE = 384
"""Longest side of a crop on a CPU: larger crops cost time without showing a network of this kind more context."""


def plan_dense_crop(draft: Draft, least: int, most: int) -> None:
    """Decides the size of a crop, a multiple of the network's stride, and how many go into a step.

    Args:
        least, most: limits of the batch.
    """
    facts = draft.facts
    stride = getattr(draft.network, "stride", 1)
    limit = CROP_SIDE if draft.device.type == "cpu" else 2 * CROP_SIDE
    sides = []
    for side in (facts.height[1], facts.width[1]):
        # A little below the picture's own size leaves the crop room to move.
        wanted = min(limit, side if side <= stride else max(stride, int(0.85 * side) // stride * stride))
        sides.append(max(wanted, 1))
    size = f"{facts.height[1]} x {facts.width[1]}"
    why = f"pictures are {size} (median); a multiple of the network's stride {stride}"
    draft.derive("augment", "crop", sides, why)
    draft.derive_batch(least, most, "crops")


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
