"""Pascal VOC's layout of class segmentation (Everingham et al. 2010).

    JPEGImages/x.jpg + SegmentationClass/x.png     ImageSets/Segmentation/{train,val,trainval}.txt

Masks are palette PNGs whose indices are the class ids, 255 on the borders of objects, or pictures in the palette's
colours.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.class_table import class_table
from pixelwise.data.codings import MaskCoding
from pixelwise.data.formats import folder
from pixelwise.data.formats.export import Export
from pixelwise.data.formats.survey import Survey
from pixelwise.data.listing import homes_of, picture_files
from pixelwise.data.packed import pack
from pixelwise.data.pictures import probe, read_picture
from pixelwise.data.sample import VOID
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError

CLASS_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
VOC_VOID = (224, 224, 192)
"""The colour of the borders, index 255."""
FOLDERS = ("JPEGImages", "SegmentationClass")


def voc_palette(colours: int = len(CLASS_NAMES)) -> list[int]:
    """The colours of Pascal VOC's classes, 0xRRGGBB: bit k of the id goes to channel k mod 3, from the top bit down."""
    palette = []
    for class_id in range(colours):
        channels = [0, 0, 0]
        for bit in range(8):
            channels[bit % 3] |= (class_id >> bit & 1) << 7 - bit // 3
        palette.append(channels[0] << 16 | channels[1] << 8 | channels[2])
    return palette


def detect(root: Path) -> bool:
    """The two folders, and masks in VOC's colours; the folder layout reads other masks in such folders."""
    home = next((home for home in homes_of(root) if all((home / name).is_dir() for name in FOLDERS)), None)
    if home is None:
        return False
    masks = [home / file for file in picture_files(home) if file.parts[0] == "SegmentationClass"]
    try:
        known = palette_of(root)
        return bool(masks) and all(_colours(mask) <= set(known) for mask in even_sample(masks, 20))
    except UserError:  # damaged masks: reported by the layout that reads them
        return False


def survey(root: Path) -> Survey:
    """The survey of the folder layout, with VOC's classes and colours unless a file like classes.txt gives others."""
    found = folder.survey(root)
    names = found.class_names or CLASS_NAMES
    if len(names) == 1:
        names = ("background", names[0])
    note = () if names != CLASS_NAMES else ("Ids are Pascal VOC's: 20 classes and background, 255 is void.",)
    return replace(
        found,
        layout="voc",
        class_names=names,
        coding=MaskCoding(palette=palette_of(root)),
        notes=(*found.notes, *note, "Masks that are colour pictures are read by the colours of the classes."),
    )


def palette_of(root: Path) -> dict[int, int]:
    """The palette of the masks, 0xRRGGBB -> class id: that of classes.txt, colors.txt or a similar file, else VOC's.

    Raises:
        UserError: as in `class_table`.
    """
    named = class_table(root).palette() or {colour: class_id for class_id, colour in enumerate(voc_palette(VOID))}
    red, green, blue = VOC_VOID
    return {red << 16 | green << 8 | blue: VOID} | named


def _colours(mask: Path) -> set[int]:
    """The colours (0xRRGGBB) that occur in a mask; -1 for a mask without colours, which is not VOC's."""
    if probe(mask).mode not in {"P", "RGB"}:
        return {-1}
    return set(np.unique(pack(read_picture(mask))).tolist())


def write_palette_png(path: Path, ids: np.ndarray) -> None:
    """Writes (H, W) uint8 class ids as a palette PNG in VOC's colours, the last of which is for void."""
    image = Image.fromarray(ids)
    image.putpalette([colour >> shift & 255 for colour in voc_palette(VOID + 1) for shift in (16, 8, 0)])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="PNG")


def write(export: Export, out: Path) -> list[str]:
    """`JPEGImages/` (pictures of whatever format), palette masks in `SegmentationClass/`, and lists."""
    export.copy_pictures(out / "JPEGImages")
    for record, sample in export.samples(export.records):
        assert sample.mask is not None
        write_palette_png(out / "SegmentationClass" / f"{export.names[record.name]}.png", sample.mask)
    export.write_lists(out / "ImageSets" / "Segmentation")
    return ["Objects are not written: the masks hold only class ids."] if export.knows_objects() else []
