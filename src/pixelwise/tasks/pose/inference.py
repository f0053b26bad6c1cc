"""Prediction of joints, from a picture and the boxes of its people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from pixelwise.data.formats.coco_people import category_of
from pixelwise.data.joints import VISIBLE, Joints
from pixelwise.data.people import PERSON, box_of_joints, people_alone
from pixelwise.data.person_windows import PersonWindow
from pixelwise.data.pictures import convert
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError, unknown
from pixelwise.inference.engine import device_and_dtype
from pixelwise.inference.forms import check_form
from pixelwise.inference.predictor import Inference, InferenceOptions, Prediction, Progress, Written
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.models.pose.hourglass import HourglassPose
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.finite import check_answer
from pixelwise.nn.heatmaps import mirrored, peaks
from pixelwise.report.skeletons import draw_skeletons
from pixelwise.tasks.pose.given_boxes import GivenBoxes, read_boxes

BATCH = 16
"""People per batch."""
FLIPS = ("none", "horizontal")


class PoseOptions(InferenceOptions):
    """Options of prediction by networks that find joints."""

    flips: str = Field("none", description="horizontal: average over the picture and its mirror image")
    overlay: bool = Field(False, description="also write NAME_overlay.png, the skeletons drawn over the picture")
    boxes: str | None = Field(
        None, description="objects.json or boxes.csv of a detector with the people; null: one person fills each picture"
    )


@dataclass(frozen=True, slots=True, eq=False)
class PosePrediction(Prediction):
    """The joints of the people in one picture.

    Attributes:
        positions: (S, P, J, 2) float32, x and y in pixels of the picture, for each stack; the last one counts.
        confidences: (P, J) float32, the value of the last stack's heatmap at its peak, 0..1.
        boxes: (P, 4) float32 xyxy, the boxes of the people.
        image: (H, W, C), the picture.
    """

    columns: ClassVar = ("person", "joint", "x", "y", "confidence")
    positions: np.ndarray
    confidences: np.ndarray
    boxes: np.ndarray
    joints: Joints
    image: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def keypoints(self) -> np.ndarray:
        """(P, J, 3) float32: x, y and confidence."""
        return np.concatenate([self.positions[-1], self.confidences[..., None]], -1)

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8: the skeletons drawn over the picture."""
        return draw_skeletons(self.image, self.positions[-1], np.ones(self.confidences.shape, bool), self.joints)

    def rows(self) -> list[list[str]]:
        return [
            [str(person), name, f"{x:.2f}", f"{y:.2f}", f"{confidence:.6f}"]
            for person, own in enumerate(self.keypoints.tolist(), start=1)
            for name, (x, y, confidence) in zip(self.joints.names, own, strict=True)
        ]


class PoseInference(Inference[PosePrediction]):
    """Prediction of poses, for pictures of any size.

    The network sees each person in a square window around the box, `MARGIN` times as large. Without boxes, a single
    person is assumed to fill the picture.

    Raises:
        UserError: an option is unknown, the boxes cannot be read, or the network does not predict joints.
    """

    table = "joints.csv"
    columns = PosePrediction.columns
    document = "poses.json"
    batch_size = BATCH

    def __init__(self, model: nn.Module, spec: ModelSpec, options: PoseOptions) -> None:
        if not isinstance(model, HourglassPose) or spec.input_size is None:
            raise UserError(f"'{spec.model}' does not predict joints; give a network of the task `pose`.")
        if options.flips not in FLIPS:
            raise unknown("flips of a network for poses", options.flips, FLIPS)
        super().__init__(spec)
        self.options = options
        self.joints = joints_of_spec(spec)
        self.size = spec.input_size[0]
        self.device, self.dtype = device_and_dtype(options.device, options.precision)
        self.model = model.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean, self._std = (
            torch.tensor(part, device=self.device)[:, None, None] for part in (spec.mean, spec.std)
        )

    @cached_property
    def boxes(self) -> GivenBoxes | None:
        """The boxes of the people in each picture, if the options name a file."""
        return None if self.options.boxes is None else read_boxes(Path(self.options.boxes))

    @property
    def suffixes(self) -> dict[str, tuple[str, ...]]:
        return {"overlay": (".png",)} if self.options.overlay else {}

    def prepare_sample(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """The picture, and the boxes of its annotated people."""
        people = people_alone(sample).instances
        return sample.image, np.zeros((0, 4), np.float32) if people is None else people.boxes

    def predict(self, raster: Raster, picture: Picture) -> PosePrediction:
        image = convert(raster.read(0, raster.height, 0, raster.width), self.spec.form, raster.name)
        boxes = np.array([[0, 0, raster.width, raster.height]], np.float32)
        if self.boxes is not None:
            boxes = self.boxes.of(Path(raster.name))
        return self.measured([(image, boxes)])[0]

    def measured(self, prepared: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[PosePrediction]:
        """The joints of the people in each picture, from `prepare_sample`.

        Raises:
            NotFinite: the network returns NaN or infinite numbers.
        """
        windows = [(image, PersonWindow.around(box, self.size)) for image, boxes in prepared for box in boxes]
        stacks = len(self.model.stacks)
        positions = np.zeros((stacks, len(windows), len(self.joints), 2), np.float32)
        values = np.zeros((len(windows), len(self.joints)), np.float32)
        for start in range(0, len(windows), BATCH):
            part = windows[start : start + BATCH]
            found, heights = decoded(self.heatmaps([window.image(image) for image, window in part]), self.size)
            values[start : start + BATCH] = heights
            for row, (_, window) in enumerate(part):
                positions[:, start + row] = window.back(found[:, row])
        predictions, first = [], 0
        for image, boxes in prepared:
            own = slice(first, first + len(boxes))
            predictions.append(PosePrediction(positions[:, own], values[own], boxes, self.joints, image))
            first += len(boxes)
        return predictions

    def heatmaps(self, images: Sequence[np.ndarray]) -> list[Tensor]:
        """Windows (size, size, C) in the spec's form -> heatmaps (N, J, h, w) float32 of each stack.

        They are averaged over the mirror image as well if the options ask for it.
        """
        pixels = torch.from_numpy(np.stack(images).astype(np.float32)).permute(0, 3, 1, 2).to(self.device)
        normalised = ((pixels - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return averaged(self.model, normalised, self.joints, flips=self.options.flips)

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        with open_raster(file) as raster:
            check_form(raster, self.spec)
            found = self.predict(raster, file)
        if self.options.overlay:
            self.write_overlay(found, target)
        return Written(rows=found.rows(), entry=coco_entry(found))

    def document_of(self, entries: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        """COCO's keypoints, with the mean of the joints' confidences as each person's score."""
        images, annotations = [], []
        for number, (picture, (size, people)) in enumerate(entries, start=1):
            images.append({"id": number, "file_name": picture, "height": size[0], "width": size[1]})
            annotations += [{"image_id": number, **each} for each in people]
        return {
            "images": images,
            "annotations": [{"id": number, **each} for number, each in enumerate(annotations, start=1)],
            "categories": [category_of(self.joints)],
        }


def averaged(
    network: Callable[[Tensor], Sequence[Tensor]], images: Tensor, joints: Joints, *, flips: str
) -> list[Tensor]:
    """Heatmaps (N, J, h, w) float32 of each stack for normalised pictures (N, C, H, W).

    With `horizontal` flips the heatmaps of the picture are averaged with those of its mirror image, which are mirrored
    back and have left and right joints exchanged. The cells of the grid are mirror images of each other, so nothing is
    shifted.

    Raises:
        NotFinite: there are NaN or infinite numbers among them.
    """
    plain = [each.float() for each in check_answer(list(network(images)))]
    if flips == "none":
        return plain
    other = check_answer(list(network(images.flip(-1).contiguous(memory_format=torch.channels_last))))
    return [(one + mirrored(two.float(), joints.mirrored)) / 2 for one, two in zip(plain, other, strict=True)]


def decoded(all_heatmaps: Sequence[Tensor], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Decodes each stack's heatmaps (N, J, h, w), for pictures whose sides are `size` pixels.

    Returns:
        Joints (S, N, J, 2) float32 in pixels of the pictures, and confidences (N, J) float32 of the last stack.
    """
    positions = []
    for heatmaps in all_heatmaps:
        found, values = peaks(heatmaps)
        positions.append(found.cpu().numpy() * np.float32(size / heatmaps.shape[-1]))
    return np.stack(positions), values.clamp(0, 1).cpu().numpy()


def coco_entry(found: PosePrediction) -> tuple[tuple[int, int], list[dict[str, Any]]]:
    """Height and width of the picture, and COCO's annotation of each person without the picture's id."""
    height, width = found.image.shape[:2]
    people = []
    around = box_of_joints(np.concatenate([found.positions[-1], np.ones((*found.confidences.shape, 1))], -1))
    for keypoints, (left, top, right, bottom) in zip(found.keypoints.tolist(), around.tolist(), strict=True):
        people.append(
            {
                "category_id": PERSON,
                "keypoints": [number for x, y, _ in keypoints for number in (x, y, VISIBLE)],
                "num_keypoints": len(keypoints),
                "confidences": [confidence for *_, confidence in keypoints],
                "score": float(np.mean([confidence for *_, confidence in keypoints])),
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
            }
        )
    return (height, width), people


def joints_of_spec(spec: ModelSpec) -> Joints:
    """The joints that a network was trained to predict.

    Raises:
        UserError: the model file does not name them.
    """
    stored = spec.notes.get("joints")
    if not isinstance(stored, dict):
        raise UserError(f"'{spec.model}': its model file names no joints; train again.")
    return Joints(tuple(stored["names"]), tuple((one, other) for one, other in stored["skeleton"]))
