"""The page of a run that labels pixels: whole, safe, self-contained, and frank about what it lacks."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from page_reader import PageReader
from pixelwise.data.sample import VOID
from pixelwise.data.scenes import CLASS_NAMES, scene
from pixelwise.metrics import Calibration, ConfusionMatrix, InstanceScore
from pixelwise.report.blocks import Page
from pixelwise.report.page import write_page
from pixelwise.report.run_page import RunContent, run_page
from pixelwise.tasks.segment.report import HEADLINES, Example, sections

SECTIONS = (
    "scores",
    "examples",
    "classes",
    "confusion",
    "training",
    "calibration",
    "data",
    "recipe",
    "machine",
    "next",
)


@dataclass
class Report:
    """What the page of a run on pixels is made of: the values of `RunContent`, and those of the task's sections."""

    run: dict[str, Any]
    task: dict[str, Any]

    def page(self) -> Page:
        return run_page(RunContent(**self.run, headlines=HEADLINES), sections(**self.task))


def mistaken(mask: np.ndarray, rng: np.random.Generator, classes: int) -> np.ndarray:
    """A prediction as a network makes it: ragged edges, and now and then the wrong class."""
    shift = rng.uniform(-1.5, 1.5, 2)
    moved = cv2.warpAffine(
        mask, np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), mask.shape[::-1], flags=cv2.INTER_NEAREST
    )
    table = np.arange(256, dtype=np.uint8)
    table[VOID] = 0
    for class_id in range(1, classes):
        if rng.random() < 0.12:
            table[class_id] = rng.integers(classes)
    return table[moved]


RUN = ("title", "recipe", "reasons", "dataset", "log", "timing", "hardware", "next_commands")


def report(**values: object) -> Report:
    return Report(
        {name: value for name, value in values.items() if name in RUN},
        {name: value for name, value in values.items() if name not in RUN},
    )


def content(**changes: object) -> Report:
    """A run that never happened, on pictures that did."""
    rng = np.random.default_rng(0)
    confusion, calibration = ConfusionMatrix(len(CLASS_NAMES), CLASS_NAMES), Calibration()
    shown = []
    for index in range(9):
        sample = scene((0, 1, index), pool="val")
        assert sample.mask is not None
        truth = sample.mask.copy()
        truth[:6] = VOID
        prediction = mistaken(sample.mask, rng, len(CLASS_NAMES))
        alone = ConfusionMatrix(len(CLASS_NAMES))
        alone.update(prediction, truth)
        confusion.update(prediction, truth)
        right = (prediction == truth).astype(np.float32)
        confidence = np.clip(0.55 + 0.43 * cv2.GaussianBlur(right, (0, 0), 3) - 0.2 * rng.random(truth.shape), 0, 1)
        calibration.update(confidence[truth != VOID], right[truth != VOID] > 0)
        shown.append(Example(f"val-{index:04d}", sample.image, prediction, truth, alone.mean_iou(), confidence))
    steps = np.arange(1, 601, 3)
    log: list[dict[str, object]] = [
        {
            "kind": "train", "step": int(step), "epoch": int(step // 60), "seconds": step * 0.3,
            "loss": float(0.2 + 2.2 * np.exp(-step / 140) * rng.uniform(0.8, 1.2)),
            "cross_entropy": float(0.1 + 1.5 * np.exp(-step / 140)), "dice": float(0.1 + 0.7 * np.exp(-step / 140)),
            "learning_rate": float(3e-3 * np.sin(np.pi * step / 600)), "pictures_per_second": 25.0,
        }
        for step in steps
    ]  # fmt: skip
    log += [
        {"kind": "validation", "step": step, "epoch": step // 60, "seconds": step * 0.3,
         "mean_iou": float(0.82 - 0.75 * np.exp(-step / 200)),
         "pixel_accuracy": float(0.98 - 0.1 * np.exp(-step / 200))}
        for step in range(60, 601, 60)
    ]  # fmt: skip
    values: dict[str, object] = {
        "title": "Digits on photographs: U-Net on MobileNetV2",
        "summary": confusion.summary("val"),
        "confusion": confusion,
        "calibration": calibration,
        "recipe": {"model": {"name": "unet", "encoder": "mobilenet_v2"}, "epochs": 10, "where": Path("scenes")},
        "reasons": [
            ("batch size", 4, "240 pictures of 256 x 192 in small batches give more steps an epoch"),
            ("loss", "cross-entropy + Dice", "background is 83 % of the pixels, so overlap is trained as well"),
        ],
        "dataset": {
            "pictures": {"train": 240, "val": 60}, "size": "256 x 192", "channels": 3,
            "class_shares": {name: 0.83 if name == "background" else 0.017 for name in CLASS_NAMES},
        },
        "log": log,
        "examples": shown,
        "timing": {"training_seconds": 172.4, "pictures_per_second": 25.31, "prediction_seconds": 0.034},
        "hardware": {"processor": "two cores", "precision": "bf16", "torch": "2.13.0"},
        "next_commands": ["pixelwise predict runs/digits pictures/ --out masks/", "pixelwise explain runs/digits"],
        "baselines": {"colour alone": 0.052, "always background": 0.078},
    }  # fmt: skip
    return report(**(values | changes))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("run") / "report.html"
    write_page(path, content().page())
    return path.read_text(encoding="utf-8")


def render(path: Path, given: Report) -> tuple[str, PageReader]:
    write_page(path / "report.html", given.page())
    text = (path / "report.html").read_text(encoding="utf-8")
    return text, PageReader(text)


def test_whole_and_self_contained(written: str) -> None:
    page = PageReader(written)
    assert set(SECTIONS) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"https?://", written)
    assert "script" not in page.tags
    assert "link" not in page.tags
    for address in page.addresses:
        assert address.startswith(("data:image/", "#"))
        if address.startswith("#"):
            assert address[1:] in page.ids
    assert not re.search(r"url\((?!#)", written)
    assert len(written) < 3_000_000
    for name in CLASS_NAMES:
        assert re.search(rf">{name}</th>", written)
    for group in ("Best", "Middle", "Worst"):
        assert f"<h3>{group}</h3>" in written
    assert len([address for address in page.addresses if address.startswith("data:")]) == 9 * 5


def test_numbers_are_those_of_the_metrics(written: str) -> None:
    summary = content().task["summary"]
    for name in ("mean_iou", "pixel_accuracy", "mean_accuracy", "mean_dice"):
        assert f"<b>{summary[name]:.3f}</b>" in written
    assert "dataset-level (one confusion matrix over all pixels of the val split), void excluded" in written
    table = written[written.index('id="classes"') : written.index('id="confusion"')]
    shown = [float(value) for value in re.findall(r'<td class="right">([\d.]+)</td><td><span class="bar"', table)]
    assert shown == sorted((round(v, 3) for v in summary["iou"].values()), reverse=True)


def test_same_content_same_bytes(written: str, tmp_path: Path) -> None:
    assert render(tmp_path, content())[0] == written


def test_everything_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('&')</script>"
    names = [evil, "$\\frac{1}$", "日本語"]
    confusion = ConfusionMatrix(3, names)
    confusion.update(np.array([[0, 1, 2]]), np.array([[0, 1, 1]]))
    mask = np.array([[0, 1], [2, 2]], np.uint8)
    text, page = render(
        tmp_path,
        report(
            title=evil,
            summary=confusion.summary(evil) | {evil: 1.0},
            confusion=confusion,
            recipe={evil: evil},
            reasons=[(evil, evil, evil)],
            dataset={evil: evil, "class_shares": {evil: 1.0}},
            log=[
                {"kind": "train", "step": 1, "loss": 1.0, evil: 0.5},
                {"kind": "validation", "step": 1, "mean_iou": 0.5},
            ],
            examples=[Example(evil, np.zeros((2, 2, 3), np.uint8), mask, mask, 1.0)],
            timing={evil: evil},
            hardware={evil: 1},
            next_commands=[evil],
            baselines={evil: 0.1},
        ),
    )
    assert "script" not in page.tags
    assert "<script" not in text
    assert page.text.count(evil) >= 10
    for name in names[1:]:
        assert page.text.count(name) >= 3  # in the table, and on both axes of the confusion figure


@pytest.mark.parametrize("classes", [1, 2, 32])
def test_few_and_many_classes(classes: int, tmp_path: Path) -> None:
    names = [f"kind {class_id}" for class_id in range(classes)]
    confusion = ConfusionMatrix(classes, names)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, (64, 64))
    confusion.update(np.where(rng.random(truth.shape) < 0.8, truth, 0), truth)
    _, page = render(tmp_path, report(title="many", summary=confusion.summary(), confusion=confusion))
    assert all(page.text.count(name) >= 3 for name in names)


def test_a_run_with_nothing_to_show(tmp_path: Path) -> None:
    confusion = ConfusionMatrix(2, ["background", "cell"])
    text, page = render(tmp_path, report(title="empty", summary=confusion.summary(), confusion=confusion))
    assert set(SECTIONS) <= set(page.ids)
    assert "No examples were kept in this run." in page.text
    assert '<span class="absent" title="not defined: no labelled pixel was counted">–</span>' in text
    assert "nan" not in page.text.lower()
    assert "None" not in page.text


def test_one_epoch_without_confidence_or_truth(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 4000, (900, 700, 1)).astype(np.uint16)
    mask = np.zeros((900, 700), np.uint8)
    log = [
        {"kind": "train", "step": 10, "epoch": 1, "loss": 0.7, "learning_rate": 0.1},
        {"kind": "validation", "step": 10, "epoch": 1, "mean_iou": math.nan},
    ]
    text, page = render(tmp_path, content(log=log, calibration=None, examples=[Example("x-ray", image, mask)]))
    assert "Training loss" in page.text
    assert "Without truth" in page.text
    assert "Confidences were not kept" in page.text
    assert 'title="no truth to compare with"' in text
    assert 'height="640"' in text
    assert "nan" not in page.text.lower()


def test_objects_and_other_numbers(tmp_path: Path) -> None:
    objects = InstanceScore()
    objects.update(np.array([[0, 1, 1]]), np.array([[0, 2, 2]]))
    base = content()
    summary = {**base.task["summary"], "pictures": 60, "boundary_f1": 0.625, "objects": objects.summary()}
    timing = {"training seconds": 172.4, "reading_seconds": 4.25, "pictures per second": None}
    text, page = render(tmp_path, content(summary=summary, timing=timing))
    for shown in ("boundary f1", "0.625", "dsb score", "IoU > t", "2 min 52 s", "4.25 s"):
        assert shown in page.text
    assert '<dt>pictures per second</dt><dd><span class="absent" title="not recorded">–</span></dd>' in text


def test_missing_numbers_say_why(tmp_path: Path) -> None:
    confusion = ConfusionMatrix(3, ["background", "cat", "dog"])
    confusion.update(np.array([[0, 1]]), np.array([[0, 0]]))
    text, _ = render(tmp_path, report(title="absent", summary=confusion.summary(), confusion=confusion))
    assert 'title="in neither truth nor prediction">–' in text
    assert 'title="not in the truth">–' in text
    assert 'title="never predicted">–' in text
