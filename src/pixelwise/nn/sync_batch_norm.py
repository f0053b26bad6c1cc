"""Batch norm over the batches of all processes, on any device (torch's own runs on CUDA only)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.distributed import total, world_size


class SyncBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose training statistics are those of the whole batch; Ioffe & Szegedy 2015."""

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(maps)
        values = maps.float()
        count = torch.tensor(float(values.numel() // values.shape[1]), device=maps.device)
        sums = total(torch.cat([values.sum((0, 2, 3)), count.unsqueeze(0)]))
        count = sums[-1]
        mean = sums[:-1] / count
        centred = values - mean[:, None, None]
        variance = total(centred.square().sum((0, 2, 3))) / count
        self._update_statistics(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(maps.dtype)

    @torch.no_grad()
    def _update_statistics(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def synchronised(network: nn.Module) -> nn.Module:
    """Turns every `BatchNorm2d` of a network into a synchronised one, in place; names and tensors stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm2d
    return network
