"""The task of finding the joints of people, with one person per crop and one heatmap per joint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor, nn

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.joints import Joints
from pixelwise.data.loader import Transform
from pixelwise.data.people import people_alone
from pixelwise.data.person_windows import PersonCrops, PersonWindows, whole_picture
from pixelwise.data.record import Record
from pixelwise.data.sample import Sample
from pixelwise.data.stock import Stock
from pixelwise.data.targets import ObjectTargets
from pixelwise.errors import UserError
from pixelwise.methods.base import Criterion, Forward
from pixelwise.models.spec import ModelSpec
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.report.blocks import Block, Section
from pixelwise.tasks.base import Snapshots, Task
from pixelwise.tasks.evaluation import Evaluation
from pixelwise.tasks.insight import Insight
from pixelwise.tasks.pose.inference import PoseInference, PoseOptions, PosePrediction, decoded, joints_of_spec
from pixelwise.tasks.pose.scores import PoseScores

PAPER_SIZE, SMALL_SIZE = 256, 128
"""Height and width of a crop: the paper's, and the smallest that a plan chooses."""
FEWEST_CROPS = 60_000
"""Crops of the paper's size that must fit into the time; otherwise the plan makes crops smaller."""
SHORT = 500_000
"""With fewer crops than this, the paper's learning rate is too small: after a run of 10,000 crops PCK@0.2 was 0.111
with four times that rate and 0.061 with the rate itself (benchmarks/pose.md)."""
SHORT_RATE = 1e-3


class FindJoints(Task):
    """Task of networks that predict one heatmap per joint and stack (`HourglassPose`)."""

    name = "pose"
    needs = frozenset({"keypoints"})
    hint = "add joints of people, as COCO's keypoints or as .mat files of LSP, MPII or FLIC (docs/data.md)"
    targets = ObjectTargets
    decided_options = frozenset({"in_channels", "num_joints"})
    paper_options = MappingProxyType({"num_joints": 16})
    crops = 20_000
    validation_batch = 16
    options = PoseOptions
    again = ("measure again, averaging over each picture and its mirror image", " --flips horizontal")

    def network_options(self, recipe: Recipe | PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        return {**recipe.model.options, "in_channels": facts.form.channels, "num_joints": len(_joints(facts))}

    def class_names(self, facts: Fingerprint) -> tuple[str, ...]:
        return ()

    def cache(self, recipe: Recipe | PlannedRecipe, dataset: Dataset) -> SampleCache:
        return SampleCache(dataset, objects=True, prepare=(people_alone,))

    def check(self, dataset: Dataset, stock: Stock) -> None:
        for split, what in (("train", "there is nothing to learn"), ("val", "nothing could be measured")):
            if not self.training_records(dataset, dataset.split(split)):
                raise UserError(
                    f"{dataset.root}: no joint of a person in the pictures of the split '{split}', so {what}; "
                    "annotate some, or move annotated pictures there from another split."
                )

    def plan(self, draft: Draft) -> None:
        derive = draft.derive
        stride = int(getattr(draft.network, "stride", 1))
        size, why = PAPER_SIZE, "as in the paper"
        if draft.pace is not None:
            crops = draft.pace.crops((PAPER_SIZE, PAPER_SIZE))
            affordable = PAPER_SIZE * math.sqrt(min(crops / FEWEST_CROPS, 1))
            size = min(max(int(affordable) // stride * stride, SMALL_SIZE), PAPER_SIZE)
            if size < PAPER_SIZE:
                why = f"only {crops:,.0f} of {PAPER_SIZE} x {PAPER_SIZE} would fit into the time"
        size = -(-size // stride) * stride
        derive("augment", "crop", [size, size], why)
        height, width = draft.crop
        if height != width or height % stride:
            raise UserError(
                f"augment.crop: found {height} x {width}, but the crop of a person must be a square whose side is a "
                f"multiple of the network's stride, {stride}; set it to [{size}, {size}], or leave it out."
            )
        draft.derive_batch(4, 8, "people", steps=4)
        if draft.values["optimizer"]["name"] == "rmsprop" and (draft.crops or SHORT) < SHORT:
            derive("optimizer", "lr", SHORT_RATE, f"{draft.crops:,.0f} crops; the paper's 2.5e-4 is for millions")
        draft.refuse("augment", "background", "replacing the background needs class masks")
        draft.refuse("augment", "alone", "removing other people needs masks of objects")
        if draft.values["augment"]["flip"] == "both":
            raise UserError(
                "augment.flip: found 'both', but people cannot be flipped upside down here; set horizontal or none."
            )
        derive("augment", "objects", 1.0, "each crop shows one person")
        derive("augment", "scale", [0.75, 1.25], "as in the paper (section 3.2)")
        derive("augment", "rotate", 30.0, "as in the paper (section 3.2)")
        if _joints(draft.facts).sides:
            derive("augment", "flip", "horizontal", "mirroring swaps left and right joints")
        else:
            derive("augment", "flip", "none", "no two joints have names that differ only in `left` and `right`")
        derive("augment", "elastic", 0.0, "limbs do not bend")
        derive("loss", "class_weights", "none", "the network brings its own loss")
        draft.derive_light()

    def training_records(self, dataset: Dataset, records: Sequence[Record]) -> list[Record]:
        """Repeats each picture once per person with a joint; each time one of its people is drawn at random."""
        return [record for record in records for _ in range(_people(dataset, record))]

    def training_transform(self, recipe: PlannedRecipe) -> Transform:
        return PersonCrops(recipe.augment)

    def validation_pieces(self, recipe: PlannedRecipe) -> Callable[[Sample], Iterator[Sample]]:
        return PersonWindows(recipe.crop[0])

    def criterion(self, recipe: PlannedRecipe, facts: Fingerprint, network: nn.Module) -> Criterion | None:
        return None

    def scores(
        self, spec: ModelSpec, folder: Path, recipe: PlannedRecipe | None = None, options: Any = None
    ) -> PoseScores:
        return PoseScores(joints_of_spec(spec))

    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> list[PosePrediction]:
        positions, values = decoded(forward(network, images), images.shape[-1])
        joints = joints_of_spec(spec)
        return [
            PosePrediction(positions[:, [row]], values[[row]], _boxes(sample), joints, sample.image)
            for row, sample in enumerate(samples)
        ]

    def notes(self, recipe: PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        return {"joints": asdict(_joints(facts))}

    def input_size(self, recipe: PlannedRecipe) -> tuple[int, int]:
        return recipe.crop

    def output_names(self, spec: ModelSpec) -> tuple[str, ...]:
        return joints_of_spec(spec).names

    def predict_flags(self, summary: Mapping[str, Any]) -> str:
        return " --overlay"

    def inference(self, network: nn.Module, spec: ModelSpec, options: PoseOptions) -> PoseInference:
        return PoseInference(network, spec, options)

    def fit(self, spec: ModelSpec) -> Callable[[np.ndarray], np.ndarray]:
        """Assumes that one person fills the picture, as in prediction without boxes."""
        assert spec.input_size is not None
        size = spec.input_size[0]
        return lambda image: whole_picture(image, size).image(image)

    def insight(self, network: nn.Module, spec: ModelSpec) -> Insight:
        from pixelwise.tasks.pose.insight import PoseInsight

        return PoseInsight(network, spec)

    def sections(
        self, evaluation: Evaluation, baselines: Mapping[str, float | None], snapshots: Snapshots
    ) -> list[Section]:
        from pixelwise.tasks.pose import report

        return report.evaluation_sections(evaluation)

    def tables(self, summary: Mapping[str, Any]) -> list[Block]:
        from pixelwise.tasks.pose import report

        return report.tables(summary)


def _joints(facts: Fingerprint) -> Joints:
    assert facts.joints is not None
    return facts.joints


def _people(dataset: Dataset, record: Record) -> int:
    """Number of people in a picture who have a joint."""
    coding: Any = dataset.coding
    return sum(bool((person.keypoints[:, 2] > 0).any()) for person in coding.people_of(record.name))


def _boxes(sample: Sample) -> np.ndarray:
    return np.zeros((0, 4), np.float32) if sample.instances is None else sample.instances.boxes
