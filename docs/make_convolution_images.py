"""Draws the figures of docs/convolution.md.

python docs/make_convolution_images.py
"""

from __future__ import annotations

import numpy as np
import torch
from figures import save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from skimage import data as skimage_data
from torch import Tensor
from torch.nn import functional as F

from pixelwise.nn.receptive_field import Trace

PICTURE = torch.tensor([[1.0, 2, 0, 1], [0, 1, 3, 2], [2, 0, 1, 0], [1, 1, 0, 2]])
SOBEL = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
BLUR = torch.full((3, 3), 1 / 9)
SHARPEN = torch.tensor([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]])
ORANGE = "#d55e00"


def grid(axes: Axes, values: Tensor, title: str, *, top: float = 4.0, digits: str = ".3g", size: float = 9) -> None:
    """A small map as cells with their values, zeros as well; blue is positive, red negative."""
    axes.imshow(values, cmap="RdBu", vmin=-1.6 * top, vmax=1.6 * top)
    for (row, column), value in np.ndenumerate(values.numpy()):
        words = "1/9" if abs(value - 1 / 9) < 1e-6 else f"{value + 0.0:{digits}}"  # + 0.0: no "-0"
        axes.text(column, row, words, ha="center", va="center", fontsize=size)
    height, width = values.shape
    axes.set_xticks(np.arange(width + 1) - 0.5, labels=[])
    axes.set_yticks(np.arange(height + 1) - 0.5, labels=[])
    axes.grid(color="white", linewidth=1.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title, fontsize=9, loc="left")


def frame(axes: Axes, left: int, top: int, side: int) -> None:
    """A line around some cells."""
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, color=ORANGE, linewidth=2.5, zorder=3))


def the_sum() -> None:
    """Picture, filter, products and output, with the window at the top left."""
    output = F.conv2d(PICTURE[None, None], SOBEL[None, None])[0, 0]
    figure = Figure(figsize=(8, 2.3), layout="constrained")
    first, second, third, fourth = figure.subplots(1, 4, width_ratios=[4, 3, 3, 2])
    grid(first, PICTURE, "picture, and a window of it")
    grid(second, SOBEL, "filter")
    grid(third, PICTURE[:3, :3] * SOBEL, f"products, sum {float(output[0, 0]):g}")
    grid(fourth, output, "output")
    frame(first, 0, 0, 3)
    frame(third, 0, 0, 3)
    frame(fourth, 0, 0, 1)
    save(figure, "convolution_sum.png")


def templates() -> None:
    """What four filters give on a photograph."""
    picture = torch.from_numpy(skimage_data.camera()[40:296, 80:400].astype(np.float32) / 255)
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    cells = figure.subplots(2, 5, height_ratios=[1, 1.35])
    cells[0, 0].axis("off")
    cells[1, 0].imshow(picture, cmap="gray", vmin=0, vmax=1)
    cells[1, 0].set_title("picture", fontsize=9, loc="left")
    cells[1, 0].axis("off")
    kinds = (("Sobel", SOBEL), ("Sobel, turned", SOBEL.T), ("blur", BLUR), ("sharpening", SHARPEN))
    for column, (name, weights) in enumerate(kinds, start=1):
        grid(cells[0, column], weights, name, top=float(weights.abs().max()), digits=".2g", size=7.5)
        shown = F.conv2d(picture[None, None], weights[None, None])[0, 0]
        signed = bool(weights.sum().abs() < 1e-6)
        low, high, colours = (-1.5, 1.5, "RdBu") if signed else (0, 1, "gray")
        cells[1, column].imshow(shown, cmap=colours, vmin=low, vmax=high)
        cells[1, column].axis("off")
    save(figure, "convolution_templates.png")


def options() -> None:
    """Which pixels a filter covers at its first positions, with padding, stride and dilation."""
    cases = (
        ("none", 0, 1, 1),
        ("padding 1", 1, 1, 1),
        ("stride 2", 0, 2, 1),
        ("stride 2, padding 1", 1, 2, 1),
        ("dilation 2", 0, 1, 2),
        ("dilation 2, padding 2", 2, 1, 2),
    )
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, (name, padding, stride, dilation) in zip(figure.subplots(2, 6).T, cases, strict=True):
        side = 7 + 2 * padding
        picture = np.zeros((side, side))
        picture[padding : side - padding, padding : side - padding] = 1
        picture[: 2 * dilation + 1 : dilation, : 2 * dilation + 1 : dilation] += 2
        axes[0].imshow(picture, cmap="Blues", vmin=-0.5, vmax=4)
        size = (side - dilation * 2 - 1) // stride + 1
        axes[0].set_title(f"{name}\n7 x 7 pixels" + (" and zeros" if padding else ""), fontsize=8, loc="left")
        second = 2 * dilation + 1
        frame(axes[0], 0, 0, second)
        if side >= stride + second:
            axes[0].add_patch(
                Rectangle((stride - 0.5, -0.5), second, second, fill=False, color=ORANGE, linewidth=1, linestyle="--")
            )
        output = np.zeros((side, side))
        output[:] = np.nan
        output[:size, :size] = 1
        output[0, 0] = 3
        axes[1].imshow(output, cmap="Blues", vmin=-0.5, vmax=4)
        axes[1].set_title(f"output {size} x {size}", fontsize=8, loc="left")
        for each in axes:
            each.set_xlim(-0.7, 10.7)  # all at one scale
            each.set_ylim(10.7, -0.7)
            each.set_xticks(np.arange(side + 1) - 0.5, labels=[])
            each.set_yticks(np.arange(side + 1) - 0.5, labels=[])
            each.grid(color="white", linewidth=0.8)
            each.set_facecolor("none")
            each.tick_params(length=0)
            for spine in each.spines.values():
                spine.set_visible(False)
    save(figure, "convolution_options.png")


def matrix() -> None:
    """The matrix of the convolution at the top of the page, and its transpose."""
    pixels = torch.eye(16).reshape(16, 1, 4, 4)
    rows = F.conv2d(pixels, SOBEL[None, None]).reshape(16, 4).T
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    first, second = figure.subplots(1, 2, width_ratios=[16, 3.4])
    grid(first, rows, "the convolution: a row per output, a column per pixel", top=2, size=8)
    grid(second, rows.T, "transposed", top=2, size=6.5)
    for line in (3.5, 7.5, 11.5):
        first.axvline(line, color="#888888", linewidth=1)
        second.axhline(line, color="#888888", linewidth=1)
    save(figure, "convolution_matrix.png")


def pooling() -> None:
    """Max and average pooling."""
    figure = Figure(figsize=(6, 2.2), layout="constrained")
    first, second, third = figure.subplots(1, 3, width_ratios=[4, 2, 2])
    grid(first, PICTURE, "picture")
    for top in (0, 2):
        for left in (0, 2):
            frame(first, left, top, 2)
    grid(second, F.max_pool2d(PICTURE[None, None], 2)[0, 0], "largest")
    grid(third, F.avg_pool2d(PICTURE[None, None], 2)[0, 0], "mean")
    save(figure, "convolution_pooling.png")


def fields() -> None:
    """The pixels that the middle output depends on, layer by layer."""
    conv = torch.nn.Conv2d(1, 1, 3, padding=1, device="meta")
    pool = torch.nn.MaxPool2d(2)
    stacks = {
        "conv": [conv],
        "conv, conv": [conv, conv],
        "conv, conv, conv": [conv] * 3,
        "conv, pool": [conv, pool],
        "conv, pool, conv": [conv, pool, conv],
        "conv, pool, conv, pool, conv": [conv, pool, conv, pool, conv],
    }
    side = 24
    figure = Figure(figsize=(8, 1.75), layout="constrained")
    for axes, (name, layers) in zip(figure.subplots(1, 6), stacks.items(), strict=True):
        images = torch.zeros(1, 1, side, side, device="meta")
        trace = Trace(torch.nn.Sequential(*layers), images)
        middle = trace.outputs.shape[-1] // 2
        field = trace.field(trace.outputs, middle, middle)
        seen = np.zeros((side, side))
        seen[int(field.top) : int(field.bottom), int(field.left) : int(field.right)] = 1
        axes.imshow(seen, cmap="Blues", vmin=-0.3, vmax=1.6)
        layers_drawn = name.replace("pool, conv, pool", "pool, conv,\npool")
        axes.set_title(f"{layers_drawn}\n{field.height:g} x {field.width:g}", fontsize=8, loc="left")
        axes.set_xticks(np.arange(side + 1) - 0.5, labels=[])
        axes.set_yticks(np.arange(side + 1) - 0.5, labels=[])
        axes.grid(color="white", linewidth=0.4)
        axes.tick_params(length=0)
    save(figure, "convolution_fields.png")


if __name__ == "__main__":
    for draw in (the_sum, templates, options, matrix, pooling, fields):
        draw()
