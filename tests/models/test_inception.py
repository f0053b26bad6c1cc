"""Inception v3: table 1 of the paper, its maps on their grids, its dilated form, the auxiliary head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.models.classify.googlenet import ConvNormReLU
from pixelwise.models.classify.inception import InceptionV3
from pixelwise.models.convert import fully_convolutional


def own_maps(network: InceptionV3, images: Tensor) -> list[Tensor]:
    """What the stages hand on, before anything is brought to a grid."""
    maps = [images]
    for stage in network.stages():
        maps.append(stage(maps[-1]))
    return maps[1:]


def tiny(**options: object) -> InceptionV3:
    torch.manual_seed(0)
    return InceptionV3(**{"num_classes": 3, "width": 4, **options}).eval()


def test_sizes_of_table_1() -> None:
    """Those of the paper, but for the order of convolution and pooling between 73 and 35 places."""
    expected = [
        [(32, 149, 149), (32, 147, 147), (64, 147, 147)],
        [(64, 73, 73), (80, 73, 73), (192, 71, 71)],
        [(192, 35, 35), (256, 35, 35), (288, 35, 35), (288, 35, 35)],
        [(768, 17, 17)] * 5,
        [(1280, 8, 8), (2048, 8, 8), (2048, 8, 8)],
    ]
    with torch.device("meta"):
        network = InceptionV3()
        maps = torch.empty(1, 3, 299, 299)
        found = []
        for stage in network.stages():
            found.append([])
            for block in stage:
                maps = block(maps)
                found[-1].append(tuple(maps.shape[1:]))
    assert found == expected


@torch.no_grad()
def test_maps_move_with_the_picture() -> None:
    network = tiny(num_classes=0)
    images = torch.randn(1, 3, 320, 320)
    triples = list(
        zip(network.pyramid(images), network.pyramid(images[..., 32:, 64:]), network.feature_strides, strict=True)
    )
    for whole, part, stride in triples[:3]:  # those behind see further than this picture
        whole = whole[..., 32 // stride :, 64 // stride :]
        inner = slice(96 // stride, -96 // stride)
        assert part[..., inner, inner].numel() > 0
        assert torch.allclose(whole[..., inner, inner], part[..., inner, inner], atol=1e-5)


@torch.no_grad()
def test_what_the_maps_lack_is_shared_out_to_both_sides() -> None:
    network = tiny(num_classes=0)
    images = torch.randn(1, 3, 160, 192)
    lacking = [3, 4, 3, 2, 2]
    for own, given, lacks in zip(own_maps(network, images), network.pyramid(images), lacking, strict=True):
        assert given.shape[-1] - own.shape[-1] == lacks
        if lacks % 2 == 0:
            side = lacks // 2
            assert torch.equal(given[..., side:-side, side:-side], own)
            assert torch.equal(given[..., 0, side:-side], own[..., 0, :])


def test_strides_and_rates_of_the_dilated_network() -> None:
    for output_stride, (sixth, seventh) in {16: (1, 2), 8: (2, 4)}.items():
        with torch.device("meta"):
            network = InceptionV3(num_classes=0)
        network.dilate(output_stride)
        first = 1 if output_stride == 16 else 2  # the rate behind 6a, on which 7a still reads
        convolutions = {key: m for key, m in network.named_modules() if isinstance(m, nn.Conv2d)}
        for key, module in convolutions.items():
            wide = max(module.kernel_size) > 1
            if key.startswith(("Conv2d", "Mixed_5", "Mixed_6a")) or not wide:
                rate = 1
            elif key.startswith("Mixed_6"):
                rate = sixth
            else:
                rate = first if key.startswith("Mixed_7a") else seventh
            assert max(module.dilation) == rate, key
        strided = {key for key, module in convolutions.items() if max(module.stride) > 1}
        assert strided == {"Conv2d_1a_3x3.conv"} | (
            {"Mixed_6a.branch3x3.conv", "Mixed_6a.branch3x3dbl_3.conv"} if output_stride == 16 else set()
        )


@torch.no_grad()
@pytest.mark.parametrize("twice", [False, True])
def test_a_dilated_network_reads_the_same_weights_at_more_places(twice: bool) -> None:
    """Average pooling has no dilation, so it is taken out of both; the maximum of 7a reads what it read."""
    images = torch.randn(1, 3, 235, 267, dtype=torch.float64)
    plain, dilated = tiny(num_classes=0).double(), tiny(num_classes=0).double()
    for network in (plain, dilated):
        for module in network.modules():
            if isinstance(module, nn.AvgPool2d):
                module.kernel_size, module.padding = 1, 0
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
    plain.train()
    own_maps(plain, images)  # batch norms know their inputs, so that every branch counts
    plain.eval()
    dilated.load_state_dict(plain.state_dict())
    dilated.dilate(16)
    if twice:
        dilated.dilate(16)
    old, new = own_maps(plain, images)[-1], own_maps(dilated, images)[-1]
    assert old.std() > 0.1
    # An odd number of places before 7a: beyond the last there is nothing in either network.
    assert [size % 2 for size in new.shape[-2:]] == [1, 1]
    assert torch.allclose(new[..., 1::2, 1::2], old, atol=1e-9)


def test_the_auxiliary_head_has_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        network = InceptionV3(auxiliary=True)
        logits, auxiliary = network(torch.empty(2, 3, 299, 299), auxiliary=True)
    assert logits.shape == auxiliary.shape == (2, 1000)
    assert network.auxiliary_weights == (0.4,)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items() if key.endswith("weight")}
    assert {key: shape for key, shape in shapes.items() if key.startswith("AuxLogits")} == {
        "AuxLogits.conv0.conv.weight": (128, 768, 1, 1),
        "AuxLogits.conv0.bn.weight": (128,),
        "AuxLogits.conv1.conv.weight": (768, 128, 5, 5),
        "AuxLogits.conv1.bn.weight": (768,),
        "AuxLogits.fc.weight": (1000, 768),
    }


@torch.no_grad()
def test_the_auxiliary_head_reads_the_last_map_of_stride_16() -> None:
    network = tiny(auxiliary=True)
    images = torch.randn(1, 3, 299, 299)
    before = network(images, auxiliary=True)
    assert torch.equal(before[0], network(images))
    changed = []
    for block in (network.Mixed_6e, network.Mixed_7a):
        state = {key: value.clone() for key, value in block.state_dict().items()}
        for parameter in block.parameters():
            parameter.mul_(1.5)
        after = network(images, auxiliary=True)
        changed.append([not torch.equal(a, b) for a, b in zip(before, after, strict=True)])
        block.load_state_dict(state)
    assert changed == [[True, True], [True, False]]


def test_one_picture_in_training_even_where_its_map_is_one_place() -> None:
    assert torch.isfinite(tiny().train()(torch.randn(1, 3, 75, 75))).all()


def test_published_weights_normalise_with_an_epsilon_of_a_thousandth() -> None:
    norms = [module.bn for module in tiny().modules() if isinstance(module, ConvNormReLU)]
    assert len(norms) == 94
    assert {norm.eps for norm in norms} == {0.001}


@torch.no_grad()
def test_as_a_convolution_it_gives_the_same_logits() -> None:
    network = create_model("inception_v3", num_classes=6, width=4).eval()
    converted = fully_convolutional(network, 107)
    images = torch.randn(1, 3, 107, 107)
    assert torch.allclose(converted(images)[..., 0, 0], network(images), atol=1e-5)
    assert converted.stride == (32, 32)
