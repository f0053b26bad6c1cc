"""The sections of a report on generative models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pixelwise.data.splits import even_sample
from pixelwise.data.value_colours import coloured
from pixelwise.metrics.headline import Headline
from pixelwise.notebook import jpeg
from pixelwise.report.blocks import Block, Grid, Numbers, Picture, Section, Text
from pixelwise.report.pictures import fitted_size, resized
from pixelwise.report.scores import definitions, headline_text, measured, other_numbers, tiles
from pixelwise.report.values import sentence
from pixelwise.tasks.base import Snapshots
from pixelwise.tasks.evaluation import Evaluation
from pixelwise.tasks.generate.code_report import (
    STRIP,
    SUMS,
    arithmetic_section,
    far_apart,
    interpolation_section,
    scatter_section,
    small,
    strip,
    sum_terms,
)
from pixelwise.tasks.generate.inference import as_pictures
from pixelwise.tasks.generate.likelihood import NATS as LIKELIHOOD
from pixelwise.tasks.generate.sampling import added, between
from pixelwise.tasks.generate.scores import DISTANCES, NATS

NAT = "The unit of information with natural logarithms: 1 nat is 1.44 bits."
SHOWN = 32
RECONSTRUCTED = 12
SNAPSHOTS = 6
NEAREST = 8
"""Generated pictures beside the nearest training picture."""
COMPARED = 1000
"""The most training pictures that are compared with them, evenly spread."""
SURPRISED = 200
"""Held-out pictures from which the shown ones are chosen by their probability."""
COMPLETED = 4
SCATTERED = 1500
"""Number of codes in the scatter plot."""
OF_PICTURES = (
    "Held-out pictures A, B and C, and the picture of the code A - B + C. It should differ from C as A differs from B."
)
OF_CLASSES = f"{OF_PICTURES} A and B are of one class, C is of another."
OF_NOISE = (
    "Generated pictures A, B and C, and the picture of the code A - B + C, which is scaled to the length of A's code."
)


def bound_sections(evaluation: Evaluation, snapshots: Snapshots) -> list[Section]:
    """Sections with scores, samples, reconstructions, codes and interpolations of a model with codes."""
    prepared, classes = _pictures(evaluation, SCATTERED)
    inference: Any = evaluation.predictor.inference
    model, spec = inference.model, evaluation.predictor.spec
    with torch.inference_mode():
        codes = model.codes(inference.seen(prepared))
        rebuilt = as_pictures(model.decode(codes[:RECONSTRUCTED]).sigmoid(), spec)
        strips = [
            as_pictures(model.decode(between(codes[first], codes[second], STRIP)).sigmoid(), spec)
            for first, second in far_apart(codes)
        ]
        triples = sum_terms(codes, classes)
        results = [as_pictures(model.decode(added(codes[list(each)])).sigmoid(), spec)[0] for each in triples]
    sums = [(*(prepared[number] for number in each), result) for each, result in zip(triples, results, strict=True)]
    pairs = [picture for pair in zip(prepared[:RECONSTRUCTED], rebuilt, strict=True) for picture in pair]
    names = evaluation.dataset.class_names if classes is not None else ()
    return [
        _scores(evaluation, NATS),
        *([_samples(evaluation, model, snapshots)] if hasattr(model, "sample") else []),
        Section(
            "reconstructions",
            "Reconstructions",
            [
                Grid([small(one, f"picture {number // 2}") for number, one in enumerate(pairs)], columns=8, narrow=4),
                Text("Each held-out picture, and beside it the network's reconstruction from its code.", soft=True),
            ],
        ),
        scatter_section(codes, classes, names),
        interpolation_section(strips, "held-out"),
        *arithmetic_section(sums, OF_PICTURES if classes is None else OF_CLASSES),
        definitions(NATS, {"nat": NAT}),
    ]


def likelihood_sections(evaluation: Evaluation, snapshots: Snapshots) -> list[Section]:
    """Sections with scores, samples, surprise and completions of a model that gives pictures an exact probability."""
    prepared, _ = _pictures(evaluation, SURPRISED)
    inference: Any = evaluation.predictor.inference
    found = sorted(inference.measured(prepared), key=lambda one: one.nats)
    middle = len(found) // 2
    chosen = [found[0], *found[middle : middle + 1], *found[1:][-2:]]
    highest = max(float(one.surprise.max()) for one in chosen)
    maps = [
        small(picture, f"{one.nats:.1f} nats", (f"{one.nats:.1f} nats",) if number == 0 else ())
        for one in chosen
        for number, picture in enumerate((one.picture, coloured(one.surprise, 0.0, highest)))
    ]
    return [
        _scores(evaluation, LIKELIHOOD),
        _samples(evaluation, inference.model, snapshots),
        Section(
            "surprise",
            "Surprise",
            [
                Grid(maps, columns=8, narrow=4),
                Text(
                    f"Held-out pictures, from the most to the least probable of {len(found)}, and beside each the "
                    "negative log-probability of its pixels given the earlier ones: dark is expected, bright is a "
                    "surprise.",
                    soft=True,
                ),
            ],
        ),
        Section(
            "completions",
            "Completions",
            [
                *map(strip, _completions(inference, prepared[:: -(-len(prepared) // COMPLETED)])),
                Text(
                    "Each row begins with a held-out picture and its upper half. The rest are completions: the lower "
                    "half is sampled, given the upper one.",
                    soft=True,
                ),
            ],
        ),
        definitions(LIKELIHOOD, {"nat": NAT}),
    ]


def _completions(inference: Any, prepared: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Rows of STRIP pictures (STRIP, H, W, C): the picture, its upper half, and completions of it."""
    model = inference.model
    count = STRIP - 2
    seen = model.discrete(inference.seen(prepared), torch.Generator().manual_seed(0))
    keep = torch.zeros(seen.shape[2:], dtype=torch.bool)
    keep[: len(keep) // 2] = True
    made = model.sample(
        count * len(seen), torch.Generator().manual_seed(0), given=seen.repeat_interleave(count, 0), keep=keep
    )
    upper = seen * keep.to(seen)
    rows = [
        torch.cat([seen[[row]], upper[[row]], made[row * count : (row + 1) * count]]) for row in range(len(prepared))
    ]
    return [as_pictures(row, inference.spec) for row in rows]


def sample_sections(evaluation: Evaluation, snapshots: Snapshots) -> list[Section]:
    """Sections with scores, samples and interpolations of a model that only generates pictures."""
    inference: Any = evaluation.predictor.inference
    model, spec = inference.model, evaluation.predictor.spec
    prepared, _ = _pictures(evaluation, SHOWN)
    with torch.inference_mode():
        ends = model.noise(6, torch.Generator().manual_seed(1))
        strips = [
            as_pictures(model(between(ends[first], ends[first + 1], STRIP, spherical=True)), spec)
            for first in (0, 2, 4)
        ]
        groups = model.noise(3 * SUMS, torch.Generator().manual_seed(2)).unflatten(0, (SUMS, 3))
        sums = [list(as_pictures(model(torch.cat([group, added(group, spherical=True)])), spec)) for group in groups]
    return [
        _scores(evaluation, DISTANCES),
        _samples(evaluation, model, snapshots),
        Section(
            "real",
            "Real pictures",
            [
                Grid([small(one, "a real picture") for one in prepared], columns=8, narrow=4),
                Text("Held-out pictures for comparison.", soft=True),
            ],
        ),
        interpolation_section(strips, "generated"),
        *arithmetic_section(sums, OF_NOISE),
        definitions(DISTANCES, {}),
    ]


def _scores(evaluation: Evaluation, headlines: Sequence[Headline]) -> Section:
    summary = evaluation.summary
    blocks: list[Block] = [
        Numbers(tiles(summary, headlines, "not defined: no picture was counted")),
        Text(sentence(summary["definition"]), soft=True),
        *other_numbers(summary, {*(one.key for one in headlines), "pictures"}),
    ]
    return Section("scores", "Scores", blocks)


def _samples(evaluation: Evaluation, model: Any, snapshots: Snapshots) -> Section:
    """Pictures from the trained network, and pictures from the same noise at several steps of the run."""
    made = as_pictures(model.sample(SHOWN, torch.Generator().manual_seed(0)), evaluation.predictor.spec)
    blocks: list[Block] = [Grid([small(one, "a generated picture") for one in made], columns=8, narrow=4)]
    kept = snapshots("samples")
    if len(kept) > 1:
        chosen = [kept[round(index)] for index in np.linspace(0, len(kept) - 1, min(SNAPSHOTS, len(kept)))]
        blocks += [
            Text("The same noise at each step of the training run:", soft=True),
            Grid([_snapshot(step, file) for step, file in dict(chosen).items()], columns=SNAPSHOTS),
        ]
    blocks += _nearest(evaluation, made[:NEAREST])
    return Section("samples", "Samples", blocks)


def _nearest(evaluation: Evaluation, made: np.ndarray) -> list[Block]:
    """Generated pictures (N, H, W, C) and the training picture most like each; nothing without a training split."""
    dataset, inference = evaluation.dataset, evaluation.predictor.inference
    if "train" not in dataset.splits:
        return []
    records = even_sample(dataset.split("train"), COMPARED)
    known = np.stack([inference.prepare(dataset.read(record)) for record in records])
    distances = np.stack([np.square(known.astype(np.float32) - each).mean((1, 2, 3)) for each in made])
    pairs = [picture for each, row in zip(made, distances, strict=True) for picture in (each, known[row.argmin()])]
    which = f" (of {len(known):,})" if len(known) < len(dataset.split("train")) else ""
    return [
        Text(
            f"Eight samples, and beside each the training picture{which} with the smallest squared difference. If the "
            "two are the same, the network has memorised it:",
            soft=True,
        ),
        Grid([small(one, "a generated picture or its nearest") for one in pairs], columns=8, narrow=4),
    ]


def _snapshot(step: int, file: Path) -> Picture:
    pixels = np.asarray(Image.open(file).convert("RGB"))
    pixels = pixels[: pixels.shape[0] // 2, : pixels.shape[1] // 2]
    size = fitted_size(pixels, 300)
    return Picture(
        jpeg(np.ascontiguousarray(resized(pixels, size))), size, (f"step {step:,}",), f"samples at step {step}"
    )


def _pictures(evaluation: Evaluation, most: int) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Held-out pictures at the network's size, evenly spaced in the split, and their classes if all have one."""
    dataset, inference = evaluation.dataset, evaluation.predictor.inference
    records = dataset.split(evaluation.split)
    chosen = even_sample(records, most)
    prepared = [inference.prepare(dataset.read(record)) for record in chosen]
    classes = [record.class_id for record in chosen]
    known = all(class_id is not None for class_id in classes)
    return prepared, np.array(classes) if known else None


def tables(summary: Mapping[str, Any]) -> list[Block]:
    """The scores as a terminal shows them."""
    likelihood = LIKELIHOOD[1:] if "negative_elbo" in summary else LIKELIHOOD  # the bound stands in for the first
    headlines = (*NATS, *likelihood, *DISTANCES)
    known = [(headline.label, summary[headline.key]) for headline in headlines if headline.key in summary]
    if "importance_weighted_bound" in summary:
        known.append(("importance-weighted bound", summary["importance_weighted_bound"]))
    return [
        headline_text(known),
        *([_outliers(summary)] if "auc" in summary else []),
        measured(summary),
    ]


def _outliers(summary: Mapping[str, Any]) -> Text:
    names = {"auc": "by probability", "auc_corrected": "less complexity", "auc_reconstruction": "by reconstruction"}
    areas = ", ".join(f"{words} {summary[key]:.3f}" for key, words in names.items() if key in summary)
    return Text(f"ROC AUC of separating {summary['other_pictures']} other pictures from these: {areas}")
