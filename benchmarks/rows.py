"""Tables filled in pieces: a process a row, what it gave kept as a line of JSON, finished rows not run again."""

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
"""What one training gave; `row` and `seed` say which it was."""
Cell = Callable[[list[Result]], str]
"""The results of a row, one a seed -> what stands in a column."""


def finished(file: Path) -> list[Result]:
    """The results that are there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@dataclass(frozen=True)
class Rows:
    """Trainings whose results stand in one file.

    Attributes:
        file: its name, without `.jsonl`.
        names: of the rows, in the order that they are run in.
        train: row, seed and minutes -> what it gave, with `row` and `seed`.
        minutes: of a row's training unless asked for others.
        seeds: that a row is run with unless asked for others.
        score: the key of a result that is printed when it is there.
    """

    file: str
    names: Sequence[str]
    train: Callable[[str, int, float], Result]
    minutes: Callable[[str], float]
    seeds: Callable[[str], Sequence[int]]
    score: str


def command(doc: str, tables: Mapping[str, Rows], show: Callable[[str, Path], None]) -> None:
    """The command line of a script that fills tables.

    Every row is run by the same script in a process of its own, one after the other, and a row that is there is not run
    again, so that a table can be filled in pieces.

    Args:
        doc: the script's.
        tables: by the name that asks for them; an only one need not be asked for.
        show: prints, and draws, what is in the file of a table.

    Raises:
        UserError: an unknown row.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if len(tables) > 1:
        parser.add_argument("table", choices=sorted(tables))
    else:
        parser.set_defaults(table=next(iter(tables)))
    parser.add_argument("--rows", nargs="+", help="default all")
    parser.add_argument("--seeds", nargs="+", type=int, help="default those of each row")
    parser.add_argument("--minutes", type=float, help="of each training; default the row's own")
    parser.add_argument("--hours", type=float, default=1e9, help="stop before a row that would end later")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--show", action="store_true", help="print what is there and run nothing")
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
    """Runs the rows that are not there yet, all with one seed before any with the next one, until time is up."""
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
