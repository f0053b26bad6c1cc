"""Learning from labels: the loss that is minimised, and what belongs to the method beside it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelwise.data.loader import Batch
from pixelwise.data.targets import PixelTargets
from pixelwise.methods.supervised import Supervised
from pixelwise.nn.dense import DenseModel
from pixelwise.tasks.segment.task import Segment
from planned import FACTS, forward_pass, planned_recipe, setup

MEAN, STD = (100.0, 50.0), (10.0, 20.0)


def method(network: nn.Module | None = None, **sections: dict[str, Any]) -> Supervised:
    torch.manual_seed(0)
    network = network or nn.Conv2d(2, 3, 1)
    sections = {"normalize": {"mean": MEAN, "std": STD}, **sections}
    recipe = planned_recipe("unet", "segment", channels=2, **sections)
    return Supervised(setup(network, recipe, Segment().criterion(recipe, FACTS, network)))


def batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 255, (2, 2, 6, 5), generator=generator, dtype=torch.uint8)
    return Batch(images, ("x", "y"), PixelTargets(torch.randint(0, 3, (2, 6, 5), generator=generator)))


def normalised(images: Tensor) -> Tensor:
    return (images.float() - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def test_a_step_is_the_optimizers_step_on_the_loss_of_normalised_pictures() -> None:
    trained, data = method(), batch()
    reference = nn.Conv2d(2, 3, 1)
    reference.load_state_dict(trained.network.state_dict())
    scalars = trained.step({"labelled": data}, 0.0)
    loss = nn.functional.cross_entropy(reference(normalised(data.images)), data.targets.masks)
    loss.backward()
    assert scalars["loss"] == scalars["cross_entropy"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert scalars["learning_rate"] == 0.1
    for found, start in zip(trained.network.parameters(), reference.parameters(), strict=True):
        assert start.grad is not None
        assert torch.allclose(found, start - 0.1 * start.grad, atol=1e-6)


class TwoHeads(DenseModel):
    """Logits by one 1x1 convolution, auxiliary ones by another."""

    auxiliary_weights = (0.4,)

    def __init__(self) -> None:
        super().__init__()
        self.head, self.auxiliary = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)

    def logits(self, images: Tensor) -> Tensor:
        return self.head(images)

    def all_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.head(images), self.auxiliary(images)


def test_auxiliary_losses_count_by_their_weights() -> None:
    torch.manual_seed(0)
    network = TwoHeads()
    with torch.no_grad():
        network.auxiliary.weight.fill_(0.5)
        images = normalised(batch().images)
        terms = [float(nn.functional.cross_entropy(head(images), batch().targets.masks)) for head in network.children()]
    trained = method(network)
    before = network.auxiliary.bias.detach().clone()
    scalars = trained.step({"labelled": batch()}, 0.0)
    assert scalars["cross_entropy"] == pytest.approx(terms[0], rel=1e-5)
    assert scalars["auxiliary"] == pytest.approx(0.4 * terms[1], rel=1e-5)
    assert scalars["loss"] == pytest.approx(terms[0] + 0.4 * terms[1], rel=1e-5)
    assert not torch.equal(network.auxiliary.bias, before)


class OwnLoss(nn.Module):
    """A network whose loss is its own: the mean of what it gives, and twice that of the squares."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(2, 1, 1)

    def losses(self, images: Tensor, targets: PixelTargets) -> dict[str, Tensor]:
        given = self.head(images) + targets.masks[:, None]
        terms = {"first": given.mean(), "second": 2 * given.square().mean()}
        return {**terms, "loss": terms["first"] + terms["second"]}


def test_a_network_may_bring_its_own_loss() -> None:
    torch.manual_seed(0)
    network = OwnLoss()
    recipe = planned_recipe("unet", "segment", channels=2, normalize={"mean": MEAN, "std": STD})
    trained = Supervised(setup(network, recipe, None))
    with torch.no_grad():
        given = network.head(normalised(batch().images)) + batch().targets.masks[:, None]
    before = network.head.bias.detach().clone()
    scalars = trained.step({"labelled": batch()}, 0.0)
    assert scalars["second"] == pytest.approx(2 * float(given.square().mean()), rel=1e-5)
    assert scalars["loss"] == pytest.approx(float(given.mean() + 2 * given.square().mean()), rel=1e-5)
    # d loss / d bias = 1 + 4 mean(given)
    assert float(network.head.bias.detach()) == pytest.approx(
        float(before) - 0.1 * (1 + 4 * float(given.mean())), rel=1e-4
    )


def test_the_network_runs_in_the_precision_that_is_asked_for() -> None:
    seen = []
    network = nn.Conv2d(2, 3, 1)
    network.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    recipe = planned_recipe("unet", "segment", channels=2)
    criterion = Segment().criterion(recipe, FACTS, network)
    for dtype in (torch.float32, torch.bfloat16):
        Supervised(setup(network, recipe, criterion, forward=forward_pass(MEAN, STD, dtype))).step(
            {"labelled": batch()}, 0.0
        )
    assert seen == [torch.float32, torch.bfloat16]


def test_frozen_modules_stay_in_evaluation_mode() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    recipe = planned_recipe("unet", "segment", channels=2)
    trained = Supervised(setup(network, recipe, Segment().criterion(recipe, FACTS, network), frozen=[network[0]]))
    trained.step({"labelled": batch()}, 0.0)
    assert [module.training for module in network] == [False, True, True]
    assert float(network[0].running_mean.abs().sum()) == 0
    assert float(network[2].running_mean.abs().sum()) > 0


def test_equal_averaging_is_measured_on_normalised_pictures_before_an_evaluation() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    trained = method(network, train={"swa_start": 0.0})
    for seed in range(3):
        trained.step({"labelled": batch(seed)}, 0.5)
    averaged = trained.shipped()
    trained.prepare_evaluation([batch(4), batch(5)])
    maps = [averaged[0](normalised(batch(seed).images)).mean((0, 2, 3)) for seed in (4, 5)]
    assert torch.allclose(averaged[1].running_mean, torch.stack(maps).mean(0), atol=1e-5)


@pytest.mark.parametrize("train", [{"ema_decay": 0.9}, {"swa_start": 0.0}])
def test_state_goes_on_bitwise(train: dict[str, float]) -> None:
    first, second = (method(train=train, schedule={"name": "cosine"}) for _ in range(2))
    first.step({"labelled": batch(1)}, 0.1)
    second.load_state_dict(first.state_dict())
    for trained in (first, second):
        trained.step({"labelled": batch(2)}, 0.2)
    for name, value in first.shipped().state_dict().items():
        assert torch.equal(value, second.shipped().state_dict()[name])
    assert not torch.equal(first.shipped().weight, first.network.weight)
