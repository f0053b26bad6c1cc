"""The task of predicting one class per picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor, nn

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.fit import Centre
from pixelwise.data.sample import NO_CLASS, Sample
from pixelwise.data.stock import Stock
from pixelwise.data.targets import ClassTargets
from pixelwise.errors import UserError
from pixelwise.losses import LOSSES
from pixelwise.methods.base import Criterion, Forward
from pixelwise.models.spec import ModelSpec
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.report.blocks import Block, Section
from pixelwise.report.limits import Limit
from pixelwise.tasks.base import Snapshots, Task
from pixelwise.tasks.classify.inference import RANKS, ClassifyInference, ClassifyOptions, ClassPrediction
from pixelwise.tasks.classify.labelling import prepare_folders, write_sorted
from pixelwise.tasks.classify.limits import classify_limits
from pixelwise.tasks.classify.references import REFERENCES, reference_accuracy
from pixelwise.tasks.classify.scores import ClassScores
from pixelwise.tasks.criteria import class_loss
from pixelwise.tasks.crops import covering
from pixelwise.tasks.evaluation import Evaluation, Outcome
from pixelwise.tasks.labelling import Asked, Known

SIDE = 224
"""Default for the longest side of a crop; published networks were trained with it."""
SIGN_SIDE = 48
"""Grey pictures up to this side are assumed to show signs (digits, letters), whose mirror image is another sign or
none."""


class Classify(Task):
    """Classification of whole pictures."""

    name = "classify"
    needs = frozenset({"classes"})
    hint = (
        "train a network that labels pixels (`pixelwise models --task segment`; most take a classifier as encoder), or "
        "sort the pictures into folders by class"
    )
    targets = ClassTargets
    terms = MappingProxyType({"cross_entropy": 1.0})
    losses = frozenset(LOSSES)
    gives_logits = True
    paper_options = MappingProxyType({"num_classes": 1000})
    crops = 20_000
    validation_batch = 64
    options = ClassifyOptions
    label_units = ("pictures",)
    references = MappingProxyType({name: reference.about for name, reference in REFERENCES.items()})
    again = ("measure again, averaging over mirror images: slower, often a little better", " --flips horizontal")

    def check(self, dataset: Dataset, stock: Stock) -> None:
        for split, least in (("train", 2), ("val", 1)):
            found = np.flatnonzero(stock.class_counts[split])
            if len(found) < least:
                held = f"no picture of the split '{split}' has a class"
                if len(found):
                    held = f"all pictures of the split '{split}' are of the class '{dataset.class_names[found[0]]}'"
                raise UserError(
                    f"{dataset.root}: {held}, so there is nothing to distinguish; give at least two classes, each with "
                    "at least two pictures."
                )

    def plan(self, draft: Draft) -> None:
        for key in ("background", "objects"):
            draft.refuse("augment", key, "pictures sorted into classes have no masks")
        _size(draft)
        draft.derive_batch(8, 128, "pictures", steps=8)
        facts, derive = draft.facts, draft.derive
        if facts.form.channels == 1 and max(facts.height[1], facts.width[1]) <= SIGN_SIDE:
            derive("augment", "scale", [0.9, 1.1], "small grey pictures are assumed to show signs such as digits")
            derive("augment", "rotate", 8.0, "signs are often a little slanted")
            derive("augment", "flip", "none", "the mirror image of a sign is another sign, or none")
            derive("augment", "brightness", 0.0, "signs have a fixed black and white")
            derive("augment", "contrast", 0.0, "signs have a fixed black and white")
        else:
            derive("augment", "scale", [1.0, 1.6], "things differ in size; the crop always lies inside the picture")
            derive("augment", "rotate", 5.0, "cameras tilt a little")
            derive("augment", "flip", "horizontal", "left and right are alike; set none if they are not")
        draft.derive_light()
        draft.derive_class_weights()

    def prepared(self, recipe: PlannedRecipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """Keeps pictures at the size from which crops are made; all are read once."""
        return covering(cache, dataset, recipe.crop)

    def validation_transform(self, recipe: PlannedRecipe) -> Callable[[Sample], Sample]:
        return Centre(recipe.crop)

    def criterion(self, recipe: PlannedRecipe, facts: Fingerprint, network: nn.Module) -> Criterion:
        """Uses the losses of pixels for pictures, by treating the logits of a picture as a map of one pixel."""
        loss = class_loss(recipe, recipe.loss.terms, facts, NO_CLASS)

        def criterion(logits: Tensor, targets: ClassTargets) -> dict[str, Tensor]:
            return loss(logits[..., None, None], targets.classes[:, None, None])

        return criterion

    def logits(self, answer: Tensor) -> Tensor:
        return answer

    def scores(
        self, spec: ModelSpec, folder: Path, recipe: PlannedRecipe | None = None, options: Any = None
    ) -> ClassScores:
        return ClassScores(spec.class_names, thorough=recipe is None)

    def reference_score(self, name: str, dataset: Dataset, recipe: PlannedRecipe) -> float:
        return reference_accuracy(name, dataset, recipe.crop, recipe.train.seed)

    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> list[ClassPrediction]:
        logits = forward(network, images)
        best = logits.topk(min(RANKS, logits.shape[1]), dim=1).indices.tolist()
        probabilities = logits.float().softmax(1).cpu().numpy()
        return [ClassPrediction(own, (), tuple(ids)) for own, ids in zip(probabilities, best, strict=True)]

    def input_size(self, recipe: PlannedRecipe) -> tuple[int, int]:
        return recipe.crop

    def inference(self, network: nn.Module, spec: ModelSpec, options: ClassifyOptions) -> ClassifyInference:
        return ClassifyInference(network, spec, options)

    def fit(self, spec: ModelSpec) -> Callable[[np.ndarray], np.ndarray] | None:
        return None if spec.input_size is None else Centre(spec.input_size).image

    def prepare_labels(self, asked: Sequence[Asked], spec: ModelSpec, out: Path) -> list[str]:
        return prepare_folders(asked, spec.class_names, out)

    def write_known(self, dataset: Dataset, splits: Mapping[str, Sequence[Known]], out: Path) -> str:
        return write_sorted(dataset, splits, out)

    def sections(
        self, evaluation: Evaluation, baselines: Mapping[str, float | None], snapshots: Snapshots
    ) -> list[Section]:
        from pixelwise.tasks.classify import report

        return report.evaluation_sections(evaluation)

    def limits(self, outcome: Outcome) -> list[Limit]:
        return classify_limits(outcome)

    def tables(self, summary: Mapping[str, Any]) -> list[Block]:
        from pixelwise.tasks.classify import report

        return report.tables(summary)


def _size(draft: Draft) -> None:
    """Plans the crop: a square of the pictures' size, within the limits of the network."""
    facts, network = draft.facts, draft.network
    window = getattr(network, "window", None)
    smallest = getattr(network, "smallest", 1)
    size = f"{facts.height[1]} x {facts.width[1]}"
    if window is not None:
        draft.derive("augment", "crop", list(window), "the only size that this network takes")
    else:
        own = min(facts.height[1], facts.width[1])
        # Below the network's stride the last map is a single position, too few values for batch norm.
        side = max(min(own, SIDE), smallest, *getattr(network, "feature_strides", ()))
        why = f"pictures are {size} (median)"
        if side != own:
            why += f"; {'at least' if side > own else 'at most'} {side} for time and this network"
        draft.derive("augment", "crop", [side, side], why)
    crop = draft.crop
    if window is not None and crop != tuple(window):
        raise UserError(
            f"augment.crop: found {crop[0]} x {crop[1]}, but this network only takes {window[0]} x {window[1]} pixels; "
            "leave it out."
        )
    if min(crop) < smallest:
        raise UserError(
            f"augment.crop: found {crop[0]} x {crop[1]}, but this network takes pictures of at least {smallest} x "
            f"{smallest} pixels; set a larger size (pictures are enlarged to it)."
        )
