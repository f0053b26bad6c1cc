"""The tables from which `make_network_images.py` draws: per network, its maps and their connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from network_maps import LOGITS, PICTURE, Diagram, Kind, Map, Part
from torch import Tensor

PICTURES, ENCODER, DECODER, HEAD = Part.PICTURE, Part.ENCODER, Part.DECODER, Part.HEAD
CONCATENATION, SUM, INDICES, LAYERS = Kind.CONCATENATION, Kind.SUM, Kind.INDICES, Kind.LAYERS
INPUT = Map(PICTURE, Part.PICTURE, words="picture")
Column = Map | Sequence[Map]


def classify_windows(network: Any, images: Tensor) -> Tensor:
    """The patch classifier for a single window."""
    return network.classify(images)


def localise(network: Any, images: Tensor) -> Tensor:
    """The logits, and in the same pass the box."""
    return network(images)[0]


def cells(network: Any, images: Tensor) -> Tensor:
    """YOLO's boxes and classes as a map (1, 5 B + C, S, S)."""
    boxes, classes = network.grids(images)
    return torch.cat([boxes.flatten(3), classes], -1).permute(0, 3, 1, 2)


def reconstruct(network: Any, images: Tensor) -> Tensor:
    """The logits of a VAE's reconstruction."""
    return network(images).logits


def judge(network: Any, images: Tensor) -> Tensor:
    """The discriminator's logit of a generated picture, (1, 1)."""
    return network.discriminator(network.generator(images.new_ones(1, network.latent)))[:, None]


def encoder_maps(*names: str, prefix: str = "encoder.") -> list[Map]:
    return [Map(f"{prefix}{name}", ENCODER) for name in names]


def unet() -> Diagram:
    """Figure 1 of Ronneberger et al."""
    way_up: list[Map] = []
    below = "down.4"
    for number, level in enumerate(reversed(range(4))):
        way_up.append(Map(f"merge.{number}<", DECODER, {f"down.{level}": CONCATENATION, below: None}))
        way_up.append(Map(f"merge.{number}", DECODER))
        below = f"merge.{number}"
    down = encoder_maps(*(f"down.{level}" for level in range(5)), prefix="")
    options = {"in_channels": 1, "num_classes": 2}
    return Diagram("unet_original", (572, 572), [INPUT, *down, *way_up, Map(LOGITS, HEAD)], options)


def fcn8s() -> Diagram:
    """Figure 3 of Long et al."""
    columns: list[Column] = [
        INPUT,
        Map("encoder.features.4", ENCODER, words="pool1"),
        Map("encoder.features.9", ENCODER, words="pool2"),
        [
            Map("encoder.features.16", ENCODER, words="pool3", y=0),
            Map("head.score_pool3", HEAD, y=-190),
        ],
        [
            Map("encoder.features.23", ENCODER, {"encoder.features.16": None}, words="pool4", y=0),
            Map("head.score_pool4", HEAD, y=-125),
        ],
        Map("encoder.features.30", ENCODER, {"encoder.features.23": None}, words="pool5"),
        Map("fc6", ENCODER, words="fc6"),
        Map("fc7", ENCODER, words="fc7"),
        Map("head.score_fc7", HEAD),
        Map("head.upscore_pool4", HEAD),
        Map("head.upscore_pool3<", HEAD, {"head.upscore_pool4": SUM, "head.score_pool4": SUM}, plus=True),
        Map("head.upscore_pool3", HEAD),
        Map("head.upscore8<", HEAD, {"head.upscore_pool3": SUM, "head.score_pool3": SUM}, plus=True),
        Map(LOGITS, HEAD),
    ]
    return Diagram("fcn8s", (224, 224), columns, {"num_classes": 21}, step=30)


def segnet() -> Diagram:
    """Figure 2 of Badrinarayanan et al."""
    last = (5, 12, 22, 32, 42)  # the layers before VGG's poolings
    pooled = Map("max_unpool2d.0<", ENCODER)
    columns: list[Column] = [INPUT, *encoder_maps(*(f"features.{layer}" for layer in last)), pooled]
    columns += unpooled([f"encoder.features.{layer}" for layer in reversed(last)], pooled.name)
    return Diagram("segnet", (352, 480), [*columns, Map(LOGITS, HEAD)], {"num_classes": 11})


def unpooled(before_pooling: list[str], below: str) -> list[Map]:
    """Per block of a decoder, its unpooled input and its output."""
    way_up: list[Map] = []
    for number, switches in enumerate(before_pooling):
        way_up.append(Map(f"decoder.{number}<", DECODER, {below: None, switches: INDICES}))
        way_up.append(Map(f"decoder.{number}", DECODER))
        below = f"decoder.{number}"
    return way_up


def deconvnet() -> Diagram:
    """Figure 2 of Noh et al."""
    last = (5, 12, 22, 32, 42)
    columns: list[Column] = [INPUT, *encoder_maps(*(f"features.{layer}" for layer in last)), Map("fc6<", ENCODER)]
    columns += [
        Map("fc6", ENCODER, {"fc6<": LAYERS}, words="fc6"),
        Map("fc7", ENCODER, words="fc7"),
        Map("deconv_fc6", DECODER),
    ]
    columns += unpooled([f"encoder.features.{layer}" for layer in reversed(last)], "deconv_fc6")
    return Diagram("deconvnet", (224, 224), [*columns, Map(LOGITS, HEAD)], {"num_classes": 21})


def dilated() -> Diagram:
    """Section 4 and table 1 of Yu & Koltun."""
    columns: list[Column] = [
        INPUT,
        *encoder_maps("features.4", "features.9", "features.16", "features.21", "features.28"),
    ]
    columns += [Map("fc6", ENCODER, words="fc6"), Map("fc7", ENCODER, words="fc7"), Map("head.score", HEAD)]
    columns += [Map(f"head.context.{layer}", DECODER) for layer in range(0, 15, 2)]
    options = {"num_classes": 21, "context": "large"}
    return Diagram("dilated", (512, 512), [*columns, Map(LOGITS, HEAD)], options, "context module", step=30)


ASPP_WORDS = ("1x1", "", "", "", "mean")


def deeplab_v3() -> Diagram:
    """Figure 5 of Chen et al. 2017."""
    branches = [f"classifier.0.convs.{number}" for number in range(5)]
    columns: list[Column] = [
        INPUT,
        *encoder_maps("relu", "layer1", "layer2", "layer3", "layer4", prefix="backbone."),
        [Map(name, DECODER, {"backbone.layer4": None}, word) for name, word in zip(branches, ASPP_WORDS, strict=True)],
        Map("classifier.0.project<", DECODER, dict.fromkeys(branches, CONCATENATION)),
        Map("classifier.0.project", DECODER),
        Map("classifier.3", HEAD),
        Map("classifier.4", HEAD),
        Map(LOGITS, HEAD),
    ]
    return Diagram("deeplab_v3", (512, 512), columns, {"num_classes": 21}, "ASPP", step=20)


def deeplab_v3plus() -> Diagram:
    """Figure 2 of Chen et al. 2018."""
    branches = [f"aspp.convs.{number}" for number in range(5)]
    columns: list[Column] = [
        INPUT,
        *encoder_maps("stem", "entry1", "entry2", "middle", "exit2"),
        [Map(name, DECODER, {"encoder.exit2": None}, word) for name, word in zip(branches, ASPP_WORDS, strict=True)],
        Map("aspp.project<", DECODER, dict.fromkeys(branches, CONCATENATION)),
        [Map("aspp.project", DECODER, y=0), Map("reduce", DECODER, {"encoder.entry1": None}, y=-170)],
        Map("decoder<", DECODER, {"reduce": CONCATENATION, "aspp.project": CONCATENATION}),
        Map("decoder", DECODER),
        Map("head", HEAD),
        Map(LOGITS, HEAD),
    ]
    options = {"num_classes": 21, "encoder": "xception"}
    return Diagram("deeplab_v3plus", (512, 512), columns, options, "ASPP and decoder", step=20)


def pspnet() -> Diagram:
    """Figure 3 of Zhao et al."""
    levels = [f"pyramid.levels.{number}" for number in range(4)]
    top = "encoder.layer4"
    columns: list[Column] = [
        INPUT,
        *encoder_maps("relu", "layer1", "layer2", "layer3", "layer4"),
        [Map(f"{level}<", DECODER, {top: None}) for level in levels],
        [Map(level, DECODER, {f"{level}<": None}) for level in levels],
        Map("head<", DECODER, dict.fromkeys((top, *levels), CONCATENATION)),
        Map("head.0", HEAD),
        Map("head.4", HEAD),
        Map(LOGITS, HEAD),
    ]
    return Diagram("pspnet", (472, 472), columns, {"num_classes": 150}, "pyramid pooling", step=22)


def fpn() -> Diagram:
    """Figure 3 of Kirillov et al., with the pyramid of figure 3 of Lin et al."""
    heights = (-180.0, -60.0, 60.0, 180.0)  # finest level at the bottom
    levels = range(4)
    stages = [f"encoder.layer{level + 1}" for level in levels]
    merged = ["smooth.0<", "smooth.1<", "smooth.2<", "lateral.3"]
    merged = [f"pyramid.{name}" for name in merged]
    columns: list[Column] = [
        Map(PICTURE, Part.PICTURE, words="picture", y=heights[0]),
        Map("encoder.relu", ENCODER, y=heights[0]),
        [
            Map(stage, ENCODER, {stages[level - 1] if level else "encoder.relu": None}, y=heights[level])
            for level, stage in enumerate(stages)
        ],
        [Map(f"pyramid.lateral.{level}", DECODER, {stages[level]: None}, y=heights[level]) for level in levels],
        [
            Map(
                merged[level],
                DECODER,
                {f"pyramid.lateral.{level}": SUM, merged[level + 1]: SUM},
                y=heights[level],
                plus=True,
            )
            for level in (2, 1, 0)
        ],
        [Map(f"pyramid.smooth.{level}", DECODER, {merged[level]: None}, y=heights[level]) for level in levels],
    ]
    ends = [f"pyramid.smooth.{level}" for level in levels]
    for step in range(3):
        stack = []
        for level in levels:
            if step < max(level, 1):
                name = f"branches.{level}" if step == max(level, 1) - 1 else f"branches.{level}.{4 * step + 3}"
                stack.append(Map(name, DECODER, {ends[level]: None}, y=heights[level]))
                ends[level] = name
        columns.append(stack)
    columns += [
        Map("head<", DECODER, dict.fromkeys(ends, SUM), plus=True, y=0),
        Map("head", HEAD, y=0),
        Map(LOGITS, HEAD, y=0),
    ]
    return Diagram("fpn", (512, 512), columns, {"num_classes": 21}, "pyramid and branches", step=14)


def ternausnet() -> Diagram:
    """Figure 2 of Iglovikov & Shvets."""
    last = (1, 4, 9, 14, 19, 20)
    columns: list[Column] = [INPUT, *encoder_maps(*(f"features.{layer}" for layer in last))]
    columns.append(Map("centre.1", DECODER))
    below = "centre.1"
    for number, layer in enumerate(reversed(last[:-1])):
        skip = f"encoder.features.{layer}"
        columns.append(Map(f"decoder.{number}<", DECODER, {below: None, skip: CONCATENATION}))
        below = f"decoder.{number}.1" if number < 4 else f"decoder.{number}"
        columns.append(Map(below, DECODER))
    return Diagram("ternausnet", (256, 256), [*columns, Map(LOGITS, HEAD)], {"num_classes": 1})


def linknet() -> Diagram:
    """Figure 1 of Chaurasia & Culurciello."""
    stages = ["layer1", "layer2", "layer3", "layer4"]
    columns: list[Column] = [INPUT, *encoder_maps("relu", "maxpool", *stages)]
    for number in range(3):
        block = f"decoder.{number}"
        columns.append(Map(block, DECODER))
        columns.append(
            Map(f"decoder.{number + 1}<", DECODER, {block: SUM, f"encoder.{stages[2 - number]}": SUM}, plus=True)
        )
    columns += [Map("decoder.3", DECODER), Map("last.0", DECODER), Map("last.3", DECODER), Map(LOGITS, HEAD)]
    return Diagram("linknet", (512, 1024), columns, {"num_classes": 11})


def patch() -> Diagram:
    """Table 1 of Ciresan et al."""
    columns: list[Column] = [Map(PICTURE, Part.PICTURE, words="window")]
    for number in range(4):
        columns.append(Map(f"convs.{number}", ENCODER))
        columns.append(Map(f"convs.{number + 1}<" if number < 3 else "hidden<", ENCODER))
    columns += [Map("hidden", HEAD, {"hidden<": LAYERS}), Map("head", HEAD)]
    options = {"window": 95, "num_classes": 2, "in_channels": 1}
    return Diagram("patch", (95, 95), columns, options, step=34, run=classify_windows)


def yolo() -> Diagram:
    """Figure 3 of Redmon et al."""
    poolings, later = (2, 5, 14, 35), (45, 47, 51)
    columns: list[Column] = [INPUT, *encoder_maps(*(f"{layer}" for layer in (*poolings, *later)), prefix="features.")]
    columns += [
        Map("head.1", HEAD, {f"features.{later[-1]}": LAYERS}, words="dense"),
        Map("head.4", HEAD, words="dense"),
        Map(LOGITS, HEAD, {"head.4": LAYERS}, words="cells"),
    ]
    return Diagram("yolo_v1", (448, 448), columns, {"num_classes": 20}, step=30, run=cells)


def lenet5() -> Diagram:
    """Figure 2 of LeCun et al."""
    layers = [Map(name, ENCODER, words=name.upper()) for name in ("c1", "s2", "c3", "s4")]
    dense = [
        Map("c5", HEAD, {"s4": LAYERS}, words="C5"),
        Map("f6", HEAD, words="F6"),
        Map("head", HEAD, words="output"),
    ]
    return Diagram("lenet5", (32, 32), [INPUT, *layers, *dense], step=30)


def resnet18() -> Diagram:
    """Table 1 of He et al."""
    stages = encoder_maps("relu", "maxpool", "layer1", "layer2", "layer3", "layer4", prefix="")
    columns = [INPUT, *stages, Map("fc<", HEAD, words="average"), Map("fc", HEAD)]
    return Diagram("resnet18", (224, 224), columns, step=28)


def localizer() -> Diagram:
    """Section 4 of Sermanet et al., over ResNet-18."""
    columns: list[Column] = [
        INPUT,
        *encoder_maps("relu", "layer1", "layer2", "layer3", "layer4"),
        [
            Map("head<", HEAD, {"encoder.layer4": None}, words="average", y=70),
            Map("pool", HEAD, {"encoder.layer4": Kind.DOWN}, words="average", y=-70),
        ],
        [
            Map("head", HEAD, {"head<": None}, words="classes", y=70),
            Map("regressor.1", HEAD, {"pool": LAYERS}, words="dense", y=-70),
        ],
        Map("regressor.3", HEAD, words="dense", y=-70),
        Map("box_head", HEAD, words="edges", y=-70),
    ]
    return Diagram("localizer", (224, 224), columns, {"num_classes": 1000}, step=26, run=localise)


def vae() -> Diagram:
    """Figure 1 of Kingma & Welling, with the layers of the two networks."""
    columns: list[Column] = [
        INPUT,
        *encoder_maps("convolutions.1", "convolutions.3"),
        Map("encoder.hidden", ENCODER, {"encoder.convolutions.3": LAYERS}, words="dense"),
        Map("encoder.head", ENCODER, words="mean, variance"),
        Map("decoder.hidden<", HEAD, {"encoder.head": LAYERS}, words="code z"),
        Map("decoder.hidden", DECODER, words="dense"),
        Map("decoder.unflatten", DECODER, {"decoder.hidden": LAYERS}),
        Map("decoder.convolutions.1", DECODER),
        Map(LOGITS, PICTURES),
    ]
    return Diagram("vae", (28, 28), columns, {"width": 16}, head="code", step=26, run=reconstruct)


def dcgan() -> Diagram:
    """Figure 1 of Radford et al., and the discriminator after it."""
    columns: list[Column] = [
        Map("generator.main.0<", HEAD, words="noise z"),
        Map("generator.main.0", DECODER, {"generator.main.0<": LAYERS}),
        *(Map(f"generator.main.{layer}", DECODER) for layer in (3, 6, 9)),
        Map("generator.main.13", PICTURES, words="generated picture"),
        *encoder_maps("0", "2", "5", "8", prefix="discriminator.main."),
        Map("discriminator.main.11", HEAD, {"discriminator.main.8": LAYERS}, words="real?"),
    ]
    names = {"decoder": "generator", "encoder": "discriminator", "head": "noise and decision"}
    return Diagram("dcgan", (64, 64), columns, step=24, run=judge, **names)


DIAGRAMS: dict[str, Diagram] = {
    diagram.network: diagram
    for diagram in (
        unet(),
        fcn8s(),
        segnet(),
        deconvnet(),
        dilated(),
        deeplab_v3(),
        deeplab_v3plus(),
        pspnet(),
        fpn(),
        ternausnet(),
        linknet(),
        patch(),
        yolo(),
        localizer(),
        lenet5(),
        resnet18(),
        vae(),
        dcgan(),
    )
}
"""Name of a network in the catalog -> its diagram."""
