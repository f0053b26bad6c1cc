"""Published weights that fit the classifiers here: where they are, whose they are, what pictures they want.

Facts, not files; `pixelwise.models.published` finds the files.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pixelwise.errors import UserError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Of 8-bit RGB: what most published weights with torchvision's parameter names were trained with."""
HALF = (127.5, 127.5, 127.5)
"""Mean and std of `RGB / 127.5 - 1`: what networks trained with TensorFlow see. torchvision has the same of the two of
them that it took over inside of its networks (`transform_input`)."""


@dataclass(frozen=True, slots=True)
class KnownWeights:
    """One published file.

    Attributes:
        model: name in the catalog.
        name: on the Hugging Face hub (`owner/repo`), or of the file that torchvision publishes.
        licence: as its publisher states it.
        mean, std: of 8-bit RGB; the network sees `(picture - mean) / std`.
        note: what is particular.
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
        """What a local copy is called: torchvision's name, or the hub's with its owner or without."""
        if not self.on_hub:
            return (self.name,)
        owner, repo = self.name.split("/")
        return (f"{owner}--{repo}.safetensors", f"{repo}.safetensors")

    @property
    def address(self) -> str:
        """Where a browser finds it."""
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
"""Trained on ImageNet's 1,000 classes; whoever ships a product should know that its pictures were for research."""


SAME_TENSORS = {"mobilenet_v2_tf": "mobilenet_v2"}
"""Encoder without published weights of its own -> the classifier whose weights fill it: only the padding differs."""


def known_weights(model: str) -> tuple[KnownWeights, ...]:
    """What is known for a classifier, the hub's first."""
    return tuple(known for known in KNOWN if known.model == SAME_TENSORS.get(model, model))


def recognised(name: str) -> KnownWeights | None:
    """The published weights of that hub name or file, if they are known."""
    last = Path(name).name
    return next((known for known in KNOWN if name == known.name or last in known.file_names), None)


_NAMED_DIGEST = re.compile(r"-(?P<digest>[0-9a-f]{8,64})\.(?:pth|pt|safetensors)$")


def check_digest(path: Path) -> None:
    """Compares a file with the digest that its name ends in, as torchvision's do: `resnet18-f37072fd.pth`.

    Raises:
        UserError: it is another one, so the file is damaged or not what it says.
    """
    match = _NAMED_DIGEST.search(path.name)
    if match is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(match["digest"]):
        raise UserError(
            f"{path}: its SHA-256 digest begins with {found[: len(match['digest'])]}, but its name says "
            f"{match['digest']}; the file is damaged or another one. Download it again, or rename it if you know what "
            "it is."
        )
