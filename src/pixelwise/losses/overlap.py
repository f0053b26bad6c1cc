"""Losses from the soft overlap of classes: Dice, Jaccard, and cross entropy minus the logarithm of Dice."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.losses.inputs import Inputs, Weights, prepare
from pixelwise.losses.pixels import cross_entropy_term

MIN_DICE = 1e-30
"""Below this Dice, -ln(Dice) stays constant (at 69) and its gradient is 0. Almost nothing of the class is predicted
then, and only the cross entropy trains the network."""


def _dice_scores(x: Inputs) -> tuple[Tensor, Tensor]:
    intersection, predicted, truth = x.overlaps()
    return 2 * intersection / (predicted + truth).clamp_min(1e-7), x.scored(truth)


def dice_term(x: Inputs) -> Tensor:
    return _one_minus_mean(*_dice_scores(x))


def jaccard_term(x: Inputs) -> Tensor:
    intersection, predicted, truth = x.overlaps()
    return _one_minus_mean(intersection / (predicted + truth - intersection).clamp_min(1e-7), x.scored(truth))


def bce_log_dice_term(x: Inputs) -> Tensor:
    score, present = _dice_scores(x)
    mean = ((score * present).sum() / present.sum().clamp_min(1)).clamp_min(MIN_DICE)
    return cross_entropy_term(x) - torch.where(present.any(), mean, 1.0).log()


def _one_minus_mean(score: Tensor, present: Tensor) -> Tensor:
    # The product keeps the graph connected if no class is present.
    return ((1 - score) * present).sum() / present.sum().clamp_min(1)


def dice(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Soft Dice loss: 1 - the mean over classes of 2 sum(p y) / (sum(p) + sum(y)), with sums over the whole batch.

    Classes without a pixel in the batch's targets are left out of the mean, so they do not dilute it: if every pixel is
    wrong, the loss is 1, whatever the number of classes. With one logit only the foreground is scored.
    Milletari et al., 3DV 2016, section 3, without the squares.
    """
    return dice_term(prepare(logits, target, ignore_index))


def jaccard(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Soft Jaccard loss: like `dice`, with sum(p y) / (sum(p) + sum(y) - sum(p y)) (Rahman & Wang, ISVC 2016)."""
    return jaccard_term(prepare(logits, target, ignore_index))


def bce_log_dice(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    *,
    class_weights: Weights = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Binary cross entropy - ln(soft Dice); with several classes, cross entropy - ln(the mean of their soft Dice).

    Dice is computed as in `dice`: over the whole batch, of the foreground for one logit, else as the mean over the
    classes in the targets. The mean is inside the logarithm, so that a missed rare class costs no more than its share.
    Iglovikov & Shvets, TernausNet, arXiv 1801.05746, equation 4, take the logarithm of the Jaccard index; Dice D and
    Jaccard J rank predictions in the same order, J = D / (2 - D).

    Args:
        class_weights, label_smoothing: options of the cross entropy.
    """
    return bce_log_dice_term(
        prepare(logits, target, ignore_index, class_weights=class_weights, label_smoothing=label_smoothing)
    )
