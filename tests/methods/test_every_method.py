"""What every method of the catalog must do, tested once for all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pixelwise import api, methods
from pixelwise.catalog import METHODS, SYSTEMS, create_model, list_models, load_model
from pixelwise.data.digits import write_digits
from pixelwise.data.pair_scenes import write_pair_scenes
from pixelwise.data.pictures import write_png
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.training import loop, session
from pixelwise.training.progress import Silent
from pixelwise.training.recipes import load_recipe
from pixelwise.training.run import Run

SIXTH = {"digits": 10, "scenes": 4, "pairs": 4}
"""A sixth of the training pictures, so that an epoch has six steps."""
QUICKER: dict[str, dict[str, Any]] = {"rcnn": {"fitted": 24}}
"""Options of methods that take long with their defaults."""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder, train=6, val=4)
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "coco"
    write_coco_scenes(folder, train=24, val=4, size=(56, 64), digits=(1, 2))
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "pairs"
    write_pair_scenes(folder, train=24, val=4, size=(32, 32))
    return folder


@pytest.fixture
def suited(method: str, digits: Path, scenes: Path, pairs: Path) -> Path:
    """Data with the labels that the network of `settings` needs."""
    return {"digits": digits, "scenes": scenes, "pairs": pairs}[kind_of_data(method)]


def learner(method: str) -> str:
    """A network that is taught so by default, else any small classifier."""
    others = (name for name, each in SYSTEMS.items() if each.method == method != "supervised")
    return next(others, "mlp")


def kind_of_data(method: str) -> str:
    needs = SYSTEMS[learner(method)].task.needs
    return "scenes" if "objects" in needs else "pairs" if needs & {"domains", "pairs"} else "digits"


def settings(method: str, *, epochs: float = 1.0) -> dict[str, Any]:
    name = learner(method)
    decided = SYSTEMS[name].task.decided_options
    tiny = {key: value for key, value in SYSTEMS[name].tiny.items() if key not in decided}
    return {
        "model": {"name": name, **tiny},
        "method": {"name": method, **QUICKER.get(method, {})},
        "train": {"epochs": epochs, "batch_size": SIXTH[kind_of_data(method)], "validations": 3, "seed": 3},
    }


def run(method: str, digits: Path, out: Path) -> Path:
    recipe = out.with_suffix(".yaml")
    recipe.write_text(json.dumps(settings(method)))
    api.train(recipe, data=digits, out=out)
    return out


@pytest.mark.parametrize("method", METHODS)
def test_killed_and_resumed_gives_the_same_bytes(
    method: str, suited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(method, suited, tmp_path / "whole")
    steps: list[int] = []

    class Killed(Exception):
        pass

    original = METHODS[method].step

    def step(self: object, *args: object) -> dict[str, float]:
        if len(steps) == 4:
            raise Killed
        steps.append(1)
        return original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(METHODS[method], "step", step)
        with pytest.raises(Killed):
            run(method, suited, tmp_path / "stopped")
    resumed = api.resume(tmp_path / "stopped")
    assert resumed.best.read_bytes() == (whole / "best.safetensors").read_bytes()
    assert (tmp_path / "stopped" / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_moves_and_the_shipped_network_loads(method: str, suited: Path, tmp_path: Path) -> None:
    out = run(method, suited, tmp_path / "run")
    network, spec = load_model(out / "best.safetensors")
    torch.manual_seed(3)
    fresh = create_model(spec.model, **spec.options)
    moved = dict(network.named_parameters())
    assert not [name for name, value in fresh.named_parameters() if torch.equal(value, moved[name])]


def test_a_method_that_cannot_teach_a_network_is_one_sentence(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"adversarial trains a generator of pictures .*mlp is not such a pair"):
        api.train("mlp", data=digits, out=tmp_path / "a", overrides={"method.name": "adversarial"})
    with pytest.raises(UserError, match="vat trains networks that predict class probabilities"):
        api.train("vae", data=digits, out=tmp_path / "b", overrides={"method.name": "vat"})
    with pytest.raises(UserError, match="did you mean 'vat'"):
        api.train("mlp", data=digits, out=tmp_path / "c", overrides={"method.name": "vatt"})
    with pytest.raises(UserError, match=r"unknown key 'method.epsilonn'; did you mean 'method.epsilon'"):
        api.train("mlp", data=digits, out=tmp_path / "d", overrides={"method.name": "vat", "method.epsilonn": 1.0})
    write_pair_scenes(tmp_path / "pairs", train=2, val=1, size=(32, 32))
    overrides = {"method.name": "adversarial", "model.depth": 2, "model.width": 4}
    with pytest.raises(UserError, match=r"adversarial trains a generator .*pix2pix is not such a pair"):
        api.train("pix2pix", data=tmp_path / "pairs", out=tmp_path / "e", overrides=overrides)
    assert not any((tmp_path / name).exists() for name in "abcde")


def test_adversarial_updates_each_network_by_its_own_optimiser(digits: Path, tmp_path: Path) -> None:
    """The generator's step leaves the discriminator bitwise alone, and the other way round."""
    values = {**settings("adversarial"), "method": {"name": "adversarial", "discriminator_steps": 2}}
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps(values))
    began = session.start(load_recipe(path, {"data.path": str(digits)}), name="r", out=str(tmp_path / "run"))
    method = began.method
    changed: list[set[str]] = []

    def watch(part: str) -> None:
        optimised = getattr(method, part)
        original = optimised.step

        def step(*args: object) -> dict[str, float]:
            before = {key: value.clone() for key, value in method.network.named_parameters()}
            done = original(*args)
            changed.append(
                {k.split(".")[0] for k, v in method.network.named_parameters() if not torch.equal(v, before[k])}
            )
            return done

        optimised.step = step

    watch("generator")
    watch("discriminator")
    session.execute(began, Silent())
    assert changed
    assert changed == [{"discriminator"}, {"discriminator"}, {"generator"}] * (len(changed) // 3)


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_the_averaged_generator_is_what_ships(ema_decay: float | None, digits: Path, tmp_path: Path) -> None:
    values: dict[str, Any] = settings("adversarial")
    values["train"]["ema_decay"] = ema_decay
    (tmp_path / "r.yaml").write_text(json.dumps(values))
    began = session.start(
        load_recipe(tmp_path / "r.yaml", {"data.path": str(digits)}), name="r", out=str(tmp_path / "a")
    )
    session.execute(began, Silent())
    taught, shipped = began.method.network, began.method.shipped()
    assert shipped.discriminator is taught.discriminator
    assert (shipped.generator is taught.generator) == (ema_decay is None)
    moved = map(torch.equal, shipped.generator.parameters(), taught.generator.parameters())
    assert all(moved) == (ema_decay is None)


def test_labels_of_real_pictures_alone_are_smoothed(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratios: list[float] = []
    original = methods.adversarial.discriminator_loss

    def watched(real: torch.Tensor, fake: torch.Tensor, kind: str, **options: float) -> torch.Tensor:
        loss = original(real, fake, kind, **options)
        targets = torch.cat([torch.full_like(real, 0.75), torch.zeros_like(fake)])
        mean = torch.nn.functional.binary_cross_entropy_with_logits(torch.cat([real, fake]).float(), targets.float())
        ratios.append(float(loss.detach() / mean.detach()))
        return loss

    monkeypatch.setattr(methods.adversarial, "discriminator_loss", watched)
    method = {"name": "adversarial", "label_smoothing": 0.25}
    (tmp_path / "r.yaml").write_text(json.dumps({**settings("adversarial"), "method": method}))
    api.train(tmp_path / "r.yaml", data=digits, out=tmp_path / "run")
    assert ratios
    assert ratios == pytest.approx([2.0] * len(ratios), rel=1e-4)  # the sum of two means over as many pictures


def test_vat_reads_no_labels_of_its_second_stream(digits: Path, tmp_path: Path) -> None:
    """Pictures of another folder take part without labels, and what they are called there does not matter."""
    shutil.copytree(digits / "val", tmp_path / "more")
    for folder in (tmp_path / "more").iterdir():
        folder.rename(tmp_path / "more" / f"other{folder.name}")
    one = api.train(
        "mlp", data=digits, unlabelled=tmp_path / "more", epochs=1, out=tmp_path / "one",
        overrides={"method.name": "vat", "model.hidden": [8]},
    )  # fmt: skip
    assert "unlabelled" in one.planned.provenance["data"]["pictures"]
    assert one.planned.provenance["data"]["pictures"]["unlabelled"] == 40
    assert one.planned.data.unlabelled == str((tmp_path / "more").resolve())


def test_the_virtual_adversarial_loss_counts_by_its_weight(digits: Path, tmp_path: Path) -> None:
    """Weight 0 is supervised training to the byte, any other something else by the loss that is logged."""

    def trained(folder: str, **method: object) -> Run:
        overrides = {
            "model.hidden": [8],
            "model.batch_norm": True,
            "train.ema_decay": None,
            **{f"method.{k}": v for k, v in method.items()},
        }
        return api.train("mlp", data=digits, epochs=1, out=tmp_path / folder, overrides=overrides)

    alone, without = trained("alone"), trained("without", name="vat", weight=0.0)
    whole = trained("whole", name="vat", weight=3.0, ramp=0.0)
    first, second, third = (load_file(run.best) for run in (alone, without, whole))
    assert not [key for key in first if not torch.equal(first[key], second[key])]  # running statistics among them
    assert not [key for key in first if key.endswith("weight") and torch.equal(first[key], third[key])]
    for entry in (entry for entry in whole.log() if entry["kind"] == "train"):
        assert entry["vat"] > 0
        assert entry["loss"] == pytest.approx(entry["cross_entropy"] + 3 * entry["vat"], rel=1e-5)


def test_epsilon_rises_over_the_ramp(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[tuple[float, float]] = []
    original = methods.vat.virtual_adversarial_loss

    def watched(*arguments: Any, epsilon: float, xi: float, **others: Any) -> torch.Tensor:
        lengths.append((epsilon, xi))
        return original(*arguments, epsilon=epsilon, xi=xi, **others)

    monkeypatch.setattr(methods.vat, "virtual_adversarial_loss", watched)
    overrides = {"method.name": "vat", "method.epsilon": 2.0, "method.ramp": 0.5, "model.hidden": [8]}
    api.train("mlp", data=digits, epochs=1, out=tmp_path / "run", overrides={**overrides, "train.batch_size": 6})
    shares = [epsilon / 2 for epsilon, _ in lengths]
    assert shares == pytest.approx([min(max(step / 10 / 0.5, 0.005), 1) for step in range(10)])
    assert [xi for _, xi in lengths] == pytest.approx([0.1 * epsilon for epsilon, _ in lengths])


def test_vat_needs_different_pictures_to_take_epsilon_from(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            write_png(tmp_path / "data" / name / f"{number}.png", np.full((8, 8), 7, np.uint8))
    unchanged = {f"augment.{key}": 0.0 for key in ("rotate", "brightness", "contrast", "noise", "blur")}
    overrides = {"method.name": "vat", "model.hidden": [8], "augment.scale": [1.0, 1.0], **unchanged}
    with pytest.raises(UserError, match=r"6 different pictures .* too alike .*; set method\.epsilon"):
        api.train("mlp", data=tmp_path / "data", epochs=1, out=tmp_path / "one", overrides=overrides)
    overrides["method.epsilon"] = 1.0
    assert api.train("mlp", data=tmp_path / "data", epochs=1, out=tmp_path / "two", overrides=overrides).finished


def test_every_task_has_a_system_and_every_system_a_known_method() -> None:
    assert {each.method for each in SYSTEMS.values()} <= METHODS.keys()
    assert all(list_models(task) for task in {task.name for each in SYSTEMS.values() for task in each.tasks})
