"""The data of one picture: pixels, class ids, objects. Plain numpy, no framework."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

VOID = 255
"""The id of pixels without a label: they are neither trained on nor counted."""

NO_CLASS = -1
"""The class of a picture without one: it is neither trained on nor counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """The objects of one picture.

    Attributes:
        boxes: (N, 4) float32, `xyxy` in pixels, continuous coordinates (pixel centres at +0.5).
        classes: (N,) int64 class ids.
        ids: (H, W) int32 label map, 0 where there is no object, i + 1 on the pixels of object i; None for boxes alone.
            Objects of which only the box is known have no pixels in it, and come last.
        keypoints: (N, J, 3) float32 `(x, y, visible)`: 0 if the joint is not annotated, 1 if it is annotated but
            hidden, 2 if it is seen; None if there are none.
        sides: pairs of joints (left, right), as indices into the J keypoints, that change places when the picture is
            mirrored: the left wrist of the person in the mirror image is the right wrist of the real person.
        extents: (N, 4) float32, the boxes moved with the picture but not cut off at the edges of a crop; None if
            nothing needs to know how much of an object is inside the crop.
        head_boxes: (N, 4) float32 xyxy around the head of each person, NaN if it is not known; None if the data has
            none, and in random crops.
        ignored: crowds and difficult objects, which are neither right nor wrong to find: they are not counted, and
            training learns neither objects nor background where they are. None if there are none.
        crowd: (N,) bool, which of the ignored objects stand for many objects each; None for other objects.
    """

    boxes: np.ndarray
    classes: np.ndarray
    ids: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    sides: tuple[tuple[int, int], ...] = ()
    extents: np.ndarray | None = None
    head_boxes: np.ndarray | None = None
    ignored: Instances | None = None
    crowd: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        held = (getattr(self, each.name) for each in fields(self))
        return sum(each.nbytes for each in held if isinstance(each, np.ndarray | Instances))

    @property
    def outlined(self) -> int:
        """How many objects have pixels in `ids`; they come first."""
        return 0 if self.ids is None else int(self.ids.max(initial=0))

    def window(self, top: int, left: int, height: int, width: int) -> Instances:
        """The objects in a window of the picture, in the window's coordinates and cut off at its edge.

        Objects outside the window are left out, and `ids` is renumbered.
        """
        low, high = (left, top, left, top), (width, height, width, height)
        boxes = np.clip(self.boxes - low, 0, high).astype(np.float32)
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        ids = None
        if self.ids is not None:
            part = self.ids[top : top + height, left : left + width]
            seen = np.zeros(len(self) + 1, bool)
            seen[np.unique(part)] = True
            # An outlined object is outside if its box reaches into the window but none of its pixels does.
            kept[: self.outlined] &= seen[1 : self.outlined + 1]
            numbers = np.zeros(len(self) + 1, np.int32)
            numbers[1:][kept] = np.arange(1, kept.sum() + 1)
            ids = numbers[part]
        keypoints = None if self.keypoints is None else _in_window(self.keypoints[kept], low[:2], high[:2])
        extents = None if self.extents is None else (self.extents[kept] - low).astype(np.float32)
        heads = None if self.head_boxes is None else (self.head_boxes[kept] - low).astype(np.float32)
        return Instances(
            boxes=boxes[kept],
            classes=self.classes[kept],
            ids=ids,
            keypoints=keypoints,
            sides=self.sides,
            extents=extents,
            head_boxes=heads,
            ignored=None if self.ignored is None else self.ignored.window(top, left, height, width),
            crowd=None if self.crowd is None else self.crowd[kept],
        )

    def select(self, which: np.ndarray | list[int]) -> Instances:
        """The objects at these indices, in this order, or where this mask (N,) is true.

        The label map, which numbers objects by their order, is left out; the ignored objects are kept.
        """
        return Instances(
            self.boxes[which],
            self.classes[which],
            keypoints=None if self.keypoints is None else self.keypoints[which],
            sides=self.sides,
            extents=None if self.extents is None else self.extents[which],
            head_boxes=None if self.head_boxes is None else self.head_boxes[which],
            ignored=self.ignored,
            crowd=None if self.crowd is None else self.crowd[which],
        )

    @classmethod
    def none(cls) -> Instances:
        """No objects, and no label map."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))

    @classmethod
    def from_label_map(cls, ids: np.ndarray, classes: np.ndarray | int = 1) -> Instances:
        """Objects with the boxes of a label map. Ids are renumbered 1..N without gaps, in the order of the old ids.

        Args:
            ids: (H, W) integers, 0 = no object.
            classes: one class id for all objects, or (N,) in ascending order of id.
        """
        if ids.max(initial=0) > ids.size:  # ids that are hashes or codes: number them before counting
            ids = np.unique(np.append(ids, 0), return_inverse=True)[1][:-1].reshape(ids.shape)
        # Sorting a megapixel takes longer than everything else here, so ids are counted.
        present = np.flatnonzero(np.bincount(ids.ravel()))
        present = present[present > 0]
        renumber = np.zeros(int(ids.max(initial=0)) + 1, np.int32)
        renumber[present] = np.arange(1, len(present) + 1)
        label_map = renumber[ids]
        boxes = np.zeros((len(present), 4), np.float32)
        ys, xs = np.nonzero(label_map)
        which = label_map[ys, xs] - 1
        low = np.full((len(present), 2), np.iinfo(np.int64).max)
        high = np.full((len(present), 2), -1)
        for axis, values in enumerate((xs, ys)):
            np.minimum.at(low[:, axis], which, values)
            np.maximum.at(high[:, axis], which, values)
        if len(present):
            boxes[:, :2] = low
            boxes[:, 2:] = high + 1
        filled = np.broadcast_to(np.asarray(classes, np.int64), (len(present),)).copy()
        return cls(boxes=boxes, classes=filled, ids=label_map)


def _in_window(keypoints: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """(N, J, 3) keypoints in the coordinates of a window, marked as not annotated outside it."""
    moved = keypoints.copy()
    moved[..., :2] -= corner
    moved[..., 2] *= ((moved[..., :2] >= 0) & (moved[..., :2] < size)).all(-1)
    return moved


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One picture and everything that is known about it.

    Attributes:
        name: unique in its dataset: the path below the dataset's root without the suffix, `/` between folders.
        image: (H, W, C) uint8, uint16 or float32, in the units of the file (0..255, 0..65535, or any).
        mask: (H, W) uint8 class ids, 255 = void; None for an unlabelled picture.
        instances: the objects, if the format knows them.
        weights: (H, W) float32 factors of the loss; None for 1 everywhere.
        class_id: class of the picture as a whole, if the data is sorted into classes; None otherwise, or if unknown.
        values: (H, W) float32, one number per pixel, NaN = void; None if the data has none.
        partner: (H, W, C), the other picture of a pair; None if the data has no pairs.
        paired: whether `partner` shows the same thing as `image`, pixel by pixel; otherwise it is any picture of
            another kind, of any size.
        proposals: (P, 4) float32 xyxy in pixels, boxes that may hold an object, the best first; None if nothing needs
            any.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray | None = None
    instances: Instances | None = None
    weights: np.ndarray | None = None
    class_id: int | None = None
    values: np.ndarray | None = None
    partner: np.ndarray | None = None
    proposals: np.ndarray | None = None
    paired: bool = True

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        held = (self.image, self.mask, self.weights, self.values, self.partner, self.proposals)
        own = sum(array.nbytes for array in held if array is not None)
        return own + (0 if self.instances is None else self.instances.nbytes)

    def without(self, unknown: np.ndarray) -> Sample:
        """The sample with its mask and values void where `unknown`, (H, W) bool, is true; objects are not changed."""
        mask = None if self.mask is None else np.where(unknown, np.uint8(VOID), self.mask)
        values = None if self.values is None else np.where(unknown, np.float32(np.nan), self.values)
        return replace(self, mask=mask, values=values)

    def window(self, top: int, left: int, height: int, width: int) -> Sample:
        """A rectangle of the picture with all its labels, smaller if it would reach beyond the picture.

        The class of the picture as a whole is kept; a picture of another kind that is not its partner is not.
        """
        here = np.s_[top : top + height, left : left + width]
        image = self.image[here]
        partner = self.partner if self.paired else None
        mask, weights, values, partner = (
            None if array is None else array[here] for array in (self.mask, self.weights, self.values, partner)
        )
        instances = None if self.instances is None else self.instances.window(top, left, *image.shape[:2])
        proposals = None
        if self.proposals is not None:
            proposals = within(self.proposals - np.array([left, top, left, top], np.float32), *image.shape[:2])
        return replace(
            self,
            image=image,
            mask=mask,
            weights=weights,
            values=values,
            instances=instances,
            partner=partner,
            proposals=proposals,
        )


def within(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """(P, 4) xyxy -> (Q, 4) float32: the part of each box within a picture, without boxes that are outside."""
    cut = boxes.clip(0, (width, height, width, height)).astype(np.float32)
    return cut[(cut[:, 2:] - cut[:, :2] >= 1).all(-1)]
