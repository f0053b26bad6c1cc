"""A recipe on its way to a complete one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pixelwise.data.fingerprint import Fingerprint
from pixelwise.errors import UserError


@dataclass(frozen=True, slots=True)
class Draft:
    """What a recipe says so far, and all that the rest can be derived from.

    Attributes:
        values: of the recipe by section and key; None is open.
        facts: about the data.
        network: the recipe's: what sizes suit it.
        device: that it is trained on.
        reasons: `section.key` -> why a derived value is what it is.
    """

    values: dict[str, Any]
    facts: Fingerprint
    network: nn.Module
    device: torch.device
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
        """Height and width of a view, once they are decided."""
        height, width = self.values["augment"]["crop"]
        return height, width

    def derive_batch(self, least: int, most: int, what: str, *, steps: int = 0) -> None:
        """Decides how many views go into a step: a megapixel or so, four where there is a GPU.

        Args:
            what: a view is called, in the plural.
            steps: an epoch has this many at least, however few the pictures, unless a step had less than `least` then.
        """
        megapixels = 1 if self.device.type == "cpu" else 4
        budget = megapixels * (1 << 20) / math.prod(self.crop)
        batch = min(max(2 ** round(math.log2(max(budget, 1))), least), most)
        while batch > least and batch * steps > self.facts.pictures["train"]:
            batch //= 2
        size = "a megapixel" if megapixels == 1 else f"{megapixels} megapixels"
        self.derive("train", "batch_size", batch, f"about {size} a step, {least} to {most} {what}")
