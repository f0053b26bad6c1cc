"""What a layout finds on disk before anything is decoded, and how that becomes a `Dataset`."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

from pixelwise.data.dataset import UNLABELLED, Coding, Dataset, NoCoding, Record
from pixelwise.data.foreign import LAST_SUFFIXES, format_of, named
from pixelwise.data.formats.coding import decide_coding, values_of
from pixelwise.data.formats.strangers import labels_not_read
from pixelwise.data.listing import Faults, counted, list_file, picture_files, read_lines, relative, some
from pixelwise.data.names import Finder, Found, Unmatched
from pixelwise.data.pictures import KIND_SUFFIXES, Header, PictureFormat, probe
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import ShapeCoding
from pixelwise.data.splits import even_sample, groups, kinds_by_name, make_splits
from pixelwise.errors import UserError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Survey:
    """The pictures and label files of a folder, paired; nothing is decoded yet, and nothing has been refused yet.

    Attributes:
        root: the folder.
        layout: the name of the layout that paired them.
        records: every picture, labelled or not, sorted by name.
        given: splits that the folder itself states (lists or sub-folders) -> names; may overlap where lists do.
        class_names: by class id; None where they must be counted in the masks.
        coding: how labels are stored; None where the values of masks must tell.
        orphans: masks that belong to no picture, relative to `root`.
        ignored: picture files that are neither pictures nor masks of the dataset, relative to `root`.
        missing: entries of list and annotation files that name no picture: `train.txt: x.png`.
        ambiguous: entries that may mean several pictures: `train.txt: x.png (a/x or b/x)`.
        faults: sentences on text files that cannot be read or understood; opening the dataset raises the first, the
            doctor tells them all.
        guesses: what was decided by what the files look like, with the way to overrule it; told as warnings.
        stratify: what kind of picture a record is, so that a split which must be made holds all kinds.
        form: of all pictures, where the layout knows it; None where their headers must tell.
        within: what is left of a record's name when the part that says its class is taken away, for telling groups.
        notes: what the layout assumed.
    """

    root: Path
    layout: str
    records: tuple[Record, ...]
    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    coding: Coding | None = None
    orphans: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    stratify: Callable[[Record], Hashable] | None = None
    form: PictureFormat | None = None
    within: Callable[[Record], str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.labelled)

    def in_two_splits(self) -> tuple[str, ...]:
        """Names that more than one split claims."""
        counts = Counter(name for names in self.given.values() for name in set(names))
        return tuple(sorted(name for name, count in counts.items() if count > 1))


def given_splits(
    root: Path, records: Sequence[Record], by_folder: Mapping[str, str], faults: Faults
) -> tuple[dict[str, tuple[str, ...]], Unmatched]:
    """Splits from list files, else from sub-folders.

    Args:
        root: where the list files lie.
        records: what they may name.
        by_folder: name -> split, for records whose folder says it.
        faults: takes the sentences on lists that cannot be read, or that name no picture of the dataset.

    Returns:
        Split -> names, and the entries that name no record, or several.
    """
    finder = Finder(root, records)
    given: dict[str, tuple[str, ...]] = {}
    unmatched = Unmatched()
    for split in SPLITS:
        file = list_file(root, split)
        if file is None:
            continue
        names: list[str] = []
        lines = faults.attempt(partial(read_lines, file), list[str]())
        found = finder.all_of(file, lines, split)
        # A line is a name, which may hold blanks, or a pair `picture label`.
        firsts = {line: line.split()[0] for line in lines if found[line] == Found() and len(line.split()) > 1}
        of_first = finder.all_of(file, firsts.values(), split)
        for line in lines:
            means = of_first[firsts[line]] if line in firsts else found[line]
            names += means.names
            unmatched.note(relative(root, file), line, means)
        given[split] = tuple(dict.fromkeys(names))
        if lines and not names:
            faults.append(
                f"{file}: none of its {len(lines)} entries ({some(lines, 2)}) is a picture of this dataset, so it is a "
                "list of other data; correct it, or remove it to have a split made."
            )
    if not given:
        for split in SPLITS:
            names = [record.name for record in records if by_folder.get(record.name) == split]
            if names:
                given[split] = tuple(names)
    return given, unmatched


def complete(survey: Survey, *, val_fraction: float, seed: int, labels: bool = True) -> Dataset:
    """Decides the coding, the classes, the form and the splits.

    Args:
        labels: whether pictures without labels are of no use for training and validation; where they are of use,
            `train` and `val` are made of all pictures.

    Raises:
        UserError: no pictures, no masks, a single labelled picture, contradicting splits, or masks that hold no ids.
    """
    _refuse_useless(survey, labels)
    survey = with_kinds(survey)
    notes, guesses = list(survey.notes), list(survey.guesses)
    coding: Coding
    if survey.coding is None and survey.labelled:
        masks = [record.labels[0] for record in survey.labelled]
        decision = decide_coding(masks, survey.class_names)
        coding, class_names = decision.coding, decision.class_names
        notes += decision.notes
        guesses += decision.guesses
    elif survey.coding is None:
        coding, class_names = NoCoding(), ()
    else:
        coding, class_names = survey.coding, survey.class_names or ("background", "object")
    records, group_note = grouped(survey)
    taking_part = tuple(record for record in records if record.labelled or not labels)
    splits, said = complete_splits(survey, taking_part, val_fraction, seed, group_note)
    held_out = {name for split in ("val", "test") for name in survey.given.get(split, ())}
    spare = tuple(r.name for r in records if labels and not r.labelled and r.name not in held_out)
    if spare:
        splits[UNLABELLED] = spare
    return Dataset(
        root=survey.root,
        layout=survey.layout,
        class_names=class_names,
        records=records,
        splits=splits,
        form=survey.form or majority_form([record.picture for record in records]),
        coding=coding,
        notes=(*notes, *said, *_left_aside(survey, splits, labels)),
        guesses=(*guesses, *_guessed_channels([record.picture for record in records])),
    )


def _refuse_useless(survey: Survey, labels: bool) -> None:
    root, labelled = survey.root, survey.labelled if labels else survey.records
    if survey.faults:
        raise UserError(survey.faults[0])
    if not survey.records:
        if not any(root.iterdir()):
            raise UserError(f"{root}: the folder is empty; give one that holds pictures.")
        raise UserError(
            f"{root}: no pictures found (PNG, JPEG, TIFF, BMP, GIF, WebP, PNM, JPEG 2000, AVIF or idx, at any depth)"
            f"{_but_others(root)}; give the folder that holds them."
        )
    if not labelled:
        raise UserError(f"{root}: {len(survey.records)} pictures found but no masks. {missing_labels(survey)}")
    if len(labelled) == 1:
        what, fix = ("has a mask", "label another one") if labels else ("is there", "add another one")
        raise UserError(
            f"{root}: only one picture {what} ({labelled[0].name}), and at least two are needed: one to learn "
            f"from and one held out to measure; {fix}."
        )
    double = survey.in_two_splits()
    if double:
        splits = " and ".join(split for split in survey.given if double[0] in survey.given[split])
        raise UserError(
            f"{root}: {len(double)} pictures are in more than one split ({double[0]} in {splits}), so that the measure "
            "would be of pictures learnt by heart; take them out of one list."
        )


def _but_others(root: Path) -> str:
    unread = unread_files(root)
    return f", but {named(unread)}, which are not read and must be saved as PNG or TIFF first" if unread else ""


def with_kinds(survey: Survey) -> Survey:
    """The survey with kinds of picture to be held out in proportion, where names tell some and the layout does not."""
    if survey.stratify is not None or "val" in survey.given or (survey.root / "groups.csv").is_file():
        return survey
    kinds = kinds_by_name(survey.records, survey.within)
    if not kinds:
        return survey
    of_name = dict(zip((record.name for record in survey.records), kinds, strict=True))
    guess = (
        f"Names begin with words ({some(sorted(set(kinds) - {''}))}), which are taken for kinds of picture, so each is "
        "on both sides of the split that is made; if the pictures of one word belong together (a patient, a video), "
        "say so in groups.csv."
    )
    return replace(survey, stratify=lambda record: of_name[record.name], guesses=(*survey.guesses, guess))


def grouped(survey: Survey) -> tuple[tuple[Record, ...], str]:
    """The records, each with its group, and half a sentence on where groups come from.

    Raises:
        UserError: a groups.csv that cannot be understood.
    """
    ids, note = groups(survey.root, survey.records, survey.within, partial(_classes_of, survey))
    return tuple(replace(record, group=group) for record, group in zip(survey.records, ids, strict=True)), note


def _classes_of(survey: Survey, record: Record) -> Collection[int]:
    """The class of a record as a whole, or the classes of its shapes or of its one mask, background left out."""
    if record.class_id is not None:
        return (record.class_id,)
    if isinstance(survey.coding, ShapeCoding):
        drawing = survey.coding.drawings.get(record.name)
        return {shape.class_id for shape in drawing.shapes} if drawing else ()
    if len(record.labels) != 1 or not (survey.coding is None or survey.coding.kind == "ids"):
        return ()
    try:
        return set(values_of(record.labels[0]).tolist()) - {0, VOID}
    except UserError:  # told when that mask is read
        return ()


def missing_labels(survey: Survey) -> str:
    """What was found instead of labels, where they were looked for, and what to do."""
    found = [labels_not_read(survey.root)]
    if survey.orphans:
        masks = counted(len(survey.orphans), "mask has", "masks have")
        found.append(f"{masks} no picture's name ({some(survey.orphans, 2)}).")
    return " ".join(
        (
            *filter(None, found),
            "Looked for folders such as masks, labels, annotations or SegmentationClass with files named as the "
            "pictures, for files beside the pictures whose names end in _mask, _label, _seg or the like, for COCO's or "
            "LabelMe's JSON, and for csv files of run-length encodings. Put the masks into masks/ under the names of "
            "their pictures, or, where a picture as a whole has a class, all pictures of a class into a folder of its "
            "name, two classes or more.",
        )
    )


def complete_splits(
    survey: Survey, records: Sequence[Record], val_fraction: float, seed: int, group_note: str
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Names by split: as given, with a `val` or `train` made where it is missing.

    Args:
        records: what there is to split: the labelled ones, or all where labels are of no use.
    """
    labelled = {record.name: record for record in records}
    splits = {split: tuple(sorted(set(names) & set(labelled))) for split, names in survey.given.items()}
    splits = {split: names for split, names in splits.items() if names}
    taken = {name for names in splits.values() for name in names}
    notes = []
    if "val" not in splits:
        pool = [labelled[name] for name in splits.get("train") or sorted(set(labelled) - taken)]
        if len(pool) < 2:
            raise UserError(
                f"{survey.root}: {len(pool)} labelled pictures are left to train on and to hold out, but both need "
                "one; add labelled pictures or correct the split lists."
            )
        strata = [survey.stratify(record) for record in pool] if survey.stratify else None
        splits |= make_splits(pool, val_fraction=val_fraction, seed=seed, strata=strata)
        notes.append(
            f"No validation split is given, so {len(splits['val'])} of {len(pool)} labelled pictures are held out, "
            f"{group_note}{', with all kinds of picture in both parts' if strata else ''}; "
            "the same ones every time (write train.txt and val.txt to choose them yourself)."
        )
    elif "train" not in splits:
        rest = tuple(sorted(set(labelled) - taken))
        if not rest:
            raise UserError(f"{survey.root}: every labelled picture is held out, none is left to train on.")
        splits["train"] = rest
        notes.append(f"No training split is given, so the {len(rest)} labelled pictures in no other split are it.")
    return {split: splits[split] for split in SPLITS if split in splits}, notes


def _left_aside(survey: Survey, splits: Mapping[str, Sequence[str]], labels: bool) -> list[str]:
    """A sentence on each sort of file that takes no part, so that nothing is dropped silently."""
    taken = {name for names in splits.values() for name in names}
    unlabelled = [record.name for record in survey.records if labels and not record.labelled]
    unlisted = [record.name for record in survey.labelled if record.name not in taken]
    sorts = (
        (unlabelled, "pictures without labels, which take part only in methods that learn from such pictures"),
        (unlisted, "pictures labelled but in no split, which are not used"),
        (survey.orphans, "masks without a picture, which are not read"),
        (survey.ignored, "picture files outside the folders of the dataset, which are not read"),
        (survey.missing, "entries of split lists or annotation files without a picture here"),
        (survey.ambiguous, "entries of split lists or annotation files that may mean several pictures"),
    )
    unread = unread_files(survey.root, survey.records)
    said = [f"{len(names)} {what}: {some(names, 3)}." for names, what in sorts if names]
    return said + ([f"Files of formats that are not read: {named(unread)}."] if unread else [])


def unread_files(root: Path, records: Iterable[Record] = ()) -> tuple[PurePosixPath, ...]:
    """Files below a folder that hold pictures in formats that are not read, relative to it; see `data.foreign`.

    Args:
        records: what is read all the same: their label files are left out.
    """
    labels = {file for record in records for file in record.labels}
    return tuple(file for file in picture_files(root, LAST_SUFFIXES) if format_of(file) and root / file not in labels)


def seen_channels(header: Header) -> int:
    """The channels that `read_picture` gives: alpha is dropped, palettes and CMYK become RGB."""
    if header.mode in {"P", "PA", "CMYK"}:
        return 3
    return header.channels - 1 if header.has_alpha else header.channels


def seen_dtype(header: Header) -> str:
    """The dtype that `read_picture` gives."""
    if header.dtype == "bool" or header.mode == "P":
        return "uint8"
    return header.dtype if header.dtype in {"uint8", "uint16"} else "float32"


def majority_form(pictures: Sequence[Path], limit: int = 200) -> PictureFormat:
    """The channels and the dtype of most pictures, from the headers of at most `limit` of them.

    Raises:
        UserError: none of them can be read.
    """
    headers = []
    failure: UserError | None = None
    for picture in even_sample(pictures, limit):
        try:
            headers.append(probe(picture))
        except UserError as error:  # told when that picture is read, or by the doctor
            failure = failure or error
    if not headers and failure is not None:
        raise failure
    return form_of(headers)


def form_of(headers: Sequence[Header]) -> PictureFormat:
    """The channels and the dtype of most of these pictures."""
    channels = Counter(seen_channels(header) for header in headers)
    dtypes = Counter(seen_dtype(header) for header in headers)
    # On a tie the richer form wins, which loses nothing.
    return PictureFormat(
        channels=max(channels, key=lambda count: (channels[count], count)),
        dtype=max(dtypes, key=lambda dtype: (dtypes[dtype], dtype != "uint8", dtype == "float32")),
    )


def _guessed_channels(pictures: Sequence[Path], limit: int = 200) -> tuple[str, ...]:
    """What is guessed of TIFFs of several pages, from the headers of at most `limit` of them."""
    paged = []
    for picture in even_sample([one for one in pictures if one.suffix.lower() in KIND_SUFFIXES["TIFF"]], limit):
        with contextlib.suppress(UserError):  # told when that picture is read, or by the doctor
            if probe(picture).meaning == "unknown":
                paged.append(picture.name)
    return (f"{some(paged, 3)}: {PAGES_AS_CHANNELS}",) if paged else ()


PAGES_AS_CHANNELS = (
    "TIFFs of several pages that do not state what these are. The pages are read as the channels of one picture; if "
    "they are slices, split them into one file per slice (in Fiji: Save As > Image Sequence). Channels that are saved "
    "with the axes CYX say so."
)
