"""Classical methods that learn from labelled and unlabelled pictures, on pixels: what a network has to beat.

The methods are scikit-learn's. It has no transductive SVM, so self-training of an SVM takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.data.dataset import UNLABELLED, Dataset
from pixelwise.data.fit import Centre, resized
from pixelwise.data.record import Record
from pixelwise.data.splits import even_sample

SIDE = 32
"""The longest side of the pictures that the methods see, in pixels."""
MOST = 20_000
"""The most pictures without labels that a method sees."""
CLUSTERS = 5
"""Clusters per class."""

Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, int], Any]
"""Pixels (N, F) of the labelled pictures, their class ids (N,), pixels (M, F) of those without labels, and a seed -> a
fitted estimator with `predict`."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A classical method.

    Attributes:
        most: the most pictures without labels that it sees; an SVM takes long with more.
    """

    about: str
    fit: Fit
    most: int = MOST


def k_means(labelled: np.ndarray, classes: np.ndarray, more: np.ndarray, seed: int = 0) -> Any:
    """Clusters of all pictures; a cluster has the class of the labelled picture that is nearest to its centre."""
    from sklearn.cluster import KMeans
    from sklearn.neighbors import KNeighborsClassifier

    every = np.concatenate([labelled, more])
    count = min(CLUSTERS * len(np.unique(classes)), len(every))
    centres = KMeans(count, n_init=4, random_state=seed).fit(every).cluster_centers_
    named = KNeighborsClassifier(1).fit(labelled, classes).predict(centres)
    return KNeighborsClassifier(1).fit(centres, named)


def self_training(labelled: np.ndarray, classes: np.ndarray, more: np.ndarray, seed: int = 0) -> Any:
    """An SVM per class against all others, fitted ten times (Yarowsky, ACL 1995).

    Each time, it labels the tenth of the pictures that it is most certain of among those without a label.
    """
    from scipy.special import softmax
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.semi_supervised import SelfTrainingClassifier
    from sklearn.svm import SVC

    class Machine(OneVsRestClassifier):
        """With probabilities, by which the most certain pictures are found; the SVM itself has none."""

        def predict_proba(self, pixels: np.ndarray) -> np.ndarray:
            scores = self.decision_function(pixels)
            return softmax(np.stack([-scores, scores], 1) if scores.ndim == 1 else scores, axis=1)

    machine = Machine(SVC(gamma="scale", C=10))
    if not len(more):
        return machine.fit(labelled, classes)
    tenth = math.ceil(len(more) / 10)
    fitting = SelfTrainingClassifier(machine, criterion="k_best", k_best=tenth, max_iter=None)
    return fitting.fit(*_together(labelled, classes, more))


def label_spreading(labelled: np.ndarray, classes: np.ndarray, more: np.ndarray, seed: int = 0) -> Any:
    """Labels that spread along a graph of nearest neighbours (Zhou, Bousquet, Lal, Weston & Schölkopf, NIPS 2003).

    A picture that no label reaches has the class of the nearest labelled picture.
    """
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.semi_supervised import LabelSpreading

    every, known = _together(labelled, classes, more)
    fitted = LabelSpreading(kernel="knn", n_neighbors=min(7, len(every))).fit(every, known)
    unreached = ~fitted.label_distributions_.any(axis=1)
    if unreached.any():
        nearest = KNeighborsClassifier(1).fit(labelled, classes).predict(every[unreached])
        fitted.label_distributions_[unreached] = nearest[:, None] == fitted.classes_
    return fitted


def _together(labelled: np.ndarray, classes: np.ndarray, more: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pictures, and their classes as scikit-learn expects them: -1 without a label."""
    return np.concatenate([labelled, more]), np.concatenate([classes, np.full(len(more), -1)])


REFERENCES: Mapping[str, Reference] = {
    "k-means": Reference("clusters of all pictures, with the classes of the nearest labelled ones", k_means),
    "self-training SVM": Reference("an SVM that labels what it is most certain of, ten times", self_training, 5_000),
    "label spreading": Reference("labels that spread along a graph of nearest neighbours", label_spreading),
}  # fmt: skip


def reference_accuracy(name: str, dataset: Dataset, size: tuple[int, int], seed: int) -> float:
    """The accuracy on the split `val` of a method that learned from the training pictures with and without labels.

    Args:
        name: one of `REFERENCES`.
        size: height and width of the network's input; larger pictures are reduced further, to `SIDE`.
    """
    reference = REFERENCES[name]
    train = [record for record in dataset.split("train") if record.class_id is not None]
    val = [record for record in dataset.split("val") if record.class_id is not None]
    more = dataset.split(UNLABELLED) if UNLABELLED in dataset.splits else ()
    labelled = _pixels(dataset, train, size)
    scale = labelled.std(axis=(0, 1)) + 1e-6  # by channel, because channels may differ in their units
    parts = (labelled, _pixels(dataset, even_sample(more, reference.most), size), _pixels(dataset, val, size))
    fitting, unlabelled, held_out = ((part / scale).reshape(len(part), scale.size * part.shape[1]) for part in parts)
    fitted = reference.fit(fitting, np.array([record.class_id for record in train]), unlabelled, seed)
    truth = np.array([record.class_id for record in val])
    return float((fitted.predict(held_out) == truth).mean())


def _pixels(dataset: Dataset, records: Sequence[Record], size: tuple[int, int]) -> np.ndarray:
    """(N, P, C) float32: the P pixels of each picture."""
    shrink = min(SIDE / max(size), 1.0)
    height, width = (max(round(shrink * side), 1) for side in size)
    fit = Centre(size)
    pixels = np.empty((len(records), height * width, dataset.form.channels), np.float32)
    for row, record in zip(pixels, records, strict=True):
        row[:] = resized(fit.image(dataset.read(record)), height, width).reshape(row.shape)
    return pixels
