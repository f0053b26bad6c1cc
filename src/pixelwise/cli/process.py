"""Settings of the whole process. The command line owns its process and may change them; the library must not.

Nothing is imported before a command runs, so that help is instant.
"""

from __future__ import annotations


def prepare_for_pictures() -> None:
    """Switches off the threads of OpenCV, which would compete with the threads in which pixelwise processes pictures.

    Also silences what tifffile logs about odd tags and damage, since pixelwise reports it in its messages.
    """
    import logging

    import cv2

    cv2.setNumThreads(0)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def prepare_for_networks() -> None:
    """Does `prepare_for_pictures`, and keeps freed memory for the next step (see `hardware.keep_freed_memory`)."""
    from pixelwise.hardware import keep_freed_memory

    prepare_for_pictures()
    keep_freed_memory()
