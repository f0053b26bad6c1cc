"""Distances to decision boundaries, exact for linear networks, and Monte Carlo dropout."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from pixelwise.active import adversarial_distance, margin_sensitivity, with_monte_carlo_dropout
from pixelwise.active.dropout import MonteCarloDropout, SharedBody, heads_of
from pixelwise.catalog import SYSTEMS, create_model, list_models
from pixelwise.errors import UserError


@pytest.fixture
def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def to_boundaries(linear: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """(N, K): the distance of each picture to the boundary with each other class; infinite for its own class."""
    logits, weight = linear(images).detach(), linear[1].weight.detach()
    best = logits.argmax(1)
    gaps = logits.gather(1, best[:, None]) - logits
    norms = (weight[best][:, None] - weight[None]).norm(dim=2)
    return torch.where(norms > 0, gaps / norms.clamp_min(1e-30), torch.inf)


def test_the_distance_to_the_second_class_of_a_linear_network_is_exact(linear: nn.Module, images: torch.Tensor) -> None:
    second = linear(images).topk(2).indices[:, 1:]
    expected = to_boundaries(linear, images).gather(1, second)[:, 0]
    assert torch.allclose(margin_sensitivity(linear, images), expected)


def test_deepfool_finds_the_nearest_boundary_of_a_linear_network(linear: nn.Module, images: torch.Tensor) -> None:
    expected = to_boundaries(linear, images).amin(1)
    assert torch.allclose(adversarial_distance(linear, images), 1.02 * expected, rtol=1e-2)


def test_deepfool_changes_the_class_within_the_distance_it_reports(images: torch.Tensor) -> None:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4)).double().eval()
    distances = adversarial_distance(network, images)
    assert (distances > 0).all()
    # No smaller perturbation along random directions changes the class.
    classes = network(images).argmax(1)
    for _ in range(50):
        step = torch.randn_like(images)
        step *= (0.3 * distances / step.flatten(1).norm(dim=1))[:, None, None, None]
        assert torch.equal(network(images + step).argmax(1), classes)


def test_a_margin_that_does_not_depend_on_the_picture_is_infinitely_far(images: torch.Tensor) -> None:
    found = margin_sensitivity(
        lambda pictures: torch.tensor([[1.0, 0.0]]) + 0 * pictures.sum((1, 2, 3))[:, None], images
    )
    assert found.isinf().all()


def test_gradients_reach_no_parameter_and_no_picture(linear: nn.Module, images: torch.Tensor) -> None:
    with torch.no_grad():
        margin_sensitivity(linear, images)
        adversarial_distance(linear, images)
    assert all(parameter.grad is None for parameter in linear.parameters())
    assert not images.requires_grad


class TestMonteCarloDropout:
    def network(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.Dropout2d(0.4),
            nn.Flatten(),
            nn.Dropout(0.0),
            nn.Linear(8 * 36, 3),
        ).train()

    def test_only_dropout_is_random_and_batch_norm_keeps_its_statistics(self) -> None:
        network = self.network()
        before = copy.deepcopy(network.state_dict())
        random = with_monte_carlo_dropout(network)
        images = torch.randn(5, 3, 8, 8)
        assert not torch.equal(random(images), random(images))
        assert [name for name, module in random.named_modules() if isinstance(module, MonteCarloDropout)] == ["2"]
        assert not any(module.training for module in random.modules() if isinstance(module, nn.BatchNorm2d))
        for state in (network.state_dict(), random.state_dict()):
            assert all(torch.equal(value, before[name]) for name, value in state.items())
        assert network.training  # the network itself is unchanged

    def test_passes_with_one_seed_are_equal_and_their_mean_is_the_network(self) -> None:
        network = self.network().eval()
        random = with_monte_carlo_dropout(network)
        images = torch.randn(2, 3, 8, 8)
        torch.manual_seed(5)
        one = random(images)
        torch.manual_seed(5)
        assert torch.equal(one, random(images))
        mean = torch.stack([random(images) for _ in range(3000)]).mean(0)  # the layers after dropout are linear
        assert torch.allclose(mean, network(images), atol=0.1)

    @pytest.mark.parametrize("name", sorted({*list_models("segment"), *list_models("classify")}))
    def test_every_network_gets_dropout_at_its_own_layers_or_before_its_head(self, name: str) -> None:
        network = create_model(name, num_classes=3, **SYSTEMS[name].tiny).eval()
        window = getattr(network, "window", None)
        images = torch.zeros(2, 3, *(window if isinstance(window, tuple) else (96, 96)))
        assert not draws_random_numbers(network, images)
        assert draws_random_numbers(with_monte_carlo_dropout(network), images)

    @pytest.mark.parametrize("name", sorted({*list_models("segment"), *list_models("classify")}))
    def test_passes_that_share_the_body_are_the_same_bit_for_bit(self, name: str) -> None:
        torch.manual_seed(0)
        random = with_monte_carlo_dropout(create_model(name, num_classes=3, **SYSTEMS[name].tiny))
        for module in random.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.bias)  # without it, some untrained features are all zero, so dropout is idle
        window = getattr(random, "window", None)
        batches = torch.randn(2, 2, 3, *(window if isinstance(window, tuple) else (96, 96)))

        def passes(start: Callable[[bool], None]) -> list[torch.Tensor]:
            found = []
            for images in batches:
                for number in range(3):
                    start(number == 0)
                    torch.manual_seed(number)
                    found.append(random(images))
            return found

        with torch.inference_mode():
            alone = passes(lambda first: None)
            body = SharedBody(random, batches[0])

            def start(first: bool) -> None:
                if first:
                    body.start()
                body.start_pass()

            shared = passes(start)
        assert not torch.equal(alone[0], alone[1])
        assert all(torch.equal(one, other) for one, other in zip(alone, shared, strict=True))

    def test_the_body_is_computed_once(self) -> None:
        random = with_monte_carlo_dropout(self.network())
        body, calls = SharedBody(random, torch.zeros(1, 3, 8, 8)), []
        random[1].register_forward_hook(lambda module, arguments, output: calls.append("norm"))
        convolution = random[0]
        convolve = convolution._conv_forward
        convolution._conv_forward = lambda *arguments: calls.append("convolution") or convolve(*arguments)
        for _ in range(4):
            body.start_pass()
            random(torch.zeros(1, 3, 8, 8))
        assert calls.count("convolution") == 1
        assert calls.count("norm") == 4  # hooks are called in every pass

    def test_a_call_that_changes_its_input_in_place_is_not_shared(self) -> None:
        class Adding(nn.Module):
            def forward(self, values: torch.Tensor) -> torch.Tensor:
                return values.add_(1).sum((2, 3))

        class Twice(nn.Module):
            heads = ("head",)

            def __init__(self) -> None:
                super().__init__()
                self.convolution, self.adding, self.head = nn.Conv2d(3, 4, 3), Adding(), nn.Linear(4, 2)

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                features = self.convolution(images)
                return self.head(self.adding(features) + features.mean((2, 3)))

        random, images = with_monte_carlo_dropout(Twice()), torch.randn(1, 3, 8, 8)
        torch.manual_seed(0)
        alone = random(images)
        body = SharedBody(random, images)
        for _ in range(3):
            body.start_pass()
            torch.manual_seed(0)
            assert torch.equal(random(images), alone)

    def test_a_network_that_names_no_head_is_refused(self) -> None:
        with pytest.raises(UserError, match="Conv2d does not name the layers of its head"):
            with_monte_carlo_dropout(nn.Conv2d(3, 2, 1))

    def test_a_stacked_hourglass_gets_it_before_the_logits_of_each_stack(self) -> None:
        hourglass = create_model("hourglass", num_classes=3, **{**SYSTEMS["hourglass"].tiny, "stacks": 3})
        assert heads_of(hourglass) == [hourglass.trunk.stacks[number].head for number in (2, 1, 0)]


def draws_random_numbers(network: nn.Module, images: torch.Tensor) -> bool:
    before = torch.get_rng_state()
    with torch.no_grad():
        network(images)
    return not torch.equal(before, torch.get_rng_state())
