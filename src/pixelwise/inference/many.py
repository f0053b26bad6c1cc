"""The same work for many pictures; a bad picture does not stop the others."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pixelwise.atomic import write_text
from pixelwise.errors import NotFinite, UserError


def each(files: Sequence[Path], work: Callable[[int, Path], None], progress: Callable[[float], None]) -> list[str]:
    """Calls `work(number, file)` for each file; numbers begin at 0.

    Returns:
        The messages of the files for which it raised a `UserError`.
    """
    failed = []
    for number, file in enumerate(files):
        try:
            work(number, file)
        except NotFinite as error:  # the error does not name the picture
            failed.append(f"{file}: {error}")
        except UserError as error:
            failed.append(str(error))
        progress((number + 1) / len(files))
    return failed


def complain(failed: Sequence[str], count: int) -> None:
    """Reports the pictures that failed, if there are any.

    Args:
        failed: a message per picture that failed.
        count: the number of all pictures.

    Raises:
        UserError: some pictures failed.
    """
    if failed:
        done = f"{count - len(failed)} of {count} pictures predicted; these failed:"
        raise UserError("\n  ".join([done, *failed]))


def refuse_to_overwrite(files: Iterable[Path]) -> None:
    """Checks that no result would overwrite a file.

    Raises:
        UserError: one of the files exists already.
    """
    for taken in files:
        if taken.exists():
            raise UserError(f"{taken}: exists already and would be overwritten; give another --out, or remove it.")


def write_rows(table: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a table as CSV, and makes its folder if needed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    table.parent.mkdir(parents=True, exist_ok=True)
    write_text(table, text.getvalue())
