"""OverFeat's dense evaluation against one window after the other: difference of the outputs, and speed.

    python benchmarks/overfeat.py

A random picture of 320 x 240 pixels is enlarged to three of the paper's scales. The network is `overfeat_accurate` with
random weights, in float32, in one process. `--windows` evenly spaced windows are run one after the other, and their
time is scaled to all windows. The dense evaluation runs `TURNS` times in between, and its median counts.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import torch
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.hardware import describe, keep_freed_memory
from pixelwise.models.detect.overfeat import OverFeat, dense_scores

TURNS = 3


@torch.inference_mode()
def measure(network: OverFeat, shorter: int, arguments: argparse.Namespace) -> str:
    """One row of the table."""
    picture = torch.randn(1, 3, arguments.height, arguments.width, generator=torch.Generator().manual_seed(0))
    size = tuple(round(side * shorter / arguments.height) for side in picture.shape[-2:])
    images = F.interpolate(picture, size, mode="bilinear", antialias=True)
    windows = dense_scores(network, images).windows.flatten(0, 1).long()
    chosen = torch.linspace(0, len(windows) - 1, min(arguments.windows, len(windows))).long()
    logits, boxes, dense_times, windows_time = [], [], [], 0.0
    for turn in chosen.chunk(TURNS):
        start = time.perf_counter()
        dense = dense_scores(network, images)
        dense_times.append(time.perf_counter() - start)
        start = time.perf_counter()
        for part in turn.split(arguments.batch):
            cut = [images[0, :, top:bottom, left:right] for left, top, right, bottom in windows[part].tolist()]
            found = network(torch.stack(cut))
            logits.append(found.logits)
            boxes.append(found.boxes + windows[part, None, :2].repeat(1, 1, 2))
        windows_time += time.perf_counter() - start
    fast, slow = statistics.median(dense_times), windows_time / len(chosen) * len(windows)
    expected = dense.logits[0].flatten(1).T[chosen]
    difference = float((torch.cat(logits) - expected).abs().max() / expected.abs().max())
    edges = float((torch.cat(boxes) - dense.boxes[0].flatten(0, 1)[chosen]).abs().max())
    rows, columns = dense.logits.shape[-2:]
    return (
        f"| {network.window[0]} x {network.window[1]} | {size[1]} x {size[0]} | {rows} x {columns} | {slow:.1f} s | "
        f"{fast:.2f} s | {slow / fast:.1f} | {difference:.1e} | {edges:.1e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--scales", type=int, nargs="+", default=[245, 317, 461], help="shorter sides in pixels")
    parser.add_argument("--windows", type=int, default=48, help="windows that are run one after the other")
    parser.add_argument("--batch", type=int, default=16, help="windows that are run together")
    parser.add_argument("--channels", type=int, default=96, help="of the first layer; the other layers scale with it")
    arguments = parser.parse_args()
    keep_freed_memory()
    machine = describe()
    print(
        f"{arguments.width} x {arguments.height} pixels, overfeat_accurate, float32; {machine['processor']}, ", end=""
    )
    print(f"threads: {torch.get_num_threads()}, torch {machine['torch']}, Python {platform.python_version()}\n")
    print(
        "| window | enlarged to | windows | one after the other | dense | ratio | difference of logits "
        "| difference of boxes, pixels |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for valid in (True, False):
        torch.manual_seed(0)
        options = {"num_classes": 1000, "width": arguments.channels, "regression": True, "valid": valid}
        network = create_model("overfeat_accurate", **options).eval()
        assert isinstance(network, OverFeat)
        for shorter in arguments.scales:
            if shorter >= network.window[0]:
                print(measure(network, shorter, arguments), flush=True)


if __name__ == "__main__":
    main()
