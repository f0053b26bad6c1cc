"""What an examination says: findings in sentences, and the dataset in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pixelwise import notebook

Severity = Literal["error", "warning", "note"]
FIX = "`pixelwise check DATA --fix DIR`"
MOST_FILES = 3
"""Files of a finding that a notebook names."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or worth knowing.

    Attributes:
        severity: an `error` stops training or spoils its measure, a `warning` makes it worse, a `note` tells how
            something unusual is read.
        code: in kebab-case, for scripts; docs/data.md lists them.
        sentence: what it is, and what to do.
        files: where, relative to the dataset's folder.
    """

    severity: Severity
    code: str
    sentence: str
    files: tuple[str, ...] = ()


Findings = Iterator[Finding]


@dataclass(frozen=True, slots=True)
class Summary:
    """A dataset in numbers, of what can be read.

    Attributes:
        task: what can be learnt from it: `segment`, `classify` where pictures as a whole have a class, `detect` where
            of objects only the box is known, `regress` where pixels have values, or `pose` where people have joints.
        layout: how the folder is read.
        pictures: all of them, labelled or not, readable or not.
        labelled: those with a readable picture and readable labels.
        splits: labelled pictures by split.
        split_made: the folder gives no split, so it was made.
        height, width: (smallest, median, largest) in pixels.
        modes: pictures by mode and depth, such as `RGB uint8`.
        class_names: by class id.
        class_pixels: pixels by class over all labelled pictures; to classify, pictures; to detect, objects; to
            regress, known pixels.
        void_pixels: pixels without a class or value.
        notes: sentences on what is assumed while reading.
    """

    task: str
    layout: str
    pictures: int
    labelled: int
    splits: Mapping[str, int]
    split_made: bool
    height: tuple[int, int, int]
    width: tuple[int, int, int]
    modes: Mapping[str, int]
    class_names: tuple[str, ...]
    class_pixels: tuple[int, ...]
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
        """Nothing stops training."""
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
                ", ".join(each.files[:MOST_FILES]) + (", ..." if each.files[MOST_FILES:] else ""),
            )
            for each in self.findings
        ]
        table = notebook.table(("severity", "what", "where"), rows) if rows else ""
        return notebook.paragraph(head) + table

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return {"ok": self.ok, **asdict(self)}
