"""The sections of a report about the codes of pictures: where codes lie, what is between them, and sums of them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from torch import Tensor

from pixelwise.data.draw import palette, to_rgb
from pixelwise.data.splits import even_sample
from pixelwise.notebook import jpeg
from pixelwise.report.blocks import Figure, Figures, Grid, Picture, Section, Text
from pixelwise.report.figures import STYLE
from pixelwise.report.pictures import fitted_size, resized, svg

SIDE = 112  # pixels of the small pictures on the page
STRIP = 10
"""Pictures of a row, of an interpolation for example, including its ends."""
SUMS = 4
"""Number of sums of codes."""
TERMS = ("A", "− B", "+ C", "sum")


def scatter_section(codes: Tensor, classes: np.ndarray | None, names: Sequence[str]) -> Section:
    """The codes (N, D) of held-out pictures in two dimensions, see `draw_codes`."""
    with matplotlib.rc_context(STYLE):
        drawing = Drawing(figsize=(5.4, 4.2), layout="constrained")
        axes = drawing.add_subplot()
        draw_codes(axes, codes.float().cpu().numpy(), classes, names)
        if classes is not None and len(names) <= 20:
            axes.legend(fontsize=8, markerscale=2, loc="center left", bbox_to_anchor=(1.0, 0.5))
    words = "The two directions in which the codes' means vary most (principal components)."
    if names:
        words += " Colours are classes, which the network was not trained with."
    figure = Figure(svg(drawing, "codes of the pictures"), title="Held-out pictures by their codes")
    return Section("codes", "Codes", [Figures([figure]), Text(words, soft=True)])


def draw_codes(axes: Axes, codes: np.ndarray, classes: np.ndarray | None, names: Sequence[str]) -> None:
    """Draws codes (N, D) on their two principal components, in the colours of their classes (N,) if these are known."""
    centred = codes - codes.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(codes), 2))
    points[:, : min(2, len(directions))] = centred @ directions[:2].T
    if classes is None:
        axes.scatter(points[:, 0], points[:, 1], s=6, linewidths=0)
    else:
        colours = palette(len(names), None) / 255
        for class_id, name in enumerate(names):
            own = points[classes == class_id]
            axes.scatter(own[:, 0], own[:, 1], s=6, linewidths=0, color=[colours[class_id]], label=name)
    axes.set(xlabel="first principal component", ylabel="second", aspect="equal")


def interpolation_section(strips: Sequence[np.ndarray], kind: str) -> Section:
    """Rows of pictures (STRIP, H, W, C) between two pictures of a kind, such as `held-out`."""
    words = f"Each row leads from one {kind} picture to another, in equal steps between their codes."
    return Section("interpolation", "Interpolation", [*map(strip, strips), Text(words, soft=True)])


def arithmetic_section(sums: Sequence[Sequence[np.ndarray]], words: str) -> list[Section]:
    """Pictures A, B and C (H, W, C), and the picture of the code A - B + C; nothing if there are none."""
    if not sums:
        return []
    shown = [small(one, label, (label,)) for pictures in sums for label, one in zip(TERMS, pictures, strict=True)]
    return [Section("arithmetic", "Arithmetic", [Grid(shown, columns=8, narrow=4), Text(words, soft=True)])]


def far_apart(codes: Tensor, count: int = 3) -> list[tuple[int, int]]:
    """Pairs of pictures: each of the first few, with the picture whose code is farthest from it."""
    few = min(count, len(codes))
    distances = torch.cdist(codes[:few].float(), codes.float())
    return [(number, int(distances[number].argmax())) for number in range(few)]


def sum_terms(codes: Tensor, classes: np.ndarray | None) -> list[tuple[int, int, int]]:
    """Triples of pictures A, B and C for sums of their codes (N, D).

    A and B are of one class and far apart, and C is of another class, so that the sum carries what differs within a
    class over to another one. Without classes A and B are far apart, and C is any other picture.
    """
    found = []
    for first in even_sample(range(len(codes)), SUMS):
        alike = np.ones(len(codes), bool) if classes is None else classes == classes[first]
        distances = torch.cdist(codes[[first]].float(), codes.float())[0].cpu().numpy()
        second = int(np.where(alike, distances, -1.0).argmax())
        others = np.flatnonzero(~alike) if classes is not None else np.setdiff1d(np.arange(len(codes)), [first, second])
        if second != first and len(others):
            found.append((first, second, int(others[np.searchsorted(others, first) % len(others)])))
    return found


def strip(pictures: np.ndarray) -> Grid:
    """A row of pictures (STRIP, H, W, C)."""
    return Grid([small(one, "a picture of the row") for one in pictures], columns=STRIP, narrow=STRIP // 2)


def small(image: np.ndarray, alt: str, captions: tuple[str, ...] = ()) -> Picture:
    """A small picture (H, W, C) on the page."""
    size = fitted_size(image, SIDE, enlarge=True)
    return Picture(jpeg(np.ascontiguousarray(resized(to_rgb(image), size))), size, captions, alt)
