"""Translates timm's tensor names into torchvision's, for the two families where they differ: MobileNetV2 and VGG.

timm's ResNets and DenseNets already have torchvision's names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

MOBILENET_V2_REPETITIONS = (1, 2, 3, 4, 3, 3, 1)
"""Blocks per stage (table 2 of the paper). torchvision numbers them consecutively, after the first convolution."""

_STEM = {"conv_stem": "features.0.0", "bn1": "features.0.1"}
_HEAD = {"conv_head": "features.18.0", "bn2": "features.18.1", "classifier": "classifier.1"}
_FIRST_BLOCK = {"conv_dw": "conv.0.0", "bn1": "conv.0.1", "conv_pw": "conv.1", "bn2": "conv.2"}
_BLOCK = {
    "conv_pw": "conv.0.0",
    "bn1": "conv.0.1",
    "conv_dw": "conv.1.0",
    "bn2": "conv.1.1",
    "conv_pwl": "conv.2",
    "bn3": "conv.3",
}
_FULLY_CONNECTED = {
    "pre_logits.fc1": "classifier.0",
    "pre_logits.fc2": "classifier.3",
    "head.fc": "classifier.6",
}


def torchvision_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors of timm's MobileNetV2 or VGG to torchvision's names; other networks keep their names.

    timm stores VGG's fully connected layers as convolutions with the same numbers; they become matrices again.
    """
    if "conv_stem.weight" in tensors and "blocks.0.0.conv_dw.weight" in tensors:
        return {_mobilenet_v2(name): tensor for name, tensor in tensors.items()}
    if "pre_logits.fc1.weight" in tensors:
        return dict(_vgg(name, tensor) for name, tensor in tensors.items())
    return dict(tensors)


def _mobilenet_v2(name: str) -> str:
    """
    >>> _mobilenet_v2("blocks.1.1.conv_pwl.weight")
    'features.3.conv.2.weight'
    """
    layer, _, kind = name.rpartition(".")
    if block := re.fullmatch(r"blocks\.([0-6])\.(\d+)\.(\w+)", layer):
        stage, number = int(block[1]), int(block[2])
        index = 1 + sum(MOBILENET_V2_REPETITIONS[:stage]) + number
        parts = _FIRST_BLOCK if stage == 0 else _BLOCK
        return f"features.{index}.{parts.get(block[3], block[3])}.{kind}"
    return f"{(_STEM | _HEAD).get(layer, layer)}.{kind}"


def _vgg(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    layer, _, kind = name.rpartition(".")
    if layer not in _FULLY_CONNECTED:
        return name, tensor
    return f"{_FULLY_CONNECTED[layer]}.{kind}", tensor.flatten(1) if tensor.dim() == 4 else tensor
