"""A recipe: everything that defines a run, as one YAML file.

A `Recipe` is what was asked for; what it leaves open (null) is derived from the data. A `PlannedRecipe` is complete.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, model_validator

from pixelwise.data.augment import Augmentation
from pixelwise.recipe.sections import (
    AugmentSection,
    DataSection,
    LossSection,
    MethodSection,
    ModelSection,
    NormalizeSection,
    OptimizerSection,
    PlannedLoss,
    PlannedMethod,
    PlannedNormalize,
    PlannedOptimizer,
    PlannedSchedule,
    PlannedTrain,
    PlannedWindows,
    ScheduleSection,
    Section,
    TrainSection,
    WindowsSection,
)


class Part(Section):
    """The recipe with some keys set otherwise."""

    about: str = Field("", description="what the part is for")
    set: dict[str, Any] = Field({}, description="section.key: value, as --set takes them; null: derived from the data")


class Stage(Part):
    """One of several training runs in a row, each of which starts from the best weights of the one before."""

    share: float = Field(1.0, gt=0, description="of the budget, in proportion to the other stages' shares")


class Variant(Part):
    """One of several training runs that are to be compared."""


def _folder_name(name: str) -> str:
    if re.fullmatch(r"\w[\w.-]*", name) is None:
        raise ValueError("a variant's name is that of its folder too: letters, digits, '_', '-' and '.'")
    return name


VariantName = Annotated[str, AfterValidator(_folder_name)]


class Recipe(Section):
    """What was asked for: any field that the data can decide may be open."""

    model: ModelSection
    task: str | None = Field(None, description="what is learned; null: what the labels are for")
    method: MethodSection = MethodSection()
    data: DataSection = DataSection()
    augment: AugmentSection = AugmentSection()
    normalize: NormalizeSection = NormalizeSection()
    windows: WindowsSection = WindowsSection()
    loss: LossSection = LossSection()
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection = TrainSection()
    stages: tuple[Stage, ...] = Field((), description="training runs in a row; see docs/training.md")
    variants: dict[VariantName, Variant] = Field({}, description="training runs to compare; see docs/training.md")
    about: str = Field("", description="what the recipe is for, in a sentence")
    provenance: dict[str, Any] = Field({}, description="versions and data fingerprint of a run, written by it")

    @model_validator(mode="after")
    def _stages_or_variants(self) -> Recipe:
        if self.stages and self.variants:
            raise ValueError("stages and variants are both set; a recipe has one of them")
        return self


class PlannedRecipe(Section):
    """A complete recipe, of one training run: nothing in it is left to derive."""

    model: ModelSection
    task: str
    method: PlannedMethod
    data: DataSection
    augment: Augmentation
    normalize: PlannedNormalize
    windows: PlannedWindows = PlannedWindows()
    loss: PlannedLoss
    optimizer: PlannedOptimizer
    schedule: PlannedSchedule
    train: PlannedTrain
    about: str = ""
    provenance: dict[str, Any] = Field({})

    @property
    def crop(self) -> tuple[int, int]:
        """Height and width in pixels of what the network is trained on."""
        return self.augment.crop


def fills_crops(recipe: Recipe | PlannedRecipe) -> bool:
    """Whether crops are filled by single objects, so that objects are needed beside masks."""
    return bool(getattr(recipe.augment, "objects"))  # noqa: B009 (a field that is made, which mypy does not see)


def to_yaml(recipe: Recipe | PlannedRecipe, reasons: Mapping[str, str] | None = None) -> str:
    """The recipe as YAML, one key per line, with the reason for a derived value as a comment after it."""
    reasons = reasons or {}
    lines = ["# Every setting of this training run. Edit a copy and train again: pixelwise train COPY.yaml"]
    for section, values in recipe.model_dump(mode="json").items():
        if section in {"about", "stages", "variants"} and not values:
            continue
        if not isinstance(values, dict):
            lines.append(f"{section}: {inline(values)}")
            continue
        lines.append(f"{section}:" if values else f"{section}: {{}}")
        for key, value in values.items():
            reason = reasons.get(f"{section}.{key}")
            lines.append(f"  {key}: {inline(value)}" + (f"  # {reason}" if reason else ""))
    return "\n".join(lines) + "\n"


def inline(value: Any) -> str:
    """A value on one line of YAML."""
    return yaml.safe_dump([value], default_flow_style=True, width=float("inf"), sort_keys=False).strip()[1:-1]


def digest(recipe: PlannedRecipe) -> str:
    """A digest of what a recipe asks for; provenance, the place of the data, and comments in its file do not matter."""
    values = recipe.model_dump_json(
        exclude={"provenance": True, "about": True, "data": {"path": True, "unlabelled": True}}
    ).encode()
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
