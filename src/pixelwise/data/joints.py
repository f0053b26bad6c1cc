"""The joints of a person (or an animal): their names, which are left and right of each other, and the skeleton."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

HIDDEN, VISIBLE = 1, 2
"""The third number of a keypoint, as in COCO: 1 for a joint whose position is known although it is hidden, 2 for a
visible joint. 0 is a joint that is not annotated."""
_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l", "lft": "rgt", "rgt": "lft"}


@dataclass(frozen=True, slots=True)
class Joints:
    """The joints of every object of a dataset.

    Attributes:
        names: in the order of the keypoints.
        skeleton: pairs of indices that a line joins.
    """

    names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sides(self) -> tuple[tuple[int, int], ...]:
        """Pairs (left, right) of joints whose names differ only in the side."""
        words = [_words(name) for name in self.names]
        indices = {tuple(each): index for index, each in enumerate(words)}
        pairs = []
        for left, each in enumerate(words):
            right = indices.get(tuple(_SIDES.get(word, word) for word in each))
            if right is not None and right != left and {"left", "l", "lft"} & set(each):
                pairs.append((left, right))
        return tuple(pairs)

    @property
    def mirrored(self) -> tuple[int, ...]:
        """The index of the joint that each joint becomes in a mirror image."""
        order = list(range(len(self)))
        for left, right in self.sides:
            order[left], order[right] = right, left
        return tuple(order)

    def side_of(self, index: int) -> str:
        """`left`, `right`, or empty for a joint in the middle."""
        for left, right in self.sides:
            if index in (left, right):
                return "left" if index == left else "right"
        return ""

    def find(self, name: str) -> int | None:
        """The index of a joint, however its name is written: `left_hip`, `l hip`, `LeftHip`."""
        wanted = _plain(name)
        return next((index for index, own in enumerate(self.names) if _plain(own) == wanted), None)


def _words(name: str) -> list[str]:
    """The words of a name in lower case: `LeftHip`, `LHip`, `left-hip` and `l_hip` begin with a word for the side."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word for word in re.split(r"[^a-z0-9]+", apart.lower()) if word]


def _plain(name: str) -> tuple[str, ...]:
    long = {"l": "left", "r": "right", "lft": "left", "rgt": "right"}
    return tuple(sorted(long.get(word, word) for word in _words(name)))


def joints_of(names: Sequence[str], bones: Sequence[tuple[str, str]]) -> Joints:
    """Joints with a skeleton given by names."""
    indices = {name: index for index, name in enumerate(names)}
    return Joints(tuple(names), tuple((indices[one], indices[other]) for one, other in bones))


_ARMS_AND_LEGS = tuple(
    (f"{side}_{one}", f"{side}_{other}")
    for side in ("right", "left")
    for one, other in (("ankle", "knee"), ("knee", "hip"), ("wrist", "elbow"), ("elbow", "shoulder"))
)

LSP = joints_of(
    (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
        "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top",
    ),
    (
        *_ARMS_AND_LEGS, ("right_hip", "left_hip"), ("right_hip", "right_shoulder"), ("left_hip", "left_shoulder"),
        ("right_shoulder", "neck"), ("left_shoulder", "neck"), ("neck", "head_top"),
    ),
)  # fmt: skip
"""Leeds Sports Pose (Johnson & Everingham, BMVC 2010) and its extension (CVPR 2011)."""

MPII = joints_of(
    (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax",
        "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
        "left_wrist",
    ),
    (
        *_ARMS_AND_LEGS, ("right_hip", "pelvis"), ("left_hip", "pelvis"), ("pelvis", "thorax"),
        ("right_shoulder", "thorax"), ("left_shoulder", "thorax"), ("thorax", "upper_neck"), ("upper_neck", "head_top"),
    ),
)  # fmt: skip
"""MPII Human Pose (Andriluka et al., CVPR 2014), in the order of its joint ids 0 to 15."""

FLIC = joints_of(
    (
        "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist", "left_hip",
        "right_hip", "left_eye", "right_eye", "nose",
    ),
    (
        ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"), ("right_shoulder", "right_elbow"),
        ("right_elbow", "right_wrist"), ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"), ("left_hip", "right_hip"), ("left_eye", "nose"), ("right_eye", "nose"),
    ),
)  # fmt: skip
"""Frames Labeled In Cinema (Sapp & Taskar, CVPR 2013): the joints that are annotated in it."""
FLIC_COLUMNS = (0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16)
"""The columns of the joints of `FLIC` among the 29 columns of its coordinates; the others are NaN throughout."""
