"""Predicts a picture that is too large for memory by tiles: peak memory, and speed relative to the network alone.

    python benchmarks/predict_large.py --side 20000

Writes a tiled, deflate-compressed RGB TIFF of photographs, block by block, into a temporary folder. Each network
(random weights: only the time matters) runs in a process of its own, which reads the TIFF, predicts, and writes the
mask, as `pixelwise predict` does. Every few tiles, the same prepared network is timed on one tile in memory, so that
both speeds are measured on the machine in the same state. This time is subtracted from the total.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
import torch
from skimage import data as photographs

from pixelwise.catalog import create_model
from pixelwise.data.pictures import PictureFormat
from pixelwise.hardware import describe, keep_freed_memory
from pixelwise.models.spec import ModelSpec
from pixelwise.tasks.segment.inference import SegmentInference, SegmentOptions

CLASS_NAMES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "person", "bicycle")
BLOCK = 256


def write_picture(path: Path, side: int) -> None:
    """Writes a TIFF of random blocks of the photographs that come with scikit-image."""
    sources = [photographs.astronaut(), photographs.coffee(), photographs.chelsea()]
    generator = np.random.default_rng(0)

    def blocks() -> Iterator[np.ndarray]:
        for _ in range((-(-side // BLOCK)) ** 2):
            source = sources[generator.integers(len(sources))]
            top, left = (generator.integers(size - BLOCK + 1) for size in source.shape[:2])
            yield np.ascontiguousarray(source[top : top + BLOCK, left : left + BLOCK])

    tifffile.imwrite(
        path,
        blocks(),
        shape=(side, side, 3),
        dtype=np.uint8,
        photometric="rgb",
        tile=(BLOCK, BLOCK),
        compression="zlib",
        compressionargs={"level": 1},
    )


def predict(path: Path, encoder: str, samples: int, tile: int | None) -> dict[str, float | int | str]:
    """Predicts the picture in this process and measures speed and memory."""
    keep_freed_memory()
    options = {"encoder": encoder, "in_channels": 3, "num_classes": len(CLASS_NAMES)}
    torch.manual_seed(0)
    model = create_model("unet", **options)
    mean, std = (124.0, 116.0, 104.0), (58.0, 57.0, 57.0)
    spec = ModelSpec("unet", options, CLASS_NAMES, PictureFormat(3, "uint8"), mean, std)
    predictor = SegmentInference(model, spec, SegmentOptions(device="cpu", tile=tile))
    del model
    with tifffile.TiffFile(path) as tiff:
        height, width = tiff.pages[0].shape[:2]
    grid = predictor.grid(height, width)
    tall = max(span.stop - span.start for span in grid.rows)
    wide = max(span.stop - span.start for span in grid.columns)
    one = np.random.default_rng(0).integers(0, 256, (1, tall, wide, 3), np.uint8)
    prepared = predictor.engine.prepare(one)
    predictor.engine.run(prepared)
    every = max(1, len(grid) // samples)
    raw: list[float] = []
    paused = 0.0
    tiles = 0

    def after_tile(_: float) -> None:
        nonlocal paused, tiles
        tiles += 1
        if tiles % every and tiles > 1:
            return
        pause = time.perf_counter()
        time.sleep(0.3)  # until the thread that decodes the next tile is done
        start = time.perf_counter()
        predictor.engine.run(prepared)
        raw.append(time.perf_counter() - start)
        paused += time.perf_counter() - pause

    start = time.perf_counter()
    predictor.predict_file(path, path.with_name(f"{encoder}-mask"), progress=after_tile)
    seconds = time.perf_counter() - start - paused
    return {
        "encoder": encoder,
        "tile": f"{tall} x {wide}",
        "tiles": len(grid),
        "seconds": seconds,
        "rate": height * width / seconds / 1e6,
        "raw": tall * wide / statistics.median(raw) / 1e6,
        "computed": sum(s.stop - s.start for s in grid.rows)
        * sum(s.stop - s.start for s in grid.columns)
        / height
        / width,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,  # Linux counts in KiB
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096, help="side of the picture in pixels")
    parser.add_argument("--encoders", nargs="+", default=["resnet18", "mobilenet_v2"])
    parser.add_argument("--samples", type=int, default=12, help="how often the network alone is timed")
    parser.add_argument("--tile", type=int, help="longest side of a tile (default: as large as memory allows)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(predict(arguments.child, arguments.encoders[0], arguments.samples, arguments.tile)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.tif"
        write_picture(path, arguments.side)
        machine = describe()
        print(f"{arguments.side:,} x {arguments.side:,} pixels, TIFF of {path.stat().st_size / 1e6:,.0f} MB;", end=" ")
        print(f"{machine['processor']}, {machine['threads']} threads, {machine['precision']}, ", end="")
        print(f"torch {machine['torch']}, Python {platform.python_version()}\n")
        print("| U-Net on | tile | tiles | seconds | Mpixel/s | network alone | ratio | computed twice | peak memory |")
        print("|---|---|---|---|---|---|---|---|---|")
        for encoder in arguments.encoders:
            command = [sys.executable, __file__, "--child", path, "--encoders", encoder]
            command += ["--samples", str(arguments.samples)]
            command += ["--tile", str(arguments.tile)] if arguments.tile else []
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(
                f"| {encoder} | {found['tile']} | {found['tiles']} | {found['seconds']:.1f} | {found['rate']:.3f} "
                f"| {found['raw']:.3f} | {found['rate'] / found['raw']:.3f} | {found['computed'] - 1:.1%} "
                f"| {found['memory']:.2f} GB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
