"""Tables that are filled bit by bit: one process per row, each result a line of JSON, finished rows not run again."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.errors import unknown

RESULTS = Path(__file__).parent / "results"

Result = dict[str, Any]
"""The result of one run; `row` and `seed` identify the run."""
Cell = Callable[[list[Result]], str]
"""The results of a row, one per seed -> the text of one column."""


def finished(file: Path) -> list[Result]:
    """Reads the results so far."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@dataclass(frozen=True)
class Rows:
    """The rows of a table, whose results are in one file.

    Attributes:
        file: name of the file, without `.jsonl`.
        names: of the rows, in the order in which they are run.
        train: row, seed and minutes -> the result, including `row` and `seed`.
        minutes: row -> minutes of its run, unless `--minutes` gives others.
        seeds: row -> seeds with which it is run, unless `--seeds` gives others.
        score: the key of the number that is printed when a result is ready.
    """

    file: str
    names: Sequence[str]
    train: Callable[[str, int, float], Result]
    minutes: Callable[[str], float]
    seeds: Callable[[str], Sequence[int]]
    score: str


def command(doc: str, tables: Mapping[str, Rows], show: Callable[[str, Path], None]) -> None:
    """Runs the command line of a script that fills tables.

    The script runs every row in a process of its own, one after the other. Finished rows are not run again, so a table
    can be filled bit by bit.

    Args:
        doc: the script's docstring.
        tables: by name; if there is only one, the command line takes no name.
        show: prints and draws the results in the file of a table.

    Raises:
        UserError: unknown row.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if len(tables) > 1:
        parser.add_argument("table", choices=sorted(tables))
    else:
        parser.set_defaults(table=next(iter(tables)))
    parser.add_argument("--rows", nargs="+", help="rows to run (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, help="seeds to run (default: those of each row)")
    parser.add_argument("--minutes", type=float, help="of each run (default: the row's own)")
    parser.add_argument("--hours", type=float, default=1e9, help="stop before a row that would end after this time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--show", action="store_true", help="print the results so far and run nothing")
    parser.add_argument("--child", nargs=2, metavar=("ROW", "SEED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chosen = tables[arguments.table]
    for row in arguments.rows or []:
        if row not in chosen.names:
            raise unknown("row", row, chosen.names)
    if arguments.child:
        row, seed = arguments.child
        print(json.dumps(chosen.train(row, int(seed), arguments.minutes or chosen.minutes(row))))
        return
    file = arguments.results / f"{chosen.file}.jsonl"
    if not arguments.show:
        fill(file, chosen, arguments)
    show(arguments.table, file)


def fill(file: Path, rows: Rows, arguments: argparse.Namespace) -> None:
    """Runs the unfinished rows until time is up: all rows with one seed, then all rows with the next seed."""
    deadline = time.monotonic() + 3600 * arguments.hours
    file.parent.mkdir(parents=True, exist_ok=True)
    wanted = [
        (seed, number, row)
        for number, row in enumerate(arguments.rows or rows.names)
        for seed in arguments.seeds or rows.seeds(row)
    ]
    for seed, _, row in sorted(wanted):
        if any((done["row"], done["seed"]) == (row, seed) for done in finished(file)):
            continue
        minutes = arguments.minutes or rows.minutes(row)
        if time.monotonic() + 60 * minutes > deadline:
            print(f"no time left for {row}, seed {seed}")
            return
        started = time.monotonic()
        again = [sys.executable, *sys.argv, "--minutes", str(minutes), "--child", row, str(seed)]
        line = subprocess.run(again, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        with file.open("a") as results:
            results.write(line + "\n")
        took = time.monotonic() - started
        print(f"{file.stem}: {row}, seed {seed}: {json.loads(line)[rows.score]:.4f} ({took:.0f} s)", flush=True)


def by_row(results: Iterable[Result], rows: Iterable[str]) -> dict[str, list[Result]]:
    """Groups results by row, in the order of `rows`; rows without results are left out."""
    found: dict[str, list[Result]] = {row: [] for row in rows}
    for result in results:
        found[result["row"]].append(result)
    return {row: some for row, some in found.items() if some}


def table(rows: Mapping[str, list[Result]], columns: Mapping[str, Cell]) -> str:
    """Formats rows of results as a table in Markdown."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for row, found in rows.items():
        lines.append(f"| {row} | " + " | ".join(cell(found) for cell in columns.values()) + " |")
    return "\n".join(lines)


def mean(name: str, form: str) -> Cell:
    """A column with the mean of a number over the seeds, and the standard deviation if there are several seeds."""

    def cell(results: list[Result]) -> str:
        values = [result[name] for result in results if result.get(name) is not None]
        if not values:
            return ""
        text = format(statistics.mean(values), form)
        return f"{text} ± {format(statistics.stdev(values), form)}" if len(values) > 1 else text

    return cell


def median(name: str, form: str, factor: float = 1.0) -> Cell:
    """A column with the median of a number over the seeds, times a factor; empty for rows without it."""

    def cell(results: list[Result]) -> str:
        values = [result[name] for result in results if result.get(name) is not None]
        return format(factor * statistics.median(values), form) if values else ""

    return cell


def by_seed(name: str, form: str, seeds: Sequence[int]) -> Cell:
    """A column with a number of each seed, and a dash for a seed that is not finished."""

    def cell(results: list[Result]) -> str:
        values = {result["seed"]: format(result[name], form) for result in results}
        return ", ".join(values.get(seed, "–") for seed in seeds)

    return cell


SEEDS: dict[str, Cell] = {"seeds": lambda results: str(len(results))}
