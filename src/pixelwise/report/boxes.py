"""Boxes, heat maps and OverFeat's steps, drawn over the picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pixelwise.data.draw import palette, to_rgb
from pixelwise.inference.overfeat import Localised, Scale
from pixelwise.report.figures import STYLE


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    labels: Sequence[str] | None = None,
    *,
    colours: np.ndarray | None = None,
) -> np.ndarray:
    """A picture with boxes around what is in it.

    Args:
        image: (H, W) or (H, W, C), as `data.draw.to_rgb` takes it.
        boxes: (N, 4) xyxy in pixels; what reaches beyond the picture is cut off. The first one is drawn last, on top.
        classes: (N,) class ids, for the colours.
        labels: a text for each box; none without.
        colours: (256, 3) uint8 of `data.draw.palette`; None for those of as many classes as there are.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: another number of classes or labels than of boxes.
    """
    if len(classes) != len(boxes) or (labels is not None and len(labels) != len(boxes)):
        raise ValueError(
            f"{len(boxes)} boxes, {len(classes)} classes and {len(labels or ())} labels do not go together"
        )
    if colours is None:
        colours = palette(int(np.max(classes, initial=0)) + 1, background=None)
    picture = Image.fromarray(to_rgb(image))
    brush = ImageDraw.Draw(picture)
    line = max(1, round(max(picture.size) / 300))
    font = ImageFont.load_default(max(10, round(max(picture.size) / 40)))
    for number in reversed(range(len(boxes))):
        colour = tuple(int(value) for value in colours[classes[number]])
        # The edge pixels are the outermost that the box covers: a box from 2 to 5 colours pixels 2 to 4.
        left, top, right, bottom = np.rint(boxes[number]).astype(int)
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, picture.width) - 1, min(bottom, picture.height) - 1
        if right < left or bottom < top:
            continue
        brush.rectangle((left, top, right, bottom), outline=colour, width=line)
        if labels is not None and labels[number]:
            _label(brush, labels[number], (left, top), colour, font, picture.size)
    return np.asarray(picture)


def _label(
    brush: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[int, int],
    colour: tuple[int, ...],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Text on the box's colour, above its top left corner, or below it at the picture's upper edge."""
    _, _, wide, tall = (int(np.ceil(edge)) for edge in brush.textbbox((0, 0), text, font=font))
    left = max(min(corner[0], size[0] - wide - 4), 0)
    top = corner[1] - tall - 4 if corner[1] >= tall + 4 else corner[1]
    brush.rectangle((left, top, left + wide + 4, top + tall + 4), fill=colour)
    light = np.dot(colour, (0.299, 0.587, 0.114)) > 140
    brush.text((left + 2, top + 2), text, fill=(20, 20, 20) if light else (255, 255, 255), font=font)


def heat_overlay(
    image: np.ndarray, heat: np.ndarray, *, window: tuple[float, float], stride: tuple[float, float], alpha: float = 0.6
) -> np.ndarray:
    """A picture, greyed, under the heat map of its windows.

    Each window's value stands at its middle, is interpolated in between, and goes on as it is beyond the outermost.

    Args:
        image: (H, W) or (H, W, C), as `data.draw.to_rgb` takes it.
        heat: (h, w), 0..1, as `inference.sliding.heat_map` gives it.
        window, stride: height and width in pixels of a window, and from one to the next; no whole numbers where the
            picture was reduced.
        alpha: how much of the colour is seen where the heat is 1; at 0 the picture is as it was, but grey.

    Returns:
        (H, W, 3) uint8.
    """
    picture = to_rgb(image)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)[:, :, None]
    at = [
        (np.arange(size, dtype=np.float32) + 0.5 - side / 2) / step
        for size, side, step in zip(picture.shape, window, stride, strict=False)
    ]
    columns, rows = np.meshgrid(at[1], at[0])
    spread = cv2.remap(heat.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).clip(
        0, 1
    )
    tint = matplotlib.colormaps["inferno"](spread)[:, :, :3].astype(np.float32) * 255
    shown = alpha * spread[:, :, None]
    return np.rint(grey + shown * (tint - grey)).astype(np.uint8)


def overfeat_figure(
    image: np.ndarray,
    steps: Localised,
    class_names: Sequence[str],
    *,
    background: int | None = None,
    share: float = 0.2,
) -> Figure:
    """The paper's figure 6, for one picture: scores without and with offsets, all boxes, merged boxes.

    The two score maps are those of the scale with the surest windows. Each place is a cell at the middle of its window,
    in the colour of its most likely class, as opaque as that is likely. A box is as opaque as it is sure. Merged boxes
    carry the sum of the confidences that went into them; those that few windows agree on are left out.

    Args:
        image: (H, W) or (H, W, C), the picture as it came.
        steps: of `inference.overfeat.localise`.
        class_names: by class id.
        background: the class whose places stay clear.
        share: merged boxes whose confidence is a smaller share of the largest one are not shown.
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
        shown = int((merged.scores >= share * merged.scores[:1]).sum())  # they come in falling order
        _backdrop(result, picture, f"merged: {len(merged)}" + (f", the {shown} surest" if len(merged) > shown else ""))
        for place in reversed(range(shown)):
            box, class_id = merged.boxes[place].tolist(), int(merged.classes[place])
            _rectangle(result, box, colours[class_id], opacity=1.0, width=1.8)
            result.text(
                max(box[0], 0), max(box[1], 0), f"{class_names[class_id]} {float(merged.scores[place]):.1f}",
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
    """(K', h, w): the probabilities of all classes but the background."""
    kept = [class_id for class_id in range(len(scale.probabilities)) if class_id != background]
    return scale.probabilities[kept]


def _backdrop(axes: Axes, picture: np.ndarray, title: str) -> None:
    """The picture, paled, so that what is drawn on it stands out."""
    paled = np.rint(255 - (255 - picture.astype(np.float32)) * 0.55).astype(np.uint8)
    axes.imshow(paled, extent=(0, picture.shape[1], picture.shape[0], 0))
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def _score_map(axes: Axes, scale: Scale, step: int, colours: np.ndarray, background: int | None) -> set[int]:
    """Draws a cell for every window; the classes that one can see."""
    windows = scale.windows[::step, ::step].numpy()
    probabilities = scale.probabilities[:, ::step, ::step].numpy().copy()
    if background is not None:
        probabilities[background] = 0
    likely = probabilities.argmax(0)
    opacity = probabilities.max(0)
    middle = (windows[..., :2] + windows[..., 2:]) / 2
    # Half a step to each side: a single row or column is as high or wide as the other axis's step, or a window.
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
