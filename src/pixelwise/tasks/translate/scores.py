"""Scores of translated pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from pixelwise.data.domain import Domain
from pixelwise.data.listing import counted
from pixelwise.data.sample import Sample
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError
from pixelwise.metrics.bootstrap import mean_margin
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.json_values import or_none
from pixelwise.metrics.pictures import ConstantScore, PictureScore
from pixelwise.tasks.evaluation import Scores
from pixelwise.tasks.translate.one_way import TranslatePrediction

CYCLE = Headline(
    "cycle_l1",
    "cycle error (grey levels)",
    higher=False,
    definition="The mean absolute error of pictures of both kinds that were translated there and back, in grey levels "
    "of 0 to 255. It needs no pairs.",
    limits=(0.0, None),
    unit="grey levels",
)
L1 = Headline(
    "l1",
    "L1 (grey levels)",
    higher=False,
    definition="The mean absolute error of the translations over all values, in grey levels of 0 to 255; pictures of "
    "another depth are scaled to this range.",
    limits=(0.0, None),
    unit="grey levels",
)
PSNR = Headline(
    "psnr",
    "PSNR (dB)",
    definition="The peak signal-to-noise ratio of the translations: 10 log10 of 255² over the mean squared error in "
    "grey levels.",
    unit="dB",
)
LABELS = Headline(
    "label_accuracy",
    "label accuracy",
    definition="The share of pixels whose class is right. The class is that of the nearest colour in the table of "
    "colours, for the translation as for the truth.",
    limits=(0.0, 1.0),
)
THUMBNAIL = 32
"""Height and width to which pictures are reduced to compare them with one another."""
COARSE = 8
"""Height and width at which their diversity is measured, so that it is not one of textures."""
MATCHED = 200
"""The most translations that are compared with the truths of other pictures."""


@dataclass(frozen=True, slots=True)
class PictureError:
    """The errors of one picture in grey levels; NaN if they cannot be measured."""

    name: str
    l1: float
    cycle_l1: float


class TranslateScores(Scores[TranslatePrediction]):
    """Accumulates the errors of translations, for pictures whose partner is known; and of translating there and back.

    Args:
        source, target: the pictures that are translated, and those that they become.
        both_ways: whether the network also translates back.
        turned: whether the pictures that are translated are the samples' other pictures.

    Attributes:
        pictures: the errors of single pictures, in the order of the updates.
        confusion: the classes of the colours; None if the target has no table of colours.
    """

    def __init__(self, source: Domain, target: Domain, *, both_ways: bool, turned: bool = False) -> None:
        self.source, self.target = source, target
        self.both_ways, self.turned = both_ways, turned
        self.pictures: list[PictureError] = []
        self.errors, self.cycle, self.unchanged = PictureScore(), PictureScore(), PictureScore()
        self.constant = ConstantScore()
        table = target.colours
        self.confusion = None if table is None else ConfusionMatrix(len(table.names), table.names)
        self._thumbnails: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        self._paired: list[bool] = []

    @property
    def headlines(self) -> Sequence[Headline]:
        return (*((CYCLE,) if self.both_ways else ()), L1, PSNR, *(() if self.confusion is None else (LABELS,)))

    def update(self, prediction: TranslatePrediction, sample: Sample) -> None:
        source, other = (sample.partner, sample.image) if self.turned else (sample.image, sample.partner)
        assert source is not None
        own, cycle = PictureScore(), PictureScore()
        if prediction.rebuilt is not None:
            cycle.update(prediction.rebuilt, source, self.source.span)
        if prediction.other_rebuilt is not None and other is not None:
            cycle.update(prediction.other_rebuilt, other, self.target.span)
        if other is not None:
            self._thumbnails[0].append(_thumbnail(prediction.picture, self.target))
            self._thumbnails[1].append(_thumbnail(other, self.target))
            self._paired.append(sample.paired)
        if other is not None and sample.paired:
            own.update(prediction.picture, other, self.target.span)
            self.constant.update(other, self.target.low, self.target.span)
            if source.shape == other.shape:
                shares = (source.astype(np.float64) - self.source.low) / self.source.span
                self.unchanged.update(shares * self.target.span + self.target.low, other, self.target.span)
            if self.confusion is not None:
                assert self.target.colours is not None
                self.confusion.update(*(self.target.colours.ids(one) for one in (prediction.picture, other)))
        self.errors.merge(own)
        self.cycle.merge(cycle)
        self.pictures.append(PictureError(sample.name, own.l1(), cycle.l1()))

    def merge(self, other: TranslateScores) -> None:
        self.errors.merge(other.errors)
        self.cycle.merge(other.cycle)
        self.unchanged.merge(other.unchanged)
        self.constant.merge(other.constant)
        self.pictures += other.pictures
        for mine, theirs in zip(self._thumbnails, other._thumbnails, strict=True):
            mine.extend(theirs)
        self._paired += other._paired
        if self.confusion is not None and other.confusion is not None:
            self.confusion.merge(other.confusion)

    def values(self) -> dict[str, float]:
        found = {"l1": self.errors.l1(), "psnr": self.errors.psnr()}
        if self.confusion is not None:
            found["label_accuracy"] = self.confusion.pixel_accuracy()
        found = {key: value for key, value in found.items() if not math.isnan(value)}
        first = self.headlines[0].key
        return {first: self.cycle.l1() if self.both_ways else self.errors.l1(), **found}

    def margin(self) -> float:
        key = self.headlines[0].key
        return mean_margin(np.array([getattr(one, key) for one in self.pictures]))

    def diversity(self) -> float:
        """How much translations differ from one another, relative to real pictures of the target kind.

        The standard deviation over pictures of each pixel of their 8 x 8 thumbnails, averaged over the pixels. NaN for
        fewer than two pictures, or if the real ones are all alike.
        """
        if len(self._paired) < 2:
            return math.nan
        made, real = (float(_coarse(np.stack(some)).std(axis=0).mean()) for some in self._thumbnails)
        return made / real if real > 0 else math.nan

    def own_to_others(self) -> float:
        """The L1 between translations and their own truths, divided by that to the truths of other pictures.

        It is measured on 32 x 32 thumbnails. Translations that say nothing about their pictures have 1, however good
        they look. NaN for fewer than two pairs, or if all truths are alike.
        """
        numbers = even_sample(np.flatnonzero(self._paired).tolist(), MATCHED)
        if len(numbers) < 2:
            return math.nan
        made, real = (
            torch.from_numpy(np.stack([some[number].ravel() for number in numbers])).double()
            for some in self._thumbnails
        )
        distances = torch.cdist(made, real, p=1)
        own = float(distances.trace()) / len(numbers)
        others = float(distances.sum() - distances.trace()) / (len(numbers) * (len(numbers) - 1))
        return own / others if others > 0 else math.nan

    def summary(self, split: str) -> dict[str, Any]:
        if not self.pictures:
            raise UserError(f"no picture in the split '{split}', so there is nothing to measure; choose another.")
        scores = {headline.key: math.nan for headline in self.headlines} | self.values()
        pairs = sum(not math.isnan(one.l1) for one in self.pictures)
        words = [
            f"over {counted(len(self.pictures), 'picture', 'pictures')} of the {split} split, {pairs or 'none'} of "
            "them with a known translation"
        ]
        words.append("errors in grey levels of 0 to 255")
        if self.unchanged.values:
            words.append("unchanged_l1: the error of pictures that are not translated at all")
        if pairs:
            words.append("constant_l1: the error of the best single colour for all pictures")
        extra: dict[str, Any] = {
            "unchanged_l1": self.unchanged.l1(),
            "constant_l1": self.constant.l1(),
            "diversity": self.diversity(),
            "own_to_others": self.own_to_others(),
        }
        if self.confusion is not None:
            extra["label_miou"] = self.confusion.mean_iou()
            words.append("label accuracy and label_miou: classes by the nearest colour")
        words.append("diversity: how much translations differ from one another, relative to real pictures")
        if not math.isnan(extra["own_to_others"]):
            words.append("own_to_others: their error, divided by that against the truths of other pictures")
        plain = {key: or_none(value) for key, value in {**scores, **extra}.items()}
        return {
            "split": split,
            "pictures": len(self.pictures),
            "pairs": pairs,
            **plain,
            "definition": "; ".join(words),
        }

    def examples(self, each: int = 3) -> list[tuple[str, list[PictureError]]]:
        """The best, the middle and the worst few pictures, by the first headline that single pictures have."""
        key = "l1" if any(not math.isnan(one.l1) for one in self.pictures) else "cycle_l1"
        ranked = sorted(self.pictures, key=lambda one: getattr(one, key))
        if len(ranked) <= 3 * each:
            return [("Examples", ranked)] if ranked else []
        middle = (len(ranked) - each) // 2
        return [("Best", ranked[:each]), ("Middle", ranked[middle : middle + each]), ("Worst", ranked[-each:])]


def _thumbnail(picture: np.ndarray, domain: Domain) -> np.ndarray:
    """(32, 32, C), a small copy of a picture (H, W, C), in shares of the domain's range."""
    shares = np.nan_to_num(picture.astype(np.float32) - np.float32(domain.low)) / np.float32(domain.span)
    planes = [
        cv2.resize(plane, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA) for plane in np.moveaxis(shares, 2, 0)
    ]
    return np.stack(planes, 2)


def _coarse(thumbnails: np.ndarray) -> np.ndarray:
    """Thumbnails (N, 32, 32, C) -> (N, 8, 8, C), the means of blocks."""
    step = THUMBNAIL // COARSE
    return thumbnails.reshape(len(thumbnails), COARSE, step, COARSE, step, -1).mean((2, 4))
