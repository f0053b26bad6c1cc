"""Keeps samples that have been read once. Nothing here needs torch, so that checking a folder starts quickly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock

from pixelwise.data.dataset import Dataset
from pixelwise.data.record import Record
from pixelwise.data.sample import Sample

Prepare = Callable[[Sample], Sample]


@dataclass
class SampleCache:
    """Decoded samples, kept until they fill `limit` bytes; any further samples are read anew each time.

    Attributes:
        limit: bytes of all arrays of the samples that are kept.
        objects: whether samples include the objects that the dataset distinguishes, which takes longer.
        prepare: functions that are applied to each sample in turn, after reading and before it is kept.
    """

    dataset: Dataset
    limit: int = 1 << 30
    objects: bool = False
    prepare: tuple[Prepare, ...] = ()
    _samples: dict[str, Sample] = field(default_factory=dict)
    _held: int = 0
    _lock: Lock = field(default_factory=Lock)

    def load(self, record: Record) -> Sample:
        """Returns the prepared sample of a record.

        Raises:
            UserError: as in `Dataset.load`.
        """
        sample = self._samples.get(record.name)
        return self.keep(record, self.dataset.load(record, objects=self.objects)) if sample is None else sample

    def keep(self, record: Record, sample: Sample) -> Sample:
        """Prepares a sample that was just read, and keeps it if there is room."""
        for prepare in self.prepare:
            sample = prepare(sample)
        with self._lock:
            if record.name not in self._samples and self._held + sample.nbytes <= self.limit:
                self._samples[record.name] = sample
                self._held += sample.nbytes
        return sample

    @property
    def held(self) -> int:
        """Bytes of the samples that are kept."""
        return self._held

    def then(self, *prepare: Prepare) -> SampleCache:
        """A cache of the same dataset with these preparations: this one if it has them already, else a new one that
        takes over the samples of this one as far as their preparations agree."""
        if self.prepare == prepare:
            return self
        other = SampleCache(self.dataset, self.limit, self.objects, prepare)
        done = len(self.prepare)
        if prepare[:done] == self.prepare:
            rest = SampleCache(self.dataset, self.limit, self.objects, prepare[done:])
            for record in self.dataset.records:
                sample = self._samples.pop(record.name, None)
                if sample is not None:
                    rest.keep(record, sample)
            other._samples, other._held = rest._samples, rest._held
            self._held = 0
        return other

    def read_all(self, records: Sequence[Record]) -> None:
        """Reads every record once, so that an unusable file is found before anything depends on it.

        Raises:
            UserError: as in `load`, for the first record that cannot be used.
        """
        with ThreadPoolExecutor(thread_name_prefix="pixelwise-check") as pool:
            for _ in pool.map(self.load, records):
                pass
