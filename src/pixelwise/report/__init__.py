"""What people look at after a run: figures and the one-file HTML page."""

from pixelwise.report.classes_page import ClassExample, ClassReportContent, write_class_report
from pixelwise.report.segment_page_old import Example, ReportContent, write_report

__all__ = ["ClassExample", "ClassReportContent", "Example", "ReportContent", "write_class_report", "write_report"]
