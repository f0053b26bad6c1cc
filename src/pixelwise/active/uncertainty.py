"""How uncertain a network is about the classes that it predicts, from its probabilities alone.

All functions take and return tensors, or arrays of numpy, in which case they return arrays. Entropies are in nats: the
entropy of K equally probable classes is log K.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", Tensor, np.ndarray)
TOLERANCE = 1e-3
"""How far probabilities may be outside 0 to 1, as those computed in bfloat16 are."""


def entropy(probabilities: Array) -> Array:
    """The entropy of each prediction, `-sum_k p_k log p_k` (Shannon 1948), in nats.

    The largest values are the most uncertain: 0 for a certain prediction, log K if all classes are equally probable.
    A probability of 0 contributes 0.

    >>> entropy(np.array([[1.0, 0.0], [0.5, 0.5]])).round(4).tolist()
    [0.0, 0.6931]

    Args:
        probabilities: (N, K, ...), summing to 1 over the K classes.

    Returns:
        (N, ...).

    Raises:
        ValueError: fewer than two dimensions, or values outside 0 to 1, such as logits.
    """
    return _like(probabilities, _entropy(_checked(probabilities, 2), 1))


def margin(probabilities: Array) -> Array:
    """The probability of the best class minus that of the second best (Scheffer et al., IDA 2001, section 3).

    The smallest values are the most uncertain: 0 if two classes are equally probable, 1 for a certain prediction. With
    a single class the margin is its probability.

    >>> margin(np.array([[0.6, 0.1, 0.3]])).round(4).tolist()
    [0.3]

    Args:
        probabilities: (N, K, ...), summing to 1 over the K classes.

    Returns:
        (N, ...), 0 to 1.

    Raises:
        ValueError: as in `entropy`.
    """
    checked = _checked(probabilities, 2)
    best = checked.topk(min(2, checked.shape[1]), dim=1).values
    return _like(probabilities, best[:, 0] - best[:, 1] if best.shape[1] == 2 else best[:, 0])


def variation_ratio(probabilities: Array) -> Array:
    """The probability that the best class is wrong, `1 - max_k p_k` (Freeman 1965; Gal et al., ICML 2017, section 3).

    The largest values are the most uncertain: 0 for a certain prediction, 1 - 1/K if all classes are equally probable.
    With Monte Carlo dropout, the probabilities are the mean over the passes.

    >>> variation_ratio(np.array([[0.6, 0.1, 0.3]])).round(4).tolist()
    [0.4]

    Args:
        probabilities: (N, K, ...), summing to 1 over the K classes.

    Returns:
        (N, ...), 0 to 1.

    Raises:
        ValueError: as in `entropy`.
    """
    return _like(probabilities, 1 - _checked(probabilities, 2).amax(1))


def bald(probabilities: Array) -> Array:
    """Bayesian active learning by disagreement, in nats (Houlsby et al., 2011, arXiv:1112.5745, equation 2).

    The mutual information between the class and the weights: the entropy of the mean prediction minus the mean entropy
    of the predictions, over passes with different weights, such as those of Monte Carlo dropout (Gal et al., ICML 2017,
    section 3). It is large where single passes are certain but contradict each other: 0 if all passes agree, log 2 if
    half of them are certain of one class and half of another.

    >>> bald(np.array([[[1.0, 0.0]], [[0.0, 1.0]]])).round(4).tolist()
    [0.6931]

    Args:
        probabilities: (T, N, K, ...) of T passes, each summing to 1 over the K classes.

    Returns:
        (N, ...), 0 to log min(T, K).

    Raises:
        ValueError: as in `entropy`, or no pass.
    """
    passes = Passes()
    for each in _checked(probabilities, 3):
        passes.add(each.double())  # in float64 the sum of equal passes is exact, so their disagreement is 0
    return _like(probabilities, passes.bald())


def power_bald(probabilities: Array, *, seed: int, beta: float = 1.0) -> Array:
    """PowerBALD: the logarithm of `bald` plus Gumbel noise (Kirsch et al., TMLR 2023, arXiv:2106.12059, section 3).

    The pictures with the largest values are a sample without replacement in which each is drawn with a probability
    proportional to `bald ** beta`. Such a batch is less redundant than the pictures with the largest `bald`.

    Args:
        probabilities: (T, N, K, ...) of T passes.
        seed: seed of the noise; the same seed gives the same values.
        beta: large values approach the order of `bald`, 0 is random.

    Returns:
        (N, ...); minus infinity where `bald` is 0.

    Raises:
        ValueError: as in `bald`.
    """
    return _like(probabilities, gumbel_power(torch.as_tensor(bald(probabilities)), seed=seed, beta=beta))


def gumbel_power(scores: Tensor, *, seed: int, beta: float = 1.0) -> Tensor:
    """`beta log s + g` for each score s >= 0, with Gumbel noise g.

    The largest of these values is at i with the probability `s_i ** beta / sum_j s_j ** beta`, and the largest n are a
    sample without replacement (Kool et al., ICML 2019, section 2).

    Returns:
        The same shape, float64; minus infinity where s is 0.
    """
    generator = torch.Generator().manual_seed(seed)
    exponential = torch.empty(scores.shape, dtype=torch.float64).exponential_(generator=generator)
    return beta * scores.double().cpu().log() - exponential.log()


class Passes:
    """Predictions of several passes, accumulated one after the other, without keeping any.

    However the passes and pictures are divided over calls, the results are the same.

    Attributes:
        count: T, the passes that were added.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum: Tensor | None = None
        self._entropies: Tensor | None = None

    def add(self, probabilities: Tensor) -> None:
        """Adds the probabilities (N, K, ...) of one pass."""
        entropies = _entropy(probabilities, 1)
        self._sum = probabilities.clone() if self._sum is None else self._sum.add_(probabilities)
        self._entropies = entropies if self._entropies is None else self._entropies.add_(entropies)
        self.count += 1

    def mean(self) -> Tensor:
        """(N, K, ...): the mean prediction.

        Raises:
            ValueError: no pass.
        """
        if self._sum is None:
            raise ValueError("no pass was added, so there are no predictions.")
        return self._sum / self.count

    def bald(self) -> Tensor:
        """(N, ...), see `bald`.

        Raises:
            ValueError: no pass.
        """
        mean = self.mean()
        assert self._entropies is not None
        return (_entropy(mean, 1) - self._entropies / self.count).clamp_min(0)


def _entropy(probabilities: Tensor, axis: int) -> Tensor:
    return torch.special.entr(probabilities.clamp_min(0)).sum(axis)


def _checked(probabilities: Tensor | np.ndarray, dimensions: int) -> Tensor:
    """The probabilities as a tensor of at least 32 bits.

    Raises:
        ValueError: too few dimensions, or values outside 0 to 1.
    """
    found = torch.as_tensor(probabilities)
    if found.dim() < dimensions:
        expected = ("(N, K, ...)", "(T, N, K, ...)")[dimensions - 2]
        raise ValueError(f"probabilities of shape {tuple(found.shape)} found, {expected} expected.")
    found = found if found.dtype in (torch.float32, torch.float64) else found.float()
    if found.numel() and not (found.min() >= -TOLERANCE and found.max() <= 1 + TOLERANCE):
        raise ValueError(
            f"values from {found.min():.3g} to {found.max():.3g} found, probabilities from 0 to 1 expected; apply the "
            "softmax to logits first."
        )
    return found


def _like(given: Array, result: Tensor) -> Array:
    """The result as a tensor or as an array, as the input was given."""
    return result.numpy() if isinstance(given, np.ndarray) else result
