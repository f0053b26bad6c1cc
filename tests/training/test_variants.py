"""Variants of a training: each a run of its own, compared at the end, and resumed wherever they were stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.neighbors import KNeighborsClassifier

from pixelwise import api
from pixelwise.data.digits import write_digits
from pixelwise.data.formats import open_dataset
from pixelwise.errors import UserError
from pixelwise.recipe.recipe import digest, to_yaml
from pixelwise.report.variants import VariantMean
from pixelwise.tasks.classify.references import REFERENCES
from pixelwise.tasks.classify.scores import HEADLINES
from pixelwise.training import loop
from pixelwise.training.recipes import load_recipe, variant_recipes
from pixelwise.training.run import Run, open_run
from pixelwise.training.variants import worse_with_more_labels

RECIPE: dict[str, Any] = {
    "model": {"name": "mlp", "size": 8, "hidden": [32]},
    "augment": {"rotate": 0.0, "scale": [1.0, 1.0]},
    "optimizer": {"name": "sgd", "lr": 0.02},
    "train": {"batch_size": 8, "validations": 4, "epochs": 4, "ema_decay": None, "measure_training": True,
              "precision": "float32"},
    "variants": {
        "plain": {"about": "as it is"},
        "stopped": {"set": {"train.patience": 1, "optimizer.lr": 1e-9}},
        "dropout": {"about": "half the units", "set": {"model.dropout": 0.5, "augment.rotate": None}},
    },
}  # fmt: skip


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "compare.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **changes}, sort_keys=False))
    return path


def made(run: Path) -> list[bytes]:
    folders = [run / "variants" / name for name in RECIPE["variants"]]
    files = [folder / name for folder in folders for name in ("best.safetensors", "metrics.json")]
    return [path.read_bytes() for path in (*files, run / "metrics.json")]


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    write_digits(folder, train=4, val=6)
    return folder


@pytest.fixture(scope="module")
def reference(few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variants")
    return api.train(written(folder), data=few_digits, out=folder / "run").path


def test_digits_are_written_once_each(few_digits: Path) -> None:
    dataset = open_dataset(few_digits)
    assert {split: len(names) for split, names in dataset.splits.items()} == {"train": 40, "val": 60}
    pictures = {dataset.read(record).tobytes() for record in dataset.records}
    assert len(pictures) == 100
    fifth = load_digits().images[load_digits().target == 3][4]
    written = next(record for record in dataset.records if record.name == "val/3/000")
    assert np.array_equal(dataset.read(written)[:, :, 0], np.rint(fifth * 255 / 16))


def test_settings_of_each_variant(tmp_path: Path) -> None:
    recipes = variant_recipes(load_recipe(written(tmp_path)))
    assert list(recipes) == ["plain", "stopped", "dropout"]
    assert [recipe.train.patience for recipe in recipes.values()] == [None, 1, None]
    assert [recipe.model.options.get("dropout") for recipe in recipes.values()] == [None, None, 0.5]
    assert [recipe.augment.rotate for recipe in recipes.values()] == [0.0, 0.0, None]  # null: derived from the data
    assert [recipe.train.epochs for recipe in recipes.values()] == [4.0] * 3
    assert not any(recipe.variants for recipe in recipes.values())


def test_every_variant_is_a_run_and_the_folder_compares_them(reference: Path, few_digits: Path) -> None:
    run = open_run(reference)
    assert run.finished
    rows = run.metrics["variants"]
    assert list(rows) == list(RECIPE["variants"])
    for name, row in rows.items():
        variant = open_run(reference / "variants" / name)
        assert variant.finished
        assert api.evaluate(variant.path) == variant.metrics
        assert api.load(variant.path)(few_digits / "val" / "3" / "004.png").probabilities.shape == (10,)
        log = [entry for entry in variant.log() if entry["kind"] == "validation"]
        best = max(log, key=lambda entry: entry["accuracy"])
        assert row["validation"] == log[-1]["accuracy"]
        assert row["training"] == log[-1]["training_accuracy"]
        assert row["gap"] == pytest.approx(row["training"] - row["validation"])
        assert (row["kept"], row["kept_epoch"]) == (variant.metrics["accuracy"], best["epoch"])
        assert f'href="variants/{name}/report.html"' in run.report.read_text()
    assert rows["plain"]["epochs"] == 4.0
    assert rows["stopped"]["epochs"] < 4.0
    assert rows["plain"]["training"] > rows["plain"]["validation"] + 0.1  # forty pictures are learnt by heart
    assert run.report.read_text().count("<svg") == 3
    assert str((run.path / "variants").resolve()) in (run.path / "next.txt").read_text()


def test_scores_of_the_training_pictures_are_those_of_the_network(reference: Path, few_digits: Path) -> None:
    """Against scikit-learn, on what the network says of pictures that are not augmented."""
    run = open_run(reference / "variants" / "plain")
    predict = api.load(run.path, precision="float32")
    dataset = open_dataset(few_digits)
    entry = next(e for e in reversed(run.log()) if e["kind"] == "validation" and e["best"])
    for split, prefix in (("train", "training_"), ("val", "")):
        records = dataset.split(split)
        probabilities = predict.inference.probabilities([predict.read(dataset.read(record)) for record in records])
        probabilities = probabilities.astype(np.float64) / probabilities.sum(1, keepdims=True, dtype=np.float64)
        truth = [record.class_id for record in records]
        assert entry[f"{prefix}accuracy"] == pytest.approx(accuracy_score(truth, probabilities.argmax(1)))
        assert entry[f"{prefix}loss"] == pytest.approx(log_loss(truth, probabilities), rel=1e-4)


def test_measuring_changes_nothing_else(reference: Path, few_digits: Path, tmp_path: Path) -> None:
    settings = {key: value for key, value in RECIPE.items() if key != "variants"}
    settings["train"] = {**settings["train"], "measure_training": False}
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(settings))
    run = api.train(tmp_path / "plain.yaml", data=few_digits, out=tmp_path / "run")
    assert run.best.read_bytes() == (reference / "variants" / "plain" / "best.safetensors").read_bytes()
    assert not any("training_accuracy" in entry or "training_loss" in entry for entry in run.log())


class Stop(Exception):
    """Stands for the end of the process: nothing after it is written."""


@pytest.mark.parametrize("steps", [0, 7, 26, 45])
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bytes(
    few_digits: Path, tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    real, calls = loop.step_seed, []

    def counted(*place: int) -> int:
        calls.append(place)
        if len(calls) > steps:
            raise Stop
        return real(*place)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "step_seed", counted)
        with pytest.raises(Stop):
            api.train(written(tmp_path), data=few_digits, out=tmp_path / "run")
    assert not open_run(tmp_path / "run").finished
    monkeypatch.chdir("/")
    assert api.resume(tmp_path / "run").finished
    assert made(tmp_path / "run") == made(reference)


def test_killed_by_the_system_and_resumed(few_digits: Path, tmp_path: Path, reference: Path) -> None:
    command = [sys.executable, "-m", "pixelwise", "train", str(written(tmp_path)), "--data", str(few_digits)]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    second = tmp_path / "run" / "variants" / "stopped" / "log.jsonl"
    deadline = time.monotonic() + 90
    while not second.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert second.exists()
    assert api.resume(tmp_path / "run").finished
    assert made(tmp_path / "run") == made(reference)


def test_killed_before_the_comparison(reference: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(reference, tmp_path / "run")
    for name in ("metrics.json", "report.html", "next.txt"):
        (tmp_path / "run" / name).unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "variants").rglob("*")}
    assert api.resume(tmp_path / "run").metrics == open_run(reference).metrics
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "variants").rglob("*")} == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stages": [{}]}, "stages and variants are both set"),
        ({"variants": {"a": {}, "b": {"set": {"optimizer.rate": 1}}}}, "variant b: unknown key 'optimizer.rate'"),
        ({"variants": {"a": {"sett": {}}}}, r"unknown key 'variants.a.sett'; did you mean 'variants.a.set'"),
        ({"variants": None, "stages": [{"sahre": 1}]}, r"unknown key 'stages.0.sahre'; did you mean 'stages.0.share'"),
        ({"variants": {"a/b": {}}}, "name is also the name of its folder.*a/b"),
        ({"variants": {"a": {"set": {"model.droput": 1}}}}, "did you mean 'dropout'"),
    ],
)
def test_mistakes_name_the_variant(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    values = {key: value for key, value in {**RECIPE, **changes}.items() if value is not None}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=words) as caught:
        load_recipe(tmp_path / "wrong.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"augment.crop": [9, 9]}, "variant last: augment.crop: found 9 x 9, but this network only takes 8 x 8"),
        ({"model.weights": "nowhere.safetensors"}, "nowhere.safetensors"),
        ({"optimizer.freeze": "hiden"}, "variant last: unknown module to freeze.*did you mean 'hidden'"),
    ],
)
def test_what_only_the_data_and_the_network_show_is_found_before_the_first_run(
    few_digits: Path, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    recipe = written(tmp_path, variants={"first": {}, "last": {"set": settings}})
    with pytest.raises(UserError, match=words):
        api.train(recipe, data=few_digits, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_folder_itself_is_no_model(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"several variants; give one of them: .*variants"):
        api.load(reference)


def test_yaml_comes_back_and_digests_of_other_recipes_stay(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path))
    (tmp_path / "again.yaml").write_text(to_yaml(recipe))
    assert load_recipe(tmp_path / "again.yaml") == recipe
    plain = load_recipe("mlp")
    assert digest(plain) == digest(load_recipe("mlp", {"train.measure_training": False}))
    assert digest(plain) != digest(load_recipe("mlp", {"train.measure_training": True}))
    assert digest(recipe) != digest(load_recipe(written(tmp_path, variants={"plain": {}})))


def test_scores_of_pixels_are_compared_as_well(scenes_folder: Path, tmp_path: Path) -> None:
    recipe = {
        "model": {"name": "unet", "width": 4},
        "augment": {"crop": [32, 48]},
        "train": {"batch_size": 4, "validations": 1, "epochs": 1, "measure_training": True},
        "variants": {"one": {}, "two": {"set": {"train.measure_training": False}}},
    }
    (tmp_path / "pixels.yaml").write_text(yaml.safe_dump(recipe))
    run = api.train(tmp_path / "pixels.yaml", data=scenes_folder, out=tmp_path / "run")
    assert run.metrics["score"] == "mean_iou"
    one, two = run.metrics["variants"].values()
    assert one["kept"] == pytest.approx(open_run(tmp_path / "run" / "variants" / "one").metrics["mean_iou"])
    assert one["training"] is not None
    assert (two["training"], two["gap"]) == (None, None)
    entry = [e for e in Run(tmp_path / "run" / "variants" / "one").log() if e["kind"] == "validation"][-1]
    assert torch.isfinite(torch.tensor([entry["loss"], entry["training_loss"]])).all()
    json.loads(run.metrics_file.read_text())


def test_each_variant_is_trained_once_per_seed_and_means_are_compared(few_digits: Path, tmp_path: Path) -> None:
    variants = {name: RECIPE["variants"][name] for name in ("plain", "dropout")}
    run = api.train(
        written(tmp_path, variants=variants, seeds=[4, 1, 7]), data=few_digits, epochs=2, out=tmp_path / "run"
    )
    names = [f"{name}-seed{seed}" for seed in (4, 1, 7) for name in variants]
    assert list(run.metrics["variants"]) == names
    assert [Run(tmp_path / "run" / "variants" / name).planned.train.seed for name in names] == [4, 4, 1, 1, 7, 7]
    scores = [run.metrics["variants"][f"plain-seed{seed}"] for seed in (4, 1, 7)]
    mean = run.metrics["means"]["plain"]
    assert mean["last"] == pytest.approx(np.mean([each["validation"] for each in scores]))
    assert mean["last_deviation"] == pytest.approx(np.std([each["validation"] for each in scores], ddof=1))
    assert mean["kept"] == pytest.approx(np.mean([each["kept"] for each in scores]))
    assert mean["seeds"] == 3
    assert len({each["validation"] for each in scores}) > 1, "seeds differ"
    assert "over seeds" in run.report.read_text()
    assert "means" not in api.train(written(tmp_path), data=few_digits, epochs=1, out=tmp_path / "once").metrics
    with pytest.raises(UserError, match="seeds are for recipes with variants"):
        load_recipe(written(tmp_path, variants={}, seeds=[1]))
    with pytest.raises(UserError, match="seeds has a number twice"):
        load_recipe(written(tmp_path, seeds=[1, 1]))


def mean(variant: str, last: float, deviation: float | None = None) -> VariantMean:
    return VariantMean(variant, "", last, deviation, last, deviation, 1 if deviation is None else 3)


@pytest.mark.parametrize(("seeds", "deviation"), [([], None), ([3, 5], 0.03)])
def test_more_labels_that_make_a_variant_worse_are_reported(
    seeds: list[int], deviation: float | None, tmp_path: Path
) -> None:
    """Only variants that differ in nothing but the number of labels are compared, and only clear differences count."""
    variants = {
        "few": {"set": {"data.labelled": 10}},
        "more": {"set": {"data.labelled": 20}},
        "others": {"set": {"data.labelled": 20, "model.dropout": 0.5}},
        "all": {},
    }
    whole = load_recipe(written(tmp_path, variants=variants, seeds=seeds))
    scores = {"few": 0.80, "more": 0.75, "others": 0.1, "all": 0.795}
    means = [mean(name, score, deviation) for name, score in scores.items()]
    (words,) = worse_with_more_labels(whole, means, HEADLINES[0])
    assert words.startswith("more has more labels than few, but its accuracy is worse: 0.750 against 0.800.")
    assert not worse_with_more_labels(whole, [mean("few", 0.80, 0.06), mean("more", 0.75, deviation)], HEADLINES[0])


def test_references_are_measured_on_the_same_pictures(few_digits: Path, tmp_path: Path) -> None:
    """The recipe asks for 10 of the 40 labels, and the classical methods see no more; the other 30 have none."""
    recipe = written(tmp_path, variants={"plain": {}}, references=True, data={"labelled": 10})
    run = api.train(recipe, data=few_digits, epochs=1, out=tmp_path / "run")
    found = run.metrics["references"]
    assert list(found) == list(REFERENCES)
    dataset = open_dataset(few_digits, labelled=10)
    assert (len(dataset.split("train")), len(dataset.split("unlabelled"))) == (10, 30)
    pixels = {
        split: np.stack([dataset.read(record).ravel() for record in dataset.split(split)]).astype(float)
        for split in ("train", "unlabelled", "val")
    }
    classes = [record.class_id for record in dataset.split("train")]
    nearest = KNeighborsClassifier(1).fit(pixels["train"], classes)
    truth = [record.class_id for record in dataset.split("val")]
    every = np.concatenate([pixels["train"], pixels["unlabelled"]])
    # There are more clusters than pictures, so each picture is its own cluster and has its nearest label.
    named = KNeighborsClassifier(1).fit(every, nearest.predict(every))
    assert found["k-means"] == pytest.approx(accuracy_score(truth, named.predict(pixels["val"])))
    assert all(score > 0.3 for score in found.values()), "chance is 0.1"
    assert all(name in run.report.read_text() for name in found)
    for name in ("metrics.json", "report.html"):
        (run.path / name).unlink()
    before = run.references_file.stat().st_mtime_ns
    assert api.resume(run.path).metrics["references"] == found
    assert run.references_file.stat().st_mtime_ns == before


def test_references_need_variants_and_a_task_that_has_some(scenes_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="references are for recipes with variants"):
        load_recipe(written(tmp_path, variants={}, references=True))
    (tmp_path / "masks.yaml").write_text("model: {name: unet}\nreferences: true\nvariants: {one: {}}\n")
    with pytest.raises(UserError, match="references: there are none for the task 'segment'"):
        api.train(tmp_path / "masks.yaml", data=scenes_folder, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["few_labels", "few_labels_classes"])
def test_the_recipes_of_few_labels_compare_every_method_with_labels_alone(name: str) -> None:
    recipes = variant_recipes(load_recipe(name, {"data.unlabelled": "more"}))
    methods = {recipe.method.name or "supervised" for recipe in recipes.values()}
    assert {"supervised", "pseudo_labels", "mean_teacher", "fixmatch", "vat"} <= methods
    for each in recipes.values():
        assert (each.data.unlabelled is None) == (each.method.name is None)
