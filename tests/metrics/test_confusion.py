"""The confusion matrix against scikit-learn, and the laws it keeps."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from pixelwise.data.sample import VOID
from pixelwise.metrics import ConfusionMatrix

CLASSES = 5


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """(N, H, W) predictions and targets with void and, often, absent classes."""
    seed = draw(st.integers(0, 2**32 - 1))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))
    allowed = draw(st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=CLASSES, unique=True))
    rng = np.random.default_rng(seed)
    target = rng.choice([*allowed, VOID], shape).astype(np.uint8)
    return rng.integers(0, draw(st.integers(1, CLASSES)), shape).astype(np.uint8), target


def counted(prediction: np.ndarray, target: np.ndarray) -> ConfusionMatrix:
    matrix = ConfusionMatrix(CLASSES)
    matrix.update(prediction, target)
    return matrix


@settings(max_examples=100, deadline=None)
@given(labelled())
def test_equals_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, target = pair
    matrix = counted(prediction, target)
    valid = target != VOID
    true, predicted = target[valid], prediction[valid]
    labels = np.arange(CLASSES)
    if not len(true):
        assert matrix.pixels == 0
        assert math.isnan(matrix.mean_iou())
        return
    np.testing.assert_array_equal(matrix.counts, sk.confusion_matrix(true, predicted, labels=labels))
    either = np.isin(labels, true) | np.isin(labels, predicted)
    options = {"labels": labels, "average": None}
    for ours, theirs, defined in (
        (matrix.iou(), sk.jaccard_score(true, predicted, zero_division=0, **options), either),
        (matrix.dice(), sk.f1_score(true, predicted, zero_division=0, **options), either),
        (
            matrix.precision(),
            sk.precision_score(true, predicted, zero_division=0, **options),
            np.isin(labels, predicted),
        ),
        (matrix.recall(), sk.recall_score(true, predicted, zero_division=0, **options), np.isin(labels, true)),
    ):
        np.testing.assert_allclose(ours[defined], theirs[defined], rtol=1e-12)
        assert ours[~torch.from_numpy(defined)].isnan().all()
    assert matrix.pixel_accuracy() == pytest.approx(sk.accuracy_score(true, predicted))
    recalls = sk.recall_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0)
    assert matrix.mean_accuracy() == pytest.approx(recalls)
    assert matrix.mean_iou() == pytest.approx(sk.jaccard_score(true, predicted, labels=labels[either], average="macro"))


@settings(max_examples=30, deadline=None)
@given(labelled(), st.integers(1, 3))
def test_batch_size_does_not_matter(pair: tuple[np.ndarray, np.ndarray], size: int) -> None:
    prediction, target = pair
    whole, parts = counted(prediction, target), ConfusionMatrix(CLASSES)
    for start in range(0, len(target), size):
        parts = parts + counted(prediction[start : start + size], target[start : start + size])
    assert json.dumps(parts.summary()) == json.dumps(whole.summary())


@settings(max_examples=30, deadline=None)
@given(labelled())
def test_order_of_the_scores(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """IoU <= Dice <= cosine, as harmonic means are below geometric ones; dice = 2 iou / (1 + iou)."""
    matrix = counted(*pair)
    iou, dice, cosine = matrix.iou(), matrix.dice(), matrix.cosine()
    defined = ~iou.isnan()
    assert torch.equal(defined, ~cosine.isnan())
    assert (iou[defined] <= dice[defined]).all()
    assert (dice[defined] <= cosine[defined] + 1e-12).all()
    torch.testing.assert_close(dice[defined], (2 * iou / (1 + iou))[defined])


def test_hand_example() -> None:
    matrix = ConfusionMatrix(4, ["sky", "road", "car", "tree"])
    matrix.update(np.array([[0, 0, 1], [1, 1, 2]]), np.array([[0, 1, 1], [1, VOID, 1]]))
    assert matrix.counts.tolist() == [[1, 0, 0, 0], [1, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert matrix.iou().tolist()[:3] == [1 / 2, 2 / 4, 0]
    assert matrix.cosine().tolist()[:3] == pytest.approx([1 / math.sqrt(2), 2 / math.sqrt(8), 0])
    summary = matrix.summary("val")
    assert summary["iou"] == {"sky": 0.5, "road": 0.5, "car": 0.0, "tree": None}
    assert summary["recall"]["car"] is None  # never true
    assert summary["precision"]["car"] == 0.0  # but predicted
    assert summary["mean_iou"] == pytest.approx(1 / 3)
    assert summary["mean_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert summary["pixels"] == 5
    assert summary["definition"] == (
        "mean IoU over 3 of 4 classes (1 absent from truth and prediction, not counted), dataset-level "
        "(one confusion matrix over all pixels of the val split), void excluded"
    )


def test_nothing_counted_is_undefined_and_plain_json() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(torch.zeros(2, 4, dtype=torch.int64), torch.full((2, 4), VOID))
    summary = matrix.summary()
    assert summary["mean_iou"] is summary["pixel_accuracy"] is summary["mean_accuracy"] is summary["mean_dice"] is None
    json.dumps(summary, allow_nan=False)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integers(dtype: torch.dtype) -> None:
    target = torch.randint(0, CLASSES, (3, 7, 5), generator=torch.Generator().manual_seed(0))
    prediction = target.flip(0)
    matrix = ConfusionMatrix(CLASSES)
    matrix.update(prediction.to(dtype), target.to(dtype))
    expected = counted(prediction.numpy()[:, ::-1].copy()[:, ::-1], target.numpy())  # a view with negative strides
    assert torch.equal(matrix.counts, expected.counts)


@pytest.mark.parametrize(
    ("prediction", "target", "sentence"),
    [
        (CLASSES, 0, "prediction holds class id 5"),
        (VOID, VOID, "prediction holds class id 255"),
        (-1, 0, "prediction holds class id -1"),
        (256, 0, "prediction holds class id 256"),
        (0, CLASSES, "target holds class id 5"),
        (0, -1, "target holds class id -1"),
    ],
)
def test_ids_out_of_range(prediction: int, target: int, sentence: str) -> None:
    matrix = ConfusionMatrix(CLASSES)
    with pytest.raises(ValueError, match=sentence):
        matrix.update(torch.tensor([[0, prediction]]), torch.tensor([[0, target]]))
    assert matrix.pixels == 0


def test_other_misuse() -> None:
    matrix = ConfusionMatrix(CLASSES)
    with pytest.raises(ValueError, match="float32"):
        matrix.update(torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(2, 2\) but target is \(2, 3\)"):
        matrix.update(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="different classes"):
        matrix.merge(ConfusionMatrix(CLASSES, list("abcde")))
    with pytest.raises(ValueError, match="256 classes"):
        ConfusionMatrix(256)
    with pytest.raises(ValueError, match="1 class names for 2"):
        ConfusionMatrix(2, ["one"])


def test_addition_leaves_both_as_they_were() -> None:
    one, two = counted(np.array([[1]]), np.array([[1]])), counted(np.array([[2]]), np.array([[1]]))
    total = one + two
    assert (one.pixels, two.pixels, total.pixels) == (1, 1, 2)
