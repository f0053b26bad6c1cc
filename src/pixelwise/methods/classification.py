"""Supervised training of a classifier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.data.loader import Batch
from pixelwise.distributed import total
from pixelwise.methods.supervised import Supervised


class Classification(Supervised):
    """Minimises a loss between a network's logits (N, K) and the classes of whole pictures.

    A picture is treated as a map of one pixel, so every loss of pixels is one of pictures as well. Auxiliary heads are
    those of `Encoder.auxiliary_weights`.
    """

    monitor = "accuracy"
    ignore_index = -1  # every picture has a class, and 255 is one like any other

    def _run(self, network: nn.Module, images: Tensor, **options: bool) -> Any:
        logits = super()._run(network, images, **options)
        if isinstance(logits, tuple):
            return tuple(each[..., None, None] for each in logits)
        return logits[..., None, None]  # (N, K, 1, 1)

    def evaluate(self, batches: Iterable[Batch], *, final: bool = False) -> dict[str, float]:
        networks = self._evaluated(final)
        counts = torch.zeros(len(networks), 2, dtype=torch.float64)  # right, and right among the first five
        pictures = torch.zeros(1, dtype=torch.float64)
        with torch.inference_mode():
            for batch in batches:
                on_device = batch.to(self.device)
                truth = on_device.masks.flatten()
                pictures += len(truth)
                for row, network in enumerate(networks.values()):
                    logits = self._run(network.eval(), on_device.images).flatten(1)
                    counts[row] += hits(logits, truth)
        counts, pictures = total(counts.to(self.device)).cpu(), total(pictures.to(self.device)).cpu()
        scores: dict[str, float] = {}
        for prefix, (first, five) in zip(networks, (counts / pictures).tolist(), strict=True):
            scores[f"{prefix}accuracy"] = first
            if len(self.class_names) > 5:
                scores[f"{prefix}top5_accuracy"] = five
        return scores


def hits(logits: Tensor, truth: Tensor, among: int = 5) -> Tensor:
    """(N, K), (N,) -> (2,) float64: pictures whose class is the first, and is among the first so many."""
    ranked = logits.topk(min(among, logits.shape[1]), dim=1).indices == truth[:, None]
    return torch.stack([ranked[:, 0].sum(), ranked.any(1).sum()]).double().cpu()
