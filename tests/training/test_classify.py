"""Classifiers from a folder to a measured run, and what moves from one task to another."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pixelwise
from pixelwise import api
from pixelwise.errors import UserError
from pixelwise.methods.supervised import Supervised
from pixelwise.tasks.classify.inference import ClassifyInference

SMALL = {"augment.crop": [32, 32], "train.batch_size": 8, "train.validations": 2, "train.precision": "float32"}


@pytest.fixture(scope="module")
def run(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5 trained for some epochs on three digits."""
    out = tmp_path_factory.mktemp("runs") / "lenet"
    api.train(
        "lenet5", data=digits_folder, epochs=12, out=out, overrides={"train.batch_size": 8, "optimizer.lr": 0.003}
    )
    return out


def test_it_learns_and_writes_all_of_a_run(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.9
    assert set(metrics["recall"]) == {"digit0", "digit1", "digit2"}
    assert "Right with high confidence" in (run / "report.html").read_text()
    assert "pixelwise predict" in (run / "next.txt").read_text()


def test_evaluating_again_gives_the_same_numbers(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert api.evaluate(run) == metrics


def test_prediction_of_files_of_any_kind(run: Path, digits_folder: Path, tmp_path: Path) -> None:
    predictor = api.load(run)
    assert isinstance(predictor.inference, ClassifyInference)
    answer = predictor(digits_folder / "digit0" / "00.png")
    assert answer.class_name == "digit0"
    assert answer.confidence == pytest.approx(answer.top(1)[0][1])
    assert answer.probabilities.sum() == pytest.approx(1, abs=1e-5)
    for shape, dtype in (((8, 8), np.uint8), ((90, 300, 3), np.uint8), ((1, 1), np.uint8), ((20, 20, 1), np.float32)):
        assert predictor((np.ones(shape) * 100).astype(dtype)).probabilities.shape == (3,)
    table = api.predict(run, digits_folder, tmp_path / "out")
    with table[0].open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 72
    right = sum(row["picture"].startswith(row["class"] + "/") for row in rows)
    assert right / 72 > 0.9
    with pytest.raises(UserError, match="would be overwritten"):
        api.predict(run, digits_folder, tmp_path / "out")


def test_one_bad_picture_does_not_stop_the_others(run: Path, digits_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "good.png").write_bytes((digits_folder / "digit1" / "00.png").read_bytes())
    with pytest.raises(UserError, match=r"(?s)1 of 2 pictures predicted.*bad\.png"):
        api.predict(run, tmp_path, tmp_path / "out")
    assert "good.png,digit1" in (tmp_path / "out" / "predictions.csv").read_text()


@pytest.mark.parametrize("option", [{"scales": (0.5, 1.0)}, {"refine": "crf"}, {"tile": 64}])
def test_options_of_other_networks_are_refused(run: Path, option: dict[str, object]) -> None:
    with pytest.raises(
        UserError, match=f"lenet5, trained for the task 'classify', has no option --{next(iter(option))};"
    ):
        api.load(run, **option)


def test_flips_average_probabilities(run: Path, digits_folder: Path) -> None:
    picture = digits_folder / "digit2" / "03.png"
    plain, mirrored = api.load(run, precision="float32"), api.load(run, precision="float32", flips="horizontal")
    picture = plain.read(picture)
    both = plain.inference.probabilities([picture, np.ascontiguousarray(picture[:, ::-1])]).mean(0)
    np.testing.assert_allclose(mirrored(picture).probabilities, both, atol=1e-6)


def test_a_run_killed_and_resumed_ends_with_the_same_bytes(digits_folder: Path, tmp_path: Path) -> None:
    runs = []
    for name in ("whole", "stopped"):
        out = tmp_path / name
        arguments = {"data": digits_folder, "epochs": 2, "out": out, "overrides": {"train.batch_size": 8}}
        if name == "whole":
            api.train("lenet5", **arguments)
        else:
            _stop_after(5, arguments)
            api.resume(out)
        runs.append(out)
    for file in ("best.safetensors", "metrics.json"):
        assert (runs[0] / file).read_bytes() == (runs[1] / file).read_bytes()


def _stop_after(steps: int, arguments: dict[str, object]) -> None:
    step, done = Supervised.step, []

    def counted(self: Supervised, *given: object) -> dict[str, float]:
        if len(done) == steps:
            os.kill(os.getpid(), signal.SIGINT)  # the loop ends this step, saves, and stops
        done.append(None)
        return step(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Supervised, "step", counted)
        with pytest.raises(KeyboardInterrupt):
            api.train("lenet5", **arguments)


def test_tasks_and_data_must_agree(digits_folder: Path, scenes_folder: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="give a class per picture, but unet learns from a class per pixel or a number per pixel; leave"
    ):
        api.train("unet", data=digits_folder, out=tmp_path / "a")
    with pytest.raises(
        UserError,
        match="give a class per pixel, but resnet18 learns from a class per picture; train a network that labels",
    ):
        api.train("resnet18", data=scenes_folder, out=tmp_path / "b")
    with pytest.raises(
        UserError, match="lenet5 was trained for the task 'classify', and the labels do not show what it predicts"
    ):
        api.evaluate(run, data=scenes_folder)
    assert not list(tmp_path.iterdir())


def test_a_window_is_kept_to(digits_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only takes 32 x 32 pixels"):
        api.train("lenet5", data=digits_folder, out=tmp_path / "a", overrides={"augment.crop": [40, 40]})


def test_one_class_is_nothing_to_learn(digits_folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        for split in ("train", "val"):
            target = tmp_path / "data" / split / "only" / f"{split}{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((digits_folder / "digit0" / f"{number:02d}.png").read_bytes())
    with pytest.raises(UserError, match="all pictures of the split 'train' are of the class 'only'"):
        api.train("lenet5", data=tmp_path / "data", out=tmp_path / "run", overrides={"data.layout": "classes"})


def test_what_is_frozen_stays_and_a_new_head_fits_other_classes(run: Path, digits_folder: Path, tmp_path: Path) -> None:
    """Transfer: from three classes to two, with all but the head kept bitwise."""
    for name in ("digit1", "digit2"):
        (tmp_path / "two" / name).mkdir(parents=True)
        for file in (digits_folder / name).iterdir():
            (tmp_path / "two" / name / file.name).write_bytes(file.read_bytes())
    transferred = api.train(
        "lenet5",
        data=tmp_path / "two",
        epochs=3,
        out=tmp_path / "run",
        overrides={"model.weights": str(run), "optimizer.freeze": "trunk", "train.batch_size": 8},
    )
    before, after = load_file(run / "best.safetensors"), load_file(transferred.best)
    heads = pixelwise.create_model("lenet5", num_classes=2).heads
    assert before.keys() == after.keys()
    for name, value in after.items():
        in_head = any(f".{head}." in f".{name}." for head in heads)
        assert torch.equal(value, before[name]) == (not in_head), name


def test_from_classification_to_segmentation_and_back(digits_folder: Path, scenes_folder: Path, tmp_path: Path) -> None:
    overrides = {**SMALL, "train.ema_decay": None}
    first = api.train("resnet18", data=digits_folder, epochs=0.2, out=tmp_path / "classify", overrides=overrides)
    dense = api.train(
        "unet",
        data=scenes_folder,
        epochs=1,
        out=tmp_path / "segment",
        overrides={
            **overrides,
            "model.encoder": "resnet18",
            "model.weights": str(first.path),
            "optimizer.freeze": ["encoder"],
        },
    )
    ours, theirs = load_file(dense.best), load_file(first.best)
    shared = [name for name in theirs if f"encoder.{name}" in ours]
    assert len(shared) > 100
    # The encoder of three channels takes the grey one's first filters repeated; all else is as it was.
    assert all(torch.equal(ours[f"encoder.{name}"], theirs[name]) for name in shared if name != "conv1.weight")
    back = api.train(
        "resnet18",
        data=digits_folder,
        epochs=0.2,
        out=tmp_path / "back",
        overrides={**overrides, "model.weights": str(dense.path), "optimizer.freeze": "trunk"},
    )
    again = load_file(back.best)
    assert all(torch.equal(again[name], theirs[name]) for name in shared if name != "conv1.weight")
