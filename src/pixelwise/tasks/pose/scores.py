"""The share of joints that are found, at distances relative to the torso and to the head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.data.joints import Joints
from pixelwise.data.listing import counted
from pixelwise.data.people import people_alone
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.metrics.bootstrap import mean_margin
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.json_values import or_none
from pixelwise.metrics.keypoints import distance_between, head_sizes, means_over_joints, pck
from pixelwise.tasks.evaluation import Scores
from pixelwise.tasks.pose.inference import PosePrediction
from pixelwise.tasks.ranking import best_middle_worst

TORSO_SHARE, HEAD_SHARE = 0.2, 0.5
"""Largest distance of a correct joint from its true joint, as a share of the torso and of the head."""
TORSO_CURVE = tuple(round(0.05 * step, 2) for step in range(1, 11))
HEAD_CURVE = tuple(round(0.1 * step, 1) for step in range(1, 11))
"""Thresholds of the curves."""
TORSO = ("left_shoulder", "right_hip")
HEAD = ("head_top", ("neck", "upper_neck"))
BESIDE_HEAD = ("pelvis", "thorax")
"""Joints that MPII's evaluation leaves out of the mean of PCKh."""

PCK = Headline(
    "pck",
    "PCK@0.2",
    definition="The share of people for whom a joint is found within 0.2 of the torso's length from its true joint, "
    "averaged over joints (Yang & Ramanan, PAMI 2013; torso as in Sapp & Taskar, CVPR 2013).",
)
PCKH = Headline(
    "pckh",
    "PCKh@0.5",
    definition="The share of people for whom a joint is found within 0.5 of the head's size from its true joint, "
    "averaged over joints (Andriluka et al., CVPR 2014).",
)


@dataclass(frozen=True, slots=True)
class PictureResult:
    """How well the joints of one picture were found.

    Attributes:
        share: share of joints found within 0.2 of the torso's length; NaN if no joint counts.
        joints: number of joints that count.
    """

    name: str
    share: float
    joints: int


class PoseScores(Scores[PosePrediction]):
    """Keeps the true and the predicted joints of each annotated person.

    Args:
        joints: the joints that the network predicts.
    """

    def __init__(self, joints: Joints) -> None:
        self.joints = joints
        self.pictures: list[PictureResult] = []
        self._found: list[np.ndarray] = []  # (S, P, J, 2) per picture
        self._true: list[np.ndarray] = []  # (P, J, 3)
        self._torsos: list[np.ndarray] = []  # (P,)
        self._heads: list[np.ndarray] = []  # (P,)
        self.head_boxes = False

    @property
    def torso(self) -> tuple[int, int] | None:
        """The two joints whose distance is the torso's length; None if there are no joints with these names."""
        first, second = (self.joints.find(name) for name in TORSO)
        return None if first is None or second is None else (first, second)

    @property
    def head(self) -> tuple[int, int] | None:
        """The two joints whose distance is the head's size, for data without head boxes; None if there are none."""
        top = self.joints.find(HEAD[0])
        neck = next((joint for name in HEAD[1] if (joint := self.joints.find(name)) is not None), None)
        return None if top is None or neck is None else (top, neck)

    @property
    def headlines(self) -> Sequence[Headline]:
        return (PCK,) if self.head is None and not self.head_boxes else (PCK, PCKH)

    def update(self, prediction: PosePrediction, sample: Sample) -> None:
        people = people_alone(sample).instances
        true = np.zeros((0, len(self.joints), 3), np.float32)
        torsos = heads = np.zeros(0)
        if people is not None and people.keypoints is not None and len(people):
            true = people.keypoints
            if true.shape[1] != len(self.joints) or people.sides != self.joints.sides:
                raise UserError(
                    f"{sample.name}: has {true.shape[1]} joints, which are not the {len(self.joints)} joints of the "
                    f"network or have a different order; give data with these joints: {', '.join(self.joints.names)}."
                )
            known = true[..., 2] > 0
            if self.torso is None:
                sides = (people.boxes[:, 2:] - people.boxes[:, :2]).max(1).astype(np.float64)
                torsos = np.where(sides > 0, sides, np.nan)  # a person with one joint and no box has no size
            else:
                torsos = distance_between(true[..., :2], known, self.torso)
            heads = np.full(len(true), np.nan)
            if people.head_boxes is not None:
                self.head_boxes = True
                heads = head_sizes(people.head_boxes.astype(np.float64))
            elif self.head is not None:
                heads = distance_between(true[..., :2], known, self.head)
        if prediction.positions.shape[1] != len(true):
            raise ValueError(
                f"{prediction.positions.shape[1]} people predicted, {len(true)} annotated in {sample.name}"
            )
        self._found.append(prediction.positions.astype(np.float64))
        self._true.append(true)
        self._torsos.append(torsos)
        self._heads.append(heads)
        share, count = _share(prediction.positions[-1], true, torsos)
        self.pictures.append(PictureResult(sample.name, share, count))

    def merge(self, other: PoseScores) -> None:
        self.pictures += other.pictures
        for name in ("_found", "_true", "_torsos", "_heads"):
            getattr(self, name).extend(getattr(other, name))
        self.head_boxes |= other.head_boxes

    def by_joint(self, size: str, threshold: float, stack: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """The share of people for whom each joint is found, and the number of people who count, both (J,).

        Args:
            size: `torso` or `head`.
            threshold: as a share of this size.
            stack: index of the network's stack; the last stack is the prediction.
        """
        if not self._true:
            return np.full(len(self.joints), np.nan), np.zeros(len(self.joints), np.int64)
        sizes = np.concatenate(self._torsos if size == "torso" else self._heads)
        true = np.concatenate(self._true)
        found = np.concatenate([each[stack] for each in self._found])
        present = (true[..., 2] > 0) & np.isfinite(sizes)[:, None]
        shares = pck(found, true[..., :2].astype(np.float64), present, np.nan_to_num(sizes, nan=1.0), threshold)
        return shares, present.sum(0)

    def score(self, size: str, threshold: float, stack: int = -1) -> tuple[float, float]:
        """The mean over joints, plain and weighted by people; the arguments are those of `by_joint`."""
        shares, counts = self.by_joint(size, threshold, stack)
        if size == "head" and self.head_boxes:
            left_out = [joint for name in BESIDE_HEAD if (joint := self.joints.find(name)) is not None]
            counts = counts.copy()
            counts[left_out] = 0
        return means_over_joints(shares, counts)

    def values(self) -> dict[str, float]:
        found = {PCK.key: self.score("torso", TORSO_SHARE)[0], PCKH.key: self.score("head", HEAD_SHARE)[0]}
        return {headline.key: found[headline.key] for headline in self.headlines}

    def margin(self) -> float:
        shares = np.array([picture.share for picture in self.pictures])
        return mean_margin(shares, np.array([picture.joints for picture in self.pictures]))

    @property
    def people(self) -> int:
        """Number of annotated people so far."""
        return sum(len(each) for each in self._true)

    @property
    def stacks(self) -> int:
        """Number of the network's stacks; 0 before the first update."""
        return len(self._found[0]) if self._found else 0

    def summary(self, split: str) -> dict[str, Any]:
        if not self.people:
            raise UserError(
                f"no person with a joint in the pictures of the split '{split}', so there is nothing to measure; "
                "choose another split."
            )
        torso, torso_weighted = self.score("torso", TORSO_SHARE)
        summary: dict[str, Any] = {
            "split": split,
            "pictures": len(self.pictures),
            "people": self.people,
            "pck": or_none(torso),
            "pck_weighted": or_none(torso_weighted),
        }
        with_head = PCKH in self.headlines
        if with_head:
            head, head_weighted = self.score("head", HEAD_SHARE)
            summary |= {"pckh": or_none(head), "pckh_weighted": or_none(head_weighted)}
        shares, counts = self.by_joint("torso", TORSO_SHARE)
        head_shares, _ = self.by_joint("head", HEAD_SHARE)
        summary["joints"] = {
            name: {
                "pck": or_none(float(shares[joint])),
                **({"pckh": or_none(float(head_shares[joint]))} if with_head else {}),
                "people": int(counts[joint]),
            }
            for joint, name in enumerate(self.joints.names)
        }
        summary["pck_by_threshold"] = {f"{each:g}": or_none(self.score("torso", each)[0]) for each in TORSO_CURVE}
        if with_head:
            summary["pckh_by_threshold"] = {f"{each:g}": or_none(self.score("head", each)[0]) for each in HEAD_CURVE}
        summary["stacks"] = [
            {
                "stack": number + 1,
                "pck": or_none(self.score("torso", TORSO_SHARE, number)[0]),
                **({"pckh": or_none(self.score("head", HEAD_SHARE, number)[0])} if with_head else {}),
            }
            for number in range(self.stacks)
        ]
        summary["definition"] = self._definition(split, with_head)
        return summary

    def _definition(self, split: str, with_head: bool) -> str:
        measured = int(np.isfinite(np.concatenate(self._torsos)).sum())
        torso = "from the left shoulder to the right hip"
        parts = [
            f"over {counted(self.people, 'person', 'people')} in "
            f"{counted(len(self.pictures), 'picture', 'pictures')} of the {split} split, whose boxes come from "
            "the annotations: pck is the share of joints within 0.2 of the "
            + (f"torso's length ({torso})" if self.torso else "longer side of the person's box")
            + f" for the {measured} people for whom it is known, as the plain mean over joints; pck_weighted is the "
            "mean weighted by people"
        ]
        if with_head:
            size = (
                "which is 0.6 of the diagonal of the annotated head box; the means leave out pelvis and thorax"
                if self.head_boxes
                else "which is the distance from the top of the head to the neck"
            )
            parts.append(f"pckh is the share within 0.5 of the head's size, {size}")
        return "; ".join(parts)

    def examples(self, each: int = 3) -> dict[str, list[PictureResult]]:
        """The best, the middle and the worst few pictures, without repetition."""
        ranked = sorted(
            (picture for picture in self.pictures if not math.isnan(picture.share)), key=lambda picture: -picture.share
        )
        return best_middle_worst(ranked, each)


def _share(found: np.ndarray, true: np.ndarray, torsos: np.ndarray) -> tuple[float, int]:
    """The share of joints (P, J) within 0.2 of the torso, and the number of joints that count."""
    known = (true[..., 2] > 0) & np.isfinite(torsos)[:, None]
    if not known.any():
        return math.nan, 0
    near = np.linalg.norm(found - true[..., :2], axis=-1) <= TORSO_SHARE * np.nan_to_num(torsos)[:, None]
    return float(near[known].mean()), int(known.sum())
