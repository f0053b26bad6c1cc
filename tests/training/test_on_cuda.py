"""Training steps as a CUDA device would run them, without one: on torch's meta device, whose tensors hold no numbers.

It refuses what needs a number from the device (`float(loss)`, `nonzero`, boolean indices, `bincount`) and operations
between devices. Copies to the device are watched for those that would wait.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import optimizer
from torch.utils._python_dispatch import TorchDispatchMode

from pixelwise import api, hardware
from pixelwise.catalog import SYSTEMS, create_model
from pixelwise.data.loader import TrainLoader
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.methods import base, optimised
from pixelwise.training import loaders, loop, session
from pixelwise.training.recipes import load_recipe
from pixelwise.training.setup import make_method

META = torch.device("meta")
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "unet": ("unet", "scenes", {"train.ema_decay": 0.9}),
    "unet on an encoder": ("unet", "scenes", {"model.encoder": "resnet18", "loss.class_weights": "median_frequency"}),
    "deeplab_v3": ("deeplab_v3", "scenes", {"loss.terms": {"focal": 1.0, "jaccard": 1.0}}),
    "segnet": ("segnet", "scenes", {"loss.terms": {"bce_log_dice": 1.0}}),
    "unet_original": ("unet_original", "scenes", {}),
    "hourglass": ("hourglass", "scenes", {}),
    "patch": ("patch", "scenes", {}),
    "pspnet": ("pspnet", "scenes", {"model.auxiliary": True}),
    "lenet5": ("lenet5", "digits", {}),
    "densenet121": ("densenet121", "digits", {}),
    "localizer": ("localizer", "boxes", {}),
    "overfeat_small": ("overfeat_small", "boxes", {}),
    "vae": ("vae", "digits", {}),
    "autoencoder": ("autoencoder", "digits", {}),
    "dcgan": ("dcgan", "digits", {"train.ema_decay": 0.9}),
    "vat": ("mlp", "digits", {"method.name": "vat", "method.epsilon": 1.0}),
}  # fmt: skip
"""Name -> network, data and settings: every family of the catalog, every method and every loss that is a sum."""
GIVEN = {"train.epochs": 1, "train.precision": "float32"}


class Copies(TorchDispatchMode):
    """Lists the copies from the CPU to a device that make the program wait."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self.waiting: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            source = args[1] if func._overloadpacket is torch.ops.aten.copy_ else args[0]
            blocking = not (kwargs or {}).get("non_blocking", len(args) > 2 and args[2])
            if source.device.type == "cpu" and result.device.type == "meta":
                self.made += 1
                if blocking:
                    self.waiting.append(f"{func} of {tuple(source.shape)}")
        return result


@pytest.fixture
def data(request: pytest.FixtureRequest, tmp_path: Path, scenes_folder: Path, digits_folder: Path) -> dict[str, Path]:
    write_coco_scenes(tmp_path / "boxes", train=4, val=2, size=(64, 96), digits=(1, 1))
    return {"scenes": scenes_folder, "digits": digits_folder, "boxes": tmp_path / "boxes"}


@pytest.mark.parametrize("case", CASES)
def test_a_step_reads_nothing_and_waits_for_nothing(
    case: str, data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, kind, settings = CASES[case]
    tiny = {key: value for key, value in SYSTEMS[name].tiny.items() if key not in {"in_channels", "size"}}
    if settings.get("model.encoder"):
        tiny = {}
    (tmp_path / "r.yaml").write_text(json.dumps({"model": {"name": name, **tiny}, "train": {"batch_size": 4}}))
    recipe = load_recipe(tmp_path / "r.yaml", {**settings, **GIVEN, "data.path": str(data[kind])})
    began = session.start(recipe, name="r", out=str(tmp_path / "run"))
    task = began.task
    batches = {}
    for stream in began.method.streams:
        loader = TrainLoader(
            began.data.cache, loaders.stream_records(began.data.dataset, stream), task.training_transform(began.recipe),
            targets=task.targets if stream.targets else None, batch_size=4, seed=0, stream=stream.name, workers=1,
        )  # fmt: skip
        generator = loader.batches()
        batches[stream.name] = next(generator)
        generator.close()

    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["meta"])
    for module in (hardware, base, optimised):
        monkeypatch.setattr(module, "reading_waits", lambda device: device.type == "meta")
    network = create_model(name, **task.network_options(began.recipe, began.data.facts))
    method = make_method(began.recipe, began.data, network, META)
    method.step(batches, 0.1)  # what is copied once, such as the weights of classes, may wait
    with Copies() as copies:
        scalars = method.step(batches, 0.5)
        method.step(batches, 0.9)
    assert not copies.waiting
    assert copies.made
    rate = scalars.pop("learning_rate")
    assert isinstance(rate, float)
    assert all(isinstance(value, Tensor) and value.device == META for value in scalars.values())
    assert all(parameter.device == META for parameter in method.network.parameters())
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        method.check()  # the numbers are read here, and nowhere before


@pytest.mark.parametrize(("name", "kind"), [("unet", "scenes"), ("dcgan", "digits"), ("vae", "digits")])
def test_reading_later_changes_no_weight(
    name: str, kind: str, data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of CUDA devices, taken on the CPU, ends with the same bytes."""
    tiny = {key: value for key, value in SYSTEMS[name].tiny.items() if key not in {"in_channels", "size"}}
    values = {"model": {"name": name, **tiny}, "train": {"batch_size": 4, "validations": 2, "epochs": 2}}
    (tmp_path / "r.yaml").write_text(json.dumps(values))
    overrides = {"optimizer.name": "adamw", "train.ema_decay": 0.9}
    now = api.train(tmp_path / "r.yaml", data=data[kind], out=tmp_path / "now", overrides=overrides)
    for module in (base, optimised, loop):
        monkeypatch.setattr(module, "reading_waits", lambda device: True)
    later = api.train(tmp_path / "r.yaml", data=data[kind], out=tmp_path / "later", overrides=overrides)
    assert later.best.read_bytes() == now.best.read_bytes()
    first, second = ([entry for entry in run.log() if entry["kind"] == "train"] for run in (now, later))
    for entry, other in zip(first, second, strict=True):
        assert other["loss"] == pytest.approx(entry["loss"], rel=1e-5)
        assert other["gradient_norm"] == pytest.approx(entry["gradient_norm"], rel=1e-5)
