"""A confusion matrix that accumulates over pictures, and every score that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.sample import VOID
from pixelwise.metrics.json_values import or_none

IDS = 256  # class ids and void fit in a byte


class ConfusionMatrix:
    """Counts pixels by true and predicted class, over any number of pictures in batches of any size.

    All scores are *dataset-level*: they are computed once from the counts of all pixels, never averaged over pictures
    or batches. If a score is undefined for a class (0 / 0), it is NaN and left out of the mean over classes.

    Attributes:
        num_classes: K.
        class_names: by class id; the ids themselves if no names were given.
        counts: (K, K) int64 on the CPU; rows are the truth, columns the prediction.
    """

    def __init__(self, num_classes: int, class_names: Sequence[str] | None = None, *, void: int | None = VOID) -> None:
        """Args:
            num_classes: 1 to 255; up to 10,000 without `void`.
            class_names: one name per class.
            void: 255, the id that is not counted, or None if everything counts, as for pictures with one class each.

        Raises:
            ValueError: too many classes, not one name per class, or an unknown value of `void`.
        """
        if void not in (None, VOID):
            raise ValueError(f"void is {void}; expected {VOID}, or None if every id counts")
        most = IDS - 1 if void == VOID else 10_000
        if not 1 <= num_classes <= most:
            raise ValueError(f"{num_classes} classes, but a confusion matrix takes 1 to {most:,} (255 is void)")
        names = tuple(class_names) if class_names is not None else tuple(str(i) for i in range(num_classes))
        if len(names) != num_classes:
            raise ValueError(f"{len(names)} class names for {num_classes} classes")
        self.num_classes = num_classes
        self.class_names = names
        self.void = void
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, prediction: Tensor | np.ndarray, target: Tensor | np.ndarray) -> None:
        """Adds pixels.

        Args:
            prediction: integers of any shape, 0..K-1, on any device.
            target: the same shape; 255 = void, which is not counted.

        Raises:
            ValueError: the shapes differ, or the values are not integers or out of range. The counts stay unchanged.
        """
        if self.void is None:
            self._update_any(torch.as_tensor(prediction), torch.as_tensor(target))
            return
        predicted, true = _as_bytes(prediction, "prediction"), _as_bytes(target, "target")
        if predicted.shape != true.shape:
            raise ValueError(f"prediction is {tuple(predicted.shape)} but target is {tuple(true.shape)}")
        # Counting all 256 x 256 pairs takes as long as counting K x K of them, and checks both ranges at no extra cost.
        pairs = true.to(predicted.device, torch.int32).mul_(IDS).add_(predicted)
        table = torch.bincount(pairs.flatten(), minlength=IDS * IDS).view(IDS, IDS).cpu()
        for ids, seen in (("prediction", table.sum(0)), ("target", table.sum(1)[:VOID])):
            if seen[self.num_classes :].any():
                top = int(seen.nonzero().max())
                raise ValueError(f"{ids} holds class id {top}, but ids go from 0 to {self.num_classes - 1}")
        self.counts += table[: self.num_classes, : self.num_classes]

    def _update_any(self, predicted: Tensor, true: Tensor) -> None:
        """`update` for ids that do not fit a byte: one per picture, so far fewer than there are pixels."""
        if predicted.shape != true.shape:
            raise ValueError(f"prediction is {tuple(predicted.shape)} but target is {tuple(true.shape)}")
        for what, ids in (("prediction", predicted), ("target", true)):
            outside = ids[(ids < 0) | (ids >= self.num_classes)]
            if outside.numel():
                raise ValueError(
                    f"{what} holds class id {int(outside[0])}, but ids go from 0 to {self.num_classes - 1}"
                )
        pairs = true.flatten().cpu().long() * self.num_classes + predicted.flatten().cpu().long()
        self.counts += torch.bincount(pairs, minlength=self.num_classes**2).view_as(self.counts)

    def merge(self, other: ConfusionMatrix) -> None:
        """Adds the pixels that another matrix has counted.

        Raises:
            ValueError: the classes differ.
        """
        if self.class_names != other.class_names:
            raise ValueError("confusion matrices of different classes cannot be added")
        self.counts += other.counts

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        total = ConfusionMatrix(self.num_classes, self.class_names, void=self.void)
        total.merge(self)
        total.merge(other)
        return total

    def __repr__(self) -> str:
        return f"ConfusionMatrix({self.num_classes} classes, {self.pixels:,} pixels)"

    @property
    def pixels(self) -> int:
        """Pixels counted, void excluded."""
        return int(self.counts.sum())

    @property
    def true_pixels(self) -> Tensor:
        """(K,) int64: pixels of each class in the truth."""
        return self.counts.sum(1)

    @property
    def predicted_pixels(self) -> Tensor:
        """(K,) int64: pixels predicted as each class."""
        return self.counts.sum(0)

    def iou(self) -> Tensor:
        """(K,) float64: |X and Y| / |X or Y| (Jaccard), NaN for classes absent from truth and prediction."""
        both = self.counts.diagonal()
        return both.double() / (self.true_pixels + self.predicted_pixels - both)

    def dice(self) -> Tensor:
        """(K,) float64: 2 |X and Y| / (|X| + |Y|) (F1), NaN for classes absent from truth and prediction."""
        return 2 * self.counts.diagonal().double() / (self.true_pixels + self.predicted_pixels)

    def precision(self) -> Tensor:
        """(K,) float64: the share of the pixels predicted as a class that belong to it, NaN if never predicted."""
        return self.counts.diagonal().double() / self.predicted_pixels

    def recall(self) -> Tensor:
        """(K,) float64: the share of a class's true pixels that were found, NaN for classes absent from the truth."""
        return self.counts.diagonal().double() / self.true_pixels

    def cosine(self) -> Tensor:
        """(K,) float64: |X and Y| / sqrt(|X| |Y|) (Ochiai), NaN for classes absent from truth and prediction."""
        true, predicted = self.true_pixels.double(), self.predicted_pixels.double()
        scores = self.counts.diagonal() / (true * predicted).sqrt()
        return torch.where((true > 0) ^ (predicted > 0), 0.0, scores)

    def mean_iou(self) -> float:
        """The mean of `iou` over the classes for which it is defined; NaN if nothing was counted."""
        return float(self.iou().nanmean())

    def mean_dice(self) -> float:
        """The mean of `dice` over the classes for which it is defined; NaN if nothing was counted."""
        return float(self.dice().nanmean())

    def pixel_accuracy(self) -> float:
        """The share of all pixels whose class is right; NaN if nothing was counted."""
        return float(self.counts.diagonal().sum().double() / self.counts.sum())

    def mean_accuracy(self) -> float:
        """The mean of `recall` over the classes in the truth (Long et al. 2015); NaN if nothing was counted."""
        return float(self.recall().nanmean())

    def summary(self, split: str | None = None) -> dict[str, Any]:
        """All scores as plain JSON values; undefined scores are None.

        Args:
            split: name of the pixels' split (`val`), for the definition.
        """
        counted = int((~self.iou().isnan()).sum())
        absent = self.num_classes - counted
        classes = f"{self.num_classes} classes"
        if absent:
            classes = f"{counted} of {classes} ({absent} absent from truth and prediction, not counted)"
        return {
            "mean_iou": or_none(self.mean_iou()),
            "pixel_accuracy": or_none(self.pixel_accuracy()),
            "mean_accuracy": or_none(self.mean_accuracy()),
            "mean_dice": or_none(self.mean_dice()),
            "iou": self._by_name(self.iou()),
            "dice": self._by_name(self.dice()),
            "precision": self._by_name(self.precision()),
            "recall": self._by_name(self.recall()),
            "pixels": self.pixels,
            "definition": f"mean IoU over {classes}, dataset-level (one confusion matrix over all pixels"
            f"{f' of the {split} split' if split else ''}), void excluded",
        }

    def _by_name(self, scores: Tensor) -> dict[str, float | None]:
        return {name: or_none(score) for name, score in zip(self.class_names, scores.tolist(), strict=True)}


def _as_bytes(ids: Tensor | np.ndarray, what: str) -> Tensor:
    """The ids as uint8, after a check that they are integers in 0..255.

    Raises:
        ValueError: the ids are not integers, or out of range.
    """
    # torch shares memory with a numpy array only if the array is writable and has no negative strides.
    tensor = torch.from_numpy(np.require(ids, requirements=["C", "W"])) if isinstance(ids, np.ndarray) else ids
    if tensor.dtype == torch.uint8:
        return tensor
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"{what} must hold class ids, but is {str(tensor.dtype).removeprefix('torch.')}")
    if tensor.numel():
        low, high = (int(value) for value in tensor.aminmax())
        if low < 0 or high >= IDS:
            raise ValueError(f"{what} holds class id {low if low < 0 else high}, but ids go from 0 to 254; 255 is void")
    return tensor.to(torch.uint8)
