"""A lock, so that only one process at a time writes into a run folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from pixelwise.distributed import rank
from pixelwise.errors import UserError
from pixelwise.training.run import Run

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def locked(run: Run) -> Iterator[None]:
    """Holds the lock of a run's folder. The system releases it however the process ends.

    If the file system or the operating system has no such locks, none is held. If a run has several processes, the
    first of them holds the lock.

    Raises:
        UserError: another process holds the lock.
    """
    if fcntl is None or rank() != 0:
        yield
        return
    folder = os.open(run.path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{run.path}: another process is training this run; wait for it, or stop it first (Ctrl-C saves)."
            ) from None
        except OSError:
            pass  # some network file systems cannot lock folders
        yield
    finally:
        os.close(folder)
