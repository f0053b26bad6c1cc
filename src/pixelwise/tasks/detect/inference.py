"""Prediction: from a picture of any size and kind to boxes around its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from pixelwise.data.draw import palette
from pixelwise.data.object_windows import BACKGROUND, SHIFT
from pixelwise.data.objects import Stretch
from pixelwise.data.pictures import convert
from pixelwise.errors import UserError
from pixelwise.inference.engine import device_and_dtype
from pixelwise.inference.forms import check_form
from pixelwise.inference.predictor import Inference, InferenceOptions, Prediction, Progress, Written
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.models.detect.localizer import Localizer
from pixelwise.models.detect.overfeat import OverFeat
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.boxes import clip
from pixelwise.nn.finite import check_answer
from pixelwise.report.boxes import draw_boxes
from pixelwise.tasks.detect.merging import Localised, localise

MIN_SCORE = 0.3
"""OverFeat: a window contributes no box for a class with a lower probability than this."""
MATCH = 0.9
"""OverFeat: boxes merge up to this `match_score`. It is above the default of `merge_boxes`, since the boxes of a small
network scatter."""
MAX_CANDIDATES = 1000
"""OverFeat: largest number of boxes per class that are merged, the most confident ones; it limits the time."""


class DetectOptions(InferenceOptions):
    """Options of prediction by networks that find objects."""

    overlay: bool = Field(False, description="also write NAME_overlay.png, the boxes drawn over the picture")


@dataclass(frozen=True, slots=True, eq=False)
class BoxPrediction(Prediction):
    """The boxes that a network finds in one picture, the most confident first.

    Attributes:
        boxes: (M, 4) float32 xyxy in pixels, clipped to the picture.
        classes: (M,) int64 class ids.
        confidences: (M,) float32, 0..1, see `BoxInference`.
        class_names: by class id.
        image: (H, W, C), the picture.
        steps: the steps of OverFeat's search; None for other networks.
    """

    columns: ClassVar = ("class", "confidence", "x0", "y0", "x1", "y1")
    boxes: np.ndarray
    classes: np.ndarray
    confidences: np.ndarray
    class_names: tuple[str, ...]
    image: np.ndarray
    steps: Localised | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def labels(self) -> list[str]:
        """Class name and confidence in percent of each box."""
        return [
            f"{self.class_names[class_id]} {100 * confidence:.0f}"
            for class_id, confidence in zip(self.classes.tolist(), self.confidences.tolist(), strict=True)
        ]

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8: the boxes drawn over the picture."""
        colours = palette(len(self.class_names), BACKGROUND)
        return draw_boxes(self.image, self.boxes, self.classes, self.labels(), colours=colours)

    def rows(self) -> list[list[str]]:
        return [
            [self.class_names[class_id], f"{confidence:.6f}", *(f"{edge:.2f}" for edge in box)]
            for box, class_id, confidence in zip(
                self.boxes.tolist(), self.classes.tolist(), self.confidences.tolist(), strict=True
            )
        ]


class BoxInference(Inference[BoxPrediction]):
    """Prediction of classes and boxes by a `Localizer` or by `OverFeat`.

    A `Localizer` sees the whole picture, stretched to the size that it was trained on, and predicts its object: a box,
    the class and its probability. If it has several boxes, they are those of the largest objects of that class; if it
    has one box per class, the box of the predicted class is used.

    `OverFeat` searches the picture at the scales of its training (`merging.localise`). The confidence of a merged box
    is a sum over windows. It is divided by the number of windows of one scale that have an object near their middle
    (within `SHIFT` of the side, as in training), and is at most 1: at 0.5, half of these windows agree. Boxes below the
    confidence in the recipe of the run are left out.

    Raises:
        UserError: an unknown option, or a network that predicts no boxes.
    """

    table = "boxes.csv"
    columns = BoxPrediction.columns

    def __init__(self, model: nn.Module, spec: ModelSpec, options: DetectOptions) -> None:
        if not isinstance(model, Localizer | OverFeat) or spec.input_size is None:
            raise UserError(f"'{spec.model}' predicts no boxes; give a network of the task `detect`.")
        super().__init__(spec)
        self.options = options
        self.device, self.dtype = device_and_dtype(options.device, options.precision)
        self.model = model.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.confidence = float(spec.notes.get("confidence", 0.0))
        self._stretch = Stretch(spec.input_size)
        self._mean, self._std = (np.asarray(part, np.float32) for part in (spec.mean, spec.std))

    @property
    def searches(self) -> bool:
        """Whether the network looks for all objects of a picture instead of its one main object."""
        return isinstance(self.model, OverFeat)

    @property
    def suffixes(self) -> dict[str, tuple[str, ...]]:
        return {"overlay": (".png",)} if self.options.overlay else {}

    def predict(self, raster: Raster, picture: Picture) -> BoxPrediction:
        every = self.candidates(raster)
        kept = every.confidences >= self.confidence if self.searches else every.classes == every.classes[0]
        names = self.spec.class_names
        return BoxPrediction(
            every.boxes[kept], every.classes[kept], every.confidences[kept], names, every.image, every.steps
        )

    def measured(self, prepared: Sequence[np.ndarray]) -> list[BoxPrediction]:
        found = []
        for image in prepared:
            with open_raster(image) as raster:
                found.append(self.candidates(raster))
        return found

    def candidates(self, raster: Raster) -> BoxPrediction:
        """Like `predict`, but with the boxes below the least confidence and those of less probable classes.

        Raises:
            NotFinite: the network's output has NaN or infinite numbers.
        """
        image = convert(raster.read(0, raster.height, 0, raster.width), self.spec.form, raster.name)
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            boxes, classes, confidences, steps = self._search(image) if self.searches else self._look(image)
        check_answer((torch.as_tensor(boxes), torch.as_tensor(confidences)))
        within = clip(torch.as_tensor(boxes), *image.shape[:2]).numpy().astype(np.float32)
        names = self.spec.class_names
        return BoxPrediction(within, classes, confidences.astype(np.float32), names, image, steps)

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        with open_raster(file) as raster:
            check_form(raster, self.spec)
            found = self.predict(raster, file)
        if self.options.overlay:
            self.write_overlay(found, target)
        return Written(rows=found.rows())

    def _look(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, None]:
        logits, boxes = self.model(self._normalised(self._stretch.image(image))[None])
        own, classes, confidences = ranked_boxes(self.model, logits[0], boxes[0])
        return self._stretch.back(own, *image.shape[:2]), classes, confidences, None

    def _search(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, Localised]:
        assert isinstance(self.model, OverFeat)
        steps = localise(
            self.model,
            self._normalised(image),
            scales=self.spec.notes["scales"],
            background=BACKGROUND,
            least=MIN_SCORE,
            threshold=MATCH,
            most=MAX_CANDIDATES,
        )
        agreeing = (2 * SHIFT * self.model.window[0] / self.model.stride) ** 2
        merged = steps.merged
        confidences = (merged.scores / agreeing).clamp(max=1).numpy()
        return merged.boxes.numpy(), merged.classes.numpy(), confidences, steps

    def _normalised(self, image: np.ndarray) -> Tensor:
        """(H, W, C) in the spec's form -> (C, H, W) float32."""
        values = torch.from_numpy((image.astype(np.float32) - self._mean) / self._std)
        return values.permute(2, 0, 1).to(self.device)


def ranked_boxes(network: Any, logits: Tensor, boxes: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decodes a network's output for one picture, the most probable class first.

    Args:
        network: a network with the attributes `per_class` and `names_background`, such as `Localizer`.
        logits: (K,).
        boxes: (B, 4) xyxy.

    Returns:
        Boxes (M, 4) float32, their classes (M,) int64 and probabilities (M,) float32: all boxes with the most probable
        class, or, with one box per class, the boxes of all classes in descending order of probability.
    """
    probabilities = logits.float().softmax(0)
    ranked = probabilities.argsort(descending=True, stable=True)
    if not network.names_background:
        ranked = ranked[ranked != BACKGROUND]
    classes = ranked if network.per_class else ranked[:1].expand(len(boxes))
    own = boxes[ranked] if network.per_class else boxes
    return own.float().cpu().numpy(), classes.cpu().numpy(), probabilities[classes].cpu().numpy()
