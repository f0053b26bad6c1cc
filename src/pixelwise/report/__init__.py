"""Figures, and the one-file HTML page that is made of blocks. Nothing here knows a task."""

from pixelwise.report.blocks import Page, Section
from pixelwise.report.page import write_page
from pixelwise.report.run_page import RunContent, run_page

__all__ = ["Page", "RunContent", "Section", "run_page", "write_page"]
