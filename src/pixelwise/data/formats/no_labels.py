"""Describes what was found in place of labels, so that "no masks" never hides labels of a different kind."""

from __future__ import annotations

import contextlib
import re
from collections import Counter, defaultdict

from pixelwise.data.formats.strangers import labels_not_read
from pixelwise.data.formats.survey import Survey
from pixelwise.data.listing import counted, some
from pixelwise.data.path_words import SPLIT_WORDS
from pixelwise.data.pictures import probe
from pixelwise.data.splits import even_sample, words_before_numbers
from pixelwise.errors import UserError


def missing_labels(survey: Survey) -> str:
    """What was found instead of labels, where labels were looked for, and what to do."""
    found = [_stacks(survey), labels_not_read(survey.root), _channels(survey), _classes_in_names(survey)]
    if survey.orphans:
        masks = counted(len(survey.orphans), "mask has", "masks have")
        found.append(f"{masks} no picture's name ({some(survey.orphans, 2)}).")
    return " ".join(
        (
            *filter(None, found),
            "Looked for folders such as masks, labels, annotations or SegmentationClass with files named like the "
            "pictures, for files next to the pictures whose names end in _mask, _label, _seg or similar, for COCO's or "
            "LabelMe's JSON, Pascal VOC's XML, YOLO's txt, and csv files of run-length encodings. Put the masks into "
            "masks/ under the names of their pictures. If each picture as a whole has a class, put all pictures of a "
            "class into a folder named after it, with two classes or more.",
        )
    )


def _channels(survey: Survey) -> str:
    """A sentence on channels in separate files, `x_0000.png` and `x_0001.png`, as in nnU-Net."""
    numbers: dict[str, set[str]] = defaultdict(set)
    for record in survey.records:
        head, _, number = record.name.rpartition("_")
        if re.fullmatch(r"000\d", number):
            numbers[head].add(number)
    several = [head for head, its in numbers.items() if len(its) > 1]
    if 2 * sum(len(numbers[head]) for head in several) <= len(survey.records):
        return ""
    files = some([f"{several[0]}_{number}" for number in sorted(numbers[several[0]])], 3)
    return f"Pictures have one file per channel ({files}): join the channels of each picture in one TIFF."


def _classes_in_names(survey: Survey) -> str:
    """A sentence on words at the beginning of names, `cat.0.jpg` and `dog.0.jpg`."""
    counts = Counter(word for word in words_before_numbers(survey.records) if word and word.lower() not in SPLIT_WORDS)
    if not 2 <= len(counts) <= len(survey.records) // 4 or 2 * counts.total() < len(survey.records):
        return ""
    return (
        f"Names begin with {some(sorted(counts))}: if these are classes, put the pictures of each into a folder of its "
        "name."
    )


def _stacks(survey: Survey) -> str:
    """A sentence on files that hold several pictures and perhaps their masks, like volumes."""
    stacks = []
    for record in even_sample(survey.records, 20):
        with contextlib.suppress(UserError):  # reported when that picture is read, or by the doctor
            header = probe(record.picture)
            stacks += [f"{record.picture.name} ({header.pages} pages)"] if header.pages > 1 else []
    return f"Stacks of slices found, {some(stacks, 3)}: split them into one file per slice." if stacks else ""
