"""Every network by name. A new one is one file, one line here, one recipe."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from pixelwise.errors import UserError, unknown
from pixelwise.models.classify import (
    alexnet,
    cut,
    densenet,
    googlenet,
    inception,
    lenet,
    mlp,
    mobilenet,
    resnet,
    vgg,
    xception,
)
from pixelwise.models.detect import localizer, overfeat
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
from pixelwise.models.weights import WeightsFile, load_weights, read_weights


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalog.

    Attributes:
        build: keyword-only constructor.
        task: `segment`, `classify` or `detect`.
        paper: authors, venue or preprint.
        family: networks of one family share names of tensors: weights of one fill another, as far as they go.
    """

    build: Callable[..., nn.Module]
    task: str
    paper: str
    family: str | None = None


CHEN_2018 = "Chen et al., ECCV 2018, arXiv:1802.02611"
HE_2016 = "He et al., CVPR 2016, arXiv:1512.03385"
HUANG_2017 = "Huang et al., CVPR 2017, arXiv:1608.06993"
KIRILLOV_2019 = "Kirillov et al., CVPR 2019, arXiv:1901.02446"
LONG_2015 = "Long et al., CVPR 2015, arXiv:1411.4038"
RONNEBERGER_2015 = "Ronneberger et al., MICCAI 2015, arXiv:1505.04597"
SERMANET_2014 = "Sermanet et al., ICLR 2014, arXiv:1312.6229"
SIMONYAN_2015 = "Simonyan & Zisserman, ICLR 2015, arXiv:1409.1556"

MODELS: dict[str, Entry] = {
    "alexnet": Entry(alexnet.AlexNet, "classify", "Krizhevsky et al., NIPS 2012; Krizhevsky 2014, arXiv:1404.5997"),
    "cut": Entry(cut.Cut, "classify", "Yosinski et al., NIPS 2014, arXiv:1411.1792"),
    "deconvnet": Entry(deconvnet.DeconvNet, "segment", "Noh et al., ICCV 2015, arXiv:1505.04366"),
    "deeplab_v1": Entry(deeplab.DeepLabV1, "segment", "Chen et al., ICLR 2015, arXiv:1412.7062"),
    "deeplab_v3": Entry(deeplab.DeepLabV3, "segment", "Chen et al. 2017, arXiv:1706.05587"),
    "deeplab_v3plus": Entry(deeplab.DeepLabV3Plus, "segment", CHEN_2018),
    "densenet121": Entry(densenet.densenet121, "classify", HUANG_2017),
    "densenet161": Entry(densenet.densenet161, "classify", HUANG_2017),
    "densenet169": Entry(densenet.densenet169, "classify", HUANG_2017),
    "densenet201": Entry(densenet.densenet201, "classify", HUANG_2017),
    "dilated": Entry(dilated.DilatedNet, "segment", "Yu & Koltun, ICLR 2016, arXiv:1511.07122"),
    "fcn16s": Entry(fcn.fcn16s, "segment", LONG_2015, family="fcn"),
    "fcn32s": Entry(fcn.fcn32s, "segment", LONG_2015, family="fcn"),
    "fcn8s": Entry(fcn.fcn8s, "segment", LONG_2015, family="fcn"),
    "fpn": Entry(fpn.fpn, "segment", KIRILLOV_2019),
    "googlenet": Entry(googlenet.GoogLeNet, "classify", "Szegedy et al., CVPR 2015, arXiv:1409.4842"),
    "hourglass": Entry(hourglass.HourglassNet, "segment", "Newell et al., ECCV 2016, arXiv:1603.06937"),
    "inception_v3": Entry(inception.InceptionV3, "classify", "Szegedy et al., CVPR 2016, arXiv:1512.00567"),
    "lenet5": Entry(lenet.LeNet5, "classify", "LeCun et al., Proceedings of the IEEE 1998"),
    "linknet": Entry(linknet.LinkNet, "segment", "Chaurasia & Culurciello, VCIP 2017, arXiv:1707.03718"),
    "localizer": Entry(localizer.Localizer, "detect", SERMANET_2014),
    "mlp": Entry(mlp.MLP, "classify", "Simard et al., ICDAR 2003"),
    "mobilenet_v2": Entry(mobilenet.MobileNetV2, "classify", "Sandler et al., CVPR 2018, arXiv:1801.04381"),
    "overfeat_accurate": Entry(overfeat.overfeat_accurate, "detect", SERMANET_2014),
    "overfeat_fast": Entry(overfeat.overfeat_fast, "detect", SERMANET_2014),
    "overfeat_small": Entry(overfeat.overfeat_small, "detect", f"{SERMANET_2014}; smaller than any there"),
    "pspnet": Entry(pspnet.pspnet, "segment", "Zhao et al., CVPR 2017, arXiv:1612.01105"),
    "patch": Entry(patch.PatchClassifier, "segment", "Ciresan et al., NIPS 2012"),
    "resnet18": Entry(resnet.resnet18, "classify", HE_2016),
    "resnet34": Entry(resnet.resnet34, "classify", HE_2016),
    "resnet50": Entry(resnet.resnet50, "classify", HE_2016),
    "resnet101": Entry(resnet.resnet101, "classify", HE_2016),
    "resnet152": Entry(resnet.resnet152, "classify", HE_2016),
    "segnet": Entry(segnet.SegNet, "segment", "Badrinarayanan et al., TPAMI 2017, arXiv:1511.00561"),
    "ternausnet": Entry(ternausnet.TernausNet, "segment", "Iglovikov & Shvets 2018, arXiv:1801.05746"),
    "unet": Entry(unet.unet, "segment", RONNEBERGER_2015),
    "unet_fpn": Entry(fpn.unet_fpn, "segment", KIRILLOV_2019),
    "unet_original": Entry(unet.unet_original, "segment", RONNEBERGER_2015),
    "vgg11": Entry(vgg.vgg11, "classify", SIMONYAN_2015),
    "vgg11_bn": Entry(vgg.vgg11_bn, "classify", SIMONYAN_2015),
    "vgg13": Entry(vgg.vgg13, "classify", SIMONYAN_2015),
    "vgg13_bn": Entry(vgg.vgg13_bn, "classify", SIMONYAN_2015),
    "vgg16": Entry(vgg.vgg16, "classify", SIMONYAN_2015),
    "vgg16_bn": Entry(vgg.vgg16_bn, "classify", SIMONYAN_2015),
    "vgg19": Entry(vgg.vgg19, "classify", SIMONYAN_2015),
    "vgg19_bn": Entry(vgg.vgg19_bn, "classify", SIMONYAN_2015),
    "xception": Entry(xception.Xception, "classify", CHEN_2018),
}


def list_models(task: str | None = None) -> list[str]:
    """Names in the catalog, of one task or of all.

    Raises:
        UserError: unknown task.
    """
    tasks = {entry.task for entry in MODELS.values()}
    if task is not None and task not in tasks:
        raise unknown("task", task, tasks)
    return sorted(name for name, entry in MODELS.items() if task in (None, entry.task))


def create_model(name: str, **options: Any) -> nn.Module:
    """Builds a network by name; `options` are the keywords of its constructor, unknown ones are refused.

    `weights` (a file, a run, a hub name) fills the encoder of a network that has one, else the whole network. Those of
    a run of the same network, or of one of its family, and those of a classifier, fill all of it but for a last layer
    of another number of classes.

    Raises:
        UserError: unknown name or option, a missing option, or weights that do not fit.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    build = MODELS[name].build
    parameters = option_names(name)
    weights = options.pop("weights", None)
    for option in options:
        if option not in parameters:
            raise unknown(f"option of {name}:", option, parameters)
    file = None if weights is None else read_weights(weights)
    related = file is not None and weights_fill(name, file)
    if file is not None and not related and "weights" in parameters:
        options["weights"], file = file, None
    try:
        model = build(**options)
    except TypeError as error:
        raise UserError(f"{name}: {error}; its options are {', '.join(parameters)}.") from error
    if file is not None:
        load_weights(model, file, new_head=related or MODELS[name].task == "classify")
    return model


def weights_fill(name: str, file: WeightsFile) -> bool:
    """Whether a file holds the whole of a network (a run of it, or of one of its family), not its encoder alone."""
    if file.model not in MODELS:
        return False
    return file.model == name or (MODELS[name].family is not None and MODELS[name].family == MODELS[file.model].family)


def option_names(name: str) -> list[str]:
    """The keywords that a network's constructor takes.

    Raises:
        UserError: unknown name.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return list(inspect.signature(MODELS[name].build).parameters)
