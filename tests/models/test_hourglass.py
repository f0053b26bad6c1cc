"""Stacked hourglass: the published counts, both layouts, and how stacks are joined."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.data.targets import ObjectTargets
from pixelwise.errors import UserError
from pixelwise.models.encoders import create_encoder
from pixelwise.models.pose.hourglass import Hourglass, Residual, StackedHourglass
from pixelwise.nn.heatmaps import peaks


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("stacks", "port", "authors"), [(1, 3_586_960, 3_426_448), (2, 6_730_912, 6_570_400), (8, 25_594_624, 25_434_112)]
)
def test_parameters_of_both_layouts(stacks: int, port: int, authors: int) -> None:
    with torch.device("meta"):
        network = StackedHourglass(stacks=stacks, outputs=16)
        assert count(network) == port
        network.residual2, network.residual3 = Residual(128, 128), Residual(128, 256)
        assert count(network) == authors


def test_a_picture_of_256_gives_heatmaps_of_64_from_every_stack() -> None:
    with torch.device("meta"):
        heatmaps = StackedHourglass(stacks=3, outputs=16)(torch.empty(2, 3, 256, 256))
    assert [tuple(each.shape) for each in heatmaps] == [(2, 16, 64, 64)] * 3


class TestHourglass:
    def test_reaches_its_depth_and_comes_back(self) -> None:
        sides = []
        hourglass = Hourglass(3, 4)
        for module in hourglass.modules():
            if isinstance(module, Residual):
                module.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
        assert hourglass(torch.randn(1, 4, 16, 16)).shape == (1, 4, 16, 16)
        # Down, the one at the bottom, then up; beside each step the module that keeps the resolution.
        assert sorted(sides) == [2, 2, 2, 4, 4, 4, 8, 8, 8, 16]

    def test_adds_what_the_way_down_made_upsampled_by_nearest_neighbours(self) -> None:
        """With silent residual branches every module is the identity: what is left is pooling, upsampling, addition."""
        hourglass = Hourglass(2, 4)
        for module in hourglass.modules():
            if isinstance(module, Residual):
                nn.init.zeros_(module.conv3.weight)
                nn.init.zeros_(module.conv3.bias)
        maps = torch.randn(1, 4, 8, 8)
        half = F.max_pool2d(maps, 2)
        quarter = F.max_pool2d(maps, 4)
        expected = maps + F.interpolate(half, scale_factor=2) + F.interpolate(quarter, scale_factor=4)
        assert torch.allclose(hourglass(maps), expected, atol=1e-6)


def test_a_residual_module_normalises_before_it_convolves() -> None:
    torch.manual_seed(0)
    module = Residual(4, 8).eval()
    maps = torch.randn(1, 4, 5, 5)
    nn.init.zeros_(module.bn3.weight)
    nn.init.zeros_(module.bn3.bias)
    assert torch.allclose(module(maps), module.shortcut(maps) + module.conv3.bias[:, None, None], atol=1e-6)
    # The shortcut is as it came, negative values too.
    assert module(maps).min() < 0


def test_each_stack_reads_the_heatmaps_of_the_one_before_it() -> None:
    torch.manual_seed(0)
    network = StackedHourglass(stacks=2, outputs=3, features=16, depth=2).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        first, second = network(images)
        network.stacks[0].head.bias += 1.0
        moved_first, moved_second = network(images)
        assert torch.allclose(moved_first, first + 1.0, atol=1e-5)
        assert not torch.allclose(moved_second, second, atol=1e-3)
        network.remaps[0].head.weight.zero_()
        unmoved = network(images)[1]
        network.stacks[0].head.bias -= 1.0
        assert torch.equal(network(images)[1], unmoved)


def test_a_stack_reads_what_the_one_before_it_read_made_and_predicted() -> None:
    torch.manual_seed(0)
    network = StackedHourglass(stacks=2, outputs=3, features=16, depth=2).eval()
    read: list[torch.Tensor] = []
    for stack in network.stacks:
        stack.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    with torch.no_grad():
        first, _ = network(torch.randn(1, 3, 32, 32))
        made, _ = network.stacks[0](read[0])
        remap = network.remaps[0]
        assert torch.allclose(read[1], read[0] + remap.features(made) + remap.head(first), atol=1e-6)


def test_earlier_stacks_are_auxiliary_heads_of_weight_one() -> None:
    torch.manual_seed(0)
    network = create_model("hourglass", num_classes=3, stacks=3, width=4, depth=2).eval()
    images = torch.randn(1, 3, 20, 30)
    assert network.auxiliary_weights == (1.0, 1.0)
    with torch.inference_mode():
        logits, *others = network(images, auxiliary=True)
        assert torch.equal(logits, network(images))
        assert [each.shape for each in others] == [logits.shape] * 2
        first = F.interpolate(
            network.trunk(F.pad(images, (0, 2, 0, 12), "reflect"))[0], scale_factor=4, mode="bilinear"
        )
        assert torch.allclose(others[0], first[..., :20, :30], atol=1e-6)


def test_one_small_picture_trains_although_the_bottom_of_the_hourglass_is_one_place() -> None:
    torch.manual_seed(0)
    network = create_model("hourglass", num_classes=3, width=4).train()
    logits = network(torch.randn(1, 3, 40, 40))
    assert logits.shape == (1, 3, 40, 40)
    logits.square().mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_wrong_options_are_explained() -> None:
    with pytest.raises(UserError, match="stacks 0, depth 4: an hourglass network has at least 1 of each"):
        create_model("hourglass", num_classes=3, stacks=0)


def pose_targets(keypoints: torch.Tensor) -> ObjectTargets:
    """(N, J, 3) -> one person per picture."""
    boxes = torch.zeros(len(keypoints), 1, 4)
    return ObjectTargets(boxes, torch.ones(len(keypoints), 1, dtype=torch.long), None, keypoints[:, None])


def test_every_stack_has_a_loss_and_one_batch_is_learned() -> None:
    torch.manual_seed(0)
    network = create_model("hourglass_pose", num_joints=3, stacks=2, features=16, depth=2).train()
    images = torch.randn(2, 3, 64, 64)
    keypoints = torch.tensor([[[10.0, 20, 2], [40, 50, 1], [0, 0, 0]], [[30.0, 33, 2], [5, 6, 2], [60, 2, 2]]])
    optimizer = torch.optim.RMSprop(network.parameters(), 2e-3)
    values = network.losses(images, pose_targets(keypoints))
    assert set(values) == {"stack_1", "stack_2", "loss"}
    torch.testing.assert_close(values["loss"], values["stack_1"] + values["stack_2"])
    values["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    for _ in range(150):
        optimizer.zero_grad()
        network.losses(images, pose_targets(keypoints))["loss"].backward()
        optimizer.step()
    network.train()
    found, _ = peaks(network(images)[-1])
    known = keypoints[..., 2] > 0
    assert ((4 * found - keypoints[..., :2]).abs().amax(-1)[known] <= 1.01).all(), "a quarter of a cell of 4 pixels"


@pytest.mark.parametrize("keypoints", [torch.zeros(2, 3, 3), torch.full((2, 3, 3), torch.nan)])
def test_pictures_without_a_joint_have_a_loss_of_0(keypoints: torch.Tensor) -> None:
    network = create_model("hourglass_pose", num_joints=3, stacks=1, features=8, depth=1).train()
    loss = network.losses(torch.randn(2, 3, 16, 16), pose_targets(keypoints))["loss"]
    loss.backward()
    assert float(loss) == 0.0
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    nobody = ObjectTargets(torch.zeros(2, 1, 4), torch.zeros(2, 1, dtype=torch.long))
    assert float(network.losses(torch.randn(2, 3, 16, 16), nobody)["loss"].detach()) == 0.0


def test_impossible_sizes_are_one_sentence() -> None:
    with pytest.raises(UserError, match="stacks 0, depth 4"):
        create_model("hourglass_pose", stacks=0)


def test_an_encoder_takes_the_place_of_the_first_layers() -> None:
    torch.manual_seed(0)
    network = create_model("hourglass_pose", stacks=2, features=16, depth=2, num_joints=5, encoder="mobilenet_v2")
    assert network.stride == 32  # the encoder's; hourglasses of depth 2 would need 16
    images = torch.rand(2, 3, 64, 96)
    heatmaps = network(images)
    assert [each.shape for each in heatmaps] == [(2, 5, 16, 24)] * 2
    sum(each.square().mean() for each in heatmaps).backward()
    unused = [name for name, value in network.named_parameters() if value.grad is None]
    assert unused == []
    assert not hasattr(network, "conv1")


def test_weights_fill_the_encoder_or_else_the_whole_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"stacks": 1, "features": 16, "depth": 2}
    whole = create_model("hourglass_pose", **options)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    again = create_model("hourglass_pose", **options, weights=tmp_path / "whole.safetensors")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())
    encoder = create_encoder("mobilenet_v2")
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    over = create_model("hourglass_pose", **options, encoder="mobilenet_v2", weights=tmp_path / "encoder.safetensors")
    assert torch.equal(next(over.encoder.parameters()), next(encoder.parameters()))
