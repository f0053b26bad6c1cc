"""The targets of a batch, as tensors; each kind collates itself and moves itself to a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.sample import NO_CLASS, VOID, Instances, Sample
from pixelwise.hardware import on_device


class Targets(ABC):
    """The labels of the N pictures of a batch."""

    @classmethod
    @abstractmethod
    def collate(cls, samples: Sequence[Sample]) -> Self:
        """Stacks the labels of samples whose pictures have the same size."""

    @classmethod
    def of_classes(cls, classes: Tensor, known: Tensor) -> Self:
        """Labels from class ids, as if a person had given those that are known and left out the others.

        Only for targets that are one class per picture or per pixel.

        Args:
            classes: (N,) or (N, H, W) int64.
            known: bool, of the same shape.
        """
        raise NotImplementedError(f"{cls.__name__} are not classes")

    def to(self, device: torch.device) -> Self:
        """The same labels on a device."""
        moved: dict[str, Any] = {}
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if isinstance(value, Tensor):
                moved[each.name] = on_device(value, device)
            elif isinstance(value, Targets):
                moved[each.name] = value.to(device)
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True, eq=False)
class PixelTargets(Targets):
    """A class per pixel.

    Attributes:
        masks: (N, H, W) int64 class ids, 255 = void; void everywhere for a picture without a mask.
        weights: (N, H, W) float32 factors of the loss; None for 1 everywhere.
    """

    masks: Tensor
    weights: Tensor | None = None

    @classmethod
    def collate(cls, samples: Sequence[Sample]) -> Self:
        size = samples[0].image.shape[:2]
        void = np.full(size, VOID, np.uint8)
        masks = np.stack([void if sample.mask is None else sample.mask for sample in samples])
        weights = None
        if any(sample.weights is not None for sample in samples):
            ones = np.ones(size, np.float32)
            weights = torch.from_numpy(np.stack([ones if s.weights is None else s.weights for s in samples]))
        return cls(torch.from_numpy(masks).long(), weights)

    @classmethod
    def of_classes(cls, classes: Tensor, known: Tensor) -> Self:
        return cls(classes.masked_fill(~known, VOID))


@dataclass(frozen=True, slots=True, eq=False)
class ClassTargets(Targets):
    """A class per picture.

    Attributes:
        classes: (N,) int64 class ids, `NO_CLASS` for a picture without one.
    """

    classes: Tensor

    @classmethod
    def collate(cls, samples: Sequence[Sample]) -> Self:
        return cls(torch.tensor([NO_CLASS if sample.class_id is None else sample.class_id for sample in samples]))

    @classmethod
    def of_classes(cls, classes: Tensor, known: Tensor) -> Self:
        return cls(classes.masked_fill(~known, NO_CLASS))


@dataclass(frozen=True, slots=True, eq=False)
class ValueTargets(Targets):
    """A number per pixel.

    Attributes:
        values: (N, H, W) float32, NaN = void.
    """

    values: Tensor

    @classmethod
    def collate(cls, samples: Sequence[Sample]) -> Self:
        void = np.full(samples[0].image.shape[:2], np.nan, np.float32)
        return cls(torch.from_numpy(np.stack([void if s.values is None else s.values for s in samples])))


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTargets(Targets):
    """The objects of each picture, in the order of the samples' instances.

    M is the largest number of objects of any picture of the batch, at least 1; rows beyond a picture's own objects are
    NaN, and their class is `NO_CLASS`.

    Attributes:
        boxes: (N, M, 4) float32 xyxy in pixels of the crop.
        classes: (N, M) int64 class ids.
        masks: (N, H, W) int32 label maps, i + 1 on the pixels of object i and 0 elsewhere; None if no sample has
            outlines.
        keypoints: (N, M, J, 3) float32 `(x, y, visible)`; None if no sample has keypoints.
        proposals: (N, P, 4) float32 xyxy in pixels of the crop, boxes that may hold an object, the best first, with
            rows of NaN if a picture has fewer; None if no sample has any.
        ignored: (N, I, 4) float32 xyxy of crowds and difficult objects, which count neither as objects nor as
            background, NaN beyond a picture's own; None if no sample has any.
    """

    boxes: Tensor
    classes: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None
    proposals: Tensor | None = None
    ignored: Tensor | None = None

    @classmethod
    def collate(cls, samples: Sequence[Sample]) -> Self:
        known = [sample.instances for sample in samples]
        most = max([1, *(len(instances) for instances in known if instances is not None)])
        boxes = torch.full((len(samples), most, 4), torch.nan)
        classes = torch.full((len(samples), most), NO_CLASS)
        joints = next((each.keypoints.shape[1] for each in known if each is not None and each.keypoints is not None), 0)
        keypoints = torch.full((len(samples), most, joints, 3), torch.nan) if joints else None
        outlined = any(each is not None and each.ids is not None for each in known)
        masks = torch.zeros((len(samples), *samples[0].image.shape[:2]), dtype=torch.int32) if outlined else None
        for row, instances in enumerate(known):
            if instances is None:
                continue
            count = len(instances)
            boxes[row, :count] = torch.from_numpy(instances.boxes)
            classes[row, :count] = torch.from_numpy(instances.classes)
            if keypoints is not None and instances.keypoints is not None:
                keypoints[row, :count] = torch.from_numpy(instances.keypoints)
            if masks is not None and instances.ids is not None:
                masks[row] = torch.from_numpy(instances.ids)
        proposed = [torch.from_numpy(sample.proposals) for sample in samples if sample.proposals is not None]
        proposals = None
        if proposed:
            proposals = torch.nn.utils.rnn.pad_sequence(proposed, batch_first=True, padding_value=torch.nan)
        return cls(boxes, classes, masks, keypoints, proposals, _ignored(known))

    def ignored_boxes(self) -> list[Tensor]:
        """For each picture (I, 4) `ignored`, padding included; (0, 4) if no picture has any."""
        return list(self.boxes[:, :0] if self.ignored is None else self.ignored)


def _ignored(known: Sequence[Instances | None]) -> Tensor | None:
    """(N, I, 4) boxes of the ignored objects of each picture, NaN beyond them; None if there are none."""
    found = [None if each is None or each.ignored is None else each.ignored.boxes for each in known]
    most = max((len(boxes) for boxes in found if boxes is not None), default=0)
    if not most:
        return None
    padded = torch.full((len(known), most, 4), torch.nan)
    for row, boxes in enumerate(found):
        if boxes is not None:
            padded[row, : len(boxes)] = torch.from_numpy(boxes)
    return padded


@dataclass(frozen=True, slots=True, eq=False)
class PairTargets(Targets):
    """The other picture of each sample: its partner, or any picture of another kind.

    Attributes:
        pictures: (N, C, H, W), in the units of the files.
    """

    pictures: Tensor

    @classmethod
    def collate(cls, samples: Sequence[Sample]) -> Self:
        partners = [sample.partner for sample in samples]
        return cls(stack([partner for partner in partners if partner is not None]))


def stack(images: Sequence[np.ndarray]) -> Tensor:
    """Pictures (H, W, C) of one size -> (N, C, H, W) in their own units, channels last in memory."""
    stacked = np.stack(images)
    if stacked.dtype == np.uint16:  # few of torch's kernels accept uint16
        stacked = stacked.astype(np.int32)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)
