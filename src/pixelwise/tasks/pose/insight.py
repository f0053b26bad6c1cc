"""What `pixelwise explain` shows of networks for poses: heatmaps by joint and stack, and reasons for joints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.draw import to_rgb
from pixelwise.models.pose.hourglass import HourglassPose
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.heatmaps import peaks
from pixelwise.report.boxes import heat_overlay
from pixelwise.report.pictures import resized
from pixelwise.report.skeletons import draw_skeletons
from pixelwise.tasks.insight import Findings, Group, Insight, Panel, Reason, with_forward
from pixelwise.tasks.pose.inference import decoded, joints_of_spec

COLUMNS = 5
"""Heatmaps per row of the page."""
SIDE = 384
"""Pixels to which the picture is enlarged before anything is drawn over it."""


class PoseInsight(Insight):
    """The insight into a stacked hourglass.

    Args:
        network: a `HourglassPose`.
    """

    subject = "joints of the person"
    terms: ClassVar[Mapping[str, str]] = {
        "Heatmaps": "Each stack predicts one heatmap per joint. Its target is 1 at the joint and falls to 0 around it "
        "(Newell et al. 2016). The peak of the last stack's heatmap is the predicted joint. Two peaks in one heatmap "
        "show two positions that the network cannot distinguish, such as the left and the right knee.",
        "Why a joint is there": "All methods below explain the value of the last stack's heatmap at its peak. "
        "Grad-CAM weights the maps that are the input of the first hourglass, the last on which a position depends on "
        "a part of the picture only.",
    }

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        assert isinstance(network, HourglassPose)
        self.network = network
        self.joints = joints_of_spec(spec)
        self.trunk = with_forward(network, lambda images: network(images)[-1])

    def examine(self, image: np.ndarray, images: Tensor, classes: Sequence[int]) -> Findings:
        all_heatmaps = self.network(images)
        positions, _ = decoded(all_heatmaps, SIDE)  # (S, 1, J, 2)
        large = resized(to_rgb(image), (SIDE, SIDE))
        heights = all_heatmaps[-1][0].float().amax((-2, -1)).clamp(0, 1).cpu().numpy()  # (J,)
        names = [name.replace("_", " ") for name in self.joints.names]
        order = np.argsort(-heights, kind="stable")
        asked = list(classes) or list(dict.fromkeys((int(order[0]), int(order[-1]))))
        skeletons = [
            Panel(f"Stack {number}", draw_skeletons(large, own, np.ones(own.shape[:2], bool), self.joints))
            for number, own in enumerate(positions, start=1)
        ]
        return Findings(
            predictions=[(names[joint], float(heights[joint])) for joint in order.tolist()],
            groups=[
                Group(
                    "The skeleton", skeletons, "The peaks of each stack's heatmaps; the last stack is the prediction."
                ),
                *self._heatmaps(image, all_heatmaps, names),
            ],
            reasons=[self._reason(image, all_heatmaps[-1], joint, names[joint], skeletons[-1]) for joint in asked],
        )

    def _heatmaps(self, image: np.ndarray, all_heatmaps: Sequence[Tensor], names: Sequence[str]) -> list[Group]:
        """The heatmap of every joint over the picture, one group per stack."""
        large = resized(to_rgb(image), (SIDE, SIDE))
        groups = []
        for number, heatmaps in enumerate(all_heatmaps, start=1):
            maps = heatmaps[0].float().clamp(0, 1).cpu().numpy()  # (J, h, w)
            step = (SIDE / maps.shape[1], SIDE / maps.shape[2])
            panels = [
                Panel(f"{name} {own.max():.2f}", _over(large, _by_peak(own), step))
                for name, own in zip(names, maps, strict=True)
            ]
            about = (
                f"Heatmaps after hourglass {number} of {len(all_heatmaps)}. Each has its own colour range; the "
                "number is the value at the peak."
            )
            if number > 1:
                about += " Compare them with the stack before: some peaks are gone, others are clearer."
            groups.append(Group(f"Heatmaps of stack {number}", panels, about, COLUMNS))
        return groups

    def _reason(self, image: np.ndarray, heatmaps: Tensor, joint: int, name: str, skeleton: Panel) -> Reason:
        """Explains the value of a joint's heatmap at its peak."""
        position, _ = peaks(heatmaps[0, joint])
        column, row = position.floor().long().tolist()
        return Reason(
            title=f"Why is the {name} there?",
            network=self.trunk,
            score=_height(joint, row, column),
            layer=self.network.before_stacks,
            lay=lambda maps: F.interpolate(maps[None], image.shape[:2], mode="bilinear")[0],
            panels=[skeleton],
        )


def _over(picture: np.ndarray, heatmap: np.ndarray, step: tuple[float, float]) -> np.ndarray:
    """Draws a heatmap, whose cells are `step` (height, width) pixels large, over the picture."""
    return heat_overlay(picture, heatmap, window=step, stride=step, alpha=0.85)


def _by_peak(heatmap: np.ndarray) -> np.ndarray:
    """Scales a heatmap (h, w) so that its peak is 1; a heatmap without a positive value does not change."""
    peak = heatmap.max()
    scaled: np.ndarray = heatmap / peak if peak > 0 else heatmap
    return scaled


def _height(joint: int, row: int, column: int) -> Callable[[Tensor], Tensor]:
    """The value of a joint's heatmap (N, J, h, w) in one cell."""

    def score(heatmaps: Tensor) -> Tensor:
        return heatmaps[:, joint, row, column]

    return score
