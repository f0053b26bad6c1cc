"""Lovász hinge and Lovász softmax: surrogate losses that equal 1 - IoU if predictions are certain.

Berman, Triki & Blaschko, The Lovász-Softmax loss, CVPR 2018. The Jaccard loss of a class as a function of the set of
mispredicted pixels is submodular; its Lovász extension is a piecewise linear function of the pixels' errors. With the
errors in descending order it is sum(errors * weights). A pixel's weight is the amount by which it raises the Jaccard
loss of the pixels before it (equations 8 and 9), and the weights are the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from pixelwise.distributed import total
from pixelwise.losses.inputs import Inputs, prepare


def jaccard_weights(errors: Tensor, foreground: Tensor) -> Tensor:
    """The gradient of the Jaccard loss's Lovász extension (algorithm 1).

    Let there be G foreground pixels, and let c foreground and n background pixels have larger errors than the next
    pixel. A foreground pixel then adds 1 / (G + n), and a background pixel (G - c) / ((G + n) (G + n + 1)). Algorithm 1
    computes the same as differences of successive losses, but with many pixels most digits of these differences are
    rounding errors in float32.

    Args:
        errors: (P,) float32 or float64, at least 0; negative for pixels that do not count.
        foreground: (P,) bool.

    Returns:
        (P,) weights, 0 if the error is negative, or smaller than that of every foreground pixel.
    """
    weights = torch.zeros_like(errors)
    total_foreground = int(foreground.count_nonzero())
    if total_foreground == 0:  # the first false positive takes the loss from 0 to 1, and the others add nothing
        weights[errors.argmax()] = 1
        return weights
    # Once all foreground is lost the loss is 1 and cannot grow, so smaller errors than that need no rank.
    kept = errors >= errors.masked_fill(~foreground, torch.inf).min()
    order, is_foreground = _ranked(errors, foreground, kept)
    lost = is_foreground.cumsum(0, dtype=torch.int32)  # foreground so far, this pixel included
    wrong = torch.arange(1, len(order) + 1, dtype=torch.int32, device=order.device) - lost
    union = (wrong + total_foreground).to(errors.dtype)  # after this pixel
    of_background = (total_foreground - lost) / (union * (union - 1)).clamp_min_(1)
    return weights.scatter_(0, order, torch.where(is_foreground, union.reciprocal(), of_background))


def _ranked(errors: Tensor, foreground: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """The indices of the kept pixels in order of decreasing error, and whether each is foreground.

    The bits of non-negative floats sort like integers, which torch sorts ten times as fast on the CPU. The last bit
    marks the background, so that the class need not be looked up; errors that differ only in this bit count as equal.
    """
    integer = torch.int64 if errors.dtype == torch.float64 else torch.int32
    largest = torch.iinfo(integer).max
    keys = (largest - errors.contiguous().view(integer)).bitwise_and_(-2).bitwise_or_(~foreground)
    count = int(kept.count_nonzero())
    if 2 * count > len(keys):  # sorting all pixels is faster than first selecting the kept ones
        ranked, order = torch.sort(keys.masked_fill_(~kept, largest))
        ranked, order = ranked[:count], order[:count]
    else:
        positions = kept.nonzero().squeeze(1)
        ranked, order = torch.sort(keys[positions])
        order = positions[order]
    return order, (ranked & 1) == 0


class _PiecewiseLinear(Function):
    """Attaches a value and its gradient, both computed elsewhere, to the graph."""

    @staticmethod
    def forward(ctx: Any, at: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradients[0] * gradient, None, None


def _softmax_errors(probability: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
    """The errors |y - p| and their derivatives."""
    # Rounding can raise a probability above 1.
    errors = torch.where(foreground, 1 - probability, probability).clamp_min_(0)
    return errors, torch.where(foreground, -1.0, 1.0).to(errors.dtype)


def _hinge_errors(margin: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
    """The errors max(0, 1 - s m) and their derivatives, with s the sign of the truth and m the margin."""
    sign = torch.where(foreground, 1.0, -1.0).to(margin.dtype)
    errors = (1 - sign * margin).clamp_min_(0)
    return errors, -sign * (errors > 0)


def lovasz_softmax_term(x: Inputs) -> Tensor:
    probabilities = x.log_p.exp()
    if x.foreground_only:
        probabilities = probabilities[:, 1:]
    return _mean_of_extensions(x, probabilities, _softmax_errors, x.only_present)


def lovasz_hinge_term(x: Inputs) -> Tensor:
    # Differences of log-probabilities equal differences of logits.
    if x.foreground_only:
        return _mean_of_extensions(x, x.log_p[:, 1:] - x.log_p[:, :1], _hinge_errors, only_present=False)
    largest, of_class = x.log_p.topk(2, dim=1)
    classes = torch.arange(x.log_p.shape[1], device=of_class.device)[:, None, None]
    rivals = torch.where(classes == of_class[:, :1], largest[:, 1:], largest[:, :1])
    return _mean_of_extensions(x, x.log_p - rivals, _hinge_errors, x.only_present)


def _mean_of_extensions(
    x: Inputs,
    scores: Tensor,
    errors_of: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    only_present: bool,
) -> Tensor:
    """The extension sum(errors * weights), averaged over classes and pictures, or over classes for the whole batch.

    Args:
        scores: (N, K, H, W), probabilities or margins of the last K classes of `x`.
        errors_of: (P,) scores and whether each pixel is of the class -> (P,) errors and their derivatives.
    """
    first = x.log_p.shape[1] - scores.shape[1]
    with torch.no_grad():
        # Classes first, so that the pixels of each class are adjacent.
        planes = scores.transpose(0, 1).flatten(1)  # (K, N H W)
        value, gradient = planes.new_zeros(()), torch.zeros_like(planes)
        ids, not_counted = x.target.flatten(), ~x.counted.flatten()
        images = 0
        for pixels in _images(x):
            images += 1
            truth, void = ids[pixels], not_counted[pixels]
            classes: Sequence[int] = range(len(planes))
            if only_present:
                classes = torch.bincount(truth[~void], minlength=first)[first:].nonzero().flatten().tolist()
            for k in classes:
                foreground = truth == first + k
                errors, slopes = errors_of(planes[k, pixels], foreground)
                errors.masked_fill_(void, -1)
                weights = jaccard_weights(errors, foreground) / len(classes)
                value += (errors * weights).sum()  # pairwise sum: `torch.dot` loses two digits on large pictures
                gradient[k, pixels] = slopes * weights
        # In the memory layout of the scores, so that later operations need not convert it repeatedly.
        turned = torch.empty_like(scores).copy_(gradient.unflatten(1, x.target.shape).transpose(0, 1))
    summed = _PiecewiseLinear.apply(scores, value, turned)
    return total(summed) / total(torch.tensor(float(images), device=scores.device)).clamp_min(1)


def _images(x: Inputs) -> Iterator[slice]:
    """The slice of (N H W) of each picture, or of the whole batch; pictures without a labelled pixel are left out."""
    count, size = len(x.target), x.target[:1].numel()
    step = size if x.per_image else count * size
    for start in range(0, count * size, max(step, 1)):
        if x.counted.flatten()[start : start + step].any():
            yield slice(start, start + step)


def lovasz_softmax(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    *,
    per_image: bool = False,
    only_present: bool = True,
) -> Tensor:
    """Lovász softmax: the mean over classes of the Jaccard loss's Lovász extension, for errors |y - p| (equation 11).

    If every probability is 0 or 1, the loss equals 1 - the mean IoU. With one logit only the foreground is scored. The
    weights depend on ranks, so several processes cannot add up their parts: each process scores its own pictures, and
    the result is averaged. With `per_image` this equals the value of a single process, otherwise it does not.

    Args:
        per_image: average over the pictures that have labelled pixels, rather than take all pixels of the batch at
            once.
        only_present: leave out classes without a pixel in the target (of the picture, or of the batch); otherwise such
            a class costs its largest probability.
    """
    return lovasz_softmax_term(prepare(logits, target, ignore_index, per_image=per_image, only_present=only_present))


def lovasz_hinge(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    *,
    per_image: bool = False,
    only_present: bool = True,
) -> Tensor:
    """Lovász hinge: the Jaccard loss's Lovász extension, for errors max(0, 1 - margin) (section 2.2).

    With one logit, as in the paper, the margin is the logit with the sign of the truth, and a picture without
    foreground costs its largest error. With several classes, which the paper does not treat, each class is scored
    against the rest: its margin is its own logit minus the largest other logit (Crammer & Singer, JMLR 2001), and the
    loss is the mean over classes. If margins are 0 on mispredicted pixels and at least 1 elsewhere, the loss equals
    1 - the mean IoU. For several processes see `lovasz_softmax`.

    Args:
        per_image: average over the pictures that have labelled pixels, rather than take all pixels of the batch at
            once.
        only_present: with several classes, leave out those without a pixel in the target.
    """
    return lovasz_hinge_term(prepare(logits, target, ignore_index, per_image=per_image, only_present=only_present))
