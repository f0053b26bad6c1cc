"""Means over all processes: two of them with the same batch have the loss of one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pixelwise.losses import adversarial, values, vat
from pixelwise.models.generate import vae


def bounded(seed: int) -> Tensor:
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def vae_loss() -> Tensor:
    torch.manual_seed(0)
    return vae.VAE(size=(8, 8), latent=2, width=2, hidden=4).losses(bounded(0))["loss"]


def autoencoder_loss() -> Tensor:
    torch.manual_seed(0)
    return vae.Autoencoder(size=(8, 8), latent=2, width=2, hidden=4).losses(bounded(0))["loss"]


def vat_loss() -> Tensor:
    return vat.virtual_adversarial_loss(
        lambda images: images.flatten(1)[:, :4] ** 2,
        bounded(1),
        epsilon=0.5,
        xi=0.1,
        generator=torch.Generator().manual_seed(0),
    )


LOSSES: dict[str, tuple[object, Callable[[], Tensor]]] = {
    "l1": (values, lambda: values.l1(bounded(0), bounded(1))),
    "l2": (values, lambda: values.l2(bounded(0), bounded(1))),
    "huber": (values, lambda: values.huber(bounded(0), bounded(1), delta=0.1)),
    "generator": (adversarial, lambda: adversarial.generator_loss(bounded(0))),
    "discriminator": (adversarial, lambda: adversarial.discriminator_loss(bounded(0), bounded(1))),
    "vat": (vat, vat_loss),
    "vae": (vae, vae_loss),
    "autoencoder": (vae, autoencoder_loss),
}


@pytest.mark.parametrize("name", LOSSES)
def test_sums_and_counts_both_go_over_all_processes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, loss = LOSSES[name]
    alone = loss()
    calls = []

    def of_two(value: Tensor) -> Tensor:
        calls.append(value)
        return 2 * value

    monkeypatch.setattr(module, "total", of_two)
    torch.testing.assert_close(loss(), alone)
    assert len(calls) >= 2
