"""Measures classifiers: MNIST, a published network on photographs, and prediction against the plain way.

    python benchmarks/classifiers.py mnist [--rows mlp lenet5] [--out runs/mnist]
    python benchmarks/classifiers.py photos
    python benchmarks/classifiers.py throughput [--repeats 5]

`mnist` trains each row for its minutes and measures it once on the 10,000 test pictures, which are used neither in
training nor to choose the best weights. Finished rows are kept. `photos` classifies the photographs in `data/photos`
with MobileNetV2 and ImageNet weights: once with TensorFlow's padding, with which the weights were trained, and once
with symmetric padding. `throughput` times the plain way (eager, float32, NCHW) and ours alternately in one process, and
compares medians. Data and weights are read from $PIXELWISE_SHARED (default ../shared).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from pixelwise import api, hardware
from pixelwise.catalog import create_model, list_models
from pixelwise.data.pictures import PictureFormat
from pixelwise.errors import UserError
from pixelwise.inference.engine import TorchEngine
from pixelwise.inference.predictor import Predictor
from pixelwise.metrics.ranking import TopK
from pixelwise.models.spec import ModelSpec
from pixelwise.models.weights import load_weights, read_weights
from pixelwise.tasks.classify.inference import ClassifyInference, ClassifyOptions
from speed import in_turn

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
MNIST: dict[str, tuple[float, dict[str, object]]] = {
    "mlp": (4, {}),
    "lenet5": (4, {}),
    "resnet18": (8, {"model.weights": "none"}),
}
"""Model -> minutes, and settings of its recipe."""
BATCH, SIDE = 8, 224


def needed(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; set PIXELWISE_SHARED.")
    return path


def mnist(rows: list[str], out: Path) -> None:
    data = needed(SHARED / "data" / "mnist")
    print("| network | minutes | crops | test error | validation accuracy | training pictures/s |\n" + "|---" * 6 + "|")
    for name in rows:
        minutes, overrides = MNIST[name]
        if (out / name / "recipe.yaml").exists():
            run = api.resume(out / name)
        else:
            run = api.train(name, data=data, minutes=minutes, out=out / name, overrides=overrides)
        test = api.evaluate(run.path, split="test")
        log = run.log()
        crops = log[-1]["step"] * run.planned.train.batch_size
        rate = statistics.median(entry["pictures_per_second"] for entry in log if entry["kind"] == "train")
        error = 100 * (1 - test["accuracy"])
        print(f"| {name} | {minutes:g} | {crops:,} | {error:.2f} % | {run.metrics['accuracy']:.4f} | {rate:,.0f} |")


def photos() -> None:
    files = sorted(needed(SHARED / "data" / "photos").glob("*.*"))
    weights = read_weights(needed(SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"))
    assert weights.mean is not None
    assert weights.std is not None
    names = tuple(map(str, range(1000)))
    truth = np.array([int(file.name.split("_")[0]) for file in files])
    print(f"{len(files)} photographs\n\n| padding | precision | top-1 | top-5 |\n|---|---|---|---|")
    for padding, tensorflow in (("TensorFlow's", True), ("symmetric", False)):
        network = create_model("mobilenet_v2", num_classes=1000, tf_padding=tensorflow)
        load_weights(network, weights)
        spec = ModelSpec("mobilenet_v2", {}, names, PictureFormat(), weights.mean, weights.std, input_size=(SIDE, SIDE))
        for precision in ("float32", "bfloat16"):
            inference = ClassifyInference(network, spec, ClassifyOptions(precision=precision))
            ranks = TopK()
            ranks.update(inference.probabilities([Predictor(inference).read(file) for file in files]), truth)
            print(f"| {padding} | {precision} | {ranks.accuracy(1):.3f} | {ranks.accuracy(5):.3f} |")


def throughput(rows: list[str], repeats: int) -> None:
    print(f"Batches of {BATCH}, medians of {repeats}.\n")
    print("| network | input | plain: pictures/s | ours: pictures/s | ratio |\n|---|---|---|---|---|")
    for name in rows:
        network = create_model(name, num_classes=10 if name in ("mlp", "lenet5") else 1000).eval()
        size = network.window or ((299, 299) if name == "inception_v3" else (SIDE, SIDE))
        channels = 1 if name in ("mlp", "lenet5") else 3
        form = PictureFormat(channels)
        spec = ModelSpec(name, {}, ("a",), form, (127.5,) * channels, (127.5,) * channels, input_size=size)
        engine = TorchEngine(network, spec)
        pictures = np.random.default_rng(0).integers(0, 256, (BATCH, *size, channels), dtype=np.uint8)

        def plain(network: torch.nn.Module = network, pictures: np.ndarray = pictures) -> object:
            images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1
            with torch.inference_mode():
                return network(images)

        def ours(engine: TorchEngine = engine, pictures: np.ndarray = pictures) -> object:
            return engine(pictures)

        seconds = in_turn({"plain": plain, "ours": ours}, repeats)
        print(
            f"| {name} | {size[0]} x {size[1]} | {BATCH / seconds['plain']:.1f} | {BATCH / seconds['ours']:.1f} | "
            f"{seconds['plain'] / seconds['ours']:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("mnist", "photos", "throughput"))
    parser.add_argument("--rows", nargs="+", help="networks (default: all)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/mnist"))
    arguments = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {hardware.describe()}\n")
    if arguments.what == "mnist":
        mnist(arguments.rows or list(MNIST), arguments.out)
    elif arguments.what == "photos":
        photos()
    else:
        throughput(arguments.rows or list_models("classify"), arguments.repeats)


if __name__ == "__main__":
    main()
