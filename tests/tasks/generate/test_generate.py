"""Models of pictures: from any folder, without labels, to samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pixelwise import api
from pixelwise.catalog import load_model, task_of
from pixelwise.data.digits import write_digits
from pixelwise.data.pictures import PictureFormat, write_png
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.explain import explain
from pixelwise.models.generate.vae import VAE
from pixelwise.models.spec import ModelSpec
from pixelwise.tasks.generate.features import FILE, Features
from pixelwise.tasks.generate.inference import (
    BoundInference,
    BoundPrediction,
    GenerateOptions,
    PairPrediction,
    as_pictures,
)
from pixelwise.tasks.generate.scores import BoundScores, DistanceScores
from pixelwise.tasks.generate.task import SNAPSHOT, sheet

TINY = {"model.width": 4, "model.hidden": 16, "model.latent": 3}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generate") / "digits"
    write_digits(folder, train=6, val=4)
    return folder


@pytest.fixture(scope="module")
def vae(digits: Path) -> Path:
    return api.train(
        "vae", data=digits, epochs=2, out=digits.parent / "vae", overrides={**TINY, "train.batch_size": 16}
    ).path


@pytest.fixture(scope="module")
def dcgan(digits: Path) -> Path:
    overrides = {"model.width": 4, "model.latent": 8, "train.batch_size": 16}
    return api.train("dcgan", data=digits, epochs=2, out=digits.parent / "dcgan", overrides=overrides).path


def test_a_folder_of_plain_pictures_is_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(5):
        write_png(tmp_path / "data" / f"{number}.png", rng.integers(0, 256, (20 + number, 30, 3), np.uint8))
    run = api.train(
        "vae", data=tmp_path / "data", epochs=1, out=tmp_path / "run", overrides={**TINY, "model.binarise": False}
    )
    assert run.planned.crop == (22, 30)  # the median size
    assert run.planned.provenance["data"]["pictures"] == {"train": 4, "val": 1}
    sheet, *pictures = api.sample(run.path, tmp_path / "made", count=3)
    assert [np.asarray(Image.open(file)).shape for file in pictures] == [(22, 30, 3)] * 3
    assert Image.open(sheet).width > 8 * 30


def test_large_pictures_are_reduced_and_labels_are_not_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_png(tmp_path / "data" / "images" / f"{name}.png", np.full((96, 192, 3), 80, np.uint8))
    write_png(tmp_path / "data" / "masks" / "a.png", np.ones((96, 192), np.uint8))
    run = api.train("vae", data=tmp_path / "data", epochs=1, out=tmp_path / "run", overrides=TINY)
    assert run.planned.crop == (32, 64)
    assert sum(run.planned.provenance["data"]["pictures"].values()) == 3


def test_vae_measures_its_bound_as_validation_does(vae: Path) -> None:
    run = api.open_run(vae)
    last = [entry for entry in run.log() if entry["kind"] == "validation"][-1]
    assert run.metrics["negative_elbo"] == pytest.approx(run.metrics["reconstruction"] + run.metrics["kl"])
    best = min(entry["negative_elbo"] for entry in run.log() if entry["kind"] == "validation")
    assert run.metrics["negative_elbo"] == pytest.approx(best, rel=0.02)  # another precision, the same draws
    assert run.metrics["importance_weighted_bound"] < run.metrics["negative_elbo"]
    assert "raw_negative_elbo" in last
    assert api.evaluate(vae) == run.metrics


def test_samples_repeat_by_their_seed_and_are_in_the_files_form(vae: Path, tmp_path: Path) -> None:
    one, two, other = (
        [file.read_bytes() for file in api.sample(vae, tmp_path / name, count=4, seed=seed)]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == two
    assert one[1:] != other[1:]
    with pytest.raises(UserError, match="exists already"):
        api.sample(vae, tmp_path / "a", count=4)
    assert np.asarray(Image.open(tmp_path / "a" / "000.png")).shape == (8, 8)


def test_predict_writes_reconstructions_and_codes(vae: Path, digits: Path, tmp_path: Path) -> None:
    written = api.predict(vae, digits / "val" / "3", tmp_path / "out")
    assert len(written) == 4
    lines = (tmp_path / "out" / "codes.csv").read_text().splitlines()
    assert lines[0] == "picture,negative_elbo,z0,z1,z2"
    assert len(lines) == 5


def test_as_pictures_inverts_what_the_network_sees() -> None:
    spec = ModelSpec("vae", {}, (), PictureFormat(3, "uint8"), (0.0,) * 3, (255.0,) * 3, input_size=(12, 14))
    network = VAE(in_channels=3, size=(12, 14), latent=2, width=4, hidden=8)
    inference = BoundInference(network, spec, GenerateOptions())
    picture = np.random.default_rng(0).integers(0, 256, (12, 14, 3), np.uint8)
    np.testing.assert_array_equal(as_pictures(inference.seen([picture]), spec)[0], picture)


def test_dcgan_keeps_snapshots_and_the_classifier_that_compares(dcgan: Path, digits: Path) -> None:
    run = api.open_run(dcgan)
    assert len(run.snapshots("samples")) == len({e["step"] for e in run.log() if e["kind"] == "validation"})
    state = load_file(dcgan / FILE)
    assert state["head.weight"].shape == (10, 128)
    assert "128 features of a small classifier of the data's 10 classes" in run.metrics["definition"]
    assert api.evaluate(dcgan) == run.metrics
    with pytest.raises(UserError, match="generates new pictures and cannot predict from given ones"):
        api.predict(dcgan, digits / "val" / "3", dcgan / "out")
    page = run.report.read_text()
    assert "The same noise at each step" in page


def test_snapshots_are_the_pictures_that_are_made(vae: Path, dcgan: Path, tmp_path: Path) -> None:
    """The last snapshot shows what the shipped network makes of the same noise, in the same grey."""
    for run in map(api.open_run, (vae, dcgan)):
        network, spec = load_model(run.best)
        snapshot = task_of(spec).snapshots(network.eval())["samples"]
        made = as_pictures(network.sample(SNAPSHOT, torch.Generator().manual_seed(0)), spec)
        assert np.abs(snapshot.astype(int) - sheet(made)).max() <= 1
        with pytest.raises(
            UserError, match="trained for the task 'generate', so it predicts nothing about a picture that could be"
        ):
            explain(run.path, [], out=tmp_path)


def test_a_network_that_makes_no_pictures_cannot_be_sampled(digits: Path, tmp_path: Path) -> None:
    run = api.train("mlp", data=digits, epochs=1, out=tmp_path / "run", overrides={"model.hidden": [4]})
    with pytest.raises(UserError, match="makes no new pictures"):
        api.sample(run.path, tmp_path / "out")


def test_an_autoencoder_rebuilds_and_draws_nothing(digits: Path, tmp_path: Path) -> None:
    overrides = {**TINY, "train.batch_size": 16}
    run = api.train("autoencoder", data=digits, epochs=1, out=tmp_path / "run", overrides=overrides)
    assert api.evaluate(run.path) == run.metrics
    assert run.metrics["kl"] == 0
    assert "Reconstructions" in run.report.read_text()
    assert not (run.path / "snapshots").exists()
    assert api.predict(run.path, next(digits.rglob("*.png")), tmp_path / "out")
    with pytest.raises(UserError, match="makes no new pictures"):
        api.sample(run.path, tmp_path / "samples")


def test_bounds_add_up_and_merge() -> None:
    rng = np.random.default_rng(0)
    whole, parts = BoundScores(binarised=True), [BoundScores(binarised=True), BoundScores(binarised=True)]
    sample = Sample("a", np.zeros((2, 2, 1), np.uint8))
    terms = rng.uniform(0, 100, (6, 2))
    for number, (reconstruction, kl) in enumerate(terms.tolist()):
        prediction = BoundPrediction(reconstruction, kl, bound=-1.0)
        whole.update(prediction, sample)
        parts[number % 2].update(prediction, sample)
    parts[0].merge(parts[1])
    assert parts[0].values() == pytest.approx(whole.values())
    assert whole.values()["negative_elbo"] == pytest.approx(terms.sum() / 6)
    assert whole.summary("val")["importance_weighted_bound"] == 1.0


def test_distance_is_zero_in_expectation_between_pictures_of_one_kind(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    alike, unlike = DistanceScores(tmp_path), DistanceScores(tmp_path)
    sample = Sample("a", np.zeros((16, 16, 1), np.uint8))
    for _ in range(200):
        real, made = rng.normal(size=(2, 1, 16, 16)).astype(np.float32)
        alike.update(PairPrediction(real, made), sample)
        unlike.update(PairPrediction(real, made + 2), sample)
    assert abs(alike.values()["kid"]) < 0.02
    assert unlike.values()["kid"] > 10 * abs(alike.values()["kid"])
    assert Features(tmp_path).network is None  # no classes, so pixels are compared


def test_features_are_the_same_whatever_the_batch(dcgan: Path) -> None:
    features = Features(dcgan)
    images = torch.randn(5, 1, 16, 16).numpy()
    np.testing.assert_allclose(features(images)[2:3], features(images[2:3]), rtol=1e-5)
