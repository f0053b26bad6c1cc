"""Writes a corrected copy of a dataset. The originals are only read."""

from __future__ import annotations

import csv
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import tifffile

from pixelwise.atomic import new_folder
from pixelwise.data.class_table import ClassTable, class_table
from pixelwise.data.codings import MaskCoding, read_values
from pixelwise.data.doctor.colours import frequent, ids_of, nearest
from pixelwise.data.doctor.examination import Examination, examine_files
from pixelwise.data.doctor.look import Look, MaskLook
from pixelwise.data.doctor.mask_checks import mixed_binary, too_many_names
from pixelwise.data.formats.export import new_names
from pixelwise.data.formats.forms import majority_form, seen_channels
from pixelwise.data.formats.yolo_config import home_of
from pixelwise.data.listing import Faults, some
from pixelwise.data.order import Order
from pixelwise.data.orientation import upright
from pixelwise.data.pictures import KIND_SUFFIXES, PictureFormat, convert, read_ids, read_picture, write_png
from pixelwise.data.sample import VOID
from pixelwise.data.splits import groups
from pixelwise.errors import UserError

HELD_OUT_FIRST = ("test", "val", "train")


def fix(path: Path | str, out: Path | str, layout: str = "auto", rle_order: Order = "columns") -> list[str]:
    """Writes a copy that can be trained on: `images/`, `masks/` (`labels/` for objects), `classes.txt`, given splits.

    Pictures are upright, RGB or grey without alpha, and have the suffix of their true format. Masks are PNGs of class
    ids. What cannot be used is left out and listed with its reason in `left_out.txt`. Of pictures that occur several
    times one copy is kept, a held-out copy rather than a training copy.

    Args:
        path: the dataset's folder.
        out: a new or empty folder.
        layout, rle_order: as for `open_dataset`.

    Returns:
        What was done, in sentences.

    Raises:
        UserError: no such folder, `out` holds files or lies inside the dataset, or fewer than two usable pictures.
    """
    root, out = Path(path), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists already; give a new folder for the corrected copy.")
    if out.resolve().is_relative_to(home_of(root).resolve()):
        raise UserError(f"{out}: lies inside the dataset {root}; give a folder elsewhere for the corrected copy.")
    examination = examine_files(root, layout, rle_order)
    wording = examination.coding.wording
    if wording.by_hand:
        raise UserError(
            f"{root}: {wording.labels}; a corrected copy can only be made of pictures with masks. {wording.by_hand}"
        )
    plan = _plan(examination)
    if len(plan.kept) < 2:
        raise UserError(
            f"{root}: {len(plan.kept)} pictures can be used together with their masks, but at least two are needed, so "
            "there is nothing to write; `pixelwise check DATA` says what is wrong with the others."
        )
    with new_folder(out) as partial:
        return _write(plan, partial)


@dataclass(slots=True)
class _Plan:
    """The plan of a copy: the pictures that are kept, the class ids of their masks' values, whether some masks are in
    colour, and why other pictures are left out."""

    ex: Examination
    kept: list[Look] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    table: np.ndarray = field(default_factory=lambda: np.arange(256, dtype=np.uint8))
    colours: dict[int, int] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    in_colour: bool = False

    @property
    def objects(self) -> bool:
        return self.ex.coding.kind == "objects"


def _plan(ex: Examination) -> _Plan:
    plan = _Plan(ex, in_colour=any(mask.in_colour for mask in ex.masks))
    usable = []
    form = majority_form([look.record.picture for look in ex.looks if look.header]) if ex.sound else PictureFormat()
    for look in ex.looks:
        reason = _unusable(look, form, objects=plan.objects)
        if reason:
            plan.left_out[ex.relative(look.record.picture)] = reason
        else:
            usable.append(look)
    for orphan in ex.survey.orphans:
        plan.left_out[orphan] = "a mask without a picture"
    plan.kept = _without_copies(ex, usable, plan.left_out)
    if not plan.objects and ex.coding.kind != "layers":
        _plan_ids(plan)
    else:
        plan.class_names = ex.class_names or ("background", "object")
    return plan


def _unusable(look: Look, form: PictureFormat, *, objects: bool) -> str:
    """Why a picture cannot be part of the copy; empty if it can."""
    if look.damage:
        return f"the picture is {look.damage}"
    if not look.masks:
        return "no mask"
    for mask in look.masks:
        if mask.troubles:
            return f"its labels cannot be used: {' '.join(mask.troubles)}"
        if mask.damage:
            return f"its mask {mask.file.name} is {mask.damage}"
        if mask.size != look.size and not _is_turned(look, mask):
            return f"its mask {mask.file.name} has another size"
        if objects and mask.in_colour:
            return f"its mask {mask.file.name} is a colour picture, where objects are numbered"
        if not objects and mask.values is None and not mask.in_colour:
            return f"its mask {mask.file.name} holds values up to {mask.top}, which are not class ids"
    assert look.header is not None
    found = seen_channels(look.header)
    if found != form.channels and {found, form.channels} != {1, 3}:
        return f"{found} channels where most pictures have {form.channels}"
    return ""


def _is_turned(look: Look, mask: MaskLook) -> bool:
    """Whether the mask fits the picture as stored, before its EXIF orientation is applied."""
    assert look.header is not None
    assert look.size is not None
    return look.header.rotated and mask.size == look.size[::-1]


def _without_copies(ex: Examination, looks: list[Look], left_out: dict[str, str]) -> list[Look]:
    """One of each picture: a held-out one if there is one, else the first by name."""
    by_pixels = defaultdict(list)
    for look in looks:
        by_pixels[look.pixels].append(look)
    kept = []
    for same in by_pixels.values():
        same.sort(key=lambda look: (_split_rank(ex, look.record.name), look.record.name))
        kept.append(same[0])
        for copy in same[1:]:
            left_out[ex.relative(copy.record.picture)] = (
                f"the same picture as {ex.relative(same[0].record.picture)}, which is kept"
                + (f" in {split}" if (split := _split_of(ex, same[0].record.name)) else "")
            )
    return sorted(kept, key=lambda look: look.record.name)


def _split_of(ex: Examination, name: str) -> str:
    """The split that names a picture; the held-out one if several do."""
    return next((split for split in HELD_OUT_FIRST if name in ex.survey.given.get(split, ())), "")


def _split_rank(ex: Examination, name: str) -> int:
    return (*HELD_OUT_FIRST, "").index(_split_of(ex, name))


def _plan_ids(plan: _Plan) -> None:
    """Decides which stored value and which colour become which class id, and the names of the classes."""
    ex = plan.ex
    masks = [look.masks[0] for look in plan.kept]
    named = Faults().attempt(partial(class_table, ex.root), ClassTable())
    given = ex.survey.class_names
    stored = [mask for mask in masks if not _needs_colours(plan, mask)]
    values = {int(value) for mask in stored if mask.values is not None for value in np.flatnonzero(mask.values)}
    if isinstance(ex.coding, MaskCoding):
        plan.table = ex.coding.table()
    if VOID in values and not ex.halved and (ex.coding.kind == "binary" or too_many_names(ex) or mixed_binary(ex)):
        plan.table[VOID] = 1
        plan.notes.append("255 is written as class 1 in masks that hold only 0 and 255.")
    elif given is None and ex.coding.kind == "ids" and not ex.mapping and values - {VOID}:
        ids = sorted(values - {VOID})
        if 2 * len(ids) < ids[-1] + 1:
            plan.table[ids] = np.arange(len(ids))
            plan.notes.append(f"The values {some(ids)} of the masks are numbered from 0 in this order.")
    counts: Counter[int] = Counter()
    recoded = [mask for mask in masks if _needs_colours(plan, mask)]
    for mask in recoded:
        counts.update(mask.colours)
    if recoded:
        lossy = any(mask.lossy for mask in recoded) or len(counts) > VOID
        colours = frequent(counts) if lossy else list(counts)
        plan.colours = ids_of(colours, named)
        listed = [f"{_colour_name(colour)} = {class_id}" for colour, class_id in plan.colours.items()]
        plan.notes.append(
            f"{len(recoded)} masks in colour or with smoothed values are written as ids, every pixel by its "
            f"{'nearest frequent ' if lossy else ''}colour: {some(listed, 12)}."
        )
    plan.class_names = _names(plan, [*plan.table[sorted(values)].tolist(), *plan.colours.values()], named)


def _needs_colours(plan: _Plan, mask: MaskLook) -> bool:
    ex, given = plan.ex, plan.ex.survey.class_names
    if mask.colours and not mask.lossy:  # a mask that only shows black and white may belong to those in colour
        return plan.in_colour
    return mask.in_colour or (mask.lossy and not ex.halved and (given is None or mask.top >= len(given)))


def _colour_name(colour: int) -> str:
    return f"rgb({colour >> 16},{colour >> 8 & 255},{colour & 255})"


def _names(plan: _Plan, ids: list[int], named: ClassTable) -> tuple[str, ...]:
    """A name for every id: the given name, else the name of its colour, else `class N`."""
    ex = plan.ex
    top = max((class_id for class_id in ids if class_id != VOID), default=1)
    given = list(ex.survey.class_names or ())
    if not given and named.colours and plan.colours:
        given = list(named.names)
    if len(given) == 1:
        given = ["background", *given]
    if not given and top == 1 and not plan.colours:
        given = list(ex.class_names[:2]) if len(ex.class_names) == 2 else ["background", "foreground"]
    of_id = {class_id: _colour_name(colour) for colour, class_id in plan.colours.items()}
    names = given + [of_id.get(class_id, f"class {class_id}") for class_id in range(len(given), top + 1)]
    added = names[len(given) :]
    if given and added:
        plan.notes.append(f"classes.txt has {len(added)} new names for ids beyond the given ones: {some(added)}.")
    elif added and plan.colours:
        plan.notes.append("The classes are named after their colours; write better names into classes.txt.")
    return tuple(names)


def _write(plan: _Plan, out: Path) -> list[str]:
    ex = plan.ex
    names = new_names([look.record for look in plan.kept])
    masks = "labels" if plan.objects else "masks"
    (out / "images").mkdir()
    for look in plan.kept:
        _write_picture(look, out / "images", names[look.record.name])
        ids = _objects_of(look) if plan.objects else _ids_of(plan, look)
        write_png(out / masks / f"{names[look.record.name]}.png", ids)
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in plan.class_names), encoding="utf-8")
    done = [f"{len(plan.kept)} pictures with masks of {len(plan.class_names)} classes are written.", *plan.notes]
    given = {
        split: sorted(new for old, new in names.items() if _split_of(ex, old) == split) for split in ex.survey.given
    }
    if given.get("train") and given.get("val"):
        for split, members in given.items():
            (out / f"{split}.txt").write_text("".join(f"{name}\n" for name in members), encoding="utf-8")
        done.append("Splits are as given: " + ", ".join(f"{len(given[split])} {split}" for split in given) + ".")
    elif given:
        done.append("The given splits are not written, because train or val would be empty.")
    if (ex.root / "groups.csv").is_file() and not ex.obstacles:
        group_of, _ = groups(ex.root, ex.survey.records)
        with (out / "groups.csv").open("w", encoding="utf-8", newline="") as file:
            rows = zip(ex.survey.records, group_of, strict=True)
            csv.writer(file).writerows((names[r.name], group) for r, group in rows if r.name in names)
    if plan.left_out:
        lines = "".join(f"{file}\t{reason}\n" for file, reason in sorted(plan.left_out.items()))
        (out / "left_out.txt").write_text(lines, encoding="utf-8")
        done.append(f"{len(plan.left_out)} files are left out; left_out.txt lists them with the reasons.")
    return done


def _write_picture(look: Look, folder: Path, name: str) -> None:
    """Copies the file's bytes if they can be used as they are, else writes the pixels without loss."""
    assert look.header is not None
    header = look.header
    suffix = KIND_SUFFIXES.get(header.kind, (look.record.picture.suffix.lower(),))[0]
    target = folder / f"{name}{suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if not (header.rotated or header.has_alpha or header.mode == "CMYK"):
        shutil.copyfile(look.record.picture, target)
        return
    image = read_picture(look.record.picture)
    if (image.shape[2], str(image.dtype)) in {(1, "uint8"), (3, "uint8"), (1, "uint16")}:
        write_png(folder / f"{name}.png", image[:, :, 0] if image.shape[2] == 1 else image)
    else:
        photometric = "rgb" if image.shape[2] == 3 else "minisblack"
        tifffile.imwrite(folder / f"{name}.tif", image, photometric=photometric, planarconfig="contig")


def _ids_of(plan: _Plan, look: Look) -> np.ndarray:
    mask = look.masks[0]
    if plan.ex.coding.kind in ("shapes", "points", "layers"):
        assert look.size is not None
        return plan.ex.coding.decode_mask(look.record, *look.size)
    if _needs_colours(plan, mask):
        image = read_picture(mask.file)
        ids = nearest(convert(image, PictureFormat(3, "uint8"), mask.file), plan.colours)
    else:
        coding = plan.ex.coding
        stored = read_values(mask.file, plan.ex.palette)
        ids = plan.table[coding.in_a_byte(stored) if isinstance(coding, MaskCoding) else stored]
    return _upright(ids, look, mask)


def _objects_of(look: Look) -> np.ndarray:
    assert look.size is not None
    if len(look.masks) == 1:
        ids = _upright(read_ids(look.masks[0].file), look, look.masks[0])
        if ids.max(initial=0) > 65535:
            ids = np.unique(ids, return_inverse=True)[1].reshape(ids.shape)
        return ids.astype(np.uint16)
    ids = np.zeros(look.size, np.uint16)
    for number, mask in enumerate(look.masks, start=1):
        ids[_upright(read_ids(mask.file), look, mask) > 0] = number
    return ids


def _upright(ids: np.ndarray, look: Look, mask: MaskLook) -> np.ndarray:
    """Turns a mask that fits the picture as stored in the same way as the picture."""
    if mask.size == look.size or not _is_turned(look, mask):
        return ids
    assert look.header is not None
    return upright(ids, look.header.orientation)
