"""What the page of every run has: in which order, from which values, and in words where there is nothing."""

from __future__ import annotations

import re

import pytest

from pixelwise.metrics import Headline
from pixelwise.report.blocks import Page, Section
from pixelwise.report.limits import Limit
from pixelwise.report.page import render_page
from pixelwise.report.run_page import RunContent, averaged_line, run_page, validated_line
from pixelwise.report.scores import comparison, definitions, other_numbers, tiles
from pixelwise.report.values import number

ACCURACY = Headline("accuracy", "accuracy", definition="The share that is right.")
FID = Headline("fid", "FID", higher=False, definition="A distance.", limits=(0, None))


def ids(page: Page) -> list[str]:
    return [section.id for section in page.sections]


def test_the_task_comes_first_and_definitions_last() -> None:
    own = [
        Section("scores", "Scores", []),
        Section("definitions", "Definitions", []),
        Section("samples", "Samples", []),
    ]
    page = run_page(RunContent(title="run"), own)
    assert ids(page) == ["scores", "samples", "training", "data", "recipe", "machine", "next", "definitions"]


def test_what_limits_the_result_stands_after_the_scores() -> None:
    own = [
        Section("scores", "Scores", []),
        Section("samples", "Samples", []),
        Section("definitions", "Definitions", []),
    ]
    limits = [Limit("few-pictures", "Only 3 <pictures>.", "Label more.", command="pixelwise train again")]
    page = run_page(RunContent(title="run", limits=limits), own)
    assert ids(page)[:3] == ["scores", "limits", "samples"]
    text = render_page(page)
    for shown in ("Only 3 &lt;pictures&gt;.", "Label more.", '<pre class="command">pixelwise train again</pre>'):
        assert shown in text
    assert "limits" not in ids(run_page(RunContent(title="run"), own))


def test_a_run_with_nothing_recorded_says_so() -> None:
    text = render_page(run_page(RunContent(title="run")))
    for sentence in (
        "No training log: this model was only evaluated.", "No facts about the dataset were recorded.",
        "No recipe was recorded.", "Neither times nor the machine were recorded.", "Nothing was suggested.",
    ):  # fmt: skip
        assert f'<p class="soft">{sentence}</p>' in text


def test_what_was_recorded_is_shown() -> None:
    content = RunContent(
        title="run",
        headlines=(FID, ACCURACY),
        recipe={"model": {"name": "dcgan"}},
        reasons=[("batch", [4, 2], "small <data>")],
        dataset={"pictures": {"train": 12}, "class_shares": {"cat": 0.25, "dog": None}},
        log=[{"kind": "validation", "step": 1, "fid": 30.0, "raw_fid": 40.0}],
        timing={"training_seconds": 90},
        hardware={"cores": 2},
        next_commands=["pixelwise sample <run>"],
    )
    text = render_page(run_page(content))
    for shown in (
        "<summary>The whole recipe</summary>", "name: dcgan",
        '<th scope="row">batch</th><td>4, 2</td><td class="soft">small &lt;data&gt;</td>',
        "<dt>pictures</dt><dd>train: 12</dd>", "25.0\N{NO-BREAK SPACE}%", 'title="not recorded">–',
        "<dt>training</dt><dd>1 min 30 s</dd>", "<dt>cores</dt><dd>2</dd>",
        '<pre class="command">pixelwise sample &lt;run&gt;</pre>', "FID was 30.000 with averaged weights and 40.000",
    ):  # fmt: skip
        assert shown in text
    assert "class shares" not in text


def test_validations_of_a_part_of_the_pictures_are_mentioned() -> None:
    words = "Each validation measured 8.3 % of the validation pictures; the final scores are those of all of them."
    assert validated_line({"train": {"validated_share": 0.0833}}) == words
    assert validated_line({"train": {"validated_share": 1.0}}) == validated_line({}) == ""


def test_averaged_weights_are_compared_at_the_last_validation_of_both() -> None:
    log = [
        {"kind": "validation", "accuracy": 0.5, "raw_accuracy": 0.25},
        {"kind": "validation", "accuracy": 0.75, "raw_accuracy": 0.625},
        {"kind": "validation", "accuracy": 0.875},
    ]
    assert averaged_line(log, ACCURACY) == (
        "At the last validation, accuracy was 0.750 with averaged weights and 0.625 with the weights of the last step."
    )
    assert averaged_line(log, FID) == ""
    assert averaged_line([], ACCURACY) == ""


@pytest.mark.parametrize(
    ("headline", "names"),
    [(ACCURACY, ["this run", "colour", "nothing", "failed"]), (FID, ["nothing", "colour", "this run", "failed"])],
)
def test_the_best_method_comes_first_whatever_better_means(headline: Headline, names: list[str]) -> None:
    table = comparison({"failed": None, "nothing": 0.25, "colour": 0.5}, 1.0, headline)
    assert [row[0] for row in table.rows] == names
    assert table.columns[1].title == headline.label


def test_bars_are_shares_of_the_axis_or_of_the_largest_score() -> None:
    shares = [row[2].share for row in comparison({"other": 20.0}, 10.0, FID).rows]
    assert shares == [0.5, 1.0]
    assert [row[2].share for row in comparison({"other": 0.25}, 0.5, ACCURACY).rows] == [0.5, 0.25]


def test_tiles_follow_the_headlines_and_the_rest_is_listed() -> None:
    summary = {"accuracy": 0.5, "fid": None, "loss": 1.0, "classes": {"a": 1}, "split": "val"}
    shown = tiles(summary, (FID, ACCURACY, Headline("absent", "absent")), "why")
    assert [(tile.label, tile.value, tile.why) for tile in shown] == [("FID", None, "why"), ("accuracy", 0.5, "why")]
    (facts,) = other_numbers(summary, {"accuracy", "fid"})
    assert facts.values == {"loss": 1.0}  # type: ignore[union-attr]
    assert other_numbers({"accuracy": 0.5}, {"accuracy"}) == []


def test_definitions_are_those_of_the_headlines_and_of_the_task() -> None:
    text = render_page(Page("title", [definitions((ACCURACY, FID), {"recall": "What was found."})]))
    assert re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", text)[:3] == [
        ("accuracy", "The share that is right."), ("FID", "A distance."), ("recall", "What was found."),
    ]  # fmt: skip


def test_numbers_that_are_not_floats() -> None:
    assert number(True) == "True"
    assert number("text") == "text"
