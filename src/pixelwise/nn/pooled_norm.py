"""Batch norm of maps that may have shrunk to a single place."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.distributed import world_size


def pooled_norm(norm: nn.Module, maps: Tensor) -> Tensor:
    """`norm(maps)`; in training on one place of one picture, by the running statistics.

    One value per channel has no variance, and torch refuses it: a batch of one after a pooling over the whole picture,
    or at the bottom of a deep network. Running statistics are then used and left as they are. In a run of several
    processes the batch is never one picture.

    Args:
        norm: a batch norm, or the identity that it is once it has been folded into the convolution before it.
    """
    if isinstance(norm, nn.BatchNorm2d) and norm.training and maps.numel() == norm.num_features and world_size() == 1:
        return F.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    return norm(maps)
