"""Classical methods that learn with few labels: each uses what pictures without labels show."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from pixelwise.tasks.classify.references import REFERENCES


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, ...]:
    """Pixels and classes of 50 labelled digits, the pixels of 1,000 others, and pixels and classes to measure on."""
    found = load_digits()
    order = np.random.default_rng(1).permutation(len(found.target))
    chosen = np.concatenate([order[found.target[order] == digit][:5] for digit in range(10)])
    rest = order[~np.isin(order, chosen)]
    pixels, target = found.data, found.target
    return pixels[chosen], target[chosen], pixels[rest[:1000]], pixels[rest[1000:]], target[rest[1000:]]


@pytest.mark.parametrize("name", REFERENCES)
def test_pictures_without_labels_help(digits: tuple[np.ndarray, ...], name: str) -> None:
    labelled, classes, more, held_out, truth = digits
    alone = [
        (each.fit(labelled, classes).predict(held_out) == truth).mean()
        for each in (KNeighborsClassifier(1), SVC(gamma="scale", C=10))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = REFERENCES[name].fit(labelled, classes, more, 0).predict(held_out)
    assert (found == truth).mean() > max(alone) + 0.01


def test_what_no_label_reaches_has_the_class_of_the_nearest_one() -> None:
    """Three clumps far apart, the last without a label and nearest to the second."""
    rng = np.random.default_rng(1)
    clumps = np.concatenate([rng.normal(centre, 0.1, (20, 2)) for centre in (0, 10, 14)])
    fitted = REFERENCES["label spreading"].fit(clumps[[0, 20]], np.array([3, 7]), np.delete(clumps, [0, 20], 0), 0)
    assert fitted.predict(clumps).tolist() == [3] * 20 + [7] * 40


@pytest.mark.parametrize("name", REFERENCES)
def test_one_label_per_class_and_nothing_else_is_enough(name: str) -> None:
    points = np.eye(3) * 5
    fitted = REFERENCES[name].fit(points, np.array([2, 5, 9]), points[:0], 0)
    assert set(fitted.predict(points + 0.1).tolist()) <= {2, 5, 9}
