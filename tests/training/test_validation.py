"""What is measured while a network is trained: the shipped network, on every held-out picture, whatever the batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from pixelwise.data.cache import SampleCache
from pixelwise.data.loader import Batch, EvaluationLoader, collate
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.record import Record
from pixelwise.data.sample import VOID, Sample
from pixelwise.data.targets import ClassTargets, PixelTargets
from pixelwise.methods.supervised import Supervised
from pixelwise.models.classify.mlp import MLP
from pixelwise.models.spec import ModelSpec
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.tasks.base import Task
from pixelwise.tasks.classify.task import Classify
from pixelwise.tasks.segment.task import Segment, mask_of
from pixelwise.training.validation import Validation
from planned import FACTS, planned_recipe, setup

NAMES = ("a", "b", "c")


class Held:
    """Stands for a cache that holds samples."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = {sample.name: sample for sample in samples}

    def load(self, record: Record) -> Sample:
        return self.samples[record.name]


def loader(samples: Sequence[Sample], batch_size: int) -> EvaluationLoader:
    records = [Record(sample.name, cast(Any, None)) for sample in samples]
    return EvaluationLoader(cast(SampleCache, Held(samples)), records, batch_size=batch_size)


def validation(
    task: Task, recipe: PlannedRecipe, samples: Sequence[Sample], *, batch_size: int = 2, both: bool = False
) -> Validation:
    spec = ModelSpec("x", {}, NAMES, PictureFormat(), recipe.normalize.mean, recipe.normalize.std)
    held = loader(samples, batch_size)
    return Validation(task, spec, recipe, Path(), held, (held, held) if both else None)


def pixels(count: int = 4, seed: int = 0) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [
        Sample(str(n), rng.integers(0, 255, (6, 5, 2), np.uint8), rng.integers(0, 3, (6, 5)).astype(np.uint8))
        for n in range(count)
    ]


def test_every_process_measures_the_pictures_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, method = pixels(6), pixel_method()
    task, recipe = Segment(), planned_recipe("unet", "segment", channels=2)
    expected = validation(task, recipe, samples)(method, final=False)
    own, others = validation(task, recipe, samples[:2]), validation(task, recipe, samples[2:])

    def of_the_others(scores: Any) -> list[Any]:
        networks = {"": method.shipped()}
        return [scores, others._measured(method, networks, others.loader)[""]]

    assert own(method, final=False) != expected
    monkeypatch.setattr("pixelwise.training.validation.gathered", of_the_others)
    assert own(method, final=False) == expected


def batch(samples: Sequence[Sample]) -> Batch:
    return collate(samples, PixelTargets)


def pixel_method(optimizer: dict[str, Any] | None = None, **train: Any) -> Supervised:
    torch.manual_seed(0)
    network = nn.Conv2d(2, 3, 1)
    recipe = planned_recipe("unet", "segment", channels=2, optimizer=optimizer or {}, train=train)
    return Supervised(setup(network, recipe, Segment().criterion(recipe, FACTS, network)))


def accuracy(network: nn.Module, samples: Sequence[Sample]) -> float:
    images = (collate(samples, None).images.float() - 128) / 64
    with torch.no_grad():
        said = network(images).argmax(1).numpy()
    truth = np.stack([sample.mask for sample in samples if sample.mask is not None])
    return float((said == truth)[truth != VOID].mean())


RECIPE = planned_recipe("unet", "segment", channels=2)


def test_the_average_is_what_is_measured_and_the_raw_weights_beside_it_at_the_end() -> None:
    method = pixel_method({"lr": 3.0}, ema_decay=0.99)
    for seed in range(5):
        method.step({"labelled": batch(pixels(seed=seed))}, 0.0)
    samples = pixels(seed=9)
    measure = validation(Segment(), RECIPE, samples)
    scores = measure(method, final=False)
    assert scores.keys() == {"mean_iou", "pixel_accuracy"}
    assert scores["pixel_accuracy"] == pytest.approx(accuracy(method.shipped(), samples))
    last = measure(method, final=True)
    assert last["raw_pixel_accuracy"] == pytest.approx(accuracy(method.network, samples))
    assert {key: last[key] for key in scores} == scores
    assert last["raw_pixel_accuracy"] != last["pixel_accuracy"]
    plain = pixel_method()
    assert measure(plain, final=True).keys() == scores.keys()  # there is only one network


def test_scores_do_not_depend_on_batches_and_void_is_not_counted() -> None:
    method, samples = pixel_method(), pixels(5)
    mask = samples[0].mask
    assert mask is not None
    mask[:3] = VOID
    found = [validation(Segment(), RECIPE, samples, batch_size=size)(method, final=False) for size in (1, 2, 5)]
    assert found[0] == found[1] == found[2]
    assert found[0]["pixel_accuracy"] == pytest.approx(accuracy(method.network, samples))


def test_the_network_is_measured_in_evaluation_mode_and_no_statistics_move() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.9))
    method = Supervised(setup(network, RECIPE, Segment().criterion(RECIPE, None, network)))
    method.step({"labelled": batch(pixels())}, 0.0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second = (validation(Segment(), RECIPE, pixels())(method, final=True) for _ in range(2))
    assert first == second
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_pictures_of_several_sizes() -> None:
    samples = pixels(5)
    samples[2] = replace(samples[2], image=samples[2].image[:4], mask=samples[2].mask[:4])  # type: ignore[index]
    method = pixel_method()
    right = sum(accuracy(method.network, [sample]) * sample.mask.size for sample in samples if sample.mask is not None)
    total = sum(sample.mask.size for sample in samples if sample.mask is not None)
    scores = validation(Segment(), RECIPE, samples)(method, final=False)
    assert scores["pixel_accuracy"] == pytest.approx(right / total)


def test_one_logit_is_a_foreground() -> None:
    assert mask_of(torch.tensor([-1.0, 0.5]).view(1, 1, 2)).tolist() == [[0, 1]]


@pytest.mark.parametrize("size", [1, 4, 10])
def test_the_loss_on_pictures_does_not_depend_on_batches(size: int) -> None:
    """In evaluation mode, with the weights that are shipped, on pictures as they are."""
    torch.manual_seed(0)
    network = MLP(num_classes=3, size=4, hidden=(8,), dropout=0.9)
    recipe = planned_recipe("mlp", "classify", channels=1, optimizer={"lr": 0.5}, train={"ema_decay": 0.99})
    method = Supervised(setup(network, recipe, Classify().criterion(recipe, FACTS, network)))
    images = np.random.default_rng(0).integers(0, 255, (10, 4, 4, 1), np.uint8)
    samples = [Sample(str(n), image, class_id=n % 3) for n, image in enumerate(images)]
    method.step({"labelled": collate(samples, ClassTargets)}, 0.5)
    normalised = torch.from_numpy(images).permute(0, 3, 1, 2) / 64 - 2.0
    truth = torch.arange(10) % 3
    expected, trained = (
        float(torch.nn.functional.cross_entropy(each.eval()(normalised), truth).detach())
        for each in (method.shipped(), network)
    )
    assert abs(expected - trained) > 1e-3
    network.train()
    scores = validation(Classify(), recipe, samples, batch_size=size, both=True)(method, final=False)
    assert scores["loss"] == scores["training_loss"] == pytest.approx(expected, rel=1e-4)
    assert scores["training_accuracy"] == scores["accuracy"]


def test_the_first_headline_of_the_recipes_scores_is_the_monitor() -> None:
    assert [line.key for line in validation(Segment(), RECIPE, pixels()).headlines][:2] == [
        "mean_iou",
        "pixel_accuracy",
    ]
