"""What options that several verbs have may be."""

from __future__ import annotations

from typing import Literal

RunOrder = Literal["columns", "rows"]
"""`pixelwise.data.rle.Order`, without the numpy that help need not wait for."""
