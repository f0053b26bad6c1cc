"""Lovász softmax, confusion matrix and dense CRF against straightforward code, and what refinement gains.

The straightforward (plain) code is what one would write first: Lovász softmax as in algorithm 1 of its paper (one-hot
truth, a sort of all pixels per class, differences of successive losses), a confusion matrix from masked int64 indices,
and a CRF whose kernels are matrices. Plain code and ours run alternately in one process, and medians are compared.
Memory is the peak of all tensors that are made inside.

    python benchmarks/losses_and_crf.py [--repeats 5]
    python benchmarks/losses_and_crf.py --run RUN [--data DATA] [--search 60]

The second command measures a trained network on the validation pictures of its data, with and without refinement. With
--search N it also tries several CRFs on the first N training pictures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from skimage import data
from torch import Tensor
from torch.nn import functional as F

from pixelwise import api, hardware
from pixelwise.data.formats import open_dataset
from pixelwise.inference.engine import _LiveBytes
from pixelwise.losses import lovasz_softmax
from pixelwise.metrics import BoundaryScore, ConfusionMatrix
from pixelwise.nn.crf import BruteForce, DenseCRF, Kernel
from pixelwise.nn.permutohedral import Permutohedral
from pixelwise.tasks.segment import refinement
from pixelwise.tasks.segment.task import Segment
from pixelwise.training.finish import evaluate_split
from pixelwise.training.opening import open_recipe_data
from pixelwise.training.run import open_run
from speed import in_turn

HEIGHT, WIDTH, BATCH, CLASSES = 352, 480, 4, 11


def plain_lovasz(logits: Tensor, target: Tensor) -> Tensor:
    probabilities = logits.softmax(1).permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    counted = target.flatten() != 255
    probabilities, truth = probabilities[counted], F.one_hot(target.flatten()[counted], logits.shape[1]).to(logits)
    losses = []
    for k in range(logits.shape[1]):
        if truth[:, k].sum() == 0:
            continue
        errors, order = torch.sort((truth[:, k] - probabilities[:, k]).abs(), descending=True)
        foreground = truth[order, k]
        intersection = foreground.sum() - foreground.cumsum(0)
        union = foreground.sum() + (1 - foreground).cumsum(0)
        jaccard = 1 - intersection / union
        jaccard[1:] = jaccard[1:] - jaccard[:-1].clone()
        losses.append(torch.dot(errors, jaccard))
    return torch.stack(losses).mean()


def plain_confusion(prediction: Tensor, target: Tensor) -> Tensor:
    counted = target != 255
    pairs = target[counted].long() * CLASSES + prediction[counted].long()
    return torch.bincount(pairs, minlength=CLASSES**2).view(CLASSES, CLASSES)


def labels(generator: torch.Generator) -> Tensor:
    """(N, H, W) masks of 16 x 16 patches, each of one class; a twentieth of the patches is void."""
    coarse = torch.randint(0, CLASSES, (BATCH, HEIGHT // 16, WIDTH // 16), generator=generator)
    coarse[torch.rand(coarse.shape, generator=generator) < 0.05] = 255
    return coarse.repeat_interleave(16, 1).repeat_interleave(16, 2)


def peak_megabytes(action: Callable[[], object]) -> float:
    with _LiveBytes() as memory:
        action()
    return memory.peak / 1e6


def compare(name: str, plain: Callable[[], object], ours: Callable[[], object], repeats: int) -> None:
    seconds = in_turn({"plain": plain, "ours": ours}, repeats)
    slow, fast = seconds["plain"], seconds["ours"]
    memory = f"{peak_megabytes(plain):.0f} MB | {peak_megabytes(ours):.0f} MB"
    print(f"| {name} | {1e3 * slow:.1f} ms | {1e3 * fast:.1f} ms | {slow / fast:.1f} | {memory} |", flush=True)


def gradient(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor) -> Tensor:
    logits = logits.detach().requires_grad_()
    return torch.autograd.grad(loss(logits, target), logits)[0]


def lovasz_rows(repeats: int) -> None:
    generator = torch.Generator().manual_seed(0)
    target = labels(generator)
    noise = torch.randn(BATCH, CLASSES, HEIGHT, WIDTH, generator=generator)
    hot = F.one_hot(target.where(target != 255, 0), CLASSES).movedim(3, 1)
    for name, certainty in (("untrained", 0.0), ("half-trained", 3.0), ("trained", 10.0)):
        logits = (noise + certainty * hot).to(memory_format=torch.channels_last).requires_grad_()

        def both(loss: Callable[[Tensor, Tensor], Tensor], given: Tensor = logits) -> Callable[[], object]:
            return lambda: loss(given, target).backward()

        compare(f"Lovász softmax and its gradient, {name} network", both(plain_lovasz), both(lovasz_softmax), repeats)
        exact = gradient(plain_lovasz, logits.double(), target)
        plain, ours = (
            float((gradient(loss, logits, target) - exact).abs().mean() / exact.abs().mean())
            for loss in (plain_lovasz, lovasz_softmax)
        )
        print(f"| (error of its gradient in float32: plain {plain:.0e}, ours {ours:.0e}) | | | | | |", flush=True)


def confusion_row(repeats: int) -> None:
    generator = torch.Generator().manual_seed(0)
    target = labels(generator)
    prediction = torch.randint(0, CLASSES, target.shape, generator=generator)
    as_bytes, prediction_bytes = target.to(torch.uint8), prediction.to(torch.uint8)
    matrix = ConfusionMatrix(CLASSES)
    compare(
        "confusion matrix",
        lambda: plain_confusion(prediction_bytes, as_bytes),
        lambda: matrix.update(prediction_bytes, as_bytes),
        repeats,
    )


def smooth_probabilities(height: int, width: int) -> Tensor:
    coarse = torch.randn(1, CLASSES, height // 8 + 2, width // 8 + 2, generator=torch.Generator().manual_seed(0))
    return F.interpolate(4 * coarse, (height, width), mode="bicubic")[0].softmax(0)


def photograph(height: int, width: int) -> Tensor:
    return torch.from_numpy(cv2.resize(data.astronaut(), (width, height), interpolation=cv2.INTER_AREA))


def crf_rows(repeats: int) -> None:
    for side in (32, 64, 96):
        image, given = photograph(side, side), smooth_probabilities(side, side)
        plain, ours = DenseCRF(exact=True), DenseCRF()
        compare(
            f"CRF, {side} x {side}, {ours.iterations} iterations",
            lambda: plain(image, given),  # noqa: B023 - called before the next picture
            lambda: ours(image, given),  # noqa: B023
            repeats,
        )


def filter_errors() -> None:
    """Compares the bilateral filter, normalised as in the CRF, with its definition."""
    print("\n| bilateral filter on | positions, colours | mean neighbours | relative error (L2) | largest |")
    print("|---|---|---|---|---|")
    whole = data.astronaut()
    crops = {
        "32 x 32 detail": whole[100:132, 200:232],
        "32 x 32 of a whole photograph": photograph(32, 32).numpy(),
        "64 x 64 detail": whole[80:144, 180:244],
        "96 x 96 of a whole photograph": photograph(96, 96).numpy(),
    }
    for name, crop in crops.items():
        height, width = crop.shape[:2]
        values = smooth_probabilities(height, width).flatten(1).T.contiguous()
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        for position, colour in ((8.0, 20.0), (50.0, 10.0), (50.0, 30.0)):
            colours = torch.from_numpy(np.ascontiguousarray(crop)) / colour
            features = torch.cat([torch.stack([y, x], -1) / position, colours], -1).view(-1, 5)
            exact_filter, fast_filter = BruteForce(features), Permutohedral(features)
            neighbours = float(exact_filter(torch.ones(len(features), 1)).mean())
            exact, fast = (
                Kernel.normalised(each, 1.0, len(features), values.device)(values)
                for each in (exact_filter, fast_filter)
            )
            error = (fast - exact).abs()
            print(
                f"| {name} | {position:g}, {colour:g} | {neighbours:.0f} "
                f"| {100 * float(error.norm() / exact.norm()):.1f} % | {float(error.max()):.3f} |",
                flush=True,
            )


def seconds_a_picture() -> None:
    image, given = photograph(360, 480), smooth_probabilities(360, 480)
    mask = given.argmax(0).to(torch.uint8).numpy()
    shifted = np.roll(mask, 3, 1)
    score = BoundaryScore([str(k) for k in range(CLASSES)])
    times = in_turn(
        {
            "CRF, kernels of the picture": lambda: DenseCRF().kernels(image),
            f"CRF, all, {DenseCRF().iterations} iterations": lambda: DenseCRF()(image, given),
            "superpixel majority": lambda: refinement.superpixel_majority(image.numpy(), given),
            "boundary score": lambda: score.update(shifted, mask),
        },
        5,
    )
    print("\n| 360 x 480, 11 classes | seconds per picture | peak memory |")
    print("|---|---|---|")
    for name, seconds in times.items():
        memory = f"{peak_megabytes(lambda: DenseCRF()(image, given)):.0f} MB" if "all" in name else ""
        print(f"| {name} | {seconds:.3f} | {memory} |", flush=True)


def measure_run(run: Path, folder: Path | None, search: int) -> None:
    existing = open_run(run)
    dataset = open_dataset(folder) if folder is not None else open_recipe_data(existing.planned)
    rarest = min(existing.metrics["iou"], key=lambda name: existing.metrics["iou"][name] or 1.0)

    def heading(pictures: str) -> None:
        print(f"\n| {pictures} | mean IoU | pixel accuracy | boundary F | {rarest} (worst) | s per picture |")
        print("|---|---|---|---|---|---|")

    def row(name: str, of: Any, split: str) -> None:
        result = evaluate_split(api.load(run, refine=of), Segment(), dataset, split, run)
        summary = result.summary
        print(
            f"| {name} | {summary['mean_iou']:.4f} | {summary['pixel_accuracy']:.4f} | {summary['boundary_f']:.4f} "
            f"| {summary['iou'][rarest] or 0:.4f} | {result.seconds / summary['pictures']:.3f} |",
            flush=True,
        )

    heading("validation")
    for name in refinement.REFINEMENTS:
        row(name, name, "val")
    if not search:
        return
    heading(f"first {search} training pictures")
    dataset = replace(dataset, splits={**dataset.splits, "search": dataset.splits["train"][:search]})
    row("none", "none", "search")
    for gaussian, bilateral, position, colour in (
        (0.5, 1.0, 50, 10), (0.0, 1.0, 50, 10), (1.0, 2.0, 50, 10), (3.0, 5.0, 50, 10), (3.0, 5.0, 50, 5),
        (1.0, 2.0, 20, 5), (1.0, 2.0, 50, 5), (1.0, 2.0, 80, 13), (3.0, 0.0, 50, 10), (1.0, 0.5, 50, 10),
    ):  # fmt: skip
        crf = DenseCRF(gaussian_weight=gaussian, bilateral_weight=bilateral, bilateral_std=position, colour_std=colour)
        refinement.REFINEMENTS["tried"] = lambda image, p, crf=crf: crf(torch.from_numpy(image), p)  # type: ignore[misc]
        row(f"weights {gaussian:g}, {bilateral:g}; {position} pixels, {colour} levels", "tried", "search")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--run", type=Path, help="measure refinement with this trained network instead")
    parser.add_argument("--data", type=Path, help="folder of the data (default: the run's own)")
    parser.add_argument("--search", type=int, default=0, help="training pictures on which to try several CRFs")
    arguments = parser.parse_args()
    hardware.keep_freed_memory()
    facts = hardware.describe()
    print(f"{time.strftime('%Y-%m-%d')}, {facts['processor']}, {facts['threads']} threads, torch {facts['torch']}")
    if arguments.run is not None:
        measure_run(arguments.run, arguments.data, arguments.search)
        return
    print(f"\n{BATCH} pictures of {HEIGHT} x {WIDTH}, {CLASSES} classes, logits channels last\n")
    print("| what | plain | ours | ratio | plain, memory | ours, memory |")
    print("|---|---|---|---|---|---|")
    lovasz_rows(arguments.repeats)
    confusion_row(arguments.repeats)
    crf_rows(1 if arguments.repeats < 3 else 3)
    filter_errors()
    seconds_a_picture()


if __name__ == "__main__":
    main()
