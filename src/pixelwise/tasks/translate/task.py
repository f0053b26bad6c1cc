"""The task of translating pictures of one kind into pictures of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from pixelwise.data.dataset import Dataset
from pixelwise.data.domain import Domain, PairFacts
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.loader import Transform
from pixelwise.data.pairs import swapped
from pixelwise.data.sample import Sample
from pixelwise.data.stock import Stock
from pixelwise.data.targets import PairTargets
from pixelwise.errors import UserError
from pixelwise.methods.base import Forward
from pixelwise.models.spec import ModelSpec
from pixelwise.models.translate.translator import Direction, check_direction
from pixelwise.nn.finite import check_answer
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.report.blocks import Block, Section
from pixelwise.report.limits import Limit
from pixelwise.tasks.base import Snapshots, Task
from pixelwise.tasks.evaluation import Evaluation, Outcome
from pixelwise.tasks.translate.inference import TranslateInference
from pixelwise.tasks.translate.one_way import TranslateOptions, TranslatePrediction, pictures_of
from pixelwise.tasks.translate.scores import TranslateScores

SIDE = 256
"""Longest side of a crop, the size with which both papers train."""
VALIDATED_SIDE = 512
"""Longest side of the middle of a picture that is measured in validations. The last evaluation takes whole pictures."""
SAME = 0.1
"""Translations that differ so little from one another, relative to real pictures, ignore their input."""
UNRELATED = 0.95
"""So do those whose error is more than this share of that against the truths of other pictures."""


class Translate(Task):
    """Base class of the two ways to learn a translation: from pairs, and from two kinds of pictures."""

    name = "translate"
    targets = PairTargets
    decided_options = frozenset({"in_channels", "out_channels", "target_range"})
    crops = 20_000
    validation_batch = 1
    options = TranslateOptions
    keeps_last = True
    explains = False
    gather = "Add"

    def network_options(self, recipe: Recipe | PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        pairs = _pairs(facts)
        return {
            **recipe.model.options,
            "in_channels": pairs.input.form.channels,
            "out_channels": pairs.target.form.channels,
            "target_range": (pairs.target.low, pairs.target.high),
        }

    def class_names(self, facts: Fingerprint) -> tuple[str, ...]:
        return ()

    def check(self, dataset: Dataset, stock: Stock) -> None:
        pairs = stock.facts.pairs
        if pairs is None:
            raise UserError(f"{dataset.root}: no training picture has another picture to learn from; {self.hint}.")
        for domain, what in ((pairs.input, "that are translated"), (pairs.target, "that they are translated into")):
            if not domain.span > 0:
                raise UserError(
                    f"{dataset.root}: all values of the training pictures {what} are {domain.low:g}, so there is "
                    "nothing to learn; check the files."
                )

    def plan(self, draft: Draft) -> None:
        derive, facts, pairs = draft.derive, draft.facts, _pairs(draft.facts)
        for key in ("background", "objects", "erase"):
            draft.refuse("augment", key, "pairs of pictures have no classes and no void")
        sides = [min(SIDE, facts.height[0]), min(SIDE, facts.width[0])]
        smallest = f"{facts.height[0]} x {facts.width[0]}"
        derive(
            "augment",
            "crop",
            sides,
            f"at most {SIDE} pixels per side, as in the paper; the smallest picture is {smallest}",
        )
        derive("train", "batch_size", 1, "as in the paper; many small steps teach more than few large ones")
        for key in ("rotate", "brightness", "contrast", "saturation"):
            derive("augment", key, 0.0, "pictures are learned as they are")
        derive("augment", "scale", [1.0, 1.0], "pictures are translated at their own size")
        derive("augment", "flip", "horizontal", "left and right are alike; both pictures of a pair are mirrored")
        draft.derive_light()
        why = "the values of the training pictures become -1 to 1"
        channels = pairs.input.form.channels
        derive("normalize", "mean", [(pairs.input.low + pairs.input.high) / 2] * channels, why)
        derive("normalize", "std", [pairs.input.span / 2] * channels, why)
        if {pairs.input.form.dtype, pairs.target.form.dtype} != {"uint8"}:
            if draft.values["train"]["precision"] == "bfloat16":
                raise UserError(
                    "train.precision: bfloat16 keeps 8 bits, and these pictures have more; set it to float32."
                )
            draft.values["train"]["precision"] = "float32"
            draft.reasons["train.precision"] = "bfloat16 would keep only 8 bits of these pictures"

    def validation_transform(self, recipe: PlannedRecipe) -> Callable[[Sample], Sample]:
        return middle

    def criterion(self, recipe: PlannedRecipe, facts: Fingerprint, network: nn.Module) -> None:
        return None

    def scores(
        self, spec: ModelSpec, folder: Path, recipe: PlannedRecipe | None = None, options: Any = None
    ) -> TranslateScores:
        source, target = domains_of(spec)
        turned = self.turned(options)
        if turned:
            source, target = target, source
        return TranslateScores(source, target, both_ways=self.both_ways, turned=turned)

    both_ways: ClassVar[bool]

    def turned(self, options: TranslateOptions | None) -> bool:
        """Whether the options choose the direction in which the data is not arranged."""
        return False

    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> list[TranslatePrediction]:
        _, target = domains_of(spec)
        return [TranslatePrediction(picture) for picture in pictures_of(forward(network, images), target)]

    def notes(self, recipe: PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        pairs = _pairs(facts)
        return {"input": pairs.input.to_dict(), "target": pairs.target.to_dict()}

    def inference(self, network: nn.Module, spec: ModelSpec, options: TranslateOptions) -> TranslateInference:
        return TranslateInference(network, spec, options, domains_of(spec))

    def limits(self, outcome: Outcome) -> list[Limit]:
        diversity, related = (outcome.validation.summary.get(key) for key in ("diversity", "own_to_others"))
        found = []
        if diversity is not None and diversity < SAME:
            found.append(
                f"they are nearly the same for all pictures, since they differ from one another only {diversity:.0%} "
                "as much as real pictures do"
            )
        if related is not None and related > UNRELATED:
            found.append(f"their error is {related:.0%} of that against the truths of other pictures")
        if not found:
            return []
        return [
            Limit(
                "same-translations",
                f"The translations say little about their pictures: {', and '.join(found)}.",
                "Start again with another seed (--set train.seed=1), or train for longer.",
                "--set train.seed=1",
            )
        ]

    def sections(
        self, evaluation: Evaluation, baselines: Mapping[str, float | None], snapshots: Snapshots
    ) -> list[Section]:
        from pixelwise.tasks.translate import report

        return report.evaluation_sections(evaluation, baselines)

    def tables(self, summary: Mapping[str, Any]) -> list[Block]:
        from pixelwise.tasks.translate import report

        return report.tables(summary)


class TranslatePairs(Translate):
    """Translation learned from pairs of pictures, in one direction (pix2pix)."""

    needs = frozenset({"pairs"})
    hint = "give pictures side by side in one file, or of equal names in the folders a and b (docs/translate.md)"
    layouts = ("pairs", "side_by_side")
    both_ways = False

    def arranged(self, dataset: Dataset, options: Mapping[str, Any]) -> Dataset:
        direction: Direction = options.get("direction", "a-to-b")
        check_direction(direction)
        return swapped(dataset) if direction == "b-to-a" else dataset


class TranslateKinds(Translate):
    """Translation learned from two kinds of pictures that need not be pairs, in both directions (CycleGAN)."""

    needs = frozenset({"domains"})
    hint = "give pictures in the folders trainA and trainB, or pairs of pictures (docs/translate.md)"
    layouts = ("unpaired", "pairs", "side_by_side")
    both_ways = True

    def turned(self, options: TranslateOptions | None) -> bool:
        return options is not None and options.direction == "b-to-a"

    def training_transform(self, recipe: PlannedRecipe) -> Transform:
        return Apart(recipe.augment)

    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> list[TranslatePrediction]:
        translator: Any = network
        source, target = domains_of(spec)
        found = []
        for sample, image in zip(samples, images.split(1), strict=True):
            assert sample.partner is not None
            a = forward.normalised(image)
            b = translator.scaled(PairTargets.collate([sample]).pictures.to(a.device))
            with forward.autocast():
                as_b, as_a = check_answer((translator.generator_a(a).float(), translator.generator_b(b).float()))
                rebuilt_a, rebuilt_b = translator.generator_b(as_b), translator.generator_a(as_a)
            made, other = pictures_of(as_b, target)[0], pictures_of(as_a, source)[0]
            found.append(
                TranslatePrediction(made, pictures_of(rebuilt_a, source)[0], other, pictures_of(rebuilt_b, target)[0])
            )
        return found


@dataclass(frozen=True, slots=True)
class Apart:
    """Random crops of a sample's two pictures that are drawn independently, since they need not show the same."""

    augment: Transform

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        assert sample.partner is not None
        first = self.augment(replace(sample, partner=None), rng)
        second = self.augment(Sample(sample.name, sample.partner), rng)
        return replace(first, partner=second.image)


def middle(sample: Sample) -> Sample:
    """The middle of at most 512 x 512 pixels of both pictures of a sample."""
    partner = None if sample.partner is None else _middle(sample.partner)
    return replace(sample, image=_middle(sample.image), partner=partner)


def _middle(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    top, left = max(height - VALIDATED_SIDE, 0) // 2, max(width - VALIDATED_SIDE, 0) // 2
    return picture[top : top + VALIDATED_SIDE, left : left + VALIDATED_SIDE]


def domains_of(spec: ModelSpec) -> tuple[Domain, Domain]:
    """The pictures that a network was trained to translate, and those that they become."""
    return Domain.from_dict(spec.notes["input"]), Domain.from_dict(spec.notes["target"])


def _pairs(facts: Fingerprint) -> PairFacts:
    assert facts.pairs is not None
    return facts.pairs
