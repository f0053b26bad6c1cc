"""Batch norm that no longer changes, for detectors, whose batches are too small to measure statistics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.nn.replace import replace_modules


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with fixed statistics and a fixed affine function (He et al., CVPR 2016, appendix A).

    All four tensors are buffers under the usual names, so published weights load, and nothing is left to train.
    """

    def __init__(self, num_features: int, *, eps: float = 1e-5) -> None:
        super().__init__(num_features, eps)
        self.num_batches_tracked = None
        for name in ("weight", "bias"):
            value = getattr(self, name).detach()
            delattr(self, name)
            self.register_buffer(name, value)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        """Skips the method of `BatchNorm2d`, which adds a count of batches to tensors without one."""
        nn.Module._load_from_state_dict(self, *arguments)

    def forward(self, maps: Tensor) -> Tensor:
        return F.batch_norm(maps, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


def freeze_batch_norms(network: nn.Module) -> None:
    """Replaces every batch norm of a network by a `FrozenBatchNorm2d` with the same values."""
    replacements: dict[nn.Module, nn.Module] = {}
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d) and not isinstance(norm, FrozenBatchNorm2d):
            frozen = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
            with torch.no_grad():
                for name in ("weight", "bias", "running_mean", "running_var"):
                    getattr(frozen, name).copy_(getattr(norm, name))
            replacements[norm] = frozen
    replace_modules(network, replacements)
