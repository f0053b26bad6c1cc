"""Pictures with their masks, as found by one of the ways of pairing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pixelwise.data.listing import some
from pixelwise.data.path_words import PathMeaning, without_suffix

ParsedFile = tuple[PurePosixPath, PathMeaning]


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which masks belong to which picture; paths are relative to the root.

    Attributes:
        pairs: (picture, its masks, split or empty), sorted by picture.
        orphans: masks without a picture.
        ignored: files that are neither.
        layers: mask -> the part that its name or folder adds to the picture's, if pictures have several masks.
        guesses: sentences on what the look of files decided.
    """

    pairs: tuple[tuple[PurePosixPath, tuple[PurePosixPath, ...], str], ...] = ()
    orphans: tuple[PurePosixPath, ...] = ()
    ignored: tuple[PurePosixPath, ...] = ()
    layers: Mapping[PurePosixPath, str] = field(default_factory=dict)
    guesses: tuple[str, ...] = ()

    @property
    def masked(self) -> int:
        """How many pictures have a mask."""
        return sum(bool(masks) for _, masks, _ in self.pairs)


def make_pairing(
    pictures: Sequence[ParsedFile],
    chosen: Mapping[PurePosixPath, Sequence[ParsedFile]],
    masks: Sequence[ParsedFile],
    ignored: Sequence[PurePosixPath],
    layers: Mapping[PurePosixPath, str],
) -> Pairing:
    """Sorts files into pairs, masks without a picture, and files that are neither.

    Args:
        pictures, masks: the files, with the meaning of their paths.
        chosen: picture -> its masks.
        ignored, layers: as in `Pairing`.
    """
    used = {file for found in chosen.values() for file, _ in found}
    return Pairing(
        pairs=tuple(
            (
                file,
                tuple(mask for mask, _ in chosen.get(file, ())),
                where.split or next((its.split for _, its in chosen.get(file, ())), ""),
            )
            for file, where in sorted(pictures)
        ),
        orphans=tuple(file for file, _ in masks if file not in used),
        ignored=tuple(ignored),
        layers=layers,
    )


def how_paired(looked: Sequence[tuple[Path, Path]], root: Path, by: str) -> str:
    """The guess that pictures and masks belong together.

    Args:
        by: the evidence for it.
    """
    shown = [f"{picture.relative_to(root)} with {mask.relative_to(root)}" for picture, mask in looked]
    return (
        f"Pictures and masks are paired by {by}: {some(shown, 2)}. If that is wrong, put the pictures into images/ and "
        "the masks into masks/ under the names of their pictures."
    )


def spellings(key: str) -> tuple[str, ...]:
    """The keys that the name of a mask may state: `x.jpg` and `x` for a mask called x.jpg.png."""
    return tuple(dict.fromkeys((key, without_suffix(key))))


def same_split(picture: PathMeaning, mask: PathMeaning) -> bool:
    """Whether both belong to one split, as far as their folders state it."""
    return picture.split == mask.split or not picture.split or not mask.split
