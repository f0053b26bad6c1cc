"""Classification networks as the way down of dense networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pixelwise.errors import unknown
from pixelwise.models.classify.alexnet import AlexNet
from pixelwise.models.classify.densenet import densenet121, densenet161, densenet169, densenet201
from pixelwise.models.classify.googlenet import GoogLeNet
from pixelwise.models.classify.inception import InceptionV3
from pixelwise.models.classify.mobilenet import MobileNetV2
from pixelwise.models.classify.resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from pixelwise.models.classify.vgg import vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
from pixelwise.models.classify.xception import Xception
from pixelwise.models.weights import load_weights
from pixelwise.nn.encoder import Encoder

ENCODERS: dict[str, Callable[..., Encoder]] = {
    "alexnet": AlexNet,
    "densenet121": densenet121,
    "densenet161": densenet161,
    "densenet169": densenet169,
    "densenet201": densenet201,
    "googlenet": GoogLeNet,
    "inception_v3": InceptionV3,
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v2_tf": partial(MobileNetV2, tf_padding=True),
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet152": resnet152,
    "vgg11": vgg11,
    "vgg11_bn": vgg11_bn,
    "vgg13": vgg13,
    "vgg13_bn": vgg13_bn,
    "vgg16": vgg16,
    "vgg16_bn": vgg16_bn,
    "vgg19": vgg19,
    "vgg19_bn": vgg19_bn,
    "xception": Xception,
}
"""Name -> constructor."""


def create_encoder(
    name: str, *, in_channels: int = 3, weights: Any = None, output_stride: int | None = None
) -> Encoder:
    """A classification network without its classifier.

    Args:
        weights: a file, a run folder, or a name on the Hugging Face hub; see `pixelwise.models.weights`.
        output_stride: maps are no coarser than this, by dilated filters; None for the network's own strides.

    Raises:
        UserError: unknown name, weights that do not fit, or a stride that the network does not have.
    """
    if name not in ENCODERS:
        raise unknown("encoder", name, ENCODERS)
    encoder = ENCODERS[name](in_channels=in_channels, num_classes=0)
    if weights is not None:
        load_weights(encoder, weights)
    if output_stride is not None:
        encoder.dilate(output_stride)
    return encoder
