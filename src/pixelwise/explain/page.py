"""The page of `pixelwise explain`, built from the blocks of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pixelwise.explain.layers import Layer
from pixelwise.notebook import jpeg
from pixelwise.report.blocks import (
    Block,
    Column,
    Definitions,
    Details,
    Facts,
    Grid,
    Heading,
    Page,
    Panels,
    Picture,
    Section,
    Sheets,
    Table,
    Text,
)
from pixelwise.report.cells import Bar, Percent
from pixelwise.report.pictures import fitted_size, resized
from pixelwise.tasks.insight import Group, Panel

LONG_SIDE = 384
"""Longer side in pixels to which larger pictures are reduced on the page; contact sheets keep their size."""
METHODS = {
    "Grad-CAM": "The sum of the last layer's maps, each weighted by how much it raises the score of the class "
    "(Selvaraju et al. 2017). Bright areas are evidence for the class.",
    "Occlusion": "A grey square hides a part of the picture. Areas are bright if hiding them lowers the score of the "
    "class most (Zeiler & Fergus 2014).",
    "Gradient": "How much the score of the class changes with each pixel; the largest value over the colours (Simonyan "
    "et al. 2014).",
    "Guided, deconvnet": "The gradient with another rule for every ReLU in the backward pass: only positive values "
    "pass (deconvnet), and only where the ReLU passed its input (guided; Springenberg et al. 2015). Both are sharp, "
    "but show what is in the picture more than why the class was predicted. Deconvnet depends on the picture only "
    "through the switches of max pooling, so it is left out for networks without max pooling.",
    "Layers": "The most active channels of a layer, each coloured by its own range.",
    "Maximised": "Gradient ascent from noise, among frequencies. In each step the picture is moved, rotated and "
    "magnified (Olah et al. 2017), and its contrast is held at that of a photograph (Erhan et al. 2009).",
}


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Everything that is shown about one picture.

    Attributes:
        name: name of the picture.
        size: (height, width) as the network receives it.
        predictions: predictions of the network as (name, share), best first.
        explained: groups of panels that show what the network's parts do and what its predictions depend on.
        heatmaps: one contact sheet per layer.
        classes: ids of the classes whose logits were explained.
    """

    name: str
    size: tuple[int, int]
    predictions: Sequence[tuple[str, float]]
    explained: Sequence[Group]
    heatmaps: Sequence[Panel]
    classes: Sequence[int] = ()


@dataclass(frozen=True, slots=True, eq=False)
class PageContent:
    """Everything on the page. Empty parts are left out.

    Attributes:
        facts: facts about the network, name -> value.
        layers: the layers in the order in which they are computed.
        filters: the contact sheet of the first convolution; None if there is no convolution.
        maximised: pairs of what was maximised and its panels.
        patches: pairs of a layer's channel and its panels.
        terms: definitions of methods that are specific to the network's task, name -> text.
    """

    title: str
    facts: Mapping[str, Any]
    layers: Sequence[Layer]
    filters: np.ndarray | None = None
    pictures: Sequence[Seen] = ()
    maximised: Sequence[tuple[str, Sequence[Panel]]] = ()
    patches: Sequence[tuple[str, Sequence[Panel]]] = ()
    terms: Mapping[str, str] = field(default_factory=dict)


def explain_page(content: PageContent) -> Page:
    """The page: the network, each picture, maximised pictures, strongest patches, and how everything was made."""
    sections = [_network(content)]
    for number, seen in enumerate(content.pictures, start=1):
        sections.append(_picture_section(seen, number))
    if content.maximised:
        what = "Pictures made from noise, to which a class or a channel responds as strongly as could be found."
        blocks: list[Block] = [Text(what, soft=True)]
        for name, panels in content.maximised:
            shown = [_picture(panel) for panel in panels]
            blocks += [Heading(name), Panels(shown, columns=max(len(shown), 3), small=len(shown) < 4)]
        sections.append(Section("maximised", "What it looks for", blocks))
    if content.patches:
        what = (
            "The patches of the dataset that a channel responds to most, cut out by its exact receptive field; the "
            "strongest first."
        )
        blocks = [Text(what, soft=True)]
        for name, panels in content.patches:
            blocks += [Heading(name), Grid([_picture(panel) for panel in panels], columns=len(panels))]
        sections.append(Section("patches", "What it responds to in the data", blocks))
    sections.append(Section("methods", "How this was made", [Definitions({**content.terms, **METHODS})]))
    return Page(f"Inside {content.title}", sections)


def _network(content: PageContent) -> Section:
    blocks: list[Block] = [Facts(content.facts)]
    if content.filters is not None:
        scaled = "Each filter is scaled by its own range, from its least weight (black) to its greatest weight (white)."
        filters = _sheet(content.filters, "", "Filters of the first layer")
        blocks += [Heading("First filters"), Sheets([filters]), Text(scaled, soft=True)]
    else:
        blocks.append(Text("The network has no convolution, so there are no filters to show.", soft=True))
    columns = Column("layer"), Column("kind"), Column("output"), Column("parameters", right=True)
    rows = [
        (
            layer.name,
            layer.kind,
            " × ".join(str(size) for size in layer.shape[1:]),
            f"{layer.parameters:,}" if layer.parameters else "",
        )
        for layer in content.layers
    ]
    title = f"{len(rows)} layers, in the order in which they are computed"
    return Section("network", "The network", [*blocks, Details(title, [Table(columns, rows, tall=True)])])


def _picture_section(seen: Seen, number: int) -> Section:
    """Everything about one picture; the list of sections links to the first picture only."""
    columns = Column(), Column(), Column(right=True)
    rows = [(name, Bar(share), Percent(share)) for name, share in seen.predictions]
    blocks: list[Block] = [Table(columns, rows, compact=True)] if rows else []
    for group in seen.explained:
        about = [Text(group.about, soft=True)] if group.about else []
        panels = Panels([_picture(panel, seen.name) for panel in group.panels], columns=group.columns)
        blocks += [Heading(group.title), *about, panels]
    if seen.heatmaps:
        sheets = [_sheet(panel.picture, panel.label, f"Maps of {panel.label}") for panel in seen.heatmaps]
        blocks.append(Details("What its layers respond to", [Sheets(sheets)], open=number == 1))
    return Section(
        "pictures" if number == 1 else f"picture-{number}",
        seen.name,
        blocks,
        note=f"{seen.size[1]} × {seen.size[0]}",
        link="What it sees" if number == 1 else "",
    )


def _picture(panel: Panel, source: str = "") -> Picture:
    """A panel at no more than `LONG_SIDE` pixels.

    Args:
        source: name of the picture that the panel explains; empty if there is none.
    """
    size = fitted_size(panel.picture, LONG_SIDE)
    alt = f"{panel.label} of {source}" if source else panel.label
    return Picture(jpeg(resized(panel.picture, size)), size, (panel.label,), alt)


def _sheet(picture: np.ndarray, label: str, alt: str) -> Picture:
    return Picture(jpeg(picture), (picture.shape[1], picture.shape[0]), (label,) if label else (), alt)
