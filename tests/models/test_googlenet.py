"""GoogLeNet: table 1 of the paper, and the auxiliary heads."""

from __future__ import annotations

import torch

from pixelwise.catalog import create_model
from pixelwise.models.classify.googlenet import GoogLeNet
from pixelwise.models.convert import fully_convolutional


def test_sizes_of_table_1() -> None:
    expected = [
        [(64, 112, 112)],
        [(64, 56, 56), (64, 56, 56), (192, 56, 56)],
        [(192, 28, 28), (256, 28, 28), (480, 28, 28)],
        [(480, 14, 14), (512, 14, 14), (512, 14, 14), (512, 14, 14), (528, 14, 14), (832, 14, 14)],
        [(832, 7, 7), (832, 7, 7), (1024, 7, 7)],
    ]
    with torch.device("meta"):
        network = GoogLeNet()
        maps = torch.empty(1, 3, 224, 224)
        found = []
        for stage in network.stages():
            found.append([])
            for block in stage:
                maps = block(maps)
                found[-1].append(tuple(maps.shape[1:]))
    assert found == expected


def test_auxiliary_heads_have_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        network = GoogLeNet(auxiliary=True)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items() if value.is_floating_point()}
    for name, channels in (("aux1", 512), ("aux2", 528)):
        assert {key.removeprefix(f"{name}."): shape for key, shape in shapes.items() if key.startswith(name)} == {
            "conv.conv.weight": (128, channels, 1, 1),
            "conv.bn.weight": (128,),
            "conv.bn.bias": (128,),
            "conv.bn.running_mean": (128,),
            "conv.bn.running_var": (128,),
            "fc1.weight": (1024, 2048),
            "fc1.bias": (1024,),
            "fc2.weight": (1000, 1024),
            "fc2.bias": (1000,),
        }


@torch.no_grad()
def test_the_first_head_reads_4a_and_the_second_4d() -> None:
    torch.manual_seed(0)
    network = GoogLeNet(num_classes=3, width=8, auxiliary=True).eval()
    images = torch.randn(2, 3, 64, 64)
    before = network(images, auxiliary=True)
    assert torch.equal(before[0], network(images))
    changed = []
    for block in (network.inception4a, network.inception4b, network.inception4d, network.inception4e):
        state = {key: value.clone() for key, value in block.state_dict().items()}
        for parameter in block.parameters():
            parameter.mul_(1.5)
        after = network(images, auxiliary=True)
        changed.append([not torch.equal(a, b) for a, b in zip(before, after, strict=True)])
        block.load_state_dict(state)
    assert changed == [[True, True, True], [True, False, True], [True, False, True], [True, False, False]]


def test_one_picture_in_training_even_where_its_map_is_one_place() -> None:
    torch.manual_seed(0)
    network = GoogLeNet(num_classes=3, width=8).train()
    assert torch.isfinite(network(torch.randn(1, 3, 32, 32))).all()


@torch.no_grad()
def test_as_a_convolution_it_gives_the_same_logits() -> None:
    torch.manual_seed(0)
    network = create_model("googlenet", num_classes=6, width=8).eval()
    converted = fully_convolutional(network, 96)
    images = torch.randn(1, 3, 96, 96)
    assert torch.allclose(converted(images)[..., 0, 0], network(images), atol=1e-5)
    assert converted(torch.randn(1, 3, 128, 192)).shape == (1, 6, 2, 4)
