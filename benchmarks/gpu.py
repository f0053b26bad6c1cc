"""Checks and measures a CUDA device from end to end, on data that the script makes itself.

    python benchmarks/gpu.py [--device cuda] [--limit-seconds 420] [--out gpu_results.md]

Trains, kills and resumes a run, evaluates it, predicts a large picture, trains two networks of each family, and
compares all outputs with those of the CPU; measures training steps and predictions against eager float32 NCHW. Every
part is timed. A part that would exceed the limit is not started, and the page lists the parts that were left out. The
page is written after every part, so nothing is lost if the script is interrupted. `--device cpu` does the same on the
CPU with small pictures and networks. The exit status is 1 if a part failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from pixelwise import api, hardware
from pixelwise.catalog import SYSTEMS, load_model
from pixelwise.data.digits import write_digits
from pixelwise.data.pictures import read_ids, read_picture, write_png
from pixelwise.data.scenes import large_scene, write_coco_scenes, write_scenes
from pixelwise.training.progress import Silent
from pixelwise.training.recipes import load_recipe
from pixelwise.training.run import Run, open_run
from pixelwise.training.session import execute, start
from speed import (
    Problem,
    arithmetic,
    batch,
    finish_queued,
    in_turn,
    loader_rate,
    matrix_product_rate,
    our_step,
    plain_step,
    predictions,
)

Lines = list[str]
BFLOAT16_ERROR = 0.05
"""Largest relative error (L2) of an output in bfloat16 (8 significant bits), after some tens of layers."""
FLOAT32_ERROR = 0.005
"""The same in float32; CUDA devices compute its convolutions in TensorFloat-32 (10 bits of the fraction)."""
SAME_MASK = 0.98
"""Share of pixels that must have the same class as on the CPU; rounding decides between equally likely classes."""
SAME_SCORE = 0.02
DETERMINED = 0.15
"""How much the mean IoUs of a resumed and an uninterrupted run may differ on a device that adds in any order."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The amount of work: large on a GPU, small on the CPU.

    Attributes:
        scene: height and width of the scenes.
        scenes: number of training scenes, and of validation scenes.
        epochs: length of the run that is killed.
        network: settings of that run's recipe.
        large: side of the large picture in pixels.
        problem: height, width and batch size of the measured steps.
        repeats: how often each measurement is repeated.
        product: side of the matrices whose product is timed.
        tiny: whether the networks of the families are their tiny versions.
    """

    scene: tuple[int, int]
    scenes: tuple[int, int]
    epochs: int
    network: Mapping[str, Any]
    large: int
    problem: tuple[int, int, int]
    repeats: int
    product: int
    tiny: bool


CARD = Sizes((192, 256), (240, 60), 10, {"train.batch_size": 8}, 8192, (352, 480, 16), 9, 8192, tiny=False)
SMALL = Sizes(
    (64, 96), (8, 4), 12, {"model.encoder": None, "model.decoder_channels": [8], "model.width": 4,
                           "train.batch_size": 2, "augment.crop": [64, 96], "train.validations": 6},
    384, (64, 96, 2), 2, 512, tiny=True,
)  # fmt: skip

FAMILIES: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "dense: deeplab_v3plus": ("deeplab_v3plus", "scenes", {"train.ema_decay": 0.9}),
    "dense: hourglass": ("hourglass", "scenes", {}),
    "classifier: resnet18": ("resnet18", "digits", {"optimizer.name": "sgd", "optimizer.lr": 0.01}),
    "classifier: densenet121": ("densenet121", "digits", {}),
    "detection: localizer": ("localizer", "objects", {}),
    "detection: overfeat_small": ("overfeat_small", "objects", {}),
    "generative: vae": ("vae", "digits", {}),
    "generative: dcgan": ("dcgan", "digits", {}),
    "method: vat": ("mlp", "digits", {"method.name": "vat", "method.epsilon": 1.0}),
}
"""Name of a row -> network, data, and settings of its recipe."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the script and of the page.

    Attributes:
        seconds: expected duration on a GPU; the part is not started with less time left.
    """

    name: str
    seconds: float
    work: Callable[[Bench], Lines]


@dataclass(slots=True)
class Bench:
    """What the parts share: device, amount of work, folder, and the results of earlier parts."""

    device: torch.device
    sizes: Sizes
    folder: Path
    deadline: float
    trained: Run | None = None
    peak: float = 0.0
    faults: Lines = field(default_factory=list)

    def expect(self, holds: bool, statement: str) -> str:
        """Returns a line of the page that says whether a statement holds; a statement that does not hold is a fault."""
        if not holds:
            self.faults.append(statement)
        return f"- {'yes' if holds else '**NO**'}: {statement}"

    def pixelwise(self, *arguments: object) -> subprocess.Popen[str]:
        """Starts a command of `pixelwise` in a process of its own."""
        command = [sys.executable, "-m", "pixelwise", *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self, process: subprocess.Popen[str]) -> None:
        """Waits for a process.

        Raises:
            RuntimeError: it failed, or exceeded the limit.
        """
        try:
            said, _ = process.communicate(timeout=max(self.deadline - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise RuntimeError(f"{process.args} exceeded the limit") from None
        if process.returncode:
            raise RuntimeError(f"{process.args} failed: {said[-2000:]}")


def data(bench: Bench) -> Lines:
    """Writes the data sets of all parts."""
    train, val = bench.sizes.scenes
    write_scenes(bench.folder / "scenes", train=train, val=val, size=bench.sizes.scene)
    write_coco_scenes(bench.folder / "objects", train=train // 2, val=val // 2, size=bench.sizes.scene, digits=(1, 1))
    write_digits(bench.folder / "digits", train=6 if bench.sizes.tiny else 100, val=4 if bench.sizes.tiny else 40)
    return [f"{train} + {val} scenes of {bench.sizes.scene[1]} x {bench.sizes.scene[0]} pixels."]


def kill_and_resume(bench: Bench) -> Lines:
    """Trains one run to its end, and a second one that is killed and resumed."""
    settings = {"train.seed": 1, **bench.sizes.network}
    given = [
        part for key, value in settings.items() for part in ("--set", f"{key}={'null' if value is None else value}")
    ]
    command = ["train", "unet", "--data", bench.folder / "scenes", "--epochs", bench.sizes.epochs, *given, "--out"]
    whole, stopped = bench.folder / "whole", bench.folder / "stopped"
    began = time.perf_counter()
    bench.finish(bench.pixelwise(*command, whole))
    seconds = time.perf_counter() - began
    process = bench.pixelwise(*command, stopped)
    while process.poll() is None and not (stopped / "last" / "state.json").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed = process.returncode == -signal.SIGKILL and not open_run(stopped).finished
    bench.finish(bench.pixelwise("train", "--resume", stopped))
    bench.trained, resumed = open_run(whole), open_run(stopped)
    scores = [_last_score(run) for run in (bench.trained, resumed)]
    lines = [
        f"U-Net, {bench.sizes.epochs} epochs in {seconds:.0f} s including start and report; mean IoU {scores[0]:.4f}, "
        f"killed and resumed {scores[1]:.4f}.",
        "",
        bench.expect(killed, "the second run was killed (SIGKILL) before its end"),
        bench.expect(bench.trained.finished and resumed.finished, "both runs finished"),
    ]
    if bench.device.type == "cpu":
        same = bench.trained.best.read_bytes() == resumed.best.read_bytes()
        return [*lines, bench.expect(same, "the killed and resumed run ends with the same bytes")]
    near = abs(scores[0] - scores[1]) <= DETERMINED
    return [*lines, bench.expect(near, f"the two mean IoUs differ by at most {DETERMINED}")]


def _last_score(run: Run) -> float:
    return float(next(entry["mean_iou"] for entry in reversed(run.log()) if entry["kind"] == "validation"))


def evaluate(bench: Bench) -> Lines:
    """Measures the trained run on the device and on the CPU."""
    run = _trained(bench)
    found = [float(api.evaluate(run, device=device)["mean_iou"]) for device in (str(bench.device), "cpu")]
    words = f"mean IoU {found[0]:.4f} on the device, {found[1]:.4f} on the CPU: within {SAME_SCORE}"
    return [bench.expect(abs(found[0] - found[1]) <= SAME_SCORE, words)]


def _trained(bench: Bench) -> Path:
    if bench.trained is None:
        raise RuntimeError("there is no trained run, because the part that trains it failed or was left out")
    return bench.trained.path


def large_picture(bench: Bench) -> Lines:
    """Predicts a picture by tiles, and a corner of it on the CPU for comparison."""
    run, side = _trained(bench), bench.sizes.large
    picture, corner = bench.folder / "large.png", bench.folder / "corner.png"
    write_png(picture, large_scene(0, (side, side)).image)
    tile = 192 if bench.sizes.tiny else None
    predictor = api.load(run, device=str(bench.device), tile=tile)
    tiles = len(predictor.grid(side, side))
    predictor(np.zeros((64, 96, 3), np.uint8))
    finish_queued()
    began = time.perf_counter()
    mask = predictor.predict_file(picture, bench.folder / "large_mask.png")
    seconds = time.perf_counter() - began
    part = side // 4
    write_png(corner, read_picture(picture)[:part, :part])
    expected = api.load(run, device="cpu")(corner).mask
    kept = part - 64  # near its edge the corner sees the border of the picture
    same = float((read_ids(mask)[:kept, :kept] == expected[:kept, :kept]).mean())
    return [
        f"{side} x {side} pixels in {tiles} tiles: {seconds:.1f} s including reading and writing, "
        f"{side * side / seconds / 1e6:.1f} Mpixel/s.",
        "",
        bench.expect(same >= SAME_MASK, f"{same:.2%} of the pixels of a corner have the same class as on the CPU"),
    ]


def family(row: str) -> Callable[[Bench], Lines]:
    """Trains a network for one or a few epochs on the device, and compares its outputs with those of the CPU."""
    name, kind, settings = FAMILIES[row]

    def work(bench: Bench) -> Lines:
        tiny = {
            f"model.{key}": value for key, value in SYSTEMS[name].tiny.items() if key not in {"in_channels", "size"}
        }
        given = {**(tiny if bench.sizes.tiny else {}), "train.batch_size": 8 if bench.sizes.tiny else 32,
                 "train.epochs": 1 if bench.sizes.tiny else 3, "train.validations": 1, **settings}  # fmt: skip
        if name == "overfeat_small":
            given["model.regression"] = True
        recipe = load_recipe(name, {"data.path": str(bench.folder / kind), **given, "stages": []})
        out = bench.folder / row.partition(": ")[2]
        began = time.perf_counter()
        session = start(recipe, name=name, out=str(out))
        execute(session, Silent())
        seconds = time.perf_counter() - began
        steps = [entry for entry in session.run.log() if entry["kind"] == "train"]
        model, spec = load_model(session.run.best)
        images = _inputs(model, spec)
        expected = _answer(model, images)
        model.to(bench.device)
        errors = []
        for dtype in (torch.float32, torch.bfloat16):
            with torch.autocast(bench.device.type, dtype, enabled=dtype != torch.float32):
                errors.append(_difference(_answer(model, images.to(bench.device)), expected))
        agrees = errors[0] <= FLOAT32_ERROR and errors[1] <= BFLOAT16_ERROR
        finite = all(np.isfinite(entry["loss"]) for entry in steps)
        statement = (
            f"{row}: {steps[-1]['step']} steps in {seconds:.1f} s, loss {steps[0]['loss']:.3g} to "
            f"{steps[-1]['loss']:.3g}; outputs differ from the CPU's by {errors[0]:.1e} in float32 and "
            f"{errors[1]:.1e} in bfloat16"
        )
        return [bench.expect(finite and agrees, statement)]

    return work


def _inputs(model: Any, spec: Any) -> Tensor:
    """Makes inputs for a network: normalised pictures, or codes for a generator."""
    generator = torch.Generator().manual_seed(0)
    if hasattr(model, "discriminator"):
        return model.noise(4, generator)
    size = spec.input_size or getattr(model, "size", (64, 96))
    return torch.rand(4, spec.form.channels, *size, generator=generator)


def _answer(model: Any, images: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        return [leaf.float().cpu() for leaf in tree_leaves(model.eval()(images)) if isinstance(leaf, Tensor)]


def _difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest relative error (L2) among the tensors of an output."""
    pairs = zip(found, expected, strict=True)
    return max(float((one - other).norm() / other.norm().clamp_min(1e-6)) for one, other in pairs)


def speed(name: str) -> Callable[[Bench], Lines]:
    """Measures training steps and predictions of a U-Net against eager float32 NCHW."""

    def work(bench: Bench) -> Lines:
        problem = Problem(*bench.sizes.problem, bench.device)
        examples = batch(problem)
        if not bench.peak:
            bench.peak = matrix_product_rate(torch.bfloat16, bench.sizes.product, bench.device)
        work = arithmetic(name, problem)
        ours = our_step(name, examples, bench.device)
        ours()
        lines, waits = [], _waits(ours, bench.device)
        memory = _memory(ours, bench.device), _memory(plain_step(name, examples, bench.device), bench.device)
        step = in_turn({"plain": plain_step(name, examples, bench.device), "ours": ours}, bench.sizes.repeats)
        answer = in_turn(predictions(name, problem), bench.sizes.repeats)
        rows = (("training step", step, 3 * problem.batch, problem.batch), ("prediction", answer, 1, 1))
        for what, seconds, passes, pictures in rows:
            rate = pictures * problem.height * problem.width / seconds["ours"] / 1e6
            share = passes * work / seconds["ours"] / bench.peak
            held = f"{memory[1]} / {memory[0]}" if what == "training step" else ""
            lines.append(
                f"| {name} | {what} | {1e3 * seconds['plain']:.1f} ms | {1e3 * seconds['ours']:.1f} ms "
                f"| {seconds['plain'] / seconds['ours']:.2f} | {rate:.2f} | {share:.0%} | {held} |"
            )
        consumed = problem.batch / step["ours"]
        return [
            f"{problem.width} x {problem.height} pixels, batches of {problem.batch}; the bfloat16 matrix product of "
            f"{bench.sizes.product} reaches {bench.peak / 1e12:.3g} TFLOP/s.",
            "",
            "| U-Net on | what | plain | ours | ratio | ours, Mpixel/s | share of the matrix product's rate "
            "| memory, plain / ours |",
            "|---|---|---|---|---|---|---|---|",
            *lines,
            "",
            f"The training step consumes {consumed:.0f} crops per second.",
            *(
                []
                if waits is None
                else [bench.expect(not waits, f"a training step never waits for the device (waits: {waits or 'none'})")]
            ),
        ]

    return work


def _waits(step: Callable[[], object], device: torch.device) -> str | None:
    """The operation of a training step that waits for the device; "" if none does, None if the device is the CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    except RuntimeError as error:
        return f"{str(error).splitlines()[0]}; {traceback.extract_tb(error.__traceback__)[-1]}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return ""


def _memory(step: Callable[[], object], device: torch.device) -> str:
    """The peak memory of tensors during a step."""
    if device.type != "cuda":
        return "-"
    torch.cuda.reset_peak_memory_stats()
    step()
    finish_queued()
    return f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB"


def cudnn_search(bench: Bench) -> Lines:
    """Times a training step with cuDNN's search for the fastest convolutions, which pixelwise does not use."""
    if bench.device.type != "cuda":
        return ["Not measured: cuDNN needs a CUDA device."]
    examples, found = batch(Problem(*bench.sizes.problem, bench.device)), {}
    for searching in (False, True):
        torch.backends.cudnn.benchmark = searching
        step = our_step("resnet18", examples, bench.device)
        found[searching] = in_turn({"step": step}, bench.sizes.repeats)["step"]
    torch.backends.cudnn.benchmark = False
    return [f"resnet18: {1e3 * found[False]:.1f} ms without the search, {1e3 * found[True]:.1f} ms with it."]


def loader(bench: Bench) -> Lines:
    """Measures the loader in crops per second, on one thread and on as many as `pixelwise train` uses."""
    problem = Problem(*bench.sizes.problem, bench.device)
    one = loader_rate(problem, 1)
    threads = min(8, os.cpu_count() or 1)
    return [
        f"Crops of {problem.width} x {problem.height} pixels per second: {one:.0f} on one thread, "
        f"{loader_rate(problem):.0f} on {threads}."
    ]


PARTS = (
    Part("data", 25, data),
    Part("train, kill -9, resume", 90, kill_and_resume),
    Part("evaluate", 20, evaluate),
    Part("training step and prediction, resnet18", 30, speed("resnet18")),
    Part("training step and prediction, mobilenet_v2", 30, speed("mobilenet_v2")),
    *(Part(row, 20, family(row)) for row in FAMILIES),
    Part("large picture", 40, large_picture),
    Part("loader", 25, loader),
    Part("cuDNN's search", 20, cudnn_search),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--limit-seconds", type=float, default=420)
    parser.add_argument("--out", type=Path, default=Path("gpu_results.md"), help="the page")
    arguments = parser.parse_args()
    began = time.monotonic()
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before CUDA starts, and for all child processes
    elif not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device here; --device cpu runs the same checks on the CPU.")
    device = torch.device(arguments.device)
    facts = hardware.describe()
    page = [
        "# CUDA, from end to end",
        "",
        f"`python benchmarks/gpu.py --device {arguments.device}`, {time.strftime('%Y-%m-%d')}, {facts['processor']}, "
        f"{os.cpu_count()} cores, {facts['precision']}, torch {facts['torch']}, Python {facts['python']}.",
    ]
    with tempfile.TemporaryDirectory() as folder:
        sizes = CARD if device.type == "cuda" else SMALL
        bench = Bench(device, sizes, Path(folder), began + arguments.limit_seconds)
        left_out = []
        for part in PARTS:
            expected = part.seconds if device.type == "cuda" else 0
            if time.monotonic() + expected > bench.deadline:
                left_out.append(part.name)
                continue
            lines = _run(part, bench)
            page += ["", *lines]
            print("\n".join(["", *lines]), flush=True)
            _write(arguments.out, page, bench, left_out, began)
        _write(arguments.out, page, bench, left_out, began)
    print("\n".join(["", *_end(bench, left_out, began)]))
    raise SystemExit(1 if bench.faults else 0)


def _run(part: Part, bench: Bench) -> Lines:
    """Runs a part and returns its lines; an exception is recorded as a fault, so that the next part still runs."""
    started = time.perf_counter()
    try:
        lines = part.work(bench)
    except Exception as error:  # of any kind: time on a GPU is expensive, and the other parts are still useful
        traceback.print_exc()
        bench.faults.append(part.name)
        lines = [f"**FAILED**: {type(error).__name__}: {error}"]
    return [f"## {part.name[0].upper()}{part.name[1:]} ({time.perf_counter() - started:.1f} s)", "", *lines]


def _end(bench: Bench, left_out: Lines, began: float) -> Lines:
    return [
        f"{time.monotonic() - began:.0f} s in all; "
        + (f"FAILED: {'; '.join(bench.faults)}; " if bench.faults else "all checks passed; ")
        + (f"left out for lack of time: {', '.join(left_out)}." if left_out else "nothing was left out.")
    ]


def _write(file: Path, page: Lines, bench: Bench, left_out: Lines, began: float) -> None:
    file.write_text("\n".join([*page, "", *_end(bench, left_out, began), ""]))


if __name__ == "__main__":
    main()
