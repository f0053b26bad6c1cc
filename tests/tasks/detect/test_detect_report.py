"""The page of a network that gives boxes: scores of pictures and of all objects, and the boxes drawn where they are."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from page_reader import PageReader
from pixelwise.metrics import ConfusionMatrix
from pixelwise.report.blocks import Page
from pixelwise.report.page import render_page
from pixelwise.tasks.detect import report
from pixelwise.tasks.detect.report import BoxExample, sections

NAMES = ("background", "cat", '<b>&"')
OBJECTS = {"precision": 0.75, "recall": None, "objects": 8, "definition": "by hand"}


def example(overlap: float = 0.5) -> BoxExample:
    boxes, classes = np.array([[2.0, 2.0, 8.0, 8.0]]), np.array([1])
    nothing = np.zeros((0, 4)), np.zeros(0, np.int64)
    return BoxExample('<b>&".png', np.zeros((12, 24, 3), np.uint8), (boxes, classes, ["cat"]), (*nothing, []), overlap)


def page(**changes: object) -> str:
    confusion = ConfusionMatrix(3, NAMES, void=None)
    confusion.update(np.array([1, 0]), np.array([1, 2]))
    values: dict[str, object] = {
        "summary": {"accuracy": 0.5, "box_iou": 0.25, "localised": 0.125, "pictures": 2},
        "confusion": confusion,
        "examples": {"Best": [example()], "Worst": [example(float("nan"))]},
    }
    return render_page(Page("title", sections(**(values | changes))))  # type: ignore[arg-type]


def tiles(text: str) -> list[tuple[str, str]]:
    found = re.findall(r'<div class="score"><b>(.*?)</b><span>(.*?)</span></div>', text)
    return [(label, re.sub("<.*?>", "", value)) for value, label in found]


def test_scores_of_pictures() -> None:
    assert tiles(page()) == [
        ("right class, IoU of 0.5 or more", "0.125"),
        ("mean IoU of boxes", "0.250"),
        ("accuracy of the class", "0.500"),
    ]
    assert "All objects" not in page()


def test_scores_of_all_objects_come_first() -> None:
    text = page(summary={"box_iou": 0.25, "objects": OBJECTS})
    assert tiles(text) == [
        ("precision, all objects", "0.750"), ("recall, all objects", "–"), ("mean IoU of boxes", "0.250"),
    ]  # fmt: skip
    assert "<h3>All objects</h3>" in text
    assert "<dt>objects</dt><dd>8</dd>" in text
    assert "<dt>precision</dt>" not in text
    assert "<dt>recall, all objects</dt>" in text  # defined, as it is shown


def test_the_background_is_no_class_of_the_table() -> None:
    text = page()
    classes = text[text.index('id="classes"') : text.index('id="confusion"')]
    assert re.findall(r'<th scope="row">(.*?)</th>', classes) == ["cat", "&lt;b&gt;&amp;&#34;"]


def test_boxes_are_drawn_at_the_scale_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The edge of a box from 2 to 8 lies at 40 to 160 of a picture that is magnified twentyfold."""
    seen: list[np.ndarray] = []

    def jpeg(picture: np.ndarray) -> str:
        seen.append(picture)
        return "data:,"

    monkeypatch.setattr(report, "jpeg", jpeg)
    text = page(examples={"One": [example()]})
    truth, found = seen
    assert truth.shape == (240, 480, 3)
    inside = truth[100].any(1)  # a row through the middle of the box, below its label
    assert np.flatnonzero(inside).min() == 40
    assert np.flatnonzero(inside).max() == 159
    assert not found.any()
    assert text.count('width="480" height="240"') == 2


def test_examples_and_steps() -> None:
    text = page(steps=Figure((2, 1)))
    shown = PageReader(text)
    assert '<b>&".png · IoU of its largest object 0.500' in shown.text
    assert 'title="no object">–' in text
    assert '<b>&"' not in text
    assert "How the boxes of the first picture were found" in shown.text
    assert "How the boxes of the first picture were found" not in page()
    assert "No examples were kept" in page(examples={})
