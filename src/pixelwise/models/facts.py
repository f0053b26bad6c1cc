"""Facts about a dense network that need no data: parameters, arithmetic, stride and receptive field."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pixelwise.nn.dense import DenseModel
from pixelwise.nn.receptive_field import receptive_field

SIDE = 512
"""Side in pixels of the square picture for which operations are counted, padded to the next size that the network
takes."""


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """Facts about a dense network.

    Attributes:
        parameters: count of the numbers that training finds.
        operations: additions and multiplications per pixel of the picture (twice the multiply-adds).
        stride: the network computes on multiples of it, see `DenseModel`.
        receptive_field: side in pixels of the part of the picture that a logit depends on; None for the whole picture.
    """

    parameters: int
    operations: float
    stride: int
    receptive_field: int | None


def network_facts(network: DenseModel) -> NetworkFacts:
    """The facts of a dense network built on the device `meta`, where its tensors take no memory."""
    network = network.eval()
    left, right, top, bottom = network.padding(SIDE, SIDE)
    size = (SIDE + top + bottom, SIDE + left + right)
    channels = next(module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d))
    images = torch.empty(1, channels, *size, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = network.logits(images)
    return NetworkFacts(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        operations=counter.get_total_flops() / (logits.shape[-2] * logits.shape[-1]),
        stride=network.stride,
        receptive_field=receptive_field(network, images, network.logits),
    )
