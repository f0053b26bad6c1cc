"""Makes the pictures of the pages on models of pictures.

python docs/make_generative_images.py contexts
python docs/make_generative_images.py growing
python docs/make_generative_images.py completions runs/pixelrnn_row-mnist mnist-test/7/0.png mnist-test/2/1.png
python docs/make_generative_images.py codes runs/autoencoder-mnist runs/vae-mnist
python docs/make_generative_images.py growth runs/progressive_gan-mnist
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from figures import IMAGES, save
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from torch import nn

import pixelwise
from pixelwise.catalog import create_model
from pixelwise.data.draw import to_rgb
from pixelwise.data.pictures import write_png
from pixelwise.data.splits import even_sample
from pixelwise.models.generate.progressive_gan import COARSEST
from pixelwise.report.figures import ACCENT, STYLE
from pixelwise.tasks.generate.code_report import draw_codes
from pixelwise.tasks.generate.task import sheet
from pixelwise.training.opening import open_recipe_data
from pixelwise.training.run import open_run

SIDE, ROW, COLUMN = 17, 11, 8
"""Side of the map, and the position whose prediction is asked for."""
PLOTTED = 1500
"""Held-out pictures whose codes are drawn."""
MOMENTS = 600
"""Moments of a run in the figure of the blocks that are used."""
STAGES = 5
"""Moments of a run in the figure of its growth."""
GAP = 24
"""Columns between the moments, in pixels."""
LATER, SEEN, UNSEEN, ITSELF = range(4)
COLOURS = ("#eeeeee", "#56b4e9", "#e69f00", "#000000")
NETWORKS = {
    "PixelCNN": ("pixelcnn", {"blocks": 12, "width": 8, "head": 16}),
    "gated PixelCNN": ("gated_pixelcnn", {"layers": 12, "width": 8, "head": 16}),
    "Row LSTM": ("pixelrnn_row", {"layers": 1, "width": 8, "head": 16}),
    "Diagonal BiLSTM": ("pixelrnn_diagonal", {"layers": 1, "width": 8, "head": 16}),
}


def context(name: str, options: dict[str, int]) -> np.ndarray:
    """(SIDE, SIDE): what the prediction at one position depends on, by the gradient of networks with random weights."""
    seen = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    for seed in range(4):  # each leaves other units dead under ReLU
        torch.manual_seed(seed)
        network = create_model(name, size=(SIDE, SIDE), **options).double()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
        images = torch.rand(1, 1, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(images)[0, 0, 0, ROW, COLUMN], images)
        seen |= gradient[0, 0] != 0
    order = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    found = np.where(order < order[ROW, COLUMN], UNSEEN, LATER)
    found[seen.numpy()] = SEEN
    found[ROW, COLUMN] = ITSELF
    return found


def draw_context(axes: Axes, title: str, found: np.ndarray) -> None:
    """Draws a map of `context` with its grid."""
    axes.imshow(found, cmap=ListedColormap(COLOURS), vmin=0, vmax=3)
    axes.set_xticks(np.arange(SIDE + 1) - 0.5, [])
    axes.set_yticks(np.arange(SIDE + 1) - 0.5, [])
    axes.grid(color="white", linewidth=0.8)
    axes.tick_params(length=0)
    axes.set_title(f"{title}\n{np.sum(found == UNSEEN)} of {ROW * SIDE + COLUMN} unseen", fontsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)


def contexts() -> None:
    """What each autoregressive network sees of the earlier pixels (figures 2 and 4 of the papers, measured)."""
    drawing = Figure(figsize=(8.4, 2.9), layout="constrained")
    for axes, (title, (name, options)) in zip(drawing.subplots(1, 4), NETWORKS.items(), strict=True):
        draw_context(axes, title, context(name, options))
    words = ("later pixels", "seen", "earlier, but unseen", "the predicted pixel")
    patches = [Patch(color=colour, label=label) for colour, label in zip(COLOURS, words, strict=True)]
    drawing.legend(handles=patches, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    save(drawing, "pixelcnn_contexts")


def completions(run: Path, pictures: list[Path]) -> None:
    """Completions of the lower halves of pictures, a row per picture."""
    rows = []
    for picture in pictures:
        with tempfile.TemporaryDirectory() as folder:
            pixelwise.sample(run, folder, count=9, complete=picture)
            made = [np.asarray(Image.open(file)) for file in sorted(Path(folder).glob("[0-9]*.png"))]
        given = np.asarray(Image.open(picture))
        rows += [to_rgb(given), *(to_rgb(each) for each in made)]
    write_png(IMAGES / "completions.png", sheet(np.stack(rows), columns=10))


def codes(runs: list[Path]) -> None:
    """Codes of held-out pictures on their two principal components, a network beside the other, by class."""
    drawing = Figure(figsize=(8.4, 3.9), layout="constrained")
    for axes, run in zip(drawing.subplots(1, len(runs)), runs, strict=True):
        predictor = pixelwise.load(run)
        dataset = open_recipe_data(open_run(run).planned)
        records = even_sample(dataset.split("val"), PLOTTED)
        prepared = [predictor.inference.prepare(dataset.read(record)) for record in records]
        found = np.concatenate(
            [
                [each.code for each in predictor.inference.measured(prepared[start : start + 100])]
                for start in range(0, len(prepared), 100)
            ]
        )
        draw_codes(axes, found, np.array([record.class_id for record in records]), dataset.class_names)
        axes.set_title(f"{predictor.spec.model}: standard deviation of the codes {found.std():.2f}", fontsize=9)
    drawing.legend(*drawing.axes[-1].get_legend_handles_labels(), loc="outside right", markerscale=2, fontsize=8)
    save(drawing, "codes")


def growing() -> None:
    """The blocks that both networks of a progressive GAN use over a run (figure 1 of the paper)."""
    network: Any = create_model("progressive_gan")
    channels = [layer.weight.shape[1] for layer in network.generator.to_rgb]
    progress = np.linspace(0, 1, MOMENTS)
    used = np.zeros((len(channels), MOMENTS))
    for column, moment in enumerate(progress):
        network.grow(float(moment))
        stage, share = network.generator.stage
        used[:stage, column] = 1
        used[stage, column] = share
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(7.6, 3.4), layout="constrained")
        axes = drawing.add_subplot()
        shades = LinearSegmentedColormap.from_list("used", ("white", ACCENT))
        axes.imshow(
            used,
            cmap=shades,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            extent=(0, 1, -0.5, len(channels) - 0.5),
            vmax=1.3,
        )
        axes.hlines(np.arange(len(channels)) - 0.5, 0, 1, color="white", linewidth=2)
        sides = [COARSEST << stage for stage in range(len(channels))]
        names = [f"{side} x {side}, {count} channels" for side, count in zip(sides, channels, strict=True)]
        axes.set_yticks(range(len(channels)), names)
        axes.set(xlabel="share of the run")
        save(drawing, "growing.png")


def growth(run: Path) -> None:
    """Pictures of the same noise over a run, from coarse to fine."""
    files = [file for _, file in open_run(run).snapshots("samples")]
    chosen = [files[round(number)] for number in np.linspace(0, len(files) - 1, STAGES)]
    sheets = [np.asarray(Image.open(file).convert("RGB")) for file in chosen]
    side = sheets[0].shape[0] // 2
    gap = np.full((side, GAP, 3), 255, np.uint8)
    parts = [part for each in sheets for part in (each[:side, :side], gap)]
    write_png(IMAGES / "growth.png", np.hstack(parts[:-1]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["codes"]:
        codes([Path(run) for run in sys.argv[2:]])
    elif sys.argv[1:2] == ["growth"]:
        growth(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["completions"]:
        completions(Path(sys.argv[2]), [Path(picture) for picture in sys.argv[3:]])
    else:
        {"contexts": contexts, "growing": growing}[sys.argv[1]]()
