"""What people look at after a run: figures and the one-file HTML page."""

from pixelwise.report.page import Example, ReportContent, write_report

__all__ = ["Example", "ReportContent", "write_report"]
