"""From a picture of any size and kind to boxes around what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.object_windows import BACKGROUND, SHIFT
from pixelwise.data.objects import Stretch
from pixelwise.data.pictures import convert
from pixelwise.errors import UserError
from pixelwise.hardware import default_device, preferred_dtype
from pixelwise.inference.forms import check_form
from pixelwise.inference.overfeat import Localised, localise
from pixelwise.inference.rasters import Picture, open_raster
from pixelwise.models.detect.localizer import Localizer
from pixelwise.models.detect.overfeat import OverFeat
from pixelwise.models.spec import ModelSpec, load_model
from pixelwise.nn.boxes import clip

LEAST = 0.3
"""OverFeat: windows that are less sure of a class give no box."""
MATCH = 0.9
"""OverFeat: `match_score` up to which boxes merge; looser than the function's own, since a small network's boxes
scatter."""
MOST = 1000
"""OverFeat: boxes of a class that are merged, the surest ones, which bounds the time of a network that is unsure."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxPrediction:
    """What a network finds in one picture, the surest first.

    Attributes:
        boxes: (M, 4) float32 xyxy in pixels of the picture, cut off at its edge.
        classes: (M,) int64 class ids.
        confidences: (M,) float32, 0..1, see `BoxPredictor`.
        class_names: by class id.
        image: (H, W, C), the picture.
        steps: of OverFeat, how it came to that.
    """

    boxes: np.ndarray
    classes: np.ndarray
    confidences: np.ndarray
    class_names: tuple[str, ...]
    image: np.ndarray
    steps: Localised | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def labels(self) -> list[str]:
        """The class's name and the confidence, in percent, of each box."""
        return [
            f"{self.class_names[class_id]} {100 * confidence:.0f}"
            for class_id, confidence in zip(self.classes.tolist(), self.confidences.tolist(), strict=True)
        ]

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8: the boxes drawn over the picture."""
        from pixelwise.data.draw import palette
        from pixelwise.report.boxes import draw_boxes

        colours = palette(len(self.class_names), BACKGROUND)
        return draw_boxes(self.image, self.boxes, self.classes, self.labels(), colours=colours)


class BoxPredictor:
    """A model ready to say what is where in pictures.

    A `Localizer` sees the whole picture, stretched to the view that it was trained on, and gives its object: a box, the
    class and its probability. With several boxes they are the largest objects of that class; with one a class, it is
    that of the class.

    `OverFeat` searches the picture at the scales of its training (`inference.overfeat.localise`). The confidences of
    merged boxes are sums over windows; here they are given as a share of the windows of one scale that have an object
    near their middle (within `SHIFT` of the side, as in training), at most 1: at 0.5 half of them agree. Boxes below
    the confidence of the training's recipe are left out.

    Args:
        device: `auto`, or a name that torch knows.
        precision: `float32`, `bfloat16`, or `auto`: bfloat16 where the processor multiplies it natively.

    Raises:
        UserError: a model that gives no boxes.
    """

    def __init__(
        self, model: Localizer | OverFeat, spec: ModelSpec, *, device: str = "auto", precision: str = "auto"
    ) -> None:
        if not isinstance(model, Localizer | OverFeat) or spec.view is None:
            raise UserError(f"'{spec.model}' gives no boxes.")
        self.spec = spec
        self.class_names = spec.class_names
        self.device = default_device() if device == "auto" else torch.device(device)
        self.dtype = preferred_dtype(self.device) if precision == "auto" else getattr(torch, precision)
        self.model = model.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.confidence = float(spec.notes.get("confidence", 0.0))
        self._stretch = Stretch(spec.view)
        self._mean, self._std = (np.asarray(part, np.float32) for part in (spec.mean, spec.std))

    @classmethod
    def from_file(cls, path: Path | str, *, device: str = "auto", precision: str = "auto") -> Self:
        """The model of a file, such as a run's `best.safetensors`; options as for the class.

        Raises:
            UserError: a file that is missing, damaged, not written by pixelwise, or of another kind of model.
        """
        model, spec = load_model(path)
        return cls(model, spec, device=device, precision=precision)  # type: ignore[arg-type]

    @property
    def searches(self) -> bool:
        """Whether it looks for all objects of a picture, rather than for the one that the picture shows."""
        return isinstance(self.model, OverFeat)

    def __call__(self, picture: Picture) -> BoxPrediction:
        """Finds what is in a file, an array (H, W) or (H, W, C), or a Pillow image, of any mode and size.

        Raises:
            UserError: a picture that cannot be read or does not suit the model.
        """
        every = self.candidates(picture)
        kept = every.confidences >= self.confidence if self.searches else every.classes == every.classes[0]
        return BoxPrediction(
            every.boxes[kept], every.classes[kept], every.confidences[kept], self.class_names, every.image, every.steps
        )

    def candidates(self, picture: Picture) -> BoxPrediction:
        """As a call, but with the boxes below the least confidence, and of less likely classes, too.

        Raises:
            UserError: as for a call.
        """
        with open_raster(picture) as raster:
            check_form(raster, self.spec)
            image = convert(raster.read(0, raster.height, 0, raster.width), self.spec.form, raster.name)
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            boxes, classes, confidences, steps = self._search(image) if self.searches else self._look(image)
        within = clip(torch.as_tensor(boxes), *image.shape[:2]).numpy().astype(np.float32)
        return BoxPrediction(within, classes, confidences.astype(np.float32), self.class_names, image, steps)

    def _look(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, None]:
        assert isinstance(self.model, Localizer)
        logits, boxes = self.model(self._normalised(self._stretch.image(image))[None])
        probabilities = logits[0].float().softmax(0)
        if not self.model.names_background:
            probabilities[BACKGROUND] = 0
        ranked = probabilities.argsort(descending=True, stable=True)
        if not self.model.names_background:
            ranked = ranked[ranked != BACKGROUND]
        classes = ranked if self.model.per_class else ranked[:1].expand(boxes.shape[1])
        own = boxes[0][ranked] if self.model.per_class else boxes[0]
        found = self._stretch.back(own.float().cpu().numpy(), *image.shape[:2])
        return found, classes.cpu().numpy(), probabilities[classes].cpu().numpy(), None

    def _search(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, Localised]:
        assert isinstance(self.model, OverFeat)
        steps = localise(
            self.model,
            self._normalised(image),
            scales=self.spec.notes["scales"],
            background=BACKGROUND,
            least=LEAST,
            threshold=MATCH,
            most=MOST,
        )
        agreeing = (2 * SHIFT * self.model.window[0] / self.model.stride) ** 2
        merged = steps.merged
        confidences = (merged.scores / agreeing).clamp(max=1).numpy()
        return merged.boxes.numpy(), merged.classes.numpy(), confidences, steps

    def _normalised(self, image: np.ndarray) -> Tensor:
        """(H, W, C) in the spec's form -> (C, H, W) float32."""
        values = torch.from_numpy((image.astype(np.float32) - self._mean) / self._std)
        return values.permute(2, 0, 1).to(self.device)
