"""Measures the pictures of a pool and collects what could be labelled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from pixelwise.active.candidates import Candidate, of_picture, of_pixels, of_regions
from pixelwise.active.observer import Observation
from pixelwise.active.pool import pixels_of
from pixelwise.active.selection import Measured
from pixelwise.data.listing import counted
from pixelwise.data.pictures import PictureFormat, convert
from pixelwise.data.record import Record
from pixelwise.errors import UserError
from pixelwise.inference.rasters import Picture, open_raster

PER_PICTURE = 4
"""A picture may get at most this many times its equal share of the budget, in regions or pixels."""
PLACES, MAX_PLACES = 16, 4096
"""How many labelled pixels regions and pixels are compared with: at most per picture, and about in all."""
MAX_PIXELS = 50_000_000
"""The most pixels of a picture in which regions or pixels can be suggested."""


class Observes(Protocol):
    """Measures pictures, as `Observer` does."""

    def observe(self, pictures: Iterable[Picture]) -> Iterator[Observation | UserError]:
        """What is measured of each picture, in order; the error for a picture that cannot be read."""


class Measuring:
    """Measures pictures one after the other and keeps only what could be labelled, in bounded memory.

    Args:
        form: the form of the pictures that are divided into regions.
        unit: a word of `tasks.labelling.UNITS`.
        budget: the budget of all pictures together.
        seed: seed of the pixels that are drawn.
        taken: number of a picture -> (H, W) bool, the pixels that are labelled already; None if there are none.

    Attributes:
        failed: the sentences of pictures that could not be measured.
    """

    def __init__(
        self,
        observer: Observes,
        form: PictureFormat,
        unit: str,
        records: Sequence[Record],
        *,
        budget: int,
        seed: int,
        taken: Callable[[int], np.ndarray | None] = lambda number: None,
    ) -> None:
        self._observer, self._form, self._unit, self._records = observer, form, unit, records
        self._limit = math.ceil(PER_PICTURE * budget / len(records))
        self._seed, self._taken = seed, taken
        self.failed: list[str] = []
        self._small = 0

    def candidates(self, progress: Callable[[int], None]) -> list[Candidate]:
        """Everything that could be labelled.

        Args:
            progress: called with the number of pictures that are measured.
        """
        found: list[Candidate] = []
        pictures = (pixels_of(record) for record in self._records)
        for number, observed in enumerate(self._observer.observe(pictures)):
            try:
                if isinstance(observed, UserError):
                    raise observed
                found += self._of(number, observed)
            except UserError as error:
                self.failed.append(str(error))
            progress(number + 1)
        return found

    def _of(self, number: int, observed: Observation) -> list[Candidate]:
        if self._unit == "pictures":
            return [of_picture(number, observed)]
        record = self._records[number]
        height, width = observed.size
        if height * width > MAX_PIXELS:
            raise UserError(
                f"{record.picture}: {width:,} x {height:,} pixels, and {self._unit} are suggested in pictures of at "
                f"most {MAX_PIXELS:,} pixels; cut it into smaller pictures."
            )
        random = np.random.default_rng((self._seed, number))
        scores = observed.scores
        if scores is None:  # any region or pixel is as good as another, until they are compared with each other
            scores = random.random((height, width), np.float32)
        taken = self._taken(number)
        if taken is not None:
            scores = np.where(taken, np.float32(np.nan), scores)
        if self._unit == "pixels":
            return of_pixels(number, observed, scores, self._limit, random)
        with open_raster(pixels_of(record)) as raster:
            image = convert(raster.read(0, height, 0, width), self._form, raster.name)
        regions = of_regions(number, observed, image, scores, self._limit)
        self._small += not regions
        return regions

    def notes(self) -> list[str]:
        """Sentences on pictures of which nothing is suggested."""
        notes = []
        if self.failed:
            notes.append(
                f"{counted(len(self.failed), 'picture', 'pictures')} could not be measured and cannot be suggested: "
                f"{' '.join(self.failed[:3])}{' ...' if len(self.failed) > 3 else ''}"
            )
        if self._small:
            notes.append(
                f"{counted(self._small, 'picture is', 'pictures are')} too small or too plain to be divided into "
                "regions; suggest --unit pictures or pixels for such pictures."
            )
        return notes


def labelled_features(
    observer: Observes, records: Sequence[Record], unit: str, labelled: Callable[[int], np.ndarray | None]
) -> list[np.ndarray]:
    """The features (F,) of labelled pictures, or of some labelled pixels of each if regions or pixels are suggested.

    Pictures that cannot be read are left out.

    Args:
        unit: a word of `tasks.labelling.UNITS`.
        labelled: number of a picture -> (H, W) bool, its labelled pixels; None if it is labelled everywhere.
    """
    places = max(1, min(PLACES, MAX_PLACES // max(len(records), 1)))
    found: list[np.ndarray] = []
    for number, observed in enumerate(observer.observe(pixels_of(record) for record in records)):
        if isinstance(observed, UserError):
            continue
        if unit == "pictures":
            found.append(observed.mean_features)
            continue
        height, width = observed.size
        pixels = labelled(number)
        known = height * width if pixels is None else int(np.count_nonzero(pixels))
        drawn = np.random.default_rng(number).choice(known, min(places, known), replace=False)
        if pixels is not None:
            drawn = np.flatnonzero(pixels)[drawn]
        found += [observed.features_at(place % width + 0.5, place // width + 0.5) for place in drawn.tolist()]
    return found


def measured(candidates: Sequence[Candidate], labelled: Sequence[np.ndarray]) -> Measured:
    """Candidates as arrays.

    Args:
        labelled: the features of what is labelled already.
    """
    scores = np.array([each.score for each in candidates], np.float64)
    if candidates[0].features is None:
        return Measured(scores)
    features = np.stack([each.features for each in candidates if each.features is not None])
    return Measured(scores, features, np.stack(labelled) if labelled else None)
