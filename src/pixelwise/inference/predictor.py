"""The predictor of every task: a trained network ready to predict pictures of any size and kind."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pixelwise import notebook
from pixelwise.atomic import write_text
from pixelwise.data.pictures import convert, write_png
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.inference.forms import check_form
from pixelwise.inference.many import complain, each, refuse_to_overwrite, write_rows
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.inference.tiles import Span, TileGrid
from pixelwise.inference.writer import output_names
from pixelwise.models.spec import ModelSpec

Progress = Callable[[float], None]


class InferenceOptions(BaseModel):
    """Options of prediction that every task has; tasks add their own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field("auto", description="auto, or a name that torch accepts, such as cpu or cuda:1")
    precision: str = Field("auto", description="float32, bfloat16, or auto: bfloat16 if the processor multiplies it")


class Prediction:
    """The prediction for one picture.

    Attributes:
        columns: the names of the columns of `rows`.
    """

    columns: ClassVar[Sequence[str]] = ()

    def rows(self) -> Sequence[Sequence[object]]:
        """The prediction's rows in the table of all pictures, without the picture's name; empty for tasks without a
        table."""
        return ()

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8: the prediction drawn over the picture.

        Raises:
            NotImplementedError: the prediction has no positions that could be drawn.
        """
        raise NotImplementedError(f"a {type(self).__name__} has no positions to draw over the picture")

    def _repr_html_(self) -> str:
        """What a notebook shows: the prediction drawn over the picture if it has positions, and its rows."""
        drawn = type(self).overlay is not Prediction.overlay
        picture = notebook.picture(self.overlay(), "the prediction over the picture") if drawn else ""
        return picture + (notebook.table(self.columns, self.rows()) if self.columns else "")


P = TypeVar("P", bound=Prediction)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written for one picture.

    Attributes:
        files: the files that are reported to the user.
        rows: rows of the table, without the picture's name.
        entry: the picture's part of the document, in the form that `Inference.document_of` takes.
    """

    files: tuple[Path, ...] = ()
    rows: Sequence[Sequence[object]] = ()
    entry: Any = None


class Inference(ABC, Generic[P]):
    """How the networks of one task predict, and which files are written for a prediction.

    Attributes:
        batch_size: how many pictures `measured` takes at once.
        table: name of the table of all pictures; None for no table.
        columns: the columns of that table after the picture's name.
        document: name of the JSON file of all pictures; None for no such file.
        suffixes: the files of one picture: word appended to the picture's name (empty for none) -> the suffixes that
            the writer may choose from.
    """

    batch_size: int = 1
    table: str | None = None
    columns: Sequence[str] = ()
    document: str | None = None

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    @property
    def suffixes(self) -> Mapping[str, tuple[str, ...]]:
        return {}

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """A picture (H, W, C) in the spec's form -> the form that `measured` takes."""
        return image

    def write_overlay(self, found: P, target: Path) -> None:
        """Writes NAME_overlay.png: the prediction drawn over its picture.

        Args:
            target: path of the results of the picture, without a suffix.
        """
        drawn = target.with_name(f"{target.name}_overlay.png")
        drawn.parent.mkdir(parents=True, exist_ok=True)
        write_png(drawn, found.overlay())

    def prepare_sample(self, sample: Sample) -> Any:
        """A sample in the form that `measured` takes: `prepare` of its picture, unless the labels give windows."""
        return self.prepare(sample.image)

    def grid(self, height: int, width: int) -> TileGrid:
        """The tiles in which a picture of this size is predicted; by default a single tile."""
        return TileGrid((Span(0, height, 0, height),), (Span(0, width, 0, width),), ramp=0)

    @abstractmethod
    def predict(self, raster: Raster, picture: Picture) -> P:
        """The prediction for an open picture with the channels and values that the network takes.

        Args:
            picture: the picture that was opened as `raster`.

        Raises:
            UserError: a picture that is too large, or cannot be read.
        """

    def measured(self, prepared: Sequence[Any]) -> list[P]:
        """The predictions for pictures from `prepare_sample`, for an evaluation. They include uncertain objects, which
        `predict` leaves out."""
        answers = []
        for image in prepared:
            with open_raster(image) as raster:
                answers.append(self.predict(raster, image))
        return answers

    @abstractmethod
    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        """Predicts one file and writes the results that belong to this file alone.

        Args:
            target: path of the results, without suffix.

        Raises:
            UserError: a picture that cannot be read, does not suit the network or is too large.
        """

    def document_of(self, entries: Sequence[tuple[str, Any]]) -> Any:
        """The content of `document` as plain JSON values.

        Args:
            entries: name and entry of each picture.
        """
        raise NotImplementedError(f"{type(self).__name__} writes no document")


class Predictor(Generic[P]):
    """A network ready to predict pictures of any size and kind.

    Attributes:
        inference: how the network predicts.
        spec: the input and output of the network.
        class_names: class names by class id.
    """

    def __init__(self, inference: Inference[P]) -> None:
        self.inference = inference
        self.spec = inference.spec
        self.class_names = inference.spec.class_names

    def __call__(self, picture: Picture) -> P:
        """The prediction for a file, an array (H, W) or (H, W, C), or a Pillow image, of any mode and size.

        Raises:
            UserError: a picture that cannot be read, does not suit the network, or is too large for the options.
        """
        with open_raster(picture) as raster:
            check_form(raster, self.spec)
            return self.inference.predict(raster, picture)

    def grid(self, height: int, width: int) -> TileGrid:
        """The tiles in which a picture of this size is predicted."""
        return self.inference.grid(height, width)

    def read(self, picture: Picture) -> np.ndarray:
        """A picture in the form of the network's input, before normalisation.

        Raises:
            UserError: as in a call.
        """
        with open_raster(picture) as raster:
            check_form(raster, self.spec)
            pixels = raster.read(0, raster.height, 0, raster.width)
            return self.inference.prepare(convert(pixels, self.spec.form, raster.name))

    def predict_file(self, path: Path | str, out: Path | str, **extras: Any) -> Path:
        """Predicts a file of any size without holding it in memory; for networks that predict every pixel.

        Args:
            extras: further files to write, see `predict_file` of the task's inference.

        Raises:
            UserError: the network writes no file per picture, or an error of the task's `predict_file`.
        """
        if not hasattr(self.inference, "predict_file"):
            raise UserError(f"{path}: '{self.spec.model}' writes no file per picture; call it, or use write_all.")
        inference: Any = self.inference
        written: Path = inference.predict_file(path, out, **extras)
        return written

    def write_all(
        self, files: Sequence[Path], root: Path, out: Path, progress: Progress = lambda done: None
    ) -> list[Path]:
        """Predicts files one after the other and writes the results, in bounded memory.

        A result is named after the picture's path below `root`. One bad picture does not stop the others.

        Returns:
            The result files of the pictures; if there are none, the table.

        Raises:
            UserError: two results with the same name, or a result that exists already (raised before anything is
                written); or pictures that failed (raised after all others are written).
        """
        inference = self.inference
        names = output_names(files, root)
        _refuse_collisions(names, inference.suffixes)
        table = None if inference.table is None else out / inference.table
        document = None if inference.document is None else out / inference.document
        refuse_to_overwrite(
            [
                *(file for file in (table, document) if file is not None),
                *(out / result for name in names for result in _results(name, inference.suffixes)),
            ]
        )
        written: list[Path] = []
        rows: list[Sequence[object]] = []
        entries: list[tuple[str, Any]] = []

        def work(number: int, file: Path) -> None:
            done = inference.write(file, out / names[number], lambda share: progress((number + share) / len(files)))
            written.extend(done.files)
            picture = file.relative_to(root.absolute()).as_posix()
            rows.extend((picture, *row) for row in done.rows)
            entries.append((picture, done.entry))

        failed = each(files, work, progress)
        if table is not None:
            write_rows(table, ("picture", *inference.columns), rows)
        if document is not None:
            write_text(document, json.dumps(inference.document_of(entries)) + "\n")
        complain(failed, len(files))
        return written or ([] if table is None else [table])


def _results(name: str, suffixes: Mapping[str, tuple[str, ...]]) -> list[str]:
    """All file names that the results of one picture may have."""
    return [f"{name}_{word}{end}" if word else f"{name}{end}" for word, ends in suffixes.items() for end in ends]


def _refuse_collisions(names: Sequence[str], suffixes: Mapping[str, tuple[str, ...]]) -> None:
    """Checks that all results have different names.

    Raises:
        UserError: an additional result of one picture has the name of another picture's result.
    """

    taken = {name.lower() for name in names} if "" in suffixes else set()
    for name in names:
        for word in suffixes:
            if word and f"{name}_{word}".lower() in taken:
                raise UserError(
                    f"{name}_{word}: the {word} of '{name}' and the mask of another picture would have the same name; "
                    f"predict the two into different folders, or leave out --{word}."
                )
