"""DeepLab: torchvision's outputs, weights that do not depend on the output stride, what the atrous branches read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_parity import fill
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.models.classify.table import ENCODERS
from pixelwise.models.segment.deeplab import ASPP, ImagePooling, conv_norm_relu, rates_at

V3 = {"num_classes": 3, "encoder": "mobilenet_v2", "width": 16}


def settled(model: str, **options: object) -> nn.Module:
    """A small network whose batch norms know the statistics of their inputs, so that its maps neither grow nor fade."""
    torch.manual_seed(0)
    network = create_model(model, **V3, **options).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))
    return network.eval()


def aspp_of(network: nn.Module) -> ASPP:
    return next(module for module in network.modules() if isinstance(module, ASPP))


def test_torchvisions_names_and_logits(shared_folder: Path) -> None:
    """Auxiliary logits too."""
    vectors = json.loads((shared_folder / "reference" / "dense_and_detection.json").read_text())
    vector = vectors["deeplabv3_resnet50"]
    network = create_model("deeplab_v3", num_classes=21, output_stride=8, auxiliary=True).eval()
    state = {key: value for key, value in network.state_dict().items() if value.is_floating_point()}
    assert {key: list(value.shape) for key, value in state.items()} == vector["keys"]
    network.load_state_dict({key: fill(key, value.shape) for key, value in state.items()}, strict=False)
    images = torch.randn(*vector["input"], generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        outputs = network(images, auxiliary=True)
    for name, found in zip(("out", "aux"), outputs, strict=True):
        expected = vector[name]
        assert list(found.shape) == expected["shape"]
        tolerance = 1e-4 * expected["std"]
        assert found.flatten()[:8].tolist() == pytest.approx(expected["first8"], abs=tolerance)
        assert float(found.mean()) == pytest.approx(expected["mean"], abs=tolerance)
        assert float(found.std()) == pytest.approx(expected["std"], abs=tolerance)


@pytest.mark.parametrize("model", ["deeplab_v3", "deeplab_v3plus"])
class TestAnyEncoder:
    @pytest.mark.parametrize("encoder", sorted(ENCODERS))
    def test_every_encoder(self, model: str, encoder: str) -> None:
        with torch.device("meta"):
            network = create_model(model, num_classes=3, encoder=encoder)
            assert network(torch.empty(2, 3, 33, 47)).shape == (2, 3, 33, 47)
        assert network.stride == 16
        assert set(network.encoder.parameters()) < set(network.parameters())

    @pytest.mark.parametrize("output_stride", [4, 8, 16])
    def test_a_finer_output_stride_reads_the_same_weights_at_more_places(self, model: str, output_stride: int) -> None:
        """At the places of the coarser grid every branch says what it said there; image pooling takes in all places."""
        network = settled(model, output_stride=32)
        finer = create_model(model, **V3, output_stride=output_stride).eval()
        finer.load_state_dict(network.state_dict())
        step = 32 // output_stride
        images = torch.randn(1, 3, 96, 128)
        with torch.inference_mode():
            coarse, fine = (each.encoder.pyramid(images)[-1] for each in (network, finer))
            assert coarse.std() > 0.1
            assert torch.allclose(fine[..., ::step, ::step], coarse, atol=1e-4)
            branches = [list(aspp_of(each).convs)[:-1] for each in (network, finer)]
            for one, other in zip(*branches, strict=True):
                assert torch.allclose(other(fine)[..., ::step, ::step], one(coarse), atol=1e-4)
            assert finer(images).shape == network(images).shape

    def test_multi_grid_multiplies_the_rates_of_the_last_blocks(self, model: str) -> None:
        plain = create_model(model, num_classes=2, encoder="resnet50", output_stride=8, width=8)
        network = create_model(model, num_classes=2, encoder="resnet50", output_stride=8, width=8, multi_grid=(1, 2, 4))
        assert [block.conv2.dilation for block in plain.encoder.layer4] == [(2, 2), (4, 4), (4, 4)]
        assert [block.conv2.dilation for block in network.encoder.layer4] == [(2, 2), (8, 8), (16, 16)]
        assert [block.conv2.padding for block in network.encoder.layer4] == [(2, 2), (8, 8), (16, 16)]

    def test_wrong_options_are_explained(self, model: str) -> None:
        with pytest.raises(UserError, match="2 factors found, but the last stage of the encoder has 4 blocks"):
            create_model(model, **V3, multi_grid=(1, 2))
        with pytest.raises(UserError, match="output_stride 6"):
            create_model(model, **V3, output_stride=6)


def test_branches_see_as_far_in_pixels_whatever_the_output_stride() -> None:
    assert rates_at(16) == (6, 12, 18)
    assert rates_at(8) == (12, 24, 36)
    assert all(rates_at(16)[i] * 16 == rates_at(s)[i] * s for s in (4, 8, 32) for i in range(3))


def test_an_atrous_branch_reads_nine_places_a_rate_apart() -> None:
    torch.manual_seed(0)
    branch = conv_norm_relu(1, 1, 3, 6)[0]
    maps = torch.zeros(1, 1, 31, 31, requires_grad=True)
    branch(maps)[0, 0, 15, 15].backward()
    assert maps.grad[0, 0].nonzero().tolist() == [[r, c] for r in (9, 15, 21) for c in (9, 15, 21)]


def test_image_pooling_says_the_mean_at_every_place() -> None:
    torch.manual_seed(0)
    pooling = ImagePooling(4, 3).eval()
    maps = torch.randn(2, 4, 5, 7)
    pooled = pooling(maps)
    assert pooled.shape == (2, 3, 5, 7)
    flat = pooling(maps.mean((2, 3), keepdim=True).expand(-1, -1, 5, 7))
    assert torch.allclose(pooled, flat, atol=1e-6)
    assert torch.allclose(pooled, pooled[..., :1, :1].expand_as(pooled))


def test_aspp_is_its_five_branches_side_by_side() -> None:
    torch.manual_seed(0)
    aspp = ASPP(6, 4, rates=(1, 2, 3), branch=conv_norm_relu, dropout=0.0).eval()
    maps = torch.randn(1, 6, 9, 9)
    weight = aspp.project[0].weight  # (4, 20, 1, 1)
    parts: list[Tensor] = [
        nn.functional.conv2d(branch(maps), weight[:, 4 * number : 4 * number + 4])
        for number, branch in enumerate(aspp.convs)
    ]
    assert len(parts) == 5
    expected = torch.stack(parts).sum(0) / (1 + aspp.project[1].eps) ** 0.5
    assert torch.allclose(aspp(maps), expected.relu(), atol=1e-5)


def test_the_auxiliary_classifier_reads_the_map_before_the_last() -> None:
    torch.manual_seed(0)
    network = create_model("deeplab_v3", **V3, auxiliary=True)
    logits, auxiliary = network.eval().all_logits(torch.randn(1, 3, 32, 32))
    assert network.auxiliary_weights == (0.4,)
    assert logits.shape == auxiliary.shape
    auxiliary.square().mean().backward()
    *_, before, last = network.encoder.stages()
    assert all(parameter.grad is None for parameter in last.parameters())
    assert all(parameter.grad is not None for parameter in before.parameters())


def test_the_decoder_of_v3plus_joins_the_map_of_stride_4() -> None:
    network = settled("deeplab_v3plus")
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert network.reduce(network.encoder.pyramid(images)[1]).shape == (1, 48, 16, 16)
        before = network(images)
        network.reduce[1].weight.zero_()  # that map falls silent
        assert (before - network(images)).std() > 0.01 * before.std()
    with pytest.raises(UserError, match="output_stride 2: the decoder needs the map of stride 4"):
        create_model("deeplab_v3plus", **V3, output_stride=2)


class TestV1:
    def test_large_field_of_view(self) -> None:
        network = create_model("deeplab_v1", num_classes=2, width=2)
        assert network.fc6.kernel_size == (3, 3)
        assert network.fc6.dilation == (12, 12)
        dilations = [m.dilation[0] for m in network.encoder.modules() if isinstance(m, nn.Conv2d)]
        assert dilations == [1] * 10 + [2] * 3

    def test_weights_of_a_vgg16_fill_the_encoder(self, tmp_path: Path) -> None:
        classifier = create_model("vgg16", num_classes=4, width=2)
        save_file(classifier.state_dict(), tmp_path / "vgg16.safetensors")
        network = create_model("deeplab_v1", num_classes=3, width=2, weights=str(tmp_path / "vgg16.safetensors"))
        state = classifier.state_dict()
        for key, value in network.encoder.state_dict().items():
            assert torch.equal(value, state[key])
