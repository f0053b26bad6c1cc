"""The embedded data: handwritten digits on photographs, with exact masks, made only from installed wheels.

scikit-learn ships 1,797 real handwritten digits (8x8 pixels, UCI Optical Recognition of Handwritten Digits) and two
photographs, scikit-image a dozen photographs and textures. A scene lays some digits on a crop of a photograph: scaled,
rotated, sheared, inked in a random colour or texture and rimmed with white like a sticker; then everything is blurred
and made grainy. Only the shape shows which digit it is, never the colour. Validation scenes use digits and photographs
that no training scene has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from pixelwise.atomic import write_text
from pixelwise.data import rle
from pixelwise.data.pictures import PictureFormat, read_picture, write_png
from pixelwise.data.sample import Instances, Sample
from pixelwise.errors import UserError, unknown

CLASS_NAMES = ("background", *(str(digit) for digit in range(10)))

PHOTOGRAPHS = {
    "train": (
        "skimage/data/astronaut.png",
        "skimage/data/brick.png",
        "skimage/data/camera.png",
        "skimage/data/chelsea.png",
        "skimage/data/coffee.png",
        "skimage/data/gravel.png",
        "skimage/data/ihc.png",
        "skimage/data/retina.jpg",
        "skimage/data/rocket.jpg",
        "sklearn/datasets/images/china.jpg",
    ),
    "val": (
        "skimage/data/grass.png",
        "skimage/data/hubble_deep_field.jpg",
        "skimage/data/moon.png",
        "skimage/data/motorcycle_left.png",
        "sklearn/datasets/images/flower.jpg",
    ),
}
"""`package/path` of the background photographs, by pool. Pictures that show print or numerals are left out."""

FIRST_VAL_DIGIT = 1437
"""Digits from this index on (the last fifth) belong to the validation pool."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
CELL = 8  # pixels of a drawn glyph per pixel of the 8x8 original
DIGITS_PER_PIXEL = 11 / (192 * 256)  # the density of an average scene
STEP = 288  # pixels between the patches of a large scene's background
SEAM = 48  # pixels over which they blend
SHADOW = 6  # pixels that a digit's shadow reaches beyond it


def scene(
    seed: int | Sequence[int],
    size: tuple[int, int] = (192, 256),
    *,
    digits: tuple[int, int] = (8, 14),
    pool: str = "train",
) -> Sample:
    """Draws one scene; the same seed gives the same bytes.

    Args:
        seed: any seed that `numpy.random.default_rng` takes.
        size: height and width in pixels.
        digits: the smallest and the largest number of digits; later ones may hide earlier ones, even completely.
        pool: `train` or `val`: which photographs and which handwriting.

    Returns:
        `image` (H, W, 3) uint8, `mask` with class 0 for background and d + 1 for digit d, and one object per digit that
        is still visible.

    Raises:
        UserError: unknown pool, or a photograph that the installed scikit-image or scikit-learn does not ship.
    """
    rng = np.random.default_rng(seed)
    background = _crop(_photograph(rng, pool), size, rng)
    return _compose(_name(seed), background, int(rng.integers(digits[0], digits[1] + 1)), rng, pool)


def large_scene(
    seed: int | Sequence[int], size: tuple[int, int] = (2048, 3072), *, pool: str = "val", density: float = 1.0
) -> Sample:
    """Draws a scene that needs prediction by tiles: a quilt of photographs as densely filled with digits as `scene`.

    Args:
        seed: any seed that `numpy.random.default_rng` takes.
        size: height and width in pixels.
        pool: `train` or `val`.
        density: digits per area, relative to an average `scene`.

    Raises:
        UserError: as in `scene`.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    total = np.zeros((height, width, 3), np.float32)
    weight = np.zeros((height, width, 1), np.float32)
    side = STEP + SEAM
    ramp = np.minimum(np.minimum(np.arange(side) + 1, side - np.arange(side)) / SEAM, 1).astype(np.float32)
    feather = (ramp[:, None] * ramp)[:, :, None]
    for top in range(0, height, STEP):
        for left in range(0, width, STEP):
            patch = _crop(_photograph(rng, pool), (side, side), rng)
            window = np.s_[top : top + side, left : left + side]
            rows, columns = total[window].shape[:2]
            total[window] += (patch * feather)[:rows, :columns]
            weight[window] += feather[:rows, :columns]
    return _compose(_name(seed), total / weight, round(density * DIGITS_PER_PIXEL * height * width), rng, pool)


def write_scenes(
    out: Path | str, train: int = 240, val: int = 60, size: tuple[int, int] = (192, 256), seed: int = 0
) -> None:
    """Writes a dataset in the folder layout, the same bytes for the same arguments.

    `images/`, `masks/` (class ids), `classes.txt`, `train.txt` and `val.txt` are the layout; `instances/` (16-bit label
    maps of the digits) and `boxes.json` (COCO's object-detection format) are written in addition.

    Raises:
        UserError: as in `scene`.
        OSError: as the system raises it.
    """
    out = Path(out)
    names: dict[str, list[str]] = {"train": [], "val": []}
    pictures: list[dict[str, object]] = []
    objects: list[dict[str, object]] = []
    for number, (split, count) in enumerate((("train", train), ("val", val))):
        for index in range(count):
            name = f"{split}-{index:04d}"
            names[split].append(name)
            sample = scene((seed, number, index), size, pool=split)
            assert sample.mask is not None
            assert sample.instances is not None
            assert sample.instances.ids is not None
            write_png(out / "images" / f"{name}.png", sample.image)
            write_png(out / "masks" / f"{name}.png", sample.mask)
            write_png(out / "instances" / f"{name}.png", sample.instances.ids.astype(np.uint16))
            pictures.append({"id": len(pictures) + 1, "file_name": f"{name}.png", "height": size[0], "width": size[1]})
            objects += _coco_objects(sample.instances, len(pictures), len(objects))
    out.mkdir(parents=True, exist_ok=True)
    categories = [{"id": class_id, "name": name} for class_id, name in enumerate(CLASS_NAMES) if class_id]
    boxes = {"images": pictures, "categories": categories, "annotations": objects}
    write_text(out / "boxes.json", json.dumps(boxes, separators=(",", ":")))
    write_text(out / "classes.txt", "\n".join(CLASS_NAMES) + "\n")
    for split, listed in names.items():
        write_text(out / f"{split}.txt", "".join(f"{name}\n" for name in listed))


def write_coco_scenes(
    out: Path | str,
    train: int = 240,
    val: int = 60,
    size: tuple[int, int] = (192, 256),
    *,
    digits: tuple[int, int] = (8, 14),
    seed: int = 0,
) -> None:
    """Writes scenes with objects as labels, in COCO's layout with outlines; the same bytes for the same arguments.

    Raises:
        UserError: as in `scene`.
        OSError: as the system raises it.
    """
    out = Path(out)
    (out / "annotations").mkdir(parents=True, exist_ok=True)
    categories = [{"id": class_id, "name": name} for class_id, name in enumerate(CLASS_NAMES) if class_id]
    for number, (split, count) in enumerate((("train", train), ("val", val))):
        pictures: list[dict[str, object]] = []
        objects: list[dict[str, object]] = []
        for index in range(count):
            sample = scene((seed, number, index), size, digits=digits, pool=split)
            assert sample.instances is not None
            assert sample.instances.ids is not None
            file = f"{split}-{index:04d}.png"
            write_png(out / "images" / file, sample.image)
            pictures.append({"id": index + 1, "file_name": file, "height": size[0], "width": size[1]})
            for object_id, entry in enumerate(_coco_objects(sample.instances, index + 1, len(objects)), 1):
                counts = rle.compress(rle.encode(sample.instances.ids == object_id))
                objects.append({**entry, "segmentation": {"size": list(size), "counts": counts}})
        content = {"images": pictures, "categories": categories, "annotations": objects}
        write_text(out / "annotations" / f"instances_{split}.json", json.dumps(content, separators=(",", ":")))


def _coco_objects(instances: Instances, picture: int, before: int) -> list[dict[str, object]]:
    assert instances.ids is not None
    areas = np.bincount(instances.ids.ravel(), minlength=len(instances) + 1)[1:]
    return [
        {
            "id": before + number,
            "image_id": picture,
            "category_id": int(class_id),
            "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
            "area": int(area),
            "iscrowd": 0,
        }
        for number, ((left, top, right, bottom), class_id, area) in enumerate(
            zip(instances.boxes, instances.classes, areas, strict=True), start=1
        )
    ]


def _name(seed: int | Sequence[int]) -> str:
    return "scene-" + "-".join(str(part) for part in (seed if isinstance(seed, Sequence) else [seed]))


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 80, 80) float32 smooth drawings of the digits, ink near 1, a blank cell around; (1797,) their classes."""
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    framed = np.pad(small.reshape(-1, 8, 8).astype(np.float32) / 16, ((0, 0), (1, 1), (1, 1)))
    drawn = [
        cv2.GaussianBlur(cv2.resize(digit, None, fx=CELL, fy=CELL, interpolation=cv2.INTER_CUBIC), (0, 0), CELL / 4)
        for digit in framed
    ]
    return np.stack(drawn), labels


@lru_cache(maxsize=16)
def _read_photograph(path: str) -> np.ndarray:
    package, _, rest = path.partition("/")
    try:
        image = read_picture(Path(str(files(package))) / rest, PictureFormat(3, "uint8"))
    except UserError as error:
        raise UserError(
            f"the demo's photographs come with scikit-image and scikit-learn, but {error} "
            "Reinstall both: `pip install --force-reinstall scikit-image scikit-learn`."
        ) from None
    scale = 640 / max(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image


def _photograph(rng: np.random.Generator, pool: str) -> np.ndarray:
    if pool not in PHOTOGRAPHS:
        raise unknown("pool", pool, PHOTOGRAPHS)
    return _read_photograph(PHOTOGRAPHS[pool][rng.integers(len(PHOTOGRAPHS[pool]))])


def _crop(photograph: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random window of the photograph, perhaps mirrored, in a different light: (H, W, 3) float32, 0..255."""
    height, width = photograph.shape[:2]
    largest = min(height / size[0], width / size[1])
    zoom = largest * rng.uniform(0.45, 1.0)
    tall, wide = max(1, int(size[0] * zoom)), max(1, int(size[1] * zoom))
    top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
    window = photograph[top : top + tall, left : left + wide]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    window = cv2.resize(window, size[::-1], interpolation=cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR)
    image = window.astype(np.float32)
    grey = np.ptp(photograph[::16, ::16].astype(np.int16), axis=2).max() == 0
    tint = rng.uniform(0.85, 1.15, 3) if grey else rng.uniform(0.92, 1.08, 3)
    mean = image.mean()
    image = (image - mean) * rng.uniform(0.7, 1.0) + mean + rng.uniform(-15, 25)
    return np.clip(image * tint.astype(np.float32), 0, 255)


def _compose(name: str, background: np.ndarray, count: int, rng: np.random.Generator, pool: str) -> Sample:
    """Lays `count` digits on the background, which is changed in place."""
    drawn, labels = _digits()
    height, width = background.shape[:2]
    ids = np.zeros((height, width), np.int32)
    classes = np.zeros(count, np.int64)
    for number in range(count):
        first, last = (0, FIRST_VAL_DIGIT) if pool == "train" else (FIRST_VAL_DIGIT, len(drawn))
        which = rng.integers(first, last)
        classes[number] = labels[which] + 1
        coverage = _place(drawn[which], rng)
        # The emptiest of three positions: digits do overlap, but rarely hide each other completely.
        positions = [_corner(coverage.shape, (height, width), rng) for _ in range(3)]
        top, left = min(positions, key=lambda corner: np.count_nonzero(ids[_window(corner, coverage.shape)]))
        window = _window((top, left), coverage.shape)
        coverage = coverage[max(-top, 0) : height - top, max(-left, 0) : width - left]
        ids[window][_paste(background[window], coverage, rng, pool)] = 0
        ids[window][coverage >= 0.5] = number + 1
    image = cv2.GaussianBlur(background, (0, 0), rng.uniform(0.3, 0.8))
    image += np.float32(rng.uniform(1, 5)) * rng.standard_normal(image.shape, np.float32)
    visible = np.flatnonzero(np.bincount(ids.ravel(), minlength=count + 1)[1:])
    mask = np.concatenate([[0], classes]).astype(np.uint8)[ids]
    instances = Instances.from_label_map(ids, classes[visible])
    return Sample(name, np.clip(np.rint(image), 0, 255).astype(np.uint8), mask, instances)


def _corner(shape: tuple[int, ...], room: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """A random top left corner that leaves at most an eighth of (h, w) outside the (H, W) picture on a side."""
    top, left = (
        int(rng.integers(-length // 8, max(size - length + length // 8, 0) + 1))
        for length, size in zip(shape, room, strict=True)
    )
    return top, left


def _window(corner: tuple[int, int], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of the picture that (h, w) pixels from that corner cover."""
    (top, left), (tall, wide) = corner, shape
    return slice(max(top, 0), top + tall), slice(max(left, 0), left + wide)


def _place(glyph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scales, rotates and shears a drawn digit: how much of each pixel it covers, (h, w) float32, 0..1.

    A blank border of `SHADOW` pixels leaves room for its shadow.
    """
    scale = rng.uniform(38, 58) / (8 * CELL)
    stretch = rng.uniform(0.85, 1.2)
    angle, shear = np.deg2rad(rng.uniform(-10, 10)), rng.uniform(-0.12, 0.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turn @ np.array([[stretch, shear], [0, 1]])
    side = glyph.shape[0]
    corners = matrix @ (np.array([[-1, 1, 1, -1], [-1, -1, 1, 1]]) * side / 2)
    wide, tall = np.ceil(np.ptp(corners, axis=1)).astype(int)
    offset = np.array([(wide - 1) / 2, (tall - 1) / 2]) - matrix @ np.full(2, (side - 1) / 2)
    value = cv2.warpAffine(glyph, np.column_stack([matrix, offset]), (int(wide), int(tall)), flags=cv2.INTER_LINEAR)
    coverage = np.clip((value - 0.46) * (7 * scale) + 0.5, 0, 1)
    rows, columns = np.flatnonzero(coverage.any(axis=1)), np.flatnonzero(coverage.any(axis=0))
    cut = coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(cut, SHADOW)


def _paste(window: np.ndarray, coverage: np.ndarray, rng: np.random.Generator, pool: str) -> np.ndarray:
    """Pastes a digit like a sticker, in place: a soft shadow, a white rim, and ink of any hue darker than the rim.

    The rim belongs to the background, even where it covers another digit. It makes every digit readable on every
    photograph, so that neither the ink nor the photograph is needed to see the digit.

    Args:
        window: (h, w, 3) float32, 0..255, a numpy view of the scene.
        coverage: (h, w), 0..1.

    Returns:
        (h, w) bool: the pixels that the sticker hides.
    """
    height, width = coverage.shape
    shift = np.array([[1, 0, 2], [0, 1, 3]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(coverage, shift, (width, height)), (0, 0), 2.0)
    window *= 1 - rng.uniform(0.2, 0.6) * shadow[:, :, None]
    rim = cv2.dilate(coverage, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    window += (np.float32(rng.uniform(225, 250)) - window) * rim[:, :, None]
    paint = np.broadcast_to(_colour(rng), window.shape)
    if rng.random() < 0.4:
        photograph = _photograph(rng, pool)
        top, left = (
            int(rng.integers(have - want + 1)) for have, want in zip(photograph.shape, (height, width), strict=False)
        )
        texture = photograph[top : top + height, left : left + width].astype(np.float32)
        paint = paint + (texture - texture.mean(axis=(0, 1))) * rng.uniform(0.2, 0.5)
    window += (paint - window) * coverage[:, :, None]
    return rim >= 0.5


def _colour(rng: np.random.Generator) -> np.ndarray:
    """(3,) float32, 0..255: any hue, with a luminance that contrasts with white."""
    luma = rng.uniform(25, 150)
    hue = rng.uniform(0, 1, 3)
    colour = hue * luma / max(float(hue @ LUMA), 0.05)
    # Mixed with grey of the same luminance until no channel is above 255.
    excess = max(float(colour.max()) - 255, 0) / max(float(colour.max()) - luma, 1e-3)
    return (colour + (luma - colour) * max(excess, rng.uniform(0, 0.4))).astype(np.float32)
