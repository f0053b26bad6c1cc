"""What the methods that train translators have in common: players with an optimiser each."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from pixelwise.distributed import total
from pixelwise.errors import UserError
from pixelwise.losses.adversarial import KINDS, Kind, discriminator_loss
from pixelwise.methods.base import Method, MethodOptions, Setup
from pixelwise.methods.optimised import Optimised

HALF = 0.5
"""Both papers divide the discriminator's loss by 2, so that it learns more slowly than the generator."""


class TranslationOptions(MethodOptions):
    """Options of the methods that train translators."""

    loss: Kind = Field("non_saturating", description=f"the losses of both players: {', '.join(KINDS)}")


class Translation(Method):
    """Base class of methods with generators and discriminators that learn in turn.

    Averaging (`ema_decay`, `swa_start`) applies to the generators, and the averaged ones translate afterwards.

    Attributes:
        generators, discriminators: names of the network's modules.

    Raises:
        UserError: the network lacks one of these modules.
    """

    generators: ClassVar[tuple[str, ...]]
    discriminators: ClassVar[tuple[str, ...]]
    what: ClassVar[str]

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        network: Any = setup.network
        if not all(hasattr(network, name) for name in (*self.generators, *self.discriminators)) or not hasattr(
            network, "scaled"
        ):
            raise UserError(
                f"method.name: {setup.recipe.method.name} trains {self.what}, and {setup.recipe.model.name} is not "
                "such a network; leave it out."
            )
        self.translator = network
        self.players = {
            "generator": Optimised.planned(_together(network, self.generators), setup.recipe),
            "discriminator": Optimised.planned(_together(network, self.discriminators), setup.recipe, averaged=False),
        }
        self._averaged = copy.copy(network)
        self._averaged._modules = dict(network._modules)  # the same discriminators, other generators

    def judged(self, real: Tensor, fake: Tensor, kind: Kind) -> Tensor:
        """The loss of a discriminator from its logits of real pictures and of translations."""
        return HALF * discriminator_loss(real, fake, kind)

    def check(self) -> None:
        for player in self.players.values():
            player.check()

    def shipped(self) -> nn.Module:
        shipped = self.players["generator"].shipped()
        if shipped is self.players["generator"].network:
            return self.network
        for name in self.generators:
            self._averaged._modules[name] = shipped.get_submodule(name)
        return self._averaged

    def state_dict(self) -> dict[str, Any]:
        return {name: player.state_dict() for name, player in self.players.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, player in self.players.items():
            player.load_state_dict(state[name])


def _together(network: nn.Module, names: Sequence[str]) -> nn.ModuleDict:
    return nn.ModuleDict({name: network.get_submodule(name) for name in names})


def distance(first: Tensor, second: Tensor) -> Tensor:
    """The mean absolute difference over all values of the batch, of all processes together, in float32."""
    difference = (first.float() - second.float()).abs()
    return total(difference.sum()) / total(difference.new_full((), difference.numel()))


def joined(first: Tensor, second: Tensor) -> Tensor:
    """(N, C, H, W) and (N, K, H, W) -> (N, C + K, H, W), in the dtype of the first."""
    return torch.cat([first, second.to(first.dtype)], 1)
