"""The report of a run: one HTML file that needs nothing else, on a phone or on a desk, in light or dark."""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from pixelwise.atomic import write_text
from pixelwise.data.draw import background_class, palette, to_rgb
from pixelwise.data.sample import VOID
from pixelwise.metrics import Calibration, ConfusionMatrix
from pixelwise.report import figures

LONG_SIDE = 640  # pixels of the pictures on the page
ERROR_COLOUR = (229, 36, 94)
SCORES = {
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "mean_dice": "mean Dice",
}
SHOWN = frozenset({*SCORES, "pixels", "expected_calibration_error"})  # of the metrics, in a place of their own


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One picture with its prediction.

    Attributes:
        name: of the picture.
        image: (H, W, C), any depth.
        prediction: (H, W) class ids.
        truth: (H, W) class ids, 255 = void; None where it is not known.
        mean_iou: of this picture alone; NaN without truth.
        confidence: (H, W) probability of the predicted class, 0..1, where it is kept.
    """

    name: str
    image: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray | None = None
    mean_iou: float = math.nan
    confidence: np.ndarray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ReportContent:
    """Everything on the page. What a run does not have is left empty, and the page says so.

    Attributes:
        title: of the page.
        metrics: as `metrics.json` holds them: `ConfusionMatrix.summary`, for objects `InstanceScore.summary` under
            `objects`, and any other numbers, which are listed.
        confusion: the counts behind them.
        recipe: what was run, complete.
        reasons: (key, value, why) of what was decided from the data.
        dataset: facts: `pictures` (split -> how many), `class_shares` (class name -> 0..1), and any others.
        log: the entries of `log.jsonl`, of kind `train` and `validation`.
        calibration: of the confidences on the same split.
        examples: in any order; the page sorts them into best, middle and worst.
        timing, hardware: names -> values; a name that ends in `seconds` is a duration.
        next_commands: to be copied, in order.
        yardsticks: name -> mean IoU of what was not learned on these pictures, or not learned at all.
    """

    title: str
    metrics: Mapping[str, Any]
    confusion: ConfusionMatrix
    recipe: Mapping[str, Any] = field(default_factory=dict)
    reasons: Sequence[tuple[str, Any, str]] = ()
    dataset: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[Mapping[str, Any]] = ()
    calibration: Calibration | None = None
    examples: Sequence[Example] = ()
    timing: Mapping[str, Any] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    next_commands: Sequence[str] = ()
    yardsticks: Mapping[str, float | None] = field(default_factory=dict)


def write_report(path: Path, content: ReportContent) -> None:
    """Writes the page: complete under its final name, or not at all.

    Raises:
        OSError: as the system gives it.
    """
    names = content.confusion.class_names
    colours = palette(len(names), background_class(names))
    environment = Environment(
        loader=PackageLoader("pixelwise.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, percent=_percent, plain=_plain, words=_words, css=_css, value=_value)
    extra = {
        name: value
        for name, value in content.metrics.items()
        if name not in SHOWN and isinstance(value, int | float | None)
    }
    recipe = json.loads(json.dumps(dict(content.recipe), default=str))
    page = environment.get_template("report.html.j2").render(
        content=content,
        scores={label: content.metrics.get(name) for name, label in SCORES.items()},
        extra=extra,
        objects=content.metrics.get("objects") or {},
        definition=content.metrics.get("definition", ""),
        yardsticks=_yardsticks(content),
        classes=_classes(content.confusion, colours),
        legend=[(name, colours[class_id]) for class_id, name in enumerate(names)],
        has_void=any(e.truth is not None and (e.truth == VOID).any() for e in content.examples),
        groups=_groups(content.examples, colours),
        curves=[
            _svg(figure, label)
            for figure, label in (
                (figures.loss_curve(content.log), "training loss by step"),
                (figures.score_curve(content.log), "validation scores by step"),
                (figures.learning_rate_curve(content.log), "learning rate by step"),
            )
            if figure is not None
        ],
        averaged=next((entry for entry in reversed(content.log) if "raw_mean_iou" in entry), None),
        confusion=_svg(figures.confusion_figure(content.confusion), "confusion matrix"),
        reliability=content.calibration
        and _svg(figures.reliability_figure(content.calibration), "reliability diagram"),
        ece=content.calibration.ece() if content.calibration else None,
        recipe=yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True) if recipe else "",
        about={name: value for name, value in content.dataset.items() if name != "class_shares"},
        shares=content.dataset.get("class_shares", {}),
    )
    write_text(path, page)


def _svg(figure: Figure, label: str) -> Markup:
    return Markup(figures.inline_svg(figure, label))  # matplotlib escapes the text in it


def _yardsticks(content: ReportContent) -> list[tuple[str, float | None, bool]]:
    """(name, mean IoU, whether it is this run), best first; empty where there is nothing to compare with."""
    if not content.yardsticks:
        return []
    rows = [(name, score, False) for name, score in content.yardsticks.items()]
    rows.append(("this run", content.metrics.get("mean_iou"), True))
    return sorted(rows, key=lambda row: -_sortable(row[1]))


def _classes(confusion: ConfusionMatrix, colours: np.ndarray) -> list[dict[str, Any]]:
    """The rows of the table of classes, best IoU first, undefined last."""
    total = max(confusion.pixels, 1)
    columns = zip(
        confusion.class_names,
        colours,
        confusion.iou().tolist(),
        confusion.dice().tolist(),
        confusion.precision().tolist(),
        confusion.recall().tolist(),
        (confusion.true_pixels / total).tolist(),
        strict=False,
    )
    keys = ("name", "colour", "iou", "dice", "precision", "recall", "share")
    rows = [dict(zip(keys, values, strict=True)) for values in columns]
    return sorted(rows, key=lambda row: -_sortable(row["iou"]))


def _sortable(score: float | None) -> float:
    return -1.0 if score is None or math.isnan(score) else score


def _groups(examples: Sequence[Example], colours: np.ndarray) -> list[tuple[str, list[dict[str, Any]]]]:
    """Examples by how well they went, each with its panels as data addresses."""
    known = sorted((e for e in examples if not math.isnan(e.mean_iou)), key=lambda e: -e.mean_iou)
    unknown = [e for e in examples if math.isnan(e.mean_iou)]
    if len(known) < 3:
        named = [("Examples", known)]
    else:
        ends = [round(len(known) * part / 3) for part in range(4)]
        thirds = [known[low:high] for low, high in itertools.pairwise(ends)]
        named = list(zip(("Best", "Middle", "Worst"), thirds, strict=True))
    named.append(("Without truth", unknown))
    return [(name, [_panels(example, colours) for example in some]) for name, some in named if some]


def _panels(example: Example, colours: np.ndarray) -> dict[str, Any]:
    height, width = example.prediction.shape
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = cv2.resize(to_rgb(example.image), size, interpolation=cv2.INTER_AREA)
    prediction = cv2.resize(example.prediction.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    panels = [("Picture", _jpeg(picture))]
    wrong = None
    if example.truth is not None:
        truth = cv2.resize(example.truth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        panels.append(("Truth", _png(truth, colours)))
        counted = example.truth != VOID
        wrong = float((example.truth != example.prediction)[counted].mean()) if counted.any() else None
    panels.append(("Prediction", _png(prediction, colours)))
    if example.truth is not None:
        panels.append(("Errors", _jpeg(_errors(picture, truth, prediction))))
    if example.confidence is not None:
        shown = cv2.resize(example.confidence.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        tinted = colormaps["viridis"](np.clip(shown, 0, 1), bytes=True)[:, :, :3]
        panels.append(("Confidence (bright = sure)", _jpeg(np.ascontiguousarray(tinted))))
    return {"name": example.name, "mean_iou": example.mean_iou, "wrong": wrong, "panels": panels, "size": size}


def _errors(picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The picture, grey and pale, with wrong pixels in one loud colour and void dark."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    pale = np.repeat((150 + grey * 0.4)[:, :, None], 3, axis=2).astype(np.uint8)
    pale[truth == VOID] = 90
    pale[(truth != prediction) & (truth != VOID)] = ERROR_COLOUR
    return pale


def _jpeg(rgb: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=85, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _png(mask: np.ndarray, colours: np.ndarray) -> str:
    image = Image.fromarray(mask).convert("P")
    image.putpalette(colours.tobytes())
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _absent(why: str) -> Markup:
    return Markup('<span class="absent" title="{}">–</span>').format(why)


def _number(value: object, why: str = "not recorded", digits: int = 3) -> Markup | str:
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
