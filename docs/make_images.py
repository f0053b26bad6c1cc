"""Makes the pictures of the guide.

pixelwise demo --out demo && python docs/make_images.py demo demo
pixelwise demo --out demo --minutes 2 && python docs/make_images.py predict demo
python docs/make_images.py training demo
python docs/make_images.py upsampling
python docs/make_images.py augmentation
python docs/make_images.py overfeat
python docs/make_images.py hourglass
python docs/make_images.py ignored
python docs/make_images.py active
python docs/make_images.py explain mobilenet_v2_imagenet.safetensors
python docs/make_images.py explain_objects runs/mask_rcnn-nuclei nuclei/images/ba3997edd3fc.png
pixelwise demo overfitting --out demo-overfitting && python docs/make_images.py overfitting demo-overfitting
python benchmarks/generative.py --keep runs && python docs/make_images.py generated runs/vae runs/dcgan
python docs/make_images.py active_curves simulation
python docs/make_images.py regression runs/unet-nuclei_distances nuclei_distances
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from figures import IMAGES, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from skimage import data as skimage_data
from skimage.segmentation import mark_boundaries
from torch import Tensor
from torch.nn import functional as F

import pixelwise
from pixelwise.active.curves import curves_figure, mean_curves
from pixelwise.active.simulation import Point
from pixelwise.data.augment import Augmentation
from pixelwise.data.draw import OKABE_ITO, colourise, contact_sheet, overlay, palette, to_rgb
from pixelwise.data.formats import open_dataset
from pixelwise.data.pictures import write_png
from pixelwise.data.sample import Instances, Sample
from pixelwise.data.scenes import CLASS_NAMES, large_scene, scene, write_scenes
from pixelwise.data.turning import Turn
from pixelwise.data.value_colours import coloured
from pixelwise.data.warp import Warp
from pixelwise.explain import (
    Fields,
    Subject,
    attribution_overlay,
    channel_score,
    class_score,
    deepdream,
    filter_sheet,
    grad_cam,
    heatmap_sheet,
    maximise,
    occlusion,
    open_subject,
    outputs,
    project,
    signed_picture,
)
from pixelwise.explain.looking import THOROUGH, look
from pixelwise.inference.rasters import open_raster
from pixelwise.losses.boxes import box_l2
from pixelwise.metrics.headline import Headline
from pixelwise.models.detect.overfeat import SMALL, OverFeat
from pixelwise.models.detect.selective_search import (
    COLOUR_BINS,
    SEGMENT_SCALES,
    TEXTURE_BINS,
    colour_spaces,
    grouped,
    orientation_energies,
    segments_of,
    selective_search,
    shares,
)
from pixelwise.nn.boxes import pairwise_iou
from pixelwise.nn.upsampling import MaxUnpool, create_upsampling
from pixelwise.report.boxes import draw_boxes
from pixelwise.report.figures import learning_rate_curve, loss_curve, score_curve
from pixelwise.report.variants import curves_sheet
from pixelwise.tasks.detect.merging import Localised, localise
from pixelwise.tasks.detect.overfeat_figure import overfeat_figure
from pixelwise.tasks.generate.task import sheet
from pixelwise.tasks.objects.inference import ObjectPrediction
from pixelwise.tasks.objects.report import draw_objects, judged
from pixelwise.tasks.regress.objects import objects_of_distances
from pixelwise.tasks.segment.scores import HEADLINES
from pixelwise.training.finish import compare_variants
from pixelwise.training.run import Run

SCENES = ("val-0007", "val-0008", "val-0038")


def demo(folder: Path) -> None:
    """A row a scene: the picture, its true mask, and the predicted one."""
    predict = pixelwise.load(folder / "run")
    dataset = pixelwise.open_dataset(folder / "scenes")
    colours = palette(len(dataset.class_names))
    panels: list[np.ndarray] = []
    for record in dataset.split("val"):
        if not record.name.endswith(SCENES):
            continue
        sample = dataset.load(record)
        for mask in (None, sample.mask, predict(sample.image).mask):
            panel = sample.image if mask is None else colourise(mask, colours)
            panels.append(cv2.resize(panel, None, fx=1.25, fy=1.25, interpolation=cv2.INTER_AREA))
    write_png(IMAGES / "demo.png", contact_sheet(panels, columns=3))


LARGE, TILE = (512, 768), 320
"""Height and width of a scene that is predicted in tiles, and the side of a tile."""


def predict(folder: Path) -> None:
    """A large scene and its tiles, the overlay and the confidence, as they are written for a file."""
    predictor = pixelwise.load(folder / "run", tile=TILE)
    image = large_scene(2, LARGE).image
    with tempfile.TemporaryDirectory() as name:
        scene_file, mask, laid_over, confidence = (
            Path(name, f"{stem}.png") for stem in ("scene", "mask", "over", "sure")
        )
        write_png(scene_file, image)
        predictor.predict_file(scene_file, mask, overlay=laid_over, confidence=confidence)
        written = [cv2.imread(str(file))[:, :, ::-1] for file in (laid_over, confidence)]
    inference: Any = predictor.inference
    tiles = image.copy()
    for number, (rows, columns) in enumerate(inference.grid(*LARGE)):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        corners = (columns.start + 2, rows.start + 2), (columns.stop - 3, rows.stop - 3)
        cv2.rectangle(tiles, *corners, color=colour, thickness=4)
    panels = [cv2.resize(panel, (384, 256), interpolation=cv2.INTER_AREA) for panel in (tiles, *written)]
    write_png(IMAGES / "predict.png", contact_sheet(panels, columns=3))


def numbers(axes: Axes, values: Tensor, title: str, top: float) -> None:
    """A small map as a grid of cells with their values; zeros are left blank."""
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1.6 * top)
    height, width = values.shape
    for row in range(height):
        for column in range(width):
            value = float(values[row, column])
            if value:
                axes.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=8)
    axes.set_xticks(np.arange(width + 1) - 0.5, labels=[])
    axes.set_yticks(np.arange(height + 1) - 0.5, labels=[])
    axes.grid(color="white", linewidth=1)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title, fontsize=9, loc="left")


def upsampling() -> None:
    """What each kind makes of four numbers, and how many inputs reach each output of a transposed convolution."""
    square = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    before = torch.tensor([[1, 0, 0, 2], [0, 0, 1, 0], [2, 3, 0, 0], [0, 1, 0, 4]]).float()[None, None]
    pooled, indices = F.max_pool2d(before, 2, return_indices=True)
    kinds = {kind: create_upsampling(kind, 1, 1) for kind in ("nearest", "bilinear", "nails")}
    panels = [("the maps", square), *((kind, layer(square)) for kind, layer in kinds.items())]
    panels += [
        ("unpool: before pooling", before),
        ("unpool: after pooling", pooled),
        ("unpool", MaxUnpool(1, 1)(pooled, indices)),
        ("pixel_shuffle: of four maps", F.pixel_shuffle(torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1), 2)),
    ]
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    for axes, (title, maps) in zip(figure.subplots(2, 4).flat, panels, strict=True):
        numbers(axes, maps[0, 0], title, 4)
    save(figure, "upsampling.png")

    cases = [(1, 1, 0), (3, 1, 0), (3, 1, 1), (2, 2, 0), (3, 2, 0), (3, 2, 1), (4, 2, 1), (2, 3, 0)]
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    for axes, (kernel, stride, padding) in zip(figure.subplots(2, 4).flat, cases, strict=True):
        ones = torch.ones(1, 1, 4, 4)
        reached = F.conv_transpose2d(ones, torch.ones(1, 1, kernel, kernel), stride=stride, padding=padding)
        side = reached.shape[-1]
        numbers(
            axes, reached[0, 0], f"kernel {kernel}, stride {stride}, padding {padding}\n4 x 4 to {side} x {side}", 9
        )
    save(figure, "transposed.png")


def augmentation() -> None:
    """Contact sheets: crops of one scene by one setting a row, and of a page of text."""
    sample = scene(7)
    rows = {
        "geometry": {"scale": (0.7, 1.5), "rotate": 25.0, "flip": "both", "elastic": 6.0},
        "light": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.6, "noise": 0.06, "blur": 1.5, "sharpen": 1.5},
        "erase": {"erase": 1.0},
        "background": {"background": 1.0},
        "one object": {"objects": 1.0, "alone": True},
    }
    colours = palette(len(CLASS_NAMES))
    panels = []
    for number, settings in enumerate(rows.values()):
        augment = Augmentation(crop=(160, 192), **settings)
        for seed in range(3):
            crop = augment(sample, np.random.default_rng([number, seed]))
            panels += [crop.image, overlay(crop.image, crop.mask, colours)]
    write_png(IMAGES / "augmentation.png", contact_sheet(panels, columns=6))

    page = skimage_data.page()
    page = np.repeat(page[:, :, None], 3, axis=2)
    paper = Augmentation(
        crop=page.shape[:2], rotate=3.0, perspective=0.08, folds=3, shading=0.6, ink=1.5, scan=0.8, blur=0.8
    )
    ink = (page[:, :, 0] < 110).astype(np.uint8)
    crops = [paper(Sample("page", page, ink), np.random.default_rng(seed)) for seed in range(5)]
    panels = [page, *(crop.image for crop in crops)]
    write_png(IMAGES / "documents.png", contact_sheet(panels, columns=3))
    write_png(IMAGES / "turning.png", turning())


FACE, HEAD = np.s_[0:210, 130:320], np.array([27.0, 2, 168, 186])
"""The window of scikit-image's astronaut, and the box (xyxy) around the head in it."""


def turning() -> np.ndarray:
    """Rows: a face that turns to the sides, one that nods, and labels that turn to the sides."""
    face = np.ascontiguousarray(skimage_data.astronaut()[FACE])
    height, width = face.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    squares = (1 + (rows // 25 + columns // 25) % 3).astype(np.uint8)
    sample = Sample("face", face, squares)
    colours = palette(4)
    middle, radii = (HEAD[:2] + HEAD[2:]) / 2, (HEAD[2:] - HEAD[:2]) / 2
    still, panels = Warp(np.eye(2, 3), (height, width)), []
    for axis, degrees in (
        ("yaw", (-35, -18, 0, 18, 35)),
        ("pitch", (-25, -12, 0, 12, 25)),
        ("mask", (-35, -18, 0, 18, 35)),
    ):
        for angle in np.deg2rad(degrees):
            yaw, pitch = (0.0, float(angle)) if axis == "pitch" else (float(angle), 0.0)
            crop = still.turned(Turn(middle, radii, yaw, pitch)).apply(sample)
            assert crop.mask is not None
            panels.append(overlay(crop.image, crop.mask, colours) if axis == "mask" else crop.image)
    return contact_sheet(panels, columns=5)


WINDOW_SIDES = (1.25, 2.3)
"""Of the windows that a digit is shown in, as multiples of its longer side."""


def digit_windows(
    samples: list[Sample], count: int, side: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Windows of scenes as OverFeat learns from them: two of three show a digit near the middle, one none.

    Returns:
        (N, 1, side, side) normalised, (N,) class ids, (N, 1, 4) boxes as shares of the window, NaN for none.
    """
    windows, classes, boxes = [], [], []
    while len(windows) < count:
        sample = samples[rng.integers(len(samples))]
        assert sample.instances is not None
        height, width = sample.image.shape[:2]
        middles = (sample.instances.boxes[:, :2] + sample.instances.boxes[:, 2:]) / 2
        longest = (sample.instances.boxes[:, 2:] - sample.instances.boxes[:, :2]).max(1)
        if len(windows) % 3:
            chosen = int(rng.integers(len(longest)))
            length = longest[chosen] * rng.uniform(*WINDOW_SIDES)
            middle = middles[chosen] + rng.uniform(-0.2, 0.2, 2) * length
        else:
            chosen, length = -1, rng.uniform(50, 130)
            middle = rng.uniform(0, 1, 2) * (width, height)
        length = min(length, height)
        corner = np.clip(middle - length / 2, 0, np.array([width, height]) - length)
        apart = np.abs(middles - corner - length / 2).max(1) / length
        if apart[chosen] > 0.25 if chosen >= 0 else ((apart < 0.4) & (longest > 0.3 * length)).any():
            continue  # at the border a digit may not reach the middle; and what shows half a digit is neither
        scale = side / length
        matrix = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
        windows.append(cv2.warpAffine(sample.image, matrix, (side, side), flags=cv2.INTER_AREA))
        classes.append(int(sample.instances.classes[chosen]) if chosen >= 0 else 0)
        box = (sample.instances.boxes[chosen] - np.tile(corner, 2)) / length
        boxes.append(box if chosen >= 0 else np.full(4, np.nan))
    images = torch.cat([normalised(window) for window in windows])
    return images, torch.tensor(classes), torch.from_numpy(np.stack(boxes)).float()[:, None]


def normalised(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (1, 1, H, W): in grey, since the colour of a digit says nothing."""
    return (torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)).float()[None, None] - 120) / 60


def digit_finder(steps: int = 1000) -> OverFeat:
    """A small OverFeat in the paper's two training stages: the class, then the box on maps that stay as they are."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    samples = [scene((5, number), digits=(4, 8)) for number in range(240)]
    network = OverFeat(**SMALL._asdict(), num_classes=11, in_channels=1, regression=True, dropout=0.2)
    for names, count in ((network.class_branch, steps), (network.box_branch, steps // 2)):
        parameters = [p for name in names for p in network.get_submodule(name).parameters()]
        optimizer = torch.optim.AdamW(parameters, 2e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=count)
        for _ in range(count):
            images, classes, boxes = digit_windows(samples, 64, network.window[0], rng)
            if names == network.class_branch:
                loss = F.cross_entropy(network.logits(images), classes)
            else:
                with torch.no_grad():
                    maps = network.pooled(images)
                loss = box_l2(network.regress(maps)[:, 0, 0], boxes, (classes > 0)[:, None], (1, 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def find_digits(network: OverFeat, sample: Sample) -> Localised:
    image = normalised(sample.image)[0]
    return localise(network, image, scales=(88, 104, 124, 148), background=0, least=0.3, threshold=0.9)


def overfeat() -> None:
    """OverFeat's steps on a scene of digits that it has not seen; prints how many digits it finds in others."""
    network = digit_finder()
    sample = scene((6, 0), digits=(3, 4), pool="val")
    figure = overfeat_figure(sample.image, find_digits(network, sample), CLASS_NAMES, background=0)
    save(figure, "overfeat.png")
    found = shown = there = 0
    for number in range(40):
        sample = scene((7, number), digits=(2, 4), pool="val")
        assert sample.instances is not None
        boxes, classes = torch.from_numpy(sample.instances.boxes), torch.from_numpy(sample.instances.classes)
        merged = find_digits(network, sample).merged
        sure = merged.scores > SURE
        fits = pairwise_iou(boxes.double(), merged.boxes[sure]) >= 0.5
        fits &= classes[:, None] == merged.classes[sure]
        found, shown, there = found + int(fits.any(1).sum()), shown + int(sure.sum()), there + len(boxes)
    print(f"{found} of {there} digits found (right class, IoU >= 0.5) with {shown} boxes")


SURE = 15.0
"""Summed confidence from which on a merged box counts as an answer."""


def explain(weights: Path) -> None:
    """What a MobileNetV2 with TensorFlow's padding sees, looks for and dreams of; about six minutes on one core."""
    subject = open_subject(f"mobilenet_v2_tf:{weights}")
    explain_layers(subject)
    explain_why(subject)
    explain_maximised(subject)
    explain_dream(subject)


def explain_layers(subject: Subject) -> None:
    """First filters, and the most active channels of three layers for a cat."""
    write_png(IMAGES / "explain_filters.png", filter_sheet(subject.network, columns=16, zoom=14))
    layers = ["features.2.conv.0", "features.4.conv.0", "features.7.conv.0"]
    cat = subject.tensor(cv2.resize(skimage_data.chelsea(), (336, 224), interpolation=cv2.INTER_AREA))
    maps = outputs(subject.network, cat, layers)
    sheets = [heatmap_sheet(maps[layer][0], count=6, columns=6, side=128) for layer in layers]
    write_png(IMAGES / "explain_maps.png", np.concatenate(sheets))


def explain_why(subject: Subject) -> None:
    """A row a photograph: the picture, Grad-CAM, occlusion and guided backpropagation of the most probable class."""
    network, panels = subject.network, []
    for photograph in (skimage_data.chelsea(), skimage_data.coffee()):
        image = cv2.resize(photograph, (336, 224), interpolation=cv2.INTER_AREA)
        images = subject.tensor(image)
        with torch.no_grad():
            shares = network(images).softmax(1)[0]
        print("class", int(shares.argmax()), f"{float(shares.max()):.2f}")
        score = class_score(int(shares.argmax()))
        fields = Fields(network, ["features"], height=224, width=336, channels=3)
        cam = fields.spread("features", grad_cam(network, images, score, layer="features"))[0]
        drops = occlusion(network, images, score, side=56, stride=14)
        guided = project(network, images, score, rule="guided")[0]
        panels += [
            image,
            attribution_overlay(image, cam),
            attribution_overlay(image, drops, least=0.0),
            signed_picture(guided),
        ]
    write_png(IMAGES / "explain_why.png", contact_sheet(panels, columns=4))


CHANNELS = (("features.4", (3, 19, 18, 11)), ("features.10", (50, 41, 19, 61)))
CLASSES = (("", (985, 130, 417, 340)), ("", (88, 963, 76, 1)))
"""Daisy, flamingo, balloon, zebra; macaw, pizza, tarantula, goldfish."""


def explain_maximised(subject: Subject) -> None:
    """Pictures to which channels and classes answer most, made from noise."""
    for name, wanted in (("explain_channels.png", CHANNELS), ("explain_maximised.png", CLASSES)):
        panels = []
        for layer, numbers in wanted:
            pictures = maximise(
                subject.network,
                channel_score(*numbers),
                layer=layer,
                number=len(numbers),
                size=(192, 192),
                contrast=1.0,
                jitter=32,
                rotate=20.0,
                magnify=(0.75, 1.2),
                bounds=subject.bounds,
            )
            panels += [subject.picture(picture) for picture in pictures]
        write_png(IMAGES / name, contact_sheet(panels, columns=4))


def explain_dream(subject: Subject) -> None:
    """Coffee and a cat, dreamt by a layer in the middle."""
    photographs = [
        cv2.resize(photograph, (384, 256), interpolation=cv2.INTER_AREA)
        for photograph in (skimage_data.coffee(), skimage_data.chelsea())
    ]
    images = torch.cat([subject.tensor(photograph) for photograph in photographs])
    dreams = deepdream(subject.network, images, ["features.13.conv.0"], octaves=4, steps=10, bounds=subject.bounds)
    write_png(IMAGES / "explain_dream.png", contact_sheet([subject.picture(dream) for dream in dreams], columns=2))


def explain_objects(run: Path, picture: Path) -> None:
    """What a detector finds, its objectness, proposals and anchors, and why its surest box has its class."""
    subject = open_subject(run)
    seen = look(subject, picture.name, subject.read(picture), [], [], [], THOROUGH, lambda done: None)
    panels = {group.title: [panel.picture for panel in group.panels] for group in seen.explained}
    why = next(panels[title] for title in panels if title.startswith("Why "))
    rows = [
        [panels["What it finds"][1], *panels["Objectness"][:2], panels["Region proposals"][0]],
        [*panels["Anchors"], *why[1:3]],
    ]
    shown = [cv2.resize(each, None, fx=(f := 300 / max(each.shape[:2])), fy=f) for row in rows for each in row]
    write_png(IMAGES / "explain_objects.png", contact_sheet(shown, columns=4))


def training(folder: Path) -> None:
    """The curves of a run's report: loss, validation and learning rate."""
    run = Run(folder / "run")
    panels = []
    for figure in (loss_curve(run.log()), score_curve(run.log(), HEADLINES), learning_rate_curve(run.log())):
        assert figure is not None
        stored = BytesIO()
        figure.savefig(stored, dpi=110)
        panels.append(np.asarray(Image.open(stored).convert("RGB")))
    write_png(IMAGES / "training.png", contact_sheet(panels, columns=3))


def overfitting(folder: Path) -> None:
    """Accuracy and loss of each variant, on the pictures learnt from and on others."""
    figure = curves_sheet(compare_variants(Run(folder / "run")))
    figure.savefig(IMAGES / "overfitting.png", dpi=150)


def generated(*runs: Path) -> None:
    """Pictures that each network makes of noise, side by side, the first run on the left."""
    sheets = []
    for run in runs:
        with tempfile.TemporaryDirectory() as folder:
            made = [Image.open(file) for file in pixelwise.sample(run, folder, count=32)[1:]]
            sheets.append(sheet(np.stack([to_rgb(np.asarray(picture)) for picture in made])))
    heights = min(each.shape[0] for each in sheets)
    fitted = [cv2.resize(each, (each.shape[1] * heights // each.shape[0], heights)) for each in sheets]
    gap = np.full((heights, 24, 3), 255, np.uint8)
    write_png(IMAGES / "generated.png", np.hstack([piece for each in fitted for piece in (gap, each)][1:]))


def regression(run: Path, data: Path) -> None:
    """Crowded held-out pictures, the true and the predicted distances, and the cells that the predicted hills give."""
    predict, dataset, panels = pixelwise.load(run), open_dataset(data), []
    examples = [dataset.load(record) for record in dataset.split("val")]
    examples = [example for example in examples if example.image.shape[:2] == (256, 256)]
    examples.sort(key=lambda example: -objects_of_distances(example.values).max())
    for example in examples[:12:4]:
        assert example.values is not None
        values = predict(example.image).values
        picture, high = to_rgb(example.image), float(example.values.max())
        shown = (picture, coloured(example.values, 0, high), coloured(values, 0, high))
        panels += [*shown, outlined(picture, objects_of_distances(values))]
    write_png(IMAGES / "regression.png", contact_sheet(panels, columns=4))


def outlined(picture: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The picture with a line around each cell."""
    return (mark_boundaries(picture, cells, color=(1, 0.75, 0), mode="inner") * 255).astype(np.uint8)


def mask_rcnn(run: Path, data: Path) -> None:
    """Proposals, candidates, detections and outlines, of two held-out pictures."""
    predict, dataset = pixelwise.load(run), open_dataset(data)
    inference: Any = predict.inference
    panels = []
    examples = [dataset.load(record, objects=True) for record in dataset.split("val")]
    examples = [example for example in examples if example.image.shape[0] == example.image.shape[1] <= 360]
    examples.sort(key=lambda example: len(example.instances or ()))
    for example in (examples[len(examples) // 2], examples[-len(examples) // 8]):
        image, size = example.image, (360, 360)
        scale = 360 / max(image.shape[:2])
        with open_raster(image) as raster:
            found = inference.candidates(raster)
            proposals = inference.proposals(image)[:30]
        picture = cv2.resize(to_rgb(image), size, interpolation=cv2.INTER_CUBIC)
        sure = found.above(0.5)
        for boxes, classes in (
            (proposals, np.ones(len(proposals), np.int64)),
            (found.boxes, found.classes),
            (sure.boxes, sure.classes),
        ):
            panels.append(draw_boxes(picture, boxes * scale, classes))
        panels.append(cv2.resize(sure.overlay(), size, interpolation=cv2.INTER_CUBIC))
    write_png(IMAGES / "mask_rcnn.png", contact_sheet(panels, columns=4))


BLUE, ORANGE, GREY = "#2f7fd0", "#d9731a", "#8a8f98"


def hourglass() -> None:
    """Two stacks (figures 1, 3 and 4 of Newell et al.), from the shapes that the network's own modules answer."""
    network = pixelwise.create_model("hourglass_pose", num_joints=16, stacks=2, features=16).eval()
    seen: list[tuple[str, int]] = []

    def note(name: str) -> Any:
        return lambda module, given, answer: seen.append((name, answer.shape[-1]))

    for name, module in network.named_modules():
        if type(module).__name__ == "Residual":
            module.register_forward_hook(note(name))
    with torch.inference_mode():
        sides = [heatmaps.shape[-1] for heatmaps in network(torch.zeros(1, 3, 256, 256))]
    figure = Figure(figsize=(12, 4.0), layout="constrained")
    axes = figure.add_subplot()
    x = _boxes(axes, 0.0, [side for name, side in seen if not name.startswith("stacks.")], "first layers")
    for number, side in enumerate(sides):
        own = [(name, size) for name, size in seen if name.startswith(f"stacks.{number}.hourglass")]
        start = x
        x = _one_hourglass(axes, x, own)
        axes.annotate("", (x + 0.1, 0), (x - 0.4, 0), arrowprops={"arrowstyle": "-|>", "color": GREY})
        axes.text((start + x) / 2, -0.68, f"hourglass {number + 1}", ha="center", fontsize=10)
        axes.add_patch(Rectangle((x + 0.15, -_tall(side) / 2), 0.35, _tall(side), color=ORANGE))
        axes.text(x + 0.33, 0.62, f"heatmaps\n{side} x {side}\nloss", ha="center", fontsize=8, color=ORANGE)
        if number + 1 < len(sides):
            axes.plot([start - 0.2, start - 0.2, x + 1.1], [0, -0.52, -0.52], color=GREY, linewidth=0.8)
            axes.annotate("", (x + 1.1, -0.08), (x + 1.1, -0.52), arrowprops={"arrowstyle": "-|>", "color": GREY})
            axes.text(x + 1.1, 0, "+", ha="center", va="center", fontsize=16)
            axes.annotate("", (x + 1.0, 0), (x + 0.55, 0), arrowprops={"arrowstyle": "-|>", "color": GREY})
            x += 1.5
    axes.set(xlim=(-0.4, x + 0.9), ylim=(-0.75, 0.87))
    axes.axis("off")
    figure.savefig(IMAGES / "hourglass.png", dpi=110)


def _tall(side: int) -> float:
    """How tall a box is that stands for maps of a side."""
    return 0.12 * float(np.log2(side) - 1)


def _boxes(axes: Axes, x: float, sides: list[int], title: str) -> float:
    """Residual modules one after the other; returns where the next thing stands."""
    axes.text(x + 0.3 * len(sides), -0.68, title, ha="center", fontsize=10)
    for side in sides:
        axes.add_patch(Rectangle((x, -_tall(side) / 2), 0.3, _tall(side), color=BLUE))
        axes.text(x + 0.15, _tall(side) / 2 + 0.02, str(side), ha="center", fontsize=7, color=BLUE)
        x += 0.55
    return x + 0.3


def _one_hourglass(axes: Axes, x: float, modules: list[tuple[str, int]]) -> float:
    """Down, the bottom, and up; the modules beside it stand above, on the way of the maps before each pooling."""
    down = [size for name, size in modules if name.endswith(".down")]
    up = [size for name, size in modules if name.endswith(".up")]
    beside = sorted((size for name, size in modules if name.endswith(".beside")), reverse=True)
    bottom = [size for name, size in modules if name.endswith(".inner")]
    places = {}
    for side in (*down, *bottom, *up):
        axes.add_patch(Rectangle((x, -_tall(side) / 2), 0.3, _tall(side), color=BLUE))
        axes.text(x + 0.15, -_tall(side) / 2 - 0.07, str(side), ha="center", fontsize=7, color=BLUE)
        places.setdefault(side, []).append(x)
        x += 0.45
    for step, side in enumerate(beside):
        low, high = min(places[side // 2]) - 0.075, max(places[side // 2]) + 0.375
        height = 0.36 + 0.13 * (len(beside) - step - 1)
        axes.plot([low, low, high, high], [0, height, height, 0], color=GREY, linewidth=0.8)
        axes.add_patch(Rectangle(((low + high) / 2 - 0.15, height - 0.05), 0.3, 0.1, color=BLUE, zorder=3))
        axes.text((low + high) / 2 + 0.22, height - 0.03, str(side), fontsize=7, color=BLUE, backgroundcolor="white")
    return x + 0.3


def rcnn(run: Path, data: Path) -> None:
    """Segments, groups halfway, proposals and detections, of two held-out pictures."""
    predict, dataset = pixelwise.load(run), open_dataset(data)
    inference: Any = predict.inference
    panels = []
    for record in dataset.split("val")[:2]:
        image = dataset.load(record, objects=True).image
        colours = colour_spaces(image.astype(np.float32) / 255)[0]
        segments = segments_of(colours, SEGMENT_SCALES[0])
        histograms = [
            shares(segments, colours, COLOUR_BINS),
            shares(segments, orientation_energies(colours), TEXTURE_BINS),
        ]
        hierarchy = grouped(segments, histograms)
        groups = hierarchy.labels((hierarchy.count - 1) // 3)[segments]
        large = cv2.resize(to_rgb(image), None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
        proposals = selective_search(image)[:60] * 1.5
        with open_raster(image) as raster:
            found = inference.candidates(raster).above(inference.threshold)
        for regions in (segments, groups):
            enlarged = cv2.resize(regions.astype(np.int32), large.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            panels.append(outlined(averaged(large, enlarged), enlarged))
        panels.append(draw_boxes(large, proposals, np.ones(len(proposals), np.int64)))
        panels.append(draw_boxes(large, found.boxes * 1.5, found.classes, found.labels()))
    write_png(IMAGES / "rcnn.png", contact_sheet(panels, columns=4))


def averaged(picture: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """The picture with every region in its mean colour."""
    _, ids = np.unique(regions, return_inverse=True)
    ids = ids.reshape(regions.shape)
    counts = np.bincount(ids.ravel())
    means = np.stack([np.bincount(ids.ravel(), picture[:, :, channel].ravel()) / counts for channel in range(3)], 1)
    return means[ids].astype(np.uint8)


def ignored() -> None:
    """True objects of a scene, among them a difficult one and a crowd, and detections judged by them."""
    sample, scale = scene(7, (120, 180), digits=(7, 7)), 3
    assert sample.instances is not None
    image = cv2.resize(sample.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    boxes = scale * sample.instances.boxes[np.argsort(sample.instances.boxes[:, 0])]
    hard, many, counted = boxes[:1], boxes[1:3], boxes[3:]
    around = np.concatenate([many[:, :2].min(0), many[:, 2:].max(0)])[None]
    left = Instances(np.concatenate([hard, around]), np.ones(2, np.int64), crowd=np.array([False, True]))
    objects = Instances(counted, np.ones(len(counted), np.int64), ignored=left)
    stray = np.array([[420, 12, 510, 90]], np.float32)
    found = np.concatenate([counted[:-1], hard, many, stray])
    names = ("background", "digit")
    answer = ObjectPrediction(found, np.ones(len(found), np.int64), np.full(len(found), 0.9), names, image)
    panels = [draw_objects(image, objects, names, palette(2, 0)), answer.overlay(), judged(answer, objects)]
    write_png(IMAGES / "ignored.png", contact_sheet(panels, columns=3))


def active() -> None:
    """Suggested regions, the mask that is prepared for them, and suggested pixels, in scenes; about two minutes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder / "labelled", train=8, val=4, size=(160, 224))
        write_scenes(folder / "more", train=12, val=2, size=(160, 224), seed=1)
        run = pixelwise.train("unet", data=folder / "labelled", epochs=150, out=folder / "run").path
        pool = folder / "more" / "images"
        chosen = {"regions": 30, "pixels": 120}
        for unit, budget in chosen.items():
            pixelwise.suggest(run, pool, folder / unit, budget=budget, unit=unit)
        drawn = [{file.name: file for file in (folder / unit / "overlays").iterdir()} for unit in chosen]
        panels = []
        for file in sorted(set(drawn[0]) & set(drawn[1]))[:2]:
            mask = Image.open(folder / "regions" / "to_label" / "masks" / file).convert("RGB")
            panels += [np.asarray(Image.open(drawn[0][file])), np.asarray(mask), np.asarray(Image.open(drawn[1][file]))]
    panels = [cv2.resize(panel, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) for panel in panels]
    write_png(IMAGES / "active.png", contact_sheet(panels, columns=3))


def active_curves(folder: Path) -> None:
    """The curves of a simulation."""
    with (folder / "simulation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    points = [
        Point(
            row["strategy"],
            int(row["seed"]),
            int(row["round"]),
            int(row["labels"]),
            float(row["share"]),
            float(row["score"]),
        )
        for row in rows
    ]
    headline = Headline("accuracy", "accuracy")
    curves_figure(points, "pictures", headline).savefig(IMAGES / "active_curves.png", dpi=120)
    for name, curve in mean_curves(points).items():
        print(name, [f"{entry.labels:.0f}: {entry.score:.3f}" for entry in curve])


FIGURES: dict[str, Callable[..., None]] = {
    "active": active,
    "active_curves": active_curves,
    "augmentation": augmentation,
    "demo": demo,
    "explain": explain,
    "explain_objects": explain_objects,
    "generated": generated,
    "hourglass": hourglass,
    "ignored": ignored,
    "mask_rcnn": mask_rcnn,
    "overfeat": overfeat,
    "overfitting": overfitting,
    "predict": predict,
    "rcnn": rcnn,
    "regression": regression,
    "training": training,
    "upsampling": upsampling,
}

if __name__ == "__main__":
    FIGURES[sys.argv[1]](*map(Path, sys.argv[2:]))
