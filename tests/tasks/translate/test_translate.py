"""Translation from data to files: directions, depths, tiles, scores, reports, and messages about mistakes."""

from __future__ import annotations

import itertools
import json
import math
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from torch import nn
from typer.testing import CliRunner

from page_reader import PageReader
from pair_files import discs, write_pairs
from pixelwise import api
from pixelwise.catalog import create_model, load_model
from pixelwise.cli import app
from pixelwise.data.augment import Augmentation
from pixelwise.data.colour_table import ColourTable
from pixelwise.data.domain import Domain
from pixelwise.data.pictures import PictureFormat, read_picture, write_png
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.explain import explain
from pixelwise.inference import dense
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.rasters import Raster
from pixelwise.models.spec import ModelSpec, read_spec
from pixelwise.models.translate.translator import Generator
from pixelwise.tasks.translate import one_way
from pixelwise.tasks.translate.inference import TranslateInference, turned
from pixelwise.tasks.translate.one_way import TranslateOptions, TranslatePrediction
from pixelwise.tasks.translate.scores import TranslateScores
from pixelwise.tasks.translate.task import Apart, TranslatePairs
from pixelwise.training import session
from pixelwise.training.progress import Silent
from pixelwise.training.recipes import load_recipe
from pixelwise.training.run import Run

TINY = {
    "pix2pix": {"model.depth": 3, "model.width": 4},
    "cyclegan": {"model.blocks": 1, "model.width": 4},
}
GREY = Domain(PictureFormat(1, "uint16"), 3000.0, 3419.0)
COLOUR = Domain(PictureFormat(3, "uint8"), 0.0, 255.0)


def train(name: str, data: Path, out: Path, *, epochs: float = 1, **overrides: Any) -> Run:
    return api.train(name, data=data, out=out, epochs=epochs, overrides={**TINY[name], **overrides})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_pairs(folder, "pairs")
    (folder / "colors.txt").write_text("disc 200 30 30\nground 20 40 220\n")
    return folder


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deep")
    write_pairs(folder, "pairs", deep=True)
    return folder


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: train(name, data, folder / name) for name in TINY}


class Copies(Generator):
    """A generator that changes nothing."""

    num_classes = 1
    reach = 0

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return images


def inference(model: nn.Module, source: Domain, target: Domain, **options: Any) -> TranslateInference:
    channels = source.form.channels
    spec = turned(ModelSpec("pix2pix", {}, (), source.form, (0.0,) * channels, (1.0,) * channels), source)
    return TranslateInference(model, spec, TranslateOptions(**options), (source, target))


@pytest.mark.parametrize("name", list(TINY))
def test_a_run_has_scores_report_and_commands(name: str, runs: dict[str, Run], data: Path) -> None:
    run = runs[name]
    metrics = run.metrics
    assert metrics["pictures"] == metrics["pairs"] == 2
    assert {
        "l1",
        "psnr",
        "label_accuracy",
        "label_miou",
        "unchanged_l1",
        "constant_l1",
        "diversity",
        "own_to_others",
    } <= metrics.keys()
    assert ("cycle_l1" in metrics) == (name == "cyclegan")
    assert 0 < metrics["l1"] < 255
    page = PageReader(run.report.read_text())
    for words in (
        "Translation",
        "Truth",
        "Classes by colour",
        "the input, unchanged",
        "Generator against discriminator",
    ):
        assert words in page.text, words
    first = "pixelwise predict"
    assert first in (run.path / "next.txt").read_text()
    again = api.evaluate(run.path)
    assert again == metrics
    assert api.evaluate(run.path, data=data, split="train")["pictures"] == 6


def test_predictions_have_the_pictures_own_size_and_repeat(runs: dict[str, Run], tmp_path: Path) -> None:
    odd = np.random.default_rng(0).integers(0, 255, (37, 53, 3)).astype(np.uint8)
    write_png(tmp_path / "x.png", odd)
    for name, run in runs.items():
        written = api.predict(run.path, tmp_path / "x.png", tmp_path / name)
        assert written == [tmp_path / name / "x.png"]
        assert read_picture(written[0]).shape == (37, 53, 3)
        predictor = api.load(run.path)
        assert isinstance(predictor, Predictor)
        np.testing.assert_array_equal(predictor(odd).picture, read_picture(written[0]))
        np.testing.assert_array_equal(predictor(odd).picture, predictor(odd).picture)
        np.testing.assert_array_equal(
            read_picture(predictor(odd).save(tmp_path / f"{name}-saved")), predictor(odd).picture
        )


def test_both_directions(runs: dict[str, Run], data: Path, tmp_path: Path) -> None:
    a, b = discs(7)
    model, _ = load_model(runs["cyclegan"].best)
    for direction, picture, generator in (("a-to-b", a, "generator_a"), ("b-to-a", b, "generator_b")):
        found = api.load(runs["cyclegan"].path, direction=direction, precision="float32")(picture).picture
        with torch.no_grad():
            answer = model.get_submodule(generator)(
                torch.from_numpy(picture / 127.5 - 1).float().permute(2, 0, 1)[None]
            )
        wanted = ((answer[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().clip(0, 255)
        assert np.abs(found - wanted).max() <= 1
    one, other = (api.evaluate(runs["cyclegan"].path, direction=each) for each in ("a-to-b", "b-to-a"))
    assert one["cycle_l1"] == pytest.approx(other["cycle_l1"], rel=1e-6)  # both are measured in either direction
    assert one["l1"] != other["l1"]
    assert one["unchanged_l1"] == other["unchanged_l1"]
    with pytest.raises(UserError, match="trained to translate a-to-b, not b-to-a"):
        api.load(runs["pix2pix"].path, direction="b-to-a")
    back = train("pix2pix", data, tmp_path / "back", **{"model.direction": "b-to-a"})
    spec = read_spec(back.best)
    assert spec.notes["input"]["colours"] is not None
    assert spec.notes["target"]["colours"] is None
    assert "label_accuracy" not in back.metrics
    assert api.evaluate(back.path, data=data)["l1"] == back.metrics["l1"]  # other data is turned round as well


def test_one_half_of_a_file_is_translated(runs: dict[str, Run], tmp_path: Path) -> None:
    first, second = discs(5)
    write_png(tmp_path / "pair.png", np.concatenate([first, second], 1))
    predict = api.load(runs["pix2pix"].path, half="left")
    np.testing.assert_array_equal(predict(tmp_path / "pair.png").picture, api.load(runs["pix2pix"].path)(first).picture)
    right = api.predict(runs["pix2pix"].path, tmp_path / "pair.png", tmp_path / "out", half="right")
    np.testing.assert_array_equal(read_picture(right[0]), api.load(runs["pix2pix"].path)(second).picture)


def test_the_suggested_command_translates_the_half_that_was_learned_from(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", "side_by_side", size=(40, 40))
    for direction, half in (("a-to-b", "left"), ("b-to-a", "right")):
        run = train("pix2pix", tmp_path / "data", tmp_path / half, **{"model.direction": direction})
        command = (run.path / "next.txt").read_text().splitlines()[1]
        assert command.endswith(f" --option half={half}")
        verb, *arguments = shlex.split(command)[1:]
        assert verb == "predict"
        done = CliRunner().invoke(app, [verb, *arguments])
        assert done.exit_code == 0, done.output
        assert read_picture(run.path / "predictions" / "0.png").shape == (40, 40, 3)


def test_16_bits_survive_an_unchanged_translation(tmp_path: Path) -> None:
    """Every one of the 65,536 values comes back, through the file that `predict` writes."""
    values = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    write_png(tmp_path / "x.png", values)
    full = Domain(PictureFormat(1, "uint16"), 0.0, 65_535.0)
    network = create_model("pix2pix", in_channels=1, out_channels=1, depth=2, width=2)
    network.generator = Copies()
    written = inference(network, full, full).predict_file(tmp_path / "x.png", tmp_path / "out")
    np.testing.assert_array_equal(read_picture(written)[:, :, 0], values)
    with pytest.raises(UserError, match="bfloat16 keeps 8 bits"):
        inference(network, full, full, precision="bfloat16")


def test_16_bit_pairs_are_learned_and_written_at_their_depth(deep: Path, tmp_path: Path) -> None:
    run = train("pix2pix", deep, tmp_path / "run", epochs=40, **{"optimizer.lr": 5e-3, "model.width": 8})
    assert run.planned.train.precision == "float32"
    assert run.planned.normalize.std[0] < 300  # the range of the pictures, not that of 16 bits
    assert run.metrics["l1"] < 0.6 * run.metrics["constant_l1"]
    picture, truth = discs(100, deep=True)
    write_png(tmp_path / "x.png", picture)
    (written,) = api.predict(run.path, tmp_path / "x.png", tmp_path / "out")
    made = read_picture(written)[:, :, 0]
    assert made.dtype == np.uint16
    assert np.abs(np.round(made / 257) * 257 - made).max() > 100  # 8 bits could not hold these values
    assert np.abs(made.astype(float) - truth).mean() < 4000
    with pytest.raises(UserError, match=r"train\.precision: bfloat16 keeps 8 bits"):
        train("pix2pix", deep, tmp_path / "other", **{"train.precision": "bfloat16"})


@pytest.mark.parametrize("name", list(TINY))
def test_tiles_leave_no_seams(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large picture by tiles differs from the same picture in one pass by at most one grey level."""
    torch.manual_seed(0)
    options = {"depth": 3, "width": 8, "dropout": 0.0} if name == "pix2pix" else {"blocks": 2, "width": 8}
    network = create_model(name, **options).eval()
    for parameter in network.parameters():
        parameter.data *= 1.5 if parameter.dim() > 1 else 1.0  # outputs use the whole range
    y, x = np.mgrid[:300, :620]
    rng = np.random.default_rng(0)
    waves = 120 + 60 * np.sin(x / 37) * np.cos(y / 23) + 40 * (x / 620) + rng.normal(0, 8, x.shape)
    picture = np.stack([waves, 255 - waves, 0.5 * waves + 60], 2).clip(0, 255).astype(np.uint8)
    tiled = inference(network, COLOUR, COLOUR, tile=288, precision="float32")
    assert len(tiled.grid(*picture.shape[:2])) > 4
    monkeypatch.setattr(dense, "ACTIVATION_BYTES", 10**12)
    whole = inference(network, COLOUR, COLOUR, precision="float32")
    assert len(whole.grid(*picture.shape[:2])) == 1
    answers = [Predictor(each)(picture).picture.astype(int) for each in (whole, tiled)]
    assert np.ptp(answers[0]) > 40
    assert np.abs(answers[0] - answers[1]).max() <= 1


def test_a_picture_of_very_many_tiles_is_measured_on_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """How it is divided afterwards makes no difference, so there are no seams."""
    torch.manual_seed(0)
    network = create_model("cyclegan", blocks=1, width=4).eval()
    picture = np.random.default_rng(0).integers(0, 256, (600, 600, 3)).astype(np.uint8)
    monkeypatch.setattr(one_way, "MEASURED_BYTES", 1)
    found = []
    for tile in (240, 340):
        divided = inference(network, COLOUR, COLOUR, tile=tile, overlap=80, precision="float32")
        spans, side = divided.forwards._measured(Raster(picture), divided.grid(600, 600))
        assert len(spans) == 4
        assert side == (240, 240)
        found.append(Predictor(divided)(picture).picture.astype(int))
    assert np.ptp(found[0]) > 40
    assert np.abs(found[0] - found[1]).max() <= 1


def test_a_tiff_of_floats_has_no_value_where_the_picture_has_none(tmp_path: Path) -> None:
    network = create_model("pix2pix", in_channels=1, out_channels=1, depth=2, width=2)
    network.generator = Copies()
    floats = Domain(PictureFormat(1, "float32"), -1000.0, 3000.0)
    picture = np.linspace(-900, 2900, 400, dtype=np.float32).reshape(20, 20)
    picture[3, 4] = np.nan
    found = Predictor(inference(network, floats, floats))(picture).picture[:, :, 0]
    assert np.isnan(found[3, 4])
    assert np.isnan(found).sum() == 1
    np.testing.assert_allclose(found[0], picture[0], atol=1e-3)
    saved = Predictor(inference(network, floats, floats))(picture).save(tmp_path / "y")
    assert saved == tmp_path / "y.tif"
    np.testing.assert_array_equal(np.isnan(tifffile.imread(saved)), np.isnan(picture))
    with pytest.raises(UserError, match="a PNG holds 1 or 3 channels of integers"):
        inference(network, floats, floats).predict_file(tmp_path / "x.png", tmp_path / "y.png")


def test_unpaired_pictures_are_measured_there_and_back(tmp_path: Path) -> None:
    write_pairs(tmp_path / "kinds", "unpaired")
    write_pairs(tmp_path / "pairs", "pairs")
    run = train("cyclegan", tmp_path / "kinds", tmp_path / "run")
    assert run.metrics["pairs"] == 0
    assert run.metrics["l1"] is None
    assert run.metrics["cycle_l1"] > 0
    assert "Truth" not in PageReader(run.report.read_text()).text.split("Training")[0]
    exact = api.evaluate(run.path, data=tmp_path / "pairs")
    assert exact["pairs"] == 2
    assert exact["l1"] > 0
    with pytest.raises(UserError, match="the labels do not show what it predicts"):
        api.evaluate(train("pix2pix", tmp_path / "pairs", tmp_path / "other").path, data=tmp_path / "kinds")


def test_scores_by_hand() -> None:
    table = ColourTable(("dark", "light"), ((0, 0, 0, 0), (200, 200, 200, 1)))
    target = Domain(PictureFormat(3, "uint8"), 0.0, 255.0, table)
    truth = np.zeros((2, 2, 3), np.uint8)
    truth[0] = 200
    made = truth.copy()
    made[0, 0] = 90  # nearer to dark
    made[1, 1] = (3, 0, 0)
    source = np.full((2, 2, 3), 100, np.uint8)
    scores = TranslateScores(COLOUR, target, both_ways=False)
    scores.update(TranslatePrediction(made), Sample("x", source, partner=truth))
    summary = scores.summary("val")
    assert summary["l1"] == pytest.approx((3 * 110 + 3) / 12)
    assert summary["psnr"] == pytest.approx(10 * math.log10(255**2 / ((3 * 110**2 + 9) / 12)))
    assert summary["label_accuracy"] == 0.75
    assert summary["unchanged_l1"] == pytest.approx(100)
    assert summary["constant_l1"] == pytest.approx(100)  # black or 200 everywhere
    assert summary["diversity"] is None
    assert json.loads(json.dumps(summary)) == summary


def test_translations_are_compared_with_the_truths_of_other_pictures() -> None:
    rng = np.random.default_rng(0)
    truths = rng.integers(0, 255, (6, 40, 40, 3)).astype(np.uint8)
    shifted = truths // 2 + 60  # right in what differs between pictures, though not in its strength

    def measured(pictures: np.ndarray, *, pairs: bool = True) -> float | None:
        scores = TranslateScores(COLOUR, COLOUR, both_ways=not pairs)
        for number, (made, truth) in enumerate(zip(pictures, truths, strict=True)):
            sample = Sample(str(number), truth, partner=truth, paired=pairs)
            scores.update(TranslatePrediction(made), sample)
        return scores.summary("val")["own_to_others"]

    assert measured(truths) == 0
    assert measured(np.repeat(truths[:1] // 2, 6, 0)) == pytest.approx(1, abs=0.02)
    assert 0.2 < measured(shifted) < 0.8
    assert measured(truths[::-1]) > 1
    assert measured(truths, pairs=False) is None


@pytest.mark.parametrize(("diversity", "own_to_others", "found"), [(0.6, 0.8, 0), (0.6, 0.97, 1), (0.05, 0.8, 1)])
def test_translations_that_follow_their_pictures_are_good_whatever_their_l1(
    diversity: float, own_to_others: float, found: int
) -> None:
    """Sharp textures have a larger L1 than a single colour."""
    summary = {"l1": 36.0, "constant_l1": 35.0, "diversity": diversity, "own_to_others": own_to_others}
    outcome: Any = SimpleNamespace(validation=SimpleNamespace(summary=summary))
    assert len(TranslatePairs().limits(outcome)) == found


def test_errors_are_grey_levels_whatever_the_depth() -> None:
    span = GREY.high - GREY.low
    truth = np.full((4, 4, 1), GREY.low, np.uint16)
    made = truth + np.uint16(round(span / 5))
    scores = TranslateScores(GREY, GREY, both_ways=False)
    scores.update(TranslatePrediction(made), Sample("x", truth, partner=truth))
    assert scores.summary("val")["l1"] == pytest.approx(51, rel=0.01)
    assert scores.summary("val")["unchanged_l1"] == 0


def test_merged_scores_are_those_of_all_pictures() -> None:
    whole, parts = ([TranslateScores(COLOUR, COLOUR, both_ways=True) for _ in range(count)] for count in (1, 2))
    rng = np.random.default_rng(0)
    for number in range(4):
        images = [rng.integers(0, 255, (6, 5, 3)).astype(np.uint8) for _ in range(6)]
        prediction = TranslatePrediction(*images[:4])
        sample = Sample(str(number), images[4], partner=images[5])
        whole[0].update(prediction, sample)
        parts[number // 2].update(prediction, sample)
    parts[0].merge(parts[1])
    assert parts[0].summary("val") == pytest.approx(whole[0].summary("val"))
    assert parts[0].margin() == whole[0].margin()


def test_a_generator_that_ignores_its_input_is_found_out(data: Path, tmp_path: Path) -> None:
    run = train("pix2pix", data, tmp_path / "run", **{"optimizer.lr": 1e-9, "train.ema_decay": None})
    codes = [limit["code"] for limit in json.loads(run.limits_file.read_text())]
    assert "same-translations" in codes


def test_the_weights_of_the_last_validation_are_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the score is; here each validation is worse than the one before."""
    worse = itertools.count(1.0)
    monkeypatch.setattr(TranslateScores, "values", lambda self: {"l1": next(worse)})
    values = {"model": {"name": "pix2pix", "depth": 3, "width": 4}, "data": {"path": str(data)}}
    settings = {"epochs": 4, "validations": 4, "ema_decay": None}
    (tmp_path / "r.yaml").write_text(json.dumps({**values, "train": settings}))
    began = session.start(load_recipe(tmp_path / "r.yaml"), name="r", out=str(tmp_path / "run"))
    session.execute(began, Silent())
    assert [entry["l1"] for entry in began.run.log() if entry["kind"] == "validation"] == [1, 2, 3, 4]
    kept = load_model(began.run.best)[0].state_dict()
    assert all(torch.equal(value, kept[key]) for key, value in began.method.network.state_dict().items())


def test_pairs_move_together_and_kinds_apart() -> None:
    augment = Augmentation(crop=(16, 16), flip="both", rotate=20, elastic=2, contrast=0.4)
    image = np.random.default_rng(0).integers(0, 60_000, (40, 40, 1)).astype(np.uint16)
    sample = Sample("x", image, partner=image.copy())
    together = Augmentation(**{**augment.model_dump(), "contrast": 0.0})(sample, np.random.default_rng(1))
    np.testing.assert_array_equal(together.image, together.partner)
    recoloured = augment(sample, np.random.default_rng(1))
    np.testing.assert_array_equal(recoloured.partner, together.partner)  # colours of the input alone vary
    assert not np.array_equal(recoloured.image, together.image)
    apart = Apart(augment)(Sample("x", image, partner=image[:20, :30].copy(), paired=False), np.random.default_rng(1))
    assert apart.image.shape == apart.partner.shape == (16, 16, 1)  # type: ignore[union-attr]
    assert not np.array_equal(apart.image, apart.partner)


def test_settings_without_meaning_are_refused(data: Path, tmp_path: Path) -> None:
    for key in ("background", "objects", "erase"):
        with pytest.raises(UserError, match=rf"augment\.{key}: pairs of pictures have no classes"):
            train("pix2pix", data, tmp_path / "run", **{f"augment.{key}": 0.5})
    with pytest.raises(UserError, match="unknown direction 'b-to-c'; did you mean 'b-to-a'"):
        train("pix2pix", data, tmp_path / "run", **{"model.direction": "b-to-c"})
    for split in ("train", "val"):
        for index in range(3):
            write_png(tmp_path / "flat" / split / "a" / f"{index}.png", discs(index, deep=True)[0])
            write_png(tmp_path / "flat" / split / "b" / f"{index}.png", np.full((40, 48), 70, np.uint16))
    with pytest.raises(UserError, match="all values of the training pictures that they are translated into are 70"):
        train("pix2pix", tmp_path / "flat", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_translators_are_not_explained(runs: dict[str, Run], tmp_path: Path) -> None:
    write_png(tmp_path / "x.png", discs(0)[0])
    with pytest.raises(UserError, match="pix2pix"):
        explain(runs["pix2pix"].path, [tmp_path / "x.png"], out=tmp_path / "out.html")
