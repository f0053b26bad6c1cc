"""Reads COCO's pictures, categories and annotations; an invalid entry only breaks its own picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.formats import entries
from pixelwise.data.formats.annotations import split_in
from pixelwise.data.formats.coco_keypoints import Keypoints, box_around
from pixelwise.data.formats.coco_regions import region_of
from pixelwise.data.formats.sources import Labelled, Source, Sources
from pixelwise.data.listing import relative
from pixelwise.data.names import Finder, Unmatched
from pixelwise.data.regions import Broken, Region
from pixelwise.errors import UserError

KEYS = ("images", "annotations", "categories")
"""The top-level keys of a file of instances."""


@dataclass(slots=True)
class CocoReading:
    """The result of the files read so far.

    Attributes:
        labels: in the order of their ids, file by file.
        categories: ids of all files.
        unread: sentences on categories that are not read.
        listed: how many pictures the files list.
        keypoints: the keypoints of the annotations, and the joints that the categories name.
    """

    sources: Sources
    by_file: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    labels: dict[str, None] = field(default_factory=dict)
    categories: dict[int | str, None] = field(default_factory=dict)
    unmatched: Unmatched = field(default_factory=Unmatched)
    unread: list[str] = field(default_factory=list)
    listed: int = 0
    keypoints: Keypoints = field(default_factory=Keypoints)


class InstancesFile:
    """Adds one file to a reading."""

    def __init__(self, root: Path, file: Path, reading: CocoReading) -> None:
        self._file = file
        self._name = relative(root, file)
        self._split = split_in(file.stem)
        self._reading = reading

    def read(self, content: dict[str, Any], finder: Finder) -> None:
        """Adds the file's pictures, categories and annotations.

        Raises:
            UserError: one of the three is not a list.
        """
        try:
            images, annotations, categories = (entries.entries_of(content, key) for key in KEYS)
            self._reading.keypoints.note_categories(categories)
        except UserError as error:
            raise UserError(f"{self._file}: {error}") from None
        sources = self._read_images(images, finder)
        label_of, doubtful = self._read_categories(categories)
        for number, annotation in enumerate(annotations):
            entry = f"entry {number} of annotations"
            try:
                annotation = entries.mapping(annotation)
                if type(annotation.get("id")) in (int, str):
                    entry = f"annotation {annotation['id']}"
                image_id = entries.identity(annotation, "image_id")
                if image_id not in sources:
                    raise UserError(f"image_id {image_id} is not among the images in this file.")
            except UserError as error:
                self._belongs_to_none(entry, error)
                continue
            shape = self._shape(annotation, entry, label_of, doubtful)
            for source in sources[image_id]:
                source.shapes.append(shape)

    def _read_images(self, images: list[Any], finder: Finder) -> dict[int | str, list[Source]]:
        """Image id -> the sources to which its annotations are added, one per record."""
        listed: dict[tuple[int | str, str], tuple[int, int] | None] = {}
        for number, image in enumerate(images):
            try:
                key = entries.identity(entries.mapping(image), "id"), entries.name(image, "file_name")
            except UserError as error:
                self._belongs_to_none(f"entry {number} of images", error)
                continue
            listed.setdefault(key, entries.size(image, "height", "width"))
        self._reading.listed += len(listed)
        files_of = defaultdict(list)
        for image_id, file_name in listed:
            files_of[image_id].append(file_name)
        found = finder.all_of(self._file, dict.fromkeys(file_name for _, file_name in listed), self._split)
        sources: dict[int | str, list[Source]] = defaultdict(list)
        for (image_id, file_name), size in listed.items():
            self._reading.unmatched.note(self._name, file_name, found[file_name])
            entry = f"image {image_id}"
            sources[image_id] += []
            for name in found[file_name].names:
                source = Source(self._file, entry, size)
                if len(files_of[image_id]) > 1:
                    why = f"the id {image_id} stands for {' and '.join(files_of[image_id][:3])}; give each its own."
                    source.shapes.append(Labelled("", Broken(why), entry))
                sources[image_id].append(source)
                self._reading.sources.add(name, source)
                self._reading.by_file[self._split].append(name)
        return sources

    def _read_categories(self, categories: list[Any]) -> tuple[dict[int | str, str], set[int | str]]:
        """Category id -> label, and the ids that stand for several labels."""
        label_of: dict[int | str, str] = {}
        doubtful = set()
        for number, category in enumerate(categories):
            try:
                category_id = entries.identity(entries.mapping(category), "id")
                label = entries.name(category, "name")
            except UserError as error:
                self._reading.unread.append(f"{self._name}, entry {number} of categories is not read: {error}")
                continue
            if label_of.setdefault(category_id, label) != label:
                doubtful.add(category_id)
        for category_id in sorted(label_of, key=lambda one: (isinstance(one, str), one)):
            self._reading.labels[label_of[category_id]] = None
            self._reading.categories[category_id] = None
        return label_of, doubtful

    def _belongs_to_none(self, entry: str, why: UserError) -> None:
        self._reading.unmatched.missing[f"{self._name}: {entry} ({str(why).rstrip('.')})"] = None

    def _shape(
        self, annotation: dict[str, Any], entry: str, label_of: Mapping[int | str, str], doubtful: set[int | str]
    ) -> Labelled:
        """The region of an annotation with the label of its category; a broken region if either is invalid.

        COCO has no difficult objects; the key `difficult` next to `iscrowd` is written by `coco.write`.
        """
        try:
            category_id = entries.identity(annotation, "category_id")
            if category_id not in label_of:
                raise UserError(f"category_id {category_id} is not among the categories in this file.")
            if category_id in doubtful:
                raise UserError(
                    f"category_id {category_id} stands for several categories of this file; give each its own id."
                )
            label = label_of[category_id]
            keypoints = self._reading.keypoints.of(annotation, label, self._split)
            joints_alone = all(annotation.get(key) in (None, "", []) for key in ("segmentation", "bbox"))
            region: Region | None = box_around(keypoints) if joints_alone else None
            region = region_of(annotation) if region is None else region
        except UserError as error:
            return Labelled("", Broken(str(error)), entry)
        difficult = entries.is_true(annotation.get("difficult"))
        crowd = entries.is_true(annotation.get("iscrowd")) and not difficult
        return Labelled(label, region, entry, crowd, difficult, keypoints=keypoints)
