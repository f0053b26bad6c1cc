"""The sections of a recipe: the settings of a run, with their defaults and limits.

If a description has `null:`, `None` usually means "derive it from the data"; the `Planned` sections have no such
open fields. Elsewhere `None` switches something off.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator

from pixelwise.data.augment import Augmentation
from pixelwise.data.order import Order
from pixelwise.errors import unknown
from pixelwise.recipe.schedules import SCHEDULES


class Section(BaseModel):
    """A group of settings. Unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Named(BaseModel):
    """A network or method that is chosen by name. The other keys are its options, which are checked elsewhere."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """All keys but `name`."""
        return dict(self.model_extra or {})


class ModelSection(Named):
    """The network, and options of its constructor."""


class MethodSection(Named):
    """The method that trains the network, and the options of that method."""

    name: str | None = Field(None, description="null: the network's usual method")  # type: ignore[assignment]


class PlannedMethod(Named):
    """A method and all of its options."""


class DataSection(Section):
    path: str | None = Field(None, description="folder of the data; --data sets it")
    layout: str = Field("auto", description="format of the folder; auto recognises it")
    unlabelled: str | None = Field(None, description="folder of pictures without labels; --unlabelled sets it")
    labelled: Annotated[int, Field(ge=1)] | str | None = Field(
        None, description="how many training pictures keep their labels, or a list of them; null: all"
    )
    rle_order: Order = Field("columns", description="order in which run lengths in tables count the pixels")
    val_fraction: float = Field(0.2, gt=0, lt=1, description="share held out if the data has no validation split")
    split_seed: int = Field(0, ge=0, description="chooses the held-out pictures; independent of train.seed")


class LossSection(Section):
    terms: dict[str, float] | None = Field(None, description="loss: factor; null: the task's usual losses")
    class_weights: Literal["none", "sqrt_median_frequency", "median_frequency"] | tuple[float, ...] | None = Field(
        None, description="for cross entropy and focal loss; null: derived from how frequent the classes are"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    focal_gamma: float = Field(2.0, ge=0)
    border_weight: float = Field(
        0.0, ge=0, description="additional weight of pixels between touching objects; 10 in the U-Net paper"
    )
    border_sigma: float = Field(5.0, gt=0, description="pixels; how wide a gap between objects gets border_weight")
    lovasz_per_image: bool = Field(False, description="Lovász losses per picture instead of per batch")
    lovasz_only_present: bool = Field(True, description="Lovász losses leave out classes that the labels lack")


class PlannedLoss(LossSection):
    terms: dict[str, float]  # empty for a network that implements its own loss
    class_weights: Literal["none", "sqrt_median_frequency", "median_frequency"] | tuple[float, ...]


class WindowsSection(Section):
    """Settings of networks that look at windows of a picture."""

    background: float = Field(1 / 3, ge=0, lt=1, description="share of windows in training that show no object")
    scales: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, min_length=1, description="shorter sides of searched pictures; null: sizes at which objects fill windows"
    )
    confidence: float = Field(0.5, gt=0, le=1, description="lowest confidence of a box that is returned")

    @field_validator("scales", mode="before")
    @classmethod
    def _none(cls, scales: Any) -> Any:
        return scales or None  # a plan writes an empty list for networks that look at whole pictures


class PlannedWindows(WindowsSection):
    scales: tuple[Annotated[int, Field(ge=1)], ...] = ()  # none for networks that look at whole pictures

    @field_validator("scales", mode="before")
    @classmethod
    def _none(cls, scales: Any) -> Any:
        return scales or ()


class OptimizerSection(Section):
    name: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    lr: float | None = Field(None, gt=0, description="peak learning rate; null: the optimiser's usual rate")
    encoder_lr_factor: float | None = Field(
        None, ge=0, description="factor of the encoder's learning rate; null: 0.3 if it alone is pretrained, else 1"
    )
    depth_decay: float = Field(
        1.0, gt=0, le=1, description="factor of the learning rate from each stage of the encoder to the one before"
    )
    freeze: int | str | tuple[str, ...] | None = Field(
        None, description="what is not trained: a number of first layers, trunk (all but the last), or module names"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd; rmsprop has none")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.999), description="for adamw: decay of the averages of the gradient and of its square"
    )
    weight_decay: float = Field(0.02, ge=0, description="for weights; biases and norms have none")
    clip_norm: float | None = Field(5.0, gt=0, description="largest gradient norm")


class PlannedOptimizer(OptimizerSection):
    lr: float = Field(gt=0)
    encoder_lr_factor: float = Field(ge=0)


class ScheduleSection(Section):
    name: str = "cosine"
    warmup: float | None = Field(
        None, ge=0, lt=1, description="share of the run in which the learning rate rises; null: 0.1 to 0.3"
    )
    final: float = Field(0.0, ge=0, le=1, description="factor at which the learning rate ends; above 0 for swa_start")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SCHEDULES:
            raise ValueError(str(unknown("schedule", name, SCHEDULES)))
        return name


class PlannedSchedule(ScheduleSection):
    warmup: float = Field(0.1, ge=0, lt=1)


class TrainSection(Section):
    epochs: float | None = Field(None, gt=0, description="passes over the training pictures; repeatable to the byte")
    minutes: float | None = Field(
        None, gt=0, description="wall-clock time instead of epochs, from the start of the command to its report"
    )
    batch_size: int | None = Field(None, ge=1, description="crops per step, of all processes together")
    seed: int = Field(0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] | None = Field(
        "auto", description="decay of the weights' average; null: no average; auto: derived from the number of steps"
    )
    swa_start: float | None = Field(
        None, ge=0, lt=1, description="share of the run after which weights are averaged equally (SWA), instead of EMA"
    )
    validations: int | None = Field(
        None, ge=1, description="number, evenly spaced over the run; null: 10, or as many as take 6 % of the time"
    )
    validated_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the held-out pictures that validations measure; null: 1, or less if many take too long",
    )
    patience: int | None = Field(None, ge=1, description="stop after this many validations without a better score")
    fixed_norms: bool | None = Field(
        None, description="whether the encoder's batch norms keep their statistics; null: if only it is pretrained"
    )
    half_size: float | None = Field(
        None, ge=0, lt=1, description="share of the run, from its start, with crops at half their height and width"
    )
    stop_at: float | None = Field(None, description="stop at the first validation with a headline score this good")
    measure_training: bool = Field(
        False, description="whether validations also measure the training pictures (not augmented), and both losses"
    )

    @model_validator(mode="after")
    def _one_budget(self) -> TrainSection:
        if self.epochs is not None and self.minutes is not None:
            raise ValueError("epochs and minutes are both set; leave one of them null")
        return self


class PlannedTrain(TrainSection):
    batch_size: int = Field(ge=1)
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = 0.99
    validations: int = Field(10, ge=1)
    validated_share: float = Field(1.0, gt=0, le=1)
    fixed_norms: bool = False
    half_size: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _a_budget(self) -> PlannedTrain:
        if self.epochs is None and self.minutes is None:
            raise ValueError("neither epochs nor minutes is set")
        return self


AugmentSection = create_model(  # type: ignore[call-overload]
    "AugmentSection",
    __base__=Section,
    **{
        # Annotated takes at least one item of metadata, which the description is.
        name: (Annotated[field.annotation, field.description, *field.metadata] | None, None)
        for name, field in Augmentation.model_fields.items()
    },
)
"""`Augmentation` with its constraints; any field may be left to the plan."""


class NormalizeSection(Section):
    """`(picture - mean) / std` per channel, in the units of the files; null: as for the pretrained weights, else
    measured on the data."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


class PlannedNormalize(NormalizeSection):
    mean: tuple[float, ...]
    std: tuple[float, ...]
