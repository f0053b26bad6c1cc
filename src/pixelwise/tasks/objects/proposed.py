"""The task for detectors that take their proposals from selective search: R-CNN and Fast R-CNN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.sample import Sample
from pixelwise.models.detect.selective_search import selective_search
from pixelwise.models.spec import ModelSpec
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.tasks.insight import Insight
from pixelwise.tasks.objects.task import FindObjects, objects_alone

STRIDE = 16
"""Stride of the map that regions are read from."""
POSITIONS = 7
"""Positions of that map that the median object should span, as many as a region is pooled to."""
LARGEST_SCALE = 4.0


class ClassifyProposals(FindObjects):
    """Task of networks that classify the boxes that selective search finds (`RCNN`, `FastRCNN`).

    Selective search takes up to a second per picture. For training it runs once, when a picture is read, and each crop
    gets the parts of the boxes that lie inside it. On whole pictures the network runs selective search itself.
    """

    def cache(self, recipe: Recipe | PlannedRecipe, dataset: Dataset) -> SampleCache:
        return SampleCache(dataset, objects=True, prepare=(objects_alone, with_proposals))

    def insight(self, network: nn.Module, spec: ModelSpec) -> Insight:
        from pixelwise.tasks.objects.proposal_insight import ProposalInsight

        return ProposalInsight(network, spec)

    def _proposal_options(self, facts: Fingerprint) -> dict[str, tuple[Any, str]]:
        return {}


class ReadProposals(ClassifyProposals):
    """Task of networks that read the proposals from one map of the picture (`FastRCNN`)."""

    def _largest_batch(self, draft: Draft) -> int:
        network: Any = draft.network
        return max(round(super()._largest_batch(draft) / network.scale**2), 2)  # the network enlarges the crops

    def _proposal_options(self, facts: Fingerprint) -> dict[str, tuple[Any, str]]:
        if facts.objects is None:
            return {}
        side = facts.objects.sides[1] * min(facts.height[1], facts.width[1])
        scale = round(2 * min(max(POSITIONS * STRIDE / max(side, 1), 1), LARGEST_SCALE)) / 2
        why = f"the median object is {side:.0f} pixels long, then {side * scale / STRIDE:.1f} positions of the map"
        return {"scale": (scale, why)}


def with_proposals(sample: Sample) -> Sample:
    """Adds the boxes that selective search finds to a sample."""
    return replace(sample, proposals=selective_search(sample.image))
