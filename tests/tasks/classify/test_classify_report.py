"""The page of a classifier: every number comes from the counts, and every name is escaped."""

from __future__ import annotations

import re

import numpy as np

from page_reader import PageReader
from pixelwise.metrics import Calibration, ConfusionMatrix
from pixelwise.report.blocks import Page
from pixelwise.report.page import render_page
from pixelwise.tasks.classify.report import ClassExample, sections

NAMES = ("cat", '<b>&"', "never seen")
TRUTH, PREDICTED = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 0])


def counts() -> ConfusionMatrix:
    confusion = ConfusionMatrix(3, NAMES, void=None)
    confusion.update(PREDICTED, TRUTH)
    return confusion


def page(**changes: object) -> str:
    image = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6, 1)
    values: dict[str, object] = {
        "summary": {"accuracy": 4 / 6, "mean_class_accuracy": None, "loss": 0.125, "definition": "as counted"},
        "confusion": counts(),
        "examples": {
            "Right": [ClassExample("one.png", image, "cat", "cat", 0.9)],
            NAMES[1]: [ClassExample(NAMES[1], image, "cat", NAMES[1], 0.75)],
        },
    }
    return render_page(Page("title", sections(**(values | changes))))  # type: ignore[arg-type]


def test_numbers_are_those_of_the_counts() -> None:
    text = page()
    assert "<b>0.667</b><span>accuracy</span>" in text
    assert 'title="not defined: no picture was counted">–</span></b><span>mean class accuracy</span>' in text
    assert "top-5 accuracy</span>" not in text  # not in the summary
    assert "As counted. 6 pictures counted." in text
    assert "<dt>loss</dt><dd>0.125</dd>" in text
    classes = text[text.index('id="classes"') : text.index('id="confusion"')]
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', classes)
    assert [name for name, _ in rows] == ["cat", "&lt;b&gt;&amp;&#34;", "never seen"]
    numbers = [re.findall(r'class="right">([\d.]+)<', row) for _, row in rows]
    assert numbers == [["0.750", "0.750", "0.750", "4"], ["0.500", "0.500", "0.500", "2"], ["0"]]
    assert 'title="not in the truth">' in rows[2][1]
    assert 'title="never predicted">' in rows[2][1]


def test_the_commonest_errors_come_first() -> None:
    confusion = ConfusionMatrix(3, ("a", "b", "c"), void=None)
    confusion.counts[:] = confusion.counts.new_tensor([[5, 1, 0], [3, 1, 0], [0, 0, 2]])
    text = page(confusion=confusion)
    errors = text[text.index("The most frequent errors") :]
    rows = re.findall(
        r'<th scope="row">(\w)</th><td>(\w)</td><td class="right">(\d+)</td><td class="right">(.*?)</td>', errors
    )
    assert rows == [("b", "a", "3", "75.0\N{NO-BREAK SPACE}%"), ("a", "b", "1", "16.7\N{NO-BREAK SPACE}%")]
    confusion.counts.fill_(0).fill_diagonal_(2)
    assert "No picture was predicted as another class." in page(confusion=confusion)


def test_many_classes_have_errors_instead_of_a_matrix() -> None:
    for count, matrices in ((32, 1), (33, 0)):
        confusion = ConfusionMatrix(count, void=None)
        confusion.update(np.array([1]), np.array([0]))
        text = page(confusion=confusion)
        assert text.count('aria-label="confusion matrix"') == matrices
        assert "The most frequent errors" in text


def test_examples_say_what_was_predicted_and_what_is_true() -> None:
    text = page()
    assert "<figcaption><b>cat</b> 90.0\N{NO-BREAK SPACE}%</figcaption>" in text
    assert '<figcaption><b class="wrong">&lt;b&gt;&amp;&#34;</b> 75.0\N{NO-BREAK SPACE}%\nis cat</figcaption>' in text
    assert 'width="200" height="133"' in text
    assert "No examples were kept" in page(examples={})


def test_calibration_is_that_of_pictures() -> None:
    calibration = Calibration()
    calibration.update(np.array([0.9, 0.9]), np.array([True, False]))
    shown = PageReader(page(calibration=calibration)).text
    assert "% of pictures" in shown
    assert "pixel" not in shown
    assert "0.400" in shown  # confidence of 0.9, accuracy of 0.5
    assert "Confidences were not kept" in PageReader(page()).text
