"""Inference by generative models: reconstructions of given pictures, and new pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from pixelwise.data.fit import Centre
from pixelwise.data.pictures import FULL_RANGE, as_dtype, convert, write_png
from pixelwise.data.value_colours import coloured_over
from pixelwise.data.values import write_map
from pixelwise.errors import UserError
from pixelwise.inference.engine import device_and_dtype
from pixelwise.inference.forms import check_form
from pixelwise.inference.predictor import Inference, InferenceOptions, P, Prediction, Progress, Written
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.finite import check_answer

SAMPLES = 100
"""Codes that are sampled per picture for the importance-weighted bound."""
BOUNDED = 256
"""Default for the number of pictures for which an evaluation computes this bound."""


@dataclass(frozen=True, slots=True, eq=False)
class BoundPrediction(Prediction):
    """The outputs of a model with codes for one picture.

    Attributes:
        reconstruction, kl: terms of the negative ELBO in nats.
        bound: importance-weighted bound on the log-likelihood in nats; NaN if it was not computed.
        code: (D,) float32, the mean of the code's distribution.
        seen: (H, W, C), the picture at the network's size, in the units of the files; None in validation.
        picture: (H, W, C), its reconstruction; None in validation.
        surprise: (H, W) float32, the negative log-probability of each pixel given the code, in nats, summed over
            colours; None in validation.
    """

    reconstruction: float
    kl: float
    bound: float = math.nan
    code: np.ndarray | None = None
    seen: np.ndarray | None = None
    picture: np.ndarray | None = None
    surprise: np.ndarray | None = None

    def rows(self) -> list[list[str]]:
        values = (self.reconstruction + self.kl, *(self.code if self.code is not None else ()))
        return [[f"{value:.6g}" for value in values]]

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8: the surprise in colours over the picture, bright for the most surprising pixel."""
        assert self.seen is not None
        assert self.surprise is not None
        return coloured_over(self.seen, self.surprise, 0.0, float(self.surprise.max()))


@dataclass(frozen=True, slots=True, eq=False)
class PairPrediction(Prediction):
    """A real and a generated picture, each (C, H, W) float32 with the network's normalisation."""

    real: np.ndarray
    generated: np.ndarray


class GenerateOptions(InferenceOptions):
    """Options of inference by generative models."""

    overlay: bool = Field(False, description="also write NAME_overlay.png, the surprise in colours over the picture")
    bound_pictures: int = Field(
        BOUNDED, ge=0, description="pictures of an evaluation for which a VAE's importance-weighted bound is computed"
    )


class PictureModel(Inference[P]):
    """Base class of inference by generative models: conversion of pictures to the network's form and back."""

    batch_size = 64

    def __init__(self, model: nn.Module, spec: ModelSpec, options: GenerateOptions) -> None:
        if spec.input_size is None or not (hasattr(model, "sample") or hasattr(model, "decode")):
            raise UserError(f"'{spec.model}' does not generate pictures; give a network of the task `generate`.")
        super().__init__(spec)
        self.options = options
        self.device, _ = device_and_dtype(options.device, options.precision)
        self.model: Any = model.eval().to(self.device)
        self._fit = Centre(spec.input_size)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return self._fit.image(image)

    def write_surprise(self, found: P, target: Path) -> list[Path]:
        """Writes the surprise of a prediction as a float32 TIFF, and with the option `overlay` over its picture."""
        out = target.with_name(f"{target.name}_surprise.tif")
        write_map(out, found.surprise)  # type: ignore[attr-defined]
        if not self.options.overlay:
            return [out]
        self.write_overlay(found, target)
        return [out, target.with_name(f"{target.name}_overlay.png")]

    def seen(self, prepared: Sequence[np.ndarray]) -> Tensor:
        """Pictures from `prepare` -> (N, C, H, W) float32, normalised for the network."""
        images = torch.from_numpy(np.stack(prepared).astype(np.float32))
        mean, std = (torch.tensor(part) for part in (self.spec.mean, self.spec.std))
        return ((images - mean) / std).permute(0, 3, 1, 2).contiguous().to(self.device)


class BoundInference(PictureModel[BoundPrediction]):
    """Inference by a model with codes (VAE, autoencoder): reconstructions, codes, and bounds on the likelihood.

    `pixelwise predict` writes each picture's reconstruction, `NAME_surprise.tif` with the nats of each pixel, and a
    table of codes.
    """

    table = "codes.csv"

    def __init__(self, model: nn.Module, spec: ModelSpec, options: GenerateOptions) -> None:
        super().__init__(model, spec, options)
        self.columns = ("negative_elbo", *(f"z{number}" for number in range(self.model.latent)))
        self._bounded = 0

    @property
    def suffixes(self) -> dict[str, tuple[str, ...]]:
        return {"": (".png",), **surprise_suffixes(self.options)}

    def predict(self, raster: Raster, picture: Picture) -> BoundPrediction:
        pixels = raster.read(0, raster.height, 0, raster.width)
        prepared = self.prepare(convert(pixels, self.spec.form, raster.name))
        images = self.seen([prepared])
        with torch.inference_mode():
            reconstruction, kl = check_answer(self.model.terms(images, torch.Generator().manual_seed(0)))
            code = self.model.codes(images)
            made = self.model.decode(code).sigmoid()
            surprise = self.model.surprise(images, torch.Generator().manual_seed(0))
        return BoundPrediction(
            float(reconstruction[0]),
            float(kl[0]),
            code=code[0].cpu().numpy(),
            seen=prepared,
            picture=as_pictures(made, self.spec)[0],
            surprise=surprise[0].sum(0).cpu().numpy(),
        )

    def measured(self, prepared: Sequence[np.ndarray]) -> list[BoundPrediction]:
        images = self.seen(prepared)
        generator = torch.Generator().manual_seed(0)
        bounds = [math.nan] * len(images)
        with torch.inference_mode():
            terms = torch.stack(check_answer(self.model.terms(images, generator)), 1).tolist()
            codes = self.model.codes(images).cpu().numpy()
            wanted = min(self.options.bound_pictures - self._bounded, len(images))
            if wanted > 0 and hasattr(self.model, "log_likelihood_bound"):
                self._bounded += wanted
                bounds[:wanted] = self.model.log_likelihood_bound(images[:wanted], SAMPLES, generator).tolist()
        return [
            BoundPrediction(reconstruction, kl, bound, code, seen)
            for (reconstruction, kl), bound, code, seen in zip(terms, bounds, codes, prepared, strict=True)
        ]

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        with open_raster(file) as raster:
            check_form(raster, self.spec)
            found = self.predict(raster, file)
        assert found.picture is not None
        out = target.with_name(f"{target.name}.png")
        out.parent.mkdir(parents=True, exist_ok=True)
        write_png(out, writable(found.picture))
        return Written((out, *self.write_surprise(found, target)), found.rows())


class SampleInference(PictureModel[PairPrediction]):
    """Inference by a model that only generates pictures (GAN); it makes as many as it gets real ones for comparison."""

    def __init__(self, model: nn.Module, spec: ModelSpec, options: GenerateOptions) -> None:
        super().__init__(model, spec, options)
        self._batches = 0

    def predict(self, raster: Raster, picture: Picture) -> PairPrediction:
        raise UserError(
            f"{raster.name}: {self.spec.model} generates new pictures and cannot predict from given ones; use "
            "`pixelwise sample`."
        )

    def measured(self, prepared: Sequence[np.ndarray]) -> list[PairPrediction]:
        images = self.seen(prepared)
        self._batches += 1
        return pairs(self.model, images, seed=self._batches)

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        with open_raster(file) as raster:
            self.predict(raster, file)
        return Written()


def surprise_suffixes(options: GenerateOptions) -> dict[str, tuple[str, ...]]:
    """The files of `PictureModel.write_surprise`, for `Inference.suffixes`."""
    return {"surprise": (".tif",), **({"overlay": (".png",)} if options.overlay else {})}


def pairs(network: Any, images: Tensor, *, seed: int) -> list[PairPrediction]:
    """Pairs each of the real pictures (N, C, H, W) with a generated one."""
    with torch.inference_mode():
        made = check_answer(network.sample(len(images), torch.Generator().manual_seed(seed)))
    return [
        PairPrediction(real, generated)
        for real, generated in zip(images.float().cpu().numpy(), made.float().cpu().numpy(), strict=True)
    ]


def as_pictures(images: Tensor, spec: ModelSpec) -> np.ndarray:
    """(N, C, H, W) with the network's normalisation -> (N, H, W, C) in the spec's form."""
    mean, std = (torch.tensor(part, device=images.device)[:, None, None] for part in (spec.mean, spec.std))
    values = (images.float() * std + mean).permute(0, 2, 3, 1).cpu().numpy()
    return as_dtype(values, np.dtype(spec.form.dtype))


def writable(picture: np.ndarray) -> np.ndarray:
    """(H, W, C) -> a picture that a PNG can hold: (H, W) for one channel, otherwise (H, W, 3) with 8 bits."""
    if picture.shape[2] == 1:
        return picture[:, :, 0]
    if picture.dtype != np.uint8:
        picture = (picture / (FULL_RANGE.get(str(picture.dtype), 1.0) / 255)).round().astype(np.uint8)
    return np.ascontiguousarray(picture[:, :, :3])
