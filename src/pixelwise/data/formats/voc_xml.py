"""Pascal VOC's annotations (Everingham et al., IJCV 2010): one XML per picture, with a box for each object.

    JPEGImages/x.jpg + Annotations/x.xml     ImageSets/Main/{train,val}.txt
    images/x.jpg + annotations/x.xml         train.txt  val.txt

The corners of a box are its first and last pixel, and the first pixel of a picture is 1, so a box covers xmin - 1 to
xmax in continuous coordinates. Files of other programs that count from 0 are recognised by their zeros (`Corners`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from pixelwise.data.class_table import read_classes
from pixelwise.data.formats import entries
from pixelwise.data.formats.annotations import (
    files_below,
    has_masks,
    label_table,
    misnamed_files,
    picture_of,
    pictures_of,
    survey_of,
)
from pixelwise.data.formats.export import Export
from pixelwise.data.formats.sources import Source, Sources
from pixelwise.data.formats.survey import Survey
from pixelwise.data.formats.texts import Encodings, head
from pixelwise.data.formats.voc_objects import Corners, Tally, is_annotation, objects_of
from pixelwise.data.listing import LIST_FOLDERS, Faults, counted, relative
from pixelwise.data.names import Finder, Found, Unmatched
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError

MAIN = "ImageSets/Main"
"""The folder in which the challenge keeps its lists for detection."""
MASK_FOLDERS = ("SegmentationClass", "SegmentationObject")


def detect(root: Path) -> bool:
    return bool(annotation_files(root)) and not has_masks(root)


def annotation_files(root: Path) -> list[Path]:
    """XML files that begin like VOC's."""
    return [file for file in files_below(root, ".xml") if is_annotation(head(file))]


@dataclass(frozen=True, slots=True)
class _Annotation:
    """One file and the pictures that it describes."""

    file: Path
    content: ElementTree.Element
    pictures: tuple[str, ...]


def survey(root: Path) -> Survey:
    """The pictures that have a file, labelled even if it holds no object, and all others without labels.

    An invalid object is a broken shape of its picture, and a file that cannot be read is a fault.

    Raises:
        UserError: lists that cannot be read, or more than 255 classes.
    """
    faults, encodings, unmatched = Faults(), Encodings(), Unmatched()
    pictures = pictures_of(root, MASK_FOLDERS)
    finder = Finder(root, pictures.records)
    read: list[_Annotation] = []
    misnamed: list[str] = []
    for file in annotation_files(root):
        name = relative(root, file)
        content = faults.attempt(partial(_read, file, name, encodings), None)
        if content is None:
            continue
        stated = (content.findtext("filename") or "").strip()
        found, other = picture_of(file, stated, finder)
        unmatched.note(name, stated or "no filename", found)
        misnamed += [name] if other != Found() else []
        read.append(_Annotation(file, content, found.names))
    matched = [one for one in read if one.pictures]
    if not (matched or faults):
        faults.append(f"{root}: no Pascal VOC XML file (root annotation) that belongs to a picture here.")
    corners, tally = Corners.of(one.content for one in matched), Tally()
    sources = Sources(root, add_up=False)
    for one in matched:
        size = entries.size(
            {side: one.content.findtext(f"size/{side}") for side in ("height", "width")}, "height", "width"
        )
        shapes = objects_of(one.content, corners, tally)
        for picture in one.pictures:
            sources.add(picture, Source(one.file, size=size, shapes=shapes))
    table = label_table(sorted(tally.labels), faults.attempt(partial(read_classes, root), None))
    merged = sources.merged(table.ids, table.refused)
    folders = sorted(LIST_FOLDERS, key=lambda folder: folder.startswith("ImageSets") and folder != MAIN)
    return survey_of(
        root,
        "voc_xml",
        pictures,
        merged.drawings,
        class_names=table.names,
        by_file={},
        unmatched=unmatched,
        notes=(*_notes(root, len(matched), tally), *merged.notes, *table.notes),
        faults=(*faults, *merged.faults),
        guesses=(
            *encodings.guesses(),
            *corners.guesses(),
            *merged.guesses,
            *table.guesses,
            *misnamed_files(misnamed, "filename"),
        ),
        list_folders=folders,
    )


def _read(file: Path, name: str, encodings: Encodings) -> ElementTree.Element:
    """The root of an XML file.

    Raises:
        UserError: the file is not text, or not XML.
    """
    text = encodings.read(file, name)
    try:
        return ElementTree.fromstring(text.removeprefix("\ufeff"))
    except ElementTree.ParseError as error:
        raise UserError(
            f"{file}: not XML ({error}), as after an interrupted copy; export the annotations again."
        ) from None


def write(export: Export, out: Path) -> list[str]:
    """`JPEGImages/` (pictures of whatever format), `Annotations/` and `ImageSets/Main/`.

    An object is a box of whole pixels or, if objects are not known, the box of each connected region of a class. Crowds
    are written as difficult objects. Void is not written, nor are pixels of no object if objects are known.
    """
    export.copy_pictures(out / "JPEGImages")
    (out / "Annotations").mkdir()
    outlines = crowds = rounded = void = 0
    for record, sample in export.samples(export.records):
        name = export.picture(record)
        root = ElementTree.Element("annotation")
        _add(root, folder="JPEGImages", filename=name)
        height, width, depth = sample.image.shape
        _add(ElementTree.SubElement(root, "size"), width=width, height=height, depth=depth)
        _add(root, segmented=0)
        for part in export.parts(sample, connected=sample.instances is None, whole=True):
            if part.class_id == VOID or (sample.instances is not None and not part.is_object):
                void += 1
                continue
            outlines += part.box is None
            crowds += part.crowd
            rounded += any(edge % 1 for edge in part.edges)
            element = ElementTree.SubElement(root, "object")
            difficult = int(part.difficult or part.crowd)
            _add(element, name=export.label(part.class_id), pose="Unspecified", truncated=0, difficult=difficult)
            xmin, ymin, xmax, ymax = _whole(part.edges)
            _add(ElementTree.SubElement(element, "bndbox"), xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)
        ElementTree.indent(root, "\t")
        file = out / "Annotations" / f"{export.names[record.name]}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(ElementTree.tostring(root, encoding="unicode") + "\n", encoding="utf-8")
    export.write_lists(out / "ImageSets" / "Main")
    counts = (
        (outlines, "objects have an outline, of which Pascal VOC's XML holds only the box."),
        (crowds, "crowds are written as difficult objects."),
        (rounded, "boxes are rounded to whole pixels."),
        (void, "void or unknown regions are not written and will be background."),
    )
    return [f"{count} {what}" for count, what in counts if count]


def _add(element: ElementTree.Element, **texts: object) -> None:
    for name, text in texts.items():
        ElementTree.SubElement(element, name).text = str(text)


def _whole(edges: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """The first and the last pixel of a box along each axis, counted from 1; at least one pixel."""
    left, top, right, bottom = (round(edge) for edge in edges)
    return left + 1, top + 1, max(right, left + 1), max(bottom, top + 1)


def _notes(root: Path, files: int, tally: Tally) -> list[str]:
    if not files:
        return []
    order = "classes.txt" if (root / "classes.txt").is_file() else "alphabetical order"
    notes = [
        f"{counted(tally.boxes, 'box', 'boxes')} and {counted(tally.outlines, 'outline', 'outlines')} in "
        f"{counted(files, 'Pascal VOC file', 'Pascal VOC files')}, {tally.empty} of them without any object; class "
        f"ids follow {order}, background is 0."
    ]
    if tally.boxes:
        notes.append("If an object has a box and no outline, the pixels in the box are void.")
    if tally.parts:
        notes.append(
            f"{counted(tally.parts, 'part of an object is', 'parts of objects are')} not read (head, hand, ...)."
        )
    if tally.deleted:
        notes.append(f"{counted(tally.deleted, 'object is', 'objects are')} marked as deleted and not read.")
    return notes
