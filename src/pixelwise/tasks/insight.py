"""What `pixelwise explain` shows of networks whose answers are no class logits: the contract between task and page."""

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
"""What a network or a layer answers -> (N,), differentiable."""


class Window(NamedTuple):
    """Whole pixels of a picture."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One picture with a line under it.

    Attributes:
        picture: (H, W, 3) uint8.
    """

    label: str
    picture: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Panels that belong together, under a heading.

    Attributes:
        about: what the panels show and how to read them; empty where the labels say it.
        columns: panels per row; None for all in one row.
    """

    title: str
    panels: Sequence[Panel]
    about: str = ""
    columns: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reason:
    """One number that a network answers for a picture, to be traced back to the pixels.

    Grad-CAM, occlusion and the methods of gradients are computed for it, as for the logit of a class.

    Attributes:
        title: a heading, such as "Why cat?".
        network: gives what `score` takes, for (N, C, H, W) pictures of the size of the explained one; see `answering`.
        score: of the network's answer, (N,).
        layer: the one that Grad-CAM weights; None for no Grad-CAM.
        lay: Grad-CAM's map (1, h, w) of that layer -> (1, H, W), over the picture.
        panels: what is shown before, the picture first.
        about: what is special about the panels, see `Group`.
        window: the part of the picture that is hidden by parts and shown; None for all of it.
        class_id: the class whose logit the network gives for a whole picture, to be maximised as well.
        local: whether Grad-CAM counts only the places of the layer that the score depends on, as those of a region.
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
class View:
    """What a network makes of one picture.

    Attributes:
        answers: (name, share) of what it says, best first: rows of a table.
        groups: pictures of what its parts do.
        reasons: what it says, to be traced back.
        details: groups that are shown after the reasons.
    """

    answers: Sequence[tuple[str, float]]
    groups: Sequence[Group] = ()
    reasons: Sequence[Reason] = ()
    details: Sequence[Group] = ()


class Insight(ABC):
    """How a network of one task is looked into.

    Attributes:
        subject: what has one of the classes, as in "3 classes, of each object".
        trunk: the network with a forward pass that ends with its maps: the layers in it can be shown and maximised.
        terms: entries of the page's list of methods, name -> how it is computed.
    """

    subject: ClassVar[str]
    terms: ClassVar[Mapping[str, str]]
    trunk: nn.Module

    @abstractmethod
    def view(self, image: np.ndarray, images: Tensor, classes: Sequence[int]) -> View:
        """What there is to see of one picture; called in evaluation mode and without gradients.

        Args:
            image: (H, W, C) in the spec's form.
            images: the same, (1, C, H, W), normalised.
            classes: ids that are asked about; none for what the network says.
        """


def laid_over(maps: Tensor, covered: Tensor, height: int, width: int) -> Tensor:
    """Maps laid over a picture: bilinear between the centres of their places, 0 where they do not reach.

    >>> laid_over(torch.tensor([[[1.0, 3.0]]]), torch.tensor([0.0, 0.0, 4.0, 2.0]), 1, 5)
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000, 0.0000]]])

    Args:
        maps: (N, h, w).
        covered: (4,) xyxy, the pixels that a map covers, its first place in one corner and its last in the other.
        height, width: of the picture.

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


def answering(network: nn.Module, forward: Callable[[Tensor], Any]) -> nn.Module:
    """The same network with another forward pass; layers and parameters are shared, and have the same names.

    >>> names = dict(answering(nn.Sequential(nn.ReLU()), lambda images: 2 * images).named_modules())
    >>> list(names)
    ['', '0']
    """
    other = copy.copy(network)
    other.forward = forward
    return other
