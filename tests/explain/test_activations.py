"""Layers by name: what they answer, and that a network is as it was afterwards."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.explain import list_layers, maximise, outputs, project
from pixelwise.explain.activations import capture
from pixelwise.explain.layers import coarsest, first_convolution, stage_ends
from pixelwise.explain.target import channel_score, class_score


class Fails(nn.Module):
    """Raises when its last layer is reached."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.unused = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        self.norm(self.first(images))
        raise RuntimeError("out of order")


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._backward_hooks) for module in network.modules())


def state(network: nn.Module) -> list[object]:
    modes = [module.training for module in network.modules()]
    gradients = [parameter.grad is None and parameter.requires_grad for parameter in network.parameters()]
    return [modes, gradients, hooks(network)]


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, padding=1),
    )


def test_several_outputs_in_one_pass() -> None:
    network, images = small(), torch.randn(2, 3, 8, 8)
    network[1].running_mean.fill_(0.3)
    found = outputs(network, images, ["1", "2", "4"])
    network.eval()
    with torch.no_grad():
        normed = network[1](network[0](images))
    assert torch.equal(found["1"], normed)  # though the ReLU behind it works in place
    assert torch.equal(found["2"], normed.relu())
    assert torch.equal(found["4"], network(images).detach())


def test_a_network_is_as_it_was() -> None:
    network = small().train()
    network[4].weight.requires_grad_(False)
    before, tensors = state(network), copy.deepcopy(network.state_dict())
    outputs(network, torch.randn(2, 3, 8, 8), ["1"])
    project(network, torch.randn(1, 3, 8, 8), channel_score(1), rule="guided")
    maximise(network, channel_score(1), size=(8, 8), steps=2)
    assert state(network) == before
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in network.state_dict().items())


def test_hooks_are_removed_when_the_network_fails() -> None:
    network = Fails().train()
    before = state(network)
    for look in (
        lambda: outputs(network, torch.zeros(1, 3, 8, 8), ["first", "norm"]),
        lambda: list_layers(network, torch.zeros(1, 3, 8, 8)),
        lambda: project(network, torch.zeros(1, 3, 8, 8), channel_score(0), layer="first"),
        lambda: maximise(network, channel_score(0), size=(8, 8), layer="norm", steps=1),
    ):
        with pytest.raises(RuntimeError, match="out of order"):
            look()
        assert state(network) == before


def test_names_are_explained() -> None:
    network = create_model("resnet18", num_classes=2)
    with pytest.raises(UserError, match="did you mean 'layer2'"):
        outputs(network, torch.zeros(1, 3, 32, 32), ["layr2"])
    with pytest.raises(UserError, match="does not call it"), capture(Fails(), ["unused"]):
        pass


def test_layers_stand_in_the_order_in_which_they_answer() -> None:
    images = torch.zeros(1, 3, 64, 96)
    classifier = create_model("resnet18", num_classes=7)
    layers = list_layers(classifier, images)
    names = [layer.name for layer in layers]
    assert names.index("layer1") < names.index("layer2.0.conv1") < names.index("layer2") < names.index("fc")
    assert layers[-1].shape == (1, 7)
    assert sum(layer.parameters for layer in layers if not layer.within) == sum(
        p.numel() for p in classifier.parameters()
    )
    assert coarsest(classifier, layers).name == "layer4"  # type: ignore[union-attr]
    assert [layer.shape[2:] for layer in stage_ends(layers)] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    dense = create_model("unet", num_classes=3, width=4)
    assert coarsest(dense, list_layers(dense, images)).name == "down.4"  # type: ignore[union-attr]
    over = create_model("pspnet", num_classes=3, encoder="mobilenet_v2")  # its bins are coarser than its encoder's maps
    assert coarsest(over, list_layers(over.eval(), images)).name.startswith("encoder.")  # type: ignore[union-attr]
    assert first_convolution(over) is over.encoder.first_convolution()


@pytest.mark.parametrize("score", [class_score(3), channel_score(3), channel_score(0, 9)])
def test_classes_and_channels_that_are_not_there(score: object) -> None:
    with pytest.raises(UserError, match="0 to 2 expected"):
        score(torch.zeros(2, 3, 4, 4))  # type: ignore[operator]


def test_the_score_of_a_segmentation_class() -> None:
    logits = torch.tensor([[[[3.0, 1.0]], [[0.0, 5.0]]], [[[1.0, 1.0]], [[0.0, 0.0]]]])  # (2, 2, 1, 2)
    # The second picture has no pixel of class 1: there all of them count.
    assert class_score(1)(logits).tolist() == [5.0, 0.0]
    assert class_score(0)(logits).tolist() == [3.0, 1.0]
    region = torch.tensor([[True, False]])
    assert class_score(1, region=region)(logits).tolist() == [0.0, 0.0]
    assert channel_score(0)(logits).tolist() == [2.0, 1.0]
    assert channel_score(1, 0)(logits).tolist() == [2.5, 1.0]
    assert channel_score(1, 0)(logits[:, :, 0, 0]).tolist() == [0.0, 1.0]
