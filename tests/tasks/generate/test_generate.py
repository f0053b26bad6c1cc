"""Models of pictures: from any folder, without labels, to samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from pixelwise import api
from pixelwise.catalog import load_model, task_of
from pixelwise.cli import app
from pixelwise.data.digits import write_digits
from pixelwise.data.pictures import PictureFormat, write_png
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.explain import explain
from pixelwise.methods.base import Forward
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
from pixelwise.training.run import open_run

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


@pytest.mark.parametrize("size", ["(28, 28)", [28], [28, 0], [28.5, 28]])
def test_a_size_that_is_none_is_one_sentence(size: object, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.size: found .*, expected height and width"):
        api.train("vae", data=digits, epochs=1, out=tmp_path / "run", overrides={**TINY, "model.size": size})


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
    run = open_run(vae)
    last = [entry for entry in run.log() if entry["kind"] == "validation"][-1]
    assert run.metrics["negative_elbo"] == pytest.approx(run.metrics["reconstruction"] + run.metrics["kl"])
    best = min(entry["negative_elbo"] for entry in run.log() if entry["kind"] == "validation")
    assert run.metrics["negative_elbo"] == pytest.approx(best, rel=0.02)  # another precision, the same draws
    assert run.metrics["importance_weighted_bound"] < run.metrics["negative_elbo"]
    assert "raw_negative_elbo" in last
    assert api.evaluate(vae) == run.metrics
    assert "importance_weighted_bound" not in api.evaluate(vae, bound_pictures=0)
    assert "the first 3 pictures" in api.evaluate(vae, bound_pictures=3)["definition"]


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
    assert len(written) == 2 * 4
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
    run = open_run(dcgan)
    assert len(run.snapshots("samples")) == len({e["step"] for e in run.log() if e["kind"] == "validation"})
    state = load_file(dcgan / FILE)
    assert state["head.weight"].shape == (10, 128)
    assert "128 features of a small classifier of the data's 10 classes" in run.metrics["definition"]
    assert api.evaluate(dcgan) == run.metrics
    with pytest.raises(UserError, match="generates new pictures and cannot predict from given ones"):
        api.predict(dcgan, digits / "val" / "3", dcgan / "out")
    page = run.report.read_text()
    assert "The same noise at each step" in page


def test_each_batch_of_a_validation_has_noise_of_its_own(dcgan: Path) -> None:
    network, spec = load_model(open_run(dcgan).best)
    size = (*spec.input_size, 1)
    forward = Forward(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), torch.device("cpu"))

    def made(name: str) -> np.ndarray:
        sample = Sample(name, np.zeros(size, np.uint8))
        images = torch.from_numpy(sample.image).permute(2, 0, 1)[None]
        return task_of(spec).predictions(spec, forward, network.eval(), [sample], images)[0].generated

    assert not np.array_equal(made("val/0064.png"), made("val/0640.png"))  # the same characters
    np.testing.assert_array_equal(made("val/0064.png"), made("val/0064.png"))


def test_snapshots_are_the_pictures_that_are_made(vae: Path, dcgan: Path, tmp_path: Path) -> None:
    """The last snapshot shows what the shipped network makes of the same noise, in the same grey."""
    for run in map(open_run, (vae, dcgan)):
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


@pytest.fixture(scope="module")
def pixelcnn(digits: Path) -> Path:
    overrides = {"model.width": 4, "model.blocks": 1, "model.head": 8, "train.batch_size": 16}
    return api.train("pixelcnn", data=digits, epochs=2, out=digits.parent / "pixelcnn", overrides=overrides).path


def write_noise(folder: Path, count: int = 6) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        write_png(folder / f"{number}.png", rng.integers(0, 256, (8, 8), np.uint8))
    return folder


def test_an_exact_likelihood_is_measured_as_validation_does(pixelcnn: Path) -> None:
    run = open_run(pixelcnn)
    assert run.metrics["bound"] == "exact"
    assert run.metrics["bits_per_dim"] == pytest.approx(run.metrics["nats"] / (64 * np.log(2)))
    best = min(entry["nats"] for entry in run.log() if entry["kind"] == "validation")
    assert run.metrics["nats"] == pytest.approx(best, rel=0.02)  # another precision, the same draws
    assert api.evaluate(pixelcnn) == run.metrics
    page = run.report.read_text()
    assert "Completions" in page
    assert "Surprise" in page


@pytest.mark.parametrize(("values", "levels"), [((0, 255), 1), ((60, 190), 256)])
def test_the_number_of_levels_follows_from_the_data(values: tuple[int, int], levels: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(5):
        write_png(tmp_path / "data" / f"{number}.png", rng.choice(values, (8, 9)).astype(np.uint8))
    overrides = {"model.width": 4, "model.layers": 1, "model.head": 4}
    run = api.train("pixelrnn_row", data=tmp_path / "data", epochs=1, out=tmp_path / "run", overrides=overrides)
    assert run.planned.model.options["levels"] == levels
    assert "of the variance of black-and-white pictures" in (run.path / "recipe.yaml").read_text()
    _, picture = api.sample(run.path, tmp_path / "made", count=1)
    found = set(np.asarray(Image.open(picture)).ravel().tolist())
    assert found <= {0, 255} if levels == 1 else len(found) > 2


def test_predict_writes_the_surprise_at_each_pixel(pixelcnn: Path, vae: Path, digits: Path, tmp_path: Path) -> None:
    api.predict(pixelcnn, digits / "val" / "3", tmp_path / "out", overlay=True)
    lines = (tmp_path / "out" / "surprise.csv").read_text().splitlines()
    assert lines[0] == "picture,nats,bits_per_dim"
    surprise = tifffile.imread(tmp_path / "out" / "000_surprise.tif")
    assert surprise.shape == (8, 8)
    assert surprise.sum() == pytest.approx(float(lines[1].split(",")[1]), rel=1e-4)
    assert np.asarray(Image.open(tmp_path / "out" / "000_overlay.png")).shape == (8, 8, 3)
    api.predict(vae, digits / "val" / "3", tmp_path / "codes")
    assert tifffile.imread(tmp_path / "codes" / "000_surprise.tif").min() >= 0


@pytest.mark.parametrize("network", ["pixelcnn", "vae"])
def test_other_pictures_are_separated_by_their_probability(
    network: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = request.getfixturevalue(network)
    other = write_noise(tmp_path / "other")
    found = api.evaluate(run, against=other)
    assert found["other_pictures"] == 6
    assert found["auc"] > 0.95
    assert {key: found[key] for key in open_run(run).metrics} == open_run(run).metrics
    same = api.evaluate(run, against=Path(open_run(run).planned.data.path or "") / "val")
    assert same["auc"] == pytest.approx(0.5, abs=1e-9)


def test_networks_without_a_probability_compare_nothing(dcgan: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gives pictures no probability"):
        api.evaluate(dcgan, against=write_noise(tmp_path / "other"))


def test_a_single_held_out_picture_is_refused_before_training(dcgan: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only one picture is held out, and generated pictures are compared with at"):
        api.train("dcgan", data=write_noise(tmp_path / "few", 3), epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="fewer than 2 pictures in the split 'val'"):
        DistanceScores(dcgan).summary("val")


def test_a_part_of_a_picture_is_kept(pixelcnn: Path, digits: Path, tmp_path: Path) -> None:
    picture = digits / "val" / "3" / "000.png"
    _, *made = api.sample(pixelcnn, tmp_path / "made", count=3, complete=picture, keep="left-half")
    given = np.asarray(Image.open(picture)).astype(int)
    for file in made:
        found = np.asarray(Image.open(file)).astype(int)
        assert np.abs(found[:, :4] - given[:, :4]).max() <= 1
        assert (found[:, 4:] != given[:, 4:]).any()
    assert len(made) == 3
    api.sample(pixelcnn, tmp_path / "same", count=3, complete=picture, keep="left")
    assert (tmp_path / "same" / "000.png").read_bytes() == made[0].read_bytes()
    with pytest.raises(UserError, match="unknown part to keep 'tophalf'; did you mean 'top-half'"):
        api.sample(pixelcnn, tmp_path / "more", complete=picture, keep="tophalf")


@pytest.mark.parametrize("network", ["vae", "dcgan"])
def test_codes_are_interpolated_and_added(
    network: str, request: pytest.FixtureRequest, digits: Path, tmp_path: Path
) -> None:
    run = request.getfixturevalue(network)
    first, second = digits / "val" / "0" / "000.png", digits / "val" / "1" / "000.png"
    _, *made = api.sample(run, tmp_path / "between", count=5, interpolate=(first, second))
    ends = [np.asarray(Image.open(file)).astype(int) for file in (made[0], made[-1])]
    assert len(made) == 5
    _, *sums = api.sample(run, tmp_path / "sum", arithmetic=(first, second, second))
    a, b, c, result = (np.asarray(Image.open(file)).astype(int) for file in sums)
    tolerance = 1 if network == "vae" else 8  # the search for a code starts elsewhere for each picture
    for found, expected in ((c, b), (a, ends[0]), (b, ends[1]), (result, a)):  # A - B + B is A
        assert np.abs(found - expected).max() <= tolerance


def test_a_request_that_a_network_cannot_meet_is_refused(pixelcnn: Path, vae: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="makes no completions; it can make new pictures and pictures from codes"):
        api.sample(vae, tmp_path / "made", complete=tmp_path / "a.png")
    with pytest.raises(UserError, match="makes no pictures from codes"):
        api.sample(pixelcnn, tmp_path / "made", interpolate=(tmp_path / "a.png", tmp_path / "b.png"))
    with pytest.raises(UserError, match="at most one of"):
        api.sample(vae, tmp_path / "made", complete=tmp_path, interpolate=(tmp_path, tmp_path))
    with pytest.raises(UserError, match="temperature 0"):
        api.sample(vae, tmp_path / "made", temperature=0)
    wrong = CliRunner().invoke(app, ["sample", str(vae), "--out", "made", "--arithmetic", "a", "+", "b", "-", "c"])
    assert "write A - B + C" in str(wrong.exception)
