"""PCK by hand, and PCKh of one method's published predictions on MPII."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from pixelwise.metrics import pckh
from pixelwise.metrics.keypoints import head_sizes, pck


def test_by_hand() -> None:
    """Two people, three joints; the first joint 3 and 6 pixels off, the second known of one, the third of nobody."""
    true = np.zeros((2, 3, 2))
    predicted = true.copy()
    predicted[0, 0] = (3, 0)
    predicted[1, 0] = (0, 6)
    predicted[1, 1] = (100, 100)
    present = np.array([[1, 1, 0], [1, 0, 0]])
    found = pck(predicted, true, present, np.array([10.0, 10.0]), 0.5)
    assert found[:2].tolist() == [0.5, 1.0]
    assert np.isnan(found[2])
    assert pck(predicted, true, present, np.array([10.0, 12.0]), 0.5)[0] == 1.0, "6 of half of 12"
    with pytest.raises(ValueError, match=r"\(N, J, 2\) twice"):
        pck(predicted, true, present, np.zeros(3), 0.5)


def test_height_and_width_are_not_swapped() -> None:
    boxes = np.array([[0.0, 0.0, 30.0, 40.0], [10.0, 10.0, 13.0, 14.0]])
    assert head_sizes(boxes).tolist() == pytest.approx([0.6 * 50, 0.6 * 5])


@pytest.mark.parametrize(
    ("threshold", "plain", "weighted"), [(0.5, 81.4584, 82.3367), (0.1, 28.3976, 28.9748), (0.11, 32.5075, 33.1382)]
)
def test_published_predictions(shared_folder: Path, threshold: float, plain: float, weighted: float) -> None:
    """The mean over joints, plain and weighted by how many people have each; pelvis and thorax are left out."""
    published = scipy.io.loadmat(shared_folder / "reference" / "mpii_val_detections.mat")
    true, predicted = (published[name].transpose(2, 0, 1) for name in ("pos_gt_src", "pos_pred_src"))
    present = 1 - published["jnt_missing"].T
    size = head_sizes(published["headboxes_src"].transpose(2, 0, 1).reshape(-1, 4))
    joints = [joint for joint in range(16) if joint not in (6, 7)]
    found = 100 * pckh(predicted, true, present, size, threshold)[joints]
    counts = present.sum(0)[joints]
    assert found.mean() == pytest.approx(plain, abs=1e-4)
    assert (found * counts).sum() / counts.sum() == pytest.approx(weighted, abs=1e-4)
