"""Spectral normalisation of a network's weights (Miyato et al., ICLR 2018, arXiv:1802.05957)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SpectralNorm(nn.Module):
    """Divides the weights of convolutions and linear layers by estimates of their largest singular values.

    Weights are read as matrices (out, the rest), section 2.1. The estimate is kept as a left singular vector u per
    weight, which each call in training mode improves by one step of power iteration (algorithm 1); in evaluation mode
    it stays. The network itself keeps its weights: use the normalised ones with `torch.func.functional_call`.

    Args:
        network: its convolutions and linear layers are normalised, not transposed convolutions.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        layers = [(name, each) for name, each in network.named_modules() if isinstance(each, nn.Conv2d | nn.Linear)]
        self.names = tuple(f"{name}.weight" if name else "weight" for name, _ in layers)
        for number, (_, layer) in enumerate(layers):
            self.register_buffer(f"u{number}", F.normalize(torch.randn(len(layer.weight)), dim=0).to(layer.weight))

    def normalised(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The normalised weights by name; the gradient flows into the weights, but not into the estimates (eq. 12).

        Args:
            weights: the network's parameters by name.
        """
        found = {}
        for number, name in enumerate(self.names):
            weight = weights[name]
            matrix = weight.flatten(1)
            with torch.no_grad():
                u = getattr(self, f"u{number}")
                v = F.normalize(matrix.T @ u, dim=0)
                if self.training:
                    u = F.normalize(matrix @ v, dim=0)
                    setattr(self, f"u{number}", u)
            found[name] = weight / torch.dot(u, matrix @ v)
        return found
