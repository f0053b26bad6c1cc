"""The contract between a task and `pixelwise suggest`: what a person is asked to label."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.data.dataset import Dataset
from pixelwise.data.pictures import write_png
from pixelwise.data.record import Record
from pixelwise.data.regions import Patch

UNITS = ("pictures", "regions", "pixels")
"""What can be labelled: whole pictures, regions of them, or single pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A labelled picture of which not all labels need be known.

    Attributes:
        pixels: (H, W) bool, where its labels are known; None if they are known everywhere.
    """

    record: Record
    pixels: np.ndarray | None = None

    def place_picture(self, dataset: Dataset, target: Path) -> None:
        """Puts the picture into a folder: a link to its file if the file system has links, else a copy.

        Args:
            target: the new file without suffix.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        file = self.record.picture
        if self.record.position is not None:
            pixels = dataset.read(self.record)
            write_png(target.with_name(f"{target.name}.png"), pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
            return
        target = target.with_name(target.name + file.suffix)
        try:
            os.link(file, target)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(file, target)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A picture of which something is to be labelled.

    Attributes:
        picture: its file, or its pixels (H, W, C) if it is one of many in a file.
        name: the name of its label files: a path without suffix.
        size: height and width.
        regions: the regions to label, the most important first; None if regions were not asked for.
        pixels: (P, 2) int64 `x, y`, the pixels to label; None if pixels were not asked for.
    """

    picture: Path | np.ndarray
    name: str
    size: tuple[int, int]
    regions: Sequence[Patch] | None = None
    pixels: np.ndarray | None = None

    @property
    def suffix(self) -> str:
        return self.picture.suffix if isinstance(self.picture, Path) else ".png"

    def copy_picture(self, folder: Path) -> Path:
        """Copies the picture unchanged into a folder, under its name, and returns the file."""
        target = folder / f"{self.name}{self.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(self.picture, Path):
            shutil.copyfile(self.picture, target)
        else:
            write_png(target, self.picture[:, :, 0] if self.picture.shape[2] == 1 else self.picture)
        return target
