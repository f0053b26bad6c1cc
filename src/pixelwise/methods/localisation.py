"""Training of networks that give a class and boxes: of whole pictures (`Localizer`) or of windows (`OverFeat`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.data.loader import Batch
from pixelwise.data.objects import NO_CLASS
from pixelwise.data.sample import VOID
from pixelwise.distributed import total
from pixelwise.losses.boxes import LocalisationLoss
from pixelwise.methods.supervised import Supervised
from pixelwise.metrics.localisation import LocalisationScore
from pixelwise.models.detect.localizer import Localisation, boxes_of_class
from pixelwise.nn.boxes import iou


class ClassAndBox(Supervised):
    """Minimises losses between what a network says of views, logits (N, K) and boxes (N, B, 4), and their objects.

    A view has a class, that of its largest object (`data.objects`) or of the one it was cut around
    (`data.object_windows`), or none, and then only its boxes are learned, if it has any. Of boxes, one is that of this
    object; of several, they are the largest objects of its class in falling order; of one a class, that of the largest
    object of each class. Those without a truth have no part in the loss.

    What is learned is what the loss names: the class, the boxes, or both at once. The paper trains them one after the
    other (Sermanet et al., ICLR 2014, section 4.2), which is a recipe with two stages and a frozen class branch.

    Args:
        network: images -> `Localisation`, with `num_boxes`, `per_class` and `names_background`.
        loss, settings: see `Supervised`.

    Attributes:
        monitor: accuracy while the class is learned, the mean IoU of boxes while boxes are, and the share of views with
            the right class and an IoU of 0.5 while both are.
    """

    ignore_index = NO_CLASS
    loss: Any  # a LocalisationLoss

    def __init__(self, network: nn.Module, *, loss: LocalisationLoss, **settings: Any) -> None:
        super().__init__(network, loss=loss, **settings)  # type: ignore[arg-type]
        if not loss.boxes:
            self.monitor = "accuracy"
        else:
            self.monitor = "box_iou" if loss.classes is None else "localised"

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        said = self._run(self.wrapped, batch.images)
        boxes, present = true_boxes(batch, said.boxes.shape[1], per_class=self._per_class)
        height, width = batch.images.shape[-2:]
        return self.loss(said.logits[..., None, None], batch.masks, said.boxes, boxes, present, (height, width))

    @property
    def _per_class(self) -> bool:
        return bool(self.network.per_class)

    def evaluate(self, batches: Iterable[Batch], *, final: bool = False) -> dict[str, float]:
        networks = self._evaluated(final)
        counted = {prefix: LocalisationScore() for prefix in networks}
        with torch.inference_mode():
            for batch in batches:
                on_device = batch.to(self.device)
                truth = on_device.masks.flatten()
                for prefix, network in networks.items():
                    said = self._run(network.eval(), on_device.images)
                    logits = said.logits if self.network.names_background else without_background(said.logits)
                    counted[prefix].update(
                        logits.argmax(1),
                        truth.where(truth != NO_CLASS, VOID),
                        overlaps(said, on_device, per_class=self._per_class),
                    )
        scores: dict[str, float] = {}
        for prefix, score in counted.items():
            score.counts = total(score.counts.to(self.device)).cpu()
            scores[f"{prefix}accuracy"] = score.accuracy()
            if self.loss.boxes:
                scores |= {f"{prefix}box_iou": score.mean_iou(), f"{prefix}localised": score.localised()}
        return scores


def without_background(logits: Tensor) -> Tensor:
    """(N, K) -> the same, with class 0 ruled out."""
    return torch.cat([torch.full_like(logits[:, :1], -torch.inf), logits[:, 1:]], 1)


def true_boxes(batch: Batch, count: int, *, per_class: bool) -> tuple[Tensor, Tensor]:
    """What a network's boxes are to be: (N, B, 4), and whether there is a truth, (N, B) bool.

    Args:
        count: B; of one box a class, the number of classes.
        per_class: box b is that of class b.
    """
    assert batch.boxes is not None
    assert batch.classes is not None
    rows = len(batch.classes)
    if per_class:
        wanted = torch.arange(count, device=batch.classes.device).expand(rows, count)
        fits = batch.classes[:, None] == wanted[:, :, None]  # (N, B, M)
        place, present = fits.int().argmax(2), fits.any(2)  # the first one, which is the largest
    else:
        fits = (batch.classes == batch.masks.view(rows, 1)) & (batch.classes != NO_CLASS)  # (N, M)
        order = (~fits).int().argsort(dim=1, stable=True)[:, :count]  # those that fit first, in their order
        spare = order.new_zeros(rows, count - order.shape[1])
        place = torch.cat([order, spare], 1)
        number = torch.arange(count, device=place.device)
        present = number < fits.sum(1, keepdim=True)
    return batch.boxes.gather(1, place.unsqueeze(2).expand(-1, -1, 4)), present


def overlaps(said: Localisation, batch: Batch, *, per_class: bool) -> Tensor:
    """(N,) IoU of the box of a view's object with the true one, the mean where there are several; NaN for no box."""
    boxes = said.boxes.float()
    if per_class:
        boxes = boxes_of_class(boxes, batch.masks.flatten().clamp_min(0))
    truth, present = true_boxes(batch, boxes.shape[1], per_class=False)
    # 0 divided by 0 where there is none, which is NaN.
    return iou(boxes, truth).where(present, 0).sum(1) / present.sum(1)
