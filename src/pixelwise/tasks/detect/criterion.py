"""The criterion of networks that predict a class and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.sample import NO_CLASS, Sample
from pixelwise.data.targets import ClassTargets, ObjectTargets, Targets
from pixelwise.losses.boxes import BOX_LOSSES, LocalisationLoss
from pixelwise.models.detect.localizer import Localisation
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.tasks.criteria import class_loss


@dataclass(frozen=True, slots=True, eq=False)
class LocalisationTargets(Targets):
    """Targets of crops: the class of each crop, which is that of its main object, and all objects in it."""

    crops: ClassTargets
    objects: ObjectTargets

    @classmethod
    def collate(cls, samples: Sequence[Sample]) -> Self:
        return cls(ClassTargets.collate(samples), ObjectTargets.collate(samples))


class ClassAndBox:
    """Losses between a network's output for crops, logits (N, K) and boxes (N, B, 4), and the crops' objects.

    The class of a crop is that of its largest object (`data.objects`) or of the object that it was cut around
    (`data.object_windows`). A crop without a class contributes only to the loss of boxes, if it has any. A single box
    is compared with the box of that object. Several boxes are compared with the largest objects of that class, in
    descending order of size. With one box per class, each is compared with the largest object of its class. Boxes
    without a true box have no part in the loss.

    The terms of the loss decide what is learned: the class, the boxes, or both at once. The paper trains them one after
    the other (Sermanet et al., ICLR 2014, section 4.2), which here is a recipe with two stages, where the second
    freezes the class branch.
    """

    def __init__(self, recipe: PlannedRecipe, facts: Fingerprint, *, per_class: bool) -> None:
        terms = recipe.loss.terms
        boxes = {name: factor for name, factor in terms.items() if name in BOX_LOSSES}
        classes = {name: factor for name, factor in terms.items() if name not in BOX_LOSSES}
        self.loss = LocalisationLoss(class_loss(recipe, classes, facts, NO_CLASS) if classes else None, boxes)
        self.size = recipe.crop
        self.per_class = per_class

    def __call__(self, answer: Localisation, targets: LocalisationTargets) -> dict[str, Tensor]:
        boxes, present = true_boxes(targets, answer.boxes.shape[1], per_class=self.per_class)
        classes = targets.crops.classes[:, None, None]
        return self.loss(answer.logits[..., None, None], classes, answer.boxes, boxes, present, self.size)


def true_boxes(targets: LocalisationTargets, count: int, *, per_class: bool) -> tuple[Tensor, Tensor]:
    """The targets (N, B, 4) of a network's boxes, and which of them exist, (N, B) bool.

    Args:
        count: B, the number of boxes per picture; the number of classes if there is one box per class.
        per_class: whether box b belongs to class b.
    """
    crops, classes = targets.crops.classes, targets.objects.classes
    rows = len(classes)
    if per_class:
        wanted = torch.arange(count, device=classes.device).expand(rows, count)
        fits = classes[:, None] == wanted[:, :, None]  # (N, B, M)
        index, present = fits.int().argmax(2), fits.any(2)  # the first object, which is the largest
    else:
        fits = (classes == crops.view(rows, 1)) & (classes != NO_CLASS)  # (N, M)
        order = (~fits).int().argsort(dim=1, stable=True)[:, :count]  # objects that fit come first, order kept
        spare = order.new_zeros(rows, count - order.shape[1])
        index = torch.cat([order, spare], 1)
        number = torch.arange(count, device=index.device)
        present = number < fits.sum(1, keepdim=True)
    return targets.objects.boxes.gather(1, index.unsqueeze(2).expand(-1, -1, 4)), present
