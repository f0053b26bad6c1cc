"""Region proposals: the share of objects that the first 10 to 2,000 boxes cover, and the time to propose them.

    python benchmarks/proposals.py [--minutes 4] [--pictures 40] [--skip-coco]

The script compares selective search in its own order, the same boxes in the order of a blob scorer, and, as the obvious
alternative, a grid of windows of four sizes and three proportions. It trains the scorer for some minutes on the
training pictures, and measures all three on the validation pictures. The data is embedded scenes, and coco-mini under
$PIXELWISE_SHARED (default ../shared), of which half is held out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from torch import Tensor

from pixelwise import hardware
from pixelwise.cli.process import prepare_for_networks
from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import open_dataset
from pixelwise.data.objects import boxes_alone
from pixelwise.data.sample import Sample
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.data.targets import ObjectTargets, stack
from pixelwise.models.detect.proposals import BlobScorer
from pixelwise.models.detect.selective_search import selective_search
from pixelwise.nn.boxes import pairwise_iou

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
COUNTS = (10, 50, 100, 200, 500, 1000, 2000)
OVERLAPS = (0.5, 0.7)
PICTURES_PER_STEP = 4


def examples(dataset: Dataset, splits: Sequence[str], most: int) -> list[Sample]:
    """Loads at most `most` pictures of the given splits, and returns those with objects."""
    found = []
    for record in [record for split in splits for record in dataset.split(split)][:most]:
        sample = boxes_alone(dataset.load(record))
        if sample.instances is not None and len(sample.instances):
            found.append(sample)
    return found


def normalised(sample: Sample) -> Tensor:
    """(1, C, H, W) with mean 0 and standard deviation 1."""
    image = stack([sample.image]).float()
    return (image - image.mean()) / image.std().clamp_min(1e-6)


def trained(samples: Sequence[Sample], minutes: float) -> tuple[BlobScorer, int]:
    """Trains a scorer on pictures in random order for some minutes; returns it and the number of steps."""
    torch.manual_seed(0)
    scorer = BlobScorer(samples[0].image.shape[2])
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=2e-3)
    rng = np.random.default_rng(0)
    proposals = {sample.name: torch.from_numpy(selective_search(sample.image)) for sample in samples}
    began, steps = time.monotonic(), 0
    while (done := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 + np.cos(np.pi * done)) / 2
        loss = torch.zeros(())
        for number in rng.integers(0, len(samples), PICTURES_PER_STEP):
            sample = samples[number]
            image, boxes = normalised(sample), proposals[sample.name]
            targets = ObjectTargets.collate([sample])
            if rng.random() < 0.5:
                width = sample.image.shape[1]
                flip = torch.tensor([2, 1, 0, 3])
                image, boxes = image.flip(-1), mirrored(boxes, width)[:, flip]
                targets = ObjectTargets(mirrored(targets.boxes[0], width)[:, flip][None], targets.classes)
            loss = loss + scorer.losses(image, [boxes], targets)["blob"] / PICTURES_PER_STEP
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    return scorer.eval(), steps


def mirrored(boxes: Tensor, width: int) -> Tensor:
    """(M, 4) boxes with x counted from the right; the caller still has to exchange the left and right edges."""
    return boxes * torch.tensor([-1.0, 1.0, -1.0, 1.0]) + torch.tensor([float(width), 0.0, float(width), 0.0])


def grid(sample: Sample) -> Tensor:
    """(M, 4) windows of four sizes and three proportions, a quarter of their side apart, in random order."""
    height, width = sample.image.shape[:2]
    found = []
    for share in (0.15, 0.3, 0.5, 0.8):
        for ratio in (0.5, 1.0, 2.0):
            side = share * min(height, width)
            tall, wide = min(side * ratio**0.5, height), min(side / ratio**0.5, width)
            tops, lefts = np.arange(0, height - tall + 1e-6, tall / 4), np.arange(0, width - wide + 1e-6, wide / 4)
            top, left = (part.ravel() for part in np.meshgrid(tops, lefts, indexing="ij"))
            found.append(np.stack([left, top, left + wide, top + tall], 1))
    every = np.concatenate(found).astype(np.float32)
    return torch.from_numpy(np.random.default_rng(0).permutation(every))


def recall(samples: Sequence[Sample], ways: dict[str, Callable[[Sample], Tensor]]) -> None:
    """Prints the share of objects that the first boxes of each method cover, and the median seconds per picture."""
    objects = sum(len(sample.instances or ()) for sample in samples)
    print(f"\n{len(samples)} pictures with {objects} objects\n")
    print("| boxes | IoU | " + " | ".join(map(str, COUNTS)) + " | seconds |")
    print("|---" * (len(COUNTS) + 3) + "|")
    for way, propose in ways.items():
        hits = np.zeros((len(OVERLAPS), len(COUNTS)))
        seconds = []
        for sample in samples:
            assert sample.instances is not None
            began = time.monotonic()
            boxes = propose(sample)
            seconds.append(time.monotonic() - began)
            overlaps = pairwise_iou(torch.from_numpy(sample.instances.boxes).float(), boxes)
            for row, least in enumerate(OVERLAPS):
                for column, count in enumerate(COUNTS):
                    hits[row, column] += int((overlaps[:, :count].amax(1) >= least).sum())
        for row, least in enumerate(OVERLAPS):
            shares = " | ".join(f"{share:.3f}" for share in hits[row] / objects)
            print(f"| {way} | {least} | {shares} | {median(seconds):.2f} |", flush=True)


def table(name: str, dataset: Dataset, pictures: int, minutes: float) -> None:
    """Trains the scorer on the split `train` of a data set, and prints the table for the split `val`."""
    scorer, steps = trained(examples(dataset, ["train"], 10_000), minutes)
    print(f"\n## {name}: scorer trained for {steps} steps of {PICTURES_PER_STEP} pictures, {minutes:g} minutes")

    def scored(sample: Sample) -> Tensor:
        with torch.inference_mode():
            return scorer.ordered(normalised(sample), [torch.from_numpy(selective_search(sample.image))])[0]

    ways: dict[str, Callable[[Sample], Tensor]] = {
        "selective search": lambda sample: torch.from_numpy(selective_search(sample.image)),
        "selective search in the order of the blob scorer (boxes cached)": scored,
        "grid of windows": grid,
    }
    recall(examples(dataset, ["val"], pictures), ways)


def large() -> None:
    """Prints the seconds of a first search in pictures of different sizes and proportions."""
    rng = np.random.default_rng(0)
    print("\n| picture | boxes | seconds |\n|---|---|---|")
    for width, height in ((256, 192), (500, 375), (4000, 3000), (12000, 400), (100, 8000)):
        noise = rng.integers(0, 256, (max(height // 32, 2), max(width // 32, 2), 3)).astype(np.uint8)
        image = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        began = time.monotonic()
        count = len(selective_search(image))
        print(f"| {width} x {height} | {count} | {time.monotonic() - began:.2f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--skip-coco", action="store_true")
    options = parser.parse_args()
    prepare_for_networks()
    print(f"{time.strftime('%Y-%m-%d')}, {hardware.describe()}")
    large()
    with tempfile.TemporaryDirectory() as place:
        write_coco_scenes(Path(place) / "scenes", 120, 40)
        table("Scenes", open_dataset(Path(place) / "scenes"), options.pictures, options.minutes)
    if not options.skip_coco:
        coco = SHARED / "data" / "coco-mini"
        if coco.is_dir():
            table("coco-mini", open_dataset(coco, val_fraction=0.5), options.pictures, options.minutes)
        else:
            print(f"\n{coco}: no such folder, so coco-mini is left out")
