"""What networks minimise that give a class and boxes, and what validation counts of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.loader import Batch, collate
from pixelwise.data.objects import largest_first
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.sample import NO_CLASS, Instances, Sample
from pixelwise.errors import UserError
from pixelwise.losses.boxes import box_l2
from pixelwise.methods.supervised import Supervised
from pixelwise.models.detect.localizer import Localisation
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.boxes import iou
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.tasks.detect.criterion import LocalisationTargets, true_boxes
from pixelwise.tasks.detect.task import WholePictures
from pixelwise.training.recipes import load_recipe
from planned import FACTS, planned_recipe, setup

K = 4


class Tiny(nn.Module):
    """Logits and boxes of pictures of 4 x 6 pixels, linear in them."""

    def __init__(self, boxes: int = 1, *, per_class: bool = False, names_background: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.num_boxes, self.per_class, self.names_background = boxes, per_class, names_background
        self.head, self.box_head = nn.Linear(72, K), nn.Linear(72, 4 * boxes)

    def forward(self, images: Tensor) -> Localisation:
        flat = images.flatten(1)
        return Localisation(self.head(flat), self.box_head(flat).unflatten(1, (-1, 4)).abs().cumsum(-1))


def samples_of(objects: list[list[tuple[int, float]]]) -> list[Sample]:
    """Pictures with objects (class, side), squares at the corner."""
    rng = np.random.default_rng(0)
    samples = []
    for number, some in enumerate(objects):
        boxes = np.array([[0, 0, side, side] for _, side in some], np.float32).reshape(-1, 4)
        image = rng.integers(0, 255, (4, 6, 3), np.uint8)
        classes = np.array([class_id for class_id, _ in some], np.int64)
        samples.append(largest_first(Sample(str(number), image, instances=Instances(boxes, classes))))
    return samples


def batch_of(objects: list[list[tuple[int, float]]]) -> Batch:
    return collate(samples_of(objects), LocalisationTargets)


def recipe_of(terms: dict[str, float]) -> PlannedRecipe:
    return planned_recipe("localizer", "detect", loss={"terms": terms})


def method_of(network: nn.Module, terms: dict[str, float]) -> Supervised:
    recipe = recipe_of(terms)
    return Supervised(setup(network, recipe, WholePictures().criterion(recipe, FACTS, network)))


def measured(network: nn.Module, terms: dict[str, float], batches: list[list[Sample]]) -> dict[str, float]:
    """The scores that a validation gives, over pictures in batches."""
    task, recipe = WholePictures(), recipe_of(terms)
    forward = method_of(network, terms).forward
    scores = task.scores(SPEC, Path(), recipe)
    with torch.no_grad():
        for samples in batches:
            images = collate(samples, None).images
            for prediction, sample in zip(
                task.predictions(SPEC, forward, network, samples, images), samples, strict=True
            ):
                scores.update(prediction, sample)
    return scores.values()


PICTURES = [[(2, 3.0)], [(1, 1.0), (3, 2.0), (3, 1.0)], []]
BATCH = batch_of(PICTURES)
SPEC = ModelSpec("tiny", {}, tuple(map(str, range(K))), PictureFormat(), (128.0,) * 3, (64.0,) * 3)
BOTH = {"cross_entropy": 1.0, "box_l2": 2.0}


def said_of(network: Tiny, batch: Batch) -> Localisation:
    return network((batch.images.float() - 128) / 64)


def test_losses_by_hand() -> None:
    network = Tiny()
    values = {name: value.detach() for name, value in method_of(network, BOTH).losses(network, BATCH).items()}
    logits, boxes = said_of(network, BATCH)
    expected = F.cross_entropy(logits[:2], torch.tensor([2, 3]))  # the third picture has no class
    assert values["cross_entropy"] == pytest.approx(float(expected.detach()), abs=1e-5)
    truth = torch.tensor([[[0.0, 0, 3, 3]], [[0, 0, 2, 2]]])
    expected_box = box_l2(boxes[:2], truth, torch.ones(2, 1, dtype=torch.bool), (4, 6))
    assert values["box_l2"] == pytest.approx(float(expected_box.detach()), rel=1e-5)
    total = values["cross_entropy"] + 2 * values["box_l2"]
    assert values["loss"] == pytest.approx(float(total), rel=1e-6)


@pytest.mark.parametrize(
    ("terms", "monitor", "reached"),
    [
        ({"cross_entropy": 1.0}, "accuracy", {"head"}),
        ({"box_l2": 1.0}, "box_iou", {"box_head"}),
        (BOTH, "localised", {"head", "box_head"}),
    ],
)
def test_a_step_moves_what_the_loss_names(terms: dict[str, float], monitor: str, reached: set[str]) -> None:
    network = Tiny()
    method = method_of(network, terms)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert set(terms) <= set(method.step({"labelled": BATCH}, 0.0))
    moved = {name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == reached
    scores = WholePictures().scores(SPEC, Path(), recipe_of(terms))
    assert scores.headlines[0].key == monitor
    values = measured(network, terms, [samples_of(PICTURES)])
    assert monitor in values
    assert ("box_iou" in values) == ("box_l2" in terms)


def test_a_batch_without_any_object_moves_nothing() -> None:
    network = Tiny()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scalars = method_of(network, BOTH).step({"labelled": batch_of([[], []])}, 0.0)
    assert scalars["loss"] == 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_which_boxes_are_to_be_learned() -> None:
    boxes, present = true_boxes(BATCH.targets, 1, per_class=False)
    assert present.tolist() == [[True], [True], [False]]
    assert boxes[:2, 0, 2].tolist() == [3, 2]
    boxes, present = true_boxes(BATCH.targets, 2, per_class=False)  # the largest objects of the largest one's class
    assert present.tolist() == [[True, False], [True, True], [False, False]]
    assert boxes[1, :, 2].tolist() == [2, 1]
    assert true_boxes(BATCH.targets, 5, per_class=False)[1].sum().item() == 3  # more boxes than any picture has objects
    boxes, present = true_boxes(BATCH.targets, K, per_class=True)
    assert present.tolist() == [[False, False, True, False], [False, True, False, True], [False] * 4]
    assert boxes[1, 1, 2] == 1
    assert boxes[1, 3, 2] == 2


@pytest.mark.parametrize("boxes", [1, 3])
def test_scores_are_counted_by_hand_whatever_the_batches(boxes: int) -> None:
    network = Tiny(boxes)
    samples = samples_of([[(2, 3)], [(1, 1), (3, 2), (3, 1)], [], [(1, 4)], [(2, 2)], [(3, 5)]])
    whole = collate(samples, LocalisationTargets)
    said = said_of(network, whole)
    truth = whole.targets.crops.classes
    logits = said.logits.detach().clone()
    logits[:, 0] = -1e9  # the background is no answer
    right = logits.argmax(1) == truth
    wanted, present = true_boxes(whole.targets, boxes, per_class=False)
    fits = torch.stack([
        iou(b[p], w[p]).mean() for b, w, p in zip(said.boxes.detach(), wanted, present, strict=True)
    ])  # fmt: skip
    has = truth != NO_CLASS
    scores = measured(network, BOTH, [samples])
    assert scores["accuracy"] == pytest.approx(float(right[has].double().mean()))
    assert scores["box_iou"] == pytest.approx(float(fits[has].double().mean()), abs=1e-6)
    assert scores["localised"] == pytest.approx(float((right & (fits >= 0.5))[has].double().mean()))
    assert measured(network, BOTH, [samples[:2], samples[2:]]) == pytest.approx(scores, abs=1e-6)


def test_the_background_is_an_answer_where_the_network_says_so() -> None:
    samples = samples_of([[(2, 3)], [(1, 2)]])
    for names_background, expected in ((False, 0.5), (True, 0.0)):
        network = Tiny(names_background=names_background)
        with torch.no_grad():
            network.head.weight.zero_()
            network.head.bias.copy_(torch.tensor([2.0, 1.0, 0.0, 0.0]))
        assert measured(network, BOTH, [samples])["accuracy"] == expected


def test_of_a_box_for_each_class_the_true_ones_is_judged() -> None:
    network = Tiny(K, per_class=True)
    samples = samples_of([[(2, 3)], [(1, 2)]])
    boxes = said_of(network, collate(samples, LocalisationTargets)).boxes.detach()
    expected = torch.stack(
        [iou(boxes[0, 2], torch.tensor([0.0, 0, 3, 3])), iou(boxes[1, 1], torch.tensor([0.0, 0, 2, 2]))]
    )
    assert measured(network, BOTH, [samples])["box_iou"] == pytest.approx(float(expected.mean()), abs=1e-6)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"train.precision": "bfloat"}, "'train.precision'.*'auto', 'float32' or 'bfloat16'"),
        ({"loss.terms": {"box_l3": 1.0}}, "did you mean 'box_l2'"),
    ],
)
def test_misspelt_settings_of_a_detector_are_one_sentence(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        load_recipe("localizer", overrides)
    assert "\n" not in str(caught.value)
