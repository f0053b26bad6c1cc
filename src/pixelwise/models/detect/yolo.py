"""YOLO: predicts the boxes and classes of a whole picture in one pass, on a grid of cells.

Redmon, Divvala, Girshick, Farhadi: You Only Look Once, CVPR 2016, arXiv:1506.02640.

    picture 448 x 448 -> 24 convolutions -> 7 x 7 cells -> two dense layers -> per cell B boxes and C classes

The cell that holds an object's centre has to find the object. Each box of a cell has a centre within the cell, a width
and a height as shares of the picture, and a confidence. The target of the confidence is the IoU of the box with the
object, or 0 without an object.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.data.targets import ObjectTargets
from pixelwise.models.detect.detector import Detections, DetectionSource, Detector, usable
from pixelwise.models.encoders import create_encoder
from pixelwise.nn.boxes import clip, covered_share, iou
from pixelwise.nn.initialise import he_normal
from pixelwise.nn.matcher import IGNORED_SHARE
from pixelwise.nn.nms import nms

SLOPE = 0.1
"""Slope of the leaky ReLU below zero (equation 2)."""
COORDINATES, NO_OBJECT = 5.0, 0.5
"""Weights of the errors of boxes, and of confidences without an object (section 2.2)."""

# Figure 3: (channels, size of the filter, stride), and "pool" for 2x2 max pooling.
LAYERS: tuple[tuple[int, int, int] | str, ...] = (
    (64, 7, 2), "pool",
    (192, 3, 1), "pool",
    (128, 1, 1), (256, 3, 1), (256, 1, 1), (512, 3, 1), "pool",
    *((256, 1, 1), (512, 3, 1)) * 4, (512, 1, 1), (1024, 3, 1), "pool",
    *((512, 1, 1), (1024, 3, 1)) * 2, (1024, 3, 1), (1024, 3, 2),
    (1024, 3, 1), (1024, 3, 1),
)  # fmt: skip


class Cells(nn.Module):
    """Splits the network's output into the boxes and classes of each cell, in the paper's units.

    Args:
        cells: number of cells along each side of the picture (S).
        boxes: number of boxes per cell (B).
        num_classes: number of classes of objects (C).
    """

    def __init__(self, cells: int, boxes: int, num_classes: int) -> None:
        super().__init__()
        self.cells, self.boxes, self.num_classes = cells, boxes, num_classes

    @property
    def outputs(self) -> int:
        """Number of outputs, S * S * (5 B + C)."""
        return self.cells**2 * (5 * self.boxes + self.num_classes)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(N, outputs) -> boxes (N, S, S, B, 5) and class probabilities (N, S, S, C).

        A box is x and y of the centre within the cell, the square roots of width and height as shares of the picture,
        and the confidence.
        """
        grid = values.view(len(values), self.cells, self.cells, 5 * self.boxes + self.num_classes)
        boxes, classes = grid.split((5 * self.boxes, self.num_classes), dim=-1)
        return boxes.unflatten(-1, (self.boxes, 5)), classes

    def corners(self, boxes: Tensor) -> Tensor:
        """(N, S, S, B, 5) -> (N, S, S, B, 4) xyxy as shares of the picture's width and height."""
        positions = torch.arange(self.cells, device=boxes.device)
        x = (boxes[..., 0] + positions[None, None, :, None]) / self.cells
        y = (boxes[..., 1] + positions[None, :, None, None]) / self.cells
        half_width, half_height = (boxes[..., axis].square() / 2 for axis in (2, 3))
        return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], -1)


def yolo_loss(
    cells: Cells,
    boxes: Tensor,
    classes: Tensor,
    true: list[Tensor],
    labels: list[Tensor],
    ignored: Tensor | None = None,
) -> dict[str, Tensor]:
    """Squared errors, summed over cells and averaged over pictures (section 2.2, equation 3).

    In a cell with an object's centre, the box with the largest IoU with the object is responsible for it. If no box
    overlaps the object, the box with the smallest root mean squared error is. The target of its confidence is that IoU,
    which is treated as a constant. The target of every other box is 0; boxes that lie mostly on an ignored object are
    left out. A cell has one object; if several centres fall into it, the last one counts.

    Args:
        boxes, classes: as returned by `Cells`.
        true: for each picture (M, 4) xyxy as shares of its width and height.
        labels: for each picture (M,) classes from 0 to C - 1.
        ignored: (N, I, 4) xyxy of crowds and difficult objects as shares, padded with NaN; None for none.

    Returns:
        The terms `box`, `confidence`, `class`, and their weighted sum, `loss`.
    """
    count, size = boxes.shape[0], cells.cells
    confidences = boxes[..., 4]
    # The confidence of every box is first penalised as if there were no object; responsible boxes are corrected below.
    idle = NO_OBJECT * confidences.square()
    if ignored is not None:
        corners = cells.corners(boxes).detach()
        left = covered_share(corners.flatten(1, 3), ignored).view_as(idle) > IGNORED_SHARE
        idle = idle.masked_fill(left, 0.0)
    confidence = idle.sum()
    box = class_error = boxes.new_zeros(())
    found = [_cells_of(own, size) for own in true]
    pictures = torch.cat([torch.full_like(rows, number) for number, (rows, _, _) in enumerate(found)])
    if len(pictures):
        rows, columns = (torch.cat([each[axis] for each in found]) for axis in (0, 1))
        objects = torch.cat([own[each[2]] for own, each in zip(true, found, strict=True)])
        wanted = torch.cat([own[each[2]] for own, each in zip(labels, found, strict=True)])
        own = boxes[pictures, rows, columns]  # (M, B, 5)
        corners = cells.corners(boxes)[pictures, rows, columns].detach()
        overlap = iou(corners, objects[:, None])  # (M, B)
        distance = (corners - objects[:, None]).square().mean(-1).sqrt()
        responsible = torch.where(overlap.amax(1) > 0, overlap.argmax(1), distance.argmin(1))
        picked = torch.arange(len(own), device=own.device), responsible
        chosen, target = own[picked], overlap[picked]
        centre = (objects[:, :2] + objects[:, 2:]) / 2 * size - torch.stack([columns, rows], 1)
        roots = (objects[:, 2:] - objects[:, :2]).sqrt()
        box = (chosen[:, :4] - torch.cat([centre, roots], 1)).square().sum()
        corrected = (chosen[:, 4] - target).square() - idle[pictures, rows, columns][picked]
        confidence = confidence + corrected.sum()
        one_hot = nn.functional.one_hot(wanted, cells.num_classes)
        class_error = (classes[pictures, rows, columns] - one_hot).square().sum()
    values = {"box": box / count, "confidence": confidence / count, "class": class_error / count}
    return {**values, "loss": COORDINATES * values["box"] + values["confidence"] + values["class"]}


def _cells_of(boxes: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (M, 4) -> rows and columns of the cells that hold a centre, and for each cell the index of its last box."""
    centres = ((boxes[:, :2] + boxes[:, 2:]) / 2 * size).long().clamp(0, size - 1)
    numbers = centres[:, 1] * size + centres[:, 0]
    last = {cell: index for index, cell in enumerate(numbers.tolist())}
    chosen = torch.tensor(list(last.values()), dtype=torch.long, device=boxes.device)
    return centres[chosen, 1], centres[chosen, 0], chosen


class CellsLast(nn.Module):
    """(N, K, S, S) -> (N, S * S * K), cell by cell, as dense layers give them."""

    def forward(self, values: Tensor) -> Tensor:
        return values.permute(0, 2, 3, 1).flatten(1)


class YOLOv1(Detector):
    """YOLO with the paper's network, or with the convolutions of any classifier.

    Args:
        num_classes: number of classes of objects, without the background.
        encoder: a name in `models.encoders.ENCODERS`, whose last map is averaged to the grid; None for the paper's
            24 convolutions.
        weights: pretrained weights of the encoder: a file, a run, or a name on the Hugging Face hub.
        size: side of the pictures in pixels; 448 in the paper.
        cells, boxes: S, the number of cells along each side, and B, the number of boxes per cell.
        hidden: units of the first dense layer.
        shared: whether a 3x3 and a 1x1 convolution predict all cells with the same weights, as in YOLO's second
            version. Otherwise the paper's two dense layers read the whole map for each cell, and have to learn in each
            cell anew what an object looks like, which takes many pictures.
        detections: largest number of detections per picture.

    Raises:
        UserError: unknown encoder, or weights that do not fit.
    """

    heads: tuple[str, ...] = ("head.4",)

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 3,
        encoder: str | None = None,
        weights: Any = None,
        size: int = 448,
        cells: int = 7,
        boxes: int = 2,
        hidden: int = 4096,
        shared: bool = False,
        detections: int = 100,
    ) -> None:
        super().__init__(detections)
        self.num_classes = num_classes
        self.window = (size, size)
        self.stride = 64 if encoder is None else 32
        self.grid = Cells(cells, boxes, num_classes)
        if encoder is None:
            self.features: nn.Module = nn.Sequential(*_paper_layers(in_channels))
            channels = 1024
        else:
            self.encoder = create_encoder(encoder, in_channels=in_channels, weights=weights)
            channels = self.encoder.feature_channels[-1]
        self.pool = nn.AdaptiveAvgPool2d(cells)
        if shared:
            outputs = self.grid.outputs // cells**2
            self.heads = ("head.3",)
            self.head = nn.Sequential(
                nn.Conv2d(channels, hidden, 3, padding=1),
                nn.LeakyReLU(SLOPE, inplace=True),
                nn.Dropout(0.5),
                nn.Conv2d(hidden, outputs, 1),
                CellsLast(),
            )
        else:
            self.head = nn.Sequential(
                nn.Flatten(),
                nn.Linear(channels * cells**2, hidden),
                nn.LeakyReLU(SLOPE, inplace=True),
                nn.Dropout(0.5),
                nn.Linear(hidden, self.grid.outputs),
            )

    def maps(self, images: Tensor) -> Tensor:
        """(N, C, size, size) -> (N, channels, S, S), one position per cell."""
        return self.pool(self.encoder.pyramid(images)[-1] if hasattr(self, "encoder") else self.features(images))

    def grids(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, size, size) -> boxes (N, S, S, B, 5) and class probabilities (N, S, S, C), float32."""
        return self.grid(self.head(self.maps(images)).float())

    def losses(self, images: Tensor, targets: ObjectTargets) -> dict[str, Tensor]:
        """The terms of `yolo_loss`, and their weighted sum, `loss`. Objects without an area are left out."""
        height, width = images.shape[-2:]
        shares = images.new_tensor([width, height, width, height], dtype=torch.float32)
        chosen = [usable(own) for own in targets.boxes]
        true = [own[which] / shares for own, which in zip(targets.boxes, chosen, strict=True)]
        labels = [own[which] - 1 for own, which in zip(targets.classes, chosen, strict=True)]
        ignored = None if targets.ignored is None else targets.ignored / shares
        return yolo_loss(self.grid, *self.grids(images), true, labels, ignored)

    def forward(self, images: Tensor) -> list[Detections]:
        """(N, C, size, size) -> the objects of each picture. A detection's confidence is the probability of its class
        times the confidence of the box (equation 1)."""
        corners, scores = self.candidates(images)
        found = []
        for own, score in zip(corners.flatten(1, 3), scores.flatten(1, 3), strict=True):
            box, class_id = (score > self.limits.score).nonzero(as_tuple=True)
            kept = nms(own[box], score[box, class_id], self.limits.overlap, class_id)[: self.limits.objects]
            found.append(Detections(own[box[kept]], class_id[kept] + 1, score[box[kept], class_id[kept]]))
        return found

    def candidates(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, size, size) -> all boxes (N, S, S, B, 4) xyxy in pixels, and confidences (N, S, S, B, C), 0..1."""
        height, width = images.shape[-2:]
        boxes, classes = self.grids(images)
        corners = self.grid.corners(boxes) * boxes.new_tensor([width, height, width, height])
        return clip(corners, height, width), (boxes[..., 4:] * classes[..., None, :]).clamp(0, 1)

    def sources(self, images: Tensor, found: Detections) -> list[DetectionSource]:
        """The cell that each detection comes from; unless it is shared, the head reads the whole map for every cell."""
        corners, scores = (each[0] for each in self.candidates(images))
        size = corners.new_tensor(images.shape[-2:])
        sources = []
        for box, class_id in zip(found.boxes, found.classes.tolist(), strict=True):
            # Several boxes may be equal after clipping to the picture; the one with the highest confidence is meant.
            alike = iou(corners, box)
            best = scores[..., class_id - 1].where(alike == alike.max(), -1).argmax()  # of (S, S, B)
            row, column = divmod(int(best) // self.grid.boxes, self.grid.cells)
            cell = corners.new_tensor([column, row, column + 1, row + 1]) * size.flip(0).repeat(2) / self.grid.cells
            covered = torch.cat([torch.zeros_like(size), size.flip(0)])
            sources.append(DetectionSource(cell, "pool", covered, partial(self.cell_classes, row, column)))
        return sources

    def cell_classes(self, row: int, column: int, images: Tensor) -> Tensor:
        """Class probabilities (N, 1 + C) of a cell, by class id; 0 for the background."""
        return nn.functional.pad(self.grids(images)[1][:, row, column], (1, 0))


def _paper_layers(in_channels: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for layer in LAYERS:
        if isinstance(layer, str):
            layers.append(nn.MaxPool2d(2))
            continue
        channels, filter_size, stride = layer
        layers += [
            nn.Conv2d(in_channels, channels, filter_size, stride, filter_size // 2),
            nn.LeakyReLU(SLOPE, inplace=True),
        ]
        in_channels = channels
    he_normal(*layers)
    return layers
