"""Views are undone exactly, and their mean is the mean of probabilities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.inference.augmentation import AveragedViews


def images(height: int = 13, width: int = 18) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def pixelwise(view: Tensor) -> Tensor:
    """Looks at single pixels, so it commutes with every flip."""
    return torch.stack([view[:, 0] * 3, view[:, 1] - view[:, 2], view.sum(1)], dim=1)


@pytest.mark.parametrize("flips", ["none", "horizontal", "all"])
def test_flips_change_nothing_for_a_network_that_commutes_with_them(flips: str) -> None:
    logits = AveragedViews(flips)(pixelwise, images())
    torch.testing.assert_close(logits.softmax(1), pixelwise(images()).softmax(1), rtol=0, atol=1e-6)


def test_without_views_logits_pass_through() -> None:
    assert torch.equal(AveragedViews()(pixelwise, images()), pixelwise(images()))


@pytest.mark.parametrize(("flips", "axes"), [("horizontal", [(), (3,)]), ("all", [(), (3,), (2,), (2, 3)])])
def test_the_mean_is_of_probabilities_of_turned_back_views(flips: str, axes: list[tuple[int, ...]]) -> None:
    def by_position(view: Tensor) -> Tensor:
        """Depends on where a pixel lies, so flips matter."""
        return pixelwise(view) * torch.linspace(0, 2, view.shape[3]) + torch.linspace(0, 1, view.shape[2])[:, None]

    expected = sum(by_position(images().flip(a)).softmax(1).flip(a) for a in axes) / len(axes)
    found = AveragedViews(flips)(by_position, images()).softmax(1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert (found - by_position(images()).softmax(1)).abs().max() > 0.05


def test_scales_are_seen_by_the_network_and_undone() -> None:
    seen = []

    def network(view: Tensor) -> Tensor:
        seen.append(tuple(view.shape[-2:]))
        return pixelwise(view)

    flat = torch.ones(1, 3, 20, 31) * torch.tensor([0.3, -1.0, 0.5])[:, None, None]
    logits = AveragedViews("none", (0.5, 1.0, 1.5))(network, flat)
    assert seen == [(10, 16), (20, 31), (30, 46)]
    torch.testing.assert_close(logits.softmax(1), pixelwise(flat).softmax(1), rtol=0, atol=1e-6)


def test_one_pixel_survives_every_scale() -> None:
    assert AveragedViews("all", (0.1, 2.0))(pixelwise, images(1, 1)).isfinite().all()


def test_certainty_survives_the_logarithm() -> None:
    logits = AveragedViews("horizontal")(lambda view: pixelwise(view) * 1e4, images())
    assert logits.isfinite().all()
    assert logits.softmax(1).isfinite().all()


@pytest.mark.parametrize(
    ("flips", "scales", "words"),
    [
        ("horizonal", (1.0,), "did you mean 'horizontal'"),
        ("none", (), "scales must be factors"),
        ("none", (1.0, 0.0), "scales must be factors"),
        ("none", (float("nan"),), "scales must be factors"),
    ],
)
def test_options_are_checked(flips: str, scales: tuple[float, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        AveragedViews(flips, scales)
