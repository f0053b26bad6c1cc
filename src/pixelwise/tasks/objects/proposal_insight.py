"""What `pixelwise explain` shows of R-CNN and Fast R-CNN: the proposals of selective search."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from pixelwise.models.detect.detector import Detections
from pixelwise.tasks.insight import Group
from pixelwise.tasks.objects.inference import ObjectPrediction
from pixelwise.tasks.objects.insight import ObjectInsight
from pixelwise.tasks.objects.region_insight import proposals_group


class ProposalInsight(ObjectInsight):
    """What is shown of a detector that takes its proposals from selective search."""

    region = "the classified proposal"
    terms: ClassVar = {
        "Proposals": "Segments of even colour are grouped by similarity, two neighbours at a time; the box of each "
        "group is a proposal (Uijlings et al. 2013). Nothing is learned here, unless a blob scorer orders the "
        "proposals.",
        **ObjectInsight.terms,
    }

    def parts(self, image: np.ndarray, images: Tensor, found: ObjectPrediction, detections: Detections) -> list[Group]:
        network: Any = self.network
        proposals = network.proposer(images)[0].float().cpu().numpy()
        rank = "first" if network.proposer.scorer is None else "most confident"
        return [proposals_group(image, proposals, found, rank)]
