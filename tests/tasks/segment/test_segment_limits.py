"""What limits a network that labels pixels: sizes, missed classes and doubtful labels, from literal masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelwise import api
from pixelwise.data.pictures import write_png
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.report.limits import Limit, limit_lines, limits_section, settings
from pixelwise.tasks.evaluation import Evaluation, Outcome
from pixelwise.tasks.limits import absent_classes, missed_classes
from pixelwise.tasks.segment.limits import (
    compared_iou,
    disputed_limit,
    large_limit,
    missed_limit,
    outstanding,
    weak_classes,
    weak_limit,
)
from pixelwise.tasks.segment.scores import Dispute, SegmentScores, disputed_pixels
from pixelwise.tasks.segment.sizes import ClassSize, class_sizes
from planned import FACTS, planned_recipe


def test_the_width_of_a_strip_is_its_width() -> None:
    """Within 27 % for strips along an axis and 10 % for diagonal ones, since perimeters are right on average."""
    mask = np.zeros((200, 200), np.uint8)
    mask[:, 100:104] = 1
    thin, whole = class_sizes([mask], 2)[1], class_sizes([np.ones((50, 80), np.uint8)], 2)
    assert thin is not None
    assert thin.width == pytest.approx(4 * 4 / np.pi)
    assert thin.length == 200
    rows, columns = np.mgrid[:200, :200]
    diagonal = class_sizes([(np.abs(rows - columns) <= 2).astype(np.uint8)], 2)[1]
    assert diagonal is not None
    assert diagonal.width == pytest.approx(5 / np.sqrt(2), rel=0.1)
    assert whole[0] is None
    assert whole[1] is not None
    assert whole[1].width == np.inf, "without an edge"
    assert whole[1].length == 80


def test_half_of_a_class_lies_in_its_large_pieces() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[:40, :60] = 1  # 2,400 pixels
    for left in range(0, 100, 4):
        mask[90:92, left : left + 2] = 1  # 25 pieces of 4 pixels
    sizes = class_sizes([mask], 2)[1]
    assert sizes is not None
    assert sizes.length == 60


def test_large_masks_are_measured_at_a_reduced_size() -> None:
    mask = np.zeros((2000, 3000), np.uint8)
    mask[500:1500, 100:2700] = 1
    sizes = class_sizes([mask], 2)[1]
    assert sizes is not None
    assert sizes.length == pytest.approx(2600, abs=10)


def confusion(counts: list[list[int]]) -> ConfusionMatrix:
    import torch

    matrix = ConfusionMatrix(len(counts), [f"class {number}" for number in range(len(counts))])
    matrix.counts = torch.tensor(counts)
    return matrix


def test_classes_that_are_never_found_or_cannot_be_judged() -> None:
    matrix = confusion([[900, 0, 0, 0], [99, 1, 0, 0], [200, 0, 0, 0], [0, 0, 0, 0]])
    missed = missed_classes(matrix, [5, 5, 5, 5], ("object", "objects"))
    assert [limit.code for limit in missed] == ["classes-not-found"]
    assert "class 2 (none of 200 found, 5 objects to learn from)" in missed[0].sentence
    assert "class 1" not in missed[0].sentence, "a hundredth of it is found"
    assert missed_classes(matrix, [5, 5, 0, 5], ("object", "objects")) == [], "there was nothing to learn"
    absent = absent_classes(matrix, [5, 5, 0, 5])
    assert [limit.code for limit in absent] == ["classes-not-in-training", "classes-not-in-validation"]
    assert "class 2" in absent[0].sentence
    assert "class 3" in absent[1].sentence


def test_weak_classes_are_far_below_the_others() -> None:
    matrix = confusion([[900, 0, 0], [0, 80, 20], [0, 70, 30]])  # IoU 1, 80 / 170, 30 / 120
    assert weak_classes(matrix) == [2], "class 1 is not 0.2 below the mean of 1 and 0.25"
    assert weak_classes(confusion([[900, 0, 0], [0, 30, 70], [0, 70, 60]])) == [1, 2]
    assert weak_classes(confusion([[40, 60], [60, 40]])) == [], "all alike"


def test_classes_that_both_have_are_compared() -> None:
    training, validation = confusion([[10, 0, 0], [0, 10, 0], [0, 0, 0]]), confusion([[5, 5, 0], [0, 0, 0], [0, 0, 9]])
    assert compared_iou(training, validation) == (1.0, 0.5)


def test_confident_pixels_of_another_class_dispute_the_label() -> None:
    prediction, truth = np.array([[1, 1, 1, 0, 255]], np.uint8), np.array([[0, 0, 255, 0, 0]], np.uint8)
    confidence = np.array([[0.96, 0.94, 0.99, 0.99, 0.99]], np.float32)
    assert disputed_pixels(prediction, confidence, truth).tolist() == [[True, False, False, False, False]]


def test_a_picture_stands_out_from_the_others() -> None:
    def names(*disputed: int) -> list[str]:
        return [each.name for each in outstanding([Dispute(str(n), 1000, n, 0, 1) for n in disputed])]

    assert names(400, 10, 20, 30) == ["400"]
    assert names(60, 10, 10, 10) == ["60"]
    assert names(40, 0, 0, 0) == [], "less than 5 %"
    assert names(140, 30, 30, 30) == [], "less than five times as much"
    assert names(400, 10, 10) == [], "too few others"


def outcome(shares: Sequence[float], training: Sequence[float] = ()) -> Outcome:
    """A run whose validation and training pictures have such shares of disputed pixels."""

    def evaluation(split: str, shares: Sequence[float]) -> Evaluation:
        scores = SegmentScores(("a", "b"))
        scores.disputes = [Dispute(str(n), 1000, round(1000 * share), 0, 1) for n, share in enumerate(shares)]
        return Evaluation(None, None, split, {}, scores, 1.0)  # type: ignore[arg-type]

    recipe = planned_recipe("unet", "segment")
    return Outcome(recipe, FACTS, evaluation("val", shares), evaluation("train", training) if training else None)


def test_a_network_that_is_sure_of_too_much_casts_no_doubt() -> None:
    assert disputed_limit(outcome([0.9, 0.8, 0.7, 0.0, 0.0, 0.0], [0.9, 0.0, 0.0, 0.0])) is None
    assert disputed_limit(outcome([0.02, 0.01, 0.0, 0.0], [0.02, 0.0, 0.0, 0.0])) is None, "nobody stands out"
    assert disputed_limit(outcome([])) is None


def with_scores(counts: list[list[int]], crop: list[int], **facts: object) -> Outcome:
    """A run on 360 x 480 pictures of three classes with such a confusion of the validation pixels."""
    scores = SegmentScores(FACTS.class_names)
    scores.confusion = confusion(counts)
    evaluation = Evaluation(None, None, "val", {}, scores, 1.0)  # type: ignore[arg-type]
    recipe = planned_recipe("unet", "segment", augment={"crop": crop}, train={"batch_size": 8})
    return Outcome(recipe, replace(FACTS, **facts), evaluation)  # type: ignore[arg-type]


def test_objects_larger_than_the_crop() -> None:
    counts = [[900, 0, 0], [50, 50, 0], [0, 0, 100]]
    sizes = [ClassSize(100, 480), ClassSize(40, 400), ClassSize(40, 400)]
    found = large_limit(with_scores(counts, [100, 140]), sizes)
    assert found is not None
    assert "crops in training, 140 x 100 pixels or 8.1 % of a picture: b (400 pixels)." in found.sentence, (
        "c is found well enough"
    )
    assert "to about 200 pixels" in found.advice, "140 of 400 of 480, rounded up"
    assert found.flags == "--set 'augment.crop=[200, 280]' --set train.batch_size=2"
    assert large_limit(with_scores(counts, [200, 240]), sizes) is None
    roads = [ClassSize(100, 480), ClassSize(12, 400), ClassSize(12, 400)]
    assert large_limit(with_scores(counts, [100, 140]), roads) is None, "any part of a road shows what it is"
    assert large_limit(with_scores([[900, 0, 0], [0, 100, 0], [0, 0, 100]], [100, 140]), sizes) is None


def test_what_is_told_of_weak_classes_depends_on_their_size_and_number() -> None:
    counts = [[900, 0, 0], [80, 20, 0], [10, 0, 0]]
    found = with_scores(counts, [100, 140])
    sizes = [ClassSize(100, 480), ClassSize(30, 60), ClassSize(3, 60)]
    missed = missed_limit(found, [2], sizes)
    assert missed is not None
    assert missed.sentence == "Never found: c (IoU 0.00, 1.0 % of the pixels, 20 training pictures, 3 pixels wide)."
    assert "sqrt_median_frequency" in missed.advice
    assert "for c, only a few pixels wide, use pictures of a higher resolution" in missed.advice
    assert missed.flags == (
        "--set loss.class_weights=sqrt_median_frequency --set 'loss.terms={cross_entropy: 1.0, dice: 1.0}'"
    )
    assert missed_limit(found, [], sizes) is None
    assert weak_limit(found, [], sizes) is None
    scarce = missed_limit(with_scores(counts, [100, 140], class_pictures=(300, 200, 4)), [2], sizes)
    assert scarce is not None
    assert scarce.advice.startswith("Label more pictures that show c; or give rare classes more weight")


@pytest.mark.parametrize(
    ("training", "advice"), [(63, "Label more pictures that show b."), (40, "Check whether the labels of b,")]
)
def test_a_class_that_is_neither_thin_nor_rare_is_judged_by_its_training_score(training: int, advice: str) -> None:
    counts = [[900, 0, 0], [60, 40, 0], [0, 0, 100]]
    seen = with_scores([[900, 0, 0], [100 - training, training, 0], [0, 0, 100]], [100, 140]).validation
    found = replace(with_scores(counts, [100, 140]), training=seen)
    found.recipe.loss.terms["dice"] = 1.0
    limit = weak_limit(found, [1], [ClassSize(100, 480), ClassSize(30, 60), ClassSize(30, 60)])
    assert limit is not None
    assert f"b (IoU 0.40, 0.{training} on training pictures, 9.0 % of the pixels" in limit.sentence
    assert limit.advice.startswith(advice)
    assert not limit.flags


def discs(folder: Path, train: int, val: int, swapped: str = "") -> Path:
    """Bright discs on dark ground; the labels of one picture are swapped."""
    draw = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :48]
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            x, y, radius = *draw.uniform(14, 34, 2), draw.uniform(7, 12)
            disc = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
            name = f"{split}{number:02d}"
            grey = np.where(disc, 200, 60) + draw.normal(0, 6, disc.shape)
            write_png(folder / split / "images" / f"{name}.png", grey.clip(0, 255).astype(np.uint8))
            write_png(folder / split / "masks" / f"{name}.png", (disc != (name == swapped)).astype(np.uint8))
    return folder


def trained(data: Path, out: Path) -> list[dict[str, object]]:
    network = ["model.encoder=null", "model.decoder_channels=null", "model.width=4"]
    settings = ["train.batch_size=4", "train.validations=4", "augment.scale=[1,1]", "optimizer.lr=0.01"]
    run = api.train("unet", data=data, epochs=20, out=out, overrides=[*network, *settings])
    assert json.loads(run.limits_file.read_text()) == run.limits
    return run.limits


def test_swapped_labels_are_listed_and_drawn(tmp_path: Path) -> None:
    data = discs(tmp_path / "data", train=32, val=10, swapped="val03")
    found = {limit["code"]: limit for limit in trained(data, tmp_path / "run")}
    assert found["disputed-labels"]["files"] == ["val/masks/val03.png"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Sure of another class" in page
    assert "val/masks/val03.png" in page


def test_swapped_labels_among_the_training_pictures_are_listed(tmp_path: Path) -> None:
    data = discs(tmp_path / "data", train=32, val=32, swapped="train07")
    found = {limit["code"]: limit for limit in trained(data, tmp_path / "run")}
    assert found["disputed-labels"]["files"] == ["train/masks/train07.png"]


def test_nothing_stands_out_of_a_good_run(tmp_path: Path) -> None:
    data = discs(tmp_path / "data", train=32, val=10)
    found = trained(data, tmp_path / "run")
    assert [limit["code"] for limit in found] == ["none"]
    assert str(found[0]["sentence"]).startswith("Nothing stands out")


LIMITS = [Limit(f"code {n}", f"Sentence {n}.", "Try.", settings({"a.b": None}), f"train {n}") for n in range(7)]


def test_a_terminal_shows_at_most_five_lines() -> None:
    lines = limit_lines([limit.to_dict() for limit in LIMITS])
    texts = ["".join(map(str, line.cells)) for line in lines[1:]]  # type: ignore[union-attr]
    assert texts[:2] == ["- Sentence 0. Try.", "- Sentence 1. Try."]
    assert len(texts) == 5
    assert texts[-1] == "- 3 more in the report."
    assert len(limit_lines([limit.to_dict() for limit in LIMITS[:5]])) == 6
    assert limit_lines([]) == []


def test_what_is_empty_is_not_written() -> None:
    assert Limit("a", "b", "c").to_dict() == {"code": "a", "sentence": "b", "advice": "c"}
    assert LIMITS[0].to_dict()["command"] == "train 0"
    assert Limit("a", "b", "c", files=("x.png",)).to_dict()["files"] == ["x.png"]
    assert len(limits_section([Limit("a", "b", "c")]).blocks) == 2
