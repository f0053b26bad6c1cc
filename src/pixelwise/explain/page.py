"""What was found in a network as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pixelwise.atomic import write_text
from pixelwise.explain.layers import Layer
from pixelwise.report.rendering import jpeg, templates

LONG_SIDE = 384
"""Pixels of the longer side to which larger pictures are reduced on the page; sheets stay as they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One picture with a line under it.

    Attributes:
        picture: (H, W, 3) uint8.
    """

    label: str
    picture: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a network makes of one picture.

    Attributes:
        name: of the picture.
        size: (height, width) as the network sees it.
        classes: (name, share) of the most probable classes, or of the commonest ones in a mask; best first.
        explained: (name of a class, panels on it).
        heatmaps: one sheet a layer.
    """

    name: str
    size: tuple[int, int]
    classes: Sequence[tuple[str, float]]
    explained: Sequence[tuple[str, Sequence[Panel]]]
    heatmaps: Sequence[Panel]


@dataclass(frozen=True, slots=True, eq=False)
class PageContent:
    """Everything on the page; what there is not is left empty, and the page leaves it out or says so.

    Attributes:
        facts: of the network, names -> values.
        dense: whether classes are those of pixels.
        layers: in the order in which they answer.
        filters: the sheet of the first layer.
        maximised: (what was maximised, its panels).
        patches: (channel of a layer, its panels).
    """

    title: str
    facts: Mapping[str, Any]
    dense: bool
    layers: Sequence[Layer]
    filters: np.ndarray | None = None
    pictures: Sequence[Seen] = ()
    maximised: Sequence[tuple[str, Sequence[Panel]]] = field(default_factory=tuple)
    patches: Sequence[tuple[str, Sequence[Panel]]] = field(default_factory=tuple)


def write_page(path: Path, content: PageContent) -> None:
    """Writes the page: complete under its final name, or not at all.

    Raises:
        OSError: as the system gives it.
    """
    environment = templates("pixelwise.explain")
    environment.filters.update(address=jpeg, reduced=reduced)
    write_text(path, environment.get_template("page.html.j2").render(content=content))


def reduced(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) with at most `LONG_SIDE` pixels a side."""
    scale = LONG_SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
