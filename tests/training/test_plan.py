"""Decisions from facts: sensible over the range of datasets people have, and never against what a recipe sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pixelwise.catalog import create_model, system
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.pictures import PictureFormat
from pixelwise.errors import UserError
from pixelwise.recipe.draft import Pace
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.tasks.criteria import class_weights
from pixelwise.training.plan import Plan, make_plan
from pixelwise.training.recipes import build_recipe, load_recipe
from pixelwise.training.run import create_run, open_run
from planned import FACTS

CPU = torch.device("cpu")
UNET = create_model("unet", num_classes=3, encoder="mobilenet_v2")  # its stride is 32


def planned(recipe: Recipe, facts: Fingerprint, network: nn.Module, pace: Pace | None = None) -> Plan:
    return make_plan(recipe, facts, system(recipe.model.name).task, network=network, device=CPU, pace=pace)


def plan(facts: Fingerprint = FACTS, **overrides: object) -> PlannedRecipe:
    recipe = load_recipe("unet", {key.replace("__", "."): value for key, value in overrides.items()})
    return planned(recipe, facts, UNET).recipe


@pytest.mark.parametrize("side", [1, 7, 31, 32, 33, 64, 101, 256, 512, 1040, 20_000])
def test_crops_fit_and_batches_stay_within_a_megapixel_or_so(side: int) -> None:
    made = plan(replace(FACTS, height=(side,) * 3, width=(2 * side,) * 3))
    height, width = made.augment.crop
    assert 1 <= height <= side
    assert 1 <= width <= 2 * side
    assert side < 32 or height % 32 == width % 32 == 0
    assert 2 <= made.train.batch_size <= 16
    assert made.train.batch_size * height * width <= 1.5 * (1 << 20)


@pytest.mark.parametrize(("side", "crop"), [(8, 32), (32, 32), (100, 100), (1000, 224)])
def test_crops_of_a_classifier_leave_its_last_map_a_place(side: int, crop: int) -> None:
    """Smaller pictures are enlarged: ResNet-18 has a stride of 32."""
    facts = replace(FACTS, height=(side,) * 3, width=(2 * side,) * 3)
    network = create_model("resnet18", num_classes=3)
    made = planned(load_recipe("resnet18"), facts, network)
    assert made.recipe.augment.crop == (crop, crop)


def test_everything_is_decided_with_a_reason_and_what_is_set_stays() -> None:
    made = planned(load_recipe("unet", {"augment.crop": [64, 96], "optimizer.lr": 0.5}), FACTS, UNET)
    assert made.recipe.augment.crop == (64, 96)
    assert made.recipe.optimizer.lr == 0.5
    assert not {"augment.crop", "optimizer.lr"} & made.reasons.keys()
    values = made.recipe.model_dump()
    for section in ("augment", "normalize"):
        assert None not in values[section].values()
    assert all(made.reasons.values())
    again = build_recipe(made.recipe.model_dump(mode="json"), "again")  # a plan is complete
    assert planned(again, FACTS, UNET).recipe == made.recipe
    assert set(planned(again, FACTS, UNET).reasons) == set()


def test_what_surrounds_an_object_is_class_0_where_that_is_called_background() -> None:
    named = replace(FACTS, class_names=("Background", "cell", "wall"))
    assert plan(named, augment__objects=1.0).augment.alone is True
    assert plan(augment__objects=1.0).augment.alone is False
    assert plan(named, augment__objects=1.0, augment__alone=False).augment.alone is False
    assert plan(named).augment.alone is False


@pytest.mark.parametrize("key", ["objects", "background"])
def test_a_classifier_has_no_masks_to_go_by(key: str) -> None:
    recipe = load_recipe("resnet18", {f"augment.{key}": 0.5})
    network = create_model("resnet18", num_classes=3)
    with pytest.raises(UserError, match=rf"^augment\.{key}: .* no masks; leave it out\.$"):
        planned(recipe, FACTS, network)


def test_a_classifier_sees_pictures_at_one_size() -> None:
    recipe = load_recipe("resnet18", {"train.half_size": 0.5})
    with pytest.raises(UserError, match=r"^train\.half_size: networks for the task classify take pictures of one size"):
        planned(recipe, FACTS, create_model("resnet18", num_classes=3))


def test_a_trunk_of_random_weights_is_not_kept() -> None:
    network = create_model("resnet18", num_classes=3)
    with pytest.raises(UserError, match=r"^optimizer\.freeze: .* give resnet18 weights"):
        planned(load_recipe("resnet18", {"optimizer.freeze": "trunk"}), FACTS, network)


def test_balance_decides_the_weights() -> None:
    assert plan().loss.class_weights == "sqrt_median_frequency"
    assert plan(replace(FACTS, class_pixels=(40, 30, 30))).loss.class_weights == "none"
    weights = class_weights(plan(), FACTS)
    full = class_weights(plan(loss__class_weights="median_frequency"), FACTS)
    assert weights is not None
    assert full is not None
    assert [w**2 for w in weights] == pytest.approx(list(full))
    assert class_weights(plan(loss__class_weights=[1, 2, 3]), FACTS) == (1, 2, 3)
    assert class_weights(plan(loss__class_weights="none"), FACTS) is None
    with pytest.raises(UserError, match="2 weights found, 3 expected"):
        plan(loss__class_weights=[1, 2])


def test_normalisation_is_the_weights_own_or_the_datas(tmp_path: Path) -> None:
    assert plan().normalize.mean == (100, 110, 120)
    from safetensors.torch import save_file

    state = create_model("resnet18").state_dict()
    save_file(state, tmp_path / "w.safetensors", metadata={"input": "RGB / 127.5 - 1"})
    with_weights = {"model__weights": str(tmp_path / "w.safetensors")}
    assert plan(**with_weights).normalize.mean == (127.5, 127.5, 127.5)
    assert plan(**with_weights).optimizer.encoder_lr_factor == 0.3
    grey = replace(FACTS, form=PictureFormat(1), mean=(9.0,), std=(1.0,))
    assert plan(grey, **with_weights).normalize.std == (127.5,)
    deep = replace(FACTS, form=PictureFormat(3, "uint16"))
    assert plan(deep, **with_weights).normalize.mean == (127.5 * 257,) * 3
    many = replace(FACTS, form=PictureFormat(5), mean=(1.0,) * 5, std=(1.0,) * 5)
    assert plan(many, **with_weights).normalize.mean == (1.0,) * 5


def test_budgets() -> None:
    assert plan(train__minutes=3).train.epochs is None
    few, many = replace(FACTS, pictures={"train": 2}), replace(FACTS, pictures={"train": 100_000})
    assert plan(few).train.epochs == 400
    assert plan(many).train.epochs == 5


@pytest.mark.parametrize("rate", [1e-6, 0.05, 0.3, 2.0, 50.0])
@pytest.mark.parametrize("minutes", [0.5, 5, 60])
def test_the_pace_decides_batch_crop_averaging_and_validations(rate: float, minutes: float) -> None:
    facts = replace(FACTS, height=(600,) * 3, width=(800,) * 3)
    recipe = load_recipe("unet", {"train.minutes": minutes})
    pace = Pace(rate, validation_seconds=3.0, held_out=40, seconds=60 * minutes)
    made = planned(recipe, facts, UNET, pace)
    train, crop = made.recipe.train, made.recipe.crop
    steps = pace.crops(crop) / train.batch_size
    unhurried = planned(load_recipe("unet"), facts, UNET).recipe
    hurried = steps < 1000
    assert all(own <= most and own % 32 == 0 and own >= 160 for own, most in zip(crop, unhurried.crop, strict=True))
    assert not hurried or train.batch_size == 4
    assert train.batch_size == unhurried.train.batch_size or steps < 2000
    assert 2 <= train.validations <= 10
    assert train.validations == 2 or 3 * train.validations <= 0.06 * pace.seconds
    assert train.ema_decay is not None
    assert 0.9 <= train.ema_decay <= 0.999
    assert 0.1 <= made.recipe.schedule.warmup <= 0.3
    faster = planned(recipe, facts, UNET, replace(pace, megapixels_per_second=4 * rate)).recipe
    assert faster.crop >= crop
    assert faster.train.ema_decay >= train.ema_decay  # type: ignore[operator]


def test_half_the_size_comes_first_for_random_weights_and_large_crops_in_little_time(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    large = replace(FACTS, height=(600,) * 3, width=(800,) * 3)
    small = replace(FACTS, height=(192,) * 3, width=(256,) * 3)
    save_file(create_model("mobilenet_v2").state_dict(), tmp_path / "w.safetensors")

    def share(facts: Fingerprint, rate: float, **more: object) -> float:
        recipe = load_recipe("unet", {"train.minutes": 10, **{k.replace("__", "."): v for k, v in more.items()}})
        return planned(recipe, facts, UNET, Pace(rate, 1.0, 40, 600.0)).recipe.train.half_size

    assert share(large, 1.0) == 0.6
    assert share(small, 1.0) == 0
    assert share(large, 100.0) == 0
    assert share(large, 1.0, model__weights=str(tmp_path / "w.safetensors")) == 0
    assert share(large, 1.0, train__half_size=0.2) == 0.2
    assert planned(load_recipe("unet"), large, UNET).recipe.train.half_size == 0


def test_what_the_pace_decides_is_said_with_its_numbers() -> None:
    facts = replace(FACTS, height=(600,) * 3, width=(800,) * 3)
    made = planned(load_recipe("unet", {"train.minutes": 2}), facts, UNET, Pace(0.1, 3.0, 40, 100.0))
    assert "would fit into the time" in made.reasons["augment.crop"]
    assert "fit into the time" in made.reasons["train.batch_size"]
    assert made.reasons["train.validations"].startswith("a validation takes about 3.0 s")


@pytest.mark.parametrize(
    ("validation_seconds", "held_out", "share", "count"),
    [
        (107.0, 12_000, 0.0833, 4),  # 9 s for 1,000 pictures
        (12.0, 12_000, 0.6, 5),
        (6.0, 12_000, 1.0, 6),
        (107.0, 900, 1.0, 2),
        (1.0, 12_000, 1.0, 10),
    ],
)
def test_validations_that_take_long_measure_a_part_of_many_pictures(
    validation_seconds: float, held_out: int, share: float, count: int
) -> None:
    pace = Pace(1.0, validation_seconds, held_out, seconds=600.0)
    made = planned(load_recipe("unet", {"train.minutes": 10}), FACTS, UNET, pace)
    train = made.recipe.train
    assert (train.validated_share, train.validations) == (share, count)
    assert count == 2 or count * share * validation_seconds <= 36.1
    if share == 0.0833:
        words = "1,000 of 12,000 held-out pictures, which would take 107 s"
        assert made.reasons["train.validated_share"] == words
    set_by_hand = planned(load_recipe("unet", {"train.minutes": 10, "train.validated_share": 0.5}), FACTS, UNET, pace)
    assert set_by_hand.recipe.train.validated_share == 0.5


def test_a_budget_of_epochs_is_planned_without_the_pace() -> None:
    made = planned(load_recipe("unet", {"train.epochs": 4}), FACTS, UNET)
    assert made.recipe.train.validations == 10
    assert made.recipe.train.validated_share == 1
    assert made.reasons["train.ema_decay"].startswith("an average over the last")


def test_run_folders_are_numbered_and_never_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [create_run(None, "some/unet.yaml", "data/cells").path.name for _ in range(3)]
    assert names == ["unet-cells", "unet-cells-2", "unet-cells-3"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(UserError, match="exists already"):
        create_run(tmp_path / "full", "unet", "cells")
    with pytest.raises(UserError, match="not a run folder"):
        open_run(tmp_path / "full")


def test_channels_that_say_nothing_and_tiny_values_survive() -> None:
    blank = replace(FACTS, mean=(0.0, 110.0, 120.0), std=(0.0, 51.0, 52.0))
    assert plan(blank).normalize.std == (1.0, 51.0, 52.0)
    faint = replace(FACTS, form=PictureFormat(1, "float32"), mean=(3e-7,), std=(1e-7,))
    assert plan(faint).normalize.mean == (3e-7,)
    assert plan(faint).normalize.std == (1e-7,)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"normalize__mean": [1.0, 2.0]}, "2 numbers found, 3 expected"),
        ({"normalize__std": [0.0, 1.0, 1.0]}, "above 0"),
    ],
)
def test_normalisation_that_cannot_work_is_refused(overrides: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        plan(**overrides)
