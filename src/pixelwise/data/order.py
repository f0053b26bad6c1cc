"""The order in which run lengths count pixels; apart from `rle`, so that the command line loads no numpy to name it."""

from __future__ import annotations

from typing import Literal

Order = Literal["columns", "rows"]
"""Down the columns, as most tables have it, or along the rows."""
