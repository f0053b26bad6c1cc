"""The patch classifier's dense prediction against one window after the other: difference of the logits, and speed.

    python benchmarks/patch.py --side 256

Both run in one process, in float32. The window-by-window predictor runs on some rows of the picture, and its time is
scaled to the whole picture.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from pixelwise.catalog import create_model
from pixelwise.hardware import describe, keep_freed_memory


def seconds(run: Callable[[], Tensor], repeats: int) -> tuple[float, Tensor]:
    """Runs a function several times; returns its median seconds and its last result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="side of the square picture in pixels")
    parser.add_argument("--window", type=int, default=65, help="side of a window in pixels")
    parser.add_argument("--rows", type=int, default=16, help="rows that are predicted window by window")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    network = create_model("patch", num_classes=11, window=arguments.window).eval()
    network = network.to(memory_format=torch.channels_last)
    side = arguments.side
    rows = range((side - arguments.rows) // 2, (side + arguments.rows) // 2)
    images = torch.randn(1, 3, side, side).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(images)
        dense, fast = seconds(lambda: network(images), 7)
        slow, found = seconds(lambda: network.slide(images, rows=rows), 3)
    naive = slow / len(rows) * side
    difference = float((found - fast[..., rows, :]).abs().max())
    machine = describe()
    print(f"{side} x {side} pixels, window {arguments.window}, 48 maps, 11 classes, float32; ", end="")
    print(f"{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}, ", end="")
    print(f"Python {platform.python_version()}\n")
    print("| window by window | dense | ratio | largest difference of a logit |")
    print("|---|---|---|---|")
    print(f"| {naive:.1f} s | {dense:.3f} s | {naive / dense:.0f} | {difference:.1e} |")


if __name__ == "__main__":
    main()
