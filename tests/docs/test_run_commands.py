"""The commands of each page run in their order, on embedded data, with narrow networks and one epoch."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from pages import DOCS, code_blocks
from typer.testing import CliRunner

from pixelwise.catalog import SYSTEMS, system
from pixelwise.cli import app
from pixelwise.data.digits import write_digits
from pixelwise.data.pair_scenes import write_pair_scenes
from pixelwise.data.pictures import write_png
from pixelwise.data.scenes import scene, write_coco_scenes, write_scenes
from pixelwise.data.value_scenes import write_value_scenes
from pixelwise.training.recipes import load_recipe

sys.path.append(str(Path(__file__).parents[1] / "data"))

from pose_files import draw, figure, write_lsp

Writer = Callable[[str], object]
SIDE = (64, 96)
DATA: dict[str, Writer] = {
    "segment": lambda folder: write_scenes(folder, train=4, val=2, size=SIDE),
    "classify": lambda folder: write_digits(folder, train=3, val=2),
    "generate": lambda folder: write_digits(folder, train=3, val=2),
    "regress": lambda folder: write_value_scenes(folder, train=3, val=2, size=SIDE),
    "objects": lambda folder: write_coco_scenes(folder, train=4, val=2, size=SIDE, digits=(1, 2)),
    "detect": lambda folder: write_coco_scenes(folder, train=4, val=2, size=SIDE, digits=(1, 1)),
    "pose": lambda folder: write_lsp(Path(folder), count=6),
    "translate": lambda folder: write_pair_scenes(folder, train=4, val=2),
}
"""Kind of data -> what writes a few pictures of it, with labels, into a folder."""
PICTURES: dict[str, Callable[[], np.ndarray]] = {
    "classify": lambda: np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8),
    "generate": lambda: np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8),
    "pose": lambda: draw(figure(0)),
}
"""Kind of data -> a picture like those of the data; a scene for all other kinds."""
KINDS = {"regression": "regress", "mask_rcnn": "objects", "rcnn": "objects", "yolo": "objects"}
"""Page -> the kind of its data, if the networks of its commands do not decide it."""
SKIPPED = {
    "demo": "the demo is tested for itself",
    "weights": "lists what the hub and the folder of weights hold",
    "cat.jpg": "needs a file of published weights",
    "finetune": "needs published weights",
    "slices": "needs volumes of scanners; tests/data/test_medical.py runs such commands",
    "another.png": "takes a minute; explain is tested on smaller pictures",
}
"""A word of a command -> why the command is not run."""
SMALLER = {"hourglass_pose": {"augment.crop": "[64, 64]", "model.features": "16"}}
"""Name of a network or recipe -> settings that make it quick, in addition to the catalog's tiny options."""
SHORT_SIMULATION = ("--budget", "2", "--rounds", "1", "--seeds", "1", "--epochs", "1")
"""The last value of an option counts."""
PLACEHOLDER = re.compile(r"^model\.weights=([A-Z_0-9]+(\.\w+)?|\w+/\S+)$")
"""Weights that a reader has, or that the hub has."""
PAGES = sorted(page.stem for page in DOCS.glob("*.md"))


def commands_of(page: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of commands in the blocks of a page, as words after `pixelwise`."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for language in ("", "bash", "console"):
        for line, block in code_blocks(text, language):
            for row in block.replace("\\\n", " ").splitlines():
                command = row.removeprefix("$ ")
                if command.startswith("pixelwise ") and not any(word in command for word in ("...", "{", "[--")):
                    yield line, shlex.split(command, comments=True)[1:]


WITH_COMMANDS = [page for page in PAGES if any(commands_of(page))]


def value_of(words: list[str], option: str) -> str | None:
    return words[words.index(option) + 1] if option in words else None


def shortened(words: list[str]) -> list[str]:
    """A command for training with one epoch, and the catalog's tiny options where the command does not set them."""
    name = next((word for word in words[1:2] if not word.startswith("--")), None)
    kept: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        unwanted = PLACEHOLDER.match(word) or word.startswith("model.width=")
        if word == "--minutes" or before == "--minutes" or (before == "--set" and unwanted):
            if kept and kept[-1] == "--set":
                kept.pop()
            continue
        kept.append(word)
    given = {word.split("=")[0] for word in kept if "=" in word}
    settings = {"train.validations": "1", "train.batch_size": "2"}
    if name is not None and not name.endswith(".yaml"):
        recipe = load_recipe(name)
        of_task = system(recipe.model.name).task.decided_options
        tiny = SYSTEMS[recipe.model.name].tiny
        if "encoder" not in tiny and ("model.encoder" in given or "encoder" in recipe.model.options):
            tiny = {}  # the options are those of the network without encoder
        settings |= {
            f"model.{key}": json.dumps(value)
            for key, value in tiny.items()
            if key not in of_task and f"model.{key}" not in given
        }
        settings |= SMALLER.get(name, {})
        if recipe.seeds:
            settings["seeds"] = "[0]"
    if "weights=" not in " ".join(kept):
        settings["model.weights"] = "none"
    extra = [word for key, value in settings.items() if key not in given for word in ("--set", f"{key}={value}")]
    return [*kept, *extra, "--epochs", "1"]


def kind_of(words: list[str]) -> str:
    """The kind of data that a command for training needs."""
    name = next((word for word in words[1:2] if not word.startswith("--")), "unet_fpn")
    return str(system(load_recipe(name).model.name).task.name)


def prepare(words: list[str], kind: str) -> None:
    """Writes the data and the pictures that a command names, unless they are there; `kind` is noted beside the data."""
    picture = PICTURES.get(kind, lambda: scene(np.random.default_rng(5), SIDE).image)()
    for folder in (value_of(words, "--data"), words[1] if words[0] == "check" else None):
        note = None if folder is None else Path(f"{Path(folder).name}.kind")
        if folder and note and not (Path(folder).exists() and note.read_text() == kind):
            shutil.rmtree(folder, ignore_errors=True)
            DATA[kind](folder)
            note.write_text(kind)
    for option in ("--unlabelled", "--pool", "--against"):
        folder = value_of(words, option)
        if folder:
            for number in range(8):
                write_png(Path(folder) / f"{number}.png", np.roll(picture, number, 1))
    for word in words[2:]:
        if re.search(r"\.(png|jpe?g|tif)$", word) and not Path(word).exists():
            cv2.imwrite(word, picture)
    if words[0] == "predict" and not Path(words[2]).exists():
        for name in ("a", "b"):
            write_png(Path(words[2]) / f"{name}.png", picture)


def run(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, f"pixelwise {shlex.join(words)}\n{result.output}\n{result.exception!r}"


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_commands_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained = [kind_of(words) for _, words in commands_of(page) if words[0] == "train"]  # decides for `check`, before
    kind = KINDS.get(page) or (trained[0] if trained else "segment")
    ran = 0
    for line, words in commands_of(page):
        if any(word in SKIPPED for word in words):
            continue
        if words[0] == "train":
            kind = KINDS.get(page) or kind_of(words)
            words = shortened(words)
            if Path("runs").exists() and "--out" not in words:
                words += ["--out", f"again-{line}-{ran}"] if trained_before(words) else []
        elif words[0] in ("predict", "evaluate", "explain", "sample", "suggest"):
            needed(words[1], kind)
            words = [word if word != "RUN" else "runs/RUN" for word in words]
            words += ["--quick"] if words[0] == "explain" else []
        elif words[0] == "simulate":
            kind = kind_of(["train", value_of(words, "--recipe") or "unet_fpn"])
            words = [*words, *SHORT_SIMULATION]
        prepare(words, kind)
        run(words)
        ran += 1
    assert ran or page in ("overfitting",)


def trained_before(words: list[str]) -> bool:
    """Whether an earlier command of the page wrote the run folder that this one would write."""
    data = value_of(words, "--data") or ""
    name = next((word for word in words[1:2] if not word.startswith("--")), "unet_fpn")
    return Path(f"runs/{name}-{Path(data).name}").exists()


def needed(place: str, kind: str) -> None:
    """Trains the run that a page takes for granted: `runs/NETWORK-DATA`, or a U-Net for `RUN`."""
    folder = Path("runs/RUN") if place == "RUN" else Path(place)
    if folder.exists():
        return
    name, data = ("unet", "data") if place == "RUN" else folder.name.split("-", 1)
    words = shortened(["train", name, "--data", data])
    prepare(words, kind_of(words))
    run([*words, "--out", str(folder)])
