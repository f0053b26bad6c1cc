"""The task `segment`: a class per pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.data.borders import WithBorderWeights
from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.draw import background_class
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.loader import Transform, windows
from pixelwise.data.one_object import with_objects
from pixelwise.data.sample import Sample
from pixelwise.data.shapes import ShapeCoding
from pixelwise.data.stock import Stock
from pixelwise.data.targets import PixelTargets
from pixelwise.errors import UserError, unknown
from pixelwise.inference.tiles import class_ids
from pixelwise.losses import LOSSES
from pixelwise.methods.base import Criterion, Forward
from pixelwise.models.spec import ModelSpec
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe, Recipe, fills_crops
from pixelwise.report.blocks import Block, Section
from pixelwise.report.limits import Limit
from pixelwise.tasks.base import Snapshots, Task
from pixelwise.tasks.criteria import class_loss
from pixelwise.tasks.crops import plan_dense_crop, plan_half_size
from pixelwise.tasks.evaluation import Evaluation, Outcome
from pixelwise.tasks.labelling import UNITS, Asked, Known
from pixelwise.tasks.segment.inference import EvaluationOptions, SegmentInference, SegmentOptions, SegmentPrediction
from pixelwise.tasks.segment.instances import BEST, INSTANCES
from pixelwise.tasks.segment.labelling import prepare_masks, write_masks
from pixelwise.tasks.segment.limits import compared_iou, segment_limits
from pixelwise.tasks.segment.scores import SegmentScores


class Segment(Task):
    """Segmentation by any dense network: a class per pixel."""

    name = "segment"
    needs = frozenset({"pixels"})
    hint = "leave out the network, to train one that suits the labels (`pixelwise train --data FOLDER`), or add masks"
    targets = PixelTargets
    terms = MappingProxyType({"cross_entropy": 1.0, "dice": 1.0})
    losses = frozenset(LOSSES)
    gives_logits = True
    any_size = True
    paper_options = MappingProxyType({"num_classes": 21})
    crops = 8000  # about ten minutes of a small U-Net
    validation_batch = 4
    options = SegmentOptions
    label_units = UNITS
    again = ("measure again, averaging over mirror images: slower, often a little better", " --flips horizontal")

    def cache(self, recipe: Recipe | PlannedRecipe, dataset: Dataset) -> SampleCache:
        return SampleCache(dataset, objects=recipe.loss.border_weight > 0 or fills_crops(recipe))

    def check(self, dataset: Dataset, stock: Stock) -> None:
        for split, what in (("train", "there is nothing to distinguish"), ("val", "nothing could be measured")):
            counts = stock.class_counts[split]
            found = [name for name, pixels in zip(dataset.class_names, counts, strict=False) if pixels]
            if len(found) < (2 if split == "train" else 1):
                held = f"only '{found[0]}'" if found else "only void (255)"
                if isinstance(dataset.coding, ShapeCoding) and dataset.coding.bare_boxes:
                    raise UserError(
                        f"{dataset.root}: the split '{split}' has boxes without outlines, which do not label pixels; "
                        f"the other labels hold {held}. Train a network that finds objects (`pixelwise models "
                        "--task detect`), or draw outlines."
                    )
                raise UserError(
                    f"{dataset.root}: the masks of the split '{split}' hold {held}, so {what}; look at the masks "
                    "(`pixelwise check` counts their values)."
                )

    def plan(self, draft: Draft) -> None:
        facts, derive = draft.facts, draft.derive
        plan_dense_crop(draft, 2, 16)
        plan_half_size(draft)
        derive("augment", "scale", [0.7, 1.5], "objects vary in size")
        derive("augment", "rotate", 5.0, "cameras tilt a little")
        derive("augment", "flip", "horizontal", "left and right are alike; set both if up and down are alike too")
        derive("augment", "elastic", 0.0, "shapes are assumed to be rigid; set about 10 for tissue and cells")
        if draft.values["augment"]["objects"]:
            alone = background_class(facts.class_names) is not None
            why = f"class 0 is '{facts.class_names[0]}'" + ("" if alone else ", which is not background")
            derive("augment", "alone", alone, why)
        draft.derive_light()
        draft.derive_class_weights()

    def prepared(self, recipe: PlannedRecipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """The cache; if objects fill the crops, it finds them once."""
        return cache.then(with_objects) if recipe.augment.objects else cache.then()

    def training_transform(self, recipe: PlannedRecipe) -> Transform:
        if recipe.loss.border_weight > 0:
            return WithBorderWeights(recipe.augment, recipe.loss.border_weight, recipe.loss.border_sigma)
        return recipe.augment

    def validation_pieces(self, recipe: PlannedRecipe) -> Callable[[Sample], Iterator[Sample]]:
        return windows

    def criterion(self, recipe: PlannedRecipe, facts: Fingerprint, network: nn.Module) -> Criterion:
        loss = class_loss(recipe, recipe.loss.terms, facts)

        def criterion(logits: Tensor, targets: PixelTargets) -> dict[str, Tensor]:
            return loss(logits, targets.masks, targets.weights)

        return criterion

    def logits(self, answer: Tensor) -> Tensor:
        return answer

    def scores(
        self,
        spec: ModelSpec,
        folder: Path,
        recipe: PlannedRecipe | None = None,
        options: EvaluationOptions | None = None,
    ) -> SegmentScores:
        return SegmentScores(spec.class_names, thorough=recipe is None, instances=options.ways if options else ())

    def evaluation_options(self, dataset: Dataset, options: SegmentOptions) -> EvaluationOptions:
        """The options with the ways to separate objects. If every mask of the layout is an object, all ways are
        compared by default.

        Raises:
            UserError: an unknown way to separate objects, or data without separate objects.
        """
        asked = options.instances or (BEST if dataset.coding.kind == "objects" else None)
        if asked not in {None, BEST, *INSTANCES}:
            raise unknown("way to separate objects", asked, [BEST, *INSTANCES])
        if asked is not None and "objects" not in dataset.knows:
            raise UserError(
                f"{dataset.root}: the masks show which class a pixel has, but not which object it belongs to, so "
                "objects cannot be compared; leave out --instances."
            )
        ways = [] if asked is None else INSTANCES if asked == BEST else [asked]
        return EvaluationOptions(**{**options.model_dump(), "instances": None}, ways=tuple(ways))

    def predict_flags(self, summary: Mapping[str, Any]) -> str:
        objects = summary.get("objects")
        return " --overlay" + (f" --instances {objects['separation']}" if objects else "")

    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> list[SegmentPrediction]:
        logits = forward(network, images)
        return [
            SegmentPrediction(mask_of(own), (), sample.image, own.cpu(), None)
            for own, sample in zip(logits, samples, strict=True)
        ]

    def inference(self, network: nn.Module, spec: ModelSpec, options: SegmentOptions) -> SegmentInference:
        return SegmentInference(network, spec, options)

    def prepare_labels(self, asked: Sequence[Asked], spec: ModelSpec, out: Path) -> list[str]:
        return prepare_masks(asked, spec.class_names, out)

    def write_known(self, dataset: Dataset, splits: Mapping[str, Sequence[Known]], out: Path) -> str:
        return write_masks(dataset, splits, out)

    def sections(
        self, evaluation: Evaluation, baselines: Mapping[str, float | None], snapshots: Snapshots
    ) -> list[Section]:
        from pixelwise.tasks.segment import report

        return report.evaluation_sections(evaluation, baselines)

    def compared(self, training: Evaluation, validation: Evaluation) -> tuple[float, float]:
        """The mean IoU over the classes that both have."""
        return compared_iou(training.scores.confusion, validation.scores.confusion)

    def limits(self, outcome: Outcome) -> list[Limit]:
        return segment_limits(outcome)

    def tables(self, summary: Mapping[str, Any]) -> list[Block]:
        from pixelwise.tasks.segment import report

        return report.tables(summary)


def mask_of(logits: Tensor) -> np.ndarray:
    """Logits (K, H, W) -> (H, W) uint8 class ids; a single logit is that of the foreground, compared with 0."""
    if logits.shape[0] == 1:
        return (logits[0] > 0).to(torch.uint8).cpu().numpy()
    return class_ids(logits)
