"""From a survey to a dataset: the coding, the classes, the form, the groups and the splits, or an error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from pixelwise.data.codings import Coding, MaskCoding, NoCoding, read_values
from pixelwise.data.dataset import UNLABELLED, Dataset
from pixelwise.data.foreign import LAST_SUFFIXES, format_of, named
from pixelwise.data.formats.decision import decide_coding
from pixelwise.data.formats.forms import guessed_channels, majority_form
from pixelwise.data.formats.no_labels import missing_labels
from pixelwise.data.formats.survey import SPLITS, Survey
from pixelwise.data.layers import LayerCoding
from pixelwise.data.listing import picture_files, some
from pixelwise.data.record import Record
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import ShapeCoding
from pixelwise.data.splits import groups, kinds_by_class, kinds_by_name, make_splits
from pixelwise.errors import UserError


def complete(
    survey: Survey, *, val_fraction: float, seed: int, labels: bool = True, to_measure: bool = False
) -> Dataset:
    """Decides the coding, the classes, the form and the splits.

    Args:
        labels: whether pictures without labels are useless for training and validation; if they are useful, `train` and
            `val` are made of all pictures.
        to_measure: nothing is trained on, so that a single labelled picture is enough, or only pictures of `test`.

    Raises:
        UserError: no pictures, no masks, a single labelled picture, contradicting splits, or masks that hold no ids.
    """
    _refuse_useless(survey, labels, to_measure)
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
        coding, class_names = (
            survey.coding,
            survey.class_names or (("background", "object") if survey.coding.has_classes else ()),
        )
    records, group_note = grouped(survey)
    taking_part = tuple(record for record in records if record.labelled or not labels)
    splits = _held_out(survey, taking_part) if to_measure else {}
    added: list[str] = []
    if not splits:
        splits, added = complete_splits(survey, taking_part, val_fraction, seed, group_note)
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
        notes=(*notes, *added, *_left_aside(survey, splits, labels)),
        guesses=(*guesses, *guessed_channels([record.picture for record in records])),
    )


def _held_out(survey: Survey, records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """Names by split if none is left to train on: a single picture is `val`, or all are in `val` or `test`."""
    names = {record.name for record in records}
    given = {
        split: its
        for split in ("val", "test")
        if (its := tuple(sorted(names.intersection(survey.given.get(split, ())))))
    }
    if names <= {name for its in given.values() for name in its}:
        return given
    return {"val": tuple(names)} if len(names) == 1 else {}


def _refuse_useless(survey: Survey, labels: bool, to_measure: bool) -> None:
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
    if len(labelled) == 1 and not to_measure:
        what, fix = ("has a mask", "label another one") if labels else ("is there", "add another one")
        if labels and _of_pairs(survey):
            what, fix = "has a partner", "add another pair"
        raise UserError(
            f"{root}: only one picture {what} ({labelled[0].name}), and at least two are needed: one for training "
            f"and one for validation; {fix}."
        )
    double = survey.in_two_splits()
    if double:
        splits = " and ".join(split for split in survey.given if double[0] in survey.given[split])
        raise UserError(
            f"{root}: {len(double)} pictures are in more than one split ({double[0]} in {splits}), so the scores would "
            "be measured on pictures that were memorised; remove them from one list."
        )


def _but_others(root: Path) -> str:
    unread = unread_files(root)
    return f", but {named(unread)}, which are not read and must be saved as PNG or TIFF first" if unread else ""


def with_kinds(survey: Survey) -> Survey:
    """The survey with kinds of picture to hold out in proportion, if names state kinds and the layout does not."""
    if survey.stratify is not None or _gives_validation(survey) or (survey.root / "groups.csv").is_file():
        return survey
    kinds = kinds_by_name(survey.records, survey.within)
    if not kinds:
        by_class = kinds_by_class(survey.labelled, survey.within, partial(_classes_of, survey))
        kind_of = dict(zip((record.name for record in survey.labelled), by_class, strict=False))
        return replace(survey, stratify=lambda record: kind_of.get(record.name, "")) if kind_of else survey
    of_name = dict(zip((record.name for record in survey.records), kinds, strict=True))
    guess = (
        f"Names begin with words ({some(sorted(set(kinds) - {''}))}), which are read as kinds of picture, so each is "
        "on both sides of the automatic split; if the pictures of one word belong together (a patient, a video), say "
        "so in groups.csv."
    )
    return replace(survey, stratify=lambda record: of_name[record.name], guesses=(*survey.guesses, guess))


def grouped(survey: Survey) -> tuple[tuple[Record, ...], str]:
    """The records, each with its group, and half a sentence on the source of the groups.

    Raises:
        UserError: a groups.csv that cannot be understood.
    """
    if any(record.group for record in survey.records):
        return survey.records, "and records that share a picture are on one side"
    # If the split is given, groups are not used, and no mask need be read to judge them.
    classes_of = None if _gives_validation(survey) else partial(_classes_of, survey)
    ids, note = groups(survey.root, survey.records, survey.within, classes_of)
    return tuple(replace(record, group=group) for record, group in zip(survey.records, ids, strict=True)), note


def _gives_validation(survey: Survey) -> bool:
    """Whether the folder's own split `val` has a labelled picture; tiny-imagenet's has none."""
    return not {record.name for record in survey.labelled}.isdisjoint(survey.given.get("val", ()))


def _classes_of(survey: Survey, record: Record) -> Collection[int]:
    """The class of a record as a whole, or the classes of its shapes, layers or single mask, without the background."""
    if record.class_id is not None:
        return (record.class_id,)
    if isinstance(survey.coding, ShapeCoding):
        drawing = survey.coding.drawings.get(record.name)
        return {shape.class_id for shape in drawing.shapes} if drawing else ()
    if isinstance(survey.coding, LayerCoding):
        return set(survey.coding.classes.get(record.name, ()))
    if len(record.labels) != 1 or not (survey.coding is None or survey.coding.kind == "ids"):
        return ()
    palette = survey.coding.palette if isinstance(survey.coding, MaskCoding) else {}
    try:
        return set(np.unique(read_values(record.labels[0], palette)).tolist()) - {0, VOID}
    except UserError:  # reported when that mask is read
        return ()


def complete_splits(
    survey: Survey, records: Sequence[Record], val_fraction: float, seed: int, group_note: str
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Names by split: as given, with an automatic `val` or `train` if it is missing.

    Args:
        records: the records to split: the labelled ones, or all if labels are not needed.
    """
    labelled = {record.name: record for record in records}
    splits = {split: tuple(sorted(set(names) & set(labelled))) for split, names in survey.given.items()}
    splits = {split: names for split, names in splits.items() if names}
    taken = {name for names in splits.values() for name in names}
    notes = []
    if set(splits) == {"test"} and not set(labelled) - taken:
        raise UserError(
            f"{survey.root}: all {len(taken)} labelled pictures are in `test`, so none is left to train on; rename the "
            "folder or the list, or write train.txt and val.txt with some of them."
        )
    if "val" not in splits:
        pool = [labelled[name] for name in splits.get("train") or sorted(set(labelled) - taken)]
        if len(pool) < 2:
            raise UserError(
                f"{survey.root}: {len(pool)} labelled pictures are left for training and validation, but each needs "
                "one; add labelled pictures or correct the split lists."
            )
        strata = [survey.stratify(record) for record in pool] if survey.stratify else None
        splits |= make_splits(pool, val_fraction=val_fraction, seed=seed, strata=strata)
        held_out = set(splits["val"])
        sides: dict[Hashable, set[bool]] = defaultdict(set)
        for record, kind in zip(pool, strata or (), strict=False):
            sides[kind].add(record.name in held_out)
        everywhere = bool(sides) and all(len(side) == 2 for side in sides.values())
        notes.append(
            f"No validation split is given, so {len(splits['val'])} of {len(pool)} labelled pictures "
            f"{'is' if len(splits['val']) == 1 else 'are'} held out, {group_note}"
            f"{', with all kinds of picture in both parts' if everywhere else ''}; "
            "the same ones every time (write train.txt and val.txt to choose them yourself)."
        )
    elif "train" not in splits:
        rest = tuple(sorted(set(labelled) - taken))
        if not rest:
            raise UserError(
                f"{survey.root}: every labelled picture is held out, so none is left to train on; move some of them to "
                "train."
            )
        splits["train"] = rest
        notes.append(f"No training split is given, so it is the {len(rest)} labelled pictures in no other split.")
    return {split: splits[split] for split in SPLITS if split in splits}, notes


def _left_aside(survey: Survey, splits: Mapping[str, Sequence[str]], labels: bool) -> list[str]:
    """A sentence on each sort of file that is not used, so that nothing is dropped silently."""
    taken = {name for names in splits.values() for name in names}
    unlabelled = [record.name for record in survey.records if labels and not record.labelled]
    unlisted = [record.name for record in survey.labelled if record.name not in taken]
    sorts = (
        (unlabelled, "pictures without labels, which only methods that learn from such pictures use"),
        (unlisted, "labelled pictures that are in no split, which are not used"),
        (survey.orphans, f"{_orphans(survey)}, which are not read"),
        (survey.ignored, "picture files outside the folders of the dataset, which are not read"),
        (survey.missing, "entries of split lists or annotation files without a picture here"),
        (survey.ambiguous, "entries of split lists or annotation files that may mean several pictures"),
    )
    unread = unread_files(survey.root, survey.records)
    added = [f"{len(names)} {what}: {some(names, 3)}." for names, what in sorts if names]
    return added + ([f"Files of formats that are not read: {named(unread)}."] if unread else [])


def _orphans(survey: Survey) -> str:
    """What label files without a picture are."""
    return "pictures of b without one of that name in a" if _of_pairs(survey) else "masks without a picture"


def _of_pairs(survey: Survey) -> bool:
    return survey.coding is not None and survey.coding.kind == "pairs"


def unread_files(root: Path, records: Iterable[Record] = ()) -> tuple[PurePosixPath, ...]:
    """Files below a folder that hold pictures in formats that are not read, relative to it; see `data.foreign`.

    Args:
        records: records that are read anyway: their label files are left out.
    """
    labels = {file for record in records for file in record.labels}
    return tuple(file for file in picture_files(root, LAST_SUFFIXES) if format_of(file) and root / file not in labels)
