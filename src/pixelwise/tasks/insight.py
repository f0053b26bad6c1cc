"""The contract between a task and `pixelwise explain`, for networks whose outputs are not class logits."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Score = Callable[[Any], Tensor]
"""The output of a network or a layer -> (N,), differentiable."""


class Window(NamedTuple):
    """A rectangle of whole pixels in a picture."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One picture with a line of text below it.

    Attributes:
        picture: (H, W, 3) uint8.
    """

    label: str
    picture: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Panels that belong together, under a heading.

    Attributes:
        about: what the panels show and how to read them; empty if the labels suffice.
        columns: panels per row; None for all in one row.
    """

    title: str
    panels: Sequence[Panel]
    about: str = ""
    columns: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reason:
    """One number in a network's output for a picture, which is traced back to the pixels.

    Grad-CAM, occlusion and the gradient methods are computed for this number, as for the logit of a class.

    Attributes:
        title: a heading, such as "Why cat?".
        network: returns the input of `score` for pictures (N, C, H, W) of the explained size; see `with_forward`.
        score: the network's output -> the number (N,).
        layer: the layer for Grad-CAM; None for no Grad-CAM.
        lay: Grad-CAM's map (1, h, w) of that layer -> the map (1, H, W) over the picture.
        panels: the panels that are shown first, beginning with the picture.
        about: what is special about the panels, see `Group`.
        window: the part of the picture that is occluded and shown; None for the whole picture.
        class_id: the class whose logit the network outputs for a whole picture, which is maximised as well.
        local: whether Grad-CAM uses only the positions of the layer that the score depends on, such as those of a
            region.
    """

    title: str
    network: nn.Module
    score: Score
    layer: str | None
    lay: Callable[[Tensor], Tensor]
    panels: Sequence[Panel]
    about: str = ""
    window: Window | None = None
    class_id: int | None = None
    local: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What the page shows of a network's work on one picture.

    Attributes:
        predictions: (name, share) of each prediction, best first, for a table.
        groups: panels that show what the parts of the network do.
        reasons: the numbers that are traced back to the pixels.
        details: groups that are shown after the reasons.
    """

    predictions: Sequence[tuple[str, float]]
    groups: Sequence[Group] = ()
    reasons: Sequence[Reason] = ()
    details: Sequence[Group] = ()


class Insight(ABC):
    """How `pixelwise explain` looks into the networks of one task.

    Attributes:
        subject: what has one of the classes, as in "3 classes, of each object".
        trunk: the network with a forward pass that ends with its feature maps. Its layers are shown and maximised.
        terms: entries of the page's list of methods: name -> how it is computed.
    """

    subject: ClassVar[str]
    terms: ClassVar[Mapping[str, str]]
    trunk: nn.Module

    @abstractmethod
    def examine(self, image: np.ndarray, images: Tensor, classes: Sequence[int]) -> Findings:
        """What the page shows for one picture; called in evaluation mode and without gradients.

        Args:
            image: (H, W, C) in the spec's form.
            images: the same picture, (1, C, H, W), normalised.
            classes: the class ids to explain; empty for the classes that the network predicts.
        """


def laid_over(maps: Tensor, covered: Tensor, height: int, width: int) -> Tensor:
    """Spreads maps over a picture: bilinear between the centres of their positions, 0 outside.

    >>> laid_over(torch.tensor([[[1.0, 3.0]]]), torch.tensor([0.0, 0.0, 4.0, 2.0]), 1, 5)
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000, 0.0000]]])

    Args:
        maps: (N, h, w).
        covered: (4,) xyxy, the part of the picture that a map covers, from its first position to its last.
        height, width: size of the picture.

    Returns:
        (N, height, width).
    """
    left, top, right, bottom = covered.tolist()
    y = (torch.arange(height, device=maps.device) + 0.5 - top) / (bottom - top)  # 0..1 on the map
    x = (torch.arange(width, device=maps.device) + 0.5 - left) / (right - left)
    inside = ((y >= 0) & (y <= 1))[:, None] & ((x >= 0) & (x <= 1))
    grid = torch.stack(torch.meshgrid(2 * x - 1, 2 * y - 1, indexing="xy"), -1).to(maps.dtype)  # (H, W, 2)
    spread = F.grid_sample(maps[None], grid[None], padding_mode="border", align_corners=False)[0]
    return spread.where(inside, 0.0)


def with_forward(network: nn.Module, forward: Callable[[Tensor], Any]) -> nn.Module:
    """The same network with another forward pass. Layers and parameters are shared and keep their names.

    >>> names = dict(with_forward(nn.Sequential(nn.ReLU()), lambda images: 2 * images).named_modules())
    >>> list(names)
    ['', '0']
    """
    other = copy.copy(network)
    other.forward = forward
    return other
