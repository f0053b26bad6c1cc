"""The weight map of the U-Net paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch.nn import functional as F

from pixelwise.data.augment import Augmentation
from pixelwise.data.borders import WithBorderWeights, border_weights
from pixelwise.data.loader import collate
from pixelwise.data.sample import Instances, Sample
from pixelwise.data.targets import PixelTargets
from pixelwise.losses import LossSum, cross_entropy


def blobs(seed: int, count: int, size: int = 70) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ids = np.zeros((size, size), np.int32)
    ys, xs = np.mgrid[:size, :size]
    for number in range(1, count + 1):
        y, x = rng.uniform(0, size, 2)
        ids[(ys - y) ** 2 + (xs - x) ** 2 < rng.uniform(3, 9) ** 2] = number
    return ids


@pytest.mark.parametrize("seed", range(4))
def test_equation_2(seed: int) -> None:
    ids = blobs(seed, 9)
    distances = np.sort([distance_transform_edt(ids != number) for number in np.unique(ids[ids > 0])], axis=0)
    expected = 10 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * 4.0**2))
    found = border_weights(ids, weight=10, sigma=4.0)
    assert np.abs(found - np.where(ids > 0, 0, expected)).max() < 1e-3
    assert found.max() > 1


def test_one_object_or_none_has_no_border() -> None:
    assert not border_weights(blobs(0, 1), weight=10, sigma=5).any()
    assert not border_weights(np.zeros((5, 7), np.int32), weight=10, sigma=5).any()


def test_views_are_weighted_between_their_objects() -> None:
    ids = np.zeros((40, 40), np.int32)
    ids[5:35, 4:19], ids[5:35, 21:36] = 1, 2
    mask = (ids > 0).astype(np.uint8)
    image = np.zeros((40, 40, 3), np.uint8)
    augment = WithBorderWeights(Augmentation(crop=(40, 40)), 10.0, 5.0)
    apart = augment(Sample("s", image, mask), np.random.default_rng(0))
    assert apart.weights is not None
    assert apart.weights[20, 19] == pytest.approx(1 + 10 * np.exp(-9 / 50))  # 1 and 2 pixels from the two
    assert apart.weights[20, 10] == 1
    touching = np.where(mask > 0, ids, 0)
    touching[5:35, 19:21] = 2
    merged = (touching > 0).astype(np.uint8)
    seen = Sample("s", image, merged, Instances.from_label_map(touching))
    assert (augment(Sample("s", image, merged), np.random.default_rng(0)).weights == 1).all()
    assert augment(seen, np.random.default_rng(0)).weights.max() > 1  # above and below, where the two are near


def test_the_loss_counts_pixels_by_their_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 6, generator=generator)
    target = torch.randint(0, 3, (2, 5, 6), generator=generator)
    target[0, :2] = 255
    weights = torch.rand(2, 5, 6, generator=generator) * 4
    each = F.cross_entropy(logits, target.where(target != 255, 0), weight=torch.tensor([1.0, 2, 3]), reduction="none")
    shares = weights * (target != 255)
    classes = torch.tensor([1.0, 2, 3])[target.where(target != 255, 0)]
    expected = (each * shares).sum() / (shares * classes).sum()
    found = cross_entropy(logits, target, class_weights=[1, 2, 3], pixel_weights=weights)
    assert torch.allclose(found, expected)
    assert torch.allclose(LossSum({"cross_entropy": 2.0}, [1, 2, 3])(logits, target, weights)["loss"], 2 * expected)
    ones = torch.ones(2, 5, 6)
    assert torch.allclose(cross_entropy(logits, target, pixel_weights=ones), cross_entropy(logits, target))


def test_batches_carry_them() -> None:
    image, mask = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)
    plain = Sample("a", image, mask)
    weighted = Sample("b", image, mask, weights=np.full((4, 5), 3, np.float32))
    assert collate([plain, plain], PixelTargets).targets.weights is None
    batch = collate([plain, weighted], PixelTargets).to(torch.device("cpu"))
    assert batch.targets.weights.mean((1, 2)).tolist() == [1, 3]
