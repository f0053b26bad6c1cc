"""Makes pictures with generative networks."""

from __future__ import annotations

from pathlib import Path

from pixelwise.catalog import load_model, task_of
from pixelwise.data.listing import PathLike
from pixelwise.errors import UserError
from pixelwise.tasks.sampling import SampleRequest
from pixelwise.terminal import show
from pixelwise.training.run import model_file


def sample(
    run: PathLike,
    out: PathLike,
    *,
    count: int = 64,
    seed: int = 0,
    temperature: float = 1.0,
    complete: PathLike | None = None,
    keep: str = "top-half",
    interpolate: tuple[PathLike, PathLike] | None = None,
    arithmetic: tuple[PathLike, PathLike, PathLike] | None = None,
    progress: bool = False,
) -> list[Path]:
    """Makes pictures with a generative network: one sheet, and one file per picture.

    Args:
        out: the folder for the results, which must not exist there yet.
        count, seed, temperature, complete, keep, interpolate, arithmetic: see `SampleRequest`.
        progress: whether to print how to read the sheet.

    Returns:
        The sheet, then the single pictures.

    Raises:
        UserError: the network cannot make such pictures, a given picture cannot be read, a result exists already, or
            more than one of `complete`, `interpolate` and `arithmetic` is given.
    """
    if sum(given is not None for given in (complete, interpolate, arithmetic)) > 1:
        raise UserError("give at most one of complete, interpolate and arithmetic.")
    if count < 1 or not temperature > 0:
        raise UserError(f"found count {count} and temperature {temperature:g}; both must be above 0.")
    request = SampleRequest(
        count,
        seed,
        temperature,
        None if complete is None else Path(complete),
        keep,
        None if interpolate is None else (Path(interpolate[0]), Path(interpolate[1])),
        None if arithmetic is None else (Path(arithmetic[0]), Path(arithmetic[1]), Path(arithmetic[2])),
    )
    model, spec = load_model(model_file(run))
    task = task_of(spec)
    if request.kind not in task.samples:
        others = f"it can make {' and '.join(sorted(task.samples))}" if task.samples else "give a generative network"
        raise UserError(
            f"{run}: {spec.model} was trained for the task '{task.name}' and makes no {request.kind}; {others}."
        )
    files, words = task.write_samples(model, spec, Path(out), request)
    if progress and words:
        show(words)
    return files
