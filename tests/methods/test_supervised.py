"""One supervised step: what moves, by how much, and what is shipped."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pixelwise.data.loader import Batch
from pixelwise.losses import LossSum
from pixelwise.methods.supervised import Supervised, predicted_ids
from pixelwise.nn.dense import DenseModel
from pixelwise.recipe.schedules import make_schedule


def method(**options: object) -> Supervised:
    torch.manual_seed(0)
    network = options.pop("network", None) or nn.Conv2d(2, 3, 1)
    settings: dict[str, object] = {
        "loss": LossSum({"cross_entropy": 1.0}),
        "optimizer": torch.optim.SGD(network.parameters(), 0.1),
        "schedule": make_schedule("poly"),
        "class_names": ("a", "b", "c"),
        "mean": (100.0, 50.0),
        "std": (10.0, 20.0),
        **options,
    }
    return Supervised(network, **settings)  # type: ignore[arg-type]


def batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 255, (2, 2, 6, 5), generator=generator, dtype=torch.uint8)
    return Batch(images, torch.randint(0, 3, (2, 6, 5), generator=generator), ("x", "y"))


def test_a_step_is_the_optimizers_step_on_the_loss_of_normalised_pictures() -> None:
    trained, data = method(), batch()
    reference = nn.Conv2d(2, 3, 1)
    reference.load_state_dict(trained.network.state_dict())
    scalars = trained.step(data, 0.0)
    images = (data.images.float() - torch.tensor([100.0, 50.0])[:, None, None]) / torch.tensor([10.0, 20.0])[
        :, None, None
    ]
    loss = nn.functional.cross_entropy(reference(images), data.masks)
    loss.backward()
    assert scalars["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    for found, start in zip(trained.network.parameters(), reference.parameters(), strict=True):
        assert start.grad is not None
        assert torch.allclose(found, start - 0.1 * start.grad, atol=1e-6)


class TwoHeads(DenseModel):
    """Logits by one 1x1 convolution, auxiliary ones by another."""

    auxiliary_weights = (0.4,)

    def __init__(self) -> None:
        super().__init__()
        self.head, self.auxiliary = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images)

    def all_logits(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.head(images), self.auxiliary(images)


def test_auxiliary_losses_count_by_their_weights_and_evaluation_leaves_them_out() -> None:
    torch.manual_seed(0)
    network = TwoHeads()
    with torch.no_grad():
        network.auxiliary.weight.fill_(0.5)
    images = (batch().images.float() - torch.tensor([100.0, 50.0])[:, None, None]) / torch.tensor([10.0, 20.0])[
        :, None, None
    ]
    with torch.no_grad():
        terms = [float(nn.functional.cross_entropy(head(images), batch().masks)) for head in network.children()]
    trained = method(network=network, optimizer=torch.optim.SGD(network.parameters(), 0.1))
    before = network.auxiliary.bias.detach().clone()
    scalars = trained.step(batch(), 0.0)
    assert scalars["cross_entropy"] == pytest.approx(terms[0], rel=1e-5)
    assert scalars["auxiliary"] == pytest.approx(0.4 * terms[1], rel=1e-5)
    assert scalars["loss"] == pytest.approx(terms[0] + 0.4 * terms[1], rel=1e-5)
    assert not torch.equal(network.auxiliary.bias, before)
    expected = (network.head(images).argmax(1) == batch().masks).float().mean()
    assert trained.evaluate([batch()])["pixel_accuracy"] == pytest.approx(float(expected))


def test_rates_follow_the_schedule_of_their_own_peaks() -> None:
    network = nn.Conv2d(2, 3, 1)
    groups = [{"params": [network.weight], "lr": 0.1}, {"params": [network.bias], "lr": 0.02}]
    trained = method(optimizer=torch.optim.SGD(groups))
    trained.step(batch(), 0.5)
    assert [group["lr"] for group in trained.optimizer.param_groups] == pytest.approx([0.1 * 0.5**0.9, 0.02 * 0.5**0.9])


def test_gradients_are_clipped() -> None:
    trained = method(clip_norm=0.01)
    before = [p.detach().clone() for p in trained.network.parameters()]
    assert trained.step(batch(), 0.0)["gradient_norm"] > 0.01  # the norm that is reported is the one before clipping
    moved = sum(
        float((a - b).detach().square().sum()) for a, b in zip(before, trained.network.parameters(), strict=True)
    )
    assert moved**0.5 == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_the_average_is_what_ships_and_is_evaluated() -> None:
    trained = method(ema_decay=0.9)
    for seed in range(5):
        trained.step(batch(seed), 0.0)
    assert trained.average is not None
    assert torch.equal(trained.export()["weight"], trained.average.network.weight)
    assert not torch.equal(trained.export()["weight"], trained.network.weight)
    data = batch(9)
    expected = predicted_ids(trained._run(trained.average.network, data.images))
    accuracy = float((expected == data.masks).float().mean())
    assert trained.evaluate([data])["pixel_accuracy"] == pytest.approx(accuracy)


def test_state_goes_on_bitwise() -> None:
    first, second = method(ema_decay=0.9), method(ema_decay=0.9)
    first.step(batch(1), 0.1)
    second.load_state_dict(first.state_dict())
    for trained in (first, second):
        trained.step(batch(2), 0.2)
    for name, value in first.export().items():
        assert torch.equal(value, second.export()[name])


def test_state_comes_back_in_the_layout_of_the_parameters() -> None:
    for attempt in range(2):
        trained = method()
        trained.network = nn.Conv2d(2, 3, 3, padding=1).to(memory_format=torch.channels_last)
        trained.wrapped = trained.network
        trained.optimizer = torch.optim.AdamW(trained.network.parameters(), 0.1, fused=True)
        trained.peak_rates = [0.1]
        if attempt == 0:
            trained.step(batch(1), 0.0)
            state = {
                "network": {k: v.contiguous() for k, v in trained.network.state_dict().items()},
                "optimizer": trained.optimizer.state_dict(),
            }
            for moments in state["optimizer"]["state"].values():
                moments.update({k: v.contiguous() for k, v in moments.items()})
        else:
            trained.load_state_dict(state)
            for parameter, moments in trained.optimizer.state.items():
                assert moments["exp_avg"].stride() == parameter.stride()


def test_evaluation_ignores_void_and_batch_size() -> None:
    trained = method()
    data = batch(3)
    data.masks[0, :3] = 255
    halves = [Batch(data.images[i : i + 1], data.masks[i : i + 1], (str(i),)) for i in range(2)]
    assert trained.evaluate([data]) == trained.evaluate(halves)


def test_one_logit_is_a_foreground() -> None:
    logits = torch.tensor([-1.0, 0.5]).view(1, 1, 1, 2)
    assert predicted_ids(logits).tolist() == [[[0, 1]]]


def test_swa_ships_the_mean_of_the_weights_after_its_start() -> None:
    trained = method(swa_start=0.5)
    seen = []
    for seed in range(6):
        trained.step(batch(seed), seed / 6)
        if seed < 3:
            assert torch.equal(trained.export()["weight"], trained.network.weight)
        else:
            seen.append(trained.network.weight.detach().clone())
    assert torch.allclose(trained.export()["weight"], torch.stack(seen).mean(0), atol=1e-6)
    scores = trained.evaluate([batch(9)], final=True)
    raw = (trained._run(trained.network, batch(9).images).argmax(1) == batch(9).masks).float().mean()
    assert scores["raw_pixel_accuracy"] == pytest.approx(float(raw))
    assert trained.evaluate([batch(9)]).keys() == {"mean_iou", "pixel_accuracy"}


def test_swa_measures_batch_norm_on_training_pictures() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    trained = method(network=network, optimizer=torch.optim.SGD(network.parameters(), 0.1), swa_start=0.0)
    for seed in range(3):
        trained.step(batch(seed), 0.5)
    averaged = trained.shipped
    before = averaged[1].running_mean.clone()
    trained.prepare_evaluation([batch(4), batch(5)])
    maps = [averaged[0](trained._normalised(batch(seed).images)).mean((0, 2, 3)) for seed in (4, 5)]
    assert not torch.allclose(averaged[1].running_mean, before)
    assert torch.allclose(averaged[1].running_mean, torch.stack(maps).mean(0), atol=1e-5)
    assert not averaged.training


def test_swa_goes_on_bitwise() -> None:
    first, second = method(swa_start=0.0), method(swa_start=0.0)
    first.step(batch(1), 0.1)
    second.load_state_dict(first.state_dict())
    for trained in (first, second):
        trained.step(batch(2), 0.2)
    assert torch.equal(first.export()["weight"], second.export()["weight"])
    assert not torch.equal(first.export()["weight"], first.network.weight)
