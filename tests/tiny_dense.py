"""A tiny dense network whose receptive field is known, and predictors made from it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.data.pictures import PictureFormat
from pixelwise.inference.predictor import Predictor
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.dense import DenseModel
from pixelwise.tasks.segment.inference import SegmentInference, SegmentOptions, SegmentPrediction


class Near(DenseModel):
    """Convolution, norm, pooling by 4, convolution, upsampling: it sees 8 pixels around each pixel.

    7 for the 3x3 of cells of 4 pixels, 1 for the first convolution.
    """

    radius = 8

    def __init__(self, *, in_channels: int = 3, num_classes: int = 3) -> None:
        super().__init__()
        self.num_classes, self.stride = num_classes, 4
        self.first = nn.Sequential(nn.Conv2d(in_channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(
            nn.MaxPool2d(4), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=4)
        )
        self.head = nn.Conv2d(16, num_classes, 1)

    def logits(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        return self.head(torch.cat([maps, self.deep(maps)], dim=1))


def near(in_channels: int = 3, num_classes: int = 3, seed: int = 0) -> Near:
    torch.manual_seed(seed)
    model = Near(in_channels=in_channels, num_classes=num_classes)
    model.first[1].running_mean.uniform_(-0.5, 0.5)
    model.first[1].running_var.uniform_(0.5, 2)
    return model.eval()


def make_spec(channels: int = 3, dtype: str = "uint8", num_classes: int = 3) -> ModelSpec:
    full = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}[dtype]
    return ModelSpec(
        model="near",
        options={"in_channels": channels, "num_classes": num_classes},
        class_names=("background", *(f"class {number}" for number in range(1, num_classes))),
        form=PictureFormat(channels, dtype),
        mean=tuple(full * (0.4 + 0.05 * channel) for channel in range(channels)),
        std=(full * 0.25,) * channels,
    )


def near_predictor(channels: int = 3, spec: ModelSpec | None = None, **options: Any) -> Predictor[SegmentPrediction]:
    """Predicts with `near` on the CPU in float32; options as `SegmentOptions` has them."""
    return segment_predictor(near(channels), spec or make_spec(channels), **options)


def segment_predictor(model: nn.Module, spec: ModelSpec, **options: Any) -> Predictor[SegmentPrediction]:
    """Predicts with any dense network on the CPU in float32 unless the options say otherwise."""
    settings: dict[str, Any] = {"device": "cpu", "precision": "float32", **options}
    return Predictor(SegmentInference(model, spec, SegmentOptions(**settings)))
