"""Classification and localisation: the class of a picture's object, and its box by regression.

Sermanet, Eigen, Zhang, Mathieu, Fergus, LeCun: OverFeat, ICLR 2014, arXiv:1312.6229, section 4. Here the encoder may be
any, and there is only one window, the whole picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.models.encoders import create_encoder
from pixelwise.nn.boxes import rescale
from pixelwise.nn.dense import mirror_pad
from pixelwise.nn.initialise import he_normal


class Localisation(NamedTuple):
    """The logits and boxes that a localiser returns, one row per picture.

    Attributes:
        logits: (N, K) class logits.
        boxes: (N, B, 4) xyxy in pixels of the picture: a single box, one for each of several fixed objects, or one per
            class. They may reach beyond the picture, see `nn.boxes.clip`.
    """

    logits: Tensor
    boxes: Tensor


def boxes_of_class(boxes: Tensor, classes: Tensor) -> Tensor:
    """The boxes of the given classes: (N, K, 4), one box per class, and class ids (N,) -> (N, 1, 4)."""
    return boxes.gather(1, classes.view(-1, 1, 1).expand(-1, 1, 4))


class Localizer(nn.Module):
    """An encoder with two heads: one predicts the class of the object, the other one the edges of its box.

    The class head is a global average and one linear layer, as in ResNet. The box head has to keep positions: it
    averages the encoder's last map, whatever its size, to pool x pool positions. Dense layers with ReLU follow, and
    then four numbers per box: the left, top, right and bottom edge as shares of the picture's width and height (0..1
    within the picture). With shares, the same object at the same position has the same target in a picture of any size,
    and errors along both axes and at all sizes have equal weight in an L2 loss. Edges instead of centre and size are
    the paper's choice. The outputs are not squashed, since objects reach beyond the border. At first every box is the
    middle half of the picture.

    Training has two stages (section 4.2): the class branch, then the box branch alone, on fixed maps. `class_branch`
    and `box_branch` name the modules that each stage trains. In the second stage the encoder is in evaluation mode, so
    that the statistics of its batch norms stay fixed, too.

    Pictures are padded to a multiple of the encoder's stride with their mirror image, at the right and bottom, as for
    dense networks. Boxes are then shares of the padded picture; the returned boxes are in pixels all the same.

    Args:
        encoder: a name in `models.encoders.ENCODERS`.
        weights: pretrained weights of the encoder: a file, a run, or a name on the Hugging Face hub.
        hidden: units of the box head's dense layers; 4096 and 1024 in the paper.
        boxes: number of boxes: 1, or one for each of several objects that every picture has.
        per_class: predict one box per class instead; only the box of the right class is trained (the paper's per-class
            regression, whose results were worse than those of a single box for all classes, figure 9).
        pool: positions along each side of the map that the box head reads; 5 in the paper.

    Attributes:
        class_branch, box_branch: names of the modules that the first and the second stage train.
        names_background: whether class 0, the background, can be predicted. Here it cannot: every picture is taken to
            show an object.

    Raises:
        UserError: unknown encoder, weights that do not fit, no box, or several boxes per class.
    """

    heads: tuple[str, ...] = ("head",)
    class_branch = ("encoder", "head")
    box_branch = ("regressor", "box_head")
    names_background = False

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 3,
        encoder: str = "resnet18",
        weights: Any = None,
        hidden: Sequence[int] = (4096, 1024),
        boxes: int = 1,
        per_class: bool = False,
        pool: int = 5,
    ) -> None:
        super().__init__()
        if boxes < 1 or (per_class and boxes > 1):
            raise UserError(
                f"boxes: {boxes} found; give 1 or more{', and no more than 1 with per_class' if per_class else ''}."
            )
        self.num_classes = num_classes
        self.per_class = per_class
        self.num_boxes = num_classes if per_class else boxes
        self.encoder = create_encoder(encoder, in_channels=in_channels, weights=weights)
        self.stride = max(self.encoder.feature_strides)
        channels = self.encoder.feature_channels[-1]
        self.head = nn.Linear(channels, num_classes)
        self.pool = nn.AdaptiveAvgPool2d(pool)
        widths = (channels * pool**2, *hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
        self.regressor = nn.Sequential(*layers)
        self.box_head = nn.Linear(widths[-1], 4 * self.num_boxes)
        if per_class:
            self.heads = ("head", "box_head")
        he_normal(self.regressor)
        start_at_the_middle(self.box_head)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W), any H and W >= 1 -> the encoder's last map (N, F, h, w)."""
        right, bottom = (-size % self.stride for size in (images.shape[-1], images.shape[-2]))
        return self.encoder.pyramid(mirror_pad(images, (0, right, 0, bottom)))[-1]

    def classify(self, maps: Tensor) -> Tensor:
        """(N, F, h, w) -> logits (N, K)."""
        return self.head(maps.mean((2, 3)))

    def regress(self, maps: Tensor) -> Tensor:
        """(N, F, h, w) -> boxes (N, B, 4) xyxy as shares of the (padded) picture that the maps belong to."""
        return self.box_head(self.regressor(self.pool(maps))).unflatten(1, (self.num_boxes, 4))

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), any H and W >= 1 -> logits (N, K), without the box branch."""
        return self.classify(self.features(images))

    def forward(self, images: Tensor) -> Localisation:
        """(N, C, H, W), any H and W >= 1 -> logits (N, K) and boxes (N, B, 4) in pixels."""
        maps = self.features(images)
        height, width = (-(-size // self.stride) * self.stride for size in images.shape[-2:])
        return Localisation(self.classify(maps), rescale(self.regress(maps), height, width))


def start_at_the_middle(layer: nn.Linear | nn.Conv2d) -> None:
    """Initialises a layer that predicts edges as shares: the middle half of the picture, nearly whatever the input."""
    assert layer.bias is not None
    nn.init.normal_(layer.weight, 0, 0.001)
    with torch.no_grad():
        layer.bias.copy_(layer.bias.new_tensor([0.25, 0.25, 0.75, 0.75]).repeat(len(layer.bias) // 4))
