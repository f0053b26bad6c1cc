"""The method of classifiers: its loss is the textbook's, its scores are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, top_k_accuracy_score
from torch import nn
from torch.nn import functional as F

from pixelwise.data.loader import Batch, collate
from pixelwise.data.sample import Sample
from pixelwise.losses import LossSum
from pixelwise.methods.classification import Classification


class Tiny(nn.Module):
    """Logits of 300 classes, with an auxiliary head."""

    auxiliary_weights = (0.5,)

    def __init__(self, classes: int = 300) -> None:
        super().__init__()
        self.fc = nn.Linear(12, classes)
        self.second = nn.Linear(12, classes)

    def forward(self, images: torch.Tensor, *, auxiliary: bool = False) -> torch.Tensor | tuple[torch.Tensor, ...]:
        flat = images.flatten(1)
        return (self.fc(flat), self.second(flat)) if auxiliary else self.fc(flat)


def batch_of(ids: list[int]) -> Batch:
    rng = np.random.default_rng(len(ids))
    images = rng.integers(0, 256, (len(ids), 2, 2, 3), np.uint8)
    return collate([Sample(str(n), image, class_id=i) for n, (image, i) in enumerate(zip(images, ids, strict=True))])


def method_of(network: nn.Module, classes: int = 300, **options: object) -> Classification:
    return Classification(
        network,
        loss=LossSum({"cross_entropy": 1.0}, ignore_index=Classification.ignore_index, **options),
        optimizer=torch.optim.SGD(network.parameters(), 0.0),
        schedule=lambda progress: 1.0,
        class_names=[str(i) for i in range(classes)],
        mean=[128.0] * 3,
        std=[64.0] * 3,
    )


def logits_of(network: Tiny, batch: Batch) -> tuple[torch.Tensor, ...]:
    return network((batch.images.float() - 128) / 64, auxiliary=True)


def test_classes_are_stacked_as_maps_of_one_pixel() -> None:
    batch = batch_of([0, 255, 299])
    assert batch.masks.shape == (3, 1, 1)
    assert batch.masks.flatten().tolist() == [0, 255, 299]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_cross_entropy_over_pictures_and_255_is_a_class(smoothing: float) -> None:
    torch.manual_seed(0)
    network, batch = Tiny(), batch_of([0, 255, 299, 255])
    values = method_of(network, label_smoothing=smoothing).step(batch, 0.5)
    main, second = logits_of(network, batch)
    truth = batch.masks.flatten()
    expected = F.cross_entropy(main, truth, label_smoothing=smoothing)
    auxiliary = 0.5 * F.cross_entropy(second, truth, label_smoothing=smoothing)
    assert values["cross_entropy"] == pytest.approx(float(expected), rel=1e-5)
    assert values["loss"] == pytest.approx(float(expected + auxiliary), rel=1e-5)


def test_scores_do_not_depend_on_batches() -> None:
    torch.manual_seed(0)
    network = Tiny(classes=7)
    ids = np.random.default_rng(0).integers(0, 7, 20).tolist()
    whole = batch_of(ids)
    logits = logits_of(network, whole)[0].detach().numpy()
    method = method_of(network, classes=7)
    parts = [
        Batch(whole.images[start:end], whole.masks[start:end], whole.names[start:end])
        for start, end in ((0, 1), (1, 9), (9, 20))
    ]
    for batches in ([whole], parts):
        scores = method.evaluate(batches)
        assert scores["accuracy"] == pytest.approx(accuracy_score(ids, logits.argmax(1)))
        assert scores["top5_accuracy"] == pytest.approx(top_k_accuracy_score(ids, logits, k=5, labels=range(7)))


def test_five_classes_have_no_top_five() -> None:
    method = method_of(Tiny(classes=5), classes=5)
    assert set(method.evaluate([batch_of([0, 1])])) == {"accuracy"}
