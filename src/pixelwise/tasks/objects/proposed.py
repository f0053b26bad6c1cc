"""Objects found by detectors that are given their regions: R-CNN and Fast R-CNN."""

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
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.tasks.insight import Insight
from pixelwise.tasks.objects.task import FindObjects, objects_alone

STRIDE = 16
"""Of the map that regions are read from."""
POSITIONS = 7
"""Of the map that the median object is to be long, as many as it is pooled to."""
LARGEST_SCALE = 4.0


class ClassifyProposals(FindObjects):
    """For networks that classify the boxes that selective search finds (`RCNN`, `FastRCNN`).

    Selective search takes up to a second per picture. For training it is done once, when a picture is read, and crops
    have the parts of its boxes that are in them; whole pictures are searched by the network.
    """

    def cache(self, recipe: Recipe | PlannedRecipe, dataset: Dataset) -> SampleCache:
        return SampleCache(dataset, objects=True, prepare=(objects_alone, with_proposals))

    def insight(self, network: nn.Module, spec: ModelSpec) -> Insight:
        from pixelwise.tasks.objects.proposal_insight import ProposalInsight

        return ProposalInsight(network, spec)

    def _proposal_options(self, facts: Fingerprint) -> dict[str, tuple[Any, str]]:
        return {}


class ReadProposals(ClassifyProposals):
    """For networks that read the proposals from one map of the picture (`FastRCNN`)."""

    def _proposal_options(self, facts: Fingerprint) -> dict[str, tuple[Any, str]]:
        if facts.objects is None:
            return {}
        side = facts.objects.sides[1] * min(facts.height[1], facts.width[1])
        scale = round(2 * min(max(POSITIONS * STRIDE / max(side, 1), 1), LARGEST_SCALE)) / 2
        why = f"the median object is {side:.0f} pixels long, {side * scale / STRIDE:.1f} positions of the map"
        return {"scale": (scale, why)}


def with_proposals(sample: Sample) -> Sample:
    """A sample with the boxes that selective search finds in it."""
    return replace(sample, proposals=selective_search(sample.image))
