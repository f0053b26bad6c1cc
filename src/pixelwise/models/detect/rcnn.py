"""R-CNN: a classification network on every proposal, then support vector machines and a regression of boxes.

Girshick, Donahue, Darrell, Malik: Rich feature hierarchies for accurate object detection and semantic segmentation,
CVPR 2014, arXiv:1311.2524.

    picture -> selective search -> each proposal warped to 227 x 227 -> encoder -> fc6 -> fc7 -> one SVM per class
                                                                           |
                                                                         pool5 -> ridge regression of the box, per class

Training has three stages, as in the paper. First the network is fine-tuned to classify warped proposals (section 2.3).
Then its features stay fixed, and for each class a linear SVM is fitted with hard negatives (appendix B) and a ridge
regression of the box (appendix C). Both are linear functions of the features, so the network holds them as layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.targets import ObjectTargets
from pixelwise.models.detect.detector import SMALLEST, Detections, DetectionSource, Detector, usable
from pixelwise.models.detect.proposals import Proposer
from pixelwise.models.detect.roi_heads import BoxHead, origins
from pixelwise.models.encoders import create_encoder
from pixelwise.nn.box_coder import BoxCoder
from pixelwise.nn.boxes import clip, covered_share, pairwise_iou
from pixelwise.nn.frozen_norm import freeze_batch_norms
from pixelwise.nn.initialise import small_normal
from pixelwise.nn.matcher import IGNORED_SHARE, Matcher, balanced_sample, leave_out
from pixelwise.nn.nms import nms
from pixelwise.nn.region_crops import region_crops

CHUNK = 64
"""Number of regions that pass through the network at once."""
FITTED = 4
"""Proposals per picture that SVMs and regressions are fitted to, as a multiple of `sampled`."""
NEGATIVE = 0.3
"""IoU with every object of a class below which a region is a negative for its SVM (appendix B)."""
REGRESSED = 0.6
"""The regression learns from regions with at least this IoU with an object (appendix C)."""
SUPPRESSED = 0.3
"""IoU above which the less confident of two boxes of a class is left out."""
NORM = 20.0
"""Mean length that features are scaled to before an SVM is fitted, so that its penalty suits any encoder."""
PENALTY, POSITIVE_WEIGHT, INTERCEPT = 1e-3, 2.0, 10.0
"""Settings of the SVMs: C, weight of positive examples, scale of the constant feature, as in the published code."""
EXAMPLES = 1000
"""Number of positive examples per class for which this C is meant; with fewer examples, C is larger in proportion."""
KEPT = 8000
"""Largest number of negatives per class that are kept; the regression keeps a quarter as many regions per class."""
RIDGES = (1.0, 10.0, 100.0, 1000.0, 10_000.0)


class FittedLinear(nn.Module):
    """A linear layer whose weights are fitted instead of learned by gradients, so they are buffers.

    Before it is fitted, its output is `bias`.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs))
        self.register_buffer("bias", torch.full((outputs,), bias))

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(features.float(), self.weight, self.bias)


class RCNN(Detector):
    """R-CNN on any encoder; the paper's network, AlexNet, by default.

    Args:
        encoder: a name in `models.encoders.ENCODERS`.
        weights: pretrained weights of the encoder: a file, a run, or a name on the Hugging Face hub.
        size: side of the warped proposals in pixels.
        context: pixels on each side of a warped proposal that show its surroundings (appendix A).
        pool: the encoder's last map is max-pooled to this number of rows and columns.
        hidden: units of fc6 and fc7.
        proposals: largest number of proposals per picture, see `proposals.Proposer`.
        ranked: whether proposals are ordered by a learned score.
        sampled: number of warped proposals per picture in a step of fine-tuning; SVMs and regressions are fitted to
            four times as many.
        detections: largest number of detections per picture.
        frozen_norms: whether the encoder's batch norms keep the statistics and factors of its weights.

    Raises:
        UserError: unknown encoder, or weights that do not fit.
    """

    heads = ("softmax",)
    coder = BoxCoder()
    matcher = Matcher(0.5, 0.5)
    positive_share = 0.25

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 3,
        encoder: str = "alexnet",
        weights: Any = None,
        size: int = 227,
        context: int = 16,
        pool: int = 6,
        hidden: int = 4096,
        proposals: int = 2000,
        ranked: bool = False,
        sampled: int = 128,
        detections: int = 100,
        frozen_norms: bool = True,
    ) -> None:
        super().__init__(detections)
        self.limits = self.limits._replace(overlap=SUPPRESSED)
        self.num_classes = num_classes
        self.size, self.context, self.pool, self.sampled = size, context, pool, sampled
        self.encoder = create_encoder(encoder, in_channels=in_channels, weights=weights)
        if frozen_norms:
            freeze_batch_norms(self.encoder)
        self.map = nn.Identity()  # names the encoder's last map
        self.stride = 1  # proposals do not lie on a grid
        self.proposer = Proposer(in_channels, proposals, ranked=ranked)
        pooled = self.encoder.feature_channels[-1] * pool**2
        self.head = BoxHead(pooled, hidden)
        self.softmax = nn.Linear(hidden, num_classes)
        small_normal(self.softmax)
        self.svms = FittedLinear(hidden, num_classes - 1, bias=-INTERCEPT)  # finds nothing before it is fitted
        self.regression = FittedLinear(pooled, 4 * (num_classes - 1))

    def maps(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> the encoder's last map; zeros are added at the right and bottom."""
        height, width = images.shape[-2:]
        stride = max(self.encoder.feature_strides)
        return self.map(self.encoder.pyramid(F.pad(images, (0, -width % stride, 0, -height % stride)))[-1])

    def features(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """(R, C, size, size) -> pool5 (R, channels * pool^2) and fc7 (R, hidden)."""
        pool5 = F.adaptive_max_pool2d(self.maps(crops), self.pool)
        return pool5.flatten(1), self.head(pool5)

    def losses(self, images: Tensor, targets: ObjectTargets) -> dict[str, Tensor]:
        """The losses of fine-tuning: `class`, the cross entropy of sampled warped proposals, `blob` if proposals are
        ranked, and their sum, `loss`."""
        candidates, values = self.proposer.for_training(images, targets)
        boxes, labels = [], []
        for row, (own, ignored) in enumerate(zip(candidates, targets.ignored_boxes(), strict=True)):
            truth, classes = _true(targets, row)
            every = torch.cat([own, truth])
            matches = leave_out(self.matcher(pairwise_iou(truth, every)), every, ignored)
            chosen = balanced_sample(matches, self.sampled, self.positive_share)
            boxes.append(every[chosen])
            labels.append(_classes(matches[chosen], classes))
        logits = self.softmax(self.features(region_crops(images, boxes, self.size, self.context))[1])
        values = {"class": F.cross_entropy(logits.float(), torch.cat(labels)), **values}
        return {**values, "loss": torch.stack(list(values.values())).sum()}

    def forward(self, images: Tensor) -> list[Detections]:
        """(N, C, H, W) -> the objects of each picture."""
        picture = (images.shape[-2], images.shape[-1])
        found = []
        for image, boxes in zip(images, self.proposer(images, self.limits.growth(picture)), strict=True):
            scores, offsets = self.svms.bias.new_zeros(0, self.num_classes - 1), self.svms.bias.new_zeros(0)
            if len(boxes):
                parts = [self._scored(image, part) for part in boxes.split(CHUNK)]
                scores, offsets = (torch.cat(part) for part in zip(*parts, strict=True))
            found.append(self._detections(scores, offsets.view(len(boxes), -1, 4), boxes, picture))
        return found

    def _scored(self, image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """A picture (C, H, W) and boxes (R, 4) -> margins of the SVMs (R, K - 1), and offsets (R, 4 K - 4)."""
        pool5, fc7 = self.features(region_crops(image[None], [boxes], self.size, self.context))
        return self.svms(fc7), self.regression(pool5)

    def _detections(self, margins: Tensor, offsets: Tensor, boxes: Tensor, picture: tuple[int, int]) -> Detections:
        """The objects of one picture. The confidence is the logistic function of the margin: 0.5 at the boundary."""
        confidences = margins.sigmoid()
        found = clip(self.coder.decode(offsets, boxes[:, None]), *picture)  # (P, K - 1, 4)
        large = ((found[..., 2:] - found[..., :2]) >= SMALLEST).all(-1)
        region, column = ((confidences > self.limits.score) & large).nonzero(as_tuple=True)
        own, scores = found[region, column], confidences[region, column]
        kept = nms(own, scores, self.limits.overlap, column)[: self.limits.of(picture).objects]
        return Detections(own[kept], column[kept] + 1, scores[kept])

    def sources(self, images: Tensor, found: Detections) -> list[DetectionSource]:
        """The proposal that each detection was decoded from; the map is the one of the warped proposal."""
        picture = (images.shape[-2], images.shape[-1])
        proposals = self.proposer(images, self.limits.growth(picture))[0]
        parts = [self._scored(images[0], part)[1] for part in proposals.split(CHUNK)]
        offsets = torch.cat(parts).view(len(proposals), -1, 4)
        decoded = clip(self.coder.decode(offsets, proposals[:, None]), *picture)
        decoded = F.pad(decoded, (0, 0, 1, 0))  # (P, K, 4): the background has no box
        inner, stride = self.size - 2 * self.context, max(self.encoder.feature_strides)
        sources = []
        for region in origins(decoded, proposals, found):
            sides = region[2:] - region[:2]
            corner = region[:2] - sides * (self.context / inner)
            padded = sides * ((self.size + -self.size % stride) / inner)
            covered = torch.cat([corner, corner + padded])
            sources.append(DetectionSource(region, "map", covered, partial(self.region_margins, region)))
        return sources

    def region_margins(self, region: Tensor, images: Tensor) -> Tensor:
        """The margins of the SVMs (N, K) for the same region (4,) in pictures (N, C, H, W), by class id; 0 for the
        background."""
        crops = region_crops(images, [region[None]] * len(images), self.size, self.context)
        return F.pad(self.svms(self.features(crops)[1]), (1, 0))

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, ObjectTargets]]) -> None:
        """Fits the SVMs and the regressions to the features of the network in its present state.

        Args:
            batches: normalised pictures (N, C, H, W) and their objects.
        """
        machines = [HardNegatives(NORM) for _ in range(self.num_classes - 1)]
        regressions = [BoxRegression() for _ in range(self.num_classes - 1)]
        for images, targets in batches:
            candidates, _ = self.proposer.for_training(images, targets)
            for row, (own, ignored) in enumerate(zip(candidates, targets.ignored_boxes(), strict=True)):
                own = own[covered_share(own, ignored) <= IGNORED_SHARE]
                truth, classes = _true(targets, row)
                boxes = torch.cat([truth, own[torch.randperm(len(own))[: FITTED * self.sampled].to(own.device)]])
                parts = [
                    self.features(region_crops(images[row : row + 1], [part], self.size, self.context))
                    for part in boxes.split(CHUNK)
                ]
                if not parts:
                    continue
                pool5, fc7 = (torch.cat(part).float().cpu().numpy() for part in zip(*parts, strict=True))
                overlaps = pairwise_iou(truth, boxes)
                for number, (machine, regression) in enumerate(zip(machines, regressions, strict=True)):
                    of_class = classes == number + 1
                    nearest = torch.cat([overlaps[of_class], overlaps.new_zeros(1, len(boxes))]).amax(0)
                    machine.add(fc7[: len(truth)][of_class.cpu().numpy()], fc7[(nearest < NEGATIVE).cpu().numpy()])
                    if not of_class.any():
                        continue
                    close = (nearest >= REGRESSED).nonzero().flatten()
                    target = truth[of_class][overlaps[of_class].argmax(0)[close]]
                    offsets = self.coder.encode(target, boxes[close])
                    regression.add(pool5[close.cpu().numpy()], offsets.cpu().numpy())
        for number, (machine, regression) in enumerate(zip(machines, regressions, strict=True)):
            weight, bias = machine.fitted(self.svms.weight.shape[1])
            self.svms.weight[number], self.svms.bias[number] = torch.from_numpy(weight), bias
            rows = slice(4 * number, 4 * number + 4)
            weights, biases = regression.fitted(self.regression.weight.shape[1])
            self.regression.weight[rows], self.regression.bias[rows] = map(torch.from_numpy, (weights, biases))

    def take_fit(self, other: RCNN) -> None:
        """Copies the SVMs and regressions of a network whose features are nearly the same."""
        self.svms.load_state_dict(other.svms.state_dict())
        self.regression.load_state_dict(other.regression.state_dict())


class HardNegatives:
    """A linear SVM with hard negative mining: it keeps only negatives that it classifies wrongly or nearly so.

    It is fitted whenever the number of negatives has doubled, and again at the end. A negative beyond the margin, with
    a decision below -1, does not change the fit and is left out (Felzenszwalb et al., PAMI 2010, section 4.4).

    Args:
        norm: mean length that features are scaled to.
    """

    def __init__(self, norm: float) -> None:
        self.norm = norm
        self.scale = 0.0
        self.positives: list[np.ndarray] = []
        self.negatives = np.zeros((0, 0), np.float32)
        self.machine: Any = None
        self._fitted_to = 0

    def add(self, positives: np.ndarray, negatives: np.ndarray) -> None:
        """Adds the positives (P, D) and negatives (M, D) of one picture."""
        if not self.scale and len(negatives):
            self.scale = self.norm / max(float(np.linalg.norm(negatives, axis=1).mean()), 1e-6)
        self.positives += list(positives * self.scale)
        new = negatives * self.scale
        if self.machine is not None and len(new):
            new = new[self.machine.decision_function(new) > -1]
        self.negatives = np.concatenate([self.negatives.reshape(-1, new.shape[1]), new])
        if self.positives and len(self.negatives) >= 2 * max(self._fitted_to, 1):
            self._fit()

    def _fit(self) -> None:
        from sklearn.svm import LinearSVC  # imported where it is used, as it takes a second

        examples = np.concatenate([np.stack(self.positives), self.negatives])
        labels = np.arange(len(examples)) < len(self.positives)
        self.machine = LinearSVC(
            C=PENALTY * max(EXAMPLES / len(self.positives), 1),
            dual=False,  # squared hinge loss by Newton steps, which are few and not random
            class_weight={True: POSITIVE_WEIGHT},
            intercept_scaling=INTERCEPT,
        ).fit(examples, labels)
        decisions = self.machine.decision_function(self.negatives)
        hardest = np.argsort(-decisions, kind="stable")[:KEPT]
        self.negatives = self.negatives[np.sort(hardest[decisions[hardest] > -1])]
        self._fitted_to = len(self.negatives)

    def fitted(self, features: int) -> tuple[np.ndarray, float]:
        """Weights (features,) and bias for unscaled features; a class without examples finds nothing."""
        if not self.positives or not (self.machine or len(self.negatives)):
            return np.zeros(features, np.float32), -INTERCEPT
        if len(self.negatives):
            self._fit()
        assert self.machine is not None
        return (self.machine.coef_[0] * self.scale).astype(np.float32), float(self.machine.intercept_[0])


class BoxRegression:
    """A ridge regression of box offsets; leave-one-out validation chooses its penalty (appendix C uses 1000)."""

    def __init__(self) -> None:
        self.features: list[np.ndarray] = []
        self.offsets: list[np.ndarray] = []

    def add(self, features: np.ndarray, offsets: np.ndarray) -> None:
        """Adds the features (R, D) of regions, and the offsets (R, 4) of the object from each region."""
        room = KEPT // 4 - len(self.features)
        self.features += list(features[:room])
        self.offsets += list(offsets[:room])

    def fitted(self, features: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights (4, features) and biases (4,); zeros, which leave boxes unchanged, if there are too few regions."""
        if len(self.features) < 2:
            return np.zeros((4, features), np.float32), np.zeros(4, np.float32)
        from sklearn.linear_model import RidgeCV  # see above

        found = RidgeCV(alphas=RIDGES).fit(np.stack(self.features), np.stack(self.offsets))
        return found.coef_.astype(np.float32), found.intercept_.astype(np.float32)


def _true(targets: ObjectTargets, row: int) -> tuple[Tensor, Tensor]:
    """Boxes (M, 4) and classes (M,) of the objects of one picture."""
    which = usable(targets.boxes[row])
    return targets.boxes[row][which], targets.classes[row][which]


def _classes(matches: Tensor, classes: Tensor) -> Tensor:
    """(R,) matches -> (R,) class ids, 0 for the background."""
    found = torch.zeros_like(matches)
    found[matches >= 0] = classes[matches[matches >= 0]]
    return found
