"""What every network of the catalog must do, tested once for all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pixelwise.catalog import METHODS, SYSTEMS, create_model, list_models, load_model, option_names, task_names
from pixelwise.data.pictures import PictureFormat
from pixelwise.errors import UserError
from pixelwise.models.classify.table import ENCODERS
from pixelwise.models.facts import network_facts
from pixelwise.models.segment.unet import EncoderUNet
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.encoder import Classifier

PAPER_SIZES = [(name, options, count) for name, each in SYSTEMS.items() for options, count in each.parameters]
CLASSES = 5
DENSE = list_models("segment")


def tiny(name: str) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, **tiny_options(name))


def tiny_options(name: str) -> dict[str, Any]:
    classes = {"num_classes": CLASSES} if "num_classes" in option_names(name) else {}
    return {**classes, **SYSTEMS[name].tiny}


@pytest.mark.parametrize(("name", "options", "count"), PAPER_SIZES, ids=lambda value: str(value))
def test_parameters_at_paper_size(name: str, options: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        network = create_model(name, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_every_network_states_its_size_its_tasks_and_its_method() -> None:
    unsized = {name for name, each in SYSTEMS.items() if not each.parameters}
    assert unsized == {"patch"}  # the paper's depends on the window
    assert all(each.tasks and each.paper and each.method in METHODS for each in SYSTEMS.values())
    assert set(list_models()) == set(SYSTEMS)
    assert {name for task in task_names() for name in list_models(task)} == set(SYSTEMS)


def test_networks_are_listed_by_task() -> None:
    assert {"unet", "fcn8s", "patch"} <= set(list_models("segment"))
    assert set(list_models("classify")) == {name for name in SYSTEMS if SYSTEMS[name].task.name == "classify"}
    assert not set(list_models("detect")) & set(list_models("classify"))
    with pytest.raises(UserError, match="unknown task 'segmet'; did you mean 'segment'"):
        list_models("segmet")


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_a_model_file_gives_the_network_back_bitwise(name: str, tmp_path: Path) -> None:
    network, options = tiny(name), tiny_options(name)
    names = tuple(map(str, range(CLASSES)))
    spec = ModelSpec(name, options, names, PictureFormat(3, "uint8"), (0.0,) * 3, (1.0,) * 3)
    file = tmp_path / "best.safetensors"
    save_model(file, network.state_dict(), spec)
    loaded, found = load_model(file)
    file.unlink()  # some are large
    assert found.options == json.loads(json.dumps(options))
    assert not loaded.training
    before, after = network.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


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
        options = tiny_options(name)
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
        with torch.device("meta"):
            field = network_facts(create_model(name, **tiny_options(name))).receptive_field
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
        assert network.logits(torch.randn(1, 3, 64, 96)).shape == (1, 2, 64, 96)


@pytest.mark.parametrize(("blocks", "heads"), [(1, 0), (2, 1), (4, 2), (5, 2)])
def test_deep_supervision_has_the_blocks_before_the_last_predict(blocks: int, heads: int) -> None:
    options = {"num_classes": 2, "encoder": "mobilenet_v2", "decoder_channels": (4,) * blocks}
    torch.manual_seed(0)
    network = create_model("unet", **options, deep_supervision=True)
    assert network.auxiliary_weights == (0.5, 0.25)[:heads]
    images = torch.randn(2, 3, 50, 70)
    logits = network(images, auxiliary=True)
    assert [each.shape for each in logits] == [(2, 2, 50, 70)] * (1 + heads)
    sum(each.square().mean() for each in logits).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    plain = create_model("unet", **options)
    plain.load_state_dict(network.state_dict(), strict=False)
    network.eval()
    torch.testing.assert_close(plain.eval()(images), network(images))


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
