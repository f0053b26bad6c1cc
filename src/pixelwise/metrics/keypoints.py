"""Percentage of correct keypoints, relative to the torso or to the head."""

from __future__ import annotations

import numpy as np

HEAD_FACTOR = 0.6
"""Head size as a share of the diagonal of the head's box (Andriluka et al., CVPR 2014, footnote in section 5)."""


def pck(predicted: np.ndarray, true: np.ndarray, present: np.ndarray, size: np.ndarray, threshold: float) -> np.ndarray:
    """For each joint, the share of people whose predicted joint is within `threshold` times their size of the true one.

    With the torso's size this is PCK (Yang & Ramanan, PAMI 2013), with the head's size PCKh.

    Args:
        predicted, true: (N, J, 2) x and y in pixels.
        present: (N, J), whether the true joint is known; unknown joints do not count.
        size: (N,) each person's size in pixels.

    Returns:
        (J,) float64, NaN for a joint that is not known for anybody.

    Raises:
        ValueError: the shapes do not match.
    """
    people, joints = true.shape[:2]
    if predicted.shape != true.shape or present.shape != (people, joints) or size.shape != (people,):
        raise ValueError(
            f"predicted joints are {predicted.shape}, true ones {true.shape}, present {present.shape} and sizes "
            f"{size.shape}; (N, J, 2) twice, (N, J) and (N,) expected"
        )
    known = present.astype(bool)
    distances = np.linalg.norm(predicted - true, axis=2) / size[:, None]
    right = ((distances <= threshold) & known).sum(0)
    counts = known.sum(0)
    return np.where(counts > 0, right / np.maximum(counts, 1), np.nan)


def pckh(
    predicted: np.ndarray, true: np.ndarray, present: np.ndarray, head_size: np.ndarray, threshold: float = 0.5
) -> np.ndarray:
    """PCK relative to the size of the head (Andriluka et al., CVPR 2014), see `head_sizes`."""
    return pck(predicted, true, present, head_size, threshold)


def head_sizes(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) xyxy boxes of heads -> (N,) head sizes in pixels: 0.6 times the diagonals."""
    return HEAD_FACTOR * np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1)


def distance_between(true: np.ndarray, present: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """The distance between two joints of each person, such as left shoulder and right hip for the size of the torso.

    Args:
        true: (N, J, 2) x and y in pixels.
        present: (N, J), whether the joint is known.
        pair: indices of the two joints.

    Returns:
        (N,) float64 pixels; NaN for people for whom either joint is unknown, or both are at the same point.
    """
    first, second = pair
    lengths = np.linalg.norm(true[:, first].astype(np.float64) - true[:, second], axis=1)
    known = present[:, first].astype(bool) & present[:, second].astype(bool) & (lengths > 0)
    return np.where(known, lengths, np.nan)


def means_over_joints(shares: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The plain mean of the joints' shares, and the mean weighted by the number of people with each joint.

    Args:
        shares: (J,), as returned by `pck`.
        counts: (J,) number of people for whom each joint is known.

    Returns:
        Both means; NaN if no joint is known for anybody.
    """
    known = counts > 0
    if not known.any():
        return float("nan"), float("nan")
    return float(shares[known].mean()), float(np.average(shares[known], weights=counts[known]))
