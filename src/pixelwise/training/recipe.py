"""A recipe: everything that defines a training, as one YAML file.

What a recipe leaves out (null) is derived from the data by `pixelwise.training.plan`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from pixelwise.errors import UserError, unknown
from pixelwise.losses.boxes import BOX_LOSSES
from pixelwise.training.sections import (
    AugmentSection,
    DataSection,
    LossSection,
    ModelSection,
    NormalizeSection,
    OptimizerSection,
    ScheduleSection,
    Section,
    TrainSection,
    WindowsSection,
)


class Part(Section):
    """The recipe with some keys set otherwise."""

    about: str = Field("", description="what it is for")
    set: dict[str, Any] = Field({}, description="section.key: value, as --set takes them; null: derived from the data")


class Stage(Part):
    """A part of a training, from the best weights of the part before."""

    share: float = Field(1.0, gt=0, description="of the budget, in proportion to the other stages' shares")


class Variant(Part):
    """One of several trainings that are to be compared."""


def _folder_name(name: str) -> str:
    if re.fullmatch(r"\w[\w.-]*", name) is None:
        raise ValueError("a variant's name is that of its folder too: letters, digits, '_', '-' and '.'")
    return name


VariantName = Annotated[str, AfterValidator(_folder_name)]


class Recipe(Section):
    model: ModelSection
    data: DataSection = DataSection()
    augment: AugmentSection = AugmentSection()
    normalize: NormalizeSection = NormalizeSection()
    windows: WindowsSection = WindowsSection()
    loss: LossSection = LossSection()
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection = TrainSection()
    stages: tuple[Stage, ...] = Field((), description="trainings one after the other; see docs/training.md")
    variants: dict[VariantName, Variant] = Field({}, description="trainings to compare, by name; see docs/training.md")
    about: str = Field("", description="what the recipe is for, in a sentence")
    provenance: dict[str, Any] = Field({}, description="versions and data fingerprint of a run, written by it")

    @model_validator(mode="after")
    def _stages_or_variants(self) -> Recipe:
        if self.stages and self.variants:
            raise ValueError("stages and variants are both set; a recipe has one of them")
        return self


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))


def _folder() -> Any:
    return resources.files("pixelwise") / "recipes"


def load_recipe(name: str | Path, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Recipe:
    """Reads a recipe: a YAML file, one that comes with the package, or a model's name.

    Args:
        overrides: `section.key=value` strings (values in YAML), or the same as a mapping.

    Raises:
        UserError: no such recipe; a misspelt key, a wrong type or an impossible value, each named with what is allowed.
    """
    from pixelwise.models.catalog import MODELS

    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        values, source = _parse(path), str(path)
    elif str(name) in recipe_names():
        values, source = yaml.safe_load((_folder() / f"{name}.yaml").read_text()), f"recipe {name}"
    elif str(name) in MODELS:
        values, source = {"model": {"name": str(name)}}, f"model {name}"
    else:
        raise unknown("model or recipe", str(name), {*recipe_names(), *MODELS})
    pairs = overrides.items() if isinstance(overrides, Mapping) else parse_overrides(overrides)
    for key, value in pairs:
        _assign(values, key, value)
    recipe = build_recipe(values, source)
    stage_recipes(recipe)  # so that a mistake in the last one is found before the first one runs
    variant_recipes(recipe)
    return recipe


def stage_recipes(recipe: Recipe) -> list[Recipe]:
    """The recipe of each stage, with its share of the budget where the recipe has one.

    Raises:
        UserError: naming the stage and the key that cannot be.
    """
    whole = sum(stage.share for stage in recipe.stages)
    return [
        _part_recipe(recipe, stage, f"stage {number}", stage.share / whole)
        for number, stage in enumerate(recipe.stages, 1)
    ]


def variant_recipes(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe of each variant by its name, each with the whole budget.

    Raises:
        UserError: naming the variant and the key that cannot be.
    """
    return {name: _part_recipe(recipe, variant, f"variant {name}") for name, variant in recipe.variants.items()}


def _part_recipe(recipe: Recipe, part: Part, source: str, share: float = 1.0) -> Recipe:
    values = recipe.model_dump(mode="json", exclude={"stages", "variants", "provenance"})
    values["about"] = part.about
    for budget in ("epochs", "minutes"):
        if values["train"][budget] is not None:
            values["train"][budget] *= share
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


def parse_overrides(overrides: Sequence[str]) -> list[tuple[str, Any]]:
    """`section.key=value` strings as pairs of a key and a value read as YAML.

    Raises:
        UserError: no equals sign, or a value that is not YAML.
    """
    pairs = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UserError(f"--set {text}: expected section.key=value, for example --set optimizer.lr=0.001")
        try:
            pairs.append((key, _number_or_yaml(value)))
        except yaml.YAMLError:
            raise UserError(f"--set {text}: '{value}' is not a YAML value.") from None
    return pairs


def _number_or_yaml(text: str) -> Any:
    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)  # YAML 1.1 takes 1e-3 for a word
    except ValueError:
        return yaml.safe_load(text)


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a nested key; a mapping that the recipe leaves to its default (loss.terms) is added to, not replaced."""
    *sections, last = key.split(".")
    here = values
    for section in sections:
        if here.get(section) is None:
            here[section] = dict(default_terms(values)) if section == "terms" else {}
        here = here[section]
        if not isinstance(here, dict):
            raise UserError(f"--set {key}=...: '{section}' holds a value, not a section.")
    here[last] = value


TERMS = {"segment": {"cross_entropy": 1.0, "dice": 1.0}, "detect": {"cross_entropy": 1.0, "box_l2": 1.0}}
"""Task -> the loss that it is trained with unless the recipe names another; of the other tasks, cross entropy."""


def default_terms(values: Mapping[str, Any]) -> dict[str, float]:
    """The loss of a recipe, given as plain values, that names none."""
    from pixelwise.models.catalog import MODELS

    model = values.get("model")
    entry = MODELS.get(model.get("name", "")) if isinstance(model, Mapping) else None
    return TERMS.get(entry.task if entry else "segment", {"cross_entropy": 1.0})


def build_recipe(values: Mapping[str, Any], source: str) -> Recipe:
    """Checks plain values against the recipe's sections and the model's options.

    Raises:
        UserError: naming the key, what was found and what is allowed.
    """
    from pixelwise.models.catalog import MODELS, option_names

    try:
        recipe = Recipe.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(f"{source}: {_explain(error)}") from None
    allowed = [name for name in option_names(recipe.model.name) if name not in {"num_classes", "in_channels"}]
    for name in recipe.loss.terms or ():
        if name in BOX_LOSSES and MODELS[recipe.model.name].task != "detect":
            raise UserError(f"{source}: loss.terms: {name} is a loss of boxes, and {recipe.model.name} gives none.")
    allowed.append("weights")
    for option in recipe.model.options:
        if option not in allowed:
            raise unknown(f"key model.{option} for {recipe.model.name}:", option, allowed)
    return recipe


def _explain(error: ValidationError) -> str:
    """The first problem in one sentence."""
    first = error.errors()[0]
    location = [
        str(part)
        for part in first["loc"]
        if not str(part).startswith(("function-", "constrained", "literal[", "[key]"))
    ]
    key = ".".join(part for part in location if part not in {"tuple[float, ...]"})
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean '{'.'.join([*location[:-1], near[0]])}'? " if near else ""
        return f"unknown key '{key}'; {hint}Allowed here: {', '.join(sorted(known))}{more}"
    if first["type"] == "missing":
        return f"'{key}' is missing{more}"
    message = first["msg"].removeprefix("Value error, ")
    if not location:
        return f"{message}{more}"
    return f"'{key}': {message[0].lower()}{message[1:]}, found {json.dumps(first['input'], default=str)}{more}"


def _keys_at(location: Sequence[str]) -> list[str]:
    here: Any = Recipe
    for part in location:
        if get_origin(here) in (tuple, dict):  # a place in a list, or a name that is the user's
            here = next(kind for kind in get_args(here) if hasattr(kind, "model_fields"))
            continue
        here = here.model_fields[part].annotation
        if get_origin(here) in (Union, UnionType):
            here = next(kind for kind in get_args(here) if hasattr(kind, "model_fields"))
    return list(here.model_fields)


def to_yaml(recipe: Recipe, reasons: Mapping[str, str] | None = None) -> str:
    """The recipe as YAML, one key a line, with the reason for a derived value as a comment behind it."""
    reasons = reasons or {}
    lines = ["# Everything this training was asked to do. Edit a copy and train again: pixelwise train COPY.yaml"]
    for section, values in recipe.model_dump(mode="json").items():
        if section in {"about", "stages", "variants"} and not values:
            continue
        if not isinstance(values, dict):
            lines.append(f"{section}: {_inline(values)}")
            continue
        lines.append(f"{section}:" if values else f"{section}: {{}}")
        for key, value in values.items():
            reason = reasons.get(f"{section}.{key}")
            lines.append(f"  {key}: {_inline(value)}" + (f"  # {reason}" if reason else ""))
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    """A value on one line of YAML."""
    return yaml.safe_dump([value], default_flow_style=True, width=float("inf"), sort_keys=False).strip()[1:-1]


def digest(recipe: Recipe) -> str:
    """A digest of what a recipe asks for; its provenance, and comments in its file, do not matter."""
    without: dict[str, Any] = {"provenance": True, "about": True}
    # What a recipe does not use of later additions does not change the digest of runs from before.
    without |= {name: True for name in ("stages", "variants") if not getattr(recipe, name)}
    if not recipe.augment.complete().objects:
        without["augment"] = {"objects", "alone"}
    if not recipe.train.measure_training:
        without["train"] = {"measure_training"}
    if recipe.windows == WindowsSection():
        without["windows"] = True
    values = recipe.model_dump_json(exclude=without).encode()
    return hashlib.blake2b(values, digest_size=16).hexdigest()


def reasoned(file: Path) -> list[tuple[str, Any, str]]:
    """`(section.key, value, reason)` of a file as `to_yaml` wrote it; the reason is empty where none is given."""
    rows = []
    section = ""
    for line in file.read_text().splitlines():
        if line.startswith("#"):
            continue
        if not line.startswith(" "):
            section = line.partition(":")[0]
        elif section != "provenance":
            key, _, rest = line.strip().partition(": ")
            value, _, reason = rest.partition("  # ")
            rows.append((f"{section}.{key}", yaml.safe_load(value), reason))
    return rows
