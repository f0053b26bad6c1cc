"""The order in which run lengths count pixels; separate from `rle`, so that the command line need not load numpy."""

from __future__ import annotations

from typing import Literal

Order = Literal["columns", "rows"]
"""The order of a picture's pixels: down the columns, as in most tables, or along the rows."""
