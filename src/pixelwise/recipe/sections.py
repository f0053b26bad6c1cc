"""The sections of a recipe: the settings of a run, with their defaults and limits.

`None` stands for "derive it from the data" where the description says `null:`; the `Planned` sections are the same
without those open fields. Elsewhere `None` switches something off.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator

from pixelwise.data.augment import Augmentation
from pixelwise.data.order import Order
from pixelwise.errors import unknown
from pixelwise.recipe.schedules import SCHEDULES


class Section(BaseModel):
    """A group of settings; unknown keys are refused, and so are NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Named(BaseModel):
    """Something chosen by name; the keys beside `name` are its options, checked by whoever knows it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """All keys but `name`."""
        return dict(self.model_extra or {})


class ModelSection(Named):
    """The network, and options of its constructor."""


class MethodSection(Named):
    """How the network is taught, and the options of that method."""

    name: str | None = Field(None, description="null: what suits the network")  # type: ignore[assignment]


class PlannedMethod(Named):
    """A method and all of its options."""


class DataSection(Section):
    path: str | None = Field(None, description="folder of the data; --data sets it")
    layout: str = Field("auto", description="format of the folder; auto recognises it")
    unlabelled: str | None = Field(None, description="folder of pictures without labels; --unlabelled sets it")
    rle_order: Order = Field("columns", description="along what run lengths in tables count the pixels")
    val_fraction: float = Field(0.2, gt=0, lt=1, description="share held out where the data has no split of its own")
    split_seed: int = Field(0, ge=0, description="chooses which; apart from train.seed, so that seeds can be compared")


class LossSection(Section):
    terms: dict[str, float] | None = Field(None, description="loss: factor; null: what suits the task")
    class_weights: Literal["none", "sqrt_median_frequency", "median_frequency"] | tuple[float, ...] | None = Field(
        None, description="of the classes in cross entropy and focal loss; null: as the balance asks"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    focal_gamma: float = Field(2.0, ge=0)
    border_weight: float = Field(
        0.0, ge=0, description="what pixels between touching objects count more; the paper: 10"
    )
    border_sigma: float = Field(5.0, gt=0, description="pixels: how wide a gap between objects still counts as one")
    lovasz_per_image: bool = Field(False, description="Lovász losses of each picture, rather than of the batch")
    lovasz_only_present: bool = Field(True, description="Lovász losses leave out classes that the truth lacks")


class PlannedLoss(LossSection):
    terms: dict[str, float]  # empty for a network that brings its own loss
    class_weights: Literal["none", "sqrt_median_frequency", "median_frequency"] | tuple[float, ...]


class WindowsSection(Section):
    """Of networks that look at windows of a picture."""

    background: float = Field(1 / 3, ge=0, lt=1, description="share of windows in training that show no object")
    scales: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, min_length=1, description="shorter sides of searched pictures; null: so that objects fill windows"
    )
    confidence: float = Field(0.5, gt=0, le=1, description="least confidence of a box that counts as found")

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
    lr: float | None = Field(None, gt=0, description="peak learning rate; null: as optimizer and weights ask")
    encoder_lr_factor: float | None = Field(None, ge=0, description="of a pretrained encoder's rate; null: 0.3, or 1")
    depth_decay: float = Field(
        1.0, gt=0, le=1, description="factor of the rate from each stage of the encoder to the next"
    )
    freeze: int | str | tuple[str, ...] | None = Field(
        None, description="what is not trained: the first so many layers, trunk (all but the last), or names of modules"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd; rmsprop has none")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.999), description="of adamw: decay of the averages of the gradient and of its square"
    )
    weight_decay: float = Field(0.02, ge=0, description="of weights; biases and norms have none")
    clip_norm: float | None = Field(5.0, gt=0, description="largest gradient norm")


class PlannedOptimizer(OptimizerSection):
    lr: float = Field(gt=0)
    encoder_lr_factor: float = Field(ge=0)


class ScheduleSection(Section):
    name: str = "cosine"
    warmup: float | None = Field(None, ge=0, lt=1, description="share of the run in which the rate rises; null: 0.1")
    final: float = Field(0.0, ge=0, le=1, description="factor that the rate ends at; above 0 for swa_start")

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
        None, gt=0, description="of wall clock instead of epochs, from the start of the command to its report"
    )
    batch_size: int | None = Field(None, ge=1, description="of all processes together")
    seed: int = Field(0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] | None = Field(
        "auto", description="of the averaged weights; null: none; auto: as the number of steps asks"
    )
    swa_start: float | None = Field(
        None, ge=0, lt=1, description="share of the training after which weights are averaged equally, instead of ema"
    )
    validations: int | None = Field(
        None, ge=1, description="evenly spaced over the run; null: 10, or as many as take 6 % of the time"
    )
    patience: int | None = Field(None, ge=1, description="stop after so many validations without a better one")
    fixed_norms: bool | None = Field(
        None, description="whether an encoder's batch norms keep the statistics of its weights; null: where it pays"
    )
    half_size: float | None = Field(
        None, ge=0, lt=1, description="share of the run, from its start, in which crops show the same at half the size"
    )
    stop_at: float | None = Field(None, description="stop at the first validation with a first score this good")
    measure_training: bool = Field(
        False, description="whether validations measure the training pictures too, not augmented, and both losses"
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
"""`Augmentation` with its own constraints, any of it left to the plan."""


class NormalizeSection(Section):
    """`(picture - mean) / std` per channel, in the units of the files; null: of the weights, else of the data."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


class PlannedNormalize(NormalizeSection):
    mean: tuple[float, ...]
    std: tuple[float, ...]
