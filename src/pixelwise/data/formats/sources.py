"""Pictures that several places in the annotation files describe: repeated entries count once, versions are detected.

A source is one place that describes a picture: an entry of COCO's `images`, a LabelMe JSON, the rows of a table. If a
picture has several sources,

- a shape (label and region) that is written twice counts once, even within one source;
- two files that share a shape of any picture are versions of each other: if each holds shapes that the other lacks, it
  is not known which of them is right, which is a fault, and the picture is broken;
- two files that share no shape add up, like files for one class each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from pixelwise.data.listing import counted, some
from pixelwise.data.regions import Broken, Region, content, reach
from pixelwise.data.shapes import Drawing, Shape

Pair = frozenset[Path]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A region with its label, before labels have class ids; the other attributes are those of `Shape`."""

    label: str
    region: Region
    entry: str
    crowd: bool = False
    difficult: bool = False
    keypoints: np.ndarray | None = None

    @property
    def content(self) -> Hashable:
        """Equal for two entries with the same label and region."""
        joints = None if self.keypoints is None else self.keypoints.tobytes()
        return self.label, self.crowd, self.difficult, content(self.region), joints


@dataclass(slots=True, eq=False)
class Source:
    """The labels that one place gives to a picture.

    Attributes:
        file: the annotation file.
        entry: the entry in it, such as `image 7`; empty if the whole file describes the picture.
        size: (height, width) of the picture as stated there; None if it is not.
        shapes: in the file's order.
    """

    file: Path
    entry: str = ""
    size: tuple[int, int] | None = None
    shapes: list[Labelled] = field(default_factory=list)

    @property
    def contents(self) -> frozenset[Hashable]:
        """Its shapes, without broken shapes, which are reported as such."""
        return frozenset(shape.content for shape in self.shapes if not isinstance(shape.region, Broken))

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(shape.label for shape in self.shapes)


@dataclass(frozen=True, slots=True)
class Merged:
    """The shapes of all pictures.

    Attributes:
        drawings: by the name of the record.
        notes: on entries that were counted once.
        guesses: on files that differ and are taken together.
        faults: on sources that contradict each other.
    """

    drawings: dict[str, Drawing]
    notes: tuple[str, ...]
    guesses: tuple[str, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Conflict:
    """An entry that contradicts another one, and why."""

    entry: str
    why: str


class Sources:
    """The sources of all pictures, in the order in which they were read.

    Args:
        root: the dataset's folder.
        add_up: whether several files may each hold a part of a picture's shapes.
    """

    def __init__(self, root: Path, *, add_up: bool = True) -> None:
        self._root = root
        self._add_up = add_up
        self._of: dict[str, list[Source]] = defaultdict(list)

    def __bool__(self) -> bool:
        return bool(self._of)

    def add(self, name: str, source: Source) -> None:
        """Adds a source of the record of this name."""
        self._of[name].append(source)

    def merged(self, ids: Mapping[str, int], refused: Mapping[str, str]) -> Merged:
        """One drawing per picture.

        Args:
            ids: label -> class id.
            refused: label -> why it has no id; shapes with such a label are broken.
        """
        versions = self._versions()
        repeats = 0
        drawings, mixed, conflicts = {}, {}, {}
        for name, sources in self._of.items():
            shapes = list(self._once(sources))
            repeats += sum(len(source.shapes) for source in sources) - len(shapes)
            conflict = self._conflict(sources, versions)
            if conflict is not None:
                shapes.append(Labelled("", Broken(conflict.why), conflict.entry))
                conflicts[name] = conflict
            elif any(self._differ(one, other, versions) for one, other in combinations(sources, 2)):
                mixed[name] = sources
            drawings[name] = Drawing(
                sources[0].file,
                tuple(_shape(shape, ids, refused) for shape in shapes),
                next((source.size for source in sources if source.size is not None), None),
                tuple(dict.fromkeys(source.file for source in sources if source.file != sources[0].file)),
            )
        note = counted(
            repeats,
            "entry repeats another one of its picture and counts once.",
            "entries repeat others of their pictures and count once.",
        )
        notes = (note,) if repeats else ()
        guesses = (*self._mixed(mixed), *self._two_labels())
        return Merged(drawings, notes, guesses, (*_faults(drawings, conflicts), *self._fractions()))

    def _once(self, sources: Sequence[Source]) -> Iterator[Labelled]:
        """Every shape at its first occurrence, and all broken ones."""
        seen: set[Hashable] = set()
        for source in sources:
            for shape in source.shapes:
                if isinstance(shape.region, Broken) or shape.content not in seen:
                    seen.add(shape.content)
                    yield replace(shape, entry=self._entry(shape.entry, source, sources))

    def _entry(self, entry: str, source: Source, sources: Sequence[Source]) -> str:
        """The entry, with its file if that is not the first one."""
        return entry if source.file == sources[0].file else f"{entry} of {self._name(source.file)}"

    def _name(self, file: Path) -> str:
        return file.relative_to(self._root).as_posix()

    def _versions(self) -> frozenset[Pair]:
        """The pairs of files that share a shape."""
        pairs: set[Pair] = set()
        for sources in self._of.values():
            for one, other in combinations(sources, 2):
                pair = frozenset((one.file, other.file))
                if pair not in pairs and one.contents & other.contents:
                    pairs.add(pair)
        return frozenset(pairs)

    def _conflict(self, sources: Sequence[Source], versions: frozenset[Pair]) -> _Conflict | None:
        """The first two sources that contradict each other."""
        for one, other in combinations(sources, 2):
            where = f"{one.entry} of {self._name(one.file)}" if one.entry else self._name(one.file)
            if one.size is not None and other.size is not None and one.size != other.size:
                why = f"the picture is {_size(other.size)} here, but {_size(one.size)} in {where} (width x height)"
            elif self._contradict(one, other, versions):
                why = f"the shapes of this picture differ from those in {where}"
            else:
                continue
            entry = self._entry(other.entry or "all shapes", other, sources)
            return _Conflict(entry, f"{why}, and it is not known which is right; remove one of the two.")
        return None

    def _contradict(self, one: Source, other: Source, versions: frozenset[Pair]) -> bool:
        first, second = one.contents, other.contents
        if one.file == other.file:
            return bool(first and second) and first != second
        if not self._add_up:
            return first != second
        related = frozenset((one.file, other.file)) in versions
        return related and not (first <= second or second <= first)

    def _differ(self, one: Source, other: Source, versions: frozenset[Pair]) -> bool:
        """Whether two files that do not contradict each other may still be versions of each other."""
        if one.file == other.file or one.contents == other.contents:
            return False
        return frozenset((one.file, other.file)) in versions or bool(one.labels & other.labels)

    def _two_labels(self) -> Iterator[str]:
        """A sentence on pictures in which one outline has two labels."""
        found = []
        for name, sources in self._of.items():
            labels: dict[Hashable, set[str]] = defaultdict(set)
            for shape in (shape for source in sources for shape in source.shapes):
                if not isinstance(shape.region, Broken):
                    labels[content(shape.region)].add(shape.label)
            found += [f"{name}: {' and '.join(sorted(several))}" for several in labels.values() if len(several) > 1]
        if found:
            yield (
                f"{counted(len(found), 'outline has', 'outlines have')} two labels or more ({some(found, 3)}), of "
                "which the last is on top; remove the wrong ones."
            )

    def _fractions(self) -> Iterator[str]:
        """A sentence on outlines that are written as fractions of the picture's sides."""
        shapes = [shape for sources in self._of.values() for source in sources for shape in source.shapes]
        ends = [value for shape in shapes for value in reach(shape.region) or ()]
        if max(ends, default=2) <= 1 and any(value % 1 for value in ends):
            yield (
                f"{next(iter(self._of.values()))[0].file}: all coordinates are at most 1, as if they were fractions of "
                "the picture's sides, but pixels are expected; multiply them by width and height."
            )

    def _mixed(self, mixed: Mapping[str, Sequence[Source]]) -> Iterator[str]:
        if mixed:
            files = dict.fromkeys(self._name(source.file) for sources in mixed.values() for source in sources)
            yield (
                f"{counted(len(mixed), 'picture has', 'pictures have')} different shapes in several files "
                f"({some(list(files), 3)}), which are taken together ({some(list(mixed), 3)}); if one file is an older "
                "version of another, move it out of the folder."
            )


def _faults(drawings: Mapping[str, Drawing], conflicts: Mapping[str, _Conflict]) -> Iterator[str]:
    """One sentence on the first conflict, with the number of the others."""
    for name, conflict in conflicts.items():
        more = len(conflicts) - 1
        others = f" The same holds for {counted(more, 'other picture', 'other pictures')}." if more else ""
        yield f"{drawings[name].file}, {conflict.entry} ({name}): {conflict.why}{others}"
        return


def _shape(shape: Labelled, ids: Mapping[str, int], refused: Mapping[str, str]) -> Shape:
    if isinstance(shape.region, Broken):
        return Shape(0, shape.region, entry=shape.entry)
    if shape.label in refused:
        return Shape(0, Broken(refused[shape.label]), entry=shape.entry)
    return Shape(ids[shape.label], shape.region, shape.crowd, shape.entry, shape.difficult, shape.keypoints)


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
