"""Top patches: the patches of a dataset that a channel responds to most, cut out by their exact receptive fields.

Zeiler & Fergus, ECCV 2014, section 4 and figure 2; Girshick et al., CVPR 2014, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.explain.activations import outputs
from pixelwise.explain.fields import Fields
from pixelwise.nn.receptive_field import ReceptiveField


@dataclass(frozen=True, slots=True, eq=False)
class TopPatch:
    """The patch of one picture to which a channel responds most.

    Attributes:
        name: name of the picture.
        value: the channel's largest value.
        row, column: position of that value on the layer's map.
        box: the pixels that the value depends on; beyond the picture the network sees padding.
        patch: (C, h, w), the part of the normalised picture inside the box, see `cut`.
    """

    name: str
    value: float
    row: int
    column: int
    box: ReceptiveField
    patch: Tensor


def top_patches(
    network: nn.Module,
    pictures: Iterable[tuple[str, Tensor]],
    layer: str,
    channels: Sequence[int],
    *,
    count: int = 9,
    progress: Callable[[int], None] | None = None,
) -> dict[int, list[TopPatch]]:
    """For each channel, patches of the `count` pictures with the greatest value, greatest first; one patch per picture.

    Pictures are read one after the other and only the best patches are kept, so the dataset may have any size.

    Args:
        pictures: pairs of a name and a normalised picture (C, H, W), of any size.
        layer: name of a layer that returns maps.
        progress: is called after each picture with the number of pictures read so far.

    Raises:
        UserError: an unknown layer, a layer without maps, or a channel that the layer does not have.
    """
    best: dict[int, list[TopPatch]] = {channel: [] for channel in channels}
    fields: dict[tuple[int, int], Fields] = {}
    for seen, (name, image) in enumerate(pictures, 1):
        maps = outputs(network, image[None], [layer])[layer]
        if maps.dim() != 4:
            raise UserError(
                f"layer '{layer}' returns {tuple(maps.shape)}, which is not a feature map; give a layer before it."
            )
        for channel, patches in best.items():
            if not 0 <= channel < maps.shape[1]:
                raise UserError(f"layer '{layer}' has no channel {channel}; it has channels 0 to {maps.shape[1] - 1}.")
            value = float(maps[0, channel].max())
            if len(patches) == count and value <= patches[-1].value:
                continue
            row, column = divmod(int(maps[0, channel].argmax()), maps.shape[3])
            height, width = image.shape[1:]
            if (height, width) not in fields:
                fields = {(height, width): Fields(network, [layer], height=height, width=width, channels=len(image))}
            box = fields[height, width].box(layer, row, column)
            patches.append(TopPatch(name, value, row, column, box, cut(image, box)))
            patches.sort(key=lambda patch: -patch.value)  # stable: among equal values the first one read stays first
            del patches[count:]
        if progress is not None:
            progress(seen)
    return best


def cut(image: Tensor, box: ReceptiveField) -> Tensor:
    """The part of a picture (C, H, W) inside a box, 0 (the mean colour) beyond the border; infinite sides end at it.

    >>> import torch
    >>> cut(torch.ones(1, 4, 4), ReceptiveField(-1, 2, 2, math.inf))[0].tolist()
    [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    """
    height, width = image.shape[1:]
    top, bottom = (int(edge) if math.isfinite(edge) else end for edge, end in ((box.top, 0), (box.bottom, height)))
    left, right = (int(edge) if math.isfinite(edge) else end for edge, end in ((box.left, 0), (box.right, width)))
    patch = image.new_zeros(len(image), bottom - top, right - left)
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    within = image[:, rows, columns]
    down, across = rows.start - top, columns.start - left
    patch[:, down : down + within.shape[1], across : across + within.shape[2]] = within
    return patch
