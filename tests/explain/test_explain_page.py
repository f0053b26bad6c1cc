"""Sheets, overlays and the page: for classifiers and dense networks, colour, grey and other pictures."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from pixelwise import cli
from pixelwise.catalog import create_model
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.scenes import scene
from pixelwise.errors import UserError
from pixelwise.explain import attribution_overlay, explain, filter_sheet, heatmap_sheet, open_subject, signed_picture
from pixelwise.explain.filters import filter_tiles
from pixelwise.explain.heatmaps import most_active
from pixelwise.explain.target import class_number
from pixelwise.models.spec import ModelSpec, save_model

VOID_ELEMENTS = frozenset({"meta", "img", "br"})


class Page(HTMLParser):
    """Collects sections, texts and addresses, and sees that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.alternatives: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(str(value))
            if name == "alt":
                self.alternatives.append(str(value))
            if name in ("src", "href"):
                assert str(value).startswith(("data:image/jpeg;base64,", "#"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def write_model(path: Path, name: str, channels: int, dtype: str = "uint8", **options: object) -> Path:
    torch.manual_seed(0)
    options = {"num_classes": 3, "in_channels": channels, **options}
    network = create_model(name, **options)
    full = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}[dtype]
    size = getattr(network, "window", None) or {"resnet18": (32, 32), "localizer": (64, 64)}.get(name)
    spec = ModelSpec(
        name, options, ("background", "<cell>", "rim & wall"), PictureFormat(channels, dtype), (full / 2,) * channels,
        (full / 4,) * channels, input_size=size,
    )  # fmt: skip
    save_model(path, network.state_dict(), spec)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey one, a colour one with transparency, a 16-bit one, one of five channels."""
    folder = tmp_path_factory.mktemp("pictures")
    image = scene(3, (40, 56)).image
    Image.fromarray(image[:, :, 0]).save(folder / "grey.png")
    Image.fromarray(np.dstack([image, image[:, :, :1]])).save(folder / "alpha.png")
    Image.fromarray(image[:, :, 1].astype(np.uint16) * 257).save(folder / "deep.png")
    tifffile.imwrite(
        folder / "five.tif", np.dstack([image, image[:, :, :2]]), photometric="minisblack", planarconfig="contig"
    )
    return folder


@pytest.mark.parametrize(
    ("name", "channels", "dtype", "picture", "options"),
    [
        ("unet", 3, "uint8", "grey.png", {"width": 4}),
        ("unet", 1, "uint16", "deep.png", {"width": 4}),
        ("unet", 5, "float32", "five.tif", {"width": 4}),
        ("resnet18", 3, "uint8", "alpha.png", {}),
    ],
)
def test_the_page_of_a_network(
    name: str, channels: int, dtype: str, picture: str, options: dict[str, int], pictures: Path, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "model.safetensors", name, channels, dtype, **options)
    done: list[float] = []
    layers = ["layer1", "layer3"] if name == "resnet18" else ["down.1"]
    made = explain(
        model, [pictures / picture], out=tmp_path / "page.html", layers=layers, classes=["<cell>", 2], quick=True,
        progress=done.append,
    )  # fmt: skip
    text = made.read_text()
    page = Page(text)
    assert {"network", "pictures", "maximised", "methods"} <= set(page.ids)
    for shown in (picture, name, "<cell>", "rim & wall", layers[0], "Grad-CAM", "Occlusion", "Deconvnet", "Guided"):
        assert shown in page.text
    count = (
        f"{sum(p.numel() for p in create_model(name, num_classes=3, in_channels=channels, **options).parameters()):,}"
    )
    assert count in page.text
    assert "<cell>" not in text
    assert "nan" not in page.text.lower()
    dense = name == "unet"
    assert sum("Prediction" in alternative for alternative in page.alternatives) == (2 if dense else 0)
    # A class with negative weights alone has nothing that deconvnet could send back, and then there is no such picture.
    deconvnets = sum("Deconvnet" in alternative for alternative in page.alternatives)
    assert 1 <= deconvnets <= 2
    assert len(page.alternatives) == 1 + 2 * (5 + dense) + deconvnets + len(layers) + 2 + 4 * len(layers)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1.0)
    assert made.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("name", "options"),
    [("localizer", {"encoder": "resnet18", "hidden": (8,)}), ("overfeat_small", {"regression": True})],
)
def test_a_network_that_gives_boxes(name: str, options: dict[str, object], pictures: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.safetensors", name, 3, **options)
    page = Page(explain(model, [pictures / "alpha.png"], out=tmp_path, quick=True).read_text())
    for shown in ("its box", "left edge", "top edge", "right edge", "bottom edge", "Occlusion"):
        assert shown in page.text


def test_the_whole_command_with_data_and_again_the_same_bytes(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    write_model(run / "best.safetensors", "unet", 3, width=4)
    data = tmp_path / "data"
    for name, folder in (("a", "images"), ("b", "images"), ("a", "masks")):
        (data / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(ord(name), (32, 40)).image).save(data / folder / f"{name}.png")
    command = (run / "best.safetensors", pictures / "grey.png", "--quick", "--layers", "down.1", "--classes", "1,0")
    assert pixelwise("explain", *command, "--data", data, "--out", tmp_path / "one.html") == (
        0,
        f"{tmp_path / 'one.html'}\n",
    )
    page = Page((tmp_path / "one.html").read_text())
    assert "patches" in page.ids
    assert page.alternatives.count("a.png") == 4  # once a channel: the mask is no picture
    assert pixelwise("explain", *command, "--data", data, "--out", tmp_path / "two.html")[0] == 0
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def pixelwise(*arguments: object) -> tuple[int, str]:
    """Exit status, and all that was printed, in this process."""
    import contextlib
    import io
    from unittest import mock

    printed = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["pixelwise", *map(str, arguments)]),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        try:
            cli.main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, printed.getvalue()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["MODEL", "missing.png"], "no such file"),
        (["MODEL", "PICTURE", "--layers", "down.9"], "did you mean 'down.4'"),
        (["MODEL", "PICTURE", "--classes", "cel"], "did you mean '<cell>'"),
        (["MODEL", "PICTURE", "--classes", "7"], "3 classes, 0 to 2"),
        (["MODEL", "PICTURE", "--data", "EMPTY"], "no pictures in this folder"),
        (["MODEL", "PICTURE", "--out", "page"], "must end in .html, such as page.html"),
        (["MODEL", "PICTURE", "--out", "nowhere/page.html"], "no folder nowhere"),
        (["nothing", "PICTURE"], "nothing"),
        (["VARIANTS", "PICTURE"], r"variants: has several variants; give one of them: .*variants/variants/NAME"),
        (["unet:WEIGHTS", "PICTURE"], "takes its number of classes from a run"),
        (["resnet81:WEIGHTS", "PICTURE"], "did you mean 'resnet18'"),
        (["resnet18:nothing.safetensors", "PICTURE"], "no such weights file"),
        (["resnet18:WEIGHTS", "PICTURE"], "weights are of another network"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(
    arguments: list[str], words: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "variants").mkdir()
    (tmp_path / "variants" / "variants.yaml").write_text("")
    save_file({"some.weight": torch.zeros(3)}, tmp_path / "weights.safetensors")
    model = write_model(tmp_path / "model.safetensors", "unet", 3, width=4)
    real = {
        "MODEL": model,
        "PICTURE": pictures / "grey.png",
        "EMPTY": tmp_path / "empty",
        "VARIANTS": tmp_path / "variants",
    }
    given = [str(real.get(part, part)).replace("WEIGHTS", "weights.safetensors") for part in arguments]
    status, printed = pixelwise("explain", *given)
    assert status == 1
    assert re.search(words, printed), printed
    assert "Traceback" not in printed
    assert not list(tmp_path.rglob("*.html"))


def test_published_weights_of_a_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create_model("resnet18")
    save_file(network.state_dict(), tmp_path / "published.safetensors", metadata={"input": "RGB / 127.5 - 1"})
    subject = open_subject(f"resnet18:{tmp_path / 'published.safetensors'}")
    assert len(subject.spec.class_names) == 1000
    picture = subject.fit(np.full((300, 500, 3), 255, np.uint8))
    assert picture.shape == (224, 224, 3)
    images = subject.tensor(picture)
    assert torch.allclose(images, torch.ones(1, 3, 224, 224))  # white is 1 in these weights' units
    assert (subject.picture(images[0]) == 255).all()
    low, high = subject.bounds  # type: ignore[misc]
    assert low.flatten().tolist() == [-1.0] * 3
    assert high.flatten().tolist() == [1.0] * 3


def test_a_network_without_pictures_and_without_convolutions() -> None:
    with pytest.raises(UserError, match="no convolution"):
        filter_sheet(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))


@pytest.mark.parametrize(("channels", "count"), [(1, 4), (3, 4), (5, 20)])
def test_filters_by_their_own_range(channels: int, count: int) -> None:
    weight = torch.randn(4, channels, 3, 3) * torch.tensor([1.0, 10.0, 0.1, 0.0]).view(4, 1, 1, 1)
    tiles = filter_tiles(weight)
    assert len(tiles) == count
    for tile in tiles:
        assert tile.shape == (3, 3, 3)
    grouped = np.stack(tiles).reshape(4, -1)
    assert grouped[:3].min(1).tolist() == [0, 0, 0]
    assert grouped[:3].max(1).tolist() == [255, 255, 255]
    assert set(grouped[3].tolist()) == {128}
    # The least weight is black and the greatest white, at its place.
    row, column = divmod(int(weight[1, 0].argmax()), 3)
    if channels == 1:
        assert tiles[1][row, column].tolist() == [255] * 3
    sheet = filter_sheet(nn.Conv2d(channels, 4, 3), columns=channels * 2, zoom=2)
    assert sheet.shape == (2 + -(-count // (2 * channels)) * 8, 2 + 2 * channels * 8, 3)


def test_the_most_active_channels_come_first() -> None:
    change = torch.tensor([[1.0, -1.0, 0.0], [0.0, -1.0, 1.0]])
    maps = torch.stack([level + size * change for level, size in ((9.0, 0.1), (0.0, -3.0), (1.0, 2.0), (50.0, 0.0))])
    assert most_active(maps, 3) == [1, 2, 0]
    maps[1, 0, 0], maps[1, 1, 2] = 5, -5
    sheet = heatmap_sheet(maps, count=2, columns=2, side=12)
    assert sheet.shape == (2 + 8 + 2, 2 + 2 * 14, 3)
    assert sheet[3, 3].tolist() == [253, 231, 36]  # viridis at its greatest
    assert sheet[9, 12].tolist() == [68, 1, 84]  # and at its least


def test_heat_leaves_cold_places_alone() -> None:
    picture = np.full((4, 6, 3), (200, 100, 50), np.uint8)
    heat = torch.zeros(4, 6)
    heat[1, 2] = 7
    shown = attribution_overlay(picture, heat)
    cold = shown[0, 0].tolist()
    assert np.array_equal(shown[2:], np.broadcast_to(cold, (2, 6, 3)))
    assert cold[0] > cold[1] > cold[2]  # still the picture's colour
    assert shown[1, 2].astype(int).sum() > 500  # inferno ends in pale yellow
    assert np.array_equal(attribution_overlay(picture, -heat, least=0.0), np.broadcast_to(cold, (4, 6, 3)))
    with pytest.raises(ValueError, match="picture is"):
        attribution_overlay(picture, torch.zeros(6, 4))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_signed_values_around_mid_grey(channels: int) -> None:
    values = torch.zeros(channels, 5, 5)
    values[:, 0, 0], values[:, 4, 4] = 2.0, -2.0
    shown = signed_picture(values, quantile=1.0)
    assert shown[0, 0].tolist() == [255] * 3
    assert shown[4, 4].tolist() == [0] * 3
    assert shown[2, 2].tolist() == [128] * 3
    assert (signed_picture(0 * values) == 128).all()


def test_classes_by_name_or_number() -> None:
    names = ("sky", "7", "tree")
    assert [class_number(name, names) for name in ("tree", "7", "0", 2)] == [2, 1, 0, 2]
    with pytest.raises(UserError, match="did you mean 'tree'"):
        class_number("tre", names)
