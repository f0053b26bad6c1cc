"""Finds everything that is wrong with a folder of pictures and masks, in sentences, and writes a corrected copy."""

from pixelwise.data.doctor.checks import examine
from pixelwise.data.doctor.diagnosis import Diagnosis, Finding, Summary
from pixelwise.data.doctor.repair import fix
from pixelwise.data.doctor.report import render

__all__ = ["Diagnosis", "Finding", "Summary", "examine", "fix", "render"]
