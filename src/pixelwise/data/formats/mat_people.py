"""How LSP, MPII and FLIC store people in MATLAB files.

| file | variable | what it holds |
|---|---|---|
| LSP `joints.mat` | `joints` 3 x 14 x N | x, y and whether the joint is occluded |
| LSP extended `joints.mat` | `joints` 14 x 3 x N | x, y and whether the joint is visible |
| MPII `mpii_human_pose_v1_u12_1.mat` | `RELEASE` | pictures with people: joints by id, scale, place, head box |
| FLIC `examples.mat` | `examples` | people: 2 x 29 coordinates, torso box, the name of the picture |
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.joints import FLIC, FLIC_COLUMNS, HIDDEN, LSP, MPII, VISIBLE, Joints
from pixelwise.data.people import Person
from pixelwise.errors import UserError

_NAMES = re.compile(r"(joints|examples|mpii_human_pose.*)\.mat", re.IGNORECASE)
"""The names of the files as the data sets are downloaded."""
_DAMAGE = (
    ValueError,
    TypeError,
    OSError,
    NotImplementedError,
    EOFError,
    IndexError,
    KeyError,
    zlib.error,
)
"""What scipy raises for damaged files, and for files of version 7.3."""
PERSON_HEIGHT = 200.0
"""Height in pixels of a person of MPII whose `scale` is 1 (Andriluka et al., CVPR 2014, the data's own description)."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One picture of a file.

    Attributes:
        picture: its name; empty if pictures are numbered.
        people: the people with a joint.
        split: `train` or `test`, if the file states it.
    """

    picture: str
    people: tuple[Person, ...]
    split: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class MatFile:
    """The pictures of a file, the joints of all people in it, and sentences on how the file was read."""

    joints: Joints
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


def holds_people(file: Path) -> bool:
    """Whether a MATLAB file has one of the variables, or cannot be read and has the name of a file that should."""
    try:
        return bool(_variable(file))
    except UserError:
        return _NAMES.fullmatch(file.name) is not None


def _damage() -> tuple[type[Exception], ...]:
    from scipy.io.matlab import MatReadError

    return (*_DAMAGE, MatReadError)


def _variable(file: Path) -> str:
    """The variable that holds the people; empty if there is none.

    Raises:
        UserError: the file is damaged, or of MATLAB's version 7.3.
    """
    from scipy.io import whosmat  # imported where it is used: few folders hold such files

    try:
        names = {name for name, *_ in whosmat(file)}
    except _damage() as error:
        raise _unreadable(file, error) from None
    return next((name for name in KINDS if name in names), "")


def _unreadable(file: Path, error: Exception) -> UserError:
    if isinstance(error, NotImplementedError):
        return UserError(f"{file}: of MATLAB's version 7.3, which is not read; save it again with `save(..., '-v7')`.")
    reason = " ".join(str(error).split())
    return UserError(f"{file}: cannot be read as a MATLAB file ({reason}); copy it again.")


def read_mat(file: Path) -> MatFile:
    """Reads the people of a file of LSP, MPII or FLIC.

    Raises:
        UserError: the file is damaged, or its arrays have a shape that none of the data sets has.
    """
    from scipy.io import loadmat

    name = _variable(file)
    try:
        content = loadmat(file, squeeze_me=True, struct_as_record=False, variable_names=[name])[name]
    except _damage() as error:
        raise _unreadable(file, error) from None
    try:
        return KINDS[name](file, content)
    except AttributeError as error:  # a struct without a field
        raise UserError(f"{file}: '{name}' lacks a field that this data set has ({error}).") from None


def _lsp(file: Path, content: Any) -> MatFile:
    """The joints of LSP and its extension, distinguished by the more common value of their flags."""
    joints = np.asarray(content)
    if joints.ndim == 2:  # a single picture loses its axis
        joints = joints[:, :, None]
    if joints.ndim != 3 or sorted(joints.shape[:2]) != [3, len(LSP)] or joints.dtype.kind not in "fiu":
        shape = " x ".join(map(str, joints.shape))
        raise UserError(f"{file}: 'joints' is {shape}, expected 14 x 3 x pictures or 3 x 14 x pictures.")
    if joints.shape[0] == 3:
        joints = joints.transpose(1, 0, 2)
    joints = joints.transpose(2, 0, 1).astype(np.float64)  # (N, 14, 3)
    flags = joints[..., 2] > 0
    shown = flags.mean() >= 0.5
    if shown:
        note = "1 means that a joint is annotated (LSP's extension), as most joints are; joints with 0 have no position"
        known = np.where(flags, VISIBLE, 0)
    else:
        note = (
            "1 means that a joint is occluded (LSP), as most joints are not; the positions of occluded joints are used"
        )
        known = np.where(flags, HIDDEN, VISIBLE)
    known = np.where(np.isfinite(joints[..., :2]).all(-1), known, 0)
    keypoints = np.concatenate([np.nan_to_num(joints[..., :2]), known[..., None]], -1).astype(np.float32)
    entries = []
    for number, own in enumerate(keypoints, start=1):
        own[own[:, 2] == 0] = 0
        people = (Person(own, entry=f"picture {number}"),) if own[:, 2].any() else ()
        entries.append(Entry("", people))
    return MatFile(LSP, tuple(entries), (f"The third number of each joint in {file.name}: {note}.",))


def _mpii(file: Path, content: Any) -> MatFile:
    pictures = _all(content.annolist)
    trained = np.atleast_1d(content.img_train)
    if len(trained) != len(pictures):
        raise UserError(
            f"{file}: 'img_train' has entries for {len(trained)} pictures, but there are {len(pictures)}; "
            "download the file again."
        )
    entries, bare = [], 0
    for number, (picture, is_train) in enumerate(zip(pictures, trained, strict=True), start=1):
        people = []
        for place, person in enumerate(_all(getattr(picture, "annorect", ())), start=1):
            found = _mpii_person(file, person, f"picture {number}, person {place}")
            if found is None:
                bare += 1
            else:
                people.append(found)
        entries.append(Entry(str(picture.image.name), tuple(people), "train" if is_train else "test"))
    notes: tuple[str, ...] = (
        "The box of each person of MPII is a square at the stated position, with the size given by the stated scale.",
    )
    if bare:
        notes += (f"{bare} people of {file.name} have no joints (MPII does not publish those of its test pictures).",)
    return MatFile(MPII, tuple(entries), notes)


def _mpii_person(file: Path, person: Any, entry: str) -> Person | None:
    """A person of MPII; None without joints."""
    points = _all(getattr(getattr(person, "annopoints", None), "point", ()))
    keypoints = np.zeros((len(MPII), 3), np.float32)
    for point in points:
        joint = int(point.id)
        if not 0 <= joint < len(MPII):
            raise UserError(f"{file}, {entry}: joint id {joint} found, expected 0 to {len(MPII) - 1}.")
        seen = getattr(point, "is_visible", 1)
        hidden = np.size(seen) == 1 and str(np.ravel(seen)[0]) in ("0", "0.0")
        keypoints[joint] = float(point.x), float(point.y), HIDDEN if hidden else VISIBLE
    if not keypoints[:, 2].any():
        return None
    box = None
    scale, place = getattr(person, "scale", ()), getattr(person, "objpos", None)
    if np.size(scale) == 1 and place is not None and np.size(getattr(place, "x", ())) == 1:
        half = PERSON_HEIGHT * float(np.ravel(scale)[0]) / 2
        x, y = float(place.x), float(place.y)
        box = np.array([x - half, y - half, x + half, y + half], np.float32)
    edges = [getattr(person, name, ()) for name in ("x1", "y1", "x2", "y2")]
    head = None
    if all(np.size(edge) == 1 for edge in edges):
        head = np.array([float(np.ravel(edge)[0]) for edge in edges], np.float32)
    return Person(keypoints, box, head, entry)


def _flic(file: Path, content: Any) -> MatFile:
    entries, lost = [], 0
    for number, example in enumerate(_all(content), start=1):
        coordinates = np.asarray(example.coords, np.float64)
        if coordinates.ndim != 2 or coordinates.shape[0] != 2 or coordinates.shape[1] <= max(FLIC_COLUMNS):
            shape = " x ".join(map(str, coordinates.shape))
            raise UserError(f"{file}, example {number}: 'coords' is {shape}, expected 2 x 29.")
        points = coordinates[:, FLIC_COLUMNS].T
        known = np.asarray(np.isfinite(points).all(axis=1))
        others = np.delete(coordinates, FLIC_COLUMNS, axis=1)
        lost += int(np.isfinite(others).all(0).sum())
        keypoints = np.concatenate([np.where(known[:, None], points, 0), VISIBLE * known[:, None]], 1)
        box = np.asarray(getattr(example, "torsobox", ()), np.float32).ravel()
        person = Person(keypoints.astype(np.float32), _around(box, keypoints), entry=f"example {number}")
        split = next((name for name in ("train", "test") if _is_set(getattr(example, f"is{name}", 0))), "")
        entries.append(Entry(str(example.filepath), (person,) if known.any() else (), split))
    notes: tuple[str, ...] = ("The box of each person holds FLIC's torso box and all annotated joints.",)
    if lost:
        notes += (f"{lost} coordinates of joints other than the {len(FLIC)} usual ones are not read.",)
    return MatFile(FLIC, tuple(entries), notes)


def _around(box: np.ndarray, keypoints: np.ndarray) -> np.ndarray | None:
    """A box enlarged to hold the joints; None if there is no box."""
    known = keypoints[keypoints[:, 2] > 0, :2]
    if box.shape != (4,) or not np.isfinite(box).all() or not len(known):
        return None
    return np.concatenate([np.minimum(box[:2], known.min(0)), np.maximum(box[2:], known.max(0))]).astype(np.float32)


def _is_set(flag: Any) -> bool:
    return np.size(flag) == 1 and bool(np.ravel(flag)[0])


def _all(value: Any) -> list[Any]:
    """The members of a struct array, which is read as one struct, an array of structs, or an empty array."""
    return list(np.asarray(value, object).ravel())


KINDS: dict[str, Callable[[Path, Any], MatFile]] = {"joints": _lsp, "RELEASE": _mpii, "examples": _flic}
"""The variable that holds the people -> the function that reads it."""
