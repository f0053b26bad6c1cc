"""Scores to explain: one number per picture, computed from the output of a network or of one of its layers.

The functions here return a `Score`. They serve classifiers, whose outputs are (N, K), dense networks and layers, whose
outputs are (N, K, H, W), and networks that return `logits` and `boxes`. For other outputs, any function that maps them
to (N,) is a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pixelwise.errors import UserError, unknown
from pixelwise.tasks.insight import Score

EDGES = ("left", "top", "right", "bottom")
"""Edges of a box, in the order of its four numbers."""


def class_logits(output: Any) -> Tensor:
    """The logits (N, K) or (N, K, H, W) of a network's output, without its boxes if it returns boxes."""
    return output if isinstance(output, Tensor) else output.logits


def class_score(class_id: int, *, region: Tensor | None = None) -> Score:
    """The logit of a class; for a dense network its mean over a region (Vinogradova et al., AAAI 2020, equation 2).

    Args:
        region: (H, W) or (N, H, W) bool; None for the pixels predicted as the class, or all pixels of a picture without
            any. Methods that change the picture need a fixed region, see `predicted`.
    """

    def score(answer: Any) -> Tensor:
        output = class_logits(answer)
        _check(output, [class_id], "classes")
        logits = output[:, class_id]
        if output.dim() == 2:
            return logits
        inside = predicted(output, class_id) if region is None else region.to(output.device).expand_as(logits)
        weights = inside.to(logits.dtype)
        return (logits * weights).sum((1, 2)) / weights.sum((1, 2))

    return score


def predicted(output: Tensor, class_id: int) -> Tensor:
    """(N, K, H, W) logits -> (N, H, W) bool: where the class has the largest logit; everywhere if it has it nowhere."""
    inside = output.argmax(1) == class_id
    return inside | ~inside.any(2, keepdim=True).any(1, keepdim=True)


def edge_score(edge: str, box: int = 0) -> Score:
    """The coordinate of a box's edge, in pixels from the left or from the top.

    Args:
        edge: a name in `EDGES`.
        box: index of the box, for a network that predicts several.
    """
    if edge not in EDGES:
        raise unknown("edge", edge, EDGES)

    def score(answer: Any) -> Tensor:
        boxes = answer.boxes  # (N, B, 4)
        if not 0 <= box < boxes.shape[1]:
            raise UserError(f"box {box} does not exist; the network predicts boxes 0 to {boxes.shape[1] - 1}.")
        return boxes[:, box, EDGES.index(edge)]

    return score


def channel_score(*channels: int) -> Score:
    """The mean of a channel over all positions; of several channels, the first is for the first picture, and so on."""

    def score(output: Tensor) -> Tensor:
        _check(output, channels, "channels")
        which = torch.tensor(channels, device=output.device).expand(len(output))
        return output[torch.arange(len(output), device=output.device), which].flatten(1).mean(1)

    def of_any(answer: Any) -> Tensor:
        output = class_logits(answer)
        return score(output if output.dim() > 2 else output[..., None])

    return of_any


def peak_score(channel: int) -> Score:
    """The largest value of a channel over all positions, which Zeiler & Fergus (section 2.1) project back."""

    def score(output: Tensor) -> Tensor:
        _check(output, [channel], "channels")
        return output[:, channel].reshape(len(output), -1).max(1).values

    return score


def unit_score(channel: int, row: int, column: int) -> Score:
    """The value of a channel at one position of its map."""

    def score(output: Tensor) -> Tensor:
        _check(output, [channel], "channels")
        if output.dim() != 4 or not (
            -output.shape[2] <= row < output.shape[2] and -output.shape[3] <= column < output.shape[3]
        ):
            raise UserError(
                f"row {row}, column {column}: the layer returns {tuple(output.shape[1:])}, without this position."
            )
        return output[:, channel, row, column]

    return score


def _check(output: Tensor, channels: Sequence[int], what: str) -> None:
    found = output.shape[1]
    for channel in channels:
        if not 0 <= channel < found:
            raise UserError(f"{what}: {channel} found, 0 to {found - 1} expected.")


def class_number(wanted: str | int, class_names: Sequence[str]) -> int:
    """The id of a class that is given by name or by id.

    Raises:
        UserError: the class is neither a name nor an id in range.
    """
    text = str(wanted)
    if text in class_names:
        return list(class_names).index(text)
    if text.isdecimal():
        if int(text) < len(class_names):
            return int(text)
        raise UserError(f"class {text}: the network has {len(class_names)} classes, 0 to {len(class_names) - 1}.")
    raise unknown("class", text, class_names)
