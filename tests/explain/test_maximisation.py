"""Pictures made from noise, against optima that are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.explain import deepdream, maximise
from pixelwise.explain.activations import outputs
from pixelwise.explain.maximisation import COLOURS, frequencies, gaussian_transfer, moved, spectrum_scale, variation
from pixelwise.explain.target import channel_score, class_score, peak_score, unit_score


def linear(channels: int, side: int = 6) -> nn.Sequential:
    torch.manual_seed(channels)
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, 4))


def network(channels: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(8, 6, 3, 2, 1), nn.LeakyReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
    )  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("frequency", [True, False])
def test_the_optimum_of_a_linear_network(channels: int, frequency: bool) -> None:
    """w.x - lambda |x|^2 is largest at x = w / (2 lambda)."""
    layers = linear(channels)
    found = maximise(
        layers, class_score(2), size=(6, 6), in_channels=channels, steps=1500, rate=0.005, frequency=frequency, l2=0.4
    )
    expected = layers[1].weight[2].detach().view(1, channels, 6, 6) / 0.8
    assert torch.allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("options", [{"frequency": False}, {"decay": 1.0}, {"decay": 1.5}])
def test_the_optimum_of_a_given_norm(options: dict[str, float]) -> None:
    """Of all x of one norm, w.x is largest for the one along w; a scale of the score changes nothing."""
    layers = linear(3)
    weight = layers[1].weight[2].detach().view(1, 3, 6, 6)
    expected = 0.3 * weight / weight.square().mean().sqrt()
    for score in (class_score(2), lambda answer: 20 * answer[:, 2]):
        found = maximise(layers, score, size=(6, 6), steps=2000, rate=0.01, contrast=0.3, **options)  # type: ignore[arg-type]
        assert torch.allclose(found, expected, atol=1e-4)


def test_contrast_is_a_limit_and_no_aim() -> None:
    layers = linear(3)
    options = {"size": (6, 6), "steps": 1500, "rate": 0.005, "frequency": False, "l2": 0.4}
    found = maximise(layers, class_score(2), contrast=10.0, **options)  # type: ignore[arg-type]
    expected = layers[1].weight[2].detach().view(1, 3, 6, 6) / 0.8
    assert torch.allclose(found, expected, atol=2e-3)


def test_a_steeper_spectrum_moves_as_far() -> None:
    flat, steep = (spectrum_scale((24, 30), decay) for decay in (1.0, 1.5))
    assert steep.square().mean() == pytest.approx(float(flat.square().mean()))
    assert torch.allclose(steep / flat**1.5, (steep / flat**1.5)[0, 0].expand_as(flat))


def test_normalised_steps_go_straight_to_the_optimum() -> None:
    layers = linear(3)
    found = maximise(
        layers, class_score(2), size=(6, 6), steps=80, rate=0.003, frequency=False, l2=0.4, normalise_gradient=True
    )
    expected = layers[1].weight[2].detach().view(1, 3, 6, 6) / 0.8
    assert (found - expected).square().mean().sqrt() < 0.005  # within the length of two steps
    one = maximise(layers, class_score(2), size=(6, 6), steps=1, rate=0.5, frequency=False, normalise_gradient=True)
    start = maximise(layers, class_score(2), size=(6, 6), steps=0, frequency=False)
    assert torch.allclose((one - start).square().mean().sqrt(), torch.tensor(0.5))


def test_bounds_hold_and_are_reached() -> None:
    low, high = (torch.tensor(values)[:, None, None] for values in ([-2.0, -1.0, -1.5], [1.0, 2.0, 2.5]))
    layers = linear(3)
    weight = layers[1].weight[0].detach().view(3, 6, 6)
    most = (weight * torch.where(weight > 0, high, low)).sum()  # at a corner of what is allowed
    for frequency, share in ((True, 0.85), (False, 1 - 1e-5)):
        found = maximise(
            layers, class_score(0), size=(6, 6), steps=600, rate=0.1, frequency=frequency, bounds=(low, high)
        )[0]
        assert (found >= low).all()
        assert (found <= high).all()
        assert (weight * found).sum() > share * most


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize(
    ("layer", "score"),
    [("", class_score(1)), ("2", channel_score(4)), ("1", unit_score(2, 3, 3)), ("3", peak_score(0))],
)
def test_a_score_grows_whatever_is_maximised(channels: int, layer: str, score: Callable[[Tensor], Tensor]) -> None:
    layers = network(channels)

    def make(steps: int) -> Tensor:
        return maximise(layers, score, layer=layer, size=(12, 10), in_channels=channels, steps=steps, jitter=2)

    def worth(images: Tensor) -> float:
        return float(score(layers(images).detach() if not layer else outputs(layers, images, [layer])[layer]))

    assert make(40).shape == (1, channels, 12, 10)
    assert worth(make(100)) > worth(make(0)) + 0.01


def test_a_dense_class() -> None:
    torch.manual_seed(0)
    unet = create_model("unet", num_classes=3, width=4, in_channels=1)
    class_id = int(unet.head.weight.sum((1, 2, 3)).argmax())  # one that grows with what comes through the ReLUs
    found, noise = (
        maximise(unet, channel_score(class_id), size=(20, 24), in_channels=1, steps=steps) for steps in (40, 0)
    )
    with torch.no_grad():
        assert unet.eval()(found)[:, class_id].mean() > unet(noise)[:, class_id].mean() + 0.02


def test_the_same_seed_gives_the_same_picture_and_a_batch_is_as_single_ones() -> None:
    options = {"size": (12, 12), "steps": 8, "jitter": 3, "rotate": 10.0, "magnify": (0.9, 1.2), "blur": 0.4}
    together = maximise(network(), channel_score(1, 3), layer="2", number=2, **options)  # type: ignore[arg-type]
    again = maximise(network(), channel_score(1, 3), layer="2", number=2, **options)  # type: ignore[arg-type]
    alone = maximise(network(), channel_score(3), layer="2", **options)  # type: ignore[arg-type]
    other = maximise(network(), channel_score(3), layer="2", seed=1, **options)  # type: ignore[arg-type]
    assert torch.equal(together, again)
    assert torch.allclose(together[1], alone[0], atol=1e-5)
    assert not torch.allclose(alone, other, atol=0.01)


@pytest.mark.parametrize("frequency", [True, False])
@pytest.mark.parametrize("option", [{"total_variation": 0.02}, {"blur": 0.8}])
def test_regularisers_smooth(option: dict[str, float], frequency: bool) -> None:
    def roughness(**options: float) -> float:
        found = maximise(
            network(), channel_score(2), layer="2", size=(16, 16), steps=40, frequency=frequency, **options
        )  # type: ignore[arg-type]
        return float(variation(found) / found.std())

    assert roughness(**option) < 0.8 * roughness()


def test_variation_of_a_literal_picture() -> None:
    assert variation(torch.tensor([[[[0.0, 1.0], [3.0, 1.0]]]])).tolist() == [0 + 3 + 1 + 2]


def test_blur_leaves_of_a_wave_what_a_gaussian_leaves() -> None:
    wave = torch.cos(2 * torch.pi * 3 * torch.arange(24) / 24).repeat(16, 1)
    blurred = torch.fft.irfft2(torch.fft.rfft2(wave) * gaussian_transfer((16, 24), 1.5), s=(16, 24))
    places = torch.arange(-12, 12)
    gaussian = torch.exp(-places.square() / (2 * 1.5**2))
    expected = sum(
        weight * wave.roll(int(place), 1) for place, weight in zip(places, gaussian / gaussian.sum(), strict=True)
    )
    assert torch.allclose(blurred, expected, atol=1e-4)
    assert frequencies((16, 24))[0, 3] == pytest.approx(3 / 24)


def test_moving() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 20, 30)
    assert moved(images, random) is images
    shifted = moved(images, random, jitter=4)
    assert any(
        torch.equal(shifted, images.roll((down, right), (2, 3))) for down in range(-4, 5) for right in range(-4, 5)
    )
    large = moved(torch.ones(1, 1, 8, 8), random, rotate=20.0, magnify=(0.5, 0.5))
    assert torch.allclose(large, torch.ones(1, 1, 8, 8))  # mirrored, so nothing black comes in
    dot = torch.zeros(1, 1, 41, 61)
    dot[..., 20, 40] = 1  # 10 pixels right of the middle: twice as far when magnified by 2
    assert divmod(int(moved(dot, random, magnify=(2.0, 2.0)).argmax()), 61) == (20, 50)


def test_turning_keeps_distances_in_pictures_that_are_not_square() -> None:
    rows, columns = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(81.0) - 40, indexing="ij")
    ring = torch.exp(-(((rows.square() + columns.square()).sqrt() - 12) / 3).square())[None, None]
    turned = moved(ring, torch.Generator().manual_seed(1), rotate=60.0)
    inside = rows.square() + columns.square() < 18**2  # beyond, what is mirrored at the border comes in
    assert (turned - ring).abs()[0, 0, inside].max() < 0.05


def test_colour_axes_are_independent() -> None:
    axes = torch.tensor(COLOURS)
    lengths = axes.norm(dim=1)
    assert lengths[0] == pytest.approx(1, abs=0.002)
    assert (axes @ axes.T - torch.diag(lengths.square())).abs().max() < 2e-3
    assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_dream_raises_its_layers_and_stays_in_bounds(channels: int) -> None:
    layers = network(channels)
    images = torch.rand(2, channels, 30, 44)
    bounds = torch.full((channels, 1, 1), -0.5), torch.full((channels, 1, 1), 1.5)
    done: list[float] = []
    dream = deepdream(layers, images, ["1", "3"], octaves=3, steps=4, jitter=2, bounds=bounds, progress=done.append)
    assert dream.shape == images.shape
    before, after = outputs(layers, images, ["1", "3"]), outputs(layers, dream, ["1", "3"])
    for name in before:
        assert (after[name].square().mean((1, 2, 3)) > 1.1 * before[name].square().mean((1, 2, 3))).all()
    assert dream.min() >= -0.5
    assert dream.max() <= 1.5
    assert done == pytest.approx([(number + 1) / 12 for number in range(12)])
    assert torch.equal(dream, deepdream(layers, images, ["1", "3"], octaves=3, steps=4, jitter=2, bounds=bounds))
    # Without steps, what was taken off on the way down comes back: the picture itself.
    assert torch.allclose(deepdream(layers, images, ["1"], octaves=3, steps=0), images, atol=1e-6)


def test_unknown_layers() -> None:
    with pytest.raises(UserError, match="unknown layer"):
        maximise(network(), channel_score(0), layer="9", size=(8, 8), steps=1)
    with pytest.raises(UserError, match="unknown layer"):
        deepdream(network(), torch.zeros(1, 3, 16, 16), ["nine"])
