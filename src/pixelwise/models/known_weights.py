"""Published weights that fit the classifiers here: their addresses, publishers and input normalisation.

This module holds the facts; `pixelwise.models.published` finds the files.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pixelwise.errors import UserError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Mean and std of 8-bit RGB with which most published weights under torchvision's parameter names were trained."""
HALF = (127.5, 127.5, 127.5)
"""Mean and std of `RGB / 127.5 - 1`, the input of networks that were trained with TensorFlow. torchvision took over two
of these networks (GoogLeNet and Inception v3), and applies this normalisation inside them (`transform_input`)."""


@dataclass(frozen=True, slots=True)
class KnownWeights:
    """One published file.

    Attributes:
        model: name in the catalog.
        name: name on the Hugging Face hub (`owner/repo`), or name of the file that torchvision publishes.
        licence: as the publisher states it.
        mean, std: per channel of 8-bit RGB; the network's input is `(picture - mean) / std`.
        note: what is special about these weights.
    """

    model: str
    name: str
    licence: str
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    note: str = ""

    @property
    def on_hub(self) -> bool:
        return "/" in self.name

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names that a local copy may have: torchvision's, or the hub's with or without its owner."""
        if not self.on_hub:
            return (self.name,)
        owner, repo = self.name.split("/")
        return (f"{owner}--{repo}.safetensors", f"{repo}.safetensors")

    @property
    def address(self) -> str:
        """Web address."""
        root = "https://huggingface.co/" if self.on_hub else "https://download.pytorch.org/models/"
        return root + self.name


_BSD = "BSD-3-Clause"
_FILES = {
    "alexnet": ("alexnet-owt-7be5be79.pth",),
    "densenet121": ("densenet121-a639ec97.pth",),
    "densenet161": ("densenet161-8d451a50.pth",),
    "densenet169": ("densenet169-b2777c0a.pth",),
    "densenet201": ("densenet201-c1103571.pth",),
    "mobilenet_v2": ("mobilenet_v2-7ebf99e0.pth", "mobilenet_v2-b0353104.pth"),
    "resnet18": ("resnet18-f37072fd.pth",),
    "resnet34": ("resnet34-b627a593.pth",),
    "resnet50": ("resnet50-11ad3fa6.pth", "resnet50-0676ba61.pth"),
    "resnet101": ("resnet101-63fe2227.pth",),
    "resnet152": ("resnet152-394f9c45.pth",),
    "vgg11": ("vgg11-8a719046.pth",),
    "vgg11_bn": ("vgg11_bn-6002323d.pth",),
    "vgg13": ("vgg13-19584684.pth",),
    "vgg13_bn": ("vgg13_bn-abd245e5.pth",),
    "vgg16": ("vgg16-397923af.pth",),
    "vgg16_bn": ("vgg16_bn-6c64b313.pth",),
    "vgg19": ("vgg19-dcbb9e9d.pth",),
    "vgg19_bn": ("vgg19_bn-c79401a0.pth",),
}
_ON_HUB = (
    *("densenet121", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
)

KNOWN: tuple[KnownWeights, ...] = (
    *(KnownWeights(model, f"timm/{model}.tv_in1k", _BSD) for model in _ON_HUB),
    KnownWeights("mobilenet_v2", "timm/mobilenetv2_100.ra_in1k", "Apache-2.0", note="not torchvision's training"),
    *(KnownWeights(model, file, _BSD) for model, files in _FILES.items() for file in files),
    KnownWeights("googlenet", "googlenet-1378be20.pth", _BSD, HALF, HALF, "trained with TensorFlow"),
    KnownWeights("inception_v3", "inception_v3_google-0cc3c7bd.pth", _BSD, HALF, HALF, "trained with TensorFlow"),
)
"""All were trained on ImageNet's 1,000 classes. Whoever ships a product should know that ImageNet's pictures were meant
for research."""


SAME_TENSORS = {"mobilenet_v2_tf": "mobilenet_v2"}
"""Encoder without published weights -> the classifier whose weights fill it; only their padding differs."""


def known_weights(model: str) -> tuple[KnownWeights, ...]:
    """The published weights of a classifier, those on the hub first."""
    return tuple(known for known in KNOWN if known.model == SAME_TENSORS.get(model, model))


def recognised(name: str) -> KnownWeights | None:
    """The published weights with this hub name or file name; None if there are none."""
    last = Path(name).name
    return next((known for known in KNOWN if name == known.name or last in known.file_names), None)


_NAMED_DIGEST = re.compile(r"-(?P<digest>[0-9a-f]{8,64})\.(?:pth|pt|safetensors)$")


def check_digest(path: Path) -> None:
    """Compares a file with the digest at the end of its name, as in torchvision's `resnet18-f37072fd.pth`.

    Raises:
        UserError: the digests differ, so the file is damaged or misnamed.
    """
    match = _NAMED_DIGEST.search(path.name)
    if match is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(match["digest"]):
        raise UserError(
            f"{path}: the SHA-256 digest begins with {found[: len(match['digest'])]}, but the name says "
            f"{match['digest']}; the file is damaged or a different one. Download it again, or rename it if you know "
            "what it is."
        )
