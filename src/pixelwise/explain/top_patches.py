"""The patches of a data set that a channel answers most to, cut out by their exact receptive fields.

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
    """Where in one picture a channel answers most.

    Attributes:
        name: of the picture.
        value: the answer.
        row, column: its place on the layer's map.
        box: the pixels that it depends on; where they reach beyond the picture, the network sees its padding.
        patch: (C, h, w), the normalised picture in the box, see `cut`.
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
    """For each channel, the `count` pictures with the greatest value at any place, greatest first; one patch a picture.

    Pictures are taken one after the other and only the best patches are kept, so a data set may be of any size.

    Args:
        pictures: names, and normalised pictures (C, H, W) of any sizes.
        layer: one with maps.
        progress: is called after each picture with the number of pictures seen.

    Raises:
        UserError: an unknown layer, one without maps, or a channel that it does not have.
    """
    best: dict[int, list[TopPatch]] = {channel: [] for channel in channels}
    fields: dict[tuple[int, int], Fields] = {}
    for seen, (name, image) in enumerate(pictures, 1):
        maps = outputs(network, image[None], [layer])[layer]
        if maps.dim() != 4:
            raise UserError(f"layer '{layer}' answers {tuple(maps.shape)}, which is no map; give one before it.")
        for channel, patches in best.items():
            if not 0 <= channel < maps.shape[1]:
                raise UserError(f"layer '{layer}' has channels 0 to {maps.shape[1] - 1}, but {channel} was asked for.")
            value = float(maps[0, channel].max())
            if len(patches) == count and value <= patches[-1].value:
                continue
            row, column = divmod(int(maps[0, channel].argmax()), maps.shape[3])
            height, width = image.shape[1:]
            if (height, width) not in fields:
                fields = {(height, width): Fields(network, [layer], height=height, width=width, channels=len(image))}
            box = fields[height, width].box(layer, row, column)
            patches.append(TopPatch(name, value, row, column, box, cut(image, box)))
            patches.sort(key=lambda patch: -patch.value)  # stable: of equal ones the first seen stays first
            del patches[count:]
        if progress is not None:
            progress(seen)
    return best


def cut(image: Tensor, box: ReceptiveField) -> Tensor:
    """(C, H, W) in a box, 0 (the mean colour) where that is beyond the picture; an infinite side ends at the border.

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
