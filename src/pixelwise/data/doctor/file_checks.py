"""Checks of the files themselves: whether they can be read, belong together, and have the format of their suffix."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable

from pixelwise.data.doctor.diagnosis import FIX, Finding, Findings
from pixelwise.data.doctor.examination import Examination
from pixelwise.data.doctor.look import Look
from pixelwise.data.foreign import named
from pixelwise.data.formats.completion import unread_files
from pixelwise.data.formats.no_labels import missing_labels
from pixelwise.data.listing import counted, hidden_pictures
from pixelwise.data.path_words import without_suffix
from pixelwise.data.pictures import KIND_SUFFIXES
from pixelwise.data.shapes import ShapeCoding


def enough(ex: Examination) -> Findings:
    """Too few pictures, or too few with labels, to train and to validate."""
    if not ex.looks:
        yield Finding(
            "error",
            "no-pictures",
            "There is no PNG, JPEG, TIFF, BMP, GIF, WebP, PNM, JPEG 2000 or AVIF picture in this folder.",
        )
    elif not ex.masks and ex.has_masks:
        yield Finding(
            "error",
            "no-masks",
            "There are pictures but no labels that can be read; the errors about text files explain why."
            if ex.survey.faults
            else f"There are pictures but no masks. {missing_labels(ex.survey)}",
        )
    elif len(ex.sound) < 2:
        yield Finding(
            "error",
            "too-few",
            f"{counted(len(ex.sound), 'picture', 'pictures')} can be read with the label, but at least two are needed: "
            "one for training and one for validation; label more.",
        )


def guesses(ex: Examination) -> Findings:
    """What was decided by the look of the files."""
    for sentence in ex.survey.guesses:
        yield Finding("warning", "guess", sentence)


def damaged(ex: Examination) -> Findings:
    """Files that are empty, truncated or unreadable, stacks of pages, and masks that hold no ids."""
    damaged = defaultdict(list)
    for look in ex.looks:
        damaged[look.damage].append(ex.relative(look.record.picture))
        for mask in look.masks:
            damaged[mask.damage].append(ex.relative(mask.file))
    sentences = {
        "zero-byte": (
            "file is empty",
            "files are empty",
            "(zero bytes), as after an interrupted copy; copy again.",
        ),
        "truncated": (
            "file begins",
            "files begin",
            "as a picture, but its end or some pixels are missing; copy or export again.",
        ),
        "unreadable": ("file is", "files are", "not readable as a picture; export again or move it out."),
        "stack": (
            "file is a stack",
            "files are stacks",
            "of pages (slices), but one picture per file is expected; split pictures and masks alike into one file per "
            "slice (in Fiji: Save As > Image Sequence).",
        ),
        "mask-values": (
            "mask holds",
            "masks hold",
            "NaN, infinity, fractions or negative numbers, which are not class ids; set pixels without a label to 255 "
            "(void) and save the mask as an 8-bit picture.",
        ),
    }
    for code, (one, many, rest) in sentences.items():
        if damaged[code]:
            files = tuple(dict.fromkeys(damaged[code]))  # several records may share a file
            yield Finding("error", code, f"{counted(len(files), one, many)} {rest}", files)


def unread(ex: Examination) -> Findings:
    """Pictures in formats that are not read."""
    files = unread_files(ex.root, ex.survey.records)
    if files:
        yield Finding(
            "warning",
            "unread-format",
            f"{counted(len(files), 'file has', 'files have')} a format that is not read ({named(files)}); convert "
            "them to PNG or TIFF if they belong to the dataset (`pixelwise slices` converts DICOM and NIfTI).",
            tuple(map(str, files)),
        )


def unpaired(ex: Examination) -> Findings:
    """Pictures without labels, labels without a picture, and files that are not read."""
    if ex.masks:
        bare = tuple(ex.relative(look.record.picture) for look in ex.looks if not look.masks)
        if bare:
            yield Finding(
                "warning",
                "picture-without-mask",
                f"{counted(len(bare), 'picture has', 'pictures have')} no {ex.coding.wording.missing} and will not be "
                "trained on; add labels, or leave as is for semi-supervised methods.",
                bare,
            )
    orphans = ex.survey.orphans
    if orphans and ex.coding.kind == "pairs":
        yield Finding(
            "warning",
            "partner-without-picture",
            f"{counted(len(orphans), 'picture of b has', 'pictures of b have')} no picture of that name in a and will "
            "not be read; rename one of the two, or move the picture out.",
            orphans,
        )
    elif orphans:
        yield Finding(
            "warning",
            "mask-without-picture",
            f"{counted(len(orphans), 'mask has', 'masks have')} no picture of that name; rename one of the two, or "
            "move the mask out.",
            orphans,
        )
    if ex.survey.ignored:
        yield Finding(
            "note",
            "not-read",
            f"{counted(len(ex.survey.ignored), 'picture file', 'picture files')} outside the folders of the dataset "
            f"{'is' if len(ex.survey.ignored) == 1 else 'are'} not read.",
            ex.survey.ignored,
        )
    hidden = tuple(map(str, hidden_pictures(ex.root)))
    if hidden:
        yield Finding(
            "note",
            "not-read",
            f"{counted(len(hidden), 'picture file is', 'picture files are')} not read: hidden files, thumbnails, or "
            "leftovers of an archive.",
            hidden,
        )
    if ex.survey.missing:
        yield Finding(
            "warning",
            "list-entry-missing",
            f"{counted(len(ex.survey.missing), 'entry', 'entries')} of split lists or annotation files "
            f"{'names' if len(ex.survey.missing) == 1 else 'name'} no picture here; correct the list or add the file.",
            ex.survey.missing,
        )
    if ex.survey.ambiguous:
        yield Finding(
            "warning",
            "list-entry-ambiguous",
            f"{counted(len(ex.survey.ambiguous), 'entry', 'entries')} of split lists or annotation files may mean "
            "several pictures here, so nothing is read from there; write the path from the dataset's folder.",
            ex.survey.ambiguous,
        )
    names = Counter((without_suffix(look.record.name), _labels_of(ex, look)) for look in ex.looks)
    twins = tuple(
        ex.relative(look.record.picture)
        for look in ex.looks
        if names[without_suffix(look.record.name), _labels_of(ex, look)] > 1
    )
    if twins:
        yield Finding(
            "warning",
            "same-name",
            f"{len(twins)} pictures differ only in their suffix and share one mask; rename those that need another.",
            twins,
        )


def _labels_of(ex: Examination, look: Look) -> Hashable:
    """A key that is equal for two pictures with the same label files, or the same entries of annotation files."""
    if not isinstance(ex.coding, ShapeCoding) or not look.record.labelled:
        return look.record.labels
    return tuple(id(shape.region) for shape in ex.coding.drawings[look.record.name].shapes)


def suffixes(ex: Examination) -> Findings:
    """Files whose format is not that of their suffix."""
    files = [(look.record.picture, look.header) for look in ex.looks]
    files += [(mask.file, mask.header) for mask in ex.masks]
    lying = tuple(
        f"{ex.relative(file)} ({header.kind})"
        for file, header in files
        if header is not None and file.suffix.lower() not in KIND_SUFFIXES.get(header.kind, (file.suffix.lower(),))
    )
    if lying:
        yield Finding(
            "warning",
            "lying-extension",
            f"{counted(len(lying), 'file has', 'files have')} a different format (in brackets) from the suffix. "
            f"pixelwise reads the true format, but other programs may fail: rename, or let {FIX} do it in a copy.",
            lying,
        )


def sizes(ex: Examination) -> Findings:
    """Masks that differ in size from their pictures."""
    wrong, turned = [], 0
    for look in ex.looks:
        for mask in look.masks:
            if look.size is None or mask.size is None or look.size == mask.size:
                continue
            (height, width), (mask_height, mask_width) = look.size, mask.size
            wrong.append(f"{ex.relative(mask.file)} ({mask_width} x {mask_height}, picture {width} x {height})")
            turned += bool(look.header and look.header.rotated and mask.size == look.size[::-1])
    if wrong:
        hint = (
            f" {turned} of them would fit the picture before its EXIF orientation is applied: {FIX} turns them, too."
            if turned
            else ""
        )
        yield Finding(
            "error",
            "size-mismatch",
            f"{counted(len(wrong), 'mask differs', 'masks differ')} in size from the picture (width x height); export "
            f"again at the picture's size.{hint}",
            tuple(wrong),
        )
