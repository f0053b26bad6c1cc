"""A figure of the steps by which OverFeat finds its boxes."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from pixelwise.data.draw import palette, to_rgb
from pixelwise.report.figures import STYLE
from pixelwise.tasks.detect.merging import Localised, Scale


def overfeat_figure(
    image: np.ndarray,
    steps: Localised,
    class_names: Sequence[str],
    *,
    background: int | None = None,
    share: float = 0.2,
) -> Figure:
    """Figure 6 of Sermanet et al. 2014 for one picture: scores without and with offsets, all boxes, merged boxes.

    The two score maps are those of the scale with the most confident windows. Each window is a cell at its centre, in
    the colour of its most probable class; the opacity is the probability of that class. The opacity of a box grows with
    its confidence. A merged box is labelled with the sum of the confidences of the boxes merged into it; boxes on which
    few windows agree are left out.

    Args:
        image: (H, W) or (H, W, C), the picture as it was read.
        steps: the result of `tasks.detect.merging.localise`.
        class_names: by class id.
        background: the class whose cells stay clear.
        share: merged boxes with a confidence below this share of the largest confidence are left out.
    """
    picture = to_rgb(image)
    colours = palette(len(class_names), background) / 255
    scale = max(steps.scales, key=lambda one: float(_objects(one, background).amax(0).mean()))
    number = steps.scales.index(scale) + 1
    every, merged = steps.candidates, steps.merged
    seen = set(every.classes.tolist())
    with matplotlib.rc_context(STYLE):
        height = 3.7 * picture.shape[0] / picture.shape[1] + 0.22
        figure = Figure(figsize=(7.6, 2 * height + 0.35), layout="constrained")
        (coarse, fine), (boxes, result) = figure.subplots(2, 2)
        where = f"scale {number} of {len(steps.scales)} ({scale.size[1]} x {scale.size[0]})"
        for axes, step, title in ((coarse, scale.step, "without offsets"), (fine, 1, "with offset pooling")):
            _backdrop(axes, picture, f"{title}, {where}" if axes is coarse else title)
            seen |= _score_map(axes, scale, step, colours, background)
        scales = f"{len(steps.scales)} scale{'s' if len(steps.scales) > 1 else ''}"
        _backdrop(boxes, picture, f"all boxes: {len(every)} from {scales}")
        for box, class_id, score in zip(
            every.boxes.tolist(), every.classes.tolist(), every.scores.tolist(), strict=True
        ):
            _rectangle(boxes, box, colours[class_id], opacity=0.1 + 0.5 * score, width=0.8)
        shown = int((merged.scores >= share * merged.scores[:1]).sum())  # sorted by decreasing score
        selected = f" ({shown} shown)" if len(merged) > shown else ""
        _backdrop(result, picture, f"merged: {len(merged)}{selected}")
        for index in reversed(range(shown)):
            box, class_id = merged.boxes[index].tolist(), int(merged.classes[index])
            _rectangle(result, box, colours[class_id], opacity=1.0, width=1.8)
            result.text(
                max(box[0], 0), max(box[1], 0), f"{class_names[class_id]} {float(merged.scores[index]):.1f}",
                fontsize=7, color="white", va="bottom" if box[1] > 0.06 * picture.shape[0] else "top", clip_on=True,
                bbox={"facecolor": colours[class_id] * 0.7, "edgecolor": "none", "pad": 1.2},
            )  # fmt: skip
        keys = [Patch(facecolor=colours[class_id], label=class_names[class_id]) for class_id in sorted(seen)]
        if keys:
            figure.legend(
                handles=keys, loc="outside lower center", ncols=min(len(keys), 12), fontsize=8, handlelength=1
            )
    return figure


def _objects(scale: Scale, background: int | None) -> Tensor:
    """(K', h, w): the probabilities of all classes except the background."""
    kept = [class_id for class_id in range(len(scale.probabilities)) if class_id != background]
    return scale.probabilities[kept]


def _backdrop(axes: Axes, picture: np.ndarray, title: str) -> None:
    """Draws the picture in pale colours, so that the boxes on it stand out."""
    paled = np.rint(255 - (255 - picture.astype(np.float32)) * 0.55).astype(np.uint8)
    axes.imshow(paled, extent=(0, picture.shape[1], picture.shape[0], 0))
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def _score_map(axes: Axes, scale: Scale, step: int, colours: np.ndarray, background: int | None) -> set[int]:
    """Draws a cell per window and returns the classes that are visible."""
    windows = scale.windows[::step, ::step].numpy()
    probabilities = scale.probabilities[:, ::step, ::step].numpy().copy()
    if background is not None:
        probabilities[background] = 0
    likely = probabilities.argmax(0)
    opacity = probabilities.max(0)
    middle = (windows[..., :2] + windows[..., 2:]) / 2
    # Half a step to each side; a single row or column of windows has no step, and is as high or wide as its window.
    across, down = (
        float(middle[0, 1, 0] - middle[0, 0, 0]) if middle.shape[1] > 1 else float(np.ptp(windows[0, 0, 0::2])),
        float(middle[1, 0, 1] - middle[0, 0, 1]) if middle.shape[0] > 1 else float(np.ptp(windows[0, 0, 1::2])),
    )
    left, right = middle[0, 0, 0] - across / 2, middle[0, -1, 0] + across / 2
    top, bottom = middle[0, 0, 1] - down / 2, middle[-1, 0, 1] + down / 2
    cells = np.concatenate([colours[likely], opacity[..., None]], -1)
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(cells, extent=(left, right, bottom, top), interpolation="nearest")
    axes.set(xlim=limits[0], ylim=limits[1])
    return set(likely[opacity > 0.3].tolist())


def _rectangle(axes: Axes, box: Sequence[float], colour: np.ndarray, *, opacity: float, width: float) -> None:
    left, top, right, bottom = box
    axes.add_patch(
        Rectangle(
            (left, top),
            right - left,
            bottom - top,
            fill=False,
            edgecolor=colour,
            alpha=min(opacity, 1),
            linewidth=width,
        )
    )
