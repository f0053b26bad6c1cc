"""Views are undone exactly, and their mean is the mean of probabilities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.inference.augmentation import AveragedCopies


def images(height: int = 13, width: int = 18) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def pixelwise(copy: Tensor) -> Tensor:
    """Looks at single pixels, so it commutes with every flip."""
    return torch.stack([copy[:, 0] * 3, copy[:, 1] - copy[:, 2], copy.sum(1)], dim=1)


@pytest.mark.parametrize("flips", ["none", "horizontal", "all"])
def test_flips_change_nothing_for_a_network_that_commutes_with_them(flips: str) -> None:
    logits = AveragedCopies(flips)(pixelwise, images())
    torch.testing.assert_close(logits.softmax(1), pixelwise(images()).softmax(1), rtol=0, atol=1e-6)


def test_without_views_logits_pass_through() -> None:
    assert torch.equal(AveragedCopies()(pixelwise, images()), pixelwise(images()))


@pytest.mark.parametrize(("flips", "axes"), [("horizontal", [(), (3,)]), ("all", [(), (3,), (2,), (2, 3)])])
def test_the_mean_is_of_probabilities_of_turned_back_copies(flips: str, axes: list[tuple[int, ...]]) -> None:
    def by_position(copy: Tensor) -> Tensor:
        """Depends on where a pixel lies, so flips matter."""
        return pixelwise(copy) * torch.linspace(0, 2, copy.shape[3]) + torch.linspace(0, 1, copy.shape[2])[:, None]

    expected = sum(by_position(images().flip(a)).softmax(1).flip(a) for a in axes) / len(axes)
    found = AveragedCopies(flips)(by_position, images()).softmax(1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert (found - by_position(images()).softmax(1)).abs().max() > 0.05


def test_scales_are_seen_by_the_network_and_undone() -> None:
    seen = []

    def network(copy: Tensor) -> Tensor:
        seen.append(tuple(copy.shape[-2:]))
        return pixelwise(copy)

    flat = torch.ones(1, 3, 20, 31) * torch.tensor([0.3, -1.0, 0.5])[:, None, None]
    logits = AveragedCopies("none", (0.5, 1.0, 1.5))(network, flat)
    assert seen == [(10, 16), (20, 31), (30, 46)]
    torch.testing.assert_close(logits.softmax(1), pixelwise(flat).softmax(1), rtol=0, atol=1e-6)


def test_one_pixel_survives_every_scale() -> None:
    assert AveragedCopies("all", (0.1, 2.0))(pixelwise, images(1, 1)).isfinite().all()


def test_certainty_survives_the_logarithm() -> None:
    logits = AveragedCopies("horizontal")(lambda copy: pixelwise(copy) * 1e4, images())
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
        AveragedCopies(flips, scales)
