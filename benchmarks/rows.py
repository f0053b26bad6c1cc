"""Tables filled in pieces: a process a row, what it gave kept as a line of JSON, finished rows not run again."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Result = dict[str, Any]
"""What one training gave; `row` and `seed` say which it was."""
Cell = Callable[[list[Result]], str]
"""The results of a row, one a seed -> what stands in a column."""


def finished(file: Path) -> list[Result]:
    """The results that are there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def fill(
    file: Path,
    script: str,
    keys: Iterable[tuple[str, int]],
    arguments: Sequence[str],
    *,
    minutes: Callable[[str], float],
    score: str,
    hours: float,
) -> None:
    """Runs the rows that are not there yet, one after the other, until the hours are used up.

    Args:
        script: is run with `arguments` and `--child ROW SEED`; the last line that it prints is the result.
        minutes: row -> what it takes at least; none is begun that would end after the hours.
        score: the key of the result that is printed.
    """
    deadline = time.monotonic() + 3600 * hours
    file.parent.mkdir(parents=True, exist_ok=True)
    for row, seed in keys:
        if any((done["row"], done["seed"]) == (row, seed) for done in finished(file)):
            continue
        if time.monotonic() + 60 * minutes(row) > deadline:
            print(f"no time left for {row}, seed {seed}")
            return
        command = [sys.executable, script, *arguments, "--child", row, str(seed)]
        started = time.monotonic()
        line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        with file.open("a") as results:
            results.write(line + "\n")
        took = time.monotonic() - started
        print(f"{file.stem}: {row}, seed {seed}: {json.loads(line)[score]:.4f} ({took:.0f} s)", flush=True)


def by_row(results: Iterable[Result], rows: Iterable[str]) -> dict[str, list[Result]]:
    """Results of each row, in the order of `rows`; rows without any are left out."""
    found: dict[str, list[Result]] = {row: [] for row in rows}
    for result in results:
        found[result["row"]].append(result)
    return {row: some for row, some in found.items() if some}


def table(rows: Mapping[str, list[Result]], columns: Mapping[str, Cell]) -> str:
    """In Markdown."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for row, found in rows.items():
        lines.append(f"| {row} | " + " | ".join(cell(found) for cell in columns.values()) + " |")
    return "\n".join(lines)


def mean(name: str, form: str) -> Cell:
    """The mean over seeds of a number, and their standard deviation where there are several."""

    def cell(results: list[Result]) -> str:
        values = [result[name] for result in results if result.get(name) is not None]
        if not values:
            return ""
        text = format(statistics.mean(values), form)
        return f"{text} ± {format(statistics.stdev(values), form)}" if len(values) > 1 else text

    return cell


def median(name: str, form: str, factor: float = 1.0) -> Cell:
    """The median over seeds of a number, times a factor."""
    return lambda results: format(factor * statistics.median(result[name] for result in results), form)


SEEDS: dict[str, Cell] = {"seeds": lambda results: str(len(results))}
