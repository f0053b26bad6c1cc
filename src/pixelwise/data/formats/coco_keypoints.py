"""The keypoints of COCO's files: the joints that a category names, and the keypoints of an annotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pixelwise.data.formats import entries
from pixelwise.data.joints import HIDDEN, VISIBLE, Joints
from pixelwise.data.regions import Box
from pixelwise.errors import UserError

Key = tuple[str, int | str, int | str]
"""Split, image id and annotation id: the key of an annotation in all of COCO's files."""


@dataclass(slots=True)
class Keypoints:
    """The keypoints of all files.

    Attributes:
        joints: the joints of the first category that names some; None before it is found.
        category: its name.
        others: names of further categories, whose joints differ and are not read.
        beside: keypoints from files that hold nothing else, by annotation, until the annotation is found.
    """

    joints: Joints | None = None
    category: str = ""
    others: dict[str, None] = field(default_factory=dict)
    beside: dict[Key, Any] = field(default_factory=dict)

    def note_categories(self, categories: Sequence[Any]) -> None:
        """Takes over the joints that a file's categories name.

        Raises:
            UserError: a skeleton that joins keypoints that do not exist.
        """
        for category in categories:
            if not isinstance(category, dict) or not isinstance(category.get("keypoints"), list):
                continue
            joints, name = _joints(category), str(category.get("name", ""))
            if self.joints is None:
                self.joints, self.category = joints, name
            elif self.joints.names != joints.names:
                self.others[name] = None

    def set_aside(self, content: dict[str, Any], split: str) -> None:
        """Keeps the keypoints of a file whose annotations are in another file with their outlines.

        Raises:
            UserError: no lists of annotations and categories.
        """
        self.note_categories(entries.entries_of(content, "categories"))
        for annotation in entries.entries_of(content, "annotations"):
            if isinstance(annotation, dict) and annotation.get("keypoints") is not None:
                try:
                    key = split, entries.identity(annotation, "image_id"), entries.identity(annotation, "id")
                except UserError:  # an entry without ids belongs to none; the file of outlines reports its own
                    continue
                self.beside[key] = annotation["keypoints"]

    def of(self, annotation: dict[str, Any], label: str, split: str) -> np.ndarray | None:
        """The keypoints of an annotation, (J, 3) float32; None if it has none.

        Raises:
            UserError: not as many keypoints as the category names, or something other than numbers.
        """
        found = annotation.get("keypoints")
        if found is None and annotation.get("id") is not None:
            key = split, entries.identity(annotation, "image_id"), entries.identity(annotation, "id")
            found = self.beside.pop(key, None)
        if found is None or self.joints is None or label in self.others:
            return None
        numbers = entries.numbers(entries.parsed(found), "list of keypoints").ravel()
        if numbers.size != 3 * len(self.joints):
            raise UserError(
                f"{numbers.size} numbers of keypoints found, {3 * len(self.joints)} expected: x, y and visibility of "
                f"each of the {len(self.joints)} joints of the category '{self.category}'."
            )
        keypoints = numbers.reshape(-1, 3).astype(np.float32)
        known = keypoints[:, 2] > 0
        keypoints[:, 2] = np.where(known, np.where(keypoints[:, 2] >= VISIBLE, VISIBLE, HIDDEN), 0)
        keypoints[~known] = 0
        return keypoints

    def notes(self, drawn: Sequence[np.ndarray]) -> list[str]:
        """Sentences on what was read.

        Args:
            drawn: the keypoints of all annotations.
        """
        if self.joints is None:
            return []
        known = sum(bool(own[:, 2].any()) for own in drawn)
        notes = [f"{known} annotations of '{self.category}' have keypoints, of {len(self.joints)} joints."]
        if self.others:
            names = ", ".join(f"'{name}'" for name in self.others)
            notes.append(f"The keypoints of {names} have other joints and are not read.")
        if self.beside:
            notes.append(
                f"{len(self.beside)} annotations with keypoints have no outline or box of their id and are not read."
            )
        return notes


def box_around(keypoints: np.ndarray | None) -> Box | None:
    """The box around the annotated joints, for an annotation without outline and box."""
    known = None if keypoints is None else keypoints[keypoints[:, 2] > 0, :2]
    if known is None or not len(known):
        return None
    (left, top), (right, bottom) = known.min(0).tolist(), known.max(0).tolist()
    return Box(left, top, right, bottom)


def _joints(category: dict[str, Any]) -> Joints:
    names = tuple(map(str, category["keypoints"]))
    name = category.get("name")
    doubled = [joint for joint in names if names.count(joint) > 1]
    if doubled:
        raise UserError(f"the category '{name}' names the keypoint '{doubled[0]}' twice; give each its own name.")
    skeleton = []
    for bone in category.get("skeleton") or ():
        ends = [end - 1 for end in bone] if isinstance(bone, list) and all(type(end) is int for end in bone) else []
        if len(ends) != 2 or min(ends) < 0 or max(ends) >= len(names):
            raise UserError(
                f"the skeleton of the category '{name}' holds {entries.short(bone)}, expected pairs of numbers from 1 "
                f"to {len(names)}."
            )
        skeleton.append((ends[0], ends[1]))
    return Joints(names, tuple(skeleton))
