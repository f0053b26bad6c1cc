"""The catalog of all systems by name. A new system is one file, one line here and one recipe."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from pixelwise.errors import UserError, unknown
from pixelwise.methods.adversarial import Adversarial
from pixelwise.methods.base import Method
from pixelwise.methods.conditional import Conditional
from pixelwise.methods.cycle import Cycle
from pixelwise.methods.fixmatch import FixMatch
from pixelwise.methods.k_plus_one import KPlusOne
from pixelwise.methods.mean_teacher import MeanTeacher
from pixelwise.methods.pseudo_labels import PseudoLabels
from pixelwise.methods.rcnn import FineTuneAndFit
from pixelwise.methods.supervised import Supervised
from pixelwise.methods.vat import VAT
from pixelwise.models.classify.cut import Cut
from pixelwise.models.classify.table import CLASSIFIERS, ENCODERS
from pixelwise.models.construct import construct, keywords
from pixelwise.models.detect import fast_rcnn, faster_rcnn, localizer, mask_rcnn, overfeat, rcnn, yolo
from pixelwise.models.generate import dcgan, gated_pixelcnn, pixelcnn, pixelrnn, progressive_gan, vae
from pixelwise.models.known_weights import known_weights
from pixelwise.models.pose.hourglass import HourglassPose
from pixelwise.models.published import published_tensors
from pixelwise.models.segment import (
    deconvnet,
    deeplab,
    dilated,
    fcn,
    fpn,
    hourglass,
    linknet,
    patch,
    pspnet,
    segnet,
    ternausnet,
    unet,
)
from pixelwise.models.spec import AGAIN, ModelSpec, read_spec, read_tensors
from pixelwise.models.translate import cyclegan, pix2pix
from pixelwise.models.weights import WeightsFile, load_weights, read_weights
from pixelwise.nn.finite import check_weights
from pixelwise.nn.shapes import shapes_only
from pixelwise.tasks.base import Task
from pixelwise.tasks.classify.task import Classify
from pixelwise.tasks.detect.task import WholePictures, Windows
from pixelwise.tasks.generate.task import Bounded, Likelihood, Reconstructed, Sampled
from pixelwise.tasks.objects.proposed import ClassifyProposals, ReadProposals
from pixelwise.tasks.objects.task import FindObjects, GridObjects, OutlineObjects
from pixelwise.tasks.pose.task import FindJoints
from pixelwise.tasks.regress.task import Regress
from pixelwise.tasks.segment.task import Segment
from pixelwise.tasks.translate.task import TranslateKinds, TranslatePairs


@dataclass(frozen=True, slots=True)
class System:
    """One line of the catalog.

    Attributes:
        build: keyword-only constructor of the network.
        tasks: the tasks that the network can be trained for, the usual one first. If there are several, the labels
            decide.
        paper: authors, venue or preprint.
        method: the method of training by default, a name in `METHODS`.
        family: networks of one family share the names of tensors, so that weights of one network fill the tensors that
            another has in common with it.
        starts_from: the classifier whose weights fill the encoder of the network, if no option names one.
        parameters: (options, exact number of parameters at paper size).
        tiny: options that make the network small enough to train in a test.
    """

    build: Callable[..., nn.Module]
    tasks: tuple[Task, ...]
    paper: str
    method: str = "supervised"
    family: str | None = None
    starts_from: str | None = None
    parameters: tuple[tuple[Mapping[str, Any], int], ...] = ()
    tiny: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """The usual task."""
        return self.tasks[0]


METHODS: dict[str, type[Method]] = {
    "adversarial": Adversarial,
    "conditional": Conditional,
    "cycle": Cycle,
    "fixmatch": FixMatch,
    "k_plus_one": KPlusOne,
    "mean_teacher": MeanTeacher,
    "pseudo_labels": PseudoLabels,
    "rcnn": FineTuneAndFit,
    "supervised": Supervised,
    "vat": VAT,
}
"""Name in a recipe -> method of training."""

BOUNDED = (Bounded(),)
BOXES = (FindObjects(),)
CLASSIFY = (Classify(),)
GRID = (GridObjects(),)
KINDS = (TranslateKinds(),)
DENSE = (Segment(), Regress())
OUTLINES = (OutlineObjects(),)
PAIRS = (TranslatePairs(),)
POSE = (FindJoints(),)
PROPOSED = (ClassifyProposals(),)
READ = (ReadProposals(),)
LIKELIHOOD = (Likelihood(),)
RECONSTRUCTED = (Reconstructed(binarised=False),)
SAMPLED = (Sampled(),)
WHOLE = (WholePictures(),)
WINDOWS = (Windows(),)

CHEN_2018 = "Chen et al., ECCV 2018, arXiv:1802.02611"
HE_2016 = "He et al., CVPR 2016, arXiv:1512.03385"
HUANG_2017 = "Huang et al., CVPR 2017, arXiv:1608.06993"
KIRILLOV_2019 = "Kirillov et al., CVPR 2019, arXiv:1901.02446"
LONG_2015 = "Long et al., CVPR 2015, arXiv:1411.4038"
NEWELL_2016 = "Newell et al., ECCV 2016, arXiv:1603.06937"
RONNEBERGER_2015 = "Ronneberger et al., MICCAI 2015, arXiv:1505.04597"
SERMANET_2014 = "Sermanet et al., ICLR 2014, arXiv:1312.6229"
SIMONYAN_2015 = "Simonyan & Zisserman, ICLR 2015, arXiv:1409.1556"

TINY_DETECTOR = {
    "encoder": "mobilenet_v2",
    "width": 16,
    "hidden": 32,
    "anchor_sizes": (8, 16, 32, 64, 128),
    "proposals": 50,
    "sampled": 32,
    "frozen_norms": False,
}

SYSTEMS: dict[str, System] = {
    "alexnet": System(
        CLASSIFIERS["alexnet"],
        CLASSIFY,
        "Krizhevsky et al., NIPS 2012; Krizhevsky 2014, arXiv:1404.5997",
        parameters=(({}, 61_100_840),),
        tiny={"width": 4},
    ),
    "autoencoder": System(
        vae.Autoencoder,
        RECONSTRUCTED,
        "Hinton & Salakhutdinov, Science 2006",
        parameters=(({}, 3_314_913),),
        tiny={"size": (12, 14), "latent": 3, "width": 4, "hidden": 16},
    ),
    "cut": System(
        Cut,
        CLASSIFY,
        "Yosinski et al., NIPS 2014, arXiv:1411.1792",
        parameters=(({}, 2_274_138),),
        tiny={"network": "resnet18", "layer": "layer2.0", "head": []},
    ),
    "cyclegan": System(
        cyclegan.CycleGAN,
        KINDS,
        "Zhu et al., ICCV 2017, arXiv:1703.10593",
        method="cycle",
        parameters=(
            ({}, 2 * (11_378_179 + 2_764_737)),
            ({"blocks": 6}, 2 * (7_837_699 + 2_764_737)),
        ),
        tiny={"blocks": 1, "width": 4},
    ),
    "dcgan": System(
        dcgan.DCGAN,
        SAMPLED,
        "Radford et al., ICLR 2016, arXiv:1511.06434",
        method="adversarial",
        parameters=(({}, 3_576_704 + 2_765_568),),
        tiny={"size": 16, "latent": 8, "width": 8},
    ),
    "deconvnet": System(
        deconvnet.DeconvNet,
        DENSE,
        "Noh et al., ICCV 2015, arXiv:1505.04366",
        starts_from="vgg16_bn",
        parameters=(({"num_classes": 21}, 251_805_653),),
        tiny={"width": 8},
    ),
    "deeplab_v1": System(
        deeplab.DeepLabV1,
        DENSE,
        "Chen et al., ICLR 2015, arXiv:1412.7062",
        starts_from="vgg16",
        parameters=(({"num_classes": 21}, 20_505_429),),
        tiny={"width": 4},
    ),
    "deeplab_v3": System(
        deeplab.DeepLabV3,
        DENSE,
        "Chen et al. 2017, arXiv:1706.05587",
        parameters=(
            ({"num_classes": 21}, 39_638_869),
            ({"num_classes": 21, "output_stride": 8, "auxiliary": True}, 42_004_074),
        ),
        tiny={"encoder": "mobilenet_v2", "width": 32},
    ),
    "deeplab_v3plus": System(
        deeplab.DeepLabV3Plus,
        DENSE,
        CHEN_2018,
        parameters=(({"num_classes": 21}, 26_696_133),),
        tiny={"encoder": "mobilenet_v2", "width": 32},
    ),
    "densenet121": System(
        CLASSIFIERS["densenet121"],
        CLASSIFY,
        HUANG_2017,
        parameters=(({}, 7_978_856),),
        tiny={"growth_rate": 4},
    ),
    "densenet161": System(
        CLASSIFIERS["densenet161"],
        CLASSIFY,
        HUANG_2017,
        parameters=(({}, 28_681_000),),
        tiny={"growth_rate": 4},
    ),
    "densenet169": System(
        CLASSIFIERS["densenet169"],
        CLASSIFY,
        HUANG_2017,
        parameters=(({}, 14_149_480),),
        tiny={"growth_rate": 4},
    ),
    "densenet201": System(
        CLASSIFIERS["densenet201"],
        CLASSIFY,
        HUANG_2017,
        parameters=(({}, 20_013_928),),
        tiny={"growth_rate": 4},
    ),
    "dilated": System(
        dilated.DilatedNet,
        DENSE,
        "Yu & Koltun, ICLR 2016, arXiv:1511.07122",
        starts_from="vgg16",
        parameters=(
            ({"num_classes": 21, "context": None}, 134_346_581),
            ({"num_classes": 21, "context": "basic"}, 134_346_581 + 28_392),
            ({"num_classes": 21, "context": "large"}, 134_346_581 + 6_803_139),
        ),
        tiny={"width": 4},
    ),
    "fast_rcnn": System(
        fast_rcnn.FastRCNN,
        READ,
        "Girshick, ICCV 2015, arXiv:1504.08083",
        parameters=(({"num_classes": 21}, 134_690_729),),
        tiny={"encoder": "mobilenet_v2", "hidden": 32, "proposals": 50, "ranked": True, "frozen_norms": False},
    ),
    "faster_rcnn": System(
        faster_rcnn.FasterRCNN,
        BOXES,
        "Ren et al., NIPS 2015, arXiv:1506.01497; Lin et al., CVPR 2017, arXiv:1612.03144",
        parameters=(({"num_classes": 91}, 41_755_286), ({"num_classes": 91, "frozen_norms": False}, 41_808_406)),
        tiny=TINY_DETECTOR,
    ),
    "fcn16s": System(
        fcn.fcn16s,
        DENSE,
        LONG_2015,
        family="fcn",
        starts_from="vgg16",
        parameters=(({"num_classes": 21}, 134_815_994),),
        tiny={"width": 4},
    ),
    "fcn32s": System(
        fcn.fcn32s,
        DENSE,
        LONG_2015,
        family="fcn",
        starts_from="vgg16",
        parameters=(({"num_classes": 21}, 136_152_917),),
        tiny={"width": 4},
    ),
    "fcn8s": System(
        fcn.fcn8s,
        DENSE,
        LONG_2015,
        family="fcn",
        starts_from="vgg16",
        parameters=(({"num_classes": 21}, 134_489_759),),
        tiny={"width": 4},
    ),
    "fpn": System(
        fpn.fpn,
        DENSE,
        KIRILLOV_2019,
        parameters=(({"num_classes": 21}, 28_478_933),),
        tiny={"encoder": "vgg11", "width": 32},
    ),
    "gated_pixelcnn": System(
        gated_pixelcnn.GatedPixelCNN,
        LIKELIHOOD,
        "van den Oord et al., NIPS 2016, arXiv:1606.05328",
        parameters=(({}, 176_193),),
        tiny={"size": (10, 12), "width": 4, "layers": 2, "head": 6},
    ),
    "googlenet": System(
        CLASSIFIERS["googlenet"],
        CLASSIFY,
        "Szegedy et al., CVPR 2015, arXiv:1409.4842",
        parameters=(
            ({}, 6_624_904),
            ({"auxiliary": True}, 13_004_888),
        ),
        tiny={"width": 8},
    ),
    "hourglass": System(
        hourglass.HourglassNet,
        DENSE,
        NEWELL_2016,
        parameters=(
            ({"num_classes": 16, "stacks": 1}, 3_586_960),
            ({"num_classes": 16, "stacks": 2}, 6_730_912),
            ({"num_classes": 16, "stacks": 8}, 25_594_624),
        ),
        tiny={"width": 8, "depth": 3},
    ),
    "hourglass_pose": System(
        HourglassPose,
        POSE,
        NEWELL_2016,
        parameters=(
            ({"stacks": 1}, 3_586_960),
            ({"stacks": 2}, 6_730_912),
            ({}, 25_594_624),
            ({"num_joints": 14, "stacks": 1}, 3_586_446),
            ({"num_joints": 14, "stacks": 2}, 6_729_372),
            ({"num_joints": 14}, 25_586_928),
            ({"stacks": 1, "features": 128, "encoder": "mobilenet_v2"}, 2_795_280),
        ),
        tiny={"stacks": 2, "features": 16, "depth": 2},
    ),
    "inception_v3": System(
        CLASSIFIERS["inception_v3"],
        CLASSIFY,
        "Szegedy et al., CVPR 2016, arXiv:1512.00567",
        parameters=(
            ({}, 23_834_568),
            ({"auxiliary": True}, 27_161_264),
        ),
        tiny={"width": 4},
    ),
    "lenet5": System(
        CLASSIFIERS["lenet5"],
        CLASSIFY,
        "LeCun et al., Proceedings of the IEEE 1998",
        parameters=(({}, 61_706),),
        tiny={"in_channels": 3},
    ),
    "linknet": System(
        linknet.LinkNet,
        DENSE,
        "Chaurasia & Culurciello, VCIP 2017, arXiv:1707.03718",
        parameters=(({"num_classes": 11}, 11_535_659),),
    ),
    "localizer": System(
        localizer.Localizer,
        WHOLE,
        SERMANET_2014,
        parameters=(({"num_classes": 1000}, 68_321_836),),
        tiny={"encoder": "mobilenet_v2", "hidden": (32, 16), "pool": 2},
    ),
    "mask_rcnn": System(
        mask_rcnn.MaskRCNN,
        OUTLINES,
        "He et al., ICCV 2017, arXiv:1703.06870",
        family="mask_rcnn",
        parameters=(({"num_classes": 91}, 44_401_393),),
        tiny=TINY_DETECTOR,
    ),
    "mask_rcnn_padded": System(
        mask_rcnn.MaskRCNNPadded,
        OUTLINES,
        "He et al., ICCV 2017, arXiv:1703.06870",
        family="mask_rcnn",
        parameters=(({"num_classes": 91}, 44_401_393),),
        tiny=TINY_DETECTOR,
    ),
    "mlp": System(
        CLASSIFIERS["mlp"],
        CLASSIFY,
        "Simard et al., ICDAR 2003",
        parameters=(({}, 636_010),),
        tiny={"in_channels": 3, "size": (10, 12), "hidden": (16,)},
    ),
    "mobilenet_v2": System(
        CLASSIFIERS["mobilenet_v2"],
        CLASSIFY,
        "Sandler et al., CVPR 2018, arXiv:1801.04381",
        parameters=(({}, 3_504_872),),
    ),
    "overfeat_accurate": System(
        overfeat.overfeat_accurate,
        WINDOWS,
        SERMANET_2014,
        parameters=(
            ({}, 144_656_488),
            ({"regression": True}, 253_717_612),
        ),
        tiny={"width": 6, "regression": True},
    ),
    "overfeat_fast": System(
        overfeat.overfeat_fast,
        WINDOWS,
        SERMANET_2014,
        parameters=(
            ({}, 145_920_872),
            ({"regression": True}, 301_119_340),
        ),
        tiny={"width": 6, "regression": True},
    ),
    "overfeat_small": System(
        overfeat.overfeat_small,
        WINDOWS,
        f"{SERMANET_2014}; smaller than the paper's networks",
        parameters=(({"regression": True}, 552_012),),
        tiny={"width": 6, "regression": True},
    ),
    "pix2pix": System(
        pix2pix.Pix2Pix,
        PAIRS,
        "Isola et al., CVPR 2017, arXiv:1611.07004",
        method="conditional",
        parameters=(
            ({}, 54_413_955 + 2_768_705),
            ({"depth": 7}, 41_828_995 + 2_768_705),
        ),
        tiny={"depth": 3, "width": 4},
    ),
    "pixelcnn": System(
        pixelcnn.PixelCNN,
        LIKELIHOOD,
        "van den Oord et al., ICML 2016, arXiv:1601.06759",
        parameters=(({}, 88_065),),
        tiny={"size": (10, 12), "width": 4, "blocks": 2, "head": 6},
    ),
    "pixelrnn_diagonal": System(
        pixelrnn.PixelRNNDiagonal,
        LIKELIHOOD,
        "van den Oord et al., ICML 2016, arXiv:1601.06759",
        parameters=(({}, 65_825),),
        tiny={"size": (10, 12), "width": 4, "layers": 2, "head": 6},
    ),
    "pixelrnn_row": System(
        pixelrnn.PixelRNNRow,
        LIKELIHOOD,
        "van den Oord et al., ICML 2016, arXiv:1601.06759",
        parameters=(({}, 72_545),),
        tiny={"size": (10, 12), "width": 4, "layers": 2, "head": 6},
    ),
    "progressive_gan": System(
        progressive_gan.ProgressiveGAN,
        SAMPLED,
        "Karras et al., ICLR 2018, arXiv:1710.10196",
        method="adversarial",
        parameters=(({}, 23_079_115 + 23_087_249),),
        tiny={"size": 16, "latent": 8, "width": 8, "base": 64},
    ),
    "pspnet": System(
        pspnet.pspnet,
        DENSE,
        "Zhao et al., CVPR 2017, arXiv:1612.01105",
        parameters=(
            ({"num_classes": 21}, 46_592_597),
            ({"num_classes": 21, "auxiliary": True}, 48_957_802),
        ),
        tiny={"encoder": "mobilenet_v2"},
    ),
    "patch": System(
        patch.PatchClassifier,
        DENSE,
        "Ciresan et al., NIPS 2012",
        tiny={"width": 6, "hidden": 12},
    ),
    "rcnn": System(
        rcnn.RCNN,
        PROPOSED,
        "Girshick et al., CVPR 2014, arXiv:1311.2524",
        method="rcnn",
        parameters=(({"num_classes": 21}, 57_089_877),),
        tiny={
            "encoder": "mobilenet_v2",
            "size": 32,
            "context": 2,
            "pool": 1,
            "hidden": 32,
            "sampled": 16,
            "proposals": 50,
            "ranked": True,
            "frozen_norms": False,
        },
    ),
    "resnet18": System(
        CLASSIFIERS["resnet18"],
        CLASSIFY,
        HE_2016,
        parameters=(({}, 11_689_512),),
    ),
    "resnet34": System(
        CLASSIFIERS["resnet34"],
        CLASSIFY,
        HE_2016,
        parameters=(({}, 21_797_672),),
    ),
    "resnet50": System(
        CLASSIFIERS["resnet50"],
        CLASSIFY,
        HE_2016,
        parameters=(({}, 25_557_032),),
    ),
    "resnet101": System(
        CLASSIFIERS["resnet101"],
        CLASSIFY,
        HE_2016,
        parameters=(({}, 44_549_160),),
    ),
    "resnet152": System(
        CLASSIFIERS["resnet152"],
        CLASSIFY,
        HE_2016,
        parameters=(({}, 60_192_808),),
    ),
    "segnet": System(
        segnet.SegNet,
        DENSE,
        "Badrinarayanan et al., TPAMI 2017, arXiv:1511.00561",
        starts_from="vgg16_bn",
        parameters=(({"num_classes": 11}, 29_449_355),),
        tiny={"width": 4},
    ),
    "ternausnet": System(
        ternausnet.TernausNet,
        DENSE,
        "Iglovikov & Shvets 2018, arXiv:1801.05746",
        starts_from="vgg11",
        parameters=(({"num_classes": 1}, 22_927_393),),
        tiny={"width": 8},
    ),
    "unet": System(
        unet.unet,
        DENSE,
        RONNEBERGER_2015,
        parameters=(
            ({"num_classes": 11}, 31_038_283),
            ({"num_classes": 11, "batch_norm": False}, 31_032_395),
        ),
        tiny={"width": 8},
    ),
    "unet_fpn": System(
        fpn.unet_fpn,
        DENSE,
        KIRILLOV_2019,
        parameters=(({"num_classes": 21}, 32_531_481),),
        tiny={"encoder": "vgg11", "decoder_channels": (16, 8, 8, 8, 8)},
    ),
    "unet_original": System(
        unet.unet_original,
        DENSE,
        RONNEBERGER_2015,
        parameters=(({"in_channels": 1, "num_classes": 2}, 31_030_658),),
        tiny={"width": 8, "in_channels": 3},
    ),
    "vae": System(
        vae.VAE,
        BOUNDED,
        "Kingma & Welling, ICLR 2014, arXiv:1312.6114",
        parameters=(({}, 3_331_329),),
        tiny={"size": (12, 14), "latent": 3, "width": 4, "hidden": 16},
    ),
    "vgg11": System(
        CLASSIFIERS["vgg11"],
        CLASSIFY,
        SIMONYAN_2015,
        parameters=(({}, 132_863_336),),
        tiny={"width": 4},
    ),
    "vgg11_bn": System(
        CLASSIFIERS["vgg11_bn"],
        CLASSIFY,
        SIMONYAN_2015,
        parameters=(({}, 132_868_840),),
        tiny={"width": 4},
    ),
    "vgg13": System(
        CLASSIFIERS["vgg13"],
        CLASSIFY,
        SIMONYAN_2015,
        parameters=(({}, 133_047_848),),
        tiny={"width": 4},
    ),
    "vgg13_bn": System(
        CLASSIFIERS["vgg13_bn"],
        CLASSIFY,
        SIMONYAN_2015,
        parameters=(({}, 133_053_736),),
        tiny={"width": 4},
    ),
    "vgg16": System(
        CLASSIFIERS["vgg16"],
        CLASSIFY,
        SIMONYAN_2015,
        parameters=(({}, 138_357_544),),
        tiny={"width": 4},
    ),
    "vgg16_bn": System(
        CLASSIFIERS["vgg16_bn"],
        CLASSIFY,
        SIMONYAN_2015,
        parameters=(({}, 138_365_992),),
        tiny={"width": 4},
    ),
    "vgg19": System(
        CLASSIFIERS["vgg19"],
        CLASSIFY,
        SIMONYAN_2015,
        parameters=(({}, 143_667_240),),
        tiny={"width": 4},
    ),
    "vgg19_bn": System(
        CLASSIFIERS["vgg19_bn"],
        CLASSIFY,
        SIMONYAN_2015,
        parameters=(({}, 143_678_248),),
        tiny={"width": 4},
    ),
    "xception": System(
        CLASSIFIERS["xception"],
        CLASSIFY,
        CHEN_2018,
        parameters=(({}, 39_916_312),),
        tiny={"width": 4, "middle": 2},
    ),
    "yolo_v1": System(
        yolo.YOLOv1,
        GRID,
        "Redmon et al., CVPR 2016, arXiv:1506.02640",
        parameters=(({"num_classes": 20}, 271_703_550),),
        tiny={"encoder": "mobilenet_v2", "size": 64, "cells": 2, "hidden": 32},
    ),
}


DEFAULT_RECIPES: Mapping[str, str] = {
    "pixels": "unet_fpn",
    "values": "unet_fpn",
    "pairs": "pix2pix",
    "domains": "cyclegan",
    "keypoints": "hourglass_pose",
    "objects": "faster_rcnn",
    "classes": "resnet18",
}
"""What a dataset knows -> the default recipe; the first entry that applies is used (benchmarks/learning_speed.md)."""


def system(name: str) -> System:
    """The catalog's entry for a network.

    Raises:
        UserError: unknown name.
    """
    if name not in SYSTEMS:
        raise unknown("model", name, SYSTEMS)
    return SYSTEMS[name]


def task_names() -> list[str]:
    """The names of all tasks, sorted."""
    return sorted({task.name for each in SYSTEMS.values() for task in each.tasks})


def list_models(task: str | None = None) -> list[str]:
    """The names of all networks in the catalog, or of those that can be trained for a task.

    Raises:
        UserError: unknown task.
    """
    if task is not None and task not in task_names():
        raise unknown("task", task, task_names())
    return sorted(name for name, each in SYSTEMS.items() if task is None or task in {one.name for one in each.tasks})


def create_model(name: str, /, **options: Any) -> nn.Module:
    """Builds a network by name. `options` are the keywords of its constructor; unknown options are refused.

    `weights` (a file, a run, a hub name) fills the encoder of a network that has one, else the whole network. Weights
    from a run of the same network or of one in its family, and weights of a classifier, fill everything except a last
    layer with a different number of outputs.

    Raises:
        UserError: unknown name or option, a missing option, or weights that do not fit.
    """
    build = system(name).build
    weights = options.pop("weights", None)
    file = weights if weights is None or isinstance(weights, WeightsFile) else read_weights(weights)
    related = file is not None and weights_fill(name, file)
    if file is not None and not related and "weights" in keywords(build):
        options["weights"], file = file, None
    model = construct(name, build, options)
    if file is not None:
        load_weights(model, file, new_head=related or name in CLASSIFIERS)
    return model


def load_model(path: Path | str) -> tuple[nn.Module, ModelSpec]:
    """Builds the network of a model file and loads its weights, in evaluation mode.

    Raises:
        UserError: the file is missing, damaged, or not written by pixelwise, or its weights are NaN or infinite.
    """
    spec = read_spec(path)
    tensors = read_tensors(path)
    try:
        model = create_model(spec.model, **spec.options)
        model.load_state_dict(tensors)
        check_weights(model)
    except (RuntimeError, UserError) as error:  # torch raises RuntimeError if names or shapes differ
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: its network cannot be built ({reason}); {AGAIN}") from None
    return model.eval(), spec


def task_of(spec: ModelSpec) -> Task:
    """The task that the network of a model file was trained for."""
    tasks = system(spec.model).tasks
    return next((task for task in tasks if task.name == spec.task), tasks[0])


def weights_fill(name: str, file: WeightsFile) -> bool:
    """Whether a file fills the whole network (from a run of it, or of one in its family), not only its encoder."""
    if file.model not in SYSTEMS:
        return False
    family = system(name).family
    return file.model == name or (family is not None and family == SYSTEMS[file.model].family)


def published_classifier(name: str, options: Mapping[str, Any]) -> str | None:
    """The classifier whose published weights fill a network with these options, or its encoder.

    None if the network has no such part or a different width, or if the classifier has no published weights.
    """
    known = inspect.signature(system(name).build).parameters
    named = [options.get(option, known[option].default) for option in ("encoder", "network") if option in known]
    classifier = name if name in CLASSIFIERS else named[0] if named else system(name).starts_from
    if classifier not in ENCODERS or not known_weights(classifier):
        return None
    needed = {"num_classes": 2} if "num_classes" in known else {}
    file = WeightsFile(Path(classifier), published_tensors(classifier), None, None)
    try:
        with shapes_only():
            create_model(name, **{**needed, **options, "weights": file})
    except UserError:  # a different width; other mistakes are reported when the network is built
        return None
    return classifier


def option_names(name: str) -> list[str]:
    """The keywords of a network's constructor.

    Raises:
        UserError: unknown name.
    """
    return keywords(system(name).build)
