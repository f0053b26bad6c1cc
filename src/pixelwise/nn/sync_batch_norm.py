"""Batch norm over the batches of all processes, on any device (torch's version runs only on CUDA)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pixelwise.distributed import total, world_size
from pixelwise.nn.replace import replace_modules


class _SyncBatchNorm(_BatchNorm):
    """Batch norm with the training statistics of the whole batch over all processes (Ioffe & Szegedy, ICML 2015).

    As in torch, the running statistics are exponential averages, or plain means over all batches if `momentum` is None.
    """

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(maps)
        self._check_input_dim(maps)
        values = maps.float()
        dimensions = (0, *range(2, values.dim()))  # all dimensions but the channels
        shape = (-1, *[1] * (values.dim() - 2))  # broadcasts (C,) over them
        count = torch.tensor(float(values.numel() // values.shape[1]), device=maps.device)
        sums = total(torch.cat([values.sum(dimensions), count.unsqueeze(0)]))
        count = sums[-1]
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        variance = total(centred.square().sum(dimensions)) / count
        self._update_statistics(mean.detach(), variance.detach() * count / (count - 1))
        scale = (variance + self.eps).rsqrt()
        if not self.affine:
            return (centred * scale.view(shape)).to(maps.dtype)
        return (centred * (self.weight * scale).view(shape) + self.bias.view(shape)).to(maps.dtype)

    @torch.no_grad()
    def _update_statistics(self, mean: Tensor, variance: Tensor) -> None:
        """Updates the running statistics with one batch's mean (C,) and unbiased variance (C,)."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class SyncBatchNorm1d(_SyncBatchNorm, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over (N, C) or (N, C, L) with the statistics of all processes' batches."""


class SyncBatchNorm2d(_SyncBatchNorm, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over (N, C, H, W) with the statistics of all processes' batches."""


KINDS: dict[type[nn.Module], type[_SyncBatchNorm]] = {
    nn.BatchNorm1d: SyncBatchNorm1d,
    nn.BatchNorm2d: SyncBatchNorm2d,
}
"""torch's batch norm -> the synchronised batch norm that replaces it."""


def synchronised(network: nn.Module) -> nn.Module:
    """Replaces every `BatchNorm1d` and `BatchNorm2d` of a network by a synchronised one, in place.

    Parameters and buffers are shared with the old modules and keep their names. The modules are new, so anything that
    refers to modules rather than to parameters (`freeze`, hooks) must be set up after this call.

    Returns:
        The network; its synchronised counterpart if the network itself is a batch norm.
    """
    norms = {module: _counterpart(module) for module in network.modules() if type(module) in KINDS}
    return replace_modules(network, norms)


def _counterpart(norm: nn.Module) -> nn.Module:
    assert isinstance(norm, _BatchNorm)
    counterpart = KINDS[type(norm)](
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta"
    )
    counterpart.weight, counterpart.bias = norm.weight, norm.bias
    counterpart.running_mean, counterpart.running_var = norm.running_mean, norm.running_var
    counterpart.num_batches_tracked = norm.num_batches_tracked
    return counterpart.train(norm.training)
