"""The figures of networks: what is drawn is what the networks compute, and pages show it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import pytest
import torch
from make_network_images import description, network_figure
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from network_layout import WIDTH, boxes_of, routes
from network_maps import LOGITS, PICTURE, Diagram, Kind, Map, Part, check, traced, watched
from network_tables import DIAGRAMS
from pages import DOCS
from PIL import Image
from torch import Tensor, nn

from pixelwise.catalog import create_model

PAGES = {
    "fcn8s": "fcn",
    "unet_original": "unet",
    "deeplab_v3": "deeplab",
    "deeplab_v3plus": "deeplab",
    "yolo_v1": "yolo",
    "localizer": "localization",
    "lenet5": "classifiers",
    "resnet18": "classifiers",
    "vae": "generate",
    "dcgan": "generate",
}
"""Network -> its page, if the page has another name."""
SMALL: dict[str, dict[str, Any]] = {
    "deconvnet": {"width": 8},
    "deeplab_v3": {"width": 32},
    "deeplab_v3plus": {"width": 32},
    "dilated": {"width": 8},
    "fcn8s": {"width": 8},
    "fpn": {"width": 32},
    "segnet": {"width": 8},
    "localizer": {"hidden": (16, 8)},
    "ternausnet": {"width": 8},
    "unet_original": {"width": 8},
    "yolo_v1": {"size": 128, "cells": 2, "hidden": 16},
}
SIDES = {"lenet5": 32, "unet_original": 188, "patch": 95, "vae": 28, "yolo_v1": 128}
"""Side of the picture for the small network; 64 for all others."""
EACH = pytest.mark.parametrize("name", DIAGRAMS)


def page_of(name: str) -> str:
    return (DOCS / f"{PAGES.get(name, name)}.md").read_text(encoding="utf-8")


@EACH
def test_the_page_shows_the_figure_after_its_command(name: str) -> None:
    page = page_of(name)
    shown = re.search(rf"!\[(.+?)\]\(images/{name}\.png\)", page, re.DOTALL)
    assert shown is not None
    assert len(shown.group(1)) > 40, "the text in place of the figure says what one sees"
    command_ends = page.index("\n```\n", page.index("\n```") + 1)
    if page.index(f"images/{name}.png") == page.index("images/"):
        assert command_ends < shown.start() < page.index("\n## ")


@EACH
def test_the_stored_figure_is_up_to_date_and_small(name: str) -> None:
    file = DOCS / "images" / f"{name}.png"
    assert file.stat().st_size < 60_000
    with Image.open(file) as image:
        assert image.width == 2 * WIDTH
        assert image.info["Description"] == description(DIAGRAMS[name]), f"python docs/make_network_images.py {name}"


@EACH
def test_drawn_numbers_are_those_of_the_network(name: str) -> None:
    diagram = DIAGRAMS[name]
    shapes = independently_traced(diagram)
    texts = [text.get_text() for text in network_figure(diagram).axes[0].texts]
    for each in diagram.maps():
        channels, height, width = shapes[each.name]
        if not each.plus:
            assert str(channels) in texts
            assert f"{height}×{width}" in texts
    drawn = {text for text in texts if re.fullmatch(r"\d+×\d+", text)}
    assert drawn <= {f"{height}×{width}" for _, height, width in shapes.values()}
    numbers = sorted(int(text) for text in texts if text.isdecimal())
    assert numbers == sorted(shapes[each.name][0] for each in diagram.maps() if not each.plus)


def independently_traced(diagram: Diagram) -> dict[str, tuple[int, int, int]]:
    """Shapes by hooks on every module of the network, without the code of the figures."""
    with torch.device("meta"):
        network = create_model(diagram.network, **diagram.options).eval()
    modules = dict(network.named_modules())
    shapes: dict[str, tuple[int, int, int]] = {}

    def note(name: str, tensor: Any) -> None:
        if isinstance(tensor, Tensor):
            size = (*tensor.shape[1:], 1, 1, 1)[:3]
            shapes[name] = (int(size[0]), int(size[1]), int(size[2]))

    for key, module in modules.items():
        module.register_forward_pre_hook(lambda _, given, key=key: note(f"{key}<", given[0]))
        module.register_forward_hook(lambda _, given, result, key=key: note(key, result))
    channels = next(module for module in network.modules() if isinstance(module, nn.Conv2d)).in_channels
    images = torch.zeros(1, channels, *diagram.size, device="meta")
    with torch.no_grad():
        note(LOGITS, diagram.run(network, images))
    note(PICTURE, images)
    if diagram.network == "segnet":  # the last pooling is a function, of stride 2
        channels, height, width = shapes["encoder.features.42"]
        shapes["max_unpool2d.0<"] = (channels, height // 2, width // 2)
    return shapes


@pytest.mark.parametrize("name", ["fcn8s", "segnet", "deconvnet", "linknet"])
def test_the_tables_of_the_page_have_the_drawn_shapes(name: str) -> None:
    page = page_of(name)
    _, shapes = traced(DIAGRAMS[name])
    for each in DIAGRAMS[name].maps():
        assert " x ".join(map(str, shapes[each.name])) in page


@EACH
def test_every_connection_is_there_and_none_is_missing(name: str) -> None:
    """With its drawn sources held, a map does not depend on the picture; it does depend on each of its sources."""
    torch.manual_seed(0)
    diagram = DIAGRAMS[name]
    network = create_model(diagram.network, **{**diagram.options, **SMALL.get(name, {})}).eval()
    randomise(network)
    side = SIDES.get(name, 64)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    picture, another = torch.rand(2, 1, first.in_channels, side, side)
    before = passed(diagram, network, picture, {})
    maps = {each.name: each for each in diagram.maps()}
    for each in maps.values():
        held = {source: before[source] for source in holdable(each, maps)}
        if held and PICTURE not in held:
            after = passed(diagram, network, another, held)[each.name]
            torch.testing.assert_close(after, before[each.name], msg=f"{each.name} depends on more than {list(held)}")
        for source in held:
            changed = torch.rand_like(held[source]) * (1 + held[source].std())
            after = passed(diagram, network, changed if source == PICTURE else picture, {**held, source: changed})
            assert not torch.equal(after[each.name], before[each.name]), f"{each.name} does not depend on {source}"


def holdable(each: Map, maps: Mapping[str, Map]) -> list[str]:
    """Sources of a map. The sums of FPN are added to the next finer level before the layer at which they can be
    replaced; in their place stand the maps that are summed."""
    sources: list[str] = []
    for source in each.sources:
        sums = each.plus and maps[source].plus
        sources += holdable(maps[source], maps) if sums else [source]
    return sources


def randomise(network: nn.Module) -> None:
    """Layers that start at zero pass nothing on, so that a connection through them could not be seen."""
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)


def passed(diagram: Diagram, network: nn.Module, images: Tensor, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The maps of a pass in which some of them are replaced."""
    maps = {PICTURE: images}

    def see(name: str, found: Tensor) -> Tensor:
        maps[name] = held.get(name, found).clone()
        return maps[name].clone()

    with torch.no_grad(), watched(network, [each.name for each in diagram.maps()], see):
        maps[LOGITS] = diagram.run(network, images)
    return maps


def test_a_table_that_does_not_fit_its_network_is_refused() -> None:
    segnet = DIAGRAMS["segnet"]
    with pytest.raises(AttributeError, match="has no attribute `7`"):
        traced(replace(segnet, columns=[*segnet.columns, Map("decoder.7", Part.DECODER)]))
    with pytest.raises(ValueError, match=r"does not compute max_unpool2d\.9<"):
        traced(replace(segnet, columns=[*segnet.columns, Map("max_unpool2d.9<", Part.DECODER)]))
    shapes = {"a": (8, 4, 4), "b": (4, 4, 4), "c": (12, 4, 4), "wide": (8, 4, 5)}
    both = {"a": Kind.CONCATENATION, "b": Kind.CONCATENATION}
    check("fits", Map("c", Part.DECODER, both), shapes)
    for target, sources in (
        ("a", both),
        ("b", {"a": Kind.CONCATENATION, "b": None}),
        ("c", {"a": Kind.SUM}),
        ("a", {"wide": Kind.SUM}),
        ("wide", {"a": Kind.INDICES}),
    ):
        with pytest.raises(ValueError, match=f": .*{target}"):
            check("network", Map(target, Part.DECODER, sources), shapes)


def test_a_block_grows_by_a_step_per_octave() -> None:
    diagram = DIAGRAMS["segnet"]
    network, shapes = traced(diagram)
    boxes = boxes_of(diagram, network, shapes)
    blocks = ("features.5", "features.12", "features.22", "features.32", "features.42")
    heights = [boxes[f"encoder.{block}"].height for block in blocks]
    assert [first - second for first, second in pairwise(heights)] == pytest.approx([diagram.step] * 4)
    widths = [boxes[f"encoder.{block}"].width for block in blocks[:4]]
    assert widths[1] - widths[0] == pytest.approx(widths[2] - widths[1])
    assert widths[2] < widths[3]


def drawn(figure: Figure) -> tuple[list[tuple[str, Bbox]], list[Bbox]]:
    """Texts and blocks with their places, in pixels."""
    figure.set_dpi(100)
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.axes[0]
    texts = [(text.get_text(), text.get_window_extent(renderer)) for text in axes.texts]
    blocks = [patch.get_window_extent(renderer) for patch in axes.patches if isinstance(patch, Rectangle)]
    return texts, blocks


def overlap(one: Bbox, other: Bbox) -> bool:
    """Whether two places share more than a pixel along both axes; the place of a text includes room for descenders."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return bool(width > 1 and height > 3)


@EACH
def test_nothing_overlaps_or_is_cut_off(name: str) -> None:
    diagram = DIAGRAMS[name]
    figure = network_figure(diagram)
    texts, blocks = drawn(figure)
    height = figure.get_figheight() * 100
    for text, place in texts:
        assert place.x0 >= 0, text
        assert place.x1 <= WIDTH, text
        assert place.y0 >= 0, text
        assert place.y1 <= height, text
        assert not any(overlap(place, block) for block in blocks), text
    for (text, place), (other, beside) in combinations(texts, 2):
        assert not overlap(place, beside), (text, other)
    network, shapes = traced(diagram)
    boxes = boxes_of(diagram, network, shapes)
    to_pixels = figure.axes[0].transData
    for box in boxes.values():
        for _, corners in routes(box, boxes):
            for ends in pairwise(corners):
                (x0, y0), (x1, y1) = to_pixels.transform(ends)
                for text, place in texts:
                    points = [(x0 + (x1 - x0) * t / 200, y0 + (y1 - y0) * t / 200) for t in range(201)]
                    inside = [place.x0 < x < place.x1 and place.y0 + 3 < y < place.y1 - 3 for x, y in points]
                    assert not any(inside), f"an arrow to {box.each.name} crosses {text}"
