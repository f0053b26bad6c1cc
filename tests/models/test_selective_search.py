"""Selective search: any picture, the same boxes every time, and objects found whatever their colour or proportions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelwise.data.scenes import scene
from pixelwise.models.detect import selective_search as module
from pixelwise.models.detect.selective_search import selective_search
from pixelwise.nn.boxes import pairwise_iou


def recall(image: np.ndarray, true: np.ndarray, most: int, overlap: float) -> float:
    found = selective_search(image, most)
    return float((pairwise_iou(torch.tensor(true), torch.from_numpy(found)).amax(1) >= overlap).float().mean())


def test_a_flat_object_on_a_flat_ground_is_one_of_few_boxes() -> None:
    image = np.full((60, 90, 3), 40, np.uint8)
    image[20:45, 30:70] = (200, 30, 30)
    found = selective_search(image)
    assert [30, 20, 70, 45] in found.round().tolist()
    assert [0, 0, 90, 60] in found.tolist()
    assert len(found) < 50


def test_digits_of_a_scene_are_among_a_few_hundred_boxes() -> None:
    shares = []
    for seed in range(4):
        sample = scene(seed, (96, 128), digits=(3, 6))
        assert sample.instances is not None
        shares.append(recall(sample.image, sample.instances.boxes, 500, 0.5))
    assert np.mean(shares) >= 0.9


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 400, 3), (700, 3, 1), (20, 6000, 3), (40, 30, 5), (33, 47, 2)])
def test_pictures_of_any_proportions_and_channels(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = selective_search(image)
    assert 1 <= len(found) <= 2000
    assert len(np.unique(found, axis=0)) == len(found)
    assert (found[:, :2] >= 0).all()
    assert (found[:, 2:] <= np.array([shape[1], shape[0]]) + 1e-3).all()
    assert (found[:, 2:] > found[:, :2]).all()


def test_units_make_no_difference_and_nothing_is_random() -> None:
    image = scene(3, (64, 80)).image
    first = selective_search(image)
    module._FOUND.clear()
    assert np.array_equal(first, selective_search(image))
    module._FOUND.clear()
    other = (image.astype(np.float32) - np.array([120, 90, 100], np.float32)) / np.array([50, 60, 70], np.float32)
    assert np.array_equal(first, selective_search(other))


def test_a_large_picture_is_searched_at_reduced_size_and_boxes_are_in_its_own_pixels() -> None:
    image = np.zeros((1500, 2000, 3), np.uint8)
    image[300:900, 500:1500] = 255
    assert recall(image, np.array([[500.0, 300.0, 1500.0, 900.0]], np.float32), 50, 0.95) == 1


def test_pictures_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    module._FOUND.clear()
    searched = []
    plain = module._searched
    monkeypatch.setattr(module, "_searched", lambda small: searched.append(1) or plain(small))
    pictures = [np.random.default_rng(seed).integers(0, 256, (12, 12, 1)).astype(np.uint8) for seed in range(3)]
    for number in (0, 1, 0, 2, 0):  # the first goes when the third comes
        selective_search(pictures[number])
    assert len(searched) == 4
    assert len(module._FOUND) == 2
