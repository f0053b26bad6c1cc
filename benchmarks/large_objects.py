"""A picture of nuclei too large for one pass: peak memory, and whether tiles find as many objects as one pass does.

    python benchmarks/large_objects.py RUN [--side 10000] [--fits 1536] [--tile 768]

Held-out pictures of 256 x 256 pixels from ../shared/data/nuclei ($PIXELWISE_SHARED), turned and mirrored at random, are
laid side by side into a tiled TIFF. A Mask R-CNN (`RUN`, trained on those data) outlines it as `pixelwise predict
--instances masks` does, in a process of its own. Then a part of it that fits both ways is predicted in one pass and by
smaller tiles, which share a third.
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
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from pixelwise import api, hardware
from pixelwise.data.draw import to_rgb
from pixelwise.data.formats import open_dataset
from pixelwise.inference.rasters import open_raster

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
PIECE = 256
STRIDE = 32
"""Of the network: overlaps are multiples of it."""


def pieces() -> list[np.ndarray]:
    """(256, 256, 3) uint8: the held-out pictures of that size."""
    dataset = open_dataset(SHARED / "data" / "nuclei")
    images = [to_rgb(dataset.load(record, objects=True).image) for record in dataset.split("val")]
    return [image for image in images if image.shape[:2] == (PIECE, PIECE)]


def quilt(side: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Pieces of a picture of that side, row by row, as `tifffile` takes them for tiles."""
    rng, images = np.random.default_rng(seed), pieces()
    for _ in range((-(-side // PIECE)) ** 2):
        image = np.rot90(images[rng.integers(len(images))], rng.integers(4))
        yield np.ascontiguousarray(image[:, ::-1] if rng.integers(2) else image)


def write_picture(path: Path, side: int) -> None:
    """A square picture, compressed, without holding it."""
    tifffile.imwrite(
        path, quilt(side), shape=(side, side, 3), dtype=np.uint8, photometric="rgb", tile=(PIECE, PIECE),
        compression="zlib", compressionargs={"level": 1},
    )  # fmt: skip


def predict(run: Path, picture: Path) -> dict[str, float]:
    """Outlines every object of a file in this process and measures it."""
    hardware.keep_freed_memory()
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        api.predict(run, [picture], out=Path(out) / "out", instances="masks")
        seconds = time.perf_counter() - started
        rows = (Path(out) / "out" / "boxes.csv").read_text().splitlines()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB
    return {"objects": len(rows) - 1, "seconds": seconds, "memory": peak}


def count(run: Path, picture: np.ndarray, tile: int) -> int:
    """Objects that are found in a picture in memory by tiles of at most that side; one pass where one tile is all."""
    return len(api.load(run, tile=tile, overlap=tile // 3 // STRIDE * STRIDE)(picture))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="of a Mask R-CNN on nuclei")
    parser.add_argument("--side", type=int, default=10_000, help="pixels of the large picture")
    parser.add_argument("--fits", type=int, default=1536, help="pixels of the one that is predicted both ways")
    parser.add_argument("--tile", type=int, default=768, help="pixels of the tiles that it is cut into")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(predict(arguments.run, arguments.child)))
        return
    facts = hardware.describe()
    print(f"{time.strftime('%Y-%m-%d')}, {facts['processor']}, {facts['threads']} threads, torch {facts['torch']}\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nuclei.tif"
        write_picture(path, arguments.side)
        command = [sys.executable, __file__, str(arguments.run), "--child", str(path)]
        large = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        with open_raster(path) as raster:
            picture = raster.read(0, arguments.fits, 0, arguments.fits)
    side, fits, small = arguments.side, arguments.fits, arguments.tile
    print(
        f"{side:,} x {side:,} pixels: {large['objects']:,} objects in {large['seconds']:.0f} s, peak of memory "
        f"{large['memory']:.2f} GB"
    )
    whole, tiled = (count(arguments.run, picture, tile) for tile in (fits, small))
    print(f"{fits:,} x {fits:,} pixels: {whole} objects in one pass, {tiled} by tiles of {small}", end="")
    print(f": {(tiled - whole) / max(whole, 1):+.1%}")


if __name__ == "__main__":
    main()
