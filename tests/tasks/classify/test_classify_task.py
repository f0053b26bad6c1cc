"""Teaching classifiers: the loss is the textbook's, over pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.loader import Batch, collate
from pixelwise.data.sample import NO_CLASS, Sample
from pixelwise.data.targets import ClassTargets
from pixelwise.methods.supervised import Supervised
from pixelwise.tasks.classify.task import Classify
from planned import FACTS, planned_recipe, setup


class Tiny(nn.Module):
    """Logits of 300 classes, with an auxiliary head."""

    auxiliary_weights = (0.5,)

    def __init__(self, classes: int = 300) -> None:
        super().__init__()
        self.fc = nn.Linear(12, classes)
        self.second = nn.Linear(12, classes)

    def forward(self, images: Tensor, *, auxiliary: bool = False) -> Tensor | tuple[Tensor, ...]:
        flat = images.flatten(1)
        return (self.fc(flat), self.second(flat)) if auxiliary else self.fc(flat)


def batch_of(ids: list[int | None]) -> Batch:
    rng = np.random.default_rng(len(ids))
    images = rng.integers(0, 256, (len(ids), 2, 2, 3), np.uint8)
    samples = [Sample(str(n), image, class_id=i) for n, (image, i) in enumerate(zip(images, ids, strict=True))]
    return collate(samples, ClassTargets)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_cross_entropy_over_pictures_and_255_is_a_class(smoothing: float) -> None:
    torch.manual_seed(0)
    network, batch = Tiny(), batch_of([0, 255, 299, 255])
    loss = {"label_smoothing": smoothing}
    recipe = planned_recipe("lenet5", "classify", loss=loss, optimizer={"lr": 1e-30})
    method = Supervised(setup(network, recipe, Classify().criterion(recipe, FACTS, network)))
    values = method.step({"labelled": batch}, 0.5)
    main, second = network((batch.images.float() - 128) / 64, auxiliary=True)
    truth = torch.tensor([0, 255, 299, 255])
    expected = F.cross_entropy(main, truth, label_smoothing=smoothing)
    auxiliary = 0.5 * F.cross_entropy(second, truth, label_smoothing=smoothing)
    assert values["cross_entropy"] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert values["loss"] == pytest.approx(float((expected + auxiliary).detach()), rel=1e-5)


def test_pictures_without_a_class_have_no_part_in_the_loss() -> None:
    recipe = planned_recipe("lenet5", "classify")
    logits = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    criterion = Classify().criterion(recipe, FACTS, nn.Identity())
    found = criterion(logits, ClassTargets(torch.tensor([4, NO_CLASS, 1])))
    expected = F.cross_entropy(logits[[0, 2]], torch.tensor([4, 1]))
    assert float(found["loss"]) == pytest.approx(float(expected), rel=1e-6)


def test_class_weights_count_in_the_loss() -> None:
    recipe = planned_recipe("lenet5", "classify", loss={"class_weights": (1.0, 2.0, 5.0)})
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([2, 0, 1])
    found = Classify().criterion(recipe, FACTS, nn.Identity())(logits, ClassTargets(truth))
    expected = F.cross_entropy(logits, truth, torch.tensor([1.0, 2.0, 5.0]))
    assert float(found["loss"]) == pytest.approx(float(expected.detach()), rel=1e-5)
