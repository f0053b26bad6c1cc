"""Slides any classifier over a picture of any size: logits of every window, and the heat map of a class.

The classifier is made fully convolutional (`models/convert.py`), so that it computes all windows at once, and runs on
tiles. Neighbouring tiles overlap by a window minus a stride, so that no window between them is lost, and memory does
not grow with the picture. `slide` is the slow way, one window after the other, and is kept as the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.data.pictures import PictureFormat, convert
from pixelwise.errors import UserError
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.models.convert import FullyConvolutional


@torch.inference_mode()
def slide(
    classifier: nn.Module, images: Tensor, *, window: tuple[int, int], stride: tuple[int, int], batch: int = 64
) -> Tensor:
    """(N, C, H, W) -> logits (N, K, h, w), one window after the other, h = 1 + (H - window) // stride.

    Args:
        classifier: (N, C, window) -> logits (N, K), in evaluation mode.
        batch: windows that are classified together.

    Raises:
        UserError: the pictures are smaller than a window.
    """
    rows, columns = window_counts(images.shape[-2:], window, stride)
    windows = images.unfold(2, window[0], stride[0]).unfold(3, window[1], stride[1])  # (N, C, h, w, *window), a view
    positions = torch.cartesian_prod(*(torch.arange(size) for size in (len(images), rows, columns)))
    scores = [classifier(windows[chunk[:, 0], :, chunk[:, 1], chunk[:, 2]]) for chunk in positions.split(batch)]
    return torch.cat(scores).unflatten(0, (len(images), rows, columns)).movedim(-1, 1)


def window_counts(size: Sequence[int], window: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
    """The number of windows in a picture of that height and width, downwards and to the right.

    Raises:
        UserError: the picture is smaller than a window.
    """
    if size[0] < window[0] or size[1] < window[1]:
        raise UserError(
            f"a picture of {size[0]} x {size[1]} pixels is smaller than the window, {window[0]} x {window[1]}; "
            "enlarge it."
        )
    return 1 + (size[0] - window[0]) // stride[0], 1 + (size[1] - window[1]) // stride[1]


def score_rows(
    network: FullyConvolutional,
    picture: Picture,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    form: PictureFormat | None = None,
    tile: int = 1024,
    margin: int = 0,
) -> Iterator[tuple[int, Tensor]]:
    """The logits of every window of a picture, some rows of windows at a time.

    For a classifier that pads nowhere, they equal the logits of each window by itself. A classifier that pads sees the
    surroundings of a window (`fully_convolutional`), and zeros beyond the edge of a tile. With a `margin` of at least
    half its receptive field the logits equal those of the whole picture in one piece.

    Args:
        network: made by `fully_convolutional`, in evaluation mode.
        picture: a file (a large TIFF is read by blocks), an array (H, W) or (H, W, C), or a Pillow image.
        mean, std: the network's input is `(picture - mean) / std`; one value per channel, or one for all.
        form: channels and dtype to which the picture is converted first; None for no conversion.
        tile: approximate side in pixels of the part that is computed at a time; it is at least one window.
        margin: pixels around each tile that are computed and thrown away.

    Yields:
        The number of the first row of windows, and (K, rows, w) float32.

    Raises:
        UserError: the picture cannot be read, or is smaller than a window.
    """
    window, stride = network.window, network.stride
    extra = [-(-margin // step) for step in stride]  # in windows
    at_once = [1 + max(tile - side, 0) // step for side, step in zip(window, stride, strict=True)]
    device = next(network.parameters()).device
    with open_raster(picture) as raster:
        size = (raster.height, raster.width)
        counts = window_counts(size, window, stride)
        for first_row in range(0, counts[0], at_once[0]):
            parts = []
            for first_column in range(0, counts[1], at_once[1]):
                spans, cuts = [], []
                for axis, first in enumerate((first_row, first_column)):
                    last = min(first + at_once[axis], counts[axis])  # one past the last window
                    begin, end = max(first - extra[axis], 0), min(last + extra[axis], counts[axis])
                    # The last tile also includes the remaining pixels, which are too few for another window.
                    stop = size[axis] if end == counts[axis] else (end - 1) * stride[axis] + window[axis]
                    spans.append((begin * stride[axis], stop))
                    cuts.append(slice(first - begin, last - begin))
                pixels = _normalised(raster, *spans[0], *spans[1], mean, std, form).to(device)
                with torch.inference_mode():
                    parts.append(network(pixels)[0, :, cuts[0], cuts[1]].float().cpu())
            yield first_row, torch.cat(parts, -1)


def _normalised(
    raster: Raster,
    top: int,
    bottom: int,
    left: int,
    right: int,
    mean: Sequence[float],
    std: Sequence[float],
    form: PictureFormat | None,
) -> Tensor:
    """A part of the picture as (1, C, h, w) float32."""
    pixels = raster.read(top, bottom, left, right)
    if form is not None:
        pixels = convert(pixels, form, raster.name)
    normalised = (pixels.astype(np.float32) - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return torch.from_numpy(normalised).permute(2, 0, 1).unsqueeze(0).contiguous()


def heat_map(
    network: FullyConvolutional,
    picture: Picture,
    class_id: int,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    form: PictureFormat | None = None,
    tile: int = 1024,
    margin: int = 0,
) -> np.ndarray:
    """The probability of a class in every window of a picture, (h, w) float32; see `score_rows`.

    `report.boxes.heat_overlay` draws it over the picture.
    """
    rows = score_rows(network, picture, mean=mean, std=std, form=form, tile=tile, margin=margin)
    return np.concatenate([scores.softmax(0)[class_id].numpy() for _, scores in rows])
