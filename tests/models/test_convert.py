"""Classifiers as fully convolutional networks, against the classifier run window by window."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.models.convert import fully_convolutional


def lenet() -> nn.Module:
    """Valid convolutions and a linear head over a 4x4 map, with a dropout and a function between."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(16 * 4 * 4, 20), nn.Tanh(), nn.Linear(20, 10),
    )  # fmt: skip


class AlexNetLike(nn.Module):
    """Overlapping pooling, a strided first convolution, unequal sides; forward by functions rather than modules."""

    def __init__(self, *, padding: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 4, padding)
        self.pool = nn.MaxPool2d(3, 2)
        self.conv2 = nn.Conv2d(8, 12, 3, padding=padding)
        self.classifier = nn.Sequential(nn.Dropout(), nn.LazyLinear(16), nn.ReLU(inplace=True), nn.Linear(16, 5))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(torch.relu(self.conv1(images)))
        maps = torch.relu(self.conv2(maps))
        return self.classifier(maps.view(maps.size(0), -1))


class GlobalAverage(nn.Module):
    """Residual blocks without padding, batch norm, global average pooling and one linear layer, as in ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Conv2d(8, 8, 3)
        self.fc = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        maps = maps[..., 1:-1, 1:-1] + self.block(maps)
        return self.fc(maps.mean((2, 3)))


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 9 * 7, 12), nn.ReLU(), nn.Linear(12, 4))


CASES = [
    (lenet, 1, (28, 28), (4, 4)),
    (AlexNetLike, 3, (47, 63), (8, 8)),
    (GlobalAverage, 3, (20, 16), (2, 2)),
    (perceptron, 3, (9, 7), (1, 1)),
]


def build(make: type[nn.Module], channels: int, window: tuple[int, int]) -> nn.Module:
    torch.manual_seed(0)
    classifier = make()
    classifier.train()(torch.randn(8, channels, *window))  # sizes the lazy layer, moves batch norm's statistics
    return classifier.eval()


def window_by_window(classifier: nn.Module, images: Tensor, window: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    rows = range(0, images.shape[2] - window[0] + 1, stride[0])
    columns = range(0, images.shape[3] - window[1] + 1, stride[1])
    return torch.stack(
        [
            torch.stack([classifier(images[..., y : y + window[0], x : x + window[1]]) for x in columns], -1)
            for y in rows
        ],
        -2,
    )


@pytest.mark.parametrize(("make", "channels", "window", "stride"), CASES)
@torch.no_grad()
def test_scores_equal_the_classifier_window_by_window(
    make: type[nn.Module], channels: int, window: tuple[int, int], stride: tuple[int, int]
) -> None:
    classifier = build(make, channels, window)
    converted = fully_convolutional(classifier, window)
    assert (converted.window, converted.stride) == (window, stride)
    one = torch.randn(2, channels, *window)
    assert torch.allclose(converted(one)[..., 0, 0], classifier(one), atol=1e-5)
    images = torch.randn(2, channels, window[0] + 3 * stride[0] - 1, window[1] + 3 * stride[1])
    scores = converted(images)
    assert scores.shape[2:] == (3, 4)
    assert torch.allclose(scores, window_by_window(classifier, images, window, stride), atol=1e-5)


@torch.no_grad()
def test_padding_shows_a_window_its_surroundings() -> None:
    """A classifier that pads answers alike for a lone window only; on pictures it is equivariant, away from borders."""
    classifier = build(lambda: AlexNetLike(padding=1), 3, (47, 47))  # type: ignore[arg-type]
    converted = fully_convolutional(classifier, 47)
    one = torch.randn(1, 3, 47, 47)
    assert torch.allclose(converted(one)[..., 0, 0], classifier(one), atol=1e-5)
    images = torch.randn(1, 3, 47 + 8 * 8, 47 + 8 * 8)
    scores = converted(images)
    apart = (scores - window_by_window(classifier, images, (47, 47), (8, 8))).abs().amax((0, 1))
    assert apart.min() > 1e-3
    # One step to the right is one place to the right, where neither picture's own border is near.
    shifted = converted(images[..., 8:])
    assert torch.allclose(scores[..., 2:-2, 3:-2], shifted[..., 2:-2, 2:-2], atol=1e-5)


@torch.no_grad()
def test_networks_of_the_catalog() -> None:
    """VGG behind adaptive pooling of 7x7 and others behind a global average: the same logits at the training size."""
    for name, options, window in (("vgg11", {"width": 2}, 224), ("resnet18", {}, 96), ("mobilenet_v2", {}, 96)):
        classifier = create_model(name, num_classes=6, **options).eval()
        converted = fully_convolutional(classifier, window)
        images = torch.randn(1, 3, window, window)
        assert torch.allclose(converted(images)[..., 0, 0], classifier(images), atol=1e-4)
        assert converted.stride == (32, 32)
        assert converted(torch.randn(1, 3, window + 32, window + 96)).shape == (1, 6, 2, 4)


def test_weights_are_shared_and_the_mode_is_kept() -> None:
    classifier = build(lenet, 1, (28, 28)).train()  # type: ignore[arg-type]
    converted = fully_convolutional(classifier, 28)
    assert all(module.training for module in (*classifier.modules(), *converted.modules()))
    assert not any(module.training for module in fully_convolutional(classifier.eval(), 28).modules())
    converted(torch.randn(2, 1, 40, 40)).square().sum().backward()
    head = converted.network.get_submodule("8")
    assert head.weight.shape == (20, 16, 4, 4)
    with torch.no_grad():
        head.weight.zero_()  # type: ignore[operator, union-attr]
    assert not classifier[8].weight.any()  # type: ignore[index]


@torch.no_grad()
def test_a_heat_map_has_each_window_at_its_middle() -> None:
    classifier = build(perceptron, 3, (9, 7))  # type: ignore[arg-type]
    converted = fully_convolutional(classifier, (9, 7))
    images = torch.randn(1, 3, 12, 13)
    heat = converted.heat_map(images)
    assert heat.shape == (1, 4, 12, 13)
    assert torch.allclose(heat.sum(1), torch.ones(1, 12, 13), atol=1e-5)
    # Stride 1 and odd sides: window (i, j) has its middle at pixel (i + 4, j + 3).
    assert torch.allclose(heat[..., 4:8, 3:10], converted(images).softmax(1), atol=1e-5)
    assert torch.allclose(heat[..., 0, 0], heat[..., 4, 3], atol=1e-5)  # beyond it, the nearest
    assert torch.allclose(converted.heat_map(images[..., :9, :7]), converted(images)[..., :1, :1].softmax(1), atol=1e-5)


class Permuted(nn.Sequential):
    def forward(self, images: Tensor) -> Tensor:
        return self[1](self[0](images).permute(0, 2, 3, 1).flatten(1))


class Maximum(nn.Sequential):
    def forward(self, images: Tensor) -> Tensor:
        return self[1](self[0](images).amax((2, 3)))


@pytest.mark.parametrize(
    ("classifier", "window", "words"),
    [
        (Permuted(nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 2)), 8, "Permuted"),
        (Maximum(nn.Conv2d(3, 4, 3), nn.Linear(4, 2)), 8, "'amax' neither flattens a map"),
        (create_model("vgg11", num_classes=3, width=2), 192, "averages maps of 6 x 6 to 7 x 7"),
        (lenet(), 32, "cannot be traced on pictures of 32 x 32"),
        (nn.Sequential(nn.ReLU(), nn.Flatten()), 8, "has neither a convolution nor a linear layer"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_what_cannot_be_converted_is_said(classifier: nn.Module, window: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        fully_convolutional(classifier, window)
