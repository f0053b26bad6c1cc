"""How objects show themselves in a notebook: small pieces of HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

LONGEST = 640
"""Pixels of the longer side of a picture that is shown."""
MOST_ROWS = 20


def jpeg(rgb: np.ndarray) -> str:
    """(H, W, 3) uint8 as a data address."""
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=85, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def picture(rgb: np.ndarray, alt: str) -> Markup:
    """(H, W, 3) uint8 as an image of at most `LONGEST` pixels."""
    image = Image.fromarray(rgb)
    image.thumbnail((LONGEST, LONGEST))
    return Markup('<img src="{}" width="{}" height="{}" alt="{}">').format(jpeg(np.asarray(image)), *image.size, alt)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """A table of at most `MOST_ROWS` rows; a last line counts the others."""
    every = list(rows)
    lines = [_row("th", head), *(_row("td", row) for row in every[:MOST_ROWS])]
    if len(every) > MOST_ROWS:
        lines.append(Markup('<tr><td colspan="{}">and {} more</td></tr>').format(len(head), len(every) - MOST_ROWS))
    return Markup("<table>{}</table>").format(Markup("").join(lines))


def paragraph(text: str) -> Markup:
    return Markup("<p>{}</p>").format(text)


def _row(cell: str, values: Sequence[object]) -> Markup:
    template = Markup("<{0}>{1}</{0}>")
    return Markup("<tr>{}</tr>").format(Markup("").join(template.format(Markup(cell), value) for value in values))
