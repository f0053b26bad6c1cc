"""Runs whose data was moved: the same data anywhere gives the same bytes, other data is refused with what differs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pixelwise import api
from pixelwise.data.digest import digest
from pixelwise.data.formats import open_dataset
from pixelwise.errors import UserError
from pixelwise.methods.supervised import Supervised
from pixelwise.training.lock import locked
from pixelwise.training.run import Run, open_run

TINY = {"model.width": 4, "model.encoder": None, "augment.crop": [32, 48], "train.batch_size": 2,
        "train.validations": 2, "train.epochs": 2}  # fmt: skip


def bytes_of(run: Path) -> bytes:
    return b"".join((run / name).read_bytes() for name in ("best.safetensors", "metrics.json"))


def interrupted(recipe: str, data: Path, out: Path, steps: int = 1, **more: object) -> None:
    """Trains for some steps and is stopped by Ctrl-C."""
    real, done = Supervised.step, 0

    def step(self: Supervised, batches: object, progress: float) -> dict[str, float]:
        nonlocal done
        done += 1
        if done == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, batches, progress)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Supervised, "step", step)
        with pytest.raises(KeyboardInterrupt):
            api.train(recipe, data=data, out=out, overrides={**TINY, **more})


@pytest.fixture
def data(scenes_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scenes_folder, tmp_path / "data"))


def test_the_run_goes_on_at_the_new_place_to_the_same_bytes(data: Path, tmp_path: Path) -> None:
    api.train("unet", data=data, out=tmp_path / "whole", overrides=TINY)
    run = tmp_path / "run"
    interrupted("unet", data, run)
    reasons = [line for line in (run / "recipe.yaml").read_text().splitlines() if "#" in line]
    data.rename(tmp_path / "elsewhere")
    command = rf"`pixelwise train --resume {run} --data NEW_PLACE`$"
    with pytest.raises(UserError, match=command):
        api.resume(run)
    api.resume(run, data=tmp_path / "elsewhere")
    assert bytes_of(run) == bytes_of(tmp_path / "whole")
    assert open_run(run).planned.data.path == str(tmp_path / "elsewhere")
    assert [line for line in (run / "recipe.yaml").read_text().splitlines() if "#" in line] == reasons
    assert api.evaluate(run) == api.evaluate(tmp_path / "whole", data=tmp_path / "elsewhere")


def test_other_data_is_refused_and_nothing_is_written(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    interrupted("unet", data, run)
    before = (run / "recipe.yaml").read_bytes()
    other = tmp_path / "other"
    shutil.copytree(data, other)
    masks = sorted((other / "masks").rglob("*.png"))
    shutil.copy(masks[1], masks[0])
    with pytest.raises(UserError, match=r"the data changed since this run was started \(the labels differ\).*undo"):
        api.resume(run, data=other)
    names = (other / "classes.txt").read_text()
    (other / "classes.txt").write_text(names.replace("9", "nine"))
    with pytest.raises(UserError, match=r"the classes background, .* 8, nine instead of .* 8, 9"):
        api.resume(run, data=other)
    with pytest.raises(UserError, match="nowhere"):
        api.resume(run, data=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"without data\.unlabelled"):
        api.resume(run, unlabelled=data)
    assert (run / "recipe.yaml").read_bytes() == before


def test_a_place_edited_by_hand_will_do(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    interrupted("unet", data, run)
    data.rename(tmp_path / "elsewhere")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(data), str(tmp_path / "elsewhere")))
    assert api.resume(run).finished


@pytest.mark.parametrize("kind", ["stages", "variants"])
def test_stages_and_variants_move_with_their_run(kind: str, data: Path, tmp_path: Path) -> None:
    one, two = {"set": {"optimizer.lr": 0.002}}, {"set": {"optimizer.lr": 0.001}}
    parts = [one, two] if kind == "stages" else {"fast": one, "slow": two}
    more: dict[str, object] = {kind: parts, "train.validations": 1}
    api.train("unet", data=data, out=tmp_path / "whole", overrides={**TINY, **more})
    run = tmp_path / "run"
    interrupted("unet", data, run, **more)
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="--data NEW_PLACE"):
        api.resume(run)
    api.resume(run, data=tmp_path / "elsewhere")
    last = "." if kind == "stages" else "variants/slow"
    assert bytes_of(run / last) == bytes_of(tmp_path / "whole" / last)
    recipes = [file.read_text() for file in run.rglob("*.yaml")]
    assert len(recipes) == 3
    assert not any(str(data) in text for text in recipes)


def test_the_digest_does_not_depend_on_where_the_folders_lie(scenes_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes_folder, tmp_path / "a" / "labelled")
    shutil.copytree(scenes_folder / "images", tmp_path / "more")
    there = digest(open_dataset(tmp_path / "a" / "labelled", unlabelled=tmp_path / "more"))
    (tmp_path / "a" / "labelled").rename(tmp_path / "z")
    assert digest(open_dataset(tmp_path / "z", unlabelled=tmp_path / "more")) == there
    next((tmp_path / "more").rglob("*.png")).unlink()
    assert digest(open_dataset(tmp_path / "z", unlabelled=tmp_path / "more")) != there


def test_one_process_at_a_time(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    interrupted("unet", data, run)
    with locked(Run(run)):
        command = [sys.executable, "-m", "pixelwise", "train", "--resume", str(run)]
        second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 1
    assert "another process is training this run" in second.stderr
    assert "Traceback" not in second.stderr
    assert api.resume(run).finished
