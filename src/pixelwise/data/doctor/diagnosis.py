"""The result of an examination: findings in sentences, and the dataset in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pixelwise import notebook

Severity = Literal["error", "warning", "note"]
FIX = "`pixelwise check DATA --fix DIR`"
MAX_FILES = 3
"""How many files of a finding a notebook shows."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or worth knowing.

    Attributes:
        severity: an `error` prevents training or makes its scores meaningless, a `warning` makes the result worse, a
            `note` explains how something unusual is read.
        code: in kebab-case, for scripts; docs/data.md lists them.
        sentence: what is wrong, and what to do.
        files: the files concerned, relative to the dataset's folder.
    """

    severity: Severity
    code: str
    sentence: str
    files: tuple[str, ...] = ()


Findings = Iterator[Finding]


@dataclass(frozen=True, slots=True)
class Summary:
    """The dataset in numbers, as far as it can be read.

    Attributes:
        task: the task that the labels fit: `segment`, `classify` if each picture has one class, `detect` if objects
            have only boxes, `regress` if pixels have values, or `pose` if people have joints.
        layout: how the folder is read.
        pictures: all of them, labelled or not, readable or not.
        labelled: those with a readable picture and readable labels.
        label: what these have, in words.
        splits: labelled pictures by split.
        split_made: whether the split was made automatically, because the folder gives none.
        height, width: (smallest, median, largest) in pixels.
        modes: pictures by mode and depth, such as `RGB uint8`.
        class_names: by class id.
        class_pixels: pixels, pictures or objects per class (see `counted`) over all labelled pictures; for
            `regress`, the known pixels.
        counted: what `class_pixels` counts: `pixels`, `pictures` or `objects`.
        void_pixels: pixels without a class or value.
        notes: sentences on what reading the folder assumes.
    """

    task: str
    layout: str
    pictures: int
    labelled: int
    label: str
    splits: Mapping[str, int]
    split_made: bool
    height: tuple[int, int, int]
    width: tuple[int, int, int]
    modes: Mapping[str, int]
    class_names: tuple[str, ...]
    class_pixels: tuple[int, ...]
    counted: str
    void_pixels: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was found in a folder, errors first."""

    root: str
    summary: Summary
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing prevents training."""
        return not any(finding.severity == "error" for finding in self.findings)

    def _repr_html_(self) -> str:
        """What a notebook shows: the findings, errors first."""
        counts = [(severity, sum(each.severity == severity for each in self.findings)) for severity in SEVERITIES]
        told = ", ".join(f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in counts)
        head = f"{self.root}: {self.summary.pictures:,} pictures, {self.summary.labelled:,} labelled; {told}"
        rows = [
            (
                each.severity,
                each.sentence,
                ", ".join(each.files[:MAX_FILES]) + (", ..." if each.files[MAX_FILES:] else ""),
            )
            for each in self.findings
        ]
        table = notebook.table(("severity", "what", "where"), rows) if rows else ""
        return notebook.paragraph(head) + table

    def to_dict(self) -> dict[str, Any]:
        """Everything, as values that JSON can hold."""
        return {"ok": self.ok, **asdict(self)}
