"""One group of modules and what updates it: what moves, by how much, and what is shipped."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelwise import methods
from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.methods.base import Scalar, TrainingDiverged
from pixelwise.methods.optimised import Optimised, RMSprop, make_optimizer, rate_factors
from pixelwise.recipe.schedules import make_schedule
from planned import planned_recipe


def optimised(network: nn.Module | None = None, **options: Any) -> Optimised:
    torch.manual_seed(0)
    network = network or nn.Conv2d(2, 3, 1)
    optimizer = options.pop("optimizer", None) or torch.optim.SGD(network.parameters(), 0.1)
    return Optimised(network, optimizer, **options)


def images(seed: int = 0) -> Tensor:
    return torch.randn(2, 2, 6, 5, generator=torch.Generator().manual_seed(seed))


def step(trained: Optimised, seed: int = 0, progress: float = 0.0) -> dict[str, Scalar]:
    target = torch.randint(0, 3, (2, 6, 5), generator=torch.Generator().manual_seed(seed))
    loss = nn.functional.cross_entropy(trained.network(images(seed)), target)
    return trained.step(loss, progress, ("x", "y"))


def test_a_step_goes_down_the_gradient() -> None:
    trained = optimised()
    reference = nn.Conv2d(2, 3, 1)
    reference.load_state_dict(trained.network.state_dict())
    target = torch.randint(0, 3, (2, 6, 5), generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(reference(images()), target).backward()
    scalars = step(trained)
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in reference.parameters() if p.grad is not None))
    assert scalars == pytest.approx({"gradient_norm": norm, "learning_rate": 0.1})
    for found, start in zip(trained.network.parameters(), reference.parameters(), strict=True):
        assert start.grad is not None
        assert torch.allclose(found, start - 0.1 * start.grad, atol=1e-6)


def test_gradients_do_not_add_up_over_steps() -> None:
    once, twice = optimised(), optimised()
    step(twice, 1)
    twice.network.load_state_dict(once.network.state_dict())
    for trained in (once, twice):
        step(trained, 2)
    assert torch.equal(once.network.weight, twice.network.weight)


def test_rates_follow_the_schedule_of_their_own_peaks() -> None:
    network = nn.Conv2d(2, 3, 1)
    groups = [{"params": [network.weight], "lr": 0.1}, {"params": [network.bias], "lr": 0.02}]
    trained = optimised(network, optimizer=torch.optim.SGD(groups), schedule=make_schedule("poly"))
    for _ in range(2):  # the peaks are those of the start, not of the step before
        step(trained, progress=0.5)
        rates = [group["lr"] for group in trained.optimizer.param_groups]
        assert rates == pytest.approx([0.1 * 0.5**0.9, 0.02 * 0.5**0.9])


def test_gradients_are_clipped() -> None:
    trained = optimised(clip_norm=0.01)
    before = [p.detach().clone() for p in trained.network.parameters()]
    assert step(trained)["gradient_norm"] > 0.01  # the norm that is reported is the one before clipping
    moved = sum(
        float((a - b).detach().square().sum()) for a, b in zip(before, trained.network.parameters(), strict=True)
    )
    assert moved**0.5 == pytest.approx(0.1 * 0.01, rel=1e-3)


@pytest.mark.parametrize("what", ["loss became nan", "gradient norm became inf"])
def test_what_is_not_finite_updates_nothing(what: str) -> None:
    trained = optimised(ema_decay=0.9)
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    shipped = {name: value.clone() for name, value in trained.shipped().state_dict().items()}
    loss = trained.network(images()).mean()
    if what.startswith("loss"):
        loss = loss * math.nan
    else:
        trained.network.weight.register_hook(lambda gradient: torch.full_like(gradient, math.inf))
    with pytest.raises(TrainingDiverged, match=rf"the {what} on the batch of x, y, z, \.\.\. at learning rate 0\.1"):
        trained.step(loss, 0.0, ("x", "y", "z", "w"))
    assert all(torch.equal(value, before[name]) for name, value in trained.network.state_dict().items())
    assert all(torch.equal(value, shipped[name]) for name, value in trained.shipped().state_dict().items())


def test_the_average_is_what_ships() -> None:
    trained = optimised(ema_decay=0.9)
    for seed in range(5):
        step(trained, seed)
    assert trained.average is not None
    assert trained.shipped() is trained.average.network
    assert not torch.equal(trained.shipped().weight, trained.network.weight)


@pytest.mark.parametrize("averaging", [{}, {"ema_decay": 0.9}, {"swa_start": 0.0}])
def test_state_goes_on_bitwise(averaging: dict[str, float]) -> None:
    pair = [
        optimised(network, optimizer=torch.optim.SGD(network.parameters(), 0.1, momentum=0.9), **averaging)
        for network in (nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1))
    ]
    first, second = pair
    step(first, 1, 0.1)
    second.load_state_dict(first.state_dict())
    for trained in pair:
        step(trained, 2, 0.2)
    for name, value in first.shipped().state_dict().items():
        assert torch.equal(value, second.shipped().state_dict()[name])
    assert torch.equal(first.network.weight, second.network.weight)
    assert torch.equal(first.shipped().weight, first.network.weight) == (not averaging)


def test_state_comes_back_in_the_layout_of_the_parameters() -> None:
    def channels_last() -> Optimised:
        network = nn.Conv2d(2, 3, 3, padding=1).to(memory_format=torch.channels_last)
        return optimised(network, optimizer=torch.optim.AdamW(network.parameters(), 0.1, fused=True))

    trained = channels_last()
    step(trained, 1)
    state = trained.state_dict()
    state["network"] = {name: value.contiguous() for name, value in state["network"].items()}
    for moments in state["optimizer"]["state"].values():
        moments.update({name: value.contiguous() for name, value in moments.items()})
    again = channels_last()
    again.load_state_dict(state)
    weight = again.network.weight
    assert weight.stride() != weight.contiguous().stride()
    for parameter, moments in again.optimizer.state.items():
        assert moments["exp_avg"].stride() == parameter.stride()


def test_swa_ships_the_mean_of_the_weights_after_its_start() -> None:
    trained = optimised(swa_start=0.5)
    seen = []
    for seed in range(6):
        step(trained, seed, seed / 6)
        if seed < 3:
            assert trained.shipped() is trained.network
        else:
            seen.append(trained.network.weight.detach().clone())
    assert torch.allclose(trained.shipped().weight, torch.stack(seen).mean(0), atol=1e-6)


def test_swa_measures_batch_norm_on_training_pictures() -> None:
    trained = optimised(nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)), swa_start=0.0)
    for seed in range(3):
        step(trained, seed, 0.5)
    averaged = trained.shipped()
    before = averaged[1].running_mean.clone()
    trained.refresh([images(4), images(5)])
    maps = [averaged[0](images(seed)).mean((0, 2, 3)) for seed in (4, 5)]
    assert not torch.allclose(averaged[1].running_mean, before)
    assert torch.allclose(averaged[1].running_mean, torch.stack(maps).mean(0), atol=1e-5)
    assert not averaged.training


def test_frozen_batch_norm_is_measured_no_more() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    trained = optimised(network, swa_start=0.0, frozen=[network[1]])
    trained.train()
    assert network[0].training
    assert network[2].training
    assert not network[1].training
    step(trained, 0, 0.5)
    kept = trained.shipped()[1].running_mean.clone()
    other = trained.shipped()[2].running_mean.clone()
    trained.refresh([images(4)])
    assert torch.equal(trained.shipped()[1].running_mean, kept)
    assert not torch.equal(trained.shipped()[2].running_mean, other)


def test_decay_is_for_weights_and_rates_are_the_recipes() -> None:
    network = create_model("resnet18", num_classes=2)
    settings = {"name": "adamw", "lr": 0.01, "weight_decay": 0.05, "encoder_lr_factor": 0.3}
    optimizer = make_optimizer(planned_recipe("resnet18", "classify", optimizer=settings), network)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.05 if parameter.dim() > 1 else 0)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in network.named_parameters()}
    assert all(rate == pytest.approx(0.01 if name.startswith("fc") else 0.003) for name, rate in found.items())
    network.fc.bias.requires_grad_(False)
    held = make_optimizer(planned_recipe("resnet18", "classify", optimizer=settings), network).param_groups
    assert id(network.fc.bias) not in {id(p) for group in held for p in group["params"]}


def test_rates_fall_with_depth() -> None:
    settings = {"depth_decay": 0.5, "encoder_lr_factor": 0.8}
    network = create_model("resnet18", num_classes=2)
    factors = rate_factors(planned_recipe("resnet18", "classify", optimizer=settings), network)
    found = {name: factors[id(parameter)] for name, parameter in network.named_parameters()}
    assert found["fc.weight"] == 1
    expected = {"layer4": 0.4, "layer3": 0.2, "layer2": 0.1, "layer1": 0.05, "conv1": 0.025}
    for name, factor in found.items():
        if not name.startswith(("fc", "bn1")):
            assert factor == pytest.approx(expected[name.split(".")[0]])
    recipe = planned_recipe("hourglass", "segment", optimizer=settings)
    hourglass = create_model("hourglass", num_classes=2, width=8)
    with pytest.raises(UserError, match="hourglass is not built on an encoder"):
        rate_factors(recipe, hourglass)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("what", ["loss became nan", "gradient norm became inf"])
def test_what_is_read_later_updates_nothing_either(name: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the step that diverged on nothing moves, good steps after it included, and the check names its batch."""
    monkeypatch.setattr(methods.base, "reading_waits", lambda device: True)
    monkeypatch.setattr(methods.optimised, "reading_waits", lambda device: True)
    network = nn.Conv2d(2, 3, 1)
    recipe = planned_recipe("resnet18", "classify", optimizer={"name": name, "momentum": 0.9, "lr": 0.1})
    trained = optimised(network, optimizer=make_optimizer(recipe, network), ema_decay=0.9)
    for seed in range(2):
        scalars = step(trained, seed)
        assert isinstance(scalars["gradient_norm"], Tensor)
    trained.check()

    def state() -> list[Tensor]:
        moments = [value for each in trained.optimizer.state.values() for value in each.values()]
        return [*network.state_dict().values(), *trained.shipped().state_dict().values(), *moments]

    before = [value.clone() for value in state()]
    loss = network(images()).mean()
    fault = math.nan if what.startswith("loss") else math.inf
    hook = network.weight.register_hook(lambda gradient: torch.full_like(gradient, fault))
    trained.step(loss * math.nan if what.startswith("loss") else loss, 0.0, ("p", "q"))
    hook.remove()
    step(trained, 3)
    step(trained, 4)
    assert all(map(torch.equal, state(), before))
    with pytest.raises(TrainingDiverged, match=rf"the {what} on the batch of p, q at learning rate 0\.1"):
        trained.check()


def test_steps_read_later_are_those_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> Optimised:
        torch.manual_seed(0)
        network = nn.Conv2d(2, 3, 1)
        optimizer = torch.optim.AdamW(network.parameters(), 0.1, fused=True)
        found = optimised(network, optimizer=optimizer, ema_decay=0.9, clip_norm=0.5)
        for seed in range(4):
            step(found, seed)
        found.check()
        return found

    now = trained()
    monkeypatch.setattr(methods.base, "reading_waits", lambda device: True)
    monkeypatch.setattr(methods.optimised, "reading_waits", lambda device: True)
    later = trained()
    for found, expected in zip(later.shipped().parameters(), now.shipped().parameters(), strict=True):
        assert torch.equal(found, expected)


def test_rmsprop_leaves_parameters_alone_where_a_step_is_left_out() -> None:
    """As fused optimisers do by `found_inf`; weight decay is decoupled, as that of AdamW."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(3, 3))
    optimizer = RMSprop([{"params": [weight], "lr": 0.1, "weight_decay": 0.5}], 0.1)
    plain = nn.Parameter(weight.detach().clone())
    twin = torch.optim.RMSprop([plain], 0.1)
    for parameter in (weight, plain):
        parameter.grad = torch.full((3, 3), 2.0)
    with torch.no_grad():
        plain.mul_(1 - 0.1 * 0.5)
    optimizer.step()
    twin.step()
    torch.testing.assert_close(weight, plain)
    before = weight.detach().clone()
    optimizer.found_inf = torch.tensor(1.0)
    weight.grad = torch.full((3, 3), torch.nan)
    optimizer.step()
    assert torch.equal(weight, before)
    optimizer.found_inf = torch.tensor(0.0)
    weight.grad = torch.ones(3, 3)
    optimizer.step()
    assert not torch.equal(weight, before)
    assert torch.isfinite(weight).all()
