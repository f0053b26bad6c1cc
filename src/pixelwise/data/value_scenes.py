"""Embedded data for regression: scenes of handwritten digits with each pixel's distance to the outline of its digit.

The distance is exact because the digits' masks are, and a network can learn it from a pixel's surroundings because the
outline is visible. It is also the target that separates touching nuclei (`pixelwise.data.distances`). The height of a
relief lit from one side would be a poor target: ink and photographs hide the shading.
"""

from __future__ import annotations

from pathlib import Path

from pixelwise.data.distances import distance_map, write_statements
from pixelwise.data.pictures import write_png
from pixelwise.data.scenes import scene
from pixelwise.data.values import write_map


def write_value_scenes(
    out: Path | str, train: int = 240, val: int = 60, size: tuple[int, int] = (192, 256), seed: int = 0
) -> None:
    """Writes scenes with distances in pixels in the layout `values`; the same bytes for the same arguments.

    `images/`, `distance/` (float TIFF, 0 outside the digits), `values.txt`, `train.txt` and `val.txt`. The pictures are
    those of `scenes.write_scenes` with the same seed.

    Args:
        train, val: the number of scenes in each split.
        size: height and width in pixels.

    Raises:
        UserError: as in `scenes.scene`.
        OSError: as the system raises it.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for number, (split, count) in enumerate((("train", train), ("val", val))):
        names = [f"{split}-{index:04d}" for index in range(count)]
        for index, name in enumerate(names):
            sample = scene((seed, number, index), size, pool=split)
            assert sample.instances is not None
            assert sample.instances.ids is not None
            write_png(out / "images" / f"{name}.png", sample.image)
            write_map(out / "distance" / f"{name}.tif", distance_map(sample.instances.ids))
        (out / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    write_statements(out, unit="px")
