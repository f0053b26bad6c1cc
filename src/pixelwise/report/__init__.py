"""Figures, and the one-file HTML page that is made of blocks. Nothing here knows a task."""
