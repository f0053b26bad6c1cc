"""All checks, and the diagnosis that they make together."""

from __future__ import annotations

from pathlib import Path

from pixelwise.data.doctor import (
    class_checks,
    copy_checks,
    file_checks,
    keypoint_checks,
    mask_checks,
    object_checks,
    pair_checks,
    picture_checks,
    value_checks,
)
from pixelwise.data.doctor.diagnosis import SEVERITIES, Diagnosis
from pixelwise.data.doctor.examination import examine_files
from pixelwise.data.order import Order

CHECKS = (
    file_checks.enough,
    file_checks.guesses,
    file_checks.damaged,
    file_checks.sizes,
    mask_checks.coloured_masks,
    mask_checks.ids,
    mask_checks.shapes,
    object_checks.sizes,
    object_checks.numbers,
    value_checks.maps,
    pair_checks.partners,
    pair_checks.gaps,
    pair_checks.halves,
    keypoint_checks.outside,
    keypoint_checks.few,
    keypoint_checks.sides,
    copy_checks.copies,
    class_checks.contradictions,
    class_checks.balance,
    file_checks.unpaired,
    file_checks.suffixes,
    file_checks.unread,
    picture_checks.forms,
    picture_checks.pages,
    picture_checks.gaps,
    picture_checks.lone_values,
    picture_checks.depths,
    mask_checks.classes,
)
"""The checks, in the order in which their findings are reported."""


def examine(path: Path | str, layout: str = "auto", rle_order: Order = "columns") -> Diagnosis:
    """Decodes every file once and reports everything that is wrong, errors first. Changes nothing.

    Args:
        layout, rle_order: as for `open_dataset`.

    Raises:
        UserError: no such folder or layout; everything else is a finding.
    """
    examination = examine_files(Path(path), layout, rle_order)
    findings = [*examination.obstacles, *(finding for check in CHECKS for finding in check(examination))]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Diagnosis(str(path), examination.summary(), tuple(findings))
