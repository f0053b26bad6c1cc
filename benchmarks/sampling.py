"""Sampling of autoregressive networks: cached against naive, with the same random numbers, in one process.

    python benchmarks/sampling.py [--count 64] [--networks ...]

The networks have their default sizes, as trained by their recipes, and random weights: 28 x 28 pictures, one level.
Naive sampling runs the network over the whole pictures for each pixel. Its time is that of one such pass times the
number of pixels; cached sampling is measured whole. `--whole` also samples naively, and compares the pictures.
"""

from __future__ import annotations

import argparse
import time

import torch

from pixelwise import hardware
from pixelwise.catalog import create_model
from pixelwise.cli.process import prepare_for_networks

NETWORKS = ("pixelcnn", "gated_pixelcnn", "pixelrnn_row", "pixelrnn_diagonal")
SIDE = 28
PASSES = 3


def seconds(name: str, count: int, *, cached: bool) -> tuple[float, torch.Tensor]:
    """Seconds of sampling, and the pictures (count, 1, 28, 28)."""
    torch.manual_seed(0)
    network = create_model(name).eval()
    started = time.perf_counter()
    pictures = network.sample(count, torch.Generator().manual_seed(0), cached=cached)
    return time.perf_counter() - started, pictures


def naive_seconds(name: str, count: int) -> float:
    """Seconds of naive sampling, from the time of one pass over whole pictures, which is the same for each pixel."""
    torch.manual_seed(0)
    network = create_model(name).double().eval()
    pictures = torch.zeros(count, 1, SIDE, SIDE, dtype=torch.float64)
    with torch.no_grad():
        network(pictures)
        started = time.perf_counter()
        for _ in range(PASSES):
            network(pictures)
    return (time.perf_counter() - started) / PASSES * SIDE**2


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--whole", action="store_true", help="sample naively as well, and compare the pictures")
    arguments = parser.parse_args()
    prepare_for_networks()
    print(f"{hardware.describe()['processor']}, {hardware.describe()['threads']} threads\n")
    print("| network | pictures | cached (s) | naive (s) | ratio |\n|---|---|---|---|---|")
    for name in arguments.networks:
        for count in arguments.count:
            seconds(name, count, cached=True)
            fast, pictures = seconds(name, count, cached=True)
            if arguments.whole:
                slow, same = seconds(name, count, cached=False)
                assert torch.equal(pictures, same), f"{name}: cached and naive sampling differ"
            else:
                slow = naive_seconds(name, count)
            print(f"| {name} | {count} | {fast:.2f} | {slow:.1f} | {slow / fast:.0f} |", flush=True)


if __name__ == "__main__":
    main()
