"""The top-down path of a feature pyramid (Lin et al., CVPR 2017, arXiv:1612.03144, section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F


def top_down(maps: Sequence[Tensor], lateral: Iterable[nn.Module], smooth: Iterable[nn.Module]) -> list[Tensor]:
    """Brings each map to one width, adds the next coarser sum enlarged twofold, and smooths the result.

    Args:
        maps: (N, C_i, H_i, W_i), finest first, each half the size of the one before it.
        lateral: one layer per map, which brings it to the width of the pyramid.
        smooth: one layer per sum.

    Returns:
        (N, width, H_i, W_i), finest first.
    """
    merged: list[Tensor] = []
    for layer, each in reversed(list(zip(lateral, maps, strict=True))):
        here = layer(each)
        merged.append(here + F.interpolate(merged[-1], scale_factor=2, mode="nearest") if merged else here)
    return [layer(each) for layer, each in zip(smooth, reversed(merged), strict=True)]
