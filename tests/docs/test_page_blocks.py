"""The Python blocks and the commands of the first pages run as they stand, on embedded data and with small budgets."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pages import DOCS, ROOT, code_blocks
from typer.testing import CliRunner

import pixelwise
from pixelwise.catalog import create_model
from pixelwise.cli import app
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.scenes import scene, write_coco_scenes, write_scenes
from pixelwise.models.spec import ModelSpec, save_model

Names = dict[str, Any]
BUDGET = re.compile(r"(?<=\W)minutes([= ])\d+")


WITHOUT_FIGURE = {"README", "architecture", "reliability"}


@pytest.mark.parametrize("page", sorted({page.stem for page in DOCS.glob("*.md")} - WITHOUT_FIGURE))
def test_a_page_begins_with_a_command_and_a_figure(page: str) -> None:
    beginning = (DOCS / f"{page}.md").read_text(encoding="utf-8").split("\n## ")[0]
    assert "```" in beginning
    assert re.search(r"^!\[", beginning, re.MULTILINE)


def short(text: str) -> str:
    """One epoch in place of any number of minutes."""
    return BUDGET.sub(r"epochs\g<1>1", text)


def picture() -> np.ndarray:
    return scene(np.random.default_rng(5), (64, 96)).image


def write(file: str, image: np.ndarray) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(file, image)


def own_folder(digits: Path) -> Names:
    write_scenes("my_data", train=8, val=4, size=(64, 96))
    for name in ("new_picture.jpg", "new_pictures/a.png", "new_pictures/b.png"):
        write(name, picture())
    return {}


def sorted_pictures(digits: Path) -> Names:
    shutil.copytree(digits, "my_sorted_pictures")
    write("new_picture.jpg", picture())
    return {}


def folder(digits: Path) -> Names:
    write_scenes("DATA", train=3, val=2, size=(32, 48))
    return {}


def weights_of_deeplab(digits: Path) -> Names:
    options = {"num_classes": 11, "encoder": "mobilenet_v2", "width": 128, "output_stride": 8}
    spec = ModelSpec("deeplab_v3", options, ("a",) * 11, PictureFormat(), (0.0,) * 3, (1.0,) * 3)
    Path("runs").mkdir()
    save_model(Path("runs/camvid"), create_model("deeplab_v3", **options).state_dict(), spec)
    return {"create_model": create_model}


def unet(digits: Path) -> Names:
    """A U-Net over ResNet-18, trained for one epoch on scenes, and pictures to predict."""
    write_scenes("scenes", train=4, val=2, size=(64, 96))
    pixelwise.train("unet", data="scenes", epochs=1, out="runs/unet-camvid", overrides={"model.encoder": "resnet18"})
    for name in ("street.jpg", "street.png", "slide.tif"):
        write(name, picture())
    prediction = pixelwise.load("runs/unet-camvid")("street.png")
    return {
        "pixelwise": pixelwise, "prediction": prediction, "predict": pixelwise.load("runs/unet-camvid"),
        "image": torch.from_numpy(picture()), "probabilities": torch.full((3, 64, 96), 1 / 3),
    }  # fmt: skip


def classifier(digits: Path) -> Names:
    write("slide.tif", np.random.default_rng(0).integers(0, 256, (300, 330, 3), dtype=np.uint8))
    return {
        "classifier": create_model("resnet18", num_classes=4), "mean": (127.5,) * 3, "std": (127.5,) * 3,
        "overview": cv2.imread("slide.tif"),
    }  # fmt: skip


def logits(digits: Path) -> Names:
    return {"logits": torch.randn(2, 3, 8, 8, requires_grad=True), "target": torch.randint(0, 3, (2, 8, 8))}


def batches(digits: Path) -> Names:
    return {"batches": [(np.array([0, 1, 2]), np.array([0, 1, 255])), (torch.tensor([[1]]), torch.tensor([[2]]))]}


def overfeat(digits: Path) -> Names:
    model = create_model("overfeat_small", num_classes=3, regression=True)
    side = model.window[0]
    boxes = torch.tensor([[5.0, 5.0, 40.0, 50.0]])
    return {"network": model, "images": torch.zeros(1, 3, side, side), "boxes": boxes}


def distances(digits: Path) -> Names:
    write_coco_scenes("nuclei", train=3, val=2, size=(48, 64), digits=(1, 2))
    write("cells.png", picture())
    return {}


def vgg(digits: Path) -> Names:
    network = create_model("vgg16", num_classes=5, width=4)
    return {"network": network, "images": torch.zeros(1, 3, 64, 64)}


def nothing(digits: Path) -> Names:
    return {}


PREPARED: dict[str, Callable[[Path], Names]] = {
    "README": own_folder, "active": nothing, "classify": sorted_pictures, "data": folder, "deeplab": weights_of_deeplab,
    "explain": unet, "localization": classifier, "losses": logits, "metrics": batches, "overfeat": overfeat,
    "pixelcnn": nothing, "predict": unet, "refinement": unet, "regression": distances, "transfer": vgg,
    "translate": nothing,
}  # fmt: skip
"""Page -> what its reader has: writes files into the current folder, and returns the names that the blocks use."""


def page_of(name: str) -> str:
    return (ROOT / "README.md" if name == "README" else DOCS / f"{name}.md").read_text(encoding="utf-8")


def blocks_of(page: str) -> list[tuple[int, str]]:
    return [(line, text) for line, text in code_blocks(page, "python") if ">>>" not in text]


def test_every_page_with_blocks_is_prepared() -> None:
    assert {page.stem for page in DOCS.glob("*.md") if blocks_of(page.read_text("utf-8"))} == {*PREPARED} - {"README"}


@pytest.mark.parametrize("name", PREPARED)
def test_python_blocks(name: str, tmp_path: Path, digits_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = PREPARED[name](digits_folder)
    for line, text in blocks_of(page_of(name)):
        if "write_value_scenes" in text:  # smaller than a reader's
            text = text.replace('"digit_distances")', '"digit_distances", train=3, val=2, size=(32, 48))', 1)
        text = text.replace("train=80, val=20", "train=4, val=2", 1)
        if "runs/unet-nuclei_distances" in text:  # what the command above the block trains
            overrides = {"augment.flip": "both"}
            pixelwise.train("unet", data="nuclei_distances", epochs=1, overrides=overrides)
        exec(compile("\n" * (line - 1) + short(text), f"{name}.md", "exec"), names)


def test_the_commands_of_the_readme(tmp_path: Path, digits_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block on one's own pictures, from check to predict, each command on what the ones before it wrote."""
    monkeypatch.chdir(tmp_path)
    own_folder(digits_folder)
    (block,) = (text for _, text in code_blocks(page_of("README"), "") if "pixelwise check" in text)
    ran = []
    for line in block.splitlines():
        program, *words = shlex.split(short(line), comments=True)
        assert program == "pixelwise"
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        ran.append(words[0])
    assert Path("runs/unet_fpn-my_data/report.html").is_file()
    assert ran == ["check", "train", "evaluate", "predict"]
    assert sorted(file.name for file in Path("masks").iterdir() if file.stem == "a") == ["a.png"]
