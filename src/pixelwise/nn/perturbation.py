"""Strong random changes of normalised pictures that keep what they show: light, blur and noise; pasted boxes.

Random numbers are drawn on the CPU, so that a seed gives the same pictures on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.hardware import on_device

CONTRAST, SHIFT, GAIN = 0.5, 0.7, 0.2
"""Largest change of contrast and of each channel's gain as shares, and of brightness in standard deviations of all
pixel values."""
GREY, BLURRED = 0.2, 0.5
"""Probabilities that a picture loses its colours, and that it is blurred."""
WIDTHS = 0.1, 1.5
"""Standard deviation of the blur in pixels."""
NOISE = 0.15
"""Largest standard deviation of the noise, in standard deviations of all pixel values."""
AREA = 0.1, 0.5
"""Smallest and largest area of a box as a share of the picture's."""


def strongly_lit(images: Tensor) -> Tensor:
    """Pictures (N, C, H, W), each in different light: contrast, brightness, colours, blur and noise.

    Nothing moves, so labels of pixels stay valid. The changes are those of FixMatch's strong augmentation that keep
    positions (Sohn et al., NeurIPS 2020, appendix D), with blur as usual for segmentation. They are as strong however
    the pictures are normalised.
    """
    count, channels = images.shape[:2]
    unit = images.std()

    def between(low: float, high: float, width: int = 1) -> Tensor:
        drawn = low + (high - low) * torch.rand(count, width, 1, 1)
        return on_device(drawn, images.device).to(images.dtype)

    middle = images.mean((1, 2, 3), keepdim=True)
    changed = (images - middle) * between(1 - CONTRAST, 1 + CONTRAST) + middle + unit * between(-SHIFT, SHIFT)
    if channels > 1:
        changed = changed * between(1 - GAIN, 1 + GAIN, channels)
        changed = torch.where(between(0, 1) < GREY, changed.mean(1, keepdim=True), changed)
    changed = torch.where(between(0, 1) < BLURRED, blurred(changed, between(*WIDTHS)), changed)
    return noisy(changed, unit * between(0, NOISE))


def noisy(images: Tensor, deviation: Tensor | float) -> Tensor:
    """Pictures (N, C, H, W) with Gaussian noise of a standard deviation, which may differ per picture (N, 1, 1, 1)."""
    return images + deviation * on_device(torch.randn(images.shape), images.device).to(images.dtype)


def blurred(images: Tensor, widths: Tensor) -> Tensor:
    """Gaussian blur of pictures (N, C, H, W) with standard deviations (N, 1, 1, 1) in pixels, 5 x 5 taps.

    The border repeats the outermost pixels.
    """
    count, channels, height, width = images.shape
    taps = torch.arange(-2, 3, device=images.device, dtype=images.dtype)
    weights = torch.exp(-(taps**2) / (2 * widths.view(count, 1) ** 2))
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(channels, 0)  # (N C, 5)
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate").reshape(1, count * channels, height + 4, width + 4)
    rows = F.conv2d(padded, weights[:, None, None, :], groups=count * channels)
    return F.conv2d(rows, weights[:, None, :, None], groups=count * channels).view(count, channels, height, width)


def random_boxes(count: int, height: int, width: int, device: torch.device) -> Tensor:
    """Masks (N, 1, H, W) bool of one box each, of random area (`AREA`), shape (1:2 to 2:1) and position."""
    area = AREA[0] + (AREA[1] - AREA[0]) * torch.rand(count)
    aspect = torch.exp2(2 * torch.rand(count) - 1).sqrt()
    sides = [(area.sqrt() * aspect).clamp(max=1) * height, (area.sqrt() / aspect).clamp(max=1) * width]
    inside = []
    for side, whole in zip(sides, (height, width), strict=True):
        length = side.round().clamp(1, whole)
        start = (torch.rand(count) * (whole - length + 1)).floor()
        at = torch.arange(whole)
        inside.append((at >= start[:, None]) & (at < (start + length)[:, None]))
    rows, columns = inside
    return on_device((rows[:, None, :, None] & columns[:, None, None, :]), device)


def pasted(boxes: Tensor, maps: Tensor) -> Tensor:
    """CutMix: the box of each map shows the next one of the batch (Yun et al., ICCV 2019; French et al., BMVC 2020).

    Args:
        boxes: (N, 1, H, W) bool; the same boxes move pictures, pseudo-labels and confidences together.
        maps: (N, C, H, W) or (N, H, W).
    """
    chosen = boxes if maps.dim() == boxes.dim() else boxes[:, 0]
    return torch.where(chosen, maps.roll(-1, 0), maps)
