"""One picture of a dataset, before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """One picture of a dataset, not yet read.

    Attributes:
        name: unique in the dataset: the path below the root without the suffix, `/` between folders.
        picture: the picture's file.
        labels: its label files: none (unlabelled), one mask, one file per object, or a file of shapes, which other
            pictures may share.
        group: pictures of one group (frames of a video, slices of a patient) always share a split.
        class_id: the class of the picture as a whole, in data that is sorted into classes.
        position: index of the picture in its file, from 0, if the file holds many (idx); None for a separate file.
        half: `left` or `right` if the picture is this half of its file; empty for the whole file.
    """

    name: str
    picture: Path
    labels: tuple[Path, ...] = ()
    group: str = ""
    class_id: int | None = None
    position: int | None = None
    half: str = ""

    @property
    def labelled(self) -> bool:
        return bool(self.labels) or self.class_id is not None
