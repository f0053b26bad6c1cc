"""Batch norm for maps that may have shrunk to a single position."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.distributed import world_size


def pooled_norm(norm: nn.Module, maps: Tensor) -> Tensor:
    """`norm(maps)`, with running statistics if a training batch is a single position of a single picture.

    One value per channel has no variance, and torch refuses it. This happens for a batch of one after a pooling over
    the whole picture, or at the bottom of a deep network. Running statistics are then used and do not change. In a run
    of several processes the batch is never a single picture.

    Args:
        norm: a batch norm, or the identity that takes its place once it is folded into the convolution before it.
    """
    if isinstance(norm, nn.BatchNorm2d) and norm.training and maps.numel() == norm.num_features and world_size() == 1:
        return F.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    return norm(maps)
