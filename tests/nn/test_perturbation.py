"""Strong changes of pictures: what stays where it is, what moves together, and what a seed decides."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from pixelwise.nn.perturbation import AREA, blurred, noisy, pasted, random_boxes, strongly_lit

CPU = torch.device("cpu")


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_light_changes_and_nothing_moves(channels: int) -> None:
    torch.manual_seed(0)
    images = torch.zeros(16, channels, 24, 24)
    images[:, :, 4:12, 6:18] = 3.0
    changed = strongly_lit(images)
    assert changed.shape == images.shape
    assert torch.isfinite(changed).all()
    assert (changed != images).any(dim=(1, 2, 3)).all()
    inside, outside = changed[:, :, 6:10, 9:15].mean((1, 2, 3)), changed[:, :, 16:22].mean((1, 2, 3))
    assert (inside > outside + 1).all(), "the bright rectangle is where it was"
    assert len({round(float(each.mean()), 4) for each in changed}) == 16, "each picture has a light of its own"


def test_the_normalisation_does_not_matter() -> None:
    """Pictures in other units change as much: those normalised for published weights have a deviation of about 0.6."""
    images = torch.randn(4, 3, 16, 16)
    torch.manual_seed(0)
    changed = strongly_lit(images)
    torch.manual_seed(0)
    torch.testing.assert_close(strongly_lit(0.1 * images), 0.1 * changed)


def test_a_seed_gives_the_same_picture() -> None:
    images = torch.randn(2, 3, 8, 8)
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(strongly_lit(images))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("width", [0.5, 1.5])
def test_blur_is_opencv_s(width: float) -> None:
    image = np.random.default_rng(0).normal(size=(9, 11, 3)).astype(np.float32)
    expected = cv2.GaussianBlur(image, (5, 5), width, borderType=cv2.BORDER_REPLICATE)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    found = blurred(tensor, torch.full((1, 1, 1, 1), width))[0].permute(1, 2, 0)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_noise_has_the_deviation_that_is_asked_for() -> None:
    torch.manual_seed(0)
    found = noisy(torch.zeros(2, 1, 200, 200), torch.tensor([0.1, 0.7]).view(2, 1, 1, 1))
    assert found[0].std().item() == pytest.approx(0.1, rel=0.05)
    assert found[1].std().item() == pytest.approx(0.7, rel=0.05)


def test_boxes_are_boxes_of_the_stated_area() -> None:
    torch.manual_seed(0)
    boxes = random_boxes(3000, 20, 30, CPU)
    assert boxes.shape == (3000, 1, 20, 30)
    rows, columns = boxes.any(3).sum(2), boxes.any(2).sum(2)
    assert torch.equal(boxes.sum((2, 3)), rows * columns), "one rectangle"
    share = boxes.float().mean((1, 2, 3))
    assert AREA[0] - 0.04 <= share.min()
    assert share.max() <= AREA[1] + 0.04
    assert share.max() - share.min() > 0.3
    reached = boxes.any(0)[0]
    assert reached.all(), "every pixel may be covered"


def test_a_box_moves_pictures_labels_and_confidences_together() -> None:
    torch.manual_seed(0)
    number = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 20, 30)
    boxes = random_boxes(4, 20, 30, CPU)
    images, labels = pasted(boxes, number), pasted(boxes, number[:, 0].long())
    assert torch.equal(images[:, 0].long(), labels)
    assert torch.equal(images[:, 0] != number[:, 0], boxes[:, 0])
    assert torch.equal(labels[3][boxes[3, 0]].unique(), torch.tensor([0])), "the last one shows the first"
