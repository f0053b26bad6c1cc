"""How a run starts: what it reads, and what it freezes where several processes train."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pixelwise import api
from pixelwise.data.cache import SampleCache
from pixelwise.data.codings import Coding
from pixelwise.data.digits import write_digits
from pixelwise.data.record import Record
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.methods.supervised import Supervised
from pixelwise.models import weights as weights_module
from pixelwise.models.encoders import create_encoder
from pixelwise.nn.sync_batch_norm import SyncBatchNorm2d
from pixelwise.training import session, setup
from pixelwise.training.opening import open_recipe_data
from pixelwise.training.progress import Silent
from pixelwise.training.recipes import load_recipe

SETTINGS = ["model.encoder=mobilenet_v2", "augment.crop=[32,48]", "train.batch_size=2", "train.epochs=1"]


def started(data: Path, out: Path, *overrides: str) -> Supervised:
    recipe = load_recipe("unet", [*SETTINGS, f"data.path={data}", *overrides])
    method = session.start(recipe, name="unet", out=str(out)).method
    assert isinstance(method, Supervised)
    return method


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
    monkeypatch.setattr(setup, "world_size", lambda: 2)
    method = started(scenes_folder, tmp_path / "run", "optimizer.freeze=[encoder]")
    modules = set(method.network.modules())
    norms = [module for module in method.optimised.frozen if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(isinstance(norm, SyncBatchNorm2d) for norm in norms)
    assert all(module in modules for module in method.optimised.frozen)


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names every record whose labels are decoded from here on, whatever of them is wanted."""
    names: list[str] = []
    inside = threading.local()

    def counting(kind: type[Coding], method: str) -> None:
        original = vars(kind)[method]

        def counted(self: Coding, *given: Any, **options: Any) -> Any:
            if getattr(inside, "deep", False):  # one decoding may be made of another
                return original(self, *given, **options)
            inside.deep = True
            try:
                record = next(each for each in (*given, *options.values()) if isinstance(each, Record))
                names.append(record.name)
                return original(self, *given, **options)
            finally:
                inside.deep = False

        monkeypatch.setattr(kind, method, counted)

    kinds, waiting = [], [Coding]
    while waiting:
        kinds.append(waiting.pop())
        waiting += kinds[-1].__subclasses__()
    for kind in kinds:
        for method in vars(kind):
            if method == "label" or method.startswith("decode"):
                counting(kind, method)
    return names


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        ("unet", ["model.width=4", "model.encoder=null"]),
        ("unet", ["model.width=4", "model.encoder=null", "augment.objects=0.5", "loss.border_weight=10"]),
        ("localizer", ["model.encoder=resnet18", "model.hidden=[8,4]", "model.pool=2"]),
        ("overfeat_small", ["model.width=4", "model.regression=true"]),
    ],
)
def test_labels_are_decoded_once_per_start(
    model: str, overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check, the facts and the cache share one reading, and training starts from it."""
    write_coco_scenes(tmp_path / "coco", train=4, val=2, size=(64, 96), digits=(1, 2))
    recipe = load_recipe(
        model, [f"data.path={tmp_path / 'coco'}", "train.epochs=1", "train.batch_size=2", "train.validations=1",
                "train.precision=float32", *overrides]
    )  # fmt: skip
    names = decoded(monkeypatch)
    made = session.start(recipe, name=model, out=str(tmp_path / "run"))
    dataset = made.data.dataset
    expected = sorted(record.name for split in ("train", "val") for record in dataset.split(split))
    assert sorted(names) == expected
    session.execute(made, Silent())
    assert sorted(names) == expected


def test_without_room_labels_are_read_again(
    scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the count above can tell."""
    names = decoded(monkeypatch)
    monkeypatch.setattr(SampleCache, "keep", lambda self, record, sample: sample)
    recipe = load_recipe("unet", [*SETTINGS, f"data.path={scenes_folder}", "train.validations=1"])
    made = session.start(recipe, name="unet", out=str(tmp_path / "run"))
    started = len(names)
    session.execute(made, Silent())
    assert len(names) > started == 12


@pytest.mark.parametrize("method", ["supervised", "vat"])
def test_a_batch_of_one_and_batch_norm_over_pictures(method: str, tmp_path: Path) -> None:
    write_digits(tmp_path / "digits", train=2, val=2)
    overrides = {"model.hidden": [4], "model.batch_norm": True, "train.batch_size": 1, "method.name": method}
    with pytest.raises(UserError, match=r"train\.batch_size: with a batch of 1, .* one value per unit; set it to 2"):
        api.train("mlp", data=tmp_path / "digits", epochs=1, out=tmp_path / "run", overrides=overrides)
    assert not (tmp_path / "run").exists()


def test_the_order_of_runs_is_that_of_the_recipe(tmp_path: Path) -> None:
    for name in "ab":
        Image.new("L", (8, 6)).save(tmp_path / f"{name}.png")
    (tmp_path / "train.csv").write_text("id,rle\na,1 3\nb,\n")
    for order, expected in (("rows", [[0, 0], [0, 1], [0, 2]]), ("columns", [[0, 0], [1, 0], [2, 0]])):
        recipe = load_recipe("unet", [f"data.path={tmp_path}", f"data.rle_order={order}"])
        dataset = open_recipe_data(recipe)
        assert np.argwhere(dataset.load_mask(dataset.records[0])).tolist() == expected
    with pytest.raises(UserError, match="rle_order"):
        load_recipe("unet", ["data.rle_order=diagonal"])
