"""How a run starts: what it reads, and what it freezes where several processes train."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pixelwise.training.recipe import load_recipe
from torch import nn

from pixelwise.methods.supervised import Supervised
from pixelwise.models import weights as weights_module
from pixelwise.models.encoders import create_encoder
from pixelwise.nn.sync_batch_norm import SyncBatchNorm2d
from pixelwise.training import session

SETTINGS = ["model.encoder=mobilenet_v2", "augment.crop=[32,48]", "train.batch_size=2", "train.epochs=1"]


def started(data: Path, out: Path, *overrides: str) -> Supervised:
    recipe = load_recipe("unet", [*SETTINGS, f"data.path={data}", *overrides])
    return session.start(recipe, name="unet", out=str(out)).method


def test_weights_are_read_and_hashed_once(scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {name: value + 1 for name, value in create_encoder("mobilenet_v2").state_dict().items()}
    torch.save(expected, tmp_path / "encoder.pth")
    hashed, read, load = [], [], torch.load

    def counted(path: Path, **options: object) -> object:
        read.append(path)
        return load(path, **options)

    monkeypatch.setattr(weights_module, "check_digest", hashed.append)
    monkeypatch.setattr(torch, "load", counted)
    network = started(scenes_folder, tmp_path / "run", f"model.weights={tmp_path / 'encoder.pth'}").network
    assert hashed == read == [tmp_path / "encoder.pth"]
    found = network.encoder.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not weights_module._kept, "the memory is given back before the training"


def test_what_is_frozen_is_part_of_the_synchronised_network(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch norms are exchanged where several processes train; the new ones are held, not the old ones."""
    monkeypatch.setattr(session, "world_size", lambda: 2)
    method = started(scenes_folder, tmp_path / "run", "optimizer.freeze=[encoder]")
    modules = set(method.network.modules())
    norms = [module for module in method.frozen if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(isinstance(norm, SyncBatchNorm2d) for norm in norms)
    assert all(module in modules for module in method.frozen)
