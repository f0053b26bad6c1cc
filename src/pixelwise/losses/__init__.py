"""Losses of dense prediction.

All losses take logits (N, K, H, W) and class ids (N, H, W), and leave out pixels whose id is `ignore_index`. They
compute in float32 whatever the logits' dtype (float64 stays), are finite for logits of any magnitude, and are 0 with
zero gradient if no pixel counts. A single logit (K = 1) is the foreground's against a background of logit 0; ids are
then 0 and 1. In a run of several processes the sums go over all of them, so the value is that of the whole batch. The
Lovász losses are not sums; their docstrings describe what they do.
"""

from pixelwise.losses.lovasz import lovasz_hinge, lovasz_softmax
from pixelwise.losses.overlap import bce_log_dice, dice, jaccard
from pixelwise.losses.pixels import cross_entropy, focal
from pixelwise.losses.sums import LOSSES, LossSum

__all__ = [
    "LOSSES",
    "LossSum",
    "bce_log_dice",
    "cross_entropy",
    "dice",
    "focal",
    "jaccard",
    "lovasz_hinge",
    "lovasz_softmax",
]
