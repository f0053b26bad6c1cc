"""The loaders of a planned recipe: crops for every stream of its method, and the held-out pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.loader import EvaluationLoader, TrainLoader
from pixelwise.data.record import Record
from pixelwise.data.splits import even_sample
from pixelwise.distributed import rank, world_size
from pixelwise.errors import UserError
from pixelwise.methods.base import Method, Stream
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.tasks.base import Task


def train_loaders(
    recipe: PlannedRecipe, dataset: Dataset, cache: SampleCache, task: Task, method: Method
) -> dict[str, TrainLoader]:
    """A loader for each stream of the method, by name; each process gets its share of every batch.

    Raises:
        UserError: there are no pictures for a stream.
    """
    sizes = method.batch_sizes(recipe.train.batch_size)
    share = recipe.train.half_size
    early = task.training_transform(at_half_size(recipe)) if share > 0 else None
    return {
        stream.name: TrainLoader(
            cache,
            _drawn(dataset, stream, task),
            task.training_transform(recipe),
            targets=task.targets if stream.targets else None,
            batch_size=sizes[stream.name],
            seed=recipe.train.seed,
            stream=stream.name,
            rank=rank(),
            processes=world_size(),
            early=early,
            until=share,
        )
        for stream in method.streams
    }


def _drawn(dataset: Dataset, stream: Stream, task: Task) -> Sequence[Record]:
    records = stream_records(dataset, stream)
    return task.training_records(dataset, records) if stream.targets else records


def at_half_size(recipe: PlannedRecipe) -> PlannedRecipe:
    """The recipe with crops that show the same part of the picture at half the height and width."""
    augment = recipe.augment
    height, width = (max(side // 2, 1) for side in augment.crop)
    low, high = (factor / 2 for factor in augment.scale)
    smaller = augment.model_copy(update={"crop": (height, width), "scale": (low, high)})
    return recipe.model_copy(update={"augment": smaller})


def evaluation_loader(
    recipe: PlannedRecipe, cache: SampleCache, task: Task, records: Sequence[Record], *, shared: bool = False
) -> EvaluationLoader:
    """A loader of pictures, transformed for validation.

    Args:
        shared: whether each process gets its share of the pictures instead of all of them.
    """
    loader = partial(
        EvaluationLoader,
        cache,
        records,
        batch_size=task.validation_batch,
        transform=task.validation_transform(recipe),
        pieces=task.validation_pieces(recipe),
    )
    processes: dict[str, Any] = {"rank": rank(), "processes": world_size()} if shared else {}
    return loader(**processes)


def held_out(dataset: Dataset, task: Task) -> list[Record]:
    """The pictures of the split `val` that can be measured."""
    return [record for record in dataset.split("val") if record.labelled or not task.needs]


def validated(recipe: PlannedRecipe, dataset: Dataset, task: Task) -> list[Record]:
    """The held-out pictures that validations measure (`train.validated_share`), evenly spread."""
    pictures = held_out(dataset, task)
    return even_sample(pictures, math.ceil(recipe.train.validated_share * len(pictures)))


def stream_records(dataset: Dataset, stream: Stream) -> list[Record]:
    """The pictures that a stream draws from.

    Raises:
        UserError: there are none.
    """
    records = [record for split in stream.splits if split in dataset.splits for record in dataset.split(split)]
    if not records:
        raise UserError(
            f"{dataset.root}: no pictures for the stream '{stream.name}' (splits {', '.join(stream.splits)}); add "
            "some to one of these splits."
        )
    return records
