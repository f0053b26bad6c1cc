"""Feature pyramids: every encoder, every level, and what merging predictions is the same as."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.models.classify.table import ENCODERS
from pixelwise.models.segment.fpn import FeaturePyramid, SemanticBranch


@pytest.mark.parametrize("model", ["fpn", "unet_fpn"])
@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_every_encoder(model: str, encoder: str) -> None:
    with torch.device("meta"):
        network = create_model(model, num_classes=3, encoder=encoder)
        assert network(torch.empty(2, 3, 33, 47)).shape == (2, 3, 33, 47)
    assert network.stride == 32


def test_semantic_fpn_has_levels_from_stride_4_on() -> None:
    with torch.device("meta"):
        resnet, vgg = (create_model("fpn", num_classes=2, encoder=name) for name in ("resnet50", "vgg16"))
    assert resnet.levels == {1: 4, 2: 8, 3: 16, 4: 32}
    assert vgg.levels == {2: 4, 3: 8, 4: 16, 5: 32}
    # Figure 3 of Kirillov et al.: 128 channels; three, two and one upsampling, and one convolution alone.
    convolutions = [[m for m in branch if isinstance(m, nn.Conv2d)] for branch in resnet.branches]
    upsamplings = [sum(isinstance(m, nn.Upsample) for m in branch) for branch in resnet.branches]
    assert [len(each) for each in convolutions] == [1, 1, 2, 3]
    assert upsamplings == [0, 1, 2, 3]
    assert {each.out_channels for branch in convolutions for each in branch} == {128}
    assert {m.num_groups for m in resnet.branches.modules() if isinstance(m, nn.GroupNorm)} == {32}


def test_each_level_of_the_pyramid_knows_the_coarser_ones_and_not_the_finer() -> None:
    torch.manual_seed(0)
    pyramid = FeaturePyramid([2, 3, 4], 8)
    maps = [torch.randn(1, channels, 16 // 2**level, 16 // 2**level) for level, channels in enumerate((2, 3, 4))]
    before = pyramid(maps)
    assert [tuple(each.shape) for each in before] == [(1, 8, 16, 16), (1, 8, 8, 8), (1, 8, 4, 4)]
    for changed in range(3):
        others = [each + (level == changed) for level, each in enumerate(maps)]
        differs = [not torch.allclose(one, other) for one, other in zip(before, pyramid(others), strict=True)]
        assert differs == [level <= changed for level in range(3)]


def test_top_down_is_nearest_upsampling_and_addition() -> None:
    pyramid = FeaturePyramid([1, 1], 1)
    for convolution in pyramid.lateral:
        nn.init.ones_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    for convolution in pyramid.smooth:
        nn.init.dirac_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    fine, coarse = torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[[[100.0, 200.0], [300.0, 400.0]]]])
    merged, top = pyramid([fine, coarse])
    assert torch.equal(top, coarse)
    assert merged[0, 0].tolist() == [
        [100, 101, 202, 203],
        [104, 105, 206, 207],
        [308, 309, 410, 411],
        [312, 313, 414, 415],
    ]


@pytest.mark.parametrize("halvings", [0, 1, 3])
def test_a_branch_brings_its_level_to_the_finest_size(halvings: int) -> None:
    maps = SemanticBranch(8, 4, halvings=halvings)(torch.randn(1, 8, 3, 5))
    assert maps.shape == (1, 4, 3 * 2**halvings, 5 * 2**halvings)
    assert maps.min() >= 0


def test_summed_predictions_are_one_prediction_from_all_levels_side_by_side() -> None:
    torch.manual_seed(0)
    network = create_model("unet_fpn", num_classes=3, encoder="mobilenet_v2", decoder_channels=(16, 8, 8, 4, 4)).eval()
    images = torch.randn(1, 3, 64, 96)
    kept: list[Tensor] = []
    for block in network.decoder:
        block.register_forward_hook(lambda module, inputs, output: kept.append(output.clone()))
    with torch.inference_mode():
        logits = network(images)
        joined: Tensor | None = None
        for maps in kept:  # coarsest first: twofold from level to level
            joined = (
                maps if joined is None else torch.cat([F.interpolate(joined, scale_factor=2, mode="bilinear"), maps], 1)
            )
        weight = torch.cat([head.weight for head in network.head], dim=1)
        bias = torch.stack([head.bias for head in network.head]).sum(0)
        assert torch.allclose(logits, F.conv2d(joined, weight, bias), atol=1e-4 * float(logits.std()))


@pytest.mark.parametrize("blocks", [1, 3])
def test_fewer_decoder_blocks_give_logits_at_the_same_size(blocks: int) -> None:
    network = create_model("unet_fpn", num_classes=2, encoder="mobilenet_v2", decoder_channels=(4,) * blocks).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 50, 70)).shape == (1, 2, 50, 70)


def test_wrong_options_are_explained() -> None:
    with pytest.raises(UserError, match=r"width 20: .*multiple of 8"):
        create_model("fpn", num_classes=2, encoder="resnet18", width=20)
