"""timm's names of tensors as torchvision's: a network's tensors, written under timm's names, come back bitwise."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from pixelwise.catalog import create_model
from pixelwise.models.timm_names import torchvision_names
from pixelwise.models.weights import load_weights


def timm_mobilenet(name: str) -> str:
    """timm's name of a tensor of a MobileNetV2, from torchvision's: `EfficientNet` in timm/models/efficientnet.py."""
    stages = (1, 2, 3, 4, 3, 3, 1)
    kind = name.rpartition(".")[2]
    if name.startswith("features.0."):
        return f"{'conv_stem' if '.0.0.' in name else 'bn1'}.{kind}"
    if name.startswith("features.18."):
        return f"{'conv_head' if '.18.0.' in name else 'bn2'}.{kind}"
    if name.startswith("classifier."):
        return f"classifier.{kind}"
    match = re.fullmatch(r"features\.(\d+)\.conv\.([\d.]+)\.\w+", name)
    assert match is not None
    number, stage = int(match[1]) - 1, 0
    while number >= stages[stage]:
        number, stage = number - stages[stage], stage + 1
    if stage == 0:  # DepthwiseSeparableConv
        layer = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}[match[2]]
    else:  # InvertedResidual
        layer = {
            "0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3",
        }[match[2]]  # fmt: skip
    return f"blocks.{stage}.{number}.{layer}.{kind}"


def test_mobilenet_v2(tmp_path: Path) -> None:
    state = create_model("mobilenet_v2").state_dict()
    renamed = {timm_mobilenet(name): tensor for name, tensor in state.items()}
    assert len(renamed) == len(state)
    assert {"blocks.0.0.conv_pw.weight", "blocks.6.0.bn3.running_var", "classifier.bias"} <= renamed.keys()
    back = torchvision_names(renamed)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())

    save_file(renamed, tmp_path / "mobilenetv2_100.ra_in1k.safetensors")
    other = create_model("mobilenet_v2")
    report = load_weights(other, tmp_path / "mobilenetv2_100.ra_in1k.safetensors")
    assert not report.kept
    assert not report.unused
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in state.items())


def test_fully_connected_layers_of_vgg() -> None:
    state = create_model("vgg11", width=4, num_classes=5).state_dict()
    names = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}

    def timm(name: str, tensor: Tensor) -> tuple[str, Tensor]:
        layer, _, kind = name.rpartition(".")
        if kind == "weight" and layer == "classifier.0":
            tensor = tensor.view(len(tensor), -1, 7, 7)
        elif kind == "weight" and layer == "classifier.3":
            tensor = tensor[:, :, None, None]
        return f"{names.get(layer, layer)}.{kind}", tensor

    renamed = dict(timm(name, tensor) for name, tensor in state.items())
    assert renamed.keys() != state.keys()
    back = torchvision_names(renamed)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_others_keep_their_names() -> None:
    state = create_model("resnet18", num_classes=2).state_dict()
    assert torchvision_names(state).keys() == state.keys()
