"""Dilated encoders: the same filters on the same grid, read at more places."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.models.classify.table import ENCODERS
from pixelwise.models.encoders import create_encoder
from pixelwise.nn.encoder import Encoder, on_grid
from pixelwise.nn.fuse import fold_batch_norm
from pixelwise.nn.pooled_norm import pooled_norm
from pixelwise.nn.receptive_field import Trace


class Plain(Encoder):
    """Strided 3x3 convolutions, each followed by one that is not, without bias; linear."""

    feature_strides = (2, 4, 8, 16)
    feature_channels = (4, 4, 4, 4)

    def __init__(self, channels: int = 2, kernel: int = 3) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels if level == 0 else 4, 4, kernel, 2, kernel // 2),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.Conv2d(4, 4, kernel, 1, kernel // 2),
            )
            for level in range(4)
        )

    def stages(self) -> list[nn.Module]:
        return list(self.levels)


class Reduction(nn.Module):
    """Two filters side by side that stride, one of them behind another, as where an Inception network strides."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, 4, 3, 1, 1)
        self.second = nn.Conv2d(4, 4, 3, 2, 1)
        self.beside = nn.Conv2d(inputs, 4, 3, 2, 1)
        self.behind = nn.Conv2d(8, 8, 3, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.behind(torch.cat([self.second(self.first(maps)), self.beside(maps)], 1))


class Branching(Encoder):
    feature_strides = (2, 4, 8)
    feature_channels = (8, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList([Reduction(2), Reduction(8), Reduction(8)])

    def stages(self) -> list[nn.Module]:
        return list(self.levels)


def settings(encoder: Encoder) -> list[tuple[object, ...]]:
    return [
        (module.stride, module.dilation, module.padding)
        for module in encoder.modules()
        if isinstance(module, nn.Conv2d)
    ]


def maps_of(encoder: Encoder, images: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        return encoder.eval().pyramid(images)


@pytest.mark.parametrize("output_stride", [2, 4, 8])
@pytest.mark.parametrize("kernel", [3, 5])
def test_dilated_maps_at_the_places_of_the_old_grid_are_the_old_maps(kernel: int, output_stride: int) -> None:
    torch.manual_seed(0)
    encoder = Plain(kernel=kernel)
    images = torch.randn(1, 2, 64, 96)
    before = maps_of(encoder, images)
    strides = encoder.feature_strides
    encoder.dilate(output_stride)
    after = maps_of(encoder, images)
    for old, new, stride in zip(before, after, strides, strict=True):
        finer = max(stride // output_stride, 1)
        assert new.shape[-2:] == (old.shape[-2] * finer, old.shape[-1] * finer)
        # Zeros are read at the same places of the plane, so this holds up to the border.
        assert torch.allclose(new[..., ::finer, ::finer], old, atol=1e-5)


@pytest.mark.parametrize("output_stride", [2, 4])
def test_filters_that_stride_side_by_side_all_read_the_grid_before_them(output_stride: int) -> None:
    torch.manual_seed(0)
    encoder = Branching()
    images = torch.randn(1, 2, 64, 96)
    before = maps_of(encoder, images)[-1]
    encoder.dilate(output_stride)
    finer = 8 // output_stride
    assert torch.allclose(maps_of(encoder, images)[-1][..., ::finer, ::finer], before, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "output_stride", "first"),
    # TensorFlow's padding makes a strided filter read one place further right: the old grid begins further in.
    [
        ("resnet18", 4, 0),
        ("resnet18", 8, 0),
        ("resnet50", 8, 0),
        ("resnet50", 16, 0),
        ("mobilenet_v2", 8, 0),
        ("mobilenet_v2_tf", 8, 1),
        ("xception", 8, 0),  # whose blocks stride in their last filter, not in their first
    ],
)
def test_dilated_encoders_without_coarse_pooling_keep_what_they_compute(
    name: str, output_stride: int, first: int
) -> None:
    torch.manual_seed(0)
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)  # as deep as they are, float32 would round off too much
    encoder = create_encoder(name).double()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        encoder.train().pyramid(images)  # batch norms know their inputs, so that every branch counts
    before = maps_of(encoder, images)[-1]
    assert before.std() > 0.1
    encoder.dilate(output_stride)
    after = maps_of(encoder, images)[-1]
    finer = 32 // output_stride
    start = first * (finer - 1)
    assert torch.allclose(after[..., start::finer, start::finer], before, atol=1e-9)


def test_resnet50_strides_and_rates_are_those_of_replace_stride_with_dilation() -> None:
    """The first 3x3 of a stage keeps the rate of the stage before it."""
    rates = {
        8: ([1, 2, 2, 2, 2, 2], [2, 4, 4]),
        16: ([1, 1, 1, 1, 1, 1], [1, 2, 2]),
    }
    for output_stride, (third, fourth) in rates.items():
        encoder = create_encoder("resnet50", output_stride=output_stride)
        found = [[block.conv2.dilation[0] for block in stage] for stage in encoder.stages()[-2:]]
        assert found == [third, fourth]
        assert all(block.conv2.padding == block.conv2.dilation for stage in encoder.stages()[-2:] for block in stage)
        strides = {module.stride for module in encoder.stages()[-1].modules() if isinstance(module, nn.Conv2d)}
        assert strides == {(1, 1)}


@pytest.mark.parametrize("name", sorted(ENCODERS))
@pytest.mark.parametrize("output_stride", [4, 8, 16])
def test_every_encoder_dilates(name: str, output_stride: int) -> None:
    with torch.device("meta"):
        encoder = create_encoder(name, output_stride=output_stride)
        plain = create_encoder(name)
        maps = encoder.pyramid(torch.empty(2, 3, 64, 96))
    assert max(encoder.feature_strides) == output_stride
    assert [tuple(m.shape[1:]) for m in maps] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(encoder.feature_channels, encoder.feature_strides, strict=True)
    ]
    assert {k: v.shape for k, v in encoder.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_dilating_twice_is_dilating_further(name: str) -> None:
    with torch.device("meta"):
        once, twice = create_encoder(name, output_stride=8), create_encoder(name, output_stride=16)
    twice.dilate(8)
    assert settings(once) == settings(twice)
    assert once.feature_strides == twice.feature_strides


def test_pooling_that_no_longer_strides_is_3x3() -> None:
    encoder = create_encoder("vgg11", output_stride=8)
    pools = [module for module in encoder.modules() if isinstance(module, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride, pool.padding) for pool in pools] == [(2, 2, 0)] * 3 + [(3, 1, 1)] * 2
    convolutions = [module.dilation[0] for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    assert convolutions == [1] * 6 + [2] * 2  # block 5 reads behind the fourth pooling


def test_a_stride_that_the_network_does_not_have_is_explained() -> None:
    with pytest.raises(UserError, match="output_stride 12: ResNet has maps at strides 2, 4, 8, 16, 32"):
        create_encoder("resnet18", output_stride=12)


def test_average_pooling_that_no_longer_strides_keeps_a_flat_picture_flat() -> None:
    class Pooled(Encoder):
        feature_strides = (1, 2)
        feature_channels = (4, 4)

        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AvgPool2d(2)

        def stages(self) -> list[nn.Module]:
            return [nn.Identity(), self.pool]

    encoder = Pooled()
    encoder.dilate(1)
    assert torch.equal(encoder.pyramid(torch.ones(1, 4, 6, 6))[-1], torch.ones(1, 4, 6, 6))


class TestPooledNorm:
    def test_is_batch_norm_where_there_is_a_variance(self) -> None:
        norm, twin = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        for maps in (torch.randn(2, 3, 1, 1), torch.randn(1, 3, 1, 2)):
            assert torch.equal(pooled_norm(norm, maps), twin(maps))
        assert torch.equal(norm.running_var, twin.running_var)

    def test_one_place_of_one_picture_is_normalised_by_the_running_statistics(self) -> None:
        norm = nn.BatchNorm2d(3)
        norm.running_mean.fill_(1.0)
        maps = torch.randn(1, 3, 1, 1)
        in_training = pooled_norm(norm.train(), maps)
        assert torch.equal(in_training, norm.eval()(maps))
        assert torch.equal(norm.running_mean, torch.ones(3))

    def test_folded_batch_norm_is_left_alone(self) -> None:
        maps = torch.randn(1, 3, 1, 1)
        assert torch.equal(pooled_norm(nn.Identity().train(), maps), maps)

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("pspnet", {"encoder": "mobilenet_v2"}),
            ("deeplab_v3", {"encoder": "mobilenet_v2", "width": 16}),
            ("hourglass", {"width": 4, "depth": 2}),
        ],
    )
    def test_networks_that_use_it_can_be_folded(self, name: str, options: dict[str, object]) -> None:
        torch.manual_seed(0)
        network = create_model(name, num_classes=3, **options).train()
        network(torch.randn(2, 3, 64, 64))
        images = torch.randn(1, 3, 64, 64)
        folded = fold_batch_norm(network.eval(), images)
        before, after = (sum(isinstance(m, nn.BatchNorm2d) for m in each.modules()) for each in (network, folded))
        assert after < before
        with torch.inference_mode():
            expected = network(images)
            assert torch.allclose(folded(images), expected, atol=1e-4 * float(expected.abs().max()))


class TestOnGrid:
    @pytest.mark.parametrize("missing", [0, 1, 2, 3, 4, 5])
    def test_the_middle_of_the_map_stays_the_middle(self, missing: int) -> None:
        """A map whose values are its places: a place of the grid lies as far from the middle as its value says."""
        rows, columns = torch.meshgrid(torch.arange(11.0) - 5, torch.arange(8.0) - 3.5, indexing="ij")
        found = on_grid(torch.stack([rows, columns])[None], missing)
        assert found.shape == (1, 2, 11 + missing, 8 + missing)
        for axis, (size, places) in enumerate(zip(found.shape[2:], (11, 8), strict=True)):
            expected = (torch.arange(float(size)) - (size - 1) / 2).clamp(-(places - 1) / 2, (places - 1) / 2)
            line = found[0, 0, :, size // 2] if axis == 0 else found[0, 1, size // 2]
            assert torch.allclose(line, expected)

    def test_a_map_of_one_place_fills_its_grid(self) -> None:
        assert torch.equal(on_grid(torch.ones(1, 1, 1, 1), 2), torch.ones(1, 1, 3, 3))

    @pytest.mark.parametrize(("missing", "rows"), [(1, (4, 6)), (2, (4, 5)), (3, (3, 5))])
    def test_its_receptive_field_is_known(self, missing: int, rows: tuple[int, int]) -> None:
        trace = Trace(lambda maps: on_grid(maps, missing), torch.empty(1, 1, 12, 12, device="meta"))
        field = trace.field(trace.outputs, 5, 5)
        assert (field.top, field.bottom, field.left, field.right) == (*rows, *rows)
        maps = torch.zeros(1, 1, 12, 12, requires_grad=True)
        on_grid(maps, missing)[0, 0, 5, 5].backward()
        reached = maps.grad[0, 0].nonzero()
        assert (reached.min(), reached.max() + 1) == rows


@pytest.mark.parametrize("model", ["unet", "linknet", "pspnet", "deeplab_v3plus", "fpn"])
@pytest.mark.parametrize("name", ["alexnet", "densenet121", "googlenet", "inception_v3"])
def test_networks_over_encoders_take_any_size(name: str, model: str) -> None:
    with torch.device("meta"):
        network = create_model(model, num_classes=3, encoder=name)
        for size in ((1, 1), (3, 70)):
            assert network(torch.empty(2, 3, *size)).shape == (2, 3, *size)
