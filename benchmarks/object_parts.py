"""The parts of detectors against straightforward loops: speed, fidelity of masks, and memory.

    python benchmarks/object_parts.py [--repeats 7]

Each part of `nn/` replaces a loop over boxes, masks or objects. The loops are below, as one would write them first. The
script checks that loop and part return the same, times them alternately in one process, and compares medians. A
training step of Mask R-CNN is that of `pixelwise train mask_rcnn`, against the same network eager, in float32 and NCHW.
Each peak of memory is measured in a separate process. The picture with the most nuclei comes from
../shared/data/nuclei ($PIXELWISE_SHARED).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise import hardware
from pixelwise.catalog import create_model
from pixelwise.data.augment import Augmentation
from pixelwise.data.formats import open_dataset
from pixelwise.data.loader import collate
from pixelwise.data.pictures import PictureFormat, write_png
from pixelwise.data.sample import Sample
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.data.targets import ObjectTargets
from pixelwise.inference.rasters import open_raster
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.boxes import iou, pairwise_iou
from pixelwise.nn.mask_paste import crop_masks, paste_masks
from pixelwise.nn.matcher import BACKGROUND, BETWEEN, Matcher
from pixelwise.nn.nms import nms
from pixelwise.nn.roi_align import pyramid_levels, roi_align
from pixelwise.tasks.objects.inference import ObjectInference, ObjectOptions, coco_entry
from pixelwise.tasks.objects.scores import ObjectScores
from pixelwise.tasks.objects.task import ObjectCrops, objects_alone
from pixelwise.training.loaders import train_loaders
from pixelwise.training.recipes import load_recipe
from pixelwise.training.session import start
from speed import in_turn, the_plain_way

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
STRIDES = (4, 8, 16, 32)
SIDES = (8, 16, 32, 64)
STEP_REPEATS = 3
"""Largest number of training steps that are timed, since each takes seconds."""
MAX_GB = 2.0
"""Limit for the peaks of memory."""

Pair = tuple[str, Callable[[], Any], Callable[[], Any]]
"""A comparison: its name, the loop, and the part of `nn/`."""


def random_boxes(count: int, height: int, width: int, sides: tuple[float, float], draw: torch.Generator) -> Tensor:
    """(count, 4) xyxy within a picture; the logarithms of the sides are distributed uniformly."""
    low, high = (torch.tensor(side).log() for side in sides)
    size = (low + (high - low) * torch.rand(count, 2, generator=draw)).exp()
    room = torch.tensor([width, height]) - size
    corner = torch.rand(count, 2, generator=draw) * room
    return torch.cat([corner, corner + size], 1)


def roi_align_pair() -> Pair:
    """512 regions on a pyramid of 128 channels for a picture of 512 x 512 pixels, 7 x 7 bins of 2 x 2 points."""
    draw = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, 128, 512 // stride, 512 // stride, generator=draw) for stride in STRIDES]
    boxes = random_boxes(512, 512, 512, (8, 400), draw)
    pictures = torch.zeros(len(boxes), dtype=torch.long)

    def loop() -> Tensor:
        levels = pyramid_levels(boxes, len(maps)).tolist()
        return torch.stack(
            [bins_of(maps[level], STRIDES[level], box) for box, level in zip(boxes, levels, strict=True)]
        )

    return "RoIAlign, 512 regions", loop, lambda: roi_align(maps, boxes, pictures, STRIDES, 7)


def bins_of(values: Tensor, stride: int, box: Tensor, size: int = 7, samples: int = 2) -> Tensor:
    """(1, C, H, W) -> (C, size, size): the bins of one region, by bilinear interpolation at their points."""
    begin = box[:2] / stride
    side = (box[2:] / stride - begin).clamp_min(1)
    steps = (torch.arange(size * samples) + 0.5) / (size * samples)
    x, y = (begin[axis] + side[axis] * steps for axis in (0, 1))
    last = torch.tensor([values.shape[-1] - 1, values.shape[-2] - 1])
    grid = torch.stack(torch.meshgrid(2 * x / last[0] - 1, 2 * y / last[1] - 1, indexing="xy"), -1)[None]
    points = F.grid_sample(values, grid, padding_mode="border", align_corners=True)
    return F.avg_pool2d(points, samples)[0]


def nms_pair(count: int = 2000) -> Pair:
    """2,000 boxes in overlapping groups, as from a detector."""
    draw = torch.Generator().manual_seed(0)
    objects = random_boxes(200, 512, 512, (10, 200), draw)
    boxes = objects.repeat(count // len(objects), 1) + 4 * torch.randn(count, 4, generator=draw)
    scores = torch.rand(count, generator=draw)

    def loop() -> Tensor:
        order, kept = scores.argsort(descending=True, stable=True), []
        while len(order):
            kept.append(order[0])
            order = order[1:][iou(boxes[order[0]], boxes[order[1:]]) <= 0.5]
        return torch.stack(kept)

    return f"NMS, {count:,} boxes", loop, lambda: nms(boxes, scores, 0.5)


def paste_pair(count: int = 100) -> Pair:
    """100 masks of 28 x 28 in a picture of 800 x 1,200 pixels; the loop interpolates at every pixel of the picture."""
    draw = torch.Generator().manual_seed(0)
    height, width = 800, 1200
    boxes = random_boxes(count, height, width, (10, 400), draw)
    masks = F.avg_pool2d(torch.rand(count, 1, 30, 30, generator=draw), 3, 1)[:, 0]

    def loop() -> list[np.ndarray]:
        return [pasted(mask, box, height, width) for mask, box in zip(masks, boxes, strict=True)]

    return f"mask pasting, {count} masks", loop, lambda: paste_masks(masks, boxes, (height, width))


def pasted(mask: Tensor, box: Tensor, height: int, width: int) -> np.ndarray:
    """(S, S) mask of a box -> (H, W) bool mask of the picture."""
    left, top, right, bottom = box
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    inside = ((y > top) & (y < bottom))[:, None] & ((x > left) & (x < right))
    across, down = 2 * (x - left) / (right - left) - 1, 2 * (y - top) / (bottom - top) - 1
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), -1)[None]
    found = F.grid_sample(mask[None, None], grid, padding_mode="border", align_corners=False)[0, 0]
    return ((found >= 0.5) & inside).numpy()


def matcher_pair(objects: int = 100) -> Pair:
    """Matches 100 objects to the 65,472 anchors of a picture of 512 x 512 pixels; the loop runs over the objects."""
    draw = torch.Generator().manual_seed(0)
    network = create_model("mask_rcnn", num_classes=2, encoder="mobilenet_v2", width=16, hidden=16)
    maps = [torch.zeros(1, 1, 512 // stride, 512 // stride) for stride in (*STRIDES, 64)]
    anchors = torch.cat(network.rpn.anchors(maps, (512, 512)))
    boxes = random_boxes(objects, 512, 512, (10, 200), draw)
    matcher = Matcher(0.7, 0.3, every_object=True)

    def loop() -> Tensor:
        best, matches = torch.full((len(anchors),), -1.0), torch.zeros(len(anchors), dtype=torch.long)
        own_best = []
        for number, box in enumerate(boxes):
            overlap = iou(box, anchors)
            better = overlap > best
            matches[better], best[better] = number, overlap[better]
            own_best.append(overlap)
        found = matches.clone()
        found[best < 0.7] = BETWEEN
        found[best < 0.3] = BACKGROUND
        for overlap in own_best:
            nearest = (overlap == overlap.max()) & (overlap > 0)
            found[nearest] = matches[nearest]
        return found

    return f"matcher, {objects} objects, {len(anchors):,} anchors", loop, lambda: matcher(pairwise_iou(boxes, anchors))


def check_alike(name: str, plain: Any, ours: Any) -> None:
    """Stops the measurement if the results of the loop and of the part differ."""
    if isinstance(plain, Tensor):
        alike = torch.allclose(plain.float(), ours.float(), atol=1e-4)
    else:
        alike = all(np.array_equal(whole[piece.window], piece.mask) for whole, piece in zip(plain, ours, strict=True))
        alike &= all(whole.sum() == piece.mask.sum() for whole, piece in zip(plain, ours, strict=True))
    if not alike:
        raise SystemExit(f"{name}: the results of the loop and of the part differ")


def steps(folder: Path) -> tuple[str, dict[str, Callable[[], object]]]:
    """Name, and training steps on the same crops: as one would write it first, and as `pixelwise train` runs it."""
    write_coco_scenes(folder / "scenes", train=16, val=2, size=(256, 256))
    recipe = load_recipe("mask_rcnn", {"data.path": str(folder / "scenes"), "train.epochs": 1.0, "train.batch_size": 8})
    session = start(recipe, name="mask_rcnn", out=str(folder / "run"))
    planned, data = session.recipe, session.data
    loaders = train_loaders(planned, data.dataset, data.cache, data.task, session.method)
    batch = collate([loaders["labelled"].crop(number) for number in range(planned.train.batch_size)], ObjectTargets)
    network: Any = create_model(planned.model.name, **data.task.network_options(planned, data.facts)).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    mean, std = (torch.tensor(values)[:, None, None] for values in (planned.normalize.mean, planned.normalize.std))

    def plain() -> None:
        images = (batch.images.float().contiguous() - mean) / std
        optimizer.zero_grad()
        network.losses(images, batch.targets)["loss"].backward()
        optimizer.step()

    height, width = batch.images.shape[-2:]
    name = f"training step of Mask R-CNN, {len(batch.images)} crops of {height} x {width}"
    return name, {"plain": the_plain_way(plain), "ours": lambda: session.method.step({"labelled": batch}, 0.5)}


def round_trips(side: int, placements: int = 50) -> list[float]:
    """IoUs of discs of a given diameter with what is decoded from their 28 x 28 masks, at random positions; sorted."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: side + 16, : side + 16] + 0.5
    overlaps = []
    for _ in range(placements):
        y, x = side / 2 + 8 + rng.random(2)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < (side / 2) ** 2
        inside = np.argwhere(disc)
        (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
        box = torch.tensor([[left, top, right, bottom]]).float()
        ids = torch.from_numpy(disc.astype(np.int32))[None]
        (piece,) = paste_masks(crop_masks(ids, box, torch.tensor([0]), torch.tensor([1]), 28), box, disc.shape)
        again = np.zeros_like(disc)
        again[piece.window] = piece.mask
        overlaps.append((again & disc).sum() / (again | disc).sum())
    return sorted(overlaps)


def write_ellipses(folder: Path, count: int = 300, size: tuple[int, int] = (3000, 4000)) -> None:
    """Writes a picture of 12 megapixels with ellipses and its label map, for training and for validation."""
    rng = np.random.default_rng(0)
    ids = np.zeros(size, np.uint16)
    for number in range(1, count + 1):
        centre = tuple(int(value) for value in (rng.integers(size[1]), rng.integers(size[0])))
        axes = tuple(int(value) for value in rng.integers(15, 90, 2))
        cv2.ellipse(ids, centre, axes, float(rng.integers(180)), 0, 360, number, -1)
    picture = np.where(ids[:, :, None] > 0, 180, 60).astype(np.uint8) + rng.integers(0, 40, (*size, 3), np.uint8)
    for split in ("train", "val"):
        write_png(folder / split / "images" / f"{split}.png", picture)
        write_png(folder / split / "labels" / f"{split}.png", ids)


def fullest(root: Path) -> str:
    """The name of the record of a folder that has the most objects."""
    dataset = open_dataset(root)
    records = [record for split in ("train", "val") for record in dataset.split(split)]
    return max(records, key=lambda record: len(dataset.load(record, objects=True).instances or ())).name


def sample_of(root: Path, name: str) -> Sample:
    """Loads the record of a folder that has this name."""
    dataset = open_dataset(root)
    records = [record for split in ("train", "val") for record in dataset.split(split)]
    return dataset.load(next(record for record in records if record.name == name), objects=True)


def network_and_spec(objects: int) -> tuple[nn.Module, ModelSpec]:
    """The recipe's Mask R-CNN with random weights, which detects at most `objects` objects per tile."""
    torch.manual_seed(0)
    options = dict(load_recipe("mask_rcnn", {}).model.options) | {"num_classes": 2, "detections": objects}
    network = create_model("mask_rcnn", **options)
    names = ("background", "nucleus")
    return network, ModelSpec("mask_rcnn", options, names, PictureFormat(), (127.5,) * 3, (127.5,) * 3)


def training_peak(sample: Sample) -> str:
    """Makes crops of one picture, and runs the forward and backward pass of a training step on them."""
    network, _ = network_and_spec(100)
    crops = ObjectCrops(Augmentation(crop=(256, 256), scale=(0.6, 1.7), rotate=180, flip="both"))
    rng = np.random.default_rng(0)
    alone = objects_alone(sample)
    batch = collate([crops(alone, rng) for _ in range(8)], ObjectTargets)
    images = (batch.images.float() - 127.5) / 127.5
    with torch.autocast("cpu", hardware.preferred_dtype(torch.device("cpu"))):
        network.losses(images, batch.targets)["loss"].backward()  # type: ignore[operator]
    return f"{int((batch.targets.classes > 0).sum())} objects in 8 crops"


def prediction_peak(sample: Sample, objects: int) -> str:
    """Predicts a picture by tiles; draws, converts and scores the prediction."""
    network, spec = network_and_spec(objects)
    inference = ObjectInference(network, spec, ObjectOptions(device="cpu"))
    with open_raster(sample.image) as raster:
        found = inference.candidates(raster)
    found.overlay()
    found.label_map()
    coco_entry(found)
    scores = ObjectScores(spec.class_names, masks=True)
    scores.update(found, sample)
    scores.summary("val")
    return f"{len(found)} masks found, {len(sample.instances or ())} true"


FULLEST = "fullest"
TRAINING, FULL, LARGE = "training", "prediction", "prediction of a large picture"
PEAKS: Mapping[str, Callable[[Sample], str]] = {
    TRAINING: training_peak,
    FULL: lambda sample: prediction_peak(sample, 375),
    LARGE: lambda sample: prediction_peak(sample, 20),
}
"""Work that is measured in a separate process; 20 objects per tile of 1,024 are about 300 in 4,000 x 3,000 pixels."""


def measure_peak(what: str, root: Path, name: str) -> None:
    """Prints a description of the work and the peak memory of this process, as JSON."""
    done = PEAKS[what](sample_of(root, name))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB
    print(json.dumps({"done": done, "peak": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    hardware.keep_freed_memory()
    if arguments.child:
        what, root, *name = arguments.child
        print(json.dumps(fullest(Path(root)))) if what == FULLEST else measure_peak(what, Path(root), *name)
        return
    facts = hardware.describe()
    print(f"{time.strftime('%Y-%m-%d')}, {facts['processor']}, {facts['threads']} threads, torch {facts['torch']}\n")
    show_peaks()  # first, because a child process starts with the peak of its parent
    print("\n| part | the loop | ours | ratio |")
    print("|---|---|---|---|")
    for make in (roi_align_pair, nms_pair, paste_pair, matcher_pair):
        name, loop, ours = make()
        check_alike(name, loop(), ours())
        show_pair(name, in_turn({"plain": loop, "ours": ours}, arguments.repeats))
    with tempfile.TemporaryDirectory() as folder:
        name, actions = steps(Path(folder))
        show_pair(name, in_turn(actions, min(arguments.repeats, STEP_REPEATS)))
    print("\n| diameter of an object (px) | " + " | ".join(map(str, SIDES)) + " |")
    print("|---" * (1 + len(SIDES)) + "|")
    found = [round_trips(side) for side in SIDES]
    print("| IoU after encoding as 28 x 28, smallest | " + " | ".join(f"{own[0]:.4f}" for own in found) + " |")
    print("| median | " + " | ".join(f"{own[len(own) // 2]:.4f}" for own in found) + " |")


def show_peaks() -> None:
    nuclei = SHARED / "data" / "nuclei"
    print("| picture | work | objects | peak memory (GB) | |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write_ellipses(Path(folder))
        rows = [("12 megapixels", Path(folder), what) for what in (TRAINING, LARGE)]
        if nuclei.is_dir():
            rows = [("the nuclei picture with the most objects", nuclei, what) for what in (TRAINING, FULL)] + rows
        else:
            print(f"| the nuclei picture with the most objects | not measured: no {nuclei} | | | |")
        names = {root: in_process(FULLEST, root) for root in dict.fromkeys(root for _, root, _ in rows)}
        for picture, root, what in rows:
            found = in_process(what, root, names[root])
            verdict = "" if found["peak"] <= MAX_GB else f"more than {MAX_GB:g}"
            print(f"| {picture} | {what} | {found['done']} | {found['peak']:.2f} | {verdict} |", flush=True)


def in_process(*what: object) -> Any:
    """Runs this script with `--child` in a separate process, and returns what it prints."""
    command = [sys.executable, __file__, "--child", *map(str, what)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def show_pair(name: str, seconds: Mapping[str, float]) -> None:
    plain, ours = seconds["plain"], seconds["ours"]
    print(f"| {name} | {1e3 * plain:.1f} ms | {1e3 * ours:.1f} ms | {plain / ours:.2f} |", flush=True)


if __name__ == "__main__":
    main()
