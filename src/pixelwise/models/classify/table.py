"""Every classifier by name; those with maps at several strides also serve as encoders of other networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pixelwise.models.classify.alexnet import AlexNet
from pixelwise.models.classify.densenet import densenet121, densenet161, densenet169, densenet201
from pixelwise.models.classify.googlenet import GoogLeNet
from pixelwise.models.classify.inception import InceptionV3
from pixelwise.models.classify.lenet import LeNet5
from pixelwise.models.classify.mlp import MLP
from pixelwise.models.classify.mobilenet import MobileNetV2
from pixelwise.models.classify.resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from pixelwise.models.classify.vgg import vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
from pixelwise.models.classify.xception import Xception
from pixelwise.nn.encoder import Classifier, Encoder

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
"""Name -> constructor of a classifier that is an encoder when built with `num_classes=0`."""

CLASSIFIERS: dict[str, Callable[..., Classifier]] = {**ENCODERS, "lenet5": LeNet5, "mlp": MLP}
"""Name -> constructor of a classifier."""
