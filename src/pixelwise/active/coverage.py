"""Which pictures cover a pool best, judged by the distances between their features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROWS = 4096
"""Number of pictures whose distances to a centre are computed at a time."""


def k_centre(features: Tensor | np.ndarray, chosen: Sequence[int] | np.ndarray | Tensor, count: int) -> np.ndarray:
    """Greedy k-centre: repeatedly the picture that is farthest from all chosen ones.

    The largest distance from any picture to its nearest chosen one is at most twice the smallest possible (Gonzalez
    1985; as the core-set of Sener & Savarese, ICLR 2018, algorithm 1). Of equally far pictures the first is taken.
    Nothing is drawn at random: if no picture is chosen yet, the first centre is the picture nearest to the mean of all
    features. Only one distance per picture is kept, never a matrix of all distances.

    >>> k_centre(np.array([[0.0], [1.0], [9.0], [5.0]]), [0], 2).tolist()
    [2, 3]

    Args:
        features: (N, F).
        chosen: indices of the pictures that count as centres already, such as the labelled ones.
        count: how many to add.

    Returns:
        (count,) indices in the order in which they were chosen, none of them in `chosen`.

    Raises:
        ValueError: features of another shape or with NaN, indices beyond them, or fewer pictures left than `count`.
    """
    return farthest_first(features, chosen, count)[0]


def farthest_first(
    features: Tensor | np.ndarray,
    chosen: Sequence[int] | np.ndarray | Tensor,
    count: int,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The result of `k_centre`, and the distance (count,) of each new centre from the centres before it.

    The first distance is infinite if nothing was chosen before.

    Args:
        weights: (N,), at least 0; each step takes the largest product of distance and weight. The first centre is then
            the picture with the largest weight if nothing was chosen before. None for equal weights.

    Raises:
        ValueError: as in `k_centre`.
    """
    points = _checked(features)
    factors = None if weights is None else torch.from_numpy(np.asarray(weights, np.float64)).to(points.device) ** 2
    centres = np.unique(np.asarray(chosen, np.int64).reshape(-1)).tolist()
    if centres and not (centres[0] >= 0 and centres[-1] < len(points)):
        raise ValueError(f"chosen indices from {centres[0]} to {centres[-1]} found, 0 to {len(points) - 1} expected.")
    left = len(points) - len(centres)
    if not 0 <= count <= left:
        raise ValueError(f"count {count} found, 0 to {left} expected: {len(centres)} of {len(points)} are chosen.")
    squares = torch.full((len(points),), torch.inf, dtype=points.dtype, device=points.device)
    for centre in centres:
        _approach(squares, points, centre)
    squares[centres] = -1  # never chosen again, even if all others coincide with a centre
    found: list[int] = []
    distances: list[float] = []
    for _ in range(count):
        if centres or found:
            reached = squares if factors is None else torch.where(squares < 0, squares.double(), squares * factors)
            number = int(reached.argmax())
        elif factors is None:
            number = int(_squares(points, points.mean(0)).argmin())
        else:
            number = int(factors.argmax())
        found.append(number)
        distances.append(float(squares[number]) ** 0.5)
        _approach(squares, points, number)
        squares[number] = -1
    return np.array(found, np.int64), np.array(distances)


def principal_subspace(features: Tensor | np.ndarray, share: float = 0.95) -> Tensor:
    """Features in the low-dimensional space that they span: their first principal components (Pearson 1901).

    Directions in which the features hardly vary carry mostly noise, which in hundreds of dimensions dominates the
    distances of `k_centre`.

    Args:
        features: (N, F).
        share: how much of the variance the components must hold, 0 to 1.

    Returns:
        (N, R) float64: coordinates along the fewest components that hold this share, at least one. Distances are those
        of the features projected on the subspace.

    Raises:
        ValueError: features of another shape or with NaN.
    """
    points = _checked(features)
    centred = points - points.mean(0)
    variances, directions = torch.linalg.eigh(centred.T @ centred)  # (F,) ascending, (F, F)
    held = variances.flip(0).clamp_min(0).cumsum(0)
    rank = int((held < share * held[-1]).sum()) + 1
    return centred @ directions.flip(1)[:, :rank]


def _checked(features: Any) -> Tensor:
    points = torch.as_tensor(features)
    if points.dim() != 2:
        raise ValueError(f"features of shape {tuple(points.shape)} found, (N, F) expected.")
    if not torch.isfinite(points).all():
        raise ValueError("features that are NaN or infinite found, finite numbers expected.")
    return points.double()


def _squares(points: Tensor, centre: Tensor) -> Tensor:
    """(N,) squared distances, by some rows at a time."""
    return torch.cat([(rows - centre).square().sum(1) for rows in points.split(ROWS)])


def _approach(squares: Tensor, points: Tensor, centre: int) -> None:
    """Lowers the squared distance of each point to its nearest centre by that of a new centre."""
    torch.minimum(squares, _squares(points, points[centre]), out=squares)
