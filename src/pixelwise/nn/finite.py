"""Checks for NaN and infinite numbers in a network, so that they end in an error instead of a wrong prediction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pixelwise.errors import NotFinite


def check_answer(answer: Any) -> Any:
    """Returns a network's output (a tensor, or nested tuples and dicts of tensors) if all its numbers are finite.

    Raises:
        NotFinite: the output holds NaN or infinite numbers.
    """
    if not _all_finite(tree_leaves(answer)):
        raise NotFinite(
            "the network returns NaN or infinite numbers: either its weights diverged in training, or the picture "
            "itself holds such numbers"
        )
    return answer


def check_weights(network: nn.Module) -> None:
    """Checks the parameters and buffers of a network.

    Raises:
        NotFinite: there are NaN or infinite numbers among them.
    """
    if not _all_finite((*network.parameters(), *network.buffers())):
        raise NotFinite("the weights became NaN or infinite")


def _all_finite(values: Iterable[Any]) -> bool:
    return all(_is_finite(value) for value in values if isinstance(value, Tensor) and value.is_floating_point())


def _is_finite(value: Tensor) -> bool:
    """Whether all numbers are finite.

    NaN and infinity spread to the sum, which takes a fiftieth of the time of looking at every number. The sum of finite
    numbers may overflow, so only a finite sum decides.
    """
    return bool(value.sum().isfinite()) or bool(value.isfinite().all())
