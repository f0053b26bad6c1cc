"""OverFeat: one network that classifies, localises and detects objects in every window of a picture.

Sermanet, Eigen, Zhang, Mathieu, Fergus, LeCun: OverFeat: Integrated Recognition, Localization and Detection using
Convolutional Networks, ICLR 2014, arXiv:1312.6229. Networks: tables 1 and 3; dense evaluation: section 3.3 and figure
3; regression: section 4. Several scales and merging are in `tasks/detect/merging.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.models.detect.localizer import Localisation, start_at_the_middle
from pixelwise.models.variant import variant
from pixelwise.nn.boxes import area, intersection
from pixelwise.nn.initialise import he_normal, small_normal


class ConvLayer(NamedTuple):
    """A column of table 1 or 3: a convolution with ReLU, and the max pooling after it.

    Attributes:
        maps: output channels.
        kernel, stride, padding: settings of the convolution.
        pool: side and stride of the pooling, whose regions do not overlap; 1 for no pooling.
    """

    maps: int
    kernel: int
    stride: int = 1
    padding: int = 0
    pool: int = 1


class Size(NamedTuple):
    """The layers of one of the models, at full width.

    Attributes:
        layers: layers of the feature extractor.
        side: positions along each side of a window's last map.
        hidden: units of the classifier's first two fully connected layers.
        box_hidden: units of the regression network's first two fully connected layers.
    """

    layers: tuple[ConvLayer, ...]
    side: int
    hidden: tuple[int, int]
    box_hidden: tuple[int, int]

    def scaled(self, width: int) -> Size:
        """The model with `width` channels in its first layer and all other layers scaled in proportion."""

        def times(units: int) -> int:
            return max(1, round(units * width / self.layers[0].maps))

        return Size(
            tuple(layer._replace(maps=times(layer.maps)) for layer in self.layers),
            self.side,
            (times(self.hidden[0]), times(self.hidden[1])),
            (times(self.box_hidden[0]), times(self.box_hidden[1])),
        )


FAST = Size(
    (
        ConvLayer(96, 11, stride=4, pool=2),
        ConvLayer(256, 5, pool=2),
        ConvLayer(512, 3, padding=1),
        ConvLayer(1024, 3, padding=1),
        ConvLayer(1024, 3, padding=1, pool=2),
    ),
    side=6,
    hidden=(3072, 4096),
    box_hidden=(4096, 1024),
)
"""Table 1: a window of 231 x 231 pixels gives 6 x 6 positions after layer 5."""

ACCURATE = Size(
    (
        ConvLayer(96, 7, stride=2, pool=3),
        ConvLayer(256, 7, pool=2),
        ConvLayer(512, 3, padding=1),
        ConvLayer(512, 3, padding=1),
        ConvLayer(1024, 3, padding=1),
        ConvLayer(1024, 3, padding=1, pool=3),
    ),
    side=5,
    hidden=(4096, 4096),
    box_hidden=(4096, 1024),
)
"""Table 3: a window of 221 x 221 pixels gives 5 x 5 positions after layer 6."""

SMALL = Size(
    (
        ConvLayer(16, 5, pool=2),
        ConvLayer(32, 3, pool=2),
        ConvLayer(64, 3, padding=1),
        ConvLayer(64, 3, padding=1, pool=3),
    ),
    side=3,
    hidden=(256, 128),
    box_hidden=(256, 128),
)
"""Not in the paper: the same scheme for small pictures. A window of 44 x 44 pixels gives 3 x 3 positions."""


class OverFeat(nn.Module):
    """Convolutions, then two small networks on the last map: one for the class, one for the edges of the box.

    No layer depends on the size of the picture: the fully connected layers are convolutions, and the first one has a
    filter as large as a window's last map. `forward` takes one window, as in training; `dense_scores` takes pictures.

    The regression network (section 4.1) reads the same pooled maps. It has dense layers, then the left, top, right and
    bottom edge of the box as shares of the window. Training has two stages (section 4.2): first everything except the
    regression network learns the class, then the regression network alone learns the box.

    Args:
        layers: layers of the feature extractor; `dense_scores` repeats the last layer's pooling at every offset.
        side: positions along each side of a window's last map.
        hidden: units of the classifier's first two fully connected layers.
        box_hidden: units of the regression network's first two fully connected layers.
        regression: whether there is a regression network; without it, `boxes` has B = 0.
        per_class: one box per class (PCR in the paper) instead of one for all (SCR, which the paper found better).
        valid: use no padding in any layer. The window is then larger and covers everything that the network sees, so
            the prediction for a window does not depend on its surroundings.
        dropout: dropout of the classifier's hidden layers.

    Attributes:
        window: height and width in pixels of the window that one prediction is about.
        stride: pixels from one window to the next, with the last pooling at all offsets.
        class_branch, box_branch: names of the modules that the first and the second stage train.
        names_background: whether class 0, the background, can be predicted. Most windows show no object.
    """

    heads: tuple[str, ...] = ("head",)
    class_branch = ("features", "classifier", "head")
    box_branch: tuple[str, ...] = ()
    names_background = True

    def __init__(
        self,
        *,
        layers: Sequence[ConvLayer],
        side: int,
        hidden: Sequence[int],
        box_hidden: Sequence[int],
        num_classes: int,
        in_channels: int = 3,
        regression: bool = False,
        per_class: bool = False,
        valid: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_boxes = (num_classes if per_class else 1) if regression else 0
        self.per_class = per_class
        self.side = side
        self.pool = layers[-1].pool
        self.stride = prod(layer.stride * layer.pool for layer in layers) // self.pool
        size = side
        for layer in reversed(layers):
            size = (size * layer.pool - 1) * layer.stride + layer.kernel - (0 if valid else 2 * layer.padding)
        self.window = (size, size)

        modules: list[nn.Module] = []
        channels = in_channels
        for number, layer in enumerate(layers):
            padding = 0 if valid else layer.padding
            modules += [nn.Conv2d(channels, layer.maps, layer.kernel, layer.stride, padding), nn.ReLU(inplace=True)]
            if layer.pool > 1 and number < len(layers) - 1:
                modules.append(nn.MaxPool2d(layer.pool))
            channels = layer.maps
        self.features = nn.Sequential(*modules)
        self.classifier = _dense_layers(channels, side, hidden, dropout)
        self.head = nn.Conv2d(hidden[-1], num_classes, 1)
        if regression:
            self.regressor = _dense_layers(channels, side, box_hidden, 0.0)
            self.box_head = nn.Conv2d(box_hidden[-1], 4 * self.num_boxes, 1)
            self.box_branch = ("regressor", "box_head")
            if per_class:
                self.heads = ("head", "box_head")
        # The paper's standard deviation of 0.01 in all layers needs its learning rates; here only the head has it.
        he_normal(self)
        small_normal(self.head)
        if regression:
            start_at_the_middle(self.box_head)

    def classify(self, pooled: Tensor) -> Tensor:
        """(N, F, h, w) -> logits (N, K, h - side + 1, w - side + 1)."""
        return self.head(self.classifier(pooled))

    def regress(self, pooled: Tensor) -> Tensor:
        """(N, F, h, w) -> boxes (N, h - side + 1, w - side + 1, B, 4) xyxy as shares of each window."""
        if not self.num_boxes:
            rows, columns = (size - self.side + 1 for size in pooled.shape[-2:])
            return pooled.new_empty(len(pooled), rows, columns, 0, 4)
        edges = self.box_head(self.regressor(pooled))
        return edges.movedim(1, -1).unflatten(-1, (self.num_boxes, 4))

    def pooled(self, images: Tensor) -> Tensor:
        """(N, C, window, window) -> the last map of each window (N, F, side, side).

        Raises:
            UserError: the pictures have a different size.
        """
        if images.shape[-2:] != self.window:
            raise UserError(
                f"windows of {' x '.join(map(str, images.shape[-2:]))} pixels found, "
                f"{' x '.join(map(str, self.window))} expected; `dense_scores` takes larger pictures."
            )
        return F.max_pool2d(self.features(images), self.pool)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, window, window) -> logits (N, K), without the box branch; errors as `pooled`."""
        return self.classify(self.pooled(images)).flatten(1)

    def forward(self, images: Tensor) -> Localisation:
        """(N, C, window, window) -> logits (N, K) and boxes (N, B, 4) in pixels; errors as `pooled`."""
        maps = self.pooled(images)
        return Localisation(self.classify(maps).flatten(1), self.regress(maps)[:, 0, 0] * self.window[0])


def _dense_layers(channels: int, side: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    """Fully connected layers on side x side positions, as convolutions."""
    layers: list[nn.Module] = []
    for number, units in enumerate(hidden):
        layers += [nn.Conv2d(channels, units, side if number == 0 else 1), nn.ReLU(inplace=True)]
        if dropout:
            layers.append(nn.Dropout(dropout))
        channels = units
    return nn.Sequential(*layers)


class DenseScores(NamedTuple):
    """OverFeat's output for every window of a picture.

    Attributes:
        logits: (N, K, h, w).
        boxes: (N, h, w, B, 4) xyxy in pixels of the picture.
        windows: (h, w, 4) xyxy in pixels of the picture: the window that each prediction is about.
    """

    logits: Tensor
    boxes: Tensor
    windows: Tensor


def dense_scores(network: OverFeat, images: Tensor, *, offsets: bool = True) -> DenseScores:
    """Applies the network to every window of a picture, one stride apart; each layer is computed once for all windows.

    The last pooling runs once for every offset (dy, dx) that is less than its side, and the outputs are interleaved
    (section 3.3, figure 3: three by three offsets for the accurate network). Output (i, j) belongs to the window whose
    top left pixel is (i stride, j stride). For a network without padding (`valid`) it equals the output for that window
    alone. A network with padding sees the window's surroundings here, but zeros if it is given the window alone.

    Args:
        images: (N, C, H, W), no smaller than a window.
        offsets: False for offset (0, 0) only; windows are then `network.pool` strides apart.

    Raises:
        UserError: the pictures are smaller than a window.
    """
    if images.shape[-2] < network.window[0] or images.shape[-1] < network.window[1]:
        raise UserError(
            f"a picture of {' x '.join(map(str, images.shape[-2:]))} pixels is smaller than the network's window, "
            f"{' x '.join(map(str, network.window))}; enlarge it."
        )
    maps = network.features(images)
    rows, columns = (size - network.pool * network.side + 1 for size in maps.shape[-2:])  # positions to begin at
    step = network.pool
    if not offsets:
        pooled = F.max_pool2d(maps, step)
        logits, shares = network.classify(pooled), network.regress(pooled)
    else:
        logits = maps.new_empty(len(images), network.num_classes, rows, columns)
        shares = maps.new_empty(len(images), rows, columns, network.num_boxes, 4)
        for dy in range(min(step, rows)):
            for dx in range(min(step, columns)):
                pooled = F.max_pool2d(maps[..., dy:, dx:], step)
                logits[..., dy::step, dx::step] = network.classify(pooled)
                shares[:, dy::step, dx::step] = network.regress(pooled)
    apart = network.stride * (1 if offsets else step)
    exact = torch.promote_types(images.dtype, torch.float32)  # bfloat16 cannot represent 257
    top, left = (torch.arange(size, device=maps.device, dtype=exact) * apart for size in logits.shape[-2:])
    corners = torch.stack(torch.meshgrid(left, top, indexing="xy"), -1)  # (h, w, 2)
    windows = torch.cat([corners, corners + network.window[0]], -1)
    boxes = shares * network.window[0] + corners.repeat(1, 1, 2).unsqueeze(2)
    return DenseScores(logits, boxes, windows)


def windows_with_object(windows: Tensor, boxes: Tensor, share: float = 0.5) -> Tensor:
    """Which windows learn to predict which box: those that contain at least half of it (section 4.2).

    Args:
        windows: (h, w, 4).
        boxes: (N, 4), the true box of each picture, in the same pixels; NaN for none.
        share: least share of the box's area inside the window.

    Returns:
        (N, h, w) bool.
    """
    boxes = boxes[:, None, None]
    inside = intersection(windows, boxes)
    return (area(boxes) > 0) & (inside >= share * area(boxes))


def _overfeat(
    *,
    size: Size,
    num_classes: int = 1000,
    in_channels: int = 3,
    width: int = 96,
    regression: bool = False,
    per_class: bool = False,
    valid: bool = False,
    dropout: float = 0.5,
) -> OverFeat:
    """Builds one of the models.

    Args:
        width: channels of the first layer; all the others scale with it.
        regression, per_class, valid, dropout: see `OverFeat`.
    """
    layers, side, hidden, box_hidden = size.scaled(width)
    return OverFeat(
        layers=layers,
        side=side,
        hidden=hidden,
        box_hidden=box_hidden,
        num_classes=num_classes,
        in_channels=in_channels,
        regression=regression,
        per_class=per_class,
        valid=valid,
        dropout=dropout,
    )


overfeat_fast = variant(
    "overfeat_fast",
    _overfeat,
    """The fast model (table 1): 145,920,872 parameters with 1,000 classes; the regression network has 155,198,468 more.

    Windows of 231 x 231 pixels (327 x 327 if `valid`), 16 pixels apart, 32 without offsets.

    Args:
        width: channels of the first layer; all the others scale with it.
        regression, per_class, valid, dropout: see `OverFeat`.
    """,
    size=FAST,
)
overfeat_accurate = variant(
    "overfeat_accurate",
    _overfeat,
    """The accurate model (table 3): 144,656,488 parameters with 1,000 classes; the regression network has 109,061,124
    more.

    Windows of 221 x 221 pixels (317 x 317 if `valid`), 12 pixels apart, 36 without offsets.

    Args:
        width, regression, per_class, valid, dropout: see `overfeat_fast`.
    """,
    size=ACCURATE,
)
overfeat_small = variant(
    "overfeat_small",
    _overfeat,
    """A small model, not in the paper: 370,888 parameters with 1,000 classes; the regression network has 181,124 more.

    It suits little data and little time. Windows of 44 x 44 pixels (60 x 60 if `valid`), 4 pixels apart, 12 without
    offsets.

    Args:
        width, regression, per_class, valid, dropout: see `overfeat_fast`.
    """,
    size=SMALL,
    defaults={"width": 16, "dropout": 0.2},
)
