"""A recipe on its way to a complete one."""

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
    """How fast this machine trains the network of a recipe, and for how long it will.

    Attributes:
        megapixels_per_second: of crops in training steps, with everything that a step costs.
        validation_seconds: of one validation.
        seconds: that are left for training and validations.
    """

    megapixels_per_second: float
    validation_seconds: float
    seconds: float

    def crops(self, crop: tuple[int, int], share: float = 0.9) -> float:
        """How many crops of that height and width are seen in a share of the time, the rest being validations."""
        return share * self.seconds * self.megapixels_per_second * MEGAPIXEL / math.prod(crop)


MEGAPIXEL = 1 << 20
SMALLEST_BATCH = 4
"""Batch norm measures too little on fewer crops."""
FEWEST_STEPS = 1000
"""Steps that a run of a given length is to have before its batches become larger than the smallest: the same crops in
batches of 4 rather than 16 gained two to four points of mean IoU in runs of minutes (benchmarks/learning_speed.md)."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a recipe says so far, and all that the rest can be derived from.

    Attributes:
        values: of the recipe by section and key; None is open.
        facts: about the data.
        network: the recipe's: what sizes suit it.
        device: that it is trained on.
        pace: measured on this machine; None for a budget of epochs, which nothing measured may change.
        reasons: `section.key` -> why a derived value is what it is.
    """

    values: dict[str, Any]
    facts: Fingerprint
    network: nn.Module
    device: torch.device
    pace: Pace | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def derive(self, section: str, key: str, value: Any, why: str) -> None:
        """Sets what is open, and leaves alone what is not."""
        if self.values[section][key] is None:
            self.values[section][key] = value
            self.reasons[f"{section}.{key}"] = why

    def refuse(self, section: str, key: str, why: str) -> None:
        """
        Raises:
            UserError: the recipe asks for what cannot be.
        """
        if self.values[section][key]:
            raise UserError(f"{section}.{key}: {why}; leave it out.")

    @property
    def crop(self) -> tuple[int, int]:
        """Height and width of a crop, once they are decided."""
        height, width = self.values["augment"]["crop"]
        return height, width

    @property
    def crops(self) -> float | None:
        """How many crops the run sees, once their size is decided; None where neither epochs nor the pace is known."""
        epochs = self.values["train"]["epochs"]
        if epochs is not None:
            return float(epochs * self.facts.pictures["train"])
        return None if self.pace is None else self.pace.crops(self.crop)

    def derive_batch(self, least: int, most: int, what: str, *, steps: int = 0) -> None:
        """Decides how many crops go into a step: about a megapixel, four where there is a GPU, and fewer where the
        time allows few steps.

        Args:
            least, most: limits of the batch.
            what: the plural of what a crop is called.
            steps: an epoch has at least so many steps, however few the pictures, as long as `least` allows it.
        """
        megapixels = 1 if self.device.type == "cpu" else 4
        budget = megapixels * MEGAPIXEL / math.prod(self.crop)
        batch = min(max(2 ** round(math.log2(max(budget, 1))), least), most)
        while batch > least and batch * steps > self.facts.pictures["train"]:
            batch //= 2
        size = "a megapixel" if megapixels == 1 else f"{megapixels} megapixels"
        why = f"about {size} a step, {least} to {most} {what}"
        if self.pace is not None:
            crops = self.pace.crops(self.crop)
            whole = batch
            while batch > max(least, SMALLEST_BATCH) and crops < FEWEST_STEPS * batch:
                batch //= 2
            if batch < whole:
                why = f"{crops:,.0f} {what} fit into the time: {crops / batch:,.0f} steps of {batch} teach more than "
                why += f"{crops / whole:,.0f} of {whole}"
        self.derive("train", "batch_size", batch, why)

    def derive_class_weights(self) -> None:
        """Decides from the balance of the classes whether rare ones weigh more in the loss.

        Raises:
            UserError: weights for another number of classes.
        """
        facts = self.facts
        shares = [count / max(sum(facts.class_pixels), 1) for count in facts.class_pixels if count]
        ratio = max(shares) / min(shares) if shares else 1.0
        if ratio > 4:
            why = f"the commonest class is {ratio:.0f} times as frequent as the rarest"
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
        """Decides how brightness and colours vary, and switches off every augmentation that is still open."""
        colour = self.facts.form.channels == 3
        self.derive("augment", "brightness", 0.3, "light varies")
        self.derive("augment", "contrast", 0.3, "light varies")
        self.derive("augment", "saturation", 0.3 if colour else 0.0, "colours vary" if colour else "not RGB")
        for name, each in Augmentation.model_fields.items():
            if name not in {"crop", "scale"}:
                self.derive("augment", name, each.default, "off unless asked for")
