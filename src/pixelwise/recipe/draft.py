"""A draft: a recipe while the plan completes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pixelwise.data.augment import Augmentation
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.errors import UserError


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast this machine trains the network of a recipe, and how much time is left.

    Attributes:
        megapixels_per_second: megapixels of crops that training steps process, with everything that a step costs.
        validation_seconds: how long one validation with all held-out pictures takes.
        held_out: the number of held-out pictures.
        seconds: the seconds that are left for training and validations.
    """

    megapixels_per_second: float
    validation_seconds: float
    held_out: int
    seconds: float

    def crops(self, crop: tuple[int, int], share: float = 0.9) -> float:
        """How many crops of this height and width fit into a share of the time. Validations take the rest."""
        return share * self.seconds * self.megapixels_per_second * MEGAPIXEL / math.prod(crop)


MEGAPIXEL = 1 << 20
SMALLEST_BATCH = 4
"""With fewer crops the statistics of batch norm are too noisy."""
FEWEST_STEPS = 1000
"""With a budget of minutes, batches are larger than the smallest only if the run still has this many steps. In runs of
minutes, the same crops in batches of 4 instead of 16 gained two to four points of mean IoU
(benchmarks/learning_speed.md)."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The values of a recipe so far, and the facts that the open values are derived from.

    Attributes:
        values: the settings by section and key; None means open.
        facts: facts about the data.
        network: the recipe's network, which decides what sizes are possible.
        device: the device that the network is trained on.
        pace: measured on this machine; None with a budget of epochs, where no measurement may change the plan.
        reasons: `section.key` -> the reason for a derived value.
    """

    values: dict[str, Any]
    facts: Fingerprint
    network: nn.Module
    device: torch.device
    pace: Pace | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def derive(self, section: str, key: str, value: Any, why: str) -> None:
        """Sets a value that is open, with the reason for it; leaves other values alone."""
        if self.values[section][key] is None:
            self.values[section][key] = value
            self.reasons[f"{section}.{key}"] = why

    def refuse(self, section: str, key: str, why: str) -> None:
        """Refuses a setting that the network or the task cannot follow.

        Args:
            why: the reason, as the beginning of the message.

        Raises:
            UserError: the recipe sets this key.
        """
        if self.values[section][key]:
            raise UserError(f"{section}.{key}: {why}; leave it out.")

    @property
    def crop(self) -> tuple[int, int]:
        """Height and width of a crop, after they were decided."""
        height, width = self.values["augment"]["crop"]
        return height, width

    @property
    def crops(self) -> float | None:
        """How many crops the run sees, after their size was decided; None if neither epochs nor pace are known."""
        epochs = self.values["train"]["epochs"]
        if epochs is not None:
            return float(epochs * self.facts.pictures["train"])
        return None if self.pace is None else self.pace.crops(self.crop)

    def derive_batch(self, least: int, most: int, what: str, *, steps: int = 0) -> None:
        """Decides how many crops a step has: about a megapixel, or four megapixels on a GPU; fewer if the time allows
        only few steps.

        Args:
            least, most: the limits of the batch size.
            what: the plural word for crops in the reason.
            steps: the batch is made smaller, down to `least`, until an epoch has this many steps.
        """
        megapixels = 1 if self.device.type == "cpu" else 4
        budget = megapixels * MEGAPIXEL / math.prod(self.crop)
        batch = min(max(2 ** round(math.log2(max(budget, 1))), least), most)
        while batch > least and batch * steps > self.facts.pictures["train"]:
            batch //= 2
        size = "a megapixel" if megapixels == 1 else f"{megapixels} megapixels"
        why = f"about {size} per step, {least} to {most} {what}"
        if self.pace is not None:
            crops = self.pace.crops(self.crop)
            whole = batch
            while batch > max(least, SMALLEST_BATCH) and crops < FEWEST_STEPS * batch:
                batch //= 2
            if batch < whole:
                why = f"{crops:,.0f} {what} fit into the time; {crops / batch:,.0f} steps of {batch} learn more than "
                why += f"{crops / whole:,.0f} steps of {whole}"
        self.derive("train", "batch_size", batch, why)

    def derive_class_weights(self) -> None:
        """Decides from the balance of the classes whether rare classes get larger weights in the loss.

        Raises:
            UserError: the recipe gives weights for a different number of classes.
        """
        facts = self.facts
        shares = [count / max(sum(facts.class_pixels), 1) for count in facts.class_pixels if count]
        ratio = max(shares) / min(shares) if shares else 1.0
        if ratio > 4:
            why = f"the most frequent class is {ratio:.0f} times as frequent as the rarest"
            self.derive("loss", "class_weights", "sqrt_median_frequency", why)
        else:
            self.derive("loss", "class_weights", "none", "the classes are about equally frequent")
        given = self.values["loss"]["class_weights"]
        if isinstance(given, list) and len(given) != len(facts.class_names):
            raise UserError(
                f"loss.class_weights: {len(given)} weights found, {len(facts.class_names)} expected, one per class "
                f"({', '.join(facts.class_names)})."
            )

    def derive_light(self) -> None:
        """Decides how much brightness and colours vary, and switches off every augmentation that is still open."""
        colour = self.facts.form.channels == 3
        self.derive("augment", "brightness", 0.3, "light varies")
        self.derive("augment", "contrast", 0.3, "light varies")
        self.derive("augment", "saturation", 0.3 if colour else 0.0, "colours vary" if colour else "not RGB")
        for name, each in Augmentation.model_fields.items():
            if name not in {"crop", "scale"}:
                self.derive("augment", name, each.default, "off by default")
