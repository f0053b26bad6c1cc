"""Minutes are planned by what a few steps took; epochs time nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pixelwise import api
from pixelwise.methods.base import TrainingDiverged
from pixelwise.recipe.draft import MEGAPIXEL, Pace
from pixelwise.training import pace, session

TINY = {
    "model.encoder": None,
    "model.width": 4,
    "augment.crop": [32, 48],
    "train.batch_size": 2,
}


def test_minutes_are_planned_from_measured_steps(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Pace] = []

    def measure(*args: Any, **options: Any) -> Pace:
        measured.append(pace.measure_pace(*args, **options))
        return measured[-1]

    monkeypatch.setattr(session, "measure_pace", measure)
    run = api.train("unet", data=scenes_folder, minutes=0.1, out=tmp_path / "run", overrides=TINY)
    (found,) = measured
    assert found.megapixels_per_second > 0
    assert found.validation_seconds > 0
    assert 0 < found.seconds < 6
    assert found.held_out == run.metrics["pictures"]
    assert "a validation takes about" in run.recipe_file.read_text()
    assert run.planned.train.validations <= 10


def test_epochs_time_nothing(scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> Pace:
        raise AssertionError("steps were timed")

    monkeypatch.setattr(session, "measure_pace", refuse)
    assert api.train("unet", data=scenes_folder, epochs=0.1, out=tmp_path / "run", overrides=TINY).finished


def test_crops_that_fit_into_the_time() -> None:
    pace_of_one = Pace(megapixels_per_second=1.0, validation_seconds=0.0, held_out=1, seconds=100.0)
    assert pace_of_one.crops((1024, 1024)) == pytest.approx(90)
    assert pace_of_one.crops((512, 1024), share=1) == pytest.approx(100 * MEGAPIXEL / (512 * 1024))


def test_a_run_that_diverges_while_it_is_timed_says_what_to_do(scenes_folder: Path, tmp_path: Path) -> None:
    overrides = {**TINY, "optimizer.lr": 1e30, "optimizer.clip_norm": None, "schedule.warmup": 0.0}
    with pytest.raises(TrainingDiverged, match=r"first steps diverged: .*nothing was written.*optimizer\.lr=0\.001"):
        api.train("unet", data=scenes_folder, minutes=0.1, out=tmp_path / "run", overrides=overrides)
    assert not (tmp_path / "run").exists()
