"""Networks that find objects, from a folder to a measured run."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from pixelwise import api
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.formats import open_dataset
from pixelwise.data.pictures import write_png
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.inference.rasters import open_raster
from pixelwise.methods.supervised import Supervised
from pixelwise.models.classify.table import ENCODERS
from pixelwise.nn.encoder import Encoder
from pixelwise.report.run_page import RunContent
from pixelwise.tasks.detect.inference import MATCH, BoxInference
from pixelwise.tasks.detect.merging import match_score
from pixelwise.tasks.detect.task import search_scales
from pixelwise.training import finish
from pixelwise.training.recipes import load_recipe
from pixelwise.training.run import open_run

SMALL = {"model.encoder": "tiny", "model.hidden": [32, 16], "model.pool": 2, "train.batch_size": 4}
BARE = {"model.width": 4, "stages": [], "model.regression": False}
OVERFEAT = {"model.width": 4, "train.batch_size": 4, "train.validations": 1}


class TinyEncoder(Encoder):
    """Three strided convolutions with batch norm: a map of 32 channels at stride 8."""

    feature_channels = (8, 16, 32)
    feature_strides = (2, 4, 8)

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        widths = (in_channels, *self.feature_channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
            for inputs, outputs in pairwise(widths)
        )

    def stages(self) -> list[nn.Module]:
        return list(self.blocks)


@pytest.fixture(scope="module", autouse=True)
def _tiny_encoder() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENCODERS, "tiny", TinyEncoder)
        yield


@pytest.fixture(scope="module")
def coco_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small scenes of one to three digits as COCO."""
    folder = tmp_path_factory.mktemp("data") / "coco"
    write_coco_scenes(folder, train=8, val=4, size=(64, 96), digits=(1, 3))
    return folder


@pytest.fixture(scope="module")
def squares_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright squares and dark ones on grey, of one size range: COCO with polygons and category ids with gaps."""
    folder = tmp_path_factory.mktemp("data") / "squares"
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(40):
        image = rng.normal(120, 10, (48, 64, 3))
        side = int(rng.integers(14, 26))
        left, top = int(rng.integers(0, 64 - side)), int(rng.integers(0, 48 - side))
        bright = number % 2
        image[top : top + side, left : left + side] += 90 if bright else -90
        write_png(folder / "images" / f"{number:02d}.png", image.clip(0, 255).astype(np.uint8))
        images.append({"id": number, "file_name": f"{number:02d}.png", "height": 48, "width": 64})
        right, bottom = left + side, top + side
        outline = [left, top, right, top, right, bottom, left, bottom]
        annotations.append(
            {"id": number, "image_id": number, "category_id": 9 if bright else 4, "segmentation": [outline]}
        )
    categories = [{"id": 4, "name": "dark"}, {"id": 9, "name": "bright"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def run(squares_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged recipe, small, on squares."""
    out = tmp_path_factory.mktemp("runs") / "localizer"
    overrides = {**SMALL, "model.pool": 4, "train.batch_size": 8, "train.validations": 3, "optimizer.lr": 0.005}
    api.train("localizer", data=squares_folder, epochs=75, out=out, overrides=overrides)
    return out


def test_it_learns_and_writes_all_of_a_run(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.85
    assert metrics["box_iou"] > 0.4
    assert metrics["pictures"] == metrics["pictures_with_object"] == 8
    page = (run / "report.html").read_text()
    assert "IoU of its largest object" in page
    assert "mean IoU of boxes" in page
    assert "--overlay" in (run / "next.txt").read_text()
    assert "--flips" not in (run / "next.txt").read_text()
    first = [entry for entry in open_run(run).stage(1).log() if entry["kind"] == "validation"]
    assert all("box_iou" not in entry for entry in first)  # nothing was learned of boxes yet


def test_the_second_stage_moves_the_box_branch_alone(run: Path) -> None:
    before, after = load_file(open_run(run).stage(1).best), load_file(run / "best.safetensors")
    for name, value in after.items():
        assert torch.equal(value, before[name]) == name.startswith(("encoder.", "head.")), name


def test_the_curve_shows_the_score_that_chose_the_weights(
    run: Path, squares_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the class is learned that is its accuracy, and while the box is, how well boxes fit."""
    shown: list[RunContent] = []
    real = finish.run_page

    def kept(content: RunContent, sections: Any) -> Any:
        shown.append(content)
        return real(content, sections)

    monkeypatch.setattr(finish, "run_page", kept)
    overrides = {**SMALL, "train.validations": 1}
    api.train("localizer", data=squares_folder, epochs=1, out=tmp_path / "run", overrides=overrides)
    assert [content.headlines[0].key for content in shown] == ["accuracy", "box_iou"]
    for part, key in ((open_run(run).stage(1), "accuracy"), (open_run(run), "box_iou")):
        best = -1.0
        for entry in part.log():
            if entry["kind"] == "validation":
                assert entry["best"] == (entry[key] > best)
                best = max(best, entry[key])


def test_misspelt_precision_is_one_sentence(run: Path) -> None:
    for options in ({"precision": "bfloat"}, {"device": "cpuu"}):
        with pytest.raises(UserError, match=next(iter(options.values()))) as caught:
            api.load(run, **options)
        assert "\n" not in str(caught.value)


def test_evaluating_again_gives_the_same_numbers(run: Path) -> None:
    assert api.evaluate(run) == json.loads((run / "metrics.json").read_text())


def test_prediction_in_pixels_of_the_picture(run: Path, squares_folder: Path, tmp_path: Path) -> None:
    predictor = api.load(run)
    assert isinstance(predictor.inference, BoxInference)
    file = squares_folder / "images" / "00.png"
    small = predictor(file)
    assert small.boxes.shape == (1, 4)
    assert small.class_names == ("background", "dark", "bright")
    # The same picture at twice the width: the view is the same, so the box is twice as wide.
    wide = predictor(np.repeat(np.asarray(Image.open(file)), 2, axis=1))
    np.testing.assert_allclose(wide.boxes, small.boxes * (2, 1, 2, 1), atol=1.5)
    assert predictor(np.full((5, 300), 100, np.uint8)).boxes[0, 2:].max() <= 300
    table = api.predict(run, squares_folder, tmp_path / "out", overlay=True)[0]
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 40
    assert rows[0]["picture"] == "images/00.png"
    assert float(rows[0]["x1"]) == pytest.approx(float(small.boxes[0, 2]), abs=0.01)
    drawn = np.asarray(Image.open(tmp_path / "out" / "images" / "00_overlay.png"))
    np.testing.assert_array_equal(drawn, small.overlay())
    assert (drawn != np.asarray(Image.open(file))).any()
    with pytest.raises(UserError, match="would be overwritten"):
        api.predict(run, squares_folder, tmp_path / "out")


@pytest.mark.parametrize("option", [{"scales": (0.5, 1.0)}, {"refine": "crf"}, {"tile": 64}, {"flips": "horizontal"}])
def test_options_of_other_networks_are_refused(run: Path, option: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match=f"localizer, trained for the task 'detect', has no option --{next(iter(option))};"
    ):
        api.load(run, **option)


def test_a_misspelt_precision_is_one_sentence(run: Path) -> None:
    with pytest.raises(UserError, match="unknown precision 'bfloat'; did you mean 'bfloat16'"):
        api.load(run, precision="bfloat")


def test_a_bad_picture_and_outlines(run: Path, squares_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    (tmp_path / "in" / "good.png").write_bytes((squares_folder / "images" / "01.png").read_bytes())
    with pytest.raises(UserError, match=r"(?s)1 of 2 pictures predicted.*bad\.png"):
        api.predict(run, tmp_path / "in", tmp_path / "out")
    assert "good.png," in (tmp_path / "out" / "boxes.csv").read_text()
    with pytest.raises(UserError, match="has no option --boundaries"):
        api.predict(run, tmp_path / "in", tmp_path / "out2", boundaries=True)


def stop_after(steps: int, recipe: str, arguments: dict[str, Any]) -> None:
    step, done = Supervised.step, []

    def counted(self: Supervised, *given: Any) -> dict[str, float]:
        if len(done) == steps:
            os.kill(os.getpid(), signal.SIGINT)  # the loop ends this step, saves, and stops
        done.append(None)
        return step(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Supervised, "step", counted)
        with pytest.raises(KeyboardInterrupt):
            api.train(recipe, **arguments)


@pytest.mark.parametrize(("recipe", "overrides"), [("localizer", SMALL), ("overfeat", OVERFEAT)])
def test_a_run_killed_and_resumed_ends_with_the_same_bytes(
    coco_folder: Path, tmp_path: Path, recipe: str, overrides: dict[str, Any]
) -> None:
    """Stopped in the second stage: three epochs of two steps are four and two."""
    arguments: dict[str, Any] = {"data": coco_folder, "epochs": 3, "overrides": {**overrides, "train.validations": 1}}
    api.train(recipe, **arguments, out=tmp_path / "whole")
    stop_after(4, recipe, {**arguments, "out": tmp_path / "stopped"})
    api.resume(tmp_path / "stopped")
    for file in ("best.safetensors", "metrics.json", "stages/1/best.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "stopped" / file).read_bytes(), file


def test_overfeat_from_a_folder_to_boxes(coco_folder: Path, tmp_path: Path) -> None:
    run = api.train("overfeat", data=coco_folder, epochs=3, out=tmp_path / "run", overrides=OVERFEAT)
    recipe = run.planned
    assert recipe.augment.crop == (44, 44)
    assert recipe.windows.scales is not None
    assert min(recipe.windows.scales) >= 44
    assert set(run.metrics["objects"]) >= {"precision", "recall", "confidence", "definition"}
    assert run.metrics["objects"]["objects"] == sum(
        len(sample.instances)
        for sample in map(open_dataset(coco_folder).load, open_dataset(coco_folder).split("val"))
        if sample.instances is not None
    )
    assert "How the boxes of the first picture were found" in run.report.read_text()
    predictor = api.load(run.path)
    assert isinstance(predictor.inference, BoxInference)
    assert predictor.inference.confidence == 0.5
    with open_raster(coco_folder / "images" / "val-0000.png") as raster:
        every = predictor.inference.candidates(raster)
    assert (every.boxes[:, 2] <= 96).all()
    assert (np.diff(every.confidences) <= 0).all()
    assert every.steps is not None
    # Of one scale 4.4 x 4.4 windows of 44 pixels, 4 apart, have a point within a fifth of their side of their middle.
    expected = (every.steps.merged.scores / 4.4**2).clamp(max=1).numpy()
    np.testing.assert_allclose(every.confidences, expected, rtol=1e-5)
    assert len(every.steps.scales) == len(recipe.windows.scales)
    assert len(predictor(coco_folder / "images" / "val-0000.png")) == (every.confidences >= 0.5).sum()
    api.predict(run.path, coco_folder / "images" / "val-0000.png", tmp_path / "out", overlay=True)
    assert (tmp_path / "out" / "val-0000_overlay.png").exists()


def test_nuclei_whose_objects_have_no_classes(tmp_path: Path) -> None:
    """A label map for each picture: all objects are of one class."""
    rng = np.random.default_rng(0)
    for number in range(6):
        ids = np.zeros((40, 40), np.uint16)
        ids[5:20, 5:20], ids[24:38, 22 : 26 + number] = 1, 300
        write_png(tmp_path / "data" / "images" / f"{number}.png", rng.integers(0, 255, (40, 40), np.uint8))
        write_png(tmp_path / "data" / "labels" / f"{number}.png", ids)
    assert api.check(tmp_path / "data").ok
    run = api.train(
        "localizer", data=tmp_path / "data", epochs=1, out=tmp_path / "run", overrides={**SMALL, "train.validations": 1}
    )
    assert run.metrics["accuracy"] == 1  # there is only one class
    facts = run.planned.provenance["data"]["objects"]
    assert facts["count"] == [0, 2 * (6 - run.metrics["pictures"])]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"augment.objects": 0.5}, "augment.objects: localizer chooses its crops"),
        ({"augment.background": 0.5}, "augment.background: .*masks, which are not kept"),
        ({"loss.terms": {"box_l3": 1.0}}, "did you mean 'box_l2'"),
    ],
)
def test_what_cannot_be_learned_is_said(
    coco_folder: Path, tmp_path: Path, overrides: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        api.train("localizer", data=coco_folder, out=tmp_path / "run", overrides={**SMALL, **overrides})


def test_boxes_without_outlines_are_enough(squares_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "boxes"
    shutil.copytree(squares_folder, data)
    content = json.loads((data / "instances.json").read_text())
    for annotation in content["annotations"]:
        outline = np.array(annotation.pop("segmentation")[0]).reshape(-1, 2)
        annotation["bbox"] = [*outline.min(0).tolist(), *np.ptp(outline, 0).tolist()]
    (data / "instances.json").write_text(json.dumps(content))
    runs = [
        api.train("localizer", data=folder, epochs=1, out=tmp_path / f"{number}", overrides=SMALL)
        for number, folder in enumerate((squares_folder, data))
    ]
    assert runs[0].metrics == runs[1].metrics  # outlines of squares say nothing else
    with pytest.raises(UserError, match="give which objects there are, but unet learns from a class per pixel"):
        api.train("unet", data=data, out=tmp_path / "unet")


def test_what_no_loss_reaches_stays_as_it_is(squares_folder: Path, tmp_path: Path) -> None:
    for loss, branch in (("cross_entropy", ["regressor", "box_head"]), ("box_l2", ["encoder", "head"])):
        overrides = {**SMALL, "stages": [], "loss.terms": {loss: 1.0}}
        run = api.train("localizer", data=squares_folder, epochs=1, out=tmp_path / loss, overrides=overrides)
        assert list(run.planned.optimizer.freeze) == branch
    kept = {**overrides, "optimizer.freeze": ["head"]}
    run = api.train("localizer", data=squares_folder, epochs=1, out=tmp_path / "kept", overrides=kept)
    assert list(run.planned.optimizer.freeze) == ["head"]


def test_windows_are_the_networks(coco_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes windows of 44 x 44"):
        api.train("overfeat", data=coco_folder, out=tmp_path / "a", overrides={**OVERFEAT, "augment.crop": [64, 64]})
    with pytest.raises(UserError, match=r"windows.scales: 40 found"):
        api.train("overfeat", data=coco_folder, out=tmp_path / "b", overrides={**OVERFEAT, "windows.scales": [40]})
    with pytest.raises(UserError, match=r"set model.regression=true"):
        api.train("overfeat", data=coco_folder, out=tmp_path / "c", overrides=BARE)


def test_tasks_and_data_must_agree(
    digits_folder: Path, scenes_folder: Path, coco_folder: Path, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"give a class per picture, but localizer learns from"):
        api.train("localizer", data=digits_folder, out=tmp_path / "a")
    with pytest.raises(UserError, match=r"give a class per pixel, but localizer learns from.*--to coco"):
        api.train("localizer", data=scenes_folder, out=tmp_path / "b")
    with pytest.raises(
        UserError, match="localizer was trained for the task 'detect', and the labels do not show what it predicts"
    ):
        api.evaluate(run, data=digits_folder)
    with pytest.raises(UserError, match="unknown loss of unet: 'box_l2'"):
        load_recipe("unet", {"loss.terms.box_l2": 1.0})


def test_pictures_without_objects_can_stay(squares_folder: Path, tmp_path: Path) -> None:
    """They have no class and no box, and are counted apart."""
    content = json.loads((squares_folder / "instances.json").read_text())
    content["annotations"] = content["annotations"][::2]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (tmp_path / "images").symlink_to(squares_folder / "images")
    overrides = {**SMALL, "train.validations": 1, "loss.terms": {"cross_entropy": 1.0, "box_l2": 1.0}, "stages": []}
    run = api.train("localizer", data=tmp_path, epochs=0.5, out=tmp_path / "run", overrides=overrides)
    assert 0 < run.metrics["pictures_with_object"] < run.metrics["pictures"]
    assert {entry["kind"] for entry in run.log()} == {"train", "validation"}
    assert {"cross_entropy", "box_l2"} <= set(run.log()[0])


@pytest.mark.parametrize("sides", [(0.05, 0.1, 0.2), (0.2, 0.25, 0.3), (0.5, 0.9, 1.4), (0.001, 0.3, 2.0)])
def test_scales_at_which_objects_fill_windows(sides: tuple[float, float, float]) -> None:
    scales = search_scales(100, sides)
    assert 1 <= len(scales) <= 6
    assert scales == sorted(scales)
    assert scales[0] >= 100
    assert scales[-1] <= 400
    # At one of them an object of the middle size takes a share of the window that is seen in training, if it can.
    shares = [side * scale / 100 for scale in scales for side in sides[1:2]]
    if scales[-1] < 400:
        assert any(1 / 2.3 <= share <= 1 / 1.25 for share in shares) or sides[1] * scales[0] / 100 > 1 / 1.25


def test_facts_about_objects_are_kept_with_the_run(run: Path) -> None:
    facts = open_run(run).planned.provenance["data"]["objects"]
    assert sum(facts["count"]) == facts["pictures"] == 32
    low, middle, high = facts["sides"]
    assert 14 / 48 <= low <= middle <= high <= 25 / 48
    assert "objects" in Fingerprint.__slots__


def test_merged_boxes_of_a_small_network_may_scatter() -> None:
    """What the predictor's threshold merges: boxes that share about a third, and not those that merely touch."""
    first = torch.tensor([0.0, 0.0, 10.0, 10.0])
    assert match_score(first, torch.tensor([3.0, 2.0, 13.0, 12.0])) < MATCH
    assert match_score(first, torch.tensor([10.0, 0.0, 20.0, 10.0])) > MATCH
