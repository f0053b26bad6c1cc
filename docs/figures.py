"""Where the pictures of the guide are stored, and how its figures are saved."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

IMAGES = Path(__file__).parent / "images"


def save(figure: Figure, name: str, *, dpi: int = 150) -> None:
    """Writes a figure to the folder of images; with a constrained layout, titles keep a distance from the edge."""
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(w_pad=0.08, h_pad=0.08)  # inches
    figure.savefig(IMAGES / name, dpi=dpi)
