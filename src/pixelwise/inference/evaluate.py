"""Measures a trained network on the labelled pictures of a split."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pixelwise.data.dataset import Dataset
from pixelwise.data.loader import prefetch
from pixelwise.data.record import Record
from pixelwise.data.sample import Sample
from pixelwise.errors import NotFinite, UserError
from pixelwise.inference.predictor import Predictor


class Counts(Protocol):
    """Compares predictions with samples, such as the scores of a task."""

    def update(self, prediction: Any, sample: Sample) -> None: ...


def measure(
    predictor: Predictor[Any],
    dataset: Dataset,
    records: Sequence[Record],
    counts: Counts,
    progress: Callable[[float], None] = lambda done: None,
) -> float:
    """Predicts every record and adds the prediction to `counts`.

    Returns:
        Seconds of prediction, without reading and comparing.

    Raises:
        UserError: a picture or a label that cannot be read.
        NotFinite: NaN or infinite numbers in a prediction.
    """
    inference = predictor.inference

    def load(record: Record) -> tuple[Sample, Any]:
        sample = dataset.load(record)
        return sample, inference.prepare_sample(sample)

    seconds = 0.0
    waiting: list[tuple[Sample, Any]] = []
    for number, pair in enumerate(prefetch(load, records), start=1):
        waiting.append(pair)
        if len(waiting) < inference.batch_size and number < len(records):
            continue
        started = time.perf_counter()
        try:
            predictions = inference.measured([prepared for _, prepared in waiting])
        except NotFinite as error:
            raise NotFinite(f"{waiting[0][0].name}: {error}") from None
        seconds += time.perf_counter() - started
        for prediction, (sample, _) in zip(predictions, waiting, strict=True):
            counts.update(prediction, sample)
        waiting = []
        progress(number / len(records))
    return seconds


def measurable(dataset: Dataset, split: str, needs: frozenset[str]) -> list[Record]:
    """The pictures of a split that a network can be measured on.

    Args:
        needs: what the network's task needs from the labels.

    Raises:
        UserError: no such split, or no labelled picture in it.
    """
    records = [record for record in dataset.split(split) if record.labelled or not needs]
    if not records:
        raise UserError(
            f"{dataset.root}: no labelled picture in the split '{split}', so there is nothing to measure; choose "
            "another split."
        )
    return records
