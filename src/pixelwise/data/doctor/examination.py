"""The input of the checks: the files as they are, and the dataset that can be read from the sound ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from pixelwise.data.codings import Coding, MaskCoding, MasklessCoding
from pixelwise.data.doctor.diagnosis import Finding, Summary
from pixelwise.data.doctor.look import Look, MaskLook, look_at_all
from pixelwise.data.formats import folder, survey_folder
from pixelwise.data.formats.completion import complete_splits, grouped, with_kinds
from pixelwise.data.formats.decision import Decision, coding_from_values
from pixelwise.data.formats.pairing import pair
from pixelwise.data.formats.survey import Survey
from pixelwise.data.formats.yolo_config import home_of
from pixelwise.data.layers import LayerCoding
from pixelwise.data.listing import picture_files
from pixelwise.data.order import Order
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import ShapeCoding
from pixelwise.data.stock import low_median_high
from pixelwise.errors import UserError


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """Everything known about a folder after each file has been decoded once.

    Attributes:
        survey: pictures paired with labels.
        looks: one per record.
        coding, class_names: how the sound masks would be read; no names if there is no sound mask.
        splits: names of the labelled pictures by split, empty if no split can be made; `split_made` says whether the
            folder gives none.
        notes: what reading the folder would assume.
        obstacles: why text files could not be understood.
    """

    survey: Survey
    looks: tuple[Look, ...]
    coding: Coding
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[str, ...]]
    split_made: bool
    notes: tuple[str, ...]
    obstacles: tuple[Finding, ...]

    @property
    def root(self) -> Path:
        return self.survey.root

    @property
    def task(self) -> str:
        """The task that the labels fit."""
        return self.coding.task

    @property
    def boxes_alone(self) -> bool:
        """Whether the labels are boxes of objects, without outlines."""
        return isinstance(self.coding, ShapeCoding) and self.coding.boxes_alone

    @property
    def has_masks(self) -> bool:
        """Whether labels are ids per pixel or objects, rather than classes of pictures, maps of numbers or pictures."""
        return not isinstance(self.coding, MasklessCoding)

    @property
    def mapping(self) -> Mapping[int, int]:
        """Stored value -> class id, if masks are files whose values are not the class ids themselves."""
        return self.coding.mapping if isinstance(self.coding, MaskCoding) else {}

    @property
    def palette(self) -> Mapping[int, int]:
        """0xRRGGBB -> stored value, if masks may be colour pictures."""
        return self.coding.palette if isinstance(self.coding, MaskCoding) else {}

    @property
    def halved(self) -> bool:
        """Whether masks are black and white, so that values in between are split at half of the range."""
        return isinstance(self.coding, MaskCoding) and self.coding.threshold is not None

    @property
    def masks(self) -> list[MaskLook]:
        return [mask for look in self.looks for mask in look.masks]

    @property
    def sound(self) -> list[Look]:
        """Pictures that can be read and whose labels can be read as well."""
        return [look for look in self.looks if look.usable]

    def relative(self, file: Path) -> str:
        return file.relative_to(self.root).as_posix()

    def class_counts(self, look: Look) -> np.ndarray | None:
        """Pixels per class id, (256,), as the mask is read; None if it holds no ids.

        If each picture has one class: 1 at that class, (K,). For detection: the number of objects per class, (K,).
        """
        if not look.usable or look.size is None or self.coding.kind in ("keypoints", "pairs"):
            return None
        if self.coding.kind == "classes":
            assert look.record.class_id is not None
            return np.eye(1, len(self.class_names), look.record.class_id, dtype=np.int64)[0]
        if self.boxes_alone:
            objects = look.masks[0].odd.objects
            assert objects is not None
            return np.bincount(objects.classes[~objects.ignored], minlength=len(self.class_names))
        counts = np.zeros(256, np.int64)
        if isinstance(self.coding, LayerCoding) or self.coding.kind == "objects":
            pixels = look.size[0] * look.size[1]
            ids = self.coding.classes[look.record.name] if isinstance(self.coding, LayerCoding) else repeat(1)
            for class_id, mask in zip(ids, look.masks, strict=False):
                counts[class_id] = min(counts[class_id] + mask.nonzero, pixels)
            counts[0] = max(pixels - counts[1:].sum(), 0)
            return counts
        mask = look.masks[0]
        if mask.values is None or (mask.lossy and not self.halved):
            return None
        table = self.coding.table() if isinstance(self.coding, MaskCoding) else np.arange(256)
        np.add.at(counts, table, mask.values)
        return counts

    def summary(self) -> Summary:
        sizes = [look.size for look in self.looks if look.size is not None]
        counted = [counts for look in self.looks if (counts := self.class_counts(look)) is not None]
        wording = self.coding.wording
        whole = wording.counted != "pixels"
        nothing = np.zeros(len(self.class_names) if whole else 256, np.int64)
        pixels = np.sum([nothing, *counted], axis=0)
        modes = Counter(f"{look.header.mode} {look.header.dtype}" for look in self.looks if look.header)
        return Summary(
            task=self.task,
            layout=self.survey.layout,
            pictures=len(self.looks),
            labelled=len(self.sound),
            label=wording.label,
            splits={split: len(names) for split, names in self.splits.items()},
            split_made=self.split_made,
            height=low_median_high([height for height, _ in sizes]),
            width=low_median_high([width for _, width in sizes]),
            modes=dict(modes.most_common()),
            class_names=self.class_names,
            class_pixels=tuple(pixels[: len(self.class_names)].tolist()),
            counted=wording.counted,
            void_pixels=0 if whole else int(pixels[VOID]),
            notes=self.notes,
        )


def examine_files(root: Path, layout: str = "auto", rle_order: Order = "columns") -> Examination:
    """Decodes all files and reads the part of the dataset that is sound.

    Args:
        layout, rle_order: as for `open_dataset`.

    Raises:
        UserError: no such folder or layout.
    """
    home = home_of(root)
    picture_files(home)
    obstacles: list[Finding] = []
    try:
        survey = survey_folder(root, layout, rle_order)
    except UserError as error:
        if layout != "auto":
            raise
        obstacles.append(Finding("error", "text-file", str(error)))
        pairing = pair(home, picture_files(home))
        survey = Survey(home, "folder", folder.records_of(home, pairing)[0], orphans=tuple(map(str, pairing.orphans)))
    survey = with_kinds(survey)
    obstacles += [Finding("error", "text-file", fault) for fault in survey.faults]
    looks = tuple(look_at_all(survey.records, survey.coding))
    decision = _read_coding(survey, looks)
    notes = list(decision.notes)
    sound = tuple(look.record for look in looks if look.usable)
    splits: dict[str, tuple[str, ...]] = {}
    try:
        records, group_note = grouped(survey)
        group_of = {record.name: record.group for record in records}
        records = tuple(replace(record, group=group_of[record.name]) for record in sound)
        splits, added = complete_splits(replace(survey, records=records), records, 0.2, 0, group_note)
        notes += added
    except UserError as error:
        if len(sound) > 1:  # `file_checks` reports fewer
            obstacles.append(Finding("error", "splits", str(error)))
    return Examination(
        survey=replace(survey, guesses=(*survey.guesses, *decision.guesses)),
        looks=looks,
        coding=decision.coding,
        class_names=decision.class_names,
        splits=splits,
        split_made="val" not in survey.given,
        notes=(*survey.notes, *notes),
        obstacles=tuple(obstacles),
    )


def _read_coding(survey: Survey, looks: tuple[Look, ...]) -> Decision:
    if survey.coding is not None:
        return Decision(survey.coding, survey.class_names or ())
    total = np.zeros(256, np.int64)
    for look in looks:
        for mask in look.masks:
            if mask.values is not None and not mask.lossy:
                total += mask.values
    if not total.any():
        return Decision(MaskCoding(), survey.class_names or ())
    return coding_from_values(set(np.flatnonzero(total).tolist()), survey.class_names)
