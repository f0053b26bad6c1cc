"""Classification networks as the way down of dense networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from pixelwise.errors import unknown
from pixelwise.models.classify.mobilenet import MobileNetV2
from pixelwise.models.classify.resnet import resnet18, resnet34, resnet50
from pixelwise.models.weights import load_weights

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v2_tf": partial(MobileNetV2, tf_padding=True),
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
}
"""Name -> constructor. Each has `pyramid`, `feature_channels`, `feature_strides` and `first_convolution`."""


def create_encoder(name: str, *, in_channels: int = 3, weights: Any = None) -> nn.Module:
    """A classification network without its classifier.

    Args:
        weights: a file, a run folder, or a name on the Hugging Face hub; see `pixelwise.models.weights`.

    Raises:
        UserError: unknown name, or weights that do not fit.
    """
    if name not in ENCODERS:
        raise unknown("encoder", name, ENCODERS)
    encoder = ENCODERS[name](in_channels=in_channels, num_classes=0)
    if weights is not None:
        load_weights(encoder, weights)
    return encoder
