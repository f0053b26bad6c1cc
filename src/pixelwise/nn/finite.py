"""Whether a network still computes with numbers: NaN and infinity end in a sentence instead of a wrong answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pixelwise.errors import NotFinite


def check_answer(answer: Any) -> Any:
    """The answer of a network, a tensor or nested tuples and dicts of them.

    Raises:
        NotFinite: NaN or infinite numbers in it.
    """
    if not _all_finite(tree_leaves(answer)):
        raise NotFinite(
            "the network answers with NaN or infinite numbers: either its weights diverged while it was trained, or "
            "the picture holds such numbers itself"
        )
    return answer


def check_weights(network: nn.Module) -> None:
    """
    Raises:
        NotFinite: NaN or infinite numbers among the parameters and buffers.
    """
    if not _all_finite((*network.parameters(), *network.buffers())):
        raise NotFinite("the weights became NaN or infinite")


def _all_finite(values: Iterable[Any]) -> bool:
    return all(
        bool(value.isfinite().all()) for value in values if isinstance(value, Tensor) and value.is_floating_point()
    )
