"""What the pages of all tasks share: their content, and how values are written."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from pixelwise.metrics import Calibration, ConfusionMatrix
from pixelwise.report import figures


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PageContent:
    """What is on the page of every run. What a run does not have is left empty, and the page says so.

    Attributes:
        title: of the page.
        metrics: as `metrics.json` holds them.
        confusion: the counts behind them.
        recipe: what was run, complete.
        reasons: (key, value, why) of what was decided from the data.
        dataset: facts: `pictures` (split -> how many), `class_shares` (class name -> 0..1), and any others.
        log: the entries of `log.jsonl`, of kind `train` and `validation`.
        calibration: of the confidences on the same split.
        timing, hardware: names -> values; a name that ends in `seconds` is a duration.
        next_commands: to be copied, in order.
    """

    title: str
    metrics: Mapping[str, Any]
    confusion: ConfusionMatrix
    recipe: Mapping[str, Any] = field(default_factory=dict)
    reasons: Sequence[tuple[str, Any, str]] = ()
    dataset: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[Mapping[str, Any]] = ()
    calibration: Calibration | None = None
    timing: Mapping[str, Any] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    next_commands: Sequence[str] = ()


def templates(package: str = "pixelwise.report") -> Environment:
    """The templates of a package: escaped, and nothing undefined goes unnoticed."""
    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, content: PageContent, *, shown: Collection[str], **values: Any) -> str:
    """A page from a template of this package.

    Args:
        shown: names of metrics that the page has a place of its own for; the other numbers are listed.
        values: what the template takes beside what all pages have.
    """
    environment = templates()
    environment.filters.update(number=number, percent=_percent, plain=_plain, words=_words, css=_css, value=_value)
    recipe = json.loads(json.dumps(dict(content.recipe), default=str))
    return environment.get_template(template).render(
        content=content,
        extra={
            name: value
            for name, value in content.metrics.items()
            if name not in shown and isinstance(value, int | float | None)
        },
        definition=content.metrics.get("definition", ""),
        curves=[
            svg(figure, label)
            for figure, label in (
                (figures.loss_curve(content.log), "training loss by step"),
                (figures.score_curve(content.log), "validation scores by step"),
                (figures.learning_rate_curve(content.log), "learning rate by step"),
            )
            if figure is not None
        ],
        reliability=content.calibration and svg(figures.reliability_figure(content.calibration), "reliability diagram"),
        ece=content.calibration.ece() if content.calibration else None,
        recipe=yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True) if recipe else "",
        about={name: value for name, value in content.dataset.items() if name != "class_shares"},
        shares=content.dataset.get("class_shares", {}),
        **values,
    )


def averaged_line(log: Sequence[Mapping[str, Any]], name: str, words: str) -> str:
    """A sentence on averaged against raw weights, where the last validation measured both."""
    entry = next((entry for entry in reversed(log) if f"raw_{name}" in entry), None)
    if entry is None:
        return ""
    return (
        f"At the last validation: {words} {entry[name]:.3f} with averaged weights, {entry[f'raw_{name}']:.3f} with "
        "those of the last step."
    )


def svg(figure: Figure, label: str) -> Markup:
    return Markup(figures.inline_svg(figure, label))  # matplotlib escapes the text in it


def sortable(score: float | None) -> float:
    return -1.0 if score is None or math.isnan(score) else score


def jpeg(rgb: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=85, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def png(mask: np.ndarray, colours: np.ndarray) -> str:
    image = Image.fromarray(mask).convert("P")
    image.putpalette(colours.tobytes())
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _absent(why: str) -> Markup:
    return Markup('<span class="absent" title="{}">–</span>').format(why)


def number(value: object, why: str = "not recorded", digits: int = 3) -> Markup | str:
    """A score with three decimals, or a dash that says why there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return _absent(why)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _percent(value: float | None, why: str = "not recorded") -> Markup | str:
    if value is None or not math.isfinite(value):
        return _absent(why)
    return (
        f"{100 * value:.1f}\N{NO-BREAK SPACE}%"
        if value >= 0.001 or value == 0
        else "<\N{NO-BREAK SPACE}0.1\N{NO-BREAK SPACE}%"
    )


def _plain(value: object) -> str:
    """Any value of a dictionary in one line."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(part) for part in value)
    return str(value)


def _value(value: object, name: str) -> Markup | str:
    """As `_plain`, but seconds as hours, minutes and seconds, and a dash that says why for what is not there."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _absent("not recorded")
    if not (name.endswith("seconds") and isinstance(value, int | float) and math.isfinite(value)):
        return _plain(value)
    if value < 60:
        return f"{value:.3g} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _words(name: str) -> str:
    return name.replace("_", " ").removesuffix(" seconds")


def _css(colour: np.ndarray) -> str:
    red, green, blue = (int(channel) for channel in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"
