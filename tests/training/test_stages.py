"""Trainings in stages: each from the weights of the one before, and resumed wherever they were stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from pixelwise import api
from pixelwise.errors import UserError
from pixelwise.tasks.segment.task import Segment
from pixelwise.training import loop
from pixelwise.training.recipes import load_recipe, stage_recipes
from pixelwise.training.run import Run, open_run

RECIPE: dict[str, Any] = {
    "model": {"name": "unet", "width": 4},
    "augment": {"crop": [32, 48]},
    "train": {"batch_size": 2, "validations": 2, "epochs": 3.0},
    "stages": [
        {"about": "cross entropy", "share": 2, "set": {"loss.terms": {"cross_entropy": 1.0}}},
        {"about": "Dice", "share": 1, "set": {"loss.terms": {"dice": 1.0}, "optimizer.lr": 1e-5}},
    ],
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "staged.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return path


def shipped(run: Path) -> list[bytes]:
    folders = (run, Run(run).stage(1).path)
    return [(folder / name).read_bytes() for folder in folders for name in ("best.safetensors", "metrics.json")]


@pytest.fixture(scope="module")
def reference(scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staged")
    return api.train(written(folder), data=scenes_folder, out=folder / "run").path


def test_shares_and_settings_of_each_stage(tmp_path: Path) -> None:
    first, second = stage_recipes(load_recipe(written(tmp_path)))
    assert (first.train.epochs, second.train.epochs) == (2.0, 1.0)
    assert (first.loss.terms, second.loss.terms) == ({"cross_entropy": 1.0}, {"dice": 1.0})
    assert second.optimizer.lr == 1e-5
    assert not first.stages


def test_every_stage_is_a_run_and_the_last_is_the_folder_itself(reference: Path) -> None:
    run = open_run(reference)
    assert run.finished
    assert run.stage(1).finished
    assert run.planned.loss.terms == {"dice": 1.0}
    assert run.planned.model.options["weights"] == str(run.stage(1).path.resolve())
    assert run.planned.optimizer.encoder_lr_factor == 1.0
    assert api.load(reference).class_names == api.load(run.stage(1).path).class_names


def test_a_stage_starts_from_the_weights_of_the_one_before(scenes_folder: Path, tmp_path: Path) -> None:
    hardly = [RECIPE["stages"][0], {"set": {"optimizer.lr": 1e-12, "train.ema_decay": None, "train.epochs": 0.2}}]
    run = api.train(written(tmp_path, stages=hardly), data=scenes_folder, out=tmp_path / "run")
    before, after = load_file(run.stage(1).best), load_file(run.best)
    for name in before.keys() - {name for name in before if "running" in name or "num_batches" in name}:
        assert torch.allclose(before[name], after[name], atol=1e-8), name


@pytest.mark.parametrize(
    ("number", "settings", "words"),
    [
        (1, {"optimizer.freeze": "trunk"}, "stage 1: optimizer.freeze: .* keep their random weights"),
        (2, {"optimizer.freeze": "encodr"}, "stage 2: unknown module to freeze"),
        (2, {"normalize.mean": [1.0, 2.0]}, "stage 2: normalize.mean: 2 numbers found, 3 expected"),
    ],
)
def test_a_mistake_in_any_stage_is_found_before_anything_is_written(
    scenes_folder: Path, tmp_path: Path, number: int, settings: dict[str, Any], words: str
) -> None:
    stages = [dict(stage) for stage in RECIPE["stages"]]
    stages[number - 1]["set"] = settings
    with pytest.raises(UserError, match=words):
        api.train(written(tmp_path, stages=stages), data=scenes_folder, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_later_stage_may_keep_the_trunk_of_the_one_before(scenes_folder: Path, tmp_path: Path) -> None:
    stages = [{"set": {}}, {"set": {"optimizer.freeze": "trunk", "train.ema_decay": None}}]
    run = api.train(written(tmp_path, stages=stages), data=scenes_folder, epochs=1, out=tmp_path / "run")
    before, after = load_file(run.stage(1).best), load_file(run.best)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith("head.")}


class Stop(Exception):
    """Stands for the end of the process: nothing after it is written."""


@pytest.mark.parametrize("steps", [0, 3, 6, 8])
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bytes(
    scenes_folder: Path, tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    def seeds() -> Iterator[int]:
        yield from range(steps)

    allowed = seeds()
    real = loop.step_seed

    def counted(*place: int) -> int:
        if next(allowed, None) is None:
            raise Stop
        return real(*place)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "step_seed", counted)
        with pytest.raises(Stop):
            api.train(written(tmp_path), data=scenes_folder, out=tmp_path / "run")
    assert api.resume(tmp_path / "run").finished
    assert shipped(tmp_path / "run") == shipped(reference)


def test_killed_between_the_stages(scenes_folder: Path, tmp_path: Path, reference: Path) -> None:
    shutil.copytree(reference, tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        if path.name not in {"stages.yaml", "stages"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    first = open_run(tmp_path / "run").stage(1)
    assert first.resume_command == open_run(tmp_path / "run").resume_command
    run = api.resume(first.path)
    assert run.path == tmp_path / "run"
    assert run.metrics == open_run(reference).metrics


def test_mistakes_name_the_stage(tmp_path: Path) -> None:
    broken = [{}, {"set": {"optimizer.rate": 1}}]
    with pytest.raises(UserError, match=r"stage 2: unknown key 'optimizer.rate'"):
        load_recipe(written(tmp_path, stages=broken))
    with pytest.raises(UserError, match=r"'stages.0.share'.*greater than 0"):
        load_recipe(written(tmp_path, stages=[{"share": 0}]))


def test_without_a_budget_the_default_is_shared(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Segment, "crops", 10)
    run = api.train(
        written(tmp_path, train={"batch_size": 4, "validations": 1}), data=scenes_folder, out=tmp_path / "run"
    )
    assert run.stage(1).planned.train.epochs == pytest.approx(10 / 3)
    assert run.planned.train.epochs == pytest.approx(5 / 3)


def test_one_object_at_a_time_first(scenes_folder: Path, tmp_path: Path) -> None:
    stages = [{"set": {"augment.objects": 1.0}}, {"set": {}}]
    run = api.train(written(tmp_path, stages=stages), data=scenes_folder, epochs=2, out=tmp_path / "run")
    first = run.stage(1).planned.augment
    assert (first.objects, first.alone) == (1.0, True)  # class 0 of scenes is background
    assert (run.planned.augment.objects, run.planned.augment.alone) == (0.0, False)
    assert run.finished
