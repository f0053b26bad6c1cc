"""The task of generative models, which learn without labels what pictures of a kind look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.draw import contact_sheet, to_rgb
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.fit import Centre
from pixelwise.data.pictures import FULL_RANGE, write_png
from pixelwise.data.sample import Sample
from pixelwise.data.stock import Stock
from pixelwise.errors import UserError
from pixelwise.inference.many import refuse_to_overwrite
from pixelwise.methods.base import Forward
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.finite import check_answer
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.report.blocks import Block, Section
from pixelwise.report.limits import Limit
from pixelwise.tasks.base import Snapshots, Task
from pixelwise.tasks.crops import covering
from pixelwise.tasks.evaluation import Evaluation, Outcome, Scores
from pixelwise.tasks.generate.features import train_features
from pixelwise.tasks.generate.inference import (
    BoundInference,
    BoundPrediction,
    GenerateOptions,
    PairPrediction,
    SampleInference,
    pairs,
    writable,
)
from pixelwise.tasks.generate.likelihood import LikelihoodScores, SurpriseInference, SurprisePrediction, surprises
from pixelwise.tasks.generate.outliers import separation
from pixelwise.tasks.generate.sampling import completions, from_codes, new_pictures
from pixelwise.tasks.generate.scores import FEWEST_COMPARED, BoundScores, DistanceScores, collapsed
from pixelwise.tasks.sampling import CODES, COMPLETIONS, NEW, SampleRequest

LONGEST = 64
"""Default for the longer side of generated pictures; larger pictures take hours on a CPU."""
LEVELS = 256
BLACK_AND_WHITE = 0.7
"""Share of the variance of black-and-white pictures from which an autoregressive network learns binary pictures: MNIST
has 0.84, natural pictures have 0.2 to 0.4."""
SNAPSHOT = 64
"""Pictures in a snapshot, always from the same noise."""


class Generate(Task):
    """Base class of the tasks of generative models.

    Networks have an `input_range` (the range of values of the pictures that they take and generate), the `size` of
    these pictures, and `sample(count, generator)`. Their loss is part of their paper, or of the method.
    """

    name = "generate"
    needs = frozenset[str]()
    hint = "give a folder of pictures"
    targets = None
    decided_options = frozenset({"in_channels"})
    crops = 120_000
    validation_batch = 64
    final_validations = 1.5
    options = GenerateOptions
    samples = frozenset({NEW})
    explains = False
    gather = "Add"

    def network_options(self, recipe: Recipe | PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        """
        Raises:
            UserError: a size other than height and width.
        """
        crop = getattr(recipe.augment, "crop", None)
        if crop is None:
            scale = min(1.0, LONGEST / max(facts.height[1], facts.width[1]))
            crop = tuple(max(round(scale * side), 1) for side in (facts.height[1], facts.width[1]))
        options = {"size": tuple(crop), **recipe.model.options, "in_channels": facts.form.channels}
        sides = options["size"] if isinstance(options["size"], tuple | list) else [options["size"]] * 2
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise UserError(
                f"model.size: found {options['size']!r}, expected height and width in pixels, such as [28, 28]."
            )
        return {**options, "size": tuple(sides)}

    def class_names(self, facts: Fingerprint) -> tuple[str, ...]:
        return ()

    def check(self, dataset: Dataset, stock: Stock) -> None:
        """Accepts any pictures."""

    def plan(self, draft: Draft) -> None:
        network: Any = draft.network
        derive, facts = draft.derive, draft.facts
        size = list(network.size)
        median = f"{facts.height[1]} x {facts.width[1]}"
        derive("augment", "crop", size, f"the network's size; the pictures of the data are {median} (median)")
        if list(draft.crop) != size:
            raise UserError(
                f"augment.crop: found {draft.crop[0]} x {draft.crop[1]}, but this network generates pictures of "
                f"{size[0]} x {size[1]} pixels; leave it out, or set model.size."
            )
        draft.derive_batch(16, 128, "pictures", steps=1)
        for key in ("rotate", "brightness", "contrast", "saturation"):
            derive("augment", key, 0.0, "pictures are learned as they are")
        derive("augment", "scale", [1.0, 1.0], "pictures are learned as they are")
        derive("augment", "flip", "none", "pictures are learned as they are; mirroring would add others")
        draft.derive_light()
        full = FULL_RANGE.get(facts.form.dtype)
        if full is None:
            raise UserError(
                "the pictures hold floats, which have no fixed black and white to scale by; save them with 8 or 16 "
                "bits."
            )
        low, high = network.input_range
        why = f"{draft.values['model']['name']} takes values from {low:g} to {high:g}"
        derive("normalize", "mean", [-low * full / (high - low)] * facts.form.channels, why)
        derive("normalize", "std", [full / (high - low)] * facts.form.channels, why)

    def prepared(self, recipe: PlannedRecipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """Keeps pictures at the size from which crops are made; all are read once."""
        return covering(cache, dataset, recipe.crop)

    def validation_transform(self, recipe: PlannedRecipe) -> Callable[[Sample], Sample]:
        return Centre(recipe.crop)

    def criterion(self, recipe: PlannedRecipe, facts: Fingerprint, network: nn.Module) -> None:
        return None

    def input_size(self, recipe: PlannedRecipe) -> tuple[int, int]:
        return recipe.crop

    def fit(self, spec: ModelSpec) -> Callable[[np.ndarray], np.ndarray] | None:
        return None if spec.input_size is None else Centre(spec.input_size).image

    def snapshots(self, network: nn.Module) -> Mapping[str, np.ndarray]:
        images = check_answer(network.sample(SNAPSHOT, torch.Generator().manual_seed(0)))  # type: ignore[operator]
        low, high = network.input_range  # type: ignore[misc]
        levels = ((images.float() - low) / (high - low) * 255).round().clamp(0, 255).byte()
        return {"samples": sheet(levels.permute(0, 2, 3, 1).cpu().numpy())}

    def write_samples(
        self, network: nn.Module, spec: ModelSpec, out: Path, request: SampleRequest
    ) -> tuple[list[Path], str]:
        inference: Any = self.inference(network, spec, self.options())
        if request.kind == COMPLETIONS:
            pictures = completions(inference, request)
            made, columns = pictures[1:], 8
            words = "the first picture of the sheet is the given one, as the network sees it"
        elif request.kind == CODES:
            pictures = from_codes(inference, request)
            columns = len(pictures) // 2
            made = pictures[columns:]
            words = "above are the given pictures, below what the network makes of their codes"
            if not hasattr(network, "codes"):
                words += "; the network has no encoder, so the codes were found by optimisation"
        else:
            pictures = made = new_pictures(inference, request)
            columns, words = 8, ""
        digits = max(len(str(len(made) - 1)), 3)
        files = [out / "samples.png", *(out / f"{number:0{digits}d}.png" for number in range(len(made)))]
        refuse_to_overwrite(files)
        write_png(files[0], sheet(pictures, columns))
        for file, picture in zip(files[1:], made, strict=True):
            write_png(file, writable(picture))
        return files, words

    def against(self, own: Evaluation, other: Evaluation) -> dict[str, Any]:
        return {"other_pictures": other.summary["pictures"], **separation(own.scores, other.scores)}

    def tables(self, summary: Mapping[str, Any]) -> list[Block]:
        from pixelwise.tasks.generate import report

        return report.tables(summary)


class Bounded(Generate):
    """Task of networks with codes and a bound on the likelihood (the VAE), or without the bound (the autoencoder)."""

    compares = True
    samples = frozenset({NEW, CODES})
    bound: ClassVar[str] = "ELBO: an upper bound, from one sample of the code per picture"

    def __init__(self, *, binarised: bool = True) -> None:
        """Args:
        binarised: whether networks draw binary pictures by default (option `binarise`).
        """
        self.binarised = binarised

    def scores(
        self, spec: ModelSpec, folder: Path, recipe: PlannedRecipe | None = None, options: Any = None
    ) -> Scores[Any]:
        return BoundScores(binarised=bool(spec.options.get("binarise", self.binarised)), bound=self.bound)

    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> list[BoundPrediction]:
        terms = check_answer(network.terms(forward.normalised(images), torch.Generator().manual_seed(0)))  # type: ignore[operator]
        return [BoundPrediction(*pair) for pair in torch.stack(terms, 1).tolist()]

    def inference(self, network: nn.Module, spec: ModelSpec, options: GenerateOptions) -> BoundInference:
        return BoundInference(network, spec, options)

    def sections(
        self, evaluation: Evaluation, baselines: Mapping[str, float | None], snapshots: Snapshots
    ) -> list[Section]:
        from pixelwise.tasks.generate import report

        return report.bound_sections(evaluation, snapshots)


class Reconstructed(Bounded):
    """Task of networks whose codes have no known distribution, so that none can be sampled: the autoencoder."""

    samples = frozenset({CODES})
    bound = ""

    def snapshots(self, network: nn.Module) -> Mapping[str, np.ndarray]:
        return {}


class Likelihood(Generate):
    """Task of networks that give the exact probability of a picture (PixelRNN, PixelCNN)."""

    compares = True
    final_validations = 1.2
    samples = frozenset({NEW, COMPLETIONS})

    def network_options(self, recipe: Recipe | PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        levels = 1 if black_and_white(facts) >= BLACK_AND_WHITE else LEVELS
        return {"levels": levels, **super().network_options(recipe, facts)}

    def plan(self, draft: Draft) -> None:
        super().plan(draft)
        model, network = draft.values["model"], draft.network
        if "levels" not in model:
            model["levels"] = network.levels
            share = f"the values have {black_and_white(draft.facts):.0%} of the variance of black-and-white pictures"
            draft.reasons["model.levels"] = f"{share}; 1 from {BLACK_AND_WHITE:.0%} on, for binary pictures, else 256"

    def scores(
        self, spec: ModelSpec, folder: Path, recipe: PlannedRecipe | None = None, options: Any = None
    ) -> Scores[Any]:
        return LikelihoodScores(levels=int(spec.options.get("levels", 1)))

    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> list[SurprisePrediction]:
        return surprises(network, forward.normalised(images))

    def inference(self, network: nn.Module, spec: ModelSpec, options: GenerateOptions) -> SurpriseInference:
        return SurpriseInference(network, spec, options)

    def sections(
        self, evaluation: Evaluation, baselines: Mapping[str, float | None], snapshots: Snapshots
    ) -> list[Section]:
        from pixelwise.tasks.generate import report

        return report.likelihood_sections(evaluation, snapshots)


class Sampled(Generate):
    """Task of networks that only generate pictures (GANs), which are compared with real pictures by features."""

    predicts = False
    samples = frozenset({NEW, CODES})

    def check(self, dataset: Dataset, stock: Stock) -> None:
        if len(dataset.split("val")) < FEWEST_COMPARED:
            raise UserError(
                f"{dataset.root}: only one picture is held out, and generated pictures are compared with at least "
                f"{FEWEST_COMPARED} of them; add pictures."
            )

    def companions(self, recipe: PlannedRecipe, dataset: Dataset, cache: SampleCache, folder: Path) -> None:
        if "classes" in dataset.knows:
            train_features(recipe, cache, dataset.form.channels, len(dataset.class_names), folder)

    def scores(
        self, spec: ModelSpec, folder: Path, recipe: PlannedRecipe | None = None, options: Any = None
    ) -> Scores[Any]:
        return DistanceScores(folder)

    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> list[PairPrediction]:
        seed = crc32(samples[0].name.encode())  # different noise for different pictures, the same in every validation
        return pairs(network, forward.normalised(images), seed=seed)

    def inference(self, network: nn.Module, spec: ModelSpec, options: GenerateOptions) -> SampleInference:
        return SampleInference(network, spec, options)

    def limits(self, outcome: Outcome) -> list[Limit]:
        found = collapsed(outcome.validation.summary)
        return [] if found is None else [found]

    def sections(
        self, evaluation: Evaluation, baselines: Mapping[str, float | None], snapshots: Snapshots
    ) -> list[Section]:
        from pixelwise.tasks.generate import report

        return report.sample_sections(evaluation, snapshots)


def black_and_white(facts: Fingerprint) -> float:
    """The variance of the pictures' values, as a share of what black-and-white pictures of the same mean would have."""
    full = FULL_RANGE.get(facts.form.dtype, 1.0)
    mean, std = np.array(facts.mean) / full, np.array(facts.std) / full
    return float(np.mean(std**2 / np.maximum(mean * (1 - mean), 1e-9)))


def sheet(pictures: np.ndarray, columns: int = 8) -> np.ndarray:
    """Arranges pictures (N, H, W, C) in rows -> (h, w, 3) uint8; small ones are enlarged by a whole factor."""
    shown = [to_rgb(picture) for picture in pictures]
    factor = max(1, 64 // max(pictures.shape[1:3]))
    return contact_sheet([np.kron(picture, np.ones((factor, factor, 1), np.uint8)) for picture in shown], columns)
