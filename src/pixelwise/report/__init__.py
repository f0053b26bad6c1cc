"""Figures, and the report as one HTML file that is built from blocks. Nothing here depends on a task."""
