"""What every network of the catalog must do, tested once for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pixelwise.data.pictures import PictureFormat
from pixelwise.errors import UserError
from pixelwise.catalog import MODELS, create_model, list_models
from pixelwise.models.classify.table import ENCODERS
from pixelwise.models.facts import network_facts
from pixelwise.models.segment.unet import EncoderUNet
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.encoder import Classifier

# Exact counts at paper size: (name, options) -> parameters.
PAPER_SIZES: list[tuple[str, dict[str, Any], int]] = [
    ("alexnet", {}, 61_100_840),
    ("cut", {}, 2_274_138),
    ("deeplab_v1", {"num_classes": 21}, 20_505_429),
    ("deeplab_v3", {"num_classes": 21}, 39_638_869),
    ("deeplab_v3", {"num_classes": 21, "output_stride": 8, "auxiliary": True}, 42_004_074),
    ("deeplab_v3plus", {"num_classes": 21}, 26_696_133),
    ("densenet121", {}, 7_978_856),
    ("densenet161", {}, 28_681_000),
    ("densenet169", {}, 14_149_480),
    ("densenet201", {}, 20_013_928),
    ("dilated", {"num_classes": 21, "context": None}, 134_346_581),
    ("dilated", {"num_classes": 21, "context": "basic"}, 134_346_581 + 28_392),
    ("dilated", {"num_classes": 21, "context": "large"}, 134_346_581 + 6_803_139),
    ("fcn16s", {"num_classes": 21}, 134_815_994),
    ("fcn32s", {"num_classes": 21}, 136_152_917),
    ("fcn8s", {"num_classes": 21}, 134_489_759),
    ("fpn", {"num_classes": 21}, 28_478_933),
    ("googlenet", {}, 6_624_904),
    ("googlenet", {"auxiliary": True}, 13_004_888),
    ("hourglass", {"num_classes": 16, "stacks": 1}, 3_586_960),
    ("hourglass", {"num_classes": 16, "stacks": 2}, 6_730_912),
    ("hourglass", {"num_classes": 16, "stacks": 8}, 25_594_624),
    ("localizer", {"num_classes": 1000}, 68_321_836),
    ("inception_v3", {}, 23_834_568),
    ("inception_v3", {"auxiliary": True}, 27_161_264),
    ("lenet5", {}, 61_706),
    ("mlp", {}, 636_010),
    ("mobilenet_v2", {}, 3_504_872),
    ("overfeat_accurate", {}, 144_656_488),
    ("overfeat_accurate", {"regression": True}, 144_656_488 + 109_061_124),
    ("overfeat_fast", {}, 145_920_872),
    ("overfeat_fast", {"regression": True}, 145_920_872 + 155_198_468),
    ("overfeat_small", {"regression": True}, 370_888 + 181_124),
    ("pspnet", {"num_classes": 21}, 46_592_597),
    ("pspnet", {"num_classes": 21, "auxiliary": True}, 48_957_802),
    ("resnet18", {}, 11_689_512),
    ("resnet34", {}, 21_797_672),
    ("resnet50", {}, 25_557_032),
    ("resnet101", {}, 44_549_160),
    ("resnet152", {}, 60_192_808),
    ("unet", {"num_classes": 11}, 31_038_283),
    ("unet", {"num_classes": 11, "batch_norm": False}, 31_032_395),
    ("segnet", {"num_classes": 11}, 29_449_355),
    ("deconvnet", {"num_classes": 21}, 251_805_653),
    ("unet_fpn", {"num_classes": 21}, 32_531_481),
    ("linknet", {"num_classes": 11}, 11_535_659),
    ("ternausnet", {"num_classes": 1}, 22_927_393),
    ("unet_original", {"in_channels": 1, "num_classes": 2}, 31_030_658),
    ("vgg11", {}, 132_863_336),
    ("vgg11_bn", {}, 132_868_840),
    ("vgg13", {}, 133_047_848),
    ("vgg13_bn", {}, 133_053_736),
    ("vgg16", {}, 138_357_544),
    ("vgg16_bn", {}, 138_365_992),
    ("vgg19", {}, 143_667_240),
    ("vgg19_bn", {}, 143_678_248),
    ("xception", {}, 39_916_312),
]
# Options that make each network small enough to train here in a moment.
TINY: dict[str, dict[str, Any]] = {
    "alexnet": {"width": 4},
    "cut": {"network": "resnet18", "layer": "layer2.0", "head": []},
    "deeplab_v1": {"width": 4},
    "deeplab_v3": {"encoder": "mobilenet_v2", "width": 32},
    "deeplab_v3plus": {"encoder": "mobilenet_v2", "width": 32},
    "densenet121": {"growth_rate": 4},
    "densenet161": {"growth_rate": 4},
    "densenet169": {"growth_rate": 4},
    "densenet201": {"growth_rate": 4},
    "dilated": {"width": 4},
    "fcn16s": {"width": 4},
    "fcn32s": {"width": 4},
    "fcn8s": {"width": 4},
    "fpn": {"encoder": "vgg11", "width": 32},
    "googlenet": {"width": 8},
    "hourglass": {"width": 8, "depth": 3},
    "inception_v3": {"width": 4},
    "lenet5": {"in_channels": 3},
    "localizer": {"encoder": "mobilenet_v2", "hidden": (32, 16), "pool": 2},
    "mlp": {"in_channels": 3, "size": (10, 12), "hidden": (16,)},
    "mobilenet_v2": {},
    "overfeat_accurate": {"width": 6, "regression": True},
    "overfeat_fast": {"width": 6, "regression": True},
    "overfeat_small": {"width": 6, "regression": True},
    "pspnet": {"encoder": "mobilenet_v2"},
    "patch": {"width": 6, "hidden": 12},
    "resnet18": {},
    "resnet34": {},
    "resnet50": {},
    "resnet101": {},
    "resnet152": {},
    "unet": {"width": 8},
    "segnet": {"width": 4},
    "deconvnet": {"width": 8},
    "unet_fpn": {"encoder": "vgg11", "decoder_channels": (16, 8, 8, 8, 8)},
    "linknet": {},
    "ternausnet": {"width": 8},
    "unet_original": {"width": 8, "in_channels": 3},
    "vgg11": {"width": 4},
    "vgg11_bn": {"width": 4},
    "vgg13": {"width": 4},
    "vgg13_bn": {"width": 4},
    "vgg16": {"width": 4},
    "vgg16_bn": {"width": 4},
    "vgg19": {"width": 4},
    "vgg19_bn": {"width": 4},
    "xception": {"width": 4, "middle": 2},
}
CLASSES = 5
DENSE = list_models("segment")


def tiny(name: str) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, num_classes=CLASSES, **TINY[name])


@pytest.mark.parametrize(("name", "options", "count"), PAPER_SIZES, ids=lambda value: str(value))
def test_parameters_at_paper_size(name: str, options: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        network = create_model(name, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_every_network_is_in_this_suite() -> None:
    assert set(TINY) == set(MODELS)


@pytest.mark.parametrize("name", DENSE)
class TestDense:
    @pytest.mark.parametrize(("height", "width"), [(33, 47), (1, 1), (3, 70), (32, 32)])
    def test_logits_at_the_input_size(self, name: str, height: int, width: int) -> None:
        network = tiny(name).eval()
        with torch.inference_mode():
            assert network(torch.randn(2, 3, height, width)).shape == (2, CLASSES, height, width)

    def test_batch_of_one_in_training(self, name: str) -> None:
        assert torch.isfinite(tiny(name).train()(torch.randn(1, 3, 40, 40))).all()

    def test_one_batch_is_learned_and_a_gradient_reaches_every_parameter(self, name: str) -> None:
        network = tiny(name).train()
        # Blocks of 16 pixels: what the coarsest logits (an eighth of the resolution, upsampled) can draw.
        images = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(6))
        images = images.repeat_interleave(16, 2).repeat_interleave(16, 3)
        target = (images[:, 0] > 0).long() + (images[:, 1] > 0)
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
        losses = []
        for step in range(80):
            loss = nn.functional.cross_entropy(network(images), target)
            optimizer.zero_grad()
            loss.backward()
            if step == 0:
                unreached = [
                    key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
                ]
                assert not unreached
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.35 * losses[0]

    def test_gradients_in_bfloat16_are_those_of_float32(self, name: str) -> None:
        """Every convolution's, as trained: autocast, channels last. Kernels of processors have been wrong before."""
        network = tiny(name).eval().to(memory_format=torch.channels_last)
        images = torch.randn(2, 3, 96, 96).contiguous(memory_format=torch.channels_last)
        weights = {key: p for key, p in network.named_parameters() if p.dim() == 4}
        found = []
        for dtype in (torch.float32, torch.bfloat16):
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                loss = network(images).float().square().mean()
            found.append(torch.autograd.grad(loss, list(weights.values())))
        for key, expected, gradient in zip(weights, *found, strict=True):
            one, other = (each.double().flatten() / each.double().norm() for each in (expected, gradient))
            assert float(one @ other) > 0.9, f"{key}: {float(one @ other)}"

    def test_weights_of_a_run_with_other_classes_fill_all_but_the_heads(self, name: str, tmp_path: Path) -> None:
        trained = tiny(name)
        options = {**TINY[name], "num_classes": CLASSES}
        names = tuple(map(str, range(CLASSES)))
        spec = ModelSpec(name, options, names, PictureFormat(3, "uint8"), (0.0,) * 3, (1.0,) * 3)
        save_model(tmp_path / "run.safetensors", trained.state_dict(), spec)
        new = create_model(name, weights=str(tmp_path / "run.safetensors"), **{**options, "num_classes": CLASSES + 2})
        before, after = trained.state_dict(), new.state_dict()
        assert before.keys() == after.keys()
        heads = {key for key in before if set(key.split(".")) & set(new.heads)}
        assert all(torch.equal(before[key], after[key]) for key in before.keys() - heads)
        assert any(before[key].shape != after[key].shape for key in heads)

    def test_crops_on_the_stride_grid_see_the_same(self, name: str) -> None:
        """Far from the border a crop whose corner is a multiple of the stride gives what the whole picture gives."""
        network = tiny(name).eval()
        assert isinstance(network, DenseModel)
        if network.global_context:
            pytest.skip("every logit depends on the whole picture")
        field = network_facts(name, num_classes=CLASSES, **TINY[name]).receptive_field
        assert field is not None
        stride = network.stride
        reach = -(-field // (2 * stride)) * stride + stride
        images = torch.randn(1, 3, 2 * reach + 2 * stride, 2 * reach + 2 * stride)
        with torch.inference_mode():
            whole = network(images)
            part = network(images[..., stride:, stride:])
        inner = slice(reach, -reach)
        assert torch.allclose(whole[..., stride:, stride:][..., inner, inner], part[..., inner, inner], atol=1e-4)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_encoder_serves_every_decoder(name: str) -> None:
    encoder = ENCODERS[name](num_classes=0)
    with torch.inference_mode():
        maps = encoder.eval().pyramid(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(encoder.feature_channels, encoder.feature_strides, strict=True)
    ]
    network = EncoderUNet(encoder=encoder, num_classes=3, decoder_channels=(8, 8, 8, 8, 8)).train()
    network(torch.randn(2, 3, 33, 47)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("name", list_models("classify"))
def test_classifiers_give_class_logits(name: str) -> None:
    network = tiny(name).eval()
    assert isinstance(network, Classifier)
    size = network.window or (max(network.smallest, 64),) * 2
    with torch.inference_mode():
        assert network(torch.randn(2, 3, *size)).shape == (2, CLASSES)


@pytest.mark.parametrize("blocks", [1, 3, 4, 5])
def test_fewer_decoder_blocks_give_logits_at_the_same_size(blocks: int) -> None:
    network = create_model("unet", num_classes=2, encoder="resnet18", decoder_channels=(4,) * blocks).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 50, 70)).shape == (1, 2, 50, 70)
    assert network.upsampling == 2 ** (5 - blocks)


def test_paper_shapes_of_the_original_unet() -> None:
    network = create_model("unet_original", num_classes=2, width=2)
    with torch.inference_mode():
        assert network.logits(torch.randn(1, 1, 572, 572)).shape == (1, 2, 388, 388)  # figure 1


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("unte", {}, "did you mean 'unet'"),
        ("unet", {"num_classes": 3, "encodr": "resnet18"}, "did you mean 'encoder'"),
        ("unet", {"num_classes": 3, "encoder": "resnet17"}, "did you mean 'resnet18'"),
        ("unet", {}, "num_classes"),
        ("unet", {"num_classes": 3, "encoder": "resnet18", "decoder_channels": [8] * 6}, "6 blocks found.*1 to 5"),
    ],
)
def test_wrong_names_are_explained(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        create_model(name, **options)
