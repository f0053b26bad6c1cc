"""Masks of many pictures, and what is told of single objects beside them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pixelwise.data.pictures import read_ids
from pixelwise.errors import UserError
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.writer import MaskWriter
from pixelwise.tasks.segment import objects
from pixelwise.tasks.segment.inference import SegmentInference, SegmentOptions
from tiny_dense import make_spec, near


class Told(SegmentInference):
    """Stands for a network whose answers are known; a picture that it has none for is a bad one."""

    def __init__(self, masks: Mapping[str, np.ndarray], way: str) -> None:
        spec = replace(make_spec(), class_names=("background", "cell", "wall"))
        super().__init__(near(), spec, SegmentOptions(device="cpu", precision="float32", instances=way))
        self.masks = masks

    def predict_file(self, path: Path | str, out: Path | str, **options: Any) -> Path:
        path = Path(path)
        if path.stem not in self.masks:
            raise UserError(f"{path}: spoilt.")
        mask = self.masks[path.stem]
        with MaskWriter(out, *mask.shape) as writer:
            writer.write(mask)
        return writer.path


def cells() -> np.ndarray:
    """Two discs of class 1 that touch, and a bar of class 2."""
    mask = np.zeros((60, 90), np.uint8)
    for x in (25, 48):
        cv2.circle(mask, (x, 30), 12, 1, -1)
    mask[50:54, 10:60] = 2
    return mask


def written(folder: Path, masks: Mapping[str, np.ndarray], way: str, *more: str) -> list[Path]:
    files = [folder / "in" / f"{name}.png" for name in (*masks, *more)]
    return Predictor(Told(masks, way)).write_all(files, folder / "in", folder / "out")


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "out" / "instances.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("way", "count"), [("components", 2), ("watershed", 3)])
def test_objects_are_numbered_and_measured(tmp_path: Path, way: str, count: int) -> None:
    mask = cells()
    assert written(tmp_path, {"a": mask}, way) == [tmp_path / "out" / "a.png"]
    labels = read_ids(tmp_path / "out" / "a_instances.png")
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels > 0, mask > 0)
    rows = table(tmp_path)
    assert [row["class"] for row in rows] == ["cell"] * (count - 1) + ["wall"]
    for row in rows:
        here = labels == int(row["instance"])
        ys, xs = np.nonzero(here)
        assert len(np.unique(mask[here])) == 1
        assert int(row["pixels"]) == len(ys)
        box = [int(row[edge]) for edge in ("x0", "y0", "x1", "y1")]
        assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert float(row["centre_x"]) == pytest.approx(xs.mean() + 0.5, abs=0.01)
        assert float(row["centre_y"]) == pytest.approx(ys.mean() + 0.5, abs=0.01)
    wall = rows[-1]
    assert (wall["pixels"], wall["centre_x"], wall["centre_y"]) == ("200", "35.00", "52.00")


def test_a_picture_without_objects_has_no_line(tmp_path: Path) -> None:
    written(tmp_path, {"empty": np.zeros((5, 7), np.uint8), "void": np.full((5, 7), 255, np.uint8)}, "watershed")
    assert table(tmp_path) == []
    assert not read_ids(tmp_path / "out" / "empty_instances.png").any()


def test_a_bad_picture_leaves_the_others(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)1 of 2 pictures.*bad\.png: spoilt"):
        written(tmp_path, {"a": cells()}, "components", "bad")
    assert {row["picture"] for row in table(tmp_path)} == {"a.png"}


def test_nothing_is_overwritten_and_mistakes_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="did you mean 'watershed'"):
        written(tmp_path, {"a": cells()}, "watersheds")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="a_instances: the instances of 'a' and the mask of another picture"):
        written(tmp_path, {"a": cells(), "a_instances": cells()}, "components")
    monkeypatch.setattr(objects, "MAX_OBJECTS", 1)
    with pytest.raises(UserError, match=r"a\.png: the mask was written, but has 2 objects"):
        written(tmp_path, {"a": cells()}, "components")
    (tmp_path / "out" / "a.png").unlink()
    with pytest.raises(UserError, match=r"instances\.csv: exists already"):
        written(tmp_path, {"a": cells()}, "components")
    monkeypatch.setattr(objects, "LARGEST", 60 * 90 - 1)
    (tmp_path / "out" / "instances.csv").unlink()
    with pytest.raises(UserError, match="90 x 60 pixels are too many"):
        written(tmp_path, {"a": cells()}, "components")
