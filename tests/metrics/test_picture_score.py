"""Errors of pictures, against other implementations and by laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from pixelwise.metrics.pictures import ConstantScore, PictureScore

RNG = np.random.default_rng(0)


def pictures(count: int = 3) -> list[np.ndarray]:
    return [RNG.integers(0, 256, (7 + number, 9, 3)).astype(np.uint8) for number in range(count)]


def test_psnr_is_that_of_scikit_image() -> None:
    made, truth = pictures(1)[0], pictures(1)[0]
    score = PictureScore()
    score.update(made, truth, 255.0)
    assert score.psnr() == pytest.approx(peak_signal_noise_ratio(truth, made, data_range=255))
    assert score.l1() == pytest.approx(np.abs(made.astype(float) - truth).mean())


def test_parts_merged_are_the_whole_and_depth_does_not_matter() -> None:
    whole, parts, deep = PictureScore(), PictureScore(), PictureScore()
    for made, truth in zip(pictures(), pictures(), strict=True):
        part = PictureScore()
        whole.update(made, truth, 255.0)
        part.update(made, truth, 255.0)
        parts.merge(part)
        deep.update(made.astype(np.uint16) * 257, truth.astype(np.uint16) * 257, 65_535.0)
    for other in (parts, deep):
        assert (other.values, other.l1(), other.psnr()) == pytest.approx((whole.values, whole.l1(), whole.psnr()))


def test_gaps_are_left_out_and_nothing_is_not_a_number() -> None:
    made, truth = np.zeros((2, 2, 1), np.float32), np.full((2, 2, 1), 3.0, np.float32)
    made[0, 0] = np.nan
    truth[1, 1] = np.nan
    score = PictureScore()
    assert math.isnan(score.l1())
    assert math.isnan(score.psnr())
    score.update(made, truth, 255.0)
    assert score.values == 2
    assert score.l1() == 3
    same = PictureScore()
    same.update(truth, truth, 255.0)
    assert same.l1() == 0
    assert math.isnan(same.psnr())
    with pytest.raises(ValueError, match="but the truth is"):
        score.update(made, truth[:1], 255.0)


def test_no_single_colour_is_better_than_the_best() -> None:
    truths = pictures()
    score, halves = ConstantScore(), [ConstantScore(), ConstantScore()]
    assert math.isnan(score.l1())
    for number, truth in enumerate(truths):
        score.update(truth, 0.0, 255.0)
        halves[number % 2].update(truth, 0.0, 255.0)
    halves[0].merge(halves[1])
    assert halves[0].l1() == score.l1()
    values = np.concatenate([truth.reshape(-1, 3) for truth in truths]).astype(float)
    errors = [[np.abs(values[:, channel] - level).mean() for level in range(256)] for channel in range(3)]
    assert score.l1() == pytest.approx(np.mean([min(each) for each in errors]))
