"""Shows a diagnosis in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from pixelwise.data.doctor.diagnosis import SEVERITIES, Diagnosis, Finding, Severity, Summary
from pixelwise.terminal import Column, Listing, Prose

SHOWN_FILES = 5
_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_BAR = 24


def render(diagnosis: Diagnosis) -> RenderableType:
    """The data in numbers, then the findings by severity, each with its first files; for `terminal.show`."""
    parts: list[RenderableType] = [*_facts(diagnosis.root, diagnosis.summary)]
    if sum(diagnosis.summary.class_pixels):
        parts += ["", _classes(diagnosis.summary)]
    for severity in SEVERITIES:
        found = [finding for finding in diagnosis.findings if finding.severity == severity]
        for finding in found:
            parts += ["", *_finding(finding)]
    counts = {severity: sum(f.severity == severity for f in diagnosis.findings) for severity in SEVERITIES}
    parts += ["", _verdict(diagnosis.ok, counts)]
    return Group(*parts)


def _facts(root: str, summary: Summary) -> list[Prose]:
    splits = ", ".join(f"{count:,} {split}" for split, count in summary.splits.items()) or "none"
    facts = {
        "folder": f"{root} (layout {summary.layout})",
        "pictures": f"{summary.pictures:,}, {summary.labelled:,} of them with {summary.label}",
        "splits": splits + (" (made, as the folder gives none)" if summary.split_made and summary.splits else ""),
        "width": _range(summary.width),
        "height": _range(summary.height),
        "form": ", ".join(f"{count:,} {mode}" for mode, count in summary.modes.items()),
    }
    rows = [*facts.items(), *(("reading", note) for note in summary.notes)]
    return [Prose(value, f"{name:<10}", " " * 10, first_style="dim") for name, value in rows if value]


def _range(sizes: tuple[int, int, int]) -> str:
    low, median, high = sizes
    if not high:
        return ""
    return f"{low:,} pixels" if low == high else f"{low:,} to {high:,} pixels, median {median:,}"


def _classes(summary: Summary) -> Listing:
    columns = [
        Column("id", "right"),
        Column("class", folds=True),
        Column(f"share of {summary.counted}", "right"),
        Column("", optional=True),
    ]
    total = sum(summary.class_pixels) + summary.void_pixels
    largest = max(summary.class_pixels) / total
    rows = [(str(class_id), name, pixels) for class_id, (name, pixels) in enumerate(_by_class(summary))]
    if summary.void_pixels:
        rows.append(("255", "void", summary.void_pixels))
    cells: list[list[str | Text]] = []
    for class_id, name, pixels in rows:
        share = pixels / total
        length = min(share / largest, 1.0) * _BAR
        bar = "█" * int(length) + ("▌" if length % 1 >= 0.5 or 0 < length < 0.5 else "")
        cells.append([class_id, name, _percent(share), Text(bar, style="dim" if name == "void" else "green")])
    return Listing(columns, cells)


def _by_class(summary: Summary) -> list[tuple[str, int]]:
    return list(zip(summary.class_names, summary.class_pixels, strict=True))


def _percent(share: float) -> str:
    return "none" if share == 0 else "< 0.01 %" if share < 0.0001 else f"{100 * share:.2f} %"


def _finding(finding: Finding) -> list[RenderableType]:
    head = Text.assemble((finding.severity, _STYLES[finding.severity]), "  ", (finding.code, "bold"))
    lines: list[RenderableType] = [head, Prose(finding.sentence, "  ", "  ")]
    for file in finding.files[:SHOWN_FILES]:
        lines.append(Text(f"    {file}", "dim"))
    if len(finding.files) > SHOWN_FILES:
        lines.append(Text(f"    and {len(finding.files) - SHOWN_FILES:,} more", "dim"))
    return lines


def _verdict(ok: bool, counts: Mapping[Severity, int]) -> Prose:
    found = ", ".join(f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items() if count)
    if ok:
        words = f"Ready for training ({found})." if found else "Ready for training: nothing found."
        return Prose(words, style="bold green")
    return Prose(f"Not ready for training: {found}.", style="bold red")
