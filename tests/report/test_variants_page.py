"""Variants side by side: the best is marked in the direction of the score, and only what was measured is shown."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pixelwise.metrics import Headline
from pixelwise.report.page import render_page
from pixelwise.report.variants import (
    ReferenceOutcome,
    VariantOutcome,
    VariantsContent,
    curves,
    curves_sheet,
    spread,
    variants_page,
)

ACCURACY = Headline("score", "accuracy")
FID = Headline("score", "FID", higher=False, limits=(0, None))


def content(headline: Headline = ACCURACY, **changes: object) -> VariantsContent:
    log = [{"epoch": epoch, "score": 0.25 * epoch, "loss": 2 / epoch} for epoch in (1, 2)]
    some = [
        VariantOutcome(name, about, training, score, score, 2.0, 1.0, log)
        for name, about, training, score in (
            ("plain", "<b>&", 0.75, 0.5),
            ("other", "", None, 0.25),
            ("third", "", 0.5, None),
        )
    ]
    values = VariantsContent(
        title="variants", about="why <not>", headline=headline, definition="as measured", outcomes=some,
        recipe="a: <b>", next_commands=("# why", "pixelwise <x>"),
    )  # fmt: skip
    return replace(values, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("headline", "best"), [(ACCURACY, "0.500"), (FID, "0.250")])
def test_the_best_is_marked_in_the_direction_of_the_score(headline: Headline, best: str) -> None:
    text = render_page(variants_page(content(headline)))
    assert re.findall('<span class="best">(.*?)</span>', text) == [best]


def test_the_table() -> None:
    text = render_page(variants_page(content()))
    table = text[text.index("<thead>") : text.index("</table>")]
    rows = [
        [re.sub("<.*?>", "", cell) for cell in re.findall("<t[hd].*?>(.*?)</t[hd]>", row)]
        for row in table.split("</tr>")
    ]
    assert rows[0] == ["variant", "training", "validation", "gap", "epochs", "kept", "of epoch", ""]
    assert rows[1] == ["plain", "0.750", "0.500", "0.250", "2.0", "0.500", "1.0", "&lt;b&gt;&amp;"]
    assert rows[2][1:4] == ["–", "0.250", "–"]
    assert 'href="variants/plain/report.html"' in text
    assert "<p>Why &lt;not&gt;.</p>" in text
    assert re.findall('<pre class="command">(.*?)</pre>', text) == ["pixelwise &lt;x&gt;"]


def test_without_measurements_on_training_pictures_there_are_no_columns_for_them() -> None:
    outcomes = [replace(one, training=None) for one in content().outcomes]
    text = render_page(variants_page(content(outcomes=outcomes)))
    assert '<th>variant</th><th class="right">validation</th><th class="right">epochs</th>' in text


def test_references_stand_above_the_variants_and_can_be_best() -> None:
    references = (ReferenceOutcome("spreading", "a classical method", 0.625),)
    text = render_page(variants_page(content(references=references)))
    section = text[text.index('id="means"') :]
    section = section[: section.index("</section>")]
    rows = [re.sub("<.*?>", " ", row).split() for row in section.split("</tr>")[1:5]]
    assert [row[0] for row in rows] == ["spreading", "plain", "other", "third"]
    assert re.findall('<span class="best">(.*?)</span>', section) == ["0.625"]
    assert "a classical method" in section
    axes = spread(content(references=references)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["spreading", "plain", "other", "third"]
    assert list(axes.lines[0].get_xdata()) == [0.625]
    assert 'id="means"' not in render_page(variants_page(content()))


def test_curves_share_their_axes() -> None:
    several = content()
    drawn = [curves(one, several).axes for one in several.outcomes]
    assert {axes[0].get_ylim() for axes in drawn} == {(0, 1.03)}
    assert {axes[1].get_ylim() for axes in drawn} == {(0, 2.1)}
    assert {axes[0].get_xlim() for axes in drawn} == {(0, 2)}
    assert curves(several.outcomes[0], content(FID)).axes[0].get_ylim()[1] < 1  # as far as the values go
    assert len(curves_sheet(several, columns=2).axes) == 6
