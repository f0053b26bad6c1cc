"""The folder of one training run."""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise import notebook
from pixelwise.atomic import write_text
from pixelwise.data.pictures import write_png
from pixelwise.errors import UserError
from pixelwise.recipe.recipe import PlannedRecipe, reasoned
from pixelwise.training.recipes import load_planned

logger = logging.getLogger(__name__)
ENTRY = frozenset({"kind", "step", "epoch", "seconds"})
"""The keys that every entry of the log has."""


OPEN_LENGTH: Mapping[str, Any] = {
    "augment.crop": None,
    "train.batch_size": None,
    "train.ema_decay": "auto",
    "train.half_size": None,
    "train.validations": None,
    "schedule.warmup": None,
}
"""The settings that a plan may derive from the length of a run, with the value that leaves each of them open."""


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of a training run, which holds everything about it.

    Attributes:
        path: `runs/NAME`, with `recipe.yaml`, `log.jsonl`, `last/` and `previous/`, `best.safetensors`,
            `metrics.json`, `limits.json`, `report.html` and `next.txt`. A run in stages also has `stages.yaml`, the
            recipe of all stages; every stage but the last has a separate run folder, `stages/1`, `stages/2`, ... A run
            with variants has `variants.yaml` and a separate run folder for each variant, `variants/NAME`; the folder
            itself has `metrics.json`, `report.html` and `next.txt`, which compare the variants.
    """

    path: Path

    def _repr_html_(self) -> str:
        """What a notebook shows: the scores of a finished run, what limits them, and where the report is."""
        if not self.metrics_file.exists():
            return notebook.paragraph(f"{self.path}: not finished; continue with `{self.resume_command}`")
        metrics = self.metrics
        scores = [(key, f"{value:.4g}") for key, value in metrics.items() if isinstance(value, float)]
        head = (
            f"{self.path}: scores on {metrics.get('pictures', '?')} pictures of the split {metrics.get('split', '?')}"
        )
        parts = [notebook.paragraph(head), notebook.table(("score", "value"), scores)]
        parts += [notebook.paragraph(limit["sentence"]) for limit in self.limits]
        return "".join([*parts, notebook.paragraph(f"report: {self.report}")])

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def stages_file(self) -> Path:
        return self.path / "stages.yaml"

    def stage(self, number: int) -> Run:
        """The run of a stage that is not the last; numbers begin at 1."""
        return Run(self.path / "stages" / str(number))

    @property
    def variants_file(self) -> Path:
        return self.path / "variants.yaml"

    @property
    def references_file(self) -> Path:
        """Classical methods with their scores, in the folder of a run with variants."""
        return self.path / "references.json"

    def variant(self, name: str) -> Run:
        """The run of a variant."""
        return Run(self.path / "variants" / name)

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.json"

    @property
    def derived_from_length(self) -> dict[str, Any]:
        """Recipe keys that were derived from the length of this run, with the values that leave them open for a run of
        another length."""
        if not self.recipe_file.exists():
            return {}
        derived = {key for key, _, reason in reasoned(self.recipe_file) if reason}
        return {key: value for key, value in OPEN_LENGTH.items() if key in derived}

    @property
    def limits_file(self) -> Path:
        return self.path / "limits.json"

    @property
    def limits(self) -> list[dict[str, Any]]:
        """What limits the result: findings with `code`, `sentence`, `advice`, and sometimes `command` and `files`.

        The list is empty for runs of versions that did not look for limits.

        Raises:
            UserError: a damaged file.
        """
        if not self.limits_file.exists():
            return []
        try:
            limits = json.loads(self.limits_file.read_text())
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.limits_file}: cannot be read as a run's findings ({error}); remove the file."
            ) from None
        if not isinstance(limits, list) or not all({"code", "sentence", "advice"} <= set(limit) for limit in limits):
            raise UserError(f"{self.limits_file}: does not hold a run's findings; remove the file.")
        return limits

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def whole(self) -> Run:
        """The run that this run is a stage or a variant of; otherwise this run itself."""
        above = Run(self.path.parent.parent)
        files = {"stages": above.stages_file, "variants": above.variants_file}
        file = files.get(self.path.parent.name)
        return above if file is not None and file.exists() else self

    @property
    def resume_command(self) -> str:
        return f"pixelwise train --resume {shlex.quote(str(self.whole.path))}"

    @property
    def planned(self) -> PlannedRecipe:
        """The complete recipe of the run.

        Raises:
            UserError: the file is missing, or was not written by a run.
        """
        return load_planned(self.recipe_file)

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of `metrics.json`.

        Raises:
            UserError: the run has not finished, or the file is damaged.
        """
        try:
            metrics = json.loads(self.metrics_file.read_text())
        except FileNotFoundError:
            raise UserError(f"{self.path}: no metrics.json yet; finish with: `{self.resume_command}`") from None
        except (OSError, ValueError) as error:
            metrics, reason = None, str(error)
        else:
            reason = f"{type(metrics).__name__} without a definition"
        if not isinstance(metrics, dict) or "definition" not in metrics:
            raise UserError(
                f"{self.metrics_file}: cannot be read as a run's scores ({reason}); remove the file, then have it "
                f"written again: `{self.resume_command}`"
            )
        return metrics

    @property
    def finished(self) -> bool:
        return self.metrics_file.exists() and self.report.exists() and (self.path / "next.txt").exists()

    def log(self) -> list[dict[str, Any]]:
        """The entries of `log.jsonl`, without damaged lines and without a last line that was cut short by a kill."""
        file = self.path / "log.jsonl"
        lines = file.read_bytes().splitlines() if file.exists() else []
        entries = []
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if isinstance(entry, dict) and entry.keys() >= ENTRY:
                entries.append(entry)
            elif number < len(lines):  # the last one may be incomplete, and the resumed run writes it again
                logger.warning("%s: line %d is damaged and left out.", file, number)
        return entries

    def append_log(self, entry: Mapping[str, Any]) -> None:
        with (self.path / "log.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def add_snapshots(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Saves pictures (H, W, 3) uint8 that show the run at a step, by name."""
        for name, picture in pictures.items():
            write_png(self.path / "snapshots" / f"{name}-{step:08d}.png", picture)

    def snapshots(self, name: str) -> list[tuple[int, Path]]:
        """(step, file) of all snapshots with this name, in the order of the steps."""
        files = sorted((self.path / "snapshots").glob(f"{name}-*.png"))
        return [(int(file.stem.rpartition("-")[2]), file) for file in files]

    def cut_log(self, step: int) -> None:
        """Removes the entries after `step`, before a resumed run logs them again."""
        kept = [json.dumps(entry) for entry in self.log() if entry["step"] <= step]
        write_text(self.path / "log.jsonl", "".join(f"{line}\n" for line in kept))


def check_free(out: Path | str) -> None:
    """Checks that a new run can be written to a folder.

    Raises:
        UserError: the folder exists and is not empty.
    """
    path = Path(out)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"{path}: exists already; give another --out, remove it, or continue it: `{Run(path).resume_command}`"
        )


def create_run(out: Path | str | None, recipe_name: str, data: Path | str) -> Run:
    """A new, empty run folder: `out`, or `runs/RECIPE-DATA`, followed by a number if that folder exists.

    Raises:
        UserError: `out` exists and is not an empty folder.
    """
    if out is not None:
        path = Path(out)
        check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{path}: cannot be created ({error.strerror}); give another --out.") from None
        return Run(path)
    stem = f"{Path(recipe_name).stem}-{Path(data).resolve().name}"
    for number in range(1, 10_000):
        path = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)
            return Run(path)
        except FileExistsError:
            if Path("runs").is_dir():
                continue
            raise UserError("runs: is a file, not a folder; move it, or give --out.") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be created ({error.strerror}); give --out.") from None
    raise UserError(f"runs/{stem}: ten thousand runs of this name; give another --out.")


def open_run(path: Path | str) -> Run:
    """An existing run.

    Raises:
        UserError: the path is not a run folder.
    """
    run = Run(Path(path))
    if not any(file.exists() for file in (run.recipe_file, run.stages_file, run.variants_file)):
        raise UserError(f"{path}: is not a run folder (no recipe.yaml); `pixelwise train` makes one.")
    return run


def model_file(path: str | os.PathLike[str]) -> Path:
    """The model file of a run folder, or the given file itself.

    Raises:
        UserError: a folder that is not a run, a run with several variants, or a run that has not reached its first
            validation.
    """
    file = Path(path)
    if file.is_dir():
        run = open_run(file)
        file = run.best
        if run.variants_file.exists():
            raise UserError(f"{path}: has several variants; give one of them: {run.path / 'variants' / 'NAME'}.")
        if not file.exists():
            raise without_weights(run)
    return file


def without_weights(run: Run) -> UserError:
    """The error for a run without `best.safetensors`: a validation wrote it and it was lost, or none has run yet."""
    if any(entry["kind"] == "validation" for entry in run.log()):
        again = f"pixelwise train {shlex.quote(str(run.recipe_file))} --out NEW_RUN"
        return UserError(f"{run.path}: best.safetensors is gone; put it back, or train again: `{again}`")
    return UserError(f"{run.path}: no best.safetensors yet; continue with: `{run.resume_command}`")
