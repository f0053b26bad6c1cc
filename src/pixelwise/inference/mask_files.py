"""What a network that labels pixels says of many pictures, a mask for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pixelwise.errors import UserError
from pixelwise.hardware import keep_freed_memory
from pixelwise.inference.many import complain, each, refuse_to_overwrite
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.writer import output_names


def write_masks(
    predictor: Predictor,
    files: Sequence[Path],
    root: Path,
    out: Path,
    progress: Callable[[float], None],
    *,
    overlay: bool = False,
    boundaries: bool = False,
) -> list[Path]:
    """Writes `out/NAME.png` for each picture (TIFF for huge ones), named by its place below `root`.

    Args:
        overlay, boundaries: see `api.predict`.

    Returns:
        The masks.

    Raises:
        UserError: two results of one name, or one that exists already (before anything is written), or pictures that
            failed, once all others are written.
    """
    names = output_names(files, root)
    masks = {name.lower() for name in names}
    extras: dict[str, tuple[str, ...]] = {}  # suffixes that the writer may choose from
    if overlay:
        extras["overlay"] = (".png",)
    if boundaries:
        extras["boundaries"] = (".png", ".tif")
    for name in names:
        for option in extras:
            if f"{name}_{option}".lower() in masks:
                raise UserError(
                    f"{name}_{option}: the {option} of '{name}' and the mask of another picture would both be called "
                    f"so; predict the two into different folders, or leave out --{option}."
                )
        results = [f"{name}.png", f"{name}.tif"]
        results += [f"{name}_{option}{suffix}" for option, suffixes in extras.items() for suffix in suffixes]
        refuse_to_overwrite(out / result for result in results)
    keep_freed_memory()
    written = []

    def write(number: int, file: Path) -> None:
        name = names[number]
        written.append(
            predictor.predict_file(
                file,
                out / name,
                overlay=out / f"{name}_overlay.png" if overlay else None,
                boundaries=out / f"{name}_boundaries" if boundaries else None,
                progress=lambda done: progress((number + done) / len(files)),
            )
        )

    complain(each(files, write, progress), len(files))
    return written
