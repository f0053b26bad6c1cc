"""Finds and reads recipes, and checks them against the catalog."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from pixelwise.catalog import METHODS, SYSTEMS, option_names, system
from pixelwise.data.listing import Faults
from pixelwise.errors import UserError, unknown
from pixelwise.recipe.recipe import Part, PlannedRecipe, Recipe
from pixelwise.recipe.sections import DataSection
from pixelwise.tasks.base import Task

WHOLE = frozenset({"stages", "variants", "seeds", "references"})
"""The keys of a recipe for several runs that the recipe of each run lacks."""
R = TypeVar("R", Recipe, PlannedRecipe)


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))


def _folder() -> Any:
    return resources.files("pixelwise") / "recipes"


def load_recipe(name: str | Path, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Recipe:
    """Reads a recipe, given as a YAML file, the name of a recipe of the package, or the name of a model.

    Args:
        overrides: `section.key=value` strings (values in YAML), or the same as a mapping.

    Raises:
        UserError: no such recipe; or a misspelt key, a wrong type or an impossible value, with what is allowed.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        values, source = _parse(path), str(path)
    elif str(name) in recipe_names():
        values, source = yaml.safe_load((_folder() / f"{name}.yaml").read_text()), f"recipe {name}"
    elif str(name) in SYSTEMS:
        values, source = {"model": {"name": str(name)}}, f"model {name}"
    else:
        raise unknown("model or recipe", str(name), {*recipe_names(), *SYSTEMS})
    pairs = overrides.items() if isinstance(overrides, Mapping) else parse_overrides(overrides)
    for key, value in pairs:
        _assign(values, key, value)
    recipe = build_recipe(values, source)
    stage_recipes(recipe)  # so that a mistake in the last stage is found before the first one runs
    variant_recipes(recipe)
    return recipe


def data_section(values: Mapping[str, Any]) -> DataSection:
    """The section `data` of a recipe whose other sections are not known yet.

    Raises:
        UserError: a wrong key or value; the message says what was found and what is allowed.
    """
    try:
        return DataSection.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(f"the recipe: {explain_error(error, DataSection, 'data')}") from None


def load_planned(path: Path) -> PlannedRecipe:
    """Reads the complete recipe that a run wrote.

    Raises:
        UserError: no such file, or keys and values that no run writes.
    """
    return build_planned(_parse(path), str(path))


def stage_recipes(recipe: Recipe) -> list[Recipe]:
    """The recipe of each stage, with its share of the budget if the recipe has one.

    Raises:
        UserError: a wrong key or value; the message names the stage.
    """
    whole = sum(stage.share for stage in recipe.stages)
    return [
        _part_recipe(recipe, stage, f"stage {number}", stage.share / whole)
        for number, stage in enumerate(recipe.stages, 1)
    ]


def variant_recipes(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe of each variant by its name, each with the whole budget.

    If the recipe has seeds, there is one run per variant and seed, `NAME-seedS`: all variants with the first seed, then
    all with the next one.

    Raises:
        UserError: a wrong key or value; the message names the variant.
    """
    return {
        run_name(name, seed): _part_recipe(recipe, variant, f"variant {name}", seed=seed)
        for seed in recipe.seeds or (None,)
        for name, variant in recipe.variants.items()
    }


def run_name(variant: str, seed: int | None) -> str:
    """The name of the run of a variant with a seed; None for a recipe without seeds."""
    return variant if seed is None else f"{variant}-seed{seed}"


def _part_recipe(recipe: Recipe, part: Part, source: str, share: float = 1.0, seed: int | None = None) -> Recipe:
    values = recipe.model_dump(mode="json", exclude={*WHOLE, "provenance"})
    values["about"] = part.about
    for budget in ("epochs", "minutes"):
        if values["train"][budget] is not None:
            values["train"][budget] *= share
    if seed is not None:
        values["train"]["seed"] = seed
    for key, value in part.set.items():
        _assign(values, key, value)
    return build_recipe(values, source)


def _parse(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such recipe; `pixelwise recipes` lists those that come with the package."
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a recipe is a mapping of sections (model, data, ...), found {type(values).__name__}.")
    return values


def parse_overrides(overrides: Sequence[str], flag: str = "--set") -> list[tuple[str, Any]]:
    """`section.key=value` strings as pairs of a key and a value read as YAML.

    Args:
        flag: the flag of the command line, for messages.

    Raises:
        UserError: no equals sign, or a value that is not YAML.
    """
    pairs = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            form = "section.key=value, for example --set optimizer.lr=0.001" if flag == "--set" else "name=value."
            raise UserError(f"{flag} {text}: expected {form}")
        try:
            pairs.append((key, _number_or_yaml(value)))
        except yaml.YAMLError:
            raise UserError(f"{flag} {text}: '{value}' is not a YAML value.") from None
    return pairs


def _number_or_yaml(text: str) -> Any:
    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)  # YAML 1.1 reads 1e-3 as a word
    except ValueError:
        return yaml.safe_load(text)


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a nested key. If the recipe leaves loss.terms to its default, the value is added to that default."""
    *sections, last = key.split(".")
    here = values
    for section in sections:
        if here.get(section) is None:
            here[section] = dict(default_terms(values)) if section == "terms" else {}
        here = here[section]
        if not isinstance(here, dict):
            raise UserError(f"--set {key}=...: '{section}' holds a value, not a section.")
    here[last] = value


def default_terms(values: Mapping[str, Any]) -> dict[str, float]:
    """The loss terms of a recipe (as plain values) that does not name any."""
    model = values.get("model")
    name = model.get("name") if isinstance(model, Mapping) else None
    task = values.get("task")
    if not isinstance(name, str) or name not in SYSTEMS or not isinstance(task, str | None):
        return {}
    return dict(task_named(name, task).terms)


def build_recipe(values: Mapping[str, Any], source: str) -> Recipe:
    """Checks plain values against the recipe's sections, the network's options, its losses and its method.

    Raises:
        UserError: a wrong key or value; the message says what was found and what is allowed.
    """
    return _checked(Recipe, values, source)


def build_planned(values: Mapping[str, Any], source: str) -> PlannedRecipe:
    """Like `build_recipe`, for a recipe that leaves nothing open.

    Raises:
        UserError: a wrong key or value; the message says what was found and what is allowed.
    """
    values = {name: value for name, value in values.items() if name not in WHOLE}
    model = values.get("model")
    if isinstance(model, Mapping) and isinstance(
        model.get("name"), str
    ):  # earlier versions wrote neither task nor method
        known = system(model["name"])
        values = {"task": known.tasks[0].name, "method": {"name": known.method}, **values}
    return _checked(PlannedRecipe, values, source)


def _checked(kind: type[R], values: Mapping[str, Any], source: str) -> R:
    """The checked recipe. Mistakes in its sections and in the network's options are reported together."""
    faults = Faults()
    recipe = faults.attempt(lambda: _validated(kind, values, source), None)
    model, task = values.get("model"), values.get("task")
    if isinstance(model, Mapping) and isinstance(model.get("name"), str) and isinstance(task, str | None):
        faults.attempt(lambda: _check_options(model["name"], task, [key for key in model if key != "name"]), None)
    if recipe is None or faults:
        raise UserError("; ".join(faults))
    _check_names(recipe, source)
    return recipe


def _validated(kind: type[R], values: Mapping[str, Any], source: str) -> R:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(f"{source}: {explain_error(error, kind)}") from None


def _check_options(name: str, task: str | None, options: Sequence[str]) -> None:
    """Checks the options of a network of the catalog."""
    tasks = [task_named(name, task)] if task is not None else system(name).tasks
    decided = {option for each in tasks for option in each.decided_options}
    allowed = [*(option for option in option_names(name) if option not in decided), "weights"]
    for option in options:
        if option not in allowed:
            raise unknown(f"key model.{option} for {name}:", option, allowed)


def _check_names(recipe: Recipe | PlannedRecipe, source: str) -> None:
    """Checks the names of the losses against the network's task, and the method."""
    name = recipe.model.name
    tasks = [task_named(name, recipe.task)] if recipe.task is not None else list(system(name).tasks)
    _check_terms(recipe.loss.terms, {loss for task in tasks for loss in task.losses}, name, source)
    method = recipe.method.name or system(name).method
    if method not in METHODS:
        raise unknown(f"method in {source}:", method, METHODS)
    method_options(method, recipe.method.options, source)


def task_named(model: str, name: str | None) -> Task:
    """The task with this name, of those that a network of the catalog can be trained for; None for its usual task.

    Raises:
        UserError: the network cannot be trained for that task.
    """
    tasks = {task.name: task for task in system(model).tasks}
    if name is None:
        return system(model).tasks[0]
    if name not in tasks:
        raise unknown(f"task of {model}:", name, tasks)
    return tasks[name]


def _check_terms(terms: Mapping[str, float] | None, losses: Collection[str], name: str, source: str) -> None:
    if terms is None:
        return
    if not terms and losses:
        raise UserError(f"{source}: 'loss.terms': give at least one of {', '.join(sorted(losses))}.")
    for term in terms:
        if not losses:
            raise UserError(f"{source}: 'loss.terms': {name} has a loss as part of its paper; leave loss.terms out.")
        if term not in losses:
            raise UserError(f"{source}: 'loss.terms': {unknown(f'loss of {name}:', term, losses)}")


def method_options(name: str, options: Mapping[str, Any], source: str) -> BaseModel:
    """The options of a method, with its defaults for those that are not given.

    Raises:
        UserError: a wrong option or value; the message says what was found and what is allowed.
    """
    kind = METHODS[name].Options
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        raise UserError(f"{source}: {explain_error(error, kind, 'method')}") from None


def explain_error(error: ValidationError, kind: type[BaseModel], *above: str) -> str:
    """What is wrong with the values given for a pydantic model: the first problem of each key, in one sentence.

    Args:
        kind: the model that was to be built.
        above: the keys above it in the recipe.
    """
    problems: dict[tuple[str, ...], str] = {}
    for each in error.errors():
        location = [
            str(part)
            for part in each["loc"]
            if not str(part).startswith(("function-", "constrained", "literal[", "[key]", "tuple["))
        ]
        problems.setdefault(tuple(location[:2]), _problem(each, location, kind, above))
    return "; ".join(problems.values())


def _problem(each: Mapping[str, Any], location: list[str], kind: type[BaseModel], above: Sequence[str]) -> str:
    key = ".".join((*above, *location))
    if each["type"] == "extra_forbidden":
        known = _keys_at(kind, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean '{'.'.join([*above, *location[:-1], near[0]])}'? " if near else ""
        return f"unknown key '{key}'; {hint}Allowed here: {', '.join(sorted(known))}"
    if each["type"] == "missing":
        return f"'{key}' is missing"
    message = each["msg"].removeprefix("Value error, ")
    if not location:
        return message
    return f"'{key}': {message[0].lower()}{message[1:]}, found {json.dumps(each['input'], default=str)}"


def _keys_at(kind: type[BaseModel], location: Sequence[str]) -> list[str]:
    here: Any = kind
    for part in location:
        if get_origin(here) in (tuple, dict):  # an index in a list, or a name that the user chose
            here = next(kind for kind in get_args(here) if hasattr(kind, "model_fields"))
            continue
        here = here.model_fields[part].annotation
        if get_origin(here) in (Union, UnionType):
            here = next(kind for kind in get_args(here) if hasattr(kind, "model_fields"))
    return list(here.model_fields)
