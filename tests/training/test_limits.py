"""What limits a run, from literal logs and scores: each finding at its threshold, and just below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pixelwise.metrics.headline import Headline
from pixelwise.recipe.recipe import PlannedRecipe, to_yaml
from pixelwise.recipe.sections import ModelSection
from pixelwise.training import limits
from pixelwise.training.history import Gap, History, rising_loss, validation_share
from pixelwise.training.limits import Commands
from pixelwise.training.recipes import load_recipe
from pixelwise.training.run import Run
from planned import FACTS, planned_recipe

IOU = Headline("mean_iou", "mean IoU")
MAE = Headline("mae", "mean absolute error", higher=False, limits=(0.0, None))
RUN = Path("/runs/one")
RECIPE = planned_recipe("unet", "segment", train={"epochs": None, "minutes": 10.0, "validations": 10})


def history(scores: Sequence[float], headline: Headline = IOU, steps: int = 1000) -> History:
    """Validations of a run of ten minutes, evenly spaced."""
    part = [(number + 1) / len(scores) for number in range(len(scores))]
    log = [
        {"kind": "validation", "step": round(steps * p), "seconds": 600 * p, "epoch": 20 * p, headline.key: score}
        for p, score in zip(part, scores, strict=True)
    ]
    return History.of([{"kind": "train", "step": 1, "seconds": 1.0, "epoch": 0.1, "loss": 2.0}, *log], headline)


def gap(training: float, validation: float, margin: float = 0.02) -> Gap:
    return Gap(IOU, training, validation, 20, margin)


def test_the_gain_of_twice_the_time_is_the_slope_over_the_logarithm_of_the_step() -> None:
    assert history([0.1, 0.2, 0.25, 0.3]).gain() == pytest.approx(
        0.1, abs=0.005
    )  # 0.2 at half the time, 0.3 at its end
    assert history([0.4, 0.3, 0.25, 0.2], MAE).gain() == pytest.approx(0.1, abs=0.005), "above 0 is better"
    assert history([0.1, 0.2]).gain() is None


def test_still_improving() -> None:
    found = history([0.1, 0.3, 0.4, 0.46, 0.5, 0.55, 0.58, 0.61, 0.63, 0.65]).still_improving(RECIPE, RUN)
    assert found is not None
    assert found.code == "still-improving"
    assert "from 0.550 to 0.650 in the last 5 validations" in found.sentence
    assert "20 minutes" in found.advice
    assert found.flags == "--minutes 20 --set model.weights=/runs/one"


@pytest.mark.parametrize(
    "scores",
    [
        [0.1, 0.3, 0.5, 0.6, 0.62, 0.625, 0.626, 0.627, 0.628, 0.629],  # level
        [0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.78, 0.77, 0.76],  # the best is long past
        [0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.96, 0.97, 0.98, 0.99],  # nothing is left to gain
        [0.1, 0.5],  # too few
    ],
)
def test_not_improving(scores: list[float]) -> None:
    assert history(scores).still_improving(RECIPE, RUN) is None


def test_errors_fall() -> None:
    found = history([9.0, 5.0, 4.0, 3.5, 3.0, 2.7, 2.4, 2.2, 2.0, 1.9], MAE).still_improving(RECIPE, RUN)
    assert found is not None
    assert "fell from 2.7 to 1.9" in found.sentence
    assert "about -0.95 for twice the time" in found.sentence, "half of what is left"


def test_a_budget_of_epochs_is_doubled_in_minutes() -> None:
    recipe = planned_recipe("unet", "segment", train={"epochs": 20.0})
    found = history([0.1, 0.2, 0.3, 0.4]).still_improving(recipe, RUN)
    assert found is not None
    assert found.flags.startswith("--minutes 20 ")


def test_short() -> None:
    found = history([0.1, 0.2, 0.3], steps=60).short(RECIPE, RUN, 0.0)
    assert found is not None
    assert found.sentence == "A short run: 60 steps of 2 crops, 20.0 passes over the training pictures."
    assert found.flags == "--minutes 100 --set model.weights=/runs/one", "600 steps"
    assert history([0.1, 0.2, 0.3], steps=300).short(RECIPE, RUN, 0.0) is None
    assert history([0.1, 0.2, 0.99], steps=60).short(RECIPE, RUN, 0.0) is None, "nothing is left to gain"


def test_validations_that_took_most_of_the_time() -> None:
    log = [
        {"kind": "train", "step": 10, "seconds": 4.0, "pictures_per_second": 5.0},
        {"kind": "validation", "step": 10, "seconds": 20.0},
    ]
    assert validation_share(log, RECIPE) == pytest.approx(0.8), "20 pictures at 5 per second are 4 of 20 seconds"
    first = {"kind": "train", "step": 1, "seconds": 3.0, "pictures_per_second": 0.0}
    assert validation_share([first, {"kind": "validation", "step": 2, "seconds": 60.0}], RECIPE) == 0.9
    assert validation_share(log[1:], RECIPE) == 0
    found = history([0.1, 0.2, 0.3], steps=10).short(RECIPE, RUN, 0.8)
    assert found is not None
    assert "validations took 80 % of the time" in found.sentence
    assert found.flags.endswith("--set train.validations=3")


@pytest.mark.parametrize("scores", [[0.4, 0.3, 0.2], [0.1, 0.103, 0.1]])
def test_no_improvement_after_the_first_validation(scores: list[float]) -> None:
    found = history(scores).no_improvement(RECIPE)
    assert found is not None
    assert found.code == "no-improvement"
    assert found.flags == "--set optimizer.lr=0.033", "a third of 0.1"


@pytest.mark.parametrize("scores", [[0.4, 0.3], [0.3, 0.4, 0.35], [0.99, 0.985, 0.985]])
def test_improvement(scores: list[float]) -> None:
    assert history(scores).no_improvement(RECIPE) is None


def test_declining() -> None:
    scores = [0.3, 0.5, 0.6, 0.58, 0.56, 0.55, 0.54, 0.53, 0.52, 0.5]
    found = history(scores).declining(None)
    assert found is not None
    assert "from 30 % of the run" in found.sentence
    assert "worse by 0.1, to 0.5 at the end: the learning rate may be too high" in found.sentence
    by_heart = history(scores).declining(gap(0.9, 0.6))
    assert by_heart is not None
    assert "memorises" in by_heart.sentence
    assert history([0.3, 0.5, 0.6, 0.6, 0.59, 0.59]).declining(None) is None
    assert history([0.3, 0.4, 0.5, 0.6, 0.5]).declining(None) is None, "late"


def test_stopped_by_patience() -> None:
    recipe = planned_recipe("unet", "segment", train={"epochs": 40.0, "patience": 2})
    found = history([0.3, 0.5, 0.4, 0.45]).stopped_early(recipe)
    assert found is not None
    assert "at 50 % of the budget, since 2 validations" in found.sentence
    assert found.flags == "--set train.patience=4"
    whole = planned_recipe("unet", "segment", train={"epochs": 20.0, "patience": 2})
    assert history([0.3, 0.5, 0.4, 0.45]).stopped_early(whole) is None
    assert history([0.3, 0.5, 0.4]).stopped_early(recipe) is None


def test_rising_loss() -> None:
    log = [{"kind": "train", "loss": loss} for loss in [2.0, 1.0] * 5 + [0.5] * 80 + [0.8] * 10]
    found = rising_loss(log, RECIPE)
    assert found is not None
    assert "from 0.5 to 0.8" in found.sentence
    assert rising_loss(log[:-5], RECIPE) is None
    assert rising_loss(log[-10:], RECIPE) is None, "too few to tell"


def test_few_pictures() -> None:
    found = limits.few_pictures(16, None, "Add")
    assert found is not None
    assert found.sentence == "Only 16 training pictures."
    assert found.advice.startswith("Add about 16 more. ")
    assert limits.few_pictures(30, None, "Add") is None
    assert limits.few_pictures(99, gap(0.7, 0.65), "Label") is None
    with_gap = limits.few_pictures(99, gap(0.8, 0.65), "Label")
    assert with_gap is not None
    assert "mean IoU is 0.800 on 20 training pictures and 0.650 on validation pictures" in with_gap.sentence


def test_overfitting() -> None:
    found = limits.overfitting(100, gap(0.8, 0.65), RECIPE, FACTS, "Label")
    assert found is not None
    assert found.code == "overfitting"
    assert "augment.scale" in found.flags
    assert found.advice.startswith("Label more pictures")
    assert limits.overfitting(99, gap(0.8, 0.65), RECIPE, FACTS, "Label") is None, "put down to the number of pictures"
    assert limits.overfitting(100, gap(0.8, 0.71), RECIPE, FACTS, "Label") is None
    assert limits.overfitting(100, gap(0.8, 0.65, margin=0.2), RECIPE, FACTS, "Label") is None, "may be chance"
    assert limits.overfitting(100, gap(0.6, 0.8), RECIPE, FACTS, "Label") is None
    assert limits.overfitting(100, None, RECIPE, FACTS, "Label") is None


def test_a_gap_of_errors_is_relative() -> None:
    assert Gap(MAE, 3.0, 4.0, 20).significant
    assert not Gap(MAE, 3.5, 4.0, 20).significant
    assert not Gap(MAE, 4.0, 3.0, 20).significant


def model(**options: Any) -> PlannedRecipe:
    recipe = planned_recipe("unet", "segment")
    return recipe.model_copy(update={"model": ModelSection(name="unet", **options)})


def test_random_weights() -> None:
    found = limits.random_weights(model(encoder="resnet18"), FACTS)
    assert found is not None
    assert found.sentence.startswith("resnet18 started from random weights")
    assert found.flags == (
        "--set model.weights=timm/resnet18.tv_in1k --set normalize.mean=null --set normalize.std=null "
        "--set optimizer.encoder_lr_factor=null"
    )
    file = limits.random_weights(planned_recipe("googlenet", "classify"), FACTS)
    assert file is not None
    assert "https://download.pytorch.org/models/googlenet" in file.advice
    assert not file.flags, "there is no command without the file"
    for other in (model(encoder="resnet18", weights="file.pth"), model(encoder=None), model(encoder="xception")):
        assert limits.random_weights(other, FACTS) is None
    many = replace(FACTS, pictures={"train": 5000, "val": 10})
    assert limits.random_weights(model(encoder="resnet18"), many) is None


def test_classifiers_and_default_encoders_are_recognised() -> None:
    classifier = limits.random_weights(planned_recipe("resnet18", "classify"), FACTS)
    assert classifier is not None
    assert "timm/resnet18" in classifier.advice
    assert limits.random_weights(planned_recipe("lenet5", "classify"), FACTS) is None


def test_small_validation() -> None:
    found = limits.small_validation(4, IOU, {"mean_iou": 0.5}, 0.042)
    assert found is not None
    assert "The mean IoU of 0.500 is measured on 4 pictures, so it is uncertain by about ±0.042." in found.sentence
    single = limits.small_validation(1, IOU, {"mean_iou": 0.5}, float("nan"))
    assert single is not None
    assert "measured on 1 picture," in single.sentence
    assert limits.small_validation(4, IOU, {"mean_iou": 0.5}, 0.02) is None
    assert limits.small_validation(30, IOU, {"mean_iou": 0.5}, 0.2) is None
    assert limits.small_validation(4, IOU, {"mean_iou": None}, 0.2) is None


def test_nothing_stands_out() -> None:
    level = history([0.5, 0.7, 0.8, 0.81, 0.811, 0.812])
    pictures = limits.nothing(level, gap(0.87, 0.812), 300)
    assert pictures.code == "none"
    assert pictures.sentence.startswith("Nothing stands out: twice the time would bring about +0.0")
    assert "mean IoU is 0.870 on 20 training pictures and 0.812 on validation pictures" in pictures.sentence
    assert pictures.advice == "The next gain is likely from more pictures than these 300."
    rising = history([0.5, 0.7, 0.8, 0.805, 0.81, 0.815])
    assert limits.nothing(rising, gap(0.815, 0.815), 300).advice == "The next gain is likely from training longer."


@pytest.mark.parametrize(
    ("pictures", "held_out", "seconds", "trained", "expected"),
    [
        (300, 40, 0.01, 600.0, 40),  # as many as are held out
        (300, 200, 0.01, 600.0, 64),
        (20, 40, 0.01, 600.0, 20),
        (300, 40, 2.0, 600.0, 6),  # 2 % of ten minutes
        (300, 40, 0.1, 1.0, 10),  # a second
        (300, 40, 0.9, 1.0, 0),  # one picture tells nothing
    ],
)
def test_the_sample_is_bounded(pictures: int, held_out: int, seconds: float, trained: float, expected: int) -> None:
    assert limits.sample_size(pictures, held_out, seconds, trained) == expected


def test_commands_are_whole() -> None:
    commands = Commands(Path("/my runs/one"), Path("/data"))
    assert commands.again("--set optimizer.lr=0.1", "short") == (
        "pixelwise train '/my runs/one'/recipe.yaml --data /data --set optimizer.lr=0.1 --out '/my runs/one'-short"
    )


def test_a_longer_run_plans_anew_what_followed_from_the_length(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.derived_from_length == {}
    recipe = planned_recipe("unet", "segment")
    reasons = {"train.batch_size": "so many fit", "optimizer.lr": "AdamW", "train.ema_decay": "the last steps"}
    run.recipe_file.write_text(to_yaml(recipe, reasons))
    assert run.derived_from_length == {"train.batch_size": None, "train.ema_decay": "auto"}
    again = load_recipe(run.recipe_file, run.derived_from_length)
    assert again.train.batch_size is None
    assert again.optimizer.lr == recipe.optimizer.lr
