"""A classifier over a large picture: in tiles, in one piece, and one window after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixelwise.data.pictures import write_png
from pixelwise.errors import UserError
from pixelwise.models.convert import FullyConvolutional, fully_convolutional
from pixelwise.tasks.classify.sliding import heat_map, score_rows, slide

MEAN, STD = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)


def valid_classifier() -> nn.Module:
    """A window of 20 x 14, a stride of 4 x 4, no padding."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8 * 4 * 2, 5),
    ).eval()  # fmt: skip


def padded_classifier() -> nn.Module:
    """A window of 16 x 16, a stride of 4, padding, a global average."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval()  # fmt: skip


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def normalised(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy((pixels.astype(np.float32) - MEAN) / STD).float().permute(2, 0, 1)[None]


def tiled(network: FullyConvolutional, pixels: np.ndarray | Path, tile: int, margin: int = 0) -> Tensor:
    rows = list(score_rows(network, pixels, mean=MEAN, std=STD, tile=tile, margin=margin))
    firsts = [first for first, _ in rows]
    assert firsts == list(np.cumsum([0, *(scores.shape[1] for _, scores in rows)])[:-1])
    return torch.cat([scores for _, scores in rows], 1)


@pytest.mark.parametrize(("height", "width"), [(61, 83), (20, 14), (23, 90), (60, 62)])
@pytest.mark.parametrize("tile", [1, 24, 37, 1000])
def test_tiles_equal_one_window_after_the_other(height: int, width: int, tile: int) -> None:
    classifier = valid_classifier()
    network = fully_convolutional(classifier, (20, 14))
    pixels = picture(height, width)
    expected = slide(classifier, normalised(pixels), window=(20, 14), stride=(4, 4), batch=7)
    assert expected.shape == (1, 5, 1 + (height - 20) // 4, 1 + (width - 14) // 4)
    found = tiled(network, pixels, tile)
    assert found.shape == expected.shape[1:]
    assert torch.allclose(found, expected[0], atol=1e-5)


@torch.no_grad()
def test_the_slow_way_cuts_out_windows() -> None:
    classifier, images = valid_classifier(), torch.randn(2, 3, 30, 40)
    scores = slide(classifier, images, window=(20, 14), stride=(3, 5))
    assert scores.shape == (2, 5, 4, 6)
    assert torch.allclose(scores[1, :, 2, 3], classifier(images[1:, :, 6:26, 15:29])[0], atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(70, 91), (64, 48)])
def test_a_margin_makes_tiles_of_a_padded_classifier_equal_the_whole(height: int, width: int) -> None:
    network = fully_convolutional(padded_classifier(), 16)
    pixels = picture(height, width)
    with torch.no_grad():
        whole = network(normalised(pixels))[0]
    rows, columns = (1 + (size - 16) // 4 for size in (height, width))
    found = tiled(network, pixels, 28, margin=24)
    assert found.shape == (5, rows, columns)
    assert torch.allclose(found, whole[:, :rows, :columns], atol=1e-5)
    assert (tiled(network, pixels, 28) - found).abs().max() > 1e-3  # without it, zeros are seen at the seams


def test_probability_of_a_class_from_a_file(tmp_path: Path) -> None:
    network = fully_convolutional(valid_classifier(), (20, 14))
    pixels = picture(50, 60)
    write_png(tmp_path / "picture.png", pixels)
    heat = heat_map(network, tmp_path / "picture.png", 3, mean=MEAN, std=STD, tile=30)
    assert heat.dtype == np.float32
    np.testing.assert_allclose(heat, tiled(network, pixels, 1000).softmax(0)[3].numpy(), atol=1e-6)


def test_grey_pictures_and_one_mean_for_all() -> None:
    classifier = nn.Sequential(nn.Conv2d(1, 2, 4), nn.Flatten(), nn.Linear(2 * 5 * 5, 3)).eval()
    pixels = picture(20, 22)[:, :, 0]
    rows = list(score_rows(fully_convolutional(classifier, 8), pixels, mean=(10,), std=(20,)))
    images = torch.from_numpy((pixels.astype(np.float32) - 10) / 20)[None, None]
    assert torch.allclose(rows[0][1], slide(classifier, images, window=(8, 8), stride=(1, 1))[0], atol=1e-5)


def test_memory_does_not_grow_with_the_picture() -> None:
    """No input of the network is larger than a tile, whatever the picture."""
    network = fully_convolutional(valid_classifier(), (20, 14))
    seen: list[tuple[int, ...]] = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    tiled(network, picture(300, 200), 64)
    assert max(height for height, _ in seen) <= 64 + 3
    assert max(width for _, width in seen) <= 64 + 3
    assert len(seen) >= 300 * 200 // 64**2


def test_a_picture_smaller_than_the_window() -> None:
    network = fully_convolutional(valid_classifier(), (20, 14))
    with pytest.raises(UserError, match="19 x 80 pixels is smaller than the window, 20 x 14"):
        next(score_rows(network, picture(19, 80), mean=MEAN, std=STD))
    with pytest.raises(UserError, match="smaller than the window"):
        slide(valid_classifier(), torch.randn(1, 3, 40, 13), window=(20, 14), stride=(4, 4))
