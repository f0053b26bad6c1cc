"""One supervised step: what moves, by how much, and what is shipped."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pixelwise.data.loader import Batch
from pixelwise.losses import LossSum
from pixelwise.methods.supervised import Supervised, predicted_ids
from pixelwise.training.schedule import make_schedule


def method(**options: object) -> Supervised:
    torch.manual_seed(0)
    network = nn.Conv2d(2, 3, 1)
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
    expected = predicted_ids(trained._logits(trained.average.network, data.images))
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
