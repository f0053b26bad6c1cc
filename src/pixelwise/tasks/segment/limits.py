"""What limits a network that labels pixels: missed classes, doubtful labels, and objects too thin or too large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.data.dataset import Dataset
from pixelwise.data.draw import background_class
from pixelwise.data.listing import counted, some
from pixelwise.data.record import Record
from pixelwise.data.splits import even_sample
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.report.blocks import Block
from pixelwise.report.limits import Limit, rounded_percent, settings
from pixelwise.tasks.evaluation import Evaluation, Outcome
from pixelwise.tasks.limits import absent_classes, label_file, never_found
from pixelwise.tasks.segment.scores import Dispute, disputed_pixels
from pixelwise.tasks.segment.sizes import ClassSize, class_sizes

MEASURED_MASKS = 16
"""The most training masks on which sizes are measured."""
MEASURED_PIXELS = 1 << 26
"""No further mask is measured after this many pixels."""
WEAK = 0.5
"""A class with an IoU below this counts as weak if the IoU is also `BEHIND` below the mean of the other classes."""
BEHIND = 0.2
LEARNED = 0.1
"""If the IoU on training pictures is higher by this, the class was learned but does not carry over to others."""
THIN = 4.0
"""Largest width in pixels of a thin class: two pixels at half the resolution, which most networks' logits have."""
RARE = 0.02
"""A class with a smaller share of the labelled pixels is rare."""
FEW_WITH_CLASS = 10
"""If fewer training pictures show a class, labelling more of it is advised first."""
NARROW = 0.05
"""A piece with a smaller ratio of width to length, such as a road, can be recognised by any part of it."""
GOOD = 0.8
"""A class with this IoU or more does not count as limited by its size."""
DISPUTED = 0.05
"""A picture's labels are doubted if at least this share of its labelled pixels is disputed."""
TRUSTED = 0.03
"""The network is trusted if at least three quarters of the validation pictures have at most this share of disputed
pixels."""
ABOVE_OTHERS = 5.0
"""A doubted picture's share is also at least this many times the 75 % quantile over the other pictures of the split."""
MIN_OTHERS = 3
MAX_FILES = 5


def segment_limits(outcome: Outcome) -> list[Limit]:
    """All findings; see the functions below for their thresholds."""
    evaluation, facts = outcome.validation, outcome.facts
    confusion: ConfusionMatrix = evaluation.scores.confusion
    missed, weak = never_found(confusion, facts.class_pixels), weak_classes(confusion)
    sizes = training_sizes(evaluation.dataset)
    found = [
        missed_limit(outcome, missed, sizes),
        weak_limit(outcome, [k for k in weak if k not in missed and facts.class_pixels[k]], sizes),
        large_limit(outcome, sizes),
        disputed_limit(outcome),
    ]
    return [limit for limit in found if limit is not None] + absent_classes(confusion, facts.class_pixels)


def compared_iou(training: ConfusionMatrix, validation: ConfusionMatrix) -> tuple[float, float]:
    """The mean IoU of both over the classes that both truths have; NaN if they have no class in common."""
    shared = (training.true_pixels > 0) & (validation.true_pixels > 0)
    return float(training.iou()[shared].mean()), float(validation.iou()[shared].mean())


def weak_classes(confusion: ConfusionMatrix) -> list[int]:
    """Ids of the classes whose IoU is below 0.5 and 0.2 below the mean of the other classes, worst first."""
    true, iou = (confusion.true_pixels > 0).numpy(), confusion.iou().numpy()
    ids = np.flatnonzero(true)
    if len(ids) < 2:
        return []
    others = {k: float((iou[ids].sum() - iou[k]) / (len(ids) - 1)) for k in ids.tolist()}
    return sorted((k for k in ids.tolist() if iou[k] < min(WEAK, others[k] - BEHIND)), key=lambda k: iou[k])


def training_sizes(dataset: Dataset) -> list[ClassSize | None]:
    """Sizes of the classes, measured on at most 16 evenly spread training masks, up to about 64 megapixels."""
    records = even_sample([record for record in dataset.split("train") if record.labelled], MEASURED_MASKS)
    masks: list[np.ndarray] = []
    for record in records:
        if masks and sum(mask.size for mask in masks) > MEASURED_PIXELS:
            break
        masks.append(dataset.load_mask(record))
    return class_sizes(masks, len(dataset.class_names))


@dataclass(frozen=True, slots=True)
class _Class:
    """A class with the numbers that explain its score.

    Attributes:
        iou, training: IoU on validation and on training pictures; NaN if it was not measured.
        share: the class's share of the labelled pixels.
        pictures: the number of training pictures that show the class.
        width: the width of its pieces in pixels.
    """

    name: str
    iou: float
    training: float
    share: float
    pictures: int
    width: float

    @property
    def thin(self) -> bool:
        return self.width <= THIN

    @property
    def rare(self) -> bool:
        return self.share < RARE

    def __str__(self) -> str:
        """`pole (IoU 0.12, 1.0 % of the pixels, 183 training pictures, 4 pixels wide)`."""
        share = f"{100 * self.share:.1f}" if self.share >= 0.001 else f"{100 * self.share:.2g}"
        words = [f"IoU {self.iou:.2f}"]
        if np.isfinite(self.training):
            words[0] += f", {self.training:.2f} on training pictures"
        words.append(f"{share} % of the pixels")
        words.append(counted(self.pictures, "training picture", "training pictures"))
        if np.isfinite(self.width):
            words.append(f"{counted(round(self.width), 'pixel', 'pixels')} wide")
        return f"{self.name} ({', '.join(words)})"


def _described(outcome: Outcome, classes: Sequence[int], sizes: Sequence[ClassSize | None]) -> list[_Class]:
    facts, iou = outcome.facts, outcome.validation.scores.confusion.iou().tolist()
    training = [math.nan] * len(iou) if outcome.training is None else outcome.training.scores.confusion.iou().tolist()
    shares = facts.class_shares()
    widths = [math.nan if size is None else size.width for size in sizes]
    return [
        _Class(facts.class_names[k], iou[k], training[k], shares[k], facts.class_pictures[k], widths[k])
        for k in classes
    ]


def missed_limit(outcome: Outcome, classes: Sequence[int], sizes: Sequence[ClassSize | None]) -> Limit | None:
    """Classes in training and validation pictures of which less than 0.5 % was found."""
    if not classes:
        return None
    shown = _described(outcome, classes, sizes)
    advice, flags = class_advice(outcome.recipe, shown)
    return Limit("classes-not-found", f"Never found: {some(shown, 3)}.", advice, flags)


def weak_limit(outcome: Outcome, classes: Sequence[int], sizes: Sequence[ClassSize | None]) -> Limit | None:
    """Classes that are found far worse than the others."""
    if not classes:
        return None
    shown = _described(outcome, classes, sizes)
    advice, flags = class_advice(outcome.recipe, shown)
    return Limit("weak-classes", f"Found far worse than the other classes: {some(shown, 3)}.", advice, flags)


def class_advice(recipe: PlannedRecipe, classes: Sequence[_Class]) -> tuple[str, str]:
    """What to try for classes that are missed, and the flags of a run that tries it.

    More labels if fewer than ten pictures show the class; class weights and an overlap loss if the recipe has none yet
    (full median-frequency weights are too much, see benchmarks/comparisons.md); larger pictures if the class is thin.
    If none of these applies, the IoU on training pictures decides between more pictures and better labels.
    """
    changes: dict[str, object] = {}
    if recipe.loss.class_weights == "none" and any(each.rare for each in classes):
        changes["loss.class_weights"] = "sqrt_median_frequency"
    terms = dict(recipe.loss.terms)
    if terms.keys().isdisjoint({"dice", "jaccard", "lovasz_softmax", "lovasz_hinge"}):
        changes["loss.terms"] = {**terms, "dice": 1.0}
    few = [each.name for each in classes if each.pictures < FEW_WITH_CLASS]
    advice = []
    if few:
        advice.append(f"label more pictures that show {some(few, 3)}")
    if changes:
        advice.append(f"give rare classes more weight: {settings(changes)}")
    thin = [each.name for each in classes if each.thin]
    if thin:
        advice.append(
            f"for {some(thin, 3)}, only a few pixels wide, use pictures of a higher resolution, or enlarge pictures "
            "and masks twofold before training"
        )
    if not advice:
        unlearned = [each.name for each in classes if each.training < max(WEAK, each.iou + LEARNED)]
        if unlearned:
            advice.append(
                f"check whether the labels of {some(unlearned, 3)}, hardly found on training pictures either, are "
                "exact and can be seen in the picture alone; or train longer"
            )
        else:
            advice.append(f"label more pictures that show {some([each.name for each in classes], 3)}")
    text = "; or ".join(advice)
    return f"{text[0].upper()}{text[1:]}.", settings(changes)


def large_limit(outcome: Outcome, sizes: Sequence[ClassSize | None]) -> Limit | None:
    """Classes with an IoU below 0.8 and large pieces, whose surroundings no crop in training shows: half of the class's
    pixels lie in pieces at least twice as long as a crop. Roads and other narrow pieces do not count."""
    recipe, facts = outcome.recipe, outcome.facts
    confusion: ConfusionMatrix = outcome.validation.scores.confusion
    iou, background = confusion.iou().tolist(), background_class(facts.class_names)
    crop, picture = max(recipe.crop), max(facts.height[1], facts.width[1])
    seen = crop / recipe.augment.scale[0]  # a crop shows most at the smallest magnification
    large = [
        (size.length, facts.class_names[k])
        for k, size in enumerate(sizes)
        if size is not None
        and k != background
        and iou[k] < GOOD
        and size.length >= 2 * seen
        and size.width >= NARROW * size.length
    ]
    if not large:
        return None
    names = [f"{name} ({length:.0f} pixels)" for length, name in sorted(large, reverse=True)]
    reduced = math.ceil(seen / max(large)[0] * picture / 100) * 100
    share = recipe.crop[0] * recipe.crop[1] / (facts.height[1] * facts.width[1])
    wider = {
        "augment.crop": [2 * side for side in recipe.crop],
        "train.batch_size": max(recipe.train.batch_size // 4, 2),
    }
    return Limit(
        "large-objects",
        f"Objects are larger than the crops in training, {recipe.crop[1]} x {recipe.crop[0]} pixels or "
        f"{100 * share:.1f} % of a picture: {some(names, 3)}.",
        f"Reduce the longer side of pictures and masks to about {reduced:,} pixels before training, or train on larger "
        f"crops: {settings(wider)}.",
        settings(wider),
    )


def disputed_limit(outcome: Outcome) -> Limit | None:
    """Pictures whose labels differ from confident predictions on 5 % of the labelled pixels or more, and on at least
    five times the share that three quarters of the other pictures stay below; at most five, the worst first.

    Pictures are compared with those of their split, since the network has seen the training pictures. There is no
    finding if more than a quarter of the validation pictures have over 3 % of such pixels: the network is then
    confident too often.
    """
    shares = [each.share for each in outcome.validation.scores.disputes]
    if not shares or float(np.quantile(shares, 0.75)) > TRUSTED:
        return None
    found: list[tuple[Dispute, Evaluation]] = []
    for evaluation in (outcome.validation, outcome.training):
        if evaluation is not None:
            found += [(each, evaluation) for each in outstanding(evaluation.scores.disputes)]
    found = sorted(found, key=lambda pair: -pair[0].share)[:MAX_FILES]
    if not found:
        return None
    names = outcome.facts.class_names
    described, files, blocks = [], [], []
    for dispute, evaluation in found:
        record = next(each for each in evaluation.dataset.split(evaluation.split) if each.name == dispute.name)
        files.append(label_file(evaluation.dataset, record))
        pair = f"{names[dispute.label]} -> {names[dispute.predicted]}"
        described.append(f"{files[-1]} ({rounded_percent(dispute.share)}, {pair})")
        blocks += disputed_blocks(evaluation, record, dispute)
    return Limit(
        "disputed-labels",
        "Labels and confident predictions (probability of 0.95 or more) differ far more than elsewhere in "
        f"{some(described, 3)}.",
        "Look at them: if the label is wrong, fix it; if it is right, label more pictures of that kind.",
        files=tuple(files),
        blocks=tuple(blocks),
    )


def outstanding(disputes: Sequence[Dispute]) -> list[Dispute]:
    """The pictures of one split that stand out by the rule of `disputed_limit`."""
    shares, found = np.array([each.share for each in disputes]), []
    for index, each in enumerate(disputes):
        if each.share < DISPUTED:
            continue
        others = np.delete(shares, index)
        if len(others) >= MIN_OTHERS and each.share >= ABOVE_OTHERS * float(np.quantile(others, 0.75)):
            found.append(each)
    return found


def disputed_blocks(evaluation: Evaluation, record: Record, dispute: Dispute) -> list[Block]:
    """Panels with the picture, its label, the prediction, and where they differ."""
    from pixelwise.tasks.segment import report

    sample = evaluation.dataset.load(record)
    prediction = evaluation.predictor(sample.image)
    assert sample.mask is not None
    disputed = disputed_pixels(prediction.mask, prediction.confidence, sample.mask)
    split = {"train": "training", "val": "validation"}[evaluation.split]
    share = f"{rounded_percent(dispute.share)} of the labelled pixels of this {split} picture"
    names = evaluation.predictor.class_names
    return [
        report.disputed_panels(
            sample.name,
            (dispute.label, dispute.predicted),
            share,
            sample.image,
            sample.mask,
            prediction.mask,
            disputed,
            names,
        )
    ]
