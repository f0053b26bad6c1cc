"""A recipe: the settings that define a run, in one YAML file.

A `Recipe` holds the settings asked for; those that it leaves open (null) are derived from the data. A `PlannedRecipe`
is complete.
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
    """A stage or variant: the recipe with some keys set differently."""

    about: str = Field("", description="what the part is for")
    set: dict[str, Any] = Field({}, description="section.key: value, as for --set; null: derived from the data")


class Stage(Part):
    """One of several training runs in a row, each of which starts from the best weights of the run before."""

    share: float = Field(1.0, gt=0, description="share of the budget, relative to the shares of the other stages")


class Variant(Part):
    """One of several training runs that are to be compared."""


def _folder_name(name: str) -> str:
    if re.fullmatch(r"\w[\w.-]*", name) is None:
        raise ValueError("a variant's name is also the name of its folder: letters, digits, '_', '-' and '.'")
    return name


VariantName = Annotated[str, AfterValidator(_folder_name)]


class Recipe(Section):
    """The settings asked for. Any setting that the data can decide may be open."""

    model: ModelSection
    task: str | None = Field(None, description="what the network learns; null: the task that the labels suit")
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
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="train each variant once per seed; empty: once, with train.seed"
    )
    references: bool = Field(
        False, description="compare the variants with classical methods that learn from the same pictures"
    )
    about: str = Field("", description="what the recipe is for, in a sentence")
    provenance: dict[str, Any] = Field({}, description="versions and data fingerprint, written by a run")

    @model_validator(mode="after")
    def _stages_or_variants(self) -> Recipe:
        if self.stages and self.variants:
            raise ValueError("stages and variants are both set; a recipe has one of them")
        if self.seeds and not self.variants:
            raise ValueError("seeds are for recipes with variants; set train.seed for a single run")
        if self.references and not self.variants:
            raise ValueError("references are for recipes with variants, which are compared with them; leave it out")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds has a number twice")
        return self


class PlannedRecipe(Section):
    """The complete settings of one training run: nothing is open."""

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
        """Height and width in pixels of the crops that the network is trained on."""
        return self.augment.crop


def fills_crops(recipe: Recipe | PlannedRecipe) -> bool:
    """Whether single objects fill the crops, so that objects are needed in addition to masks."""
    return bool(getattr(recipe.augment, "objects"))  # noqa: B009 (mypy does not see fields made by create_model)


def to_yaml(recipe: Recipe | PlannedRecipe, reasons: Mapping[str, str] | None = None) -> str:
    """The recipe as YAML, one key per line, with the reason for a derived value as a comment after it."""
    reasons = reasons or {}
    lines = ["# Every setting of this training run. Edit a copy and train again: pixelwise train COPY.yaml"]
    for section, values in recipe.model_dump(mode="json").items():
        if section in {"about", "stages", "variants", "seeds", "references"} and not values:
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
    """A digest of a recipe's settings, without its provenance, its `about`, and the places of its data."""
    values = recipe.model_dump_json(
        exclude={"provenance": True, "about": True, "data": {"path": True, "unlabelled": True, "labelled": True}}
    ).encode()
    return hashlib.blake2b(values, digest_size=16).hexdigest()


def reasoned(file: Path) -> list[tuple[str, Any, str]]:
    """`(section.key, value, reason)` for each line of a file that `to_yaml` wrote; a missing reason is empty."""
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
