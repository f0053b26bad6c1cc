"""Settings of the whole process: the command line owns its process and may make them, the library does not.

Nothing is imported before a verb runs, so that help is instant.
"""

from __future__ import annotations


def prepare_for_pictures() -> None:
    """Leaves threads to pixelwise: it works on pictures in threads of its own, and OpenCV's would compete with them.

    What tifffile logs of odd tags and damage is left to pixelwise's own sentences.
    """
    import logging

    import cv2

    cv2.setNumThreads(0)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def prepare_for_networks() -> None:
    """`prepare_for_pictures`, and freed memory is kept for the next step (see `hardware.keep_freed_memory`)."""
    from pixelwise.hardware import keep_freed_memory

    prepare_for_pictures()
    keep_freed_memory()
