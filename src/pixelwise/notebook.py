"""HTML fragments that objects use to display themselves in a notebook."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

LONGEST = 640
"""Largest longer side, in pixels, of a picture that is shown."""
MAX_ROWS = 20
"""Rows that a table shows at most."""


def jpeg(rgb: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 as a data URL of a JPEG."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=85, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def picture(rgb: np.ndarray, alt: str) -> Markup:
    """A picture (H, W, 3) uint8 as an HTML image of at most `LONGEST` pixels per side."""
    image = Image.fromarray(rgb)
    image.thumbnail((LONGEST, LONGEST))
    return Markup('<img src="{}" width="{}" height="{}" alt="{}">').format(jpeg(np.asarray(image)), *image.size, alt)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """A table of at most `MAX_ROWS` rows; a last line counts the rows left out."""
    every = list(rows)
    lines = [_row("th", head), *(_row("td", row) for row in every[:MAX_ROWS])]
    if len(every) > MAX_ROWS:
        lines.append(Markup('<tr><td colspan="{}">and {} more</td></tr>').format(len(head), len(every) - MAX_ROWS))
    return Markup("<table>{}</table>").format(Markup("").join(lines))


def paragraph(text: str) -> Markup:
    return Markup("<p>{}</p>").format(text)


def _row(cell: str, values: Sequence[object]) -> Markup:
    template = Markup("<{0}>{1}</{0}>")
    return Markup("<tr>{}</tr>").format(Markup("").join(template.format(Markup(cell), value) for value in values))
