"""What adversarial training promises beyond what every method does: Lipschitz control and unrolled steps."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pixelwise import api
from pixelwise.data.digits import write_digits
from pixelwise.errors import UserError
from pixelwise.losses.adversarial import discriminator_loss, generator_loss
from pixelwise.methods.adversarial import UNROLLED_RATE, Adversarial
from pixelwise.methods.optimised import Optimised
from pixelwise.methods.unrolled import UnrolledAdamW
from pixelwise.training import session
from pixelwise.training.progress import Silent
from pixelwise.training.recipes import load_recipe

WGAN = {"method.loss": "wasserstein", "method.lipschitz": "gradient_penalty", "model.discriminator_norm": "none"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adversarial") / "digits"
    write_digits(folder, train=6, val=2)
    return folder


def began(digits: Path, out: Path, recipe: str = "dcgan", **options: Any) -> session.Session:
    overrides = {
        "data.path": str(digits), "model.width": 4, "model.latent": 8, "train.batch_size": 10, "train.epochs": 1,
        "train.validations": 2, "train.seed": 1, **options,
    }  # fmt: skip
    return session.start(load_recipe(recipe, overrides), name="gan", out=str(out))


@pytest.mark.parametrize(
    "options",
    [
        WGAN,
        {"method.lipschitz": "spectral_norm"},
        {"method.unrolled_steps": 2},
        {"method.unrolled_steps": 1, "method.lipschitz": "spectral_norm", "method.loss": "minimax"},
        {"method.loss": "least_squares"},
        {"recipe": "progressive_gan", "model.base": 32},
    ],
    ids=["wgan-gp", "spectral norm", "unrolled", "unrolled with spectral norm", "least squares", "growing"],
)
def test_a_stopped_run_ends_with_the_same_bytes(
    options: dict[str, Any], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = began(digits, tmp_path / "whole", **options)
    session.execute(whole, Silent())
    steps: list[int] = []
    original = Adversarial.step

    class Killed(Exception):
        pass

    def step(self: Adversarial, *arguments: Any) -> Any:
        if len(steps) == 3:
            raise Killed
        steps.append(1)
        return original(self, *arguments)

    monkeypatch.setattr("pixelwise.training.loop.CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Adversarial, "step", step)
        with pytest.raises(Killed):
            session.execute(began(digits, tmp_path / "stopped", **options), Silent())
    resumed = api.resume(tmp_path / "stopped")
    assert resumed.best.read_bytes() == whole.run.best.read_bytes()


def test_unrolled_steps_leave_the_discriminator_as_it_is(digits: Path, tmp_path: Path) -> None:
    method: Any = began(digits, tmp_path / "run", **{"method.unrolled_steps": 3, "optimizer.lr": 0.02}).method
    method.discriminator.train()
    images = torch.rand(6, 1, 16, 16) * 2 - 1
    before = copy.deepcopy(method.discriminator.network.state_dict())
    state = copy.deepcopy(method.discriminator.optimizer.state_dict())
    torch.manual_seed(3)
    loss = method._generator_loss(images)
    assert all(torch.equal(value, before[name]) for name, value in method.discriminator.network.state_dict().items())
    assert method.discriminator.optimizer.state_dict() == state
    torch.manual_seed(3)
    at_once = generator_loss(method._logits(method._fake(6)))
    assert not torch.equal(loss, at_once)


@pytest.mark.parametrize("kind", ["non_saturating", "minimax"])
def test_the_generator_plays_against_the_discriminator_that_it_foresees(
    kind: str, digits: Path, tmp_path: Path
) -> None:
    options = {"method.unrolled_steps": 2, "method.loss": kind, "train.precision": "float32", "optimizer.lr": 0.02}
    method: Any = began(digits, tmp_path / "run", **options).method
    method.discriminator.train()
    real = torch.rand(6, 1, 16, 16) * 2 - 1
    torch.manual_seed(3)
    foreseen = method._generator_loss(real)
    torch.manual_seed(3)
    fake = method._fake(6).detach()
    for _ in range(2):
        method.discriminator.step(method._discriminator_loss(real, fake)[0], 0.5, ["a"])
    opposed, logits = method._logits(real), method._logits(fake)
    wanted = -discriminator_loss(opposed, logits, "minimax") if kind == "minimax" else generator_loss(logits)
    assert float(foreseen.detach()) == pytest.approx(float(wanted.detach()), rel=1e-3)


def test_a_discriminator_that_is_unrolled_learns_more_slowly(digits: Path, tmp_path: Path) -> None:
    rates = [
        began(digits, tmp_path / str(steps), **{"method.unrolled_steps": steps}).method.discriminator._peak_rates[0]
        for steps in (0, 2)
    ]
    assert rates[1] == pytest.approx(UNROLLED_RATE * rates[0])


def test_an_unrolled_update_equals_the_optimisers_own() -> None:
    torch.manual_seed(0)
    network = nn.Linear(4, 1).double()
    optimised = Optimised(network, torch.optim.AdamW(network.parameters(), 0.01, betas=(0.5, 0.9), weight_decay=0.1))
    images = torch.randn(3, 4, dtype=torch.float64)
    optimised.step(network(images).square().sum(), 0.0, ["a"])  # so that there are moments
    ahead = UnrolledAdamW(optimised)
    for _ in range(3):
        ahead.step(torch.func.functional_call(network, ahead.parameters, (images,)).square().sum())
    for _ in range(3):
        optimised.step(network(images).square().sum(), 0.0, ["a"])
    for name, value in network.named_parameters():
        torch.testing.assert_close(ahead.parameters[name], value, rtol=1e-6, atol=1e-9)


def test_the_generator_learns_through_the_unrolled_updates() -> None:
    """The derivative of the loss after an update equals the difference quotient."""
    network = nn.Linear(1, 1, bias=False).double()
    optimised = Optimised(network, torch.optim.AdamW(network.parameters(), 0.1, weight_decay=0.0))
    optimised.step(network(torch.ones(1, 1).double()).square().sum(), 0.0, ["a"])

    def after(made: torch.Tensor) -> torch.Tensor:
        ahead = UnrolledAdamW(optimised)
        ahead.step((ahead.parameters["weight"] * made - 1).square().sum())
        return (ahead.parameters["weight"] * 2).sum()

    made = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(after(made), made)
    quotient = (after(made.detach() + 1e-6) - after(made.detach() - 1e-6)) / 2e-6
    assert float(gradient.detach()) == pytest.approx(float(quotient.detach()), rel=1e-4)
    assert abs(float(gradient.detach())) > 1e-6


def test_a_critic_takes_five_steps_on_other_pictures(digits: Path, tmp_path: Path) -> None:
    run = began(digits, tmp_path / "run", **WGAN)
    assert run.recipe.method.options["discriminator_steps"] == 5
    seen: list[int] = []
    original = Adversarial.step

    def step(self: Adversarial, batches: Any, progress: float) -> Any:
        seen.append(sum(len(batch.names) for batch in batches.values()))
        return original(self, batches, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adversarial, "step", step)
        session.execute(run, Silent())
    assert set(seen) == {50}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method.lipschitz": "gradient_penalty"}, "set model.discriminator_norm to none"),
        ({"method.loss": "wasserstein", "method.label_smoothing": 0.1}, "has no labels to smooth"),
        ({"method.unrolled_steps": 1, "optimizer.name": "rmsprop"}, "set optimizer.name to adamw"),
        ({"method.loss": "wassertein"}, "wasserstein"),
        ({"model.discriminator_norm": "instance"}, "expected 'batch' or 'none'"),
    ],
)
def test_what_cannot_work_is_one_sentence(options: dict[str, Any], words: str, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        began(digits, tmp_path / "run", **options)


def test_a_network_grows_during_the_run_and_makes_pictures_of_one_size(digits: Path, tmp_path: Path) -> None:
    run = began(digits, tmp_path / "run", "progressive_gan", **{"model.base": 32, "train.batch_size": 6})
    network: Any = run.method.network
    assert run.method.full_from == 1  # the time of a step is measured at the final size
    sides: list[int] = []
    original = Adversarial._real

    def real(self: Adversarial, batch: Any) -> torch.Tensor:
        pictures = original(self, batch)
        sides.append(pictures.shape[-1])
        return pictures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adversarial, "_real", real)
        session.execute(run, Silent())
    assert sides == sorted(sides)
    assert (sides[0], sides[-1]) == (4, 8)
    assert run.method.shipped().generator.growth == 1  # the averaged generator grows, too
    _, *made = api.sample(run.run.path, tmp_path / "made", count=3)
    assert network.size == (8, 8)
    assert len(made) == 3
