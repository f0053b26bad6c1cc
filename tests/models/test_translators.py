"""pix2pix and CycleGAN: exact sizes, any picture size, the same output in training and evaluation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.models.translate.cyclegan import CycleGAN, ResNetGenerator
from pixelwise.models.translate.patchgan import PatchGAN
from pixelwise.models.translate.pix2pix import Pix2Pix, UNetGenerator

SIZES = [(1, 1), (33, 47), (3, 70), (64, 64), (101, 101)]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_sizes_of_the_parts() -> None:
    with torch.device("meta"):
        pix2pix, cyclegan = create_model("pix2pix"), create_model("cyclegan")
        assert count(pix2pix.generator) == 54_413_955
        assert count(create_model("pix2pix", depth=7).generator) == 41_828_995
        assert count(pix2pix.discriminator) == 2_768_705
        assert [count(cyclegan.generator_a), count(cyclegan.generator_b)] == [11_378_179] * 2
        assert [count(cyclegan.discriminator_a), count(cyclegan.discriminator_b)] == [2_764_737] * 2
        assert count(create_model("cyclegan", blocks=6).generator_b) == 7_837_699


def test_tensors_have_the_names_and_shapes_of_the_published_weights() -> None:
    with torch.device("meta"):
        unet = UNetGenerator(3, 3, depth=8, width=64, dropout=0.5).state_dict()
        resnet = ResNetGenerator(3, 3, blocks=9, width=64).state_dict()
        patch = PatchGAN(6, affine=True).state_dict()
    innermost = "model.model" + ".1.model" + 6 * ".3.model"
    assert unet["model.model.0.weight"].shape == (64, 3, 4, 4)
    assert unet["model.model.3.weight"].shape == (128, 3, 4, 4)
    assert unet[f"{innermost}.1.weight"].shape == (512, 512, 4, 4)
    assert unet[f"{innermost}.4.weight"].shape == (512,)
    assert unet["model.model.1.model.5.weight"].shape == (256, 64, 4, 4)
    assert resnet["model.1.weight"].shape == (64, 3, 7, 7)
    assert resnet["model.10.conv_block.5.weight"].shape == (256, 256, 3, 3)
    assert resnet["model.26.bias"].shape == (3,)
    assert patch["model.11.weight"].shape == (1, 512, 4, 4)
    assert patch["model.3.weight"].shape == (128,)


def test_a_u_net_of_two_levels_by_hand() -> None:
    """As in the published networks, a skip connection carries the maps after the leaky ReLU of the next level."""
    torch.manual_seed(0)
    network = UNetGenerator(3, 2, depth=2, width=4, dropout=0.0)
    for parameter in network.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    weights = dict(network.named_parameters())
    images = torch.randn(1, 3, 12, 8)
    first = F.conv2d(images, weights["model.model.0.weight"], stride=2, padding=1)
    activated = F.leaky_relu(first, 0.2)
    second = F.conv2d(activated, weights["model.model.1.model.1.weight"], stride=2, padding=1)
    raised = F.conv_transpose2d(second.relu(), weights["model.model.1.model.3.weight"], stride=2, padding=1)
    shift = weights["model.model.1.model.4.weight"], weights["model.model.1.model.4.bias"]
    skipped = torch.cat([activated, F.instance_norm(raised, weight=shift[0], bias=shift[1])], 1)
    last = weights["model.model.3.weight"], weights["model.model.3.bias"]
    wanted = F.conv_transpose2d(skipped.relu(), *last, stride=2, padding=1).tanh()
    torch.testing.assert_close(network(images), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_any_size_keep_it(size: tuple[int, int]) -> None:
    pix2pix = create_model("pix2pix", in_channels=2, out_channels=4, depth=4, width=4).eval()
    cyclegan = create_model("cyclegan", in_channels=2, out_channels=1, blocks=1, width=4).eval()
    images = torch.randn(2, 2, *size)
    with torch.no_grad():
        assert pix2pix(images).shape == (2, 4, *size)
        assert cyclegan(images).shape == (2, 1, *size)
        assert cyclegan.generator_b(cyclegan(images)).shape == (2, 2, *size)
        assert min(cyclegan.discriminator_a(cyclegan(images)).shape) >= 1


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_training_and_evaluation_agree_and_pictures_do_not_see_each_other(name: str) -> None:
    """No dropout in this network, so that only norms could differ between the modes."""
    options = {"depth": 3, "width": 4, "dropout": 0.0} if name == "pix2pix" else {"blocks": 2, "width": 4}
    torch.manual_seed(0)
    network = create_model(name, **options)
    images = torch.randn(3, 3, 40, 24)
    with torch.no_grad():
        trained, evaluated = network.train()(images), network.eval()(images)
        alone = torch.cat([network(image) for image in images.split(1)])
    assert torch.equal(trained, evaluated)
    torch.testing.assert_close(alone, evaluated, atol=1e-5, rtol=1e-5)
    assert not any("running" in key for key in network.state_dict())


def test_dropout_acts_in_training_only_and_translations_repeat() -> None:
    torch.manual_seed(0)
    network = create_model("pix2pix", depth=6, width=4)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(network.train()(images), network(images))
        assert torch.equal(network.eval()(images), network(images))
    assert sum(isinstance(module, nn.Dropout) for module in Pix2Pix(width=4).modules()) == 3  # as in the paper


def test_weights_begin_as_in_the_papers() -> None:
    torch.manual_seed(0)
    for network in (Pix2Pix(depth=5, width=8), CycleGAN(blocks=1, width=8)):
        layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
        assert abs(float(weights.std()) - 0.02) < 5e-4
        assert abs(float(weights.mean())) < 5e-4


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_a_gradient_reaches_every_parameter_of_the_generators_and_judges(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, **({"depth": 3, "width": 4} if name == "pix2pix" else {"blocks": 1, "width": 4}))
    images = torch.randn(1, 3, 40, 40)
    if name == "pix2pix":
        made = network(images)
        loss = network.discriminator(torch.cat([images, made], 1)).square().mean()
    else:
        b, a = network.generator_a(images), network.generator_b(images)
        loss = network.discriminator_a(b).square().mean() + network.discriminator_b(a).square().mean()
    loss.backward()
    # A bias before a norm without batch statistics is subtracted again, so its gradient is 0 up to rounding.
    unreached = [key for key, value in network.named_parameters() if value.grad is None]
    assert not unreached
    assert all(float(value.grad.abs().sum()) > 0 for key, value in network.named_parameters() if value.dim() > 1)  # type: ignore[union-attr]


def test_a_pixel_of_the_resnet_depends_on_nothing_beyond_its_reach() -> None:
    """Norms are held, since their statistics depend on every pixel."""
    network = ResNetGenerator(1, 1, blocks=1, width=2).double().eval()
    for module in network.modules():
        if hasattr(module, "_held"):
            module._held = (torch.zeros(module.channels), torch.ones(module.channels))
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.01, 0.05)  # no ReLU is closed
    side = 2 * network.reach + 9
    images = torch.rand(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    middle = side // 2
    network(images)[0, 0, middle, middle].backward()
    seen = images.grad[0, 0].abs().sum(0).nonzero().flatten()  # type: ignore[index]
    assert middle - network.reach <= int(seen.min())
    assert int(seen.max()) <= middle + network.reach
    assert int(seen.max()) - int(seen.min()) > network.reach  # and the bound is not far off


def test_wrong_options_are_explained() -> None:
    with pytest.raises(UserError, match="unknown direction 'a-b'; did you mean 'a-to-b'"):
        create_model("pix2pix", direction="a-b")
    with pytest.raises(UserError, match="trained to translate a-to-b, not b-to-a"):
        create_model("pix2pix", depth=3, width=4).generator_for("b-to-a")
    with pytest.raises(UserError, match="depth: found 1, expected at least 2"):
        create_model("pix2pix", depth=1)
    with pytest.raises(UserError, match="two rising numbers"):
        create_model("cyclegan", target_range=(3.0, 3.0))


def test_one_pair_is_learned() -> None:
    torch.manual_seed(0)
    network = create_model("pix2pix", depth=4, width=8, dropout=0.0)
    images = (torch.rand(1, 3, 8, 8) * 2 - 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    wanted = images.flip(1) * 0.8
    optimizer = torch.optim.Adam(network.generator.parameters(), 3e-3)
    losses = []
    for _ in range(120):
        loss = (network(images) - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_gradients_in_bfloat16_are_those_of_float32(name: str) -> None:
    """Those of every convolution, as trained: autocast, channels last."""
    torch.manual_seed(0)
    options = {"depth": 4, "width": 16, "dropout": 0.0} if name == "pix2pix" else {"blocks": 2, "width": 16}
    generator = create_model(name, **options).generator_for("a-to-b").to(memory_format=torch.channels_last)
    images = torch.randn(1, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    wanted = torch.rand(1, 3, 64, 64) * 2 - 1
    weights = {key: value for key, value in generator.named_parameters() if value.dim() == 4}
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            made = generator(images)
        found.append(torch.autograd.grad((made.float() - wanted).square().mean(), list(weights.values())))
    for key, expected, gradient in zip(weights, *found, strict=True):
        one, other = (each.double().flatten() / each.double().norm() for each in (expected, gradient))
        assert float(one @ other) > 0.9, f"{key}: {float(one @ other)}"
