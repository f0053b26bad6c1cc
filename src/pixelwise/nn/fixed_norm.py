"""Batch norms with fixed statistics that are computed inside the convolutions before them, which saves passes over
memory in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.nn.fuse import convolutions_before_norms


class FixedNorm2d(nn.BatchNorm2d):
    """A batch norm that returns its input, because the convolution before it computes it; see `fix_batch_norms`."""

    def _load_from_state_dict(self, *arguments: Any) -> None:
        """Skips the method of `BatchNorm2d`, which adds a count of batches to tensors without one."""
        nn.Module._load_from_state_dict(self, *arguments)

    def forward(self, maps: Tensor) -> Tensor:
        return maps


class _WithNorm:
    """Mixin for a convolution whose weights and bias include a batch norm with fixed statistics.

    The parameters and their names do not change. The gradient reaches them, and the scale and shift of the batch norm,
    through the few numbers of a filter rather than through maps.
    """

    _parameters: dict[str, nn.Parameter | None]
    norm_after: tuple[FixedNorm2d]
    """The batch norm, in a tuple, so that it is not registered as a submodule of the convolution."""

    @property
    def weight(self) -> Tensor:
        own = self._parameters["weight"]
        assert own is not None
        return own * self._scale().view(-1, 1, 1, 1)

    @property
    def bias(self) -> Tensor:
        (norm,) = self.norm_after
        assert norm.running_mean is not None
        own = self._parameters["bias"]
        shift = -norm.running_mean if own is None else own - norm.running_mean
        return norm.bias + shift * self._scale()

    def _scale(self) -> Tensor:
        (norm,) = self.norm_after
        assert norm.running_var is not None
        return norm.weight * (norm.running_var + norm.eps).rsqrt()


_KINDS: dict[type[nn.Conv2d], type[nn.Conv2d]] = {}


def _with_norm(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """The subclass of a convolution class that includes a batch norm; each is made once."""
    if kind not in _KINDS:
        _KINDS[kind] = type(f"Normed{kind.__name__}", (_WithNorm, kind), {})
    return _KINDS[kind]


def fix_batch_norms(network: nn.Module, run: Callable[[], Any]) -> None:
    """Fixes the statistics of a network's batch norms from now on, in training too.

    Each batch norm is computed by the convolution before it (Jacob et al., CVPR 2018, section 3.2), so that neither its
    statistics nor its normalisation need a pass over a map. Scale and shift are trained as before. Names and values of
    all tensors stay the same. A batch norm that is not directly after a convolution does not change.

    Args:
        network: changed in place; it is in evaluation mode during the call of `run`.
        run: calls the network once.
    """
    training = network.training
    network.eval()
    for convolution, norm in convolutions_before_norms(network, run):
        if isinstance(convolution, nn.Conv2d) and norm.affine and not isinstance(norm, FixedNorm2d):
            norm.__class__ = FixedNorm2d
            convolution.__class__ = _with_norm(type(convolution))
            convolution.norm_after = (norm,)  # type: ignore[assignment]
    network.train(training)


def fix_encoder(network: nn.Module) -> None:
    """Applies `fix_batch_norms` to a network's encoder."""
    encoder: Any = network.encoder
    device = next(encoder.parameters()).device
    side = max(encoder.feature_strides)
    channels = encoder.first_convolution().in_channels
    fix_batch_norms(encoder, lambda: encoder.pyramid(torch.zeros(1, channels, side, side, device=device)))
