"""Training: killed and resumed it ends with the same bytes; stopped, broken or changed it says so and loses nothing."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pixelwise import api
from pixelwise.catalog import create_model
from pixelwise.data.loader import Batch
from pixelwise.errors import UserError
from pixelwise.methods.base import TrainingDiverged
from pixelwise.methods.supervised import Supervised
from pixelwise.recipe.schedules import SCHEDULES, make_schedule
from pixelwise.tasks.segment.scores import SegmentScores
from pixelwise.training import loop
from pixelwise.training.loop import AFTER_SECONDS, Budget, Position
from pixelwise.training.run import open_run
from pixelwise.training.validation import Validation

TINY = {
    "model.name": "unet", "model.width": 4, "model.encoder": None, "augment.crop": [32, 48],
    "train.batch_size": 2, "train.validations": 3,
}  # fmt: skip
SHIPPED = ("best.safetensors", "metrics.json")


def train(data: Path, out: Path, epochs: float = 3, **more: object) -> bytes:
    run = api.train("unet", data=data, epochs=epochs, out=out, overrides={**TINY, **more})
    assert run.finished
    return shipped(out)


def shipped(run: Path) -> bytes:
    return b"".join((run / name).read_bytes() for name in SHIPPED)


@pytest.fixture(scope="module")
def reference(scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return train(scenes_folder, tmp_path_factory.mktemp("reference") / "run")


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    scenes_folder: Path, tmp_path: Path, reference: bytes
) -> None:
    assert train(scenes_folder, tmp_path / "same") == reference
    assert train(scenes_folder, tmp_path / "other", **{"train.seed": 1}) != reference


def test_everything_is_left_behind(scenes_folder: Path, tmp_path: Path) -> None:
    train(scenes_folder, tmp_path / "run", epochs=1)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "recipe.yaml", "log.jsonl", "last", "previous", "best.safetensors", "metrics.json", "limits.json",
        "report.html", "next.txt",
    }  # fmt: skip
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {"mean_iou", "pixel_accuracy", "iou", "definition"} <= metrics.keys()
    assert "void" in metrics["definition"]


@pytest.mark.parametrize("kill_at", [1, 3, 5, 8, 11])
def test_killed_after_any_step_and_resumed_the_bytes_are_the_same(
    scenes_folder: Path, tmp_path: Path, reference: bytes, kill_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies at once (os._exit) after a step: no handler, no flush."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    pid = os.fork()
    if pid == 0:
        real, done = Supervised.step, 0

        def step(self: Supervised, batch: object, progress: float) -> dict[str, float]:
            nonlocal done
            values = real(self, batch, progress)  # type: ignore[arg-type]
            done += 1
            if done == kill_at:
                os._exit(9)
            return values

        Supervised.step = step  # type: ignore[method-assign,assignment]
        try:
            train(scenes_folder, tmp_path / "run")
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert api.resume(tmp_path / "run").finished
    assert shipped(tmp_path / "run") == reference
    steps = [entry["step"] for entry in open_run(tmp_path / "run").log() if entry["kind"] == "validation"]
    assert steps == [4, 8, 12]


def test_averaged_equally_and_stopped_the_bytes_are_the_same(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"train.swa_start": 0.5, "schedule.final": 0.2}
    whole = train(scenes_folder, tmp_path / "whole", **settings)
    real = loop.step_seed
    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        count = itertools.count()
        patch.setattr(loop, "step_seed", lambda *place: real(*place) if next(count) < 11 else 1 // 0)
        with pytest.raises(ZeroDivisionError):
            train(scenes_folder, tmp_path / "run", **settings)
    api.resume(tmp_path / "run")
    assert shipped(tmp_path / "run") == whole
    last = open_run(tmp_path / "run").log()[-1]
    assert last["kind"] == "validation"
    assert {"mean_iou", "raw_mean_iou"} <= last.keys()
    assert "with averaged weights" in (tmp_path / "run" / "report.html").read_text()


def test_sigkill_at_random_moments(scenes_folder: Path, tmp_path: Path) -> None:
    """The command line, killed three times whenever, then left to finish."""
    settings = [f"{key}={json.dumps(value)}" for key, value in TINY.items()]
    start = [sys.executable, "-m", "pixelwise", "train", "unet", "--data", str(scenes_folder), "--epochs", "30"]
    start += [part for setting in settings for part in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*start, "--out", tmp_path / "whole"], check=True, env=environment, capture_output=True)
    command = [*start, "--out", str(tmp_path / "killed")]
    for wait in (0.3, 0.8, 0.5):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        recipe = tmp_path / "killed" / "recipe.yaml"
        deadline = time.monotonic() + 60
        while not recipe.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        command = [sys.executable, "-m", "pixelwise", "train", "--resume", str(tmp_path / "killed")]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert shipped(tmp_path / "killed") == shipped(tmp_path / "whole")


def test_ctrl_c_saves_and_says_how_to_go_on(
    scenes_folder: Path, tmp_path: Path, reference: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    real = Supervised.step

    def step(self: Supervised, batch: object, progress: float) -> dict[str, float]:
        if progress > 0.4:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, batch, progress)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "step", step)
        with pytest.raises(KeyboardInterrupt, match="--resume"):
            train(scenes_folder, tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before
    api.resume(tmp_path / "run")
    assert shipped(tmp_path / "run") == reference


def test_nan_is_caught_before_the_weights_change_and_explained(
    scenes_folder: Path, tmp_path: Path, reference: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Supervised.losses

    def losses(self: Supervised, network: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        found = real(self, network, batch)
        steps = int(self.optimised.optimizer.state_dict()["state"].get(0, {}).get("step", 0))
        return {name: value * float("nan") if steps == 6 else value for name, value in found.items()}

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "losses", losses)
        with pytest.raises(TrainingDiverged, match=r"loss became nan .* learning rate"):
            train(scenes_folder, tmp_path / "run")
    api.resume(tmp_path / "run")  # without the fault it goes on as if nothing had happened
    assert shipped(tmp_path / "run") == reference


def test_a_full_disk_is_a_sentence_and_the_run_goes_on_later(
    scenes_folder: Path, tmp_path: Path, reference: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, saves = loop.save_checkpoint, 0

    def save(folder: Path, state: dict[str, object]) -> None:
        nonlocal saves
        saves += 1
        if saves == 2:
            raise OSError(28, "No space left on device")
        real(folder, state)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save)
        with pytest.raises(UserError, match=r"No space left on device.*--resume"):
            train(scenes_folder, tmp_path / "run")
    api.resume(tmp_path / "run")
    assert shipped(tmp_path / "run") == reference


def interrupted(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **more: object) -> None:
    real = Supervised.step

    def step(self: Supervised, batch: object, progress: float) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return real(self, batch, progress)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "step", step)
        with pytest.raises(KeyboardInterrupt):
            train(data, out, **more)


def test_a_changed_recipe_or_changed_data_cannot_be_resumed(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(scenes_folder, data)
    interrupted(data, tmp_path / "run", monkeypatch)
    recipe = tmp_path / "run" / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("weight_decay: 0.02", "weight_decay: 0.03"))
    assert recipe.read_text() != text
    with pytest.raises(UserError, match="the recipe changed"):
        api.resume(tmp_path / "run")
    recipe.write_text(text)
    first = sorted((data / "masks").iterdir())[0]
    shutil.copy(sorted((data / "masks").iterdir())[1], first)
    with pytest.raises(UserError, match="the data changed"):
        api.resume(tmp_path / "run")


def test_resuming_needs_nothing_but_the_run(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pretrained weights may be gone, and the current folder another one."""
    network = create_model("resnet18", num_classes=2)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    options = {"model.encoder": "resnet18", "model.width": None, "model.decoder_channels": [8, 8, 8, 8, 8]}
    monkeypatch.chdir(tmp_path)
    interrupted(scenes_folder, tmp_path / "run", monkeypatch, **options, **{"model.weights": "w.safetensors"})
    (tmp_path / "w.safetensors").unlink()
    monkeypatch.chdir("/")
    assert api.resume(tmp_path / "run").finished


def test_half_the_size_comes_first_and_a_stop_changes_nothing(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    real = Supervised.step

    def step(self: Supervised, batch: Any, progress: float) -> Any:
        sizes.append(tuple(batch["labelled"].images.shape[-2:]))
        return real(self, batch, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "step", step)
        whole = train(scenes_folder, tmp_path / "whole", **{"train.half_size": 0.5})
    height, width = TINY["augment.crop"]
    half = len(sizes) // 2
    assert sizes == [(height // 2, width // 2)] * half + [(height, width)] * (len(sizes) - half)
    interrupted(scenes_folder, tmp_path / "run", monkeypatch, **{"train.half_size": 0.5})
    api.resume(tmp_path / "run")
    assert shipped(tmp_path / "run") == whole


def test_early_stopping(scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SegmentScores, "values", lambda self: {"mean_iou": 0.5, "pixel_accuracy": 0.5})
    train(scenes_folder, tmp_path / "run", epochs=10, **{"train.validations": 10, "train.patience": 2})
    validations = [entry for entry in open_run(tmp_path / "run").log() if entry["kind"] == "validation"]
    assert len(validations) == 3  # the first is the best, two more are no better


def test_minutes_are_kept(scenes_folder: Path, tmp_path: Path) -> None:
    run = api.train("unet", data=scenes_folder, minutes=0.05, out=tmp_path / "run", overrides=TINY)
    seconds = max(entry["seconds"] for entry in run.log())
    assert 1 < seconds < 10  # of 3 s half goes to training at least; a busy machine may finish its last step late


def test_validations_measure_a_share_of_the_pictures_and_the_end_measures_all(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated: list[int] = []
    original = Validation.__call__

    def call(self: Validation, method: Any, *, final: bool) -> dict[str, float]:
        validated.append(len(self.loader.records))
        return original(self, method, final=final)

    monkeypatch.setattr(Validation, "__call__", call)
    train(scenes_folder, tmp_path / "run", epochs=1, **{"train.validations": 2, "train.validated_share": 0.5})
    pictures = open_run(tmp_path / "run").metrics["pictures"]
    assert pictures > 1
    assert validated == [math.ceil(pictures / 2)] * 2


def test_minutes_are_those_of_the_whole_command() -> None:
    budget = Budget(minutes=10, spent=30, after=3)
    end = 600 - 30 - AFTER_SECONDS - (2 + 3) * 12
    assert Position(seconds=end / 2, validation_seconds=12).progress(budget) == pytest.approx(0.5)
    assert Position(seconds=end, validation_seconds=12).progress(budget) == 1
    part = Budget(minutes=10, spent=30, after=3, skipped=4)  # the end measures five times as many pictures
    later = Position(seconds=(end - 3 * 4 * 10) / 2, validation_seconds=12, scoring_seconds=10)
    assert later.progress(part) == pytest.approx(0.5)
    assert Position(seconds=100, validation_seconds=1e6).progress(Budget(minutes=10, spent=0)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("stop_at", "count"), [(0.4, 1), (0.6, 10)])
def test_a_score_that_is_good_enough_ends_the_run(
    stop_at: float, count: int, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SegmentScores, "values", lambda self: {"mean_iou": 0.5, "pixel_accuracy": 0.5})
    train(scenes_folder, tmp_path / "run", epochs=10, **{"train.validations": 10, "train.stop_at": stop_at})
    validations = [entry for entry in open_run(tmp_path / "run").log() if entry["kind"] == "validation"]
    assert len(validations) == count


def test_schedules_begin_at_1_end_at_0_and_never_rise_after_the_warm_up() -> None:
    for name in SCHEDULES:
        schedule = make_schedule(name, warmup=0.2)
        values = [schedule(0.2 + 0.8 * k / 100) for k in range(101)]
        assert values[0] == pytest.approx(1)
        assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(values))
        if name != "constant":
            assert values[-1] == pytest.approx(0, abs=1e-9)
        assert schedule(0.1) == pytest.approx(0.5)
    assert make_schedule("cosine", final=0.3)(1.0) == pytest.approx(0.3)
    with pytest.raises(UserError, match="did you mean 'cosine'"):
        make_schedule("cosin")


def test_a_run_ends_although_its_last_validation_gave_time_back(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By minutes, a validation that was quicker than the one before it leaves time; the run is over all the same."""
    calls = []

    def progress(self: Position, budget: Budget) -> float:
        calls.append(1)
        assert len(calls) < 1000, "the loop neither trains nor ends"
        all_used = self.step >= 3 + (self.validations >= 2)
        return 1.0 if all_used else self.step / 4

    monkeypatch.setattr(Position, "progress", progress)
    settings = {**TINY, "train.validations": 2}
    run = api.train("unet", data=scenes_folder, minutes=1, out=tmp_path / "run", overrides=settings)
    assert [entry["step"] for entry in run.log() if entry["kind"] == "validation"] == [2, 3]
