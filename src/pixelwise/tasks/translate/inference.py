"""Translation of files and samples, in one direction or in both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from pixelwise.data.domain import Domain
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.inference.forms import check_form
from pixelwise.inference.half_raster import HalfRaster
from pixelwise.inference.predictor import Inference, Progress, Written
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.inference.tiles import TileGrid
from pixelwise.inference.writer import MaskWriter
from pixelwise.models.spec import ModelSpec
from pixelwise.models.translate.translator import Direction, Translator
from pixelwise.tasks.translate.one_way import OneWay, TranslateOptions, TranslatePrediction, target_path


class TranslateInference(Inference[TranslatePrediction]):
    """Translation in one direction; for networks that translate both ways an evaluation also translates back.

    Args:
        domains: the pictures of a and of b, if the network was trained on `a-to-b`; otherwise of b and of a.

    Raises:
        UserError: a network of another task, a direction that the network does not have, or impossible options.
    """

    batch_size = 1

    def __init__(
        self, model: object, spec: ModelSpec, options: TranslateOptions, domains: tuple[Domain, Domain]
    ) -> None:
        if not isinstance(model, Translator):
            raise UserError(f"'{spec.model}' does not translate pictures; give a network of the task `translate`.")
        trained: Direction = getattr(model, "direction", "a-to-b")
        self.direction: Direction = options.direction or trained
        self.options = options
        self.turned = self.direction != trained
        generator = model.generator_for(self.direction)
        source, target = domains[::-1] if self.turned else domains
        forms = (turned(spec, domains[1]), spec) if self.turned else (spec, turned(spec, domains[1]))
        super().__init__(forms[0])
        self.forwards = OneWay(generator, forms[0], target, options)
        self.backwards: OneWay | None = None
        if model.both_ways:
            back: Direction = "b-to-a" if self.direction == "a-to-b" else "a-to-b"
            self.backwards = OneWay(model.generator_for(back), forms[1], source, options)

    @property
    def suffixes(self) -> dict[str, tuple[str, ...]]:
        return {"": (".png", ".tif")}

    @property
    def target(self) -> Domain:
        """The pictures that are made."""
        return self.forwards.target

    def grid(self, height: int, width: int) -> TileGrid:
        return self.forwards.grid(height, width)

    def prepare_sample(self, sample: Sample) -> Sample:
        return sample

    def predict(self, raster: Raster, picture: Picture) -> TranslatePrediction:
        return TranslatePrediction(self.forwards.translated(self._part(raster)))

    def measured(self, prepared: Sequence[Sample]) -> list[TranslatePrediction]:
        found = []
        for sample in prepared:
            source, other = (sample.partner, sample.image) if self.turned else (sample.image, sample.partner)
            assert source is not None
            picture = translated(self.forwards, source)
            if self.backwards is None or other is None:
                found.append(TranslatePrediction(picture))
                continue
            made = translated(self.backwards, other)
            rebuilt = translated(self.backwards, picture), translated(self.forwards, made)
            found.append(TranslatePrediction(picture, rebuilt[0], made, rebuilt[1]))
        return found

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        return Written((self.predict_file(file, target, progress=progress),))

    def predict_file(self, path: Path | str, out: Path | str, progress: Progress | None = None) -> Path:
        """Translates a file of any size without ever holding the whole picture or its translation in memory.

        Args:
            out: the result. Without .png or .tif at its end it becomes a PNG, or a TIFF if the translation is huge, of
                floats, or has other than 1 or 3 channels.

        Raises:
            UserError: the picture cannot be read or does not suit the network, or the result cannot be written or would
                overwrite the picture.
        """
        path, out = Path(path), Path(out)
        form = self.target.form
        out = target_path(out, form)
        if out.resolve() == path.resolve():
            raise UserError(f"{path}: the result would overwrite the picture itself; write it to another path.")
        with ExitStack() as stack:
            raster = stack.enter_context(open_raster(path))
            check_form(raster, self.spec)
            part = self._part(raster)
            writer = stack.enter_context(MaskWriter(out, part.height, part.width, np.dtype(form.dtype), form.channels))
            for rows in self.forwards.bands(part, progress):
                writer.write(rows)
        return writer.path

    def _part(self, raster: Raster) -> Raster:
        return raster if self.options.half == "none" else HalfRaster(raster, self.options.half)


def translated(way: OneWay, picture: np.ndarray) -> np.ndarray:
    """The translation of a picture (H, W, C) in memory."""
    with open_raster(picture) as raster:
        return way.translated(raster)


def turned(spec: ModelSpec, domain: Domain) -> ModelSpec:
    """The spec of a network that takes the pictures of another kind, normalised to -1..1."""
    channels = domain.form.channels
    return replace(
        spec,
        form=domain.form,
        mean=((domain.low + domain.high) / 2,) * channels,
        std=(domain.span / 2,) * channels,
    )
