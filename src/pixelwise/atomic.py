"""Atomic writing: a file is either complete under its final name, or not there at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a temporary file, flushes it to disk and renames it. A crash or a full disk leaves the old file, or none.

    Raises:
        OSError: as the system raises it; the temporary file is removed.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: Path, content: str) -> None:
    """Writes text as UTF-8, see `write_bytes`."""
    write_bytes(path, content.encode())


def replace_folder(new: Path, final: Path, previous: Path) -> None:
    """Puts a finished folder in place of `final`, which is kept as `previous`.

    At every moment `final` or `previous` is complete, since the old `previous` is removed while `final` still exists.

    Raises:
        OSError: as the system raises it.
    """
    if final.exists():
        if previous.exists():
            shutil.rmtree(previous)
        os.rename(final, previous)
    os.rename(new, final)
    sync_folder(final.parent)


@contextlib.contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A folder to fill, which appears as `final` when the block ends, and is removed if the block fails.

    Args:
        final: a folder that is new or empty; its parents are made.

    Raises:
        OSError: as the system raises it.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        if final.exists():
            final.rmdir()
        os.rename(partial, final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def sync_folder(folder: Path) -> None:
    """Flushes a folder's entries to disk if the system can (Windows cannot)."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
