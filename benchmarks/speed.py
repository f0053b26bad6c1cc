"""A training step and a prediction against the plain way, and where the rest of the time goes.

The plain way is what one would write first: eager, float32, NCHW, PyTorch's cross entropy and AdamW. Ours is what
`pixelwise train` and `pixelwise predict` run. Both are timed alternately in one process, and medians are compared, so a
busy machine slows both down. The share of the matrix product's rate is the rate of our step divided by the rate of a
large bfloat16 matrix product in the same process. It counts the arithmetic of the network's layers as they are written,
and three forward passes for a training step. So saving arithmetic, as in `nn/upsampled_conv.py`, raises the share just
as saving time does.

    python benchmarks/speed.py [--repeats 9] [--profile]
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from pixelwise import hardware
from pixelwise.catalog import create_model
from pixelwise.data.augment import Augmentation
from pixelwise.data.cache import SampleCache
from pixelwise.data.formats import open_dataset
from pixelwise.data.loader import Batch, TrainLoader
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.scenes import write_scenes
from pixelwise.data.targets import PixelTargets
from pixelwise.inference.engine import TorchEngine
from pixelwise.losses import LossSum
from pixelwise.methods.base import Forward, Setup
from pixelwise.methods.supervised import Supervised
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.fixed_norm import fix_encoder
from pixelwise.nn.upsampled_conv import UpsampledConv2d
from pixelwise.training.recipes import build_planned

HEIGHT, WIDTH, BATCH, CLASSES = 352, 480, 4, 11
CPU = torch.device("cpu")
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18": {"encoder": "resnet18"},
    "mobilenet_v2": {"encoder": "mobilenet_v2"},
    "mobilenet_v2, logits at half size": {"encoder": "mobilenet_v2", "decoder_channels": (256, 128, 64, 32)},
}
"""Name of a U-Net in the table -> options of `create_model("unet", ...)`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The timed work: the size of the pictures, the batch size, and the device."""

    height: int = HEIGHT
    width: int = WIDTH
    batch: int = BATCH
    device: torch.device = CPU


def build(name: str) -> nn.Module:
    """The U-Net of a row, with random weights."""
    return create_model("unet", num_classes=CLASSES, **NETWORKS[name])


def build_plain(name: str) -> nn.Module:
    """The same network, but its decoder makes the enlarged, concatenated maps that its convolutions read."""
    network = build(name)
    for module in network.modules():
        if isinstance(module, UpsampledConv2d):
            module.forward = MethodType(_as_written, module)  # type: ignore[method-assign]
    return network


def _as_written(self: UpsampledConv2d, maps: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
    enlarged = F.interpolate(maps, scale_factor=2, mode="nearest")
    joined = enlarged if skip is None else torch.cat([enlarged, skip], dim=1)
    return F.conv2d(joined, self.weight, self.bias, padding=1)


def give_memory_back() -> None:
    """Sets glibc's memory thresholds to their default after they have adapted to large tensors.

    This is the opposite of `hardware.keep_freed_memory`, which `pixelwise` calls before training.
    """
    libc = ctypes.CDLL(None)
    for option, value in ((-1, 64 << 20), (-3, 32 << 20), (-4, 65536)):  # trim and mmap thresholds, number of mmaps
        libc.mallopt(option, value)


def in_turn(actions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each action, timed alternately after one unmeasured round."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for round_ in range(repeats + 1):
        for name, action in actions.items():
            finish_queued()
            started = time.perf_counter()
            action()
            finish_queued()
            if round_:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def finish_queued() -> None:
    """Waits until a CUDA device has finished all queued work."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def matrix_product_rate(dtype: torch.dtype, side: int = 4096, device: torch.device | None = None) -> float:
    """FLOP/s of the product of two square matrices."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / in_turn({"product": lambda: a @ b}, 5)["product"]


def batch(problem: Problem) -> Batch:
    """Random pictures and masks, on the CPU."""
    generator = torch.Generator().manual_seed(0)
    size = (problem.batch, problem.height, problem.width)
    images = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator)
    masks = torch.randint(0, CLASSES, size, generator=generator)
    return Batch(images.permute(0, 3, 1, 2), tuple(str(n) for n in range(problem.batch)), PixelTargets(masks))


def the_plain_way(action: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        give_memory_back()
        action()
        hardware.keep_freed_memory()

    return run


def plain_step(name: str, data: Batch, device: torch.device) -> Callable[[], object]:
    """A training step as one would write it first."""
    network = build_plain(name).train().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)

    def step() -> None:
        images = data.images.to(device).float().contiguous() / 127.5 - 1
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), data.targets.masks.to(device), ignore_index=255).backward()
        optimizer.step()

    return step


def our_step(name: str, data: Batch, device: torch.device) -> Callable[[], object]:
    """A training step of `pixelwise train` from pretrained weights: the encoder's batch norms keep their statistics."""
    network: nn.Module = build(name)
    fix_encoder(network)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    grey = torch.full((3, 1, 1), 127.5, device=device)
    recipe = build_planned(
        {
            "model": {"name": "unet", **NETWORKS[name]},
            "data": {},
            "augment": {"crop": list(data.images.shape[-2:])},
            "normalize": {"mean": [127.5] * 3, "std": [127.5] * 3},
            "loss": {"terms": {"cross_entropy": 1.0, "dice": 1.0}, "class_weights": [1.0] * CLASSES},
            "optimizer": {"lr": 1e-3, "encoder_lr_factor": 1.0},
            "schedule": {"name": "constant", "warmup": 0.0},
            "train": {"epochs": 1.0, "batch_size": len(data.images)},
        },
        "the benchmark",
    )
    loss = LossSum(recipe.loss.terms, class_weights=[1.0] * CLASSES)
    method = Supervised(
        Setup(
            network,
            recipe,
            None,
            Forward(grey, grey, device, hardware.preferred_dtype(device)),
            lambda logits, targets: loss(logits, targets.masks, targets.weights),
        )
    )
    return lambda: method.step({"labelled": data}, 0.5)


def predictions(name: str, problem: Problem) -> dict[str, Callable[[], object]]:
    """Predictions of one picture in memory: as one would write it first, and as `pixelwise predict` runs it."""
    network = build(name).eval()
    written = build_plain(name).eval().to(problem.device)
    names = tuple(str(k) for k in range(CLASSES))
    options = {"num_classes": CLASSES, **NETWORKS[name]}
    spec = ModelSpec("unet", options, names, PictureFormat(), (127.5,) * 3, (127.5,) * 3)
    engine = TorchEngine(network, spec, device=str(problem.device))
    size = (1, problem.height, problem.width, 3)
    picture = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)

    def plain() -> None:
        pixels = torch.from_numpy(picture).to(problem.device)
        images = pixels.permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1
        with torch.inference_mode():
            written(images)

    return {"plain": the_plain_way(plain), "ours": lambda: engine(picture)}


def arithmetic(name: str, problem: Problem) -> float:
    """FLOP of a forward pass on one picture, counted for the layers as they are written."""
    network = build_plain(name).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.randn(1, 3, problem.height, problem.width))
    return counter.get_total_flops()


def loader_rate(problem: Problem, workers: int | None = None) -> float:
    """Crops per second of the loader alone, from its cache, with pictures and crops of the size of the other rows.

    Args:
        workers: threads; None for as many as `pixelwise train` uses.
    """
    size = (problem.height, problem.width)
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder) / "scenes", train=32, val=2, size=size)
        dataset = open_dataset(Path(folder) / "scenes")
        view = Augmentation(
            crop=size, scale=(0.7, 1.5), rotate=5, flip="horizontal",
            brightness=0.3, contrast=0.3, saturation=0.3,
        )  # fmt: skip
        records = dataset.split("train")
        loader = TrainLoader(
            SampleCache(dataset), records, view, targets=PixelTargets, batch_size=problem.batch, seed=0, workers=workers
        )
        batches = loader.batches()
        for _ in range(10):
            next(batches)
        started = time.perf_counter()
        for _ in range(30):
            next(batches)
        elapsed = time.perf_counter() - started
        batches.close()
    return 30 * problem.batch / elapsed


def help_seconds() -> float:
    """Median seconds of `pixelwise --help`."""
    times = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "pixelwise", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def profile(name: str) -> None:
    """Prints the ten operations that take most of a training step."""
    problem = Problem()
    step = our_step(name, batch(problem), problem.device)
    step()
    with torch.profiler.profile(record_shapes=True) as profiler:
        step()
    events = profiler.key_averages(group_by_input_shape=True)
    total = sum(event.self_cpu_time_total for event in events)
    by_name: dict[str, float] = {}
    for event in events:
        by_name[event.key] = by_name.get(event.key, 0) + event.self_cpu_time_total
    print(f"\n{name}: share of a training step by operation")
    for operation, spent in sorted(by_name.items(), key=lambda item: -item[1])[:10]:
        print(f"  {100 * spent / total:4.1f} %  {operation}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--profile", action="store_true", help="also print where a training step's time goes")
    arguments = parser.parse_args()
    hardware.keep_freed_memory()
    facts = hardware.describe()
    print(f"{time.strftime('%Y-%m-%d')}, {facts['processor']}, {facts['threads']} threads, torch {facts['torch']}\n")
    peak = matrix_product_rate(torch.bfloat16)
    single = matrix_product_rate(torch.float32)
    print(f"matrix product: {single / 1e9:.0f} GFLOP/s in float32, {peak / 1e9:.0f} in bfloat16\n")
    print(f"U-Net, {HEIGHT}x{WIDTH}, {CLASSES} classes; training with batches of {BATCH}\n")
    print("| U-Net on | what | plain | ours | ratio | ours, Mpixel/s | share of the matrix product's rate |")
    print("|---|---|---|---|---|---|---|")
    problem = Problem()
    data = batch(problem)
    step_rate = 0.0
    for name in NETWORKS:
        work = arithmetic(name, problem)
        step = in_turn(
            {
                "plain": the_plain_way(plain_step(name, data, problem.device)),
                "ours": our_step(name, data, problem.device),
            },
            arguments.repeats,
        )
        answer = in_turn(predictions(name, problem), arguments.repeats)
        rows = (("training step", step, 3 * BATCH, BATCH), ("prediction", answer, 1, 1))
        for what, seconds, passes, pictures in rows:
            plain, ours = seconds["plain"], seconds["ours"]
            print(
                f"| {name} | {what} | {1e3 * plain:.0f} ms | {1e3 * ours:.0f} ms | {plain / ours:.2f} "
                f"| {pictures * HEIGHT * WIDTH / ours / 1e6:.2f} | {100 * passes * work / ours / peak:.0f} % |",
                flush=True,
            )
        step_rate = max(step_rate, BATCH / step["ours"])
    rate = loader_rate(problem)
    print(f"\nloader: {rate:.0f} crops/s; the fastest training step above consumes {step_rate:.1f}")
    print(f"pixelwise --help: {help_seconds():.2f} s")
    if arguments.profile:
        for name in NETWORKS:
            profile(name)


if __name__ == "__main__":
    main()
