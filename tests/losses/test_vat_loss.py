"""Laws of virtual adversarial training: norms, directions, and what must not be touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pixelwise.losses.vat import (
    categorical_kl,
    nearest_neighbour_distance,
    virtual_adversarial_loss,
    virtual_adversarial_perturbation,
)
from pixelwise.nn.statistics import held_statistics


def classifier(dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 5)
    )


def dense(classes: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh(), nn.Conv2d(8, classes, 3, padding=1)
    )


NETWORKS: list[Callable[[], nn.Module]] = [classifier, dense, lambda: dense(1)]


def pictures() -> Tensor:
    return torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_kl_against_torch_distributions() -> None:
    torch.manual_seed(0)
    a, b = 5 * torch.randn(7, 4, 2, 3), 5 * torch.randn(7, 4, 2, 3)
    p, q = (torch.distributions.Categorical(logits=x.movedim(1, -1)) for x in (a, b))
    torch.testing.assert_close(categorical_kl(a, b), torch.distributions.kl_divergence(p, q))
    one, other = torch.randn(7, 1), torch.randn(7, 1)
    p, q = (torch.distributions.Bernoulli(logits=x[:, 0]) for x in (one, other))  # type: ignore[assignment]
    torch.testing.assert_close(categorical_kl(one, other), torch.distributions.kl_divergence(p, q))
    assert categorical_kl(1e4 * a, -1e4 * a).isfinite().all()
    torch.testing.assert_close(categorical_kl(a.bfloat16(), a.bfloat16()), torch.zeros(7, 2, 3))


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize("iterations", [1, 3])
def test_every_norm_is_epsilon_and_no_random_direction_changes_more(
    build: Callable[[], nn.Module], iterations: int
) -> None:
    network, images, epsilon = build().eval(), pictures(), 0.5
    r = virtual_adversarial_perturbation(network, images, epsilon=epsilon, xi=0.05, iterations=iterations)
    torch.testing.assert_close(r.flatten(1).norm(dim=1), torch.full((6,), epsilon), atol=1e-3, rtol=0)
    with torch.no_grad():
        clean = network(images)

        def change(perturbation: Tensor) -> Tensor:
            return categorical_kl(clean, network(images + perturbation)).reshape(6, -1).sum(1)

        for _ in range(20):
            random = torch.randn(images.shape)
            random *= epsilon / random.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            assert (change(r) >= change(random)).all()


def test_more_iterations_find_the_dominant_eigenvector() -> None:
    """Of logits W x at x = 0 the Hessian of the divergence is W^T F W with F = diag(p) - p p^T, p uniform."""
    torch.manual_seed(0)
    weight = torch.randn(4, 6, dtype=torch.float64)
    centred = weight - weight.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    r = virtual_adversarial_perturbation(
        lambda x: x @ weight.T, torch.zeros(3, 6, dtype=torch.float64), epsilon=1.0, xi=1e-4, iterations=100
    )
    torch.testing.assert_close((r @ vectors[:, -1]).abs(), torch.ones(3, dtype=torch.float64), atol=1e-3, rtol=0)


@pytest.mark.parametrize("build", NETWORKS)
def test_neither_statistics_nor_gradients_nor_random_numbers_are_touched(build: Callable[[], nn.Module]) -> None:
    network, images = build().train(), pictures()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    generator = torch.Generator().manual_seed(2)
    with held_statistics(network):
        virtual_adversarial_perturbation(network, images, epsilon=1.0, xi=0.1, generator=generator)
        assert torch.equal(torch.get_rng_state(), state)
        loss = virtual_adversarial_loss(network, images, epsilon=1.0, xi=0.1, generator=generator)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in network.parameters())
    loss.backward()
    assert all(p.grad is not None for name, p in network.named_parameters() if not name.endswith("3.bias"))
    network(images)
    assert int(network.state_dict()[f"{2 if len(network) == 6 else 1}.num_batches_tracked"]) == 1  # type: ignore[arg-type]


def test_statistics_come_back_after_an_error() -> None:
    network = dense()
    mean = network[1].running_mean

    def fails() -> None:
        with held_statistics(network):
            network(pictures())
            assert network[1].running_mean is not mean
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert network[1].running_mean is mean
    assert not mean.any()


def test_dropout_is_the_same_in_all_passes_and_another_in_the_next_call() -> None:
    seen: list[Tensor] = []
    dropout = nn.Dropout(0.5)

    def logits_of(images: Tensor) -> Tensor:
        seen.append(dropout(torch.ones(64)))
        return images.flatten(1)[:, :4]

    for _ in range(2):
        virtual_adversarial_loss(
            logits_of, pictures(), epsilon=1.0, xi=0.1, iterations=2, generator=torch.Generator().manual_seed(0)
        )
    first, second = seen[:4], seen[4:]
    assert len(second) == 4
    assert all(torch.equal(mask, first[0]) for mask in first)
    assert all(torch.equal(mask, second[0]) for mask in second)
    assert not torch.equal(first[0], second[0])


def test_the_loss_is_the_divergence_at_the_perturbation_and_its_gradient_leaves_the_clean_answer_out() -> None:
    network, images = dense().eval(), pictures()
    seeds = (torch.Generator().manual_seed(3) for _ in range(2))
    loss = virtual_adversarial_loss(network, images, epsilon=1.0, xi=0.1, generator=next(seeds))
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in network.parameters()]  # type: ignore[union-attr]
    network.zero_grad()
    r = virtual_adversarial_perturbation(network, images, epsilon=1.0, xi=0.1, generator=next(seeds))
    expected = categorical_kl(network(images).detach(), network(images + r)).mean()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for gradient, parameter in zip(gradients, network.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_a_network_that_ignores_the_picture_keeps_the_random_direction() -> None:
    r = virtual_adversarial_perturbation(
        lambda images: 0 * images.flatten(1)[:, :3], pictures(), epsilon=2.0, xi=0.1, iterations=2
    )
    torch.testing.assert_close(r.flatten(1).norm(dim=1), torch.full((6,), 2.0))


def test_tiny_gradients_do_not_underflow() -> None:
    """Where one class has all but exp(-60) of the probability the gradient's square is below float32's range."""
    certain = torch.tensor([60.0, 0.0, 0.0])
    r = virtual_adversarial_perturbation(
        lambda images: images.flatten(1)[:, :3] + certain, pictures(), epsilon=1.0, xi=1.0
    )
    torch.testing.assert_close(r.flatten(1).norm(dim=1), torch.ones(6))
    assert (r.flatten(1)[:, 3:] == 0).all()  # found, not the random direction


def test_float32_also_under_autocast() -> None:
    network, images = dense().eval(), pictures()
    options = {"epsilon": 1.0, "xi": 1e-2}
    r = virtual_adversarial_perturbation(network, images, **options, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        under = virtual_adversarial_perturbation(network, images, **options, generator=torch.Generator().manual_seed(0))
    assert torch.equal(r, under)


def test_nearest_neighbours_by_hand_and_by_scikit_learn() -> None:
    from sklearn.neighbors import NearestNeighbors

    assert nearest_neighbour_distance(torch.tensor([[0.0], [1.0], [3.0], [10.0]])) == pytest.approx(1.5)
    images = torch.randn(301, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    flat = images.flatten(1).numpy()
    distances = NearestNeighbors(n_neighbors=2).fit(flat).kneighbors(flat)[0][:, 1]
    assert nearest_neighbour_distance(images) == pytest.approx(sorted(distances)[150], rel=1e-5)
    with pytest.raises(ValueError, match="at least 2"):
        nearest_neighbour_distance(images[:1])


def test_options_that_make_no_sense() -> None:
    for options in ({"epsilon": 0.0, "xi": 1.0}, {"epsilon": 1.0, "xi": 0.0}):
        with pytest.raises(ValueError, match="positive"):
            virtual_adversarial_perturbation(dense(), pictures(), **options)
    with pytest.raises(ValueError, match="positive"):
        virtual_adversarial_perturbation(dense(), pictures(), epsilon=1.0, xi=1.0, iterations=0)
