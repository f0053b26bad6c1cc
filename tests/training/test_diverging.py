"""Runs that diverge end in one sentence that says what to do, and what was saved before stays good."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pixelwise import api
from pixelwise.catalog import load_model
from pixelwise.data.digits import write_digits
from pixelwise.errors import NotFinite, UserError
from pixelwise.methods.base import TrainingDiverged
from pixelwise.methods.supervised import Supervised
from pixelwise.models.spec import read_spec, save_model
from pixelwise.nn.finite import check_answer, check_weights
from pixelwise.training import loop
from pixelwise.training.checkpoint import load_checkpoint

TINY = {"model.width": 4, "model.encoder": None, "augment.crop": [32, 48], "train.batch_size": 2,
        "train.validations": 3, "train.epochs": 3}  # fmt: skip
WHAT_TO_DO = (
    r"the training run diverged: .*smaller learning rate.*--set optimizer\.lr=.* --set optimizer\.clip_norm=1 --out"
)


@pytest.fixture(autouse=True)
def _no_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


@pytest.mark.parametrize("clip", [5.0, None])
@pytest.mark.parametrize(("name", "rate"), [("sgd", 1e4), ("sgd", 1e30), ("adamw", 1e3), ("adamw", 1e30)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_whatever_the_rate_there_is_a_sentence_or_a_result(
    name: str, rate: float, precision: str, clip: float | None, scenes_folder: Path, tmp_path: Path
) -> None:
    settings = {**TINY, "optimizer.name": name, "optimizer.lr": rate, "optimizer.clip_norm": clip,
                "train.precision": precision, "train.epochs": 1}  # fmt: skip
    said = ""
    try:
        api.train("unet", data=scenes_folder, out=tmp_path / "run", overrides=settings)
    except TrainingDiverged as error:
        said = str(error)
    assert not said or (re.search(WHAT_TO_DO, said) and said.startswith(f"{tmp_path / 'run'}: "))
    state = load_checkpoint(tmp_path / "run")
    if state is not None:
        assert all(value.isfinite().all() for value in state["method"]["network"].values())
    if (tmp_path / "run" / "best.safetensors").exists():
        load_model(tmp_path / "run" / "best.safetensors")


@pytest.mark.parametrize("model", ["lenet5", "vae", "autoencoder", "dcgan"])
def test_networks_of_other_tasks(model: str, tmp_path: Path) -> None:
    write_digits(tmp_path / "digits", train=4, val=2)
    settings = {"optimizer.name": "sgd", "optimizer.lr": 1e30, "train.batch_size": 8, "train.validations": 1}
    with pytest.raises(TrainingDiverged, match=WHAT_TO_DO):
        api.train(model, data=tmp_path / "digits", epochs=2, out=tmp_path / "run", overrides=settings)


@pytest.mark.parametrize("factor", [float("nan"), 1e30])
def test_weights_that_diverge_before_a_validation_spoil_nothing(
    factor: float, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Infinite answers of finite weights count as well. Without the fault the run goes on as if there had been none."""
    api.train("unet", data=scenes_folder, out=tmp_path / "whole", overrides=TINY)
    real, done = Supervised.step, 0

    def step(self: Supervised, batches: Any, progress: float) -> dict[str, float]:
        nonlocal done
        values = real(self, batches, progress)
        done += 1
        if done == 8:  # the last step before the second validation
            with torch.no_grad():
                for parameter in (*self.network.parameters(), *self.shipped().parameters()):
                    parameter *= factor
        return values

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "step", step)
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        with pytest.raises(TrainingDiverged, match=r"last checkpoint is from before, and so is best\.safetensors"):
            api.train("unet", data=scenes_folder, out=tmp_path / "run", overrides=TINY)
    load_model(tmp_path / "run" / "best.safetensors")
    assert api.resume(tmp_path / "run").finished
    for file in ("best.safetensors", "metrics.json"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_file_of_weights_that_diverged(scenes_folder: Path, tmp_path: Path) -> None:
    """Evaluation and prediction name the file, or the picture whose answer is no number."""
    run = tmp_path / "run"
    api.train("unet", data=scenes_folder, out=run, overrides={**TINY, "train.epochs": 1, "train.validations": 1})
    best = run / "best.safetensors"
    tensors, spec = load_file(best), read_spec(best)
    name = next(name for name in tensors if name.endswith("weight"))
    save_model(best, {**tensors, name: tensors[name] * float("inf")}, spec)
    for call in (lambda: api.evaluate(run), lambda: api.predict(run, scenes_folder, tmp_path / "out")):
        with pytest.raises(UserError, match=r"best\.safetensors: its network cannot be built \(the weights became NaN"):
            call()
    huge = {name: value * 1e30 if value.is_floating_point() else value for name, value in tensors.items()}
    save_model(best, huge, spec)
    with pytest.raises(NotFinite, match=r"val-0000: the network returns NaN"):
        api.evaluate(run)
    with pytest.raises(UserError, match=r"0 of 12 pictures predicted.*\n.*images/train-0000\.png: the network returns"):
        api.predict(run, scenes_folder / "images", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_changed_byte_is_noticed(scenes_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    api.train("unet", data=scenes_folder, out=run, overrides={**TINY, "train.epochs": 1, "train.validations": 1})
    best = run / "best.safetensors"
    content = bytearray(best.read_bytes())
    content[-100] ^= 1
    best.write_bytes(content)
    with pytest.raises(UserError, match="damaged: its bytes are not those that were written"):
        api.load(best)
    with pytest.raises(UserError, match="damaged: its bytes are not those that were written"):
        api.train("unet", data=scenes_folder, out=tmp_path / "b", overrides={**TINY, "model.weights": str(run)})
    save_file(load_file(best), best, metadata={"other": "file"})
    with pytest.raises(UserError, match="holds weights without a description"):
        api.load(best)


def test_what_counts_as_a_number() -> None:
    good = (torch.ones(2), {"a": torch.zeros(1), "b": torch.tensor([7])}, None)
    assert check_answer(good) is good
    for bad in (float("nan"), float("inf")):
        with pytest.raises(NotFinite):
            check_answer((good, torch.tensor([1.0, bad])))
    norm = torch.nn.BatchNorm2d(2)
    check_weights(norm)
    norm.running_var[1] = float("inf")
    with pytest.raises(NotFinite):
        check_weights(norm)
