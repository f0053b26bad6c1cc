"""Recipes: what is accepted, what is refused and how it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pixelwise.errors import UserError
from pixelwise.recipe.recipe import digest, reasoned, to_yaml
from pixelwise.training.recipes import (
    build_planned,
    build_recipe,
    load_planned,
    load_recipe,
    parse_overrides,
    recipe_names,
)
from planned import planned_recipe


@pytest.mark.parametrize("name", recipe_names())
def test_every_packaged_recipe_is_valid_and_says_what_it_is_for(name: str) -> None:
    assert load_recipe(name).about


def test_a_models_name_is_a_recipe() -> None:
    assert load_recipe("unet_original").model.name == "unet_original"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optimizer.lrr=1"], "unknown key 'optimizer.lrr'; did you mean 'optimizer.lr'"),
        (["optimiser.lr=1"], "did you mean 'optimizer'"),
        (["model.encodr=resnet18"], "did you mean 'encoder'"),
        (["train.batch_size=0"], "'train.batch_size'.*greater than or equal to 1, found 0"),
        (["train.batch_size=many"], "'train.batch_size'.*integer.*found \"many\""),
        (["augment.crop=[3]"], "augment.crop"),
        (["train.epochs=2", "train.minutes=3"], "both set"),
        (["nonsense"], "expected section.key=value"),
        (["optimizer.lr.deep=1"], "optimizer.lr"),
        (["model.num_classes=3"], "num_classes"),
        (["optimizer.name=adam"], "'adamw', 'sgd' or 'rmsprop'"),
    ],
)
def test_mistakes_are_one_sentence_with_the_key_and_what_is_allowed(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        load_recipe("unet", overrides)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'unet'"):
        load_recipe("unett")
    with pytest.raises(UserError, match="no such recipe"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("model: [unclosed")
    with pytest.raises(UserError, match="not valid YAML"):
        load_recipe(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    with pytest.raises(UserError, match="mapping of sections"):
        load_recipe(tmp_path / "list.yaml")


def test_numbers_in_scientific_notation_are_numbers() -> None:
    assert parse_overrides(["optimizer.lr=1e-3", "model.encoder=resnet18", "a.b=[1, 2]"]) == [
        ("optimizer.lr", 0.001),
        ("model.encoder", "resnet18"),
        ("a.b", [1, 2]),
    ]


def test_yaml_comes_back_as_the_same_recipe_and_keeps_its_reasons(tmp_path: Path) -> None:
    recipe = load_recipe("unet", {"optimizer.lr": 1e-3, "loss.terms.jaccard": 0.25, "data.path": "/some/where: else"})
    assert recipe.loss.terms == {"cross_entropy": 1.0, "dice": 1.0, "jaccard": 0.25}
    file = tmp_path / "recipe.yaml"
    file.write_text(to_yaml(recipe, {"optimizer.lr": "because # of this"}))
    assert load_recipe(file) == recipe
    assert ("optimizer.lr", 0.001, "because # of this") in reasoned(file)
    assert yaml.safe_load(file.read_text())["data"]["path"] == "/some/where: else"


@pytest.mark.parametrize(
    "setting",
    [
        "augment.brightness=2",
        "augment.scale=[1.5, 0.7]",
        "augment.scale=[0, 1]",
        "augment.rotate=-3",
        "augment.crop=[0, 5]",
        "augment.flip=sideways",
        "schedule.name=cosin",
        "loss.terms.dyce=1",
        "loss.terms={}",
    ],
)
def test_impossible_values_are_refused_when_the_recipe_is_read(setting: str) -> None:
    with pytest.raises(UserError, match=setting.partition("=")[0].removesuffix(".dyce").replace(".", r"\.")):
        load_recipe("unet", [setting])


def test_digests_follow_the_values_and_not_the_file(tmp_path: Path) -> None:
    recipe = planned_recipe("unet", "segment", provenance={"share": 1e-05}, optimizer={"lr": 1e-05})
    file = tmp_path / "recipe.yaml"
    file.write_text("# a remark\n" + to_yaml(recipe))
    assert load_planned(file) == recipe  # numbers without a dot stay numbers
    assert digest(load_planned(file)) == digest(recipe)
    values = recipe.model_dump(mode="json")
    assert digest(build_planned({**values, "provenance": {}, "about": "x"}, "again")) == digest(recipe)
    assert digest(planned_recipe("unet", "segment", optimizer={"lr": 2e-05})) != digest(recipe)
    # A planned recipe starts another run, too.
    assert load_recipe(file).optimizer.lr == 1e-05


def planned_without(section: str, key: str | None = None) -> dict[str, Any]:
    values = planned_recipe("unet", "segment").model_dump(mode="json")
    if key is None:
        del values[section]
    else:
        values[section][key] = None
    return values


@pytest.mark.parametrize(
    ("section", "key"),
    [("optimizer", "lr"), ("train", "batch_size"), ("train", "epochs"), ("normalize", "mean"), ("augment", "crop"),
     ("augment", "flip"), ("loss", "terms"), ("loss", "class_weights"), ("optimizer", "encoder_lr_factor")],
)  # fmt: skip
def test_a_planned_recipe_leaves_nothing_open(section: str, key: str) -> None:
    with pytest.raises(UserError, match=f"the plan: .*{section}|neither epochs nor minutes"):
        build_planned(planned_without(section, key), "the plan")
    assert build_recipe(planned_without(section, key), "the recipe").model.name == "unet"


def test_recipes_of_earlier_versions_have_the_usual_task_and_method() -> None:
    values = planned_without("task")
    del values["method"]
    made = build_planned(values, "an older run")
    assert (made.task, made.method.name) == ("segment", "supervised")


@pytest.mark.parametrize(
    ("model", "term", "words"),
    [
        ("unet", "box_l2", "unknown loss of unet: 'box_l2'"),
        ("resnet18", "box_l2", "unknown loss of resnet18: 'box_l2'"),
        ("localizer", "box_l3", "unknown loss of localizer: 'box_l3'; did you mean 'box_l2'"),
        ("unet", "dyce", "unknown loss of unet: 'dyce'; did you mean 'dice'"),
    ],
)
def test_losses_are_those_of_the_task(model: str, term: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        load_recipe(model, {f"loss.terms.{term}": 1.0})
    assert "\n" not in str(caught.value)
    assert load_recipe("localizer", {"loss.terms": {"box_l2": 1.0}}).loss.terms == {"box_l2": 1.0}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"task": "segmentt"}, "task of unet: 'segmentt'; did you mean 'segment'"),
        ({"task": "classify"}, "task of unet: 'classify'"),
        ({"method.name": "supervise"}, "'supervise'; did you mean 'supervised'"),
        ({"method.epsilon": 2.0}, "unknown key 'method.epsilon'"),
    ],
)
def test_tasks_and_methods_are_those_of_the_network(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        load_recipe("unet", overrides)
    assert "\n" not in str(caught.value)
