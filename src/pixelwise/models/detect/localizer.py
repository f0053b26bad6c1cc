"""Classification and localisation: what is in the picture, and the box around it, by regression.

Sermanet, Eigen, Zhang, Mathieu, Fergus, LeCun: OverFeat, ICLR 2014, arXiv:1312.6229, section 4, on any encoder and for
one window, the whole picture.
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
    """The classes and boxes that a localiser gives, one row per picture.

    Attributes:
        logits: (N, K) of the classes.
        boxes: (N, B, 4) xyxy in pixels of the picture: one, one for each of some fixed objects, or one per class. They
            may reach beyond the picture, see `nn.boxes.clip`.
    """

    logits: Tensor
    boxes: Tensor


def boxes_of_class(boxes: Tensor, classes: Tensor) -> Tensor:
    """The boxes of the given classes: (N, K, 4), one box per class, and class ids (N,) -> (N, 1, 4)."""
    return boxes.gather(1, classes.view(-1, 1, 1).expand(-1, 1, 4))


class Localizer(nn.Module):
    """An encoder with two heads: one names the object, the other one gives the edges of its box.

    The class head is a global average and one linear layer, as in ResNet. The box head keeps where things are: an
    average to pool x pool places, whatever the size of the encoder's last map, then dense layers with ReLU and four
    numbers a box: left, top, right and bottom edge as shares of the picture's width and height (0..1 within the
    picture). As shares the same object at the same place has the same target in a picture of any size, and errors of
    both axes and of all sizes weigh alike in an L2 loss; edges rather than centre and size are the paper's choice. They
    are not squashed, for objects reach beyond the border. It starts at the middle half of the picture.

    Training has two stages (section 4.2): the class branch, then the box branch alone, on maps that stay as they are.
    `class_parameters` and `box_parameters` name what each one trains; in the second the encoder is in evaluation mode,
    so that its batch norm's statistics stay, too, and `regress(features(images))` is all that is computed.

    Pictures are padded to the encoder's stride at the right and bottom (mirrored, as dense networks do); boxes are
    shares of the padded picture then, and come out in pixels all the same.

    Args:
        encoder: a name in `models.encoders.ENCODERS`.
        weights: of the encoder: a file, a run, or a name on the Hugging Face hub.
        hidden: units of the box head's dense layers; 4096 and 1024 in the paper.
        boxes: how many: 1, or one for each of some objects of which every picture has one.
        per_class: a box for each class instead; that of the right class is trained (the paper's per-class regression;
            its own results are better with a single box for all classes, figure 9).
        pool: places along each side that the box head sees; 5 in the paper.

    Attributes:
        class_branch, box_branch: names of the modules that the first stage trains, and the second.
        names_background: whether class 0, where there is no object, is an answer. Here it is none: the network is asked
            what the object of a picture is.

    Raises:
        UserError: unknown encoder, weights that do not fit, no box, or several boxes for each class.
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
        """(N, F, h, w) -> boxes (N, B, 4) xyxy as shares of what the maps are of."""
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
    """Sets the layer that gives edges as shares of the picture: the middle half of it, nearly whatever it sees."""
    assert layer.bias is not None
    nn.init.normal_(layer.weight, 0, 0.001)
    with torch.no_grad():
        layer.bias.copy_(layer.bias.new_tensor([0.25, 0.25, 0.75, 0.75]).repeat(len(layer.bias) // 4))
