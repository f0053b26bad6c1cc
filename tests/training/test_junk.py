"""Recipes, model files and run folders of junk: a sentence or a result, never anything else."""

from __future__ import annotations

import copy
import json
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import pixelwise
from pixelwise import api
from pixelwise.catalog import create_model, load_model
from pixelwise.errors import UserError
from pixelwise.models.spec import METADATA_KEY, read_spec
from pixelwise.training.recipes import load_planned, load_recipe, recipe_names
from pixelwise.training.run import open_run

TINY = {"model.width": 4, "model.encoder": None, "augment.crop": [32, 48], "train.batch_size": 2,
        "train.validations": 1}  # fmt: skip
JUNK = [None, True, -1, 0, 3.5, 10**30, 1e308, float("nan"), float("inf"), "", "abc", "\x00", "ü", b"x", [], [1], [[]],
        [1, 2, 3, 4, 5, 6], {}, {"name": None}, {1: 2}, {None: None}]  # fmt: skip


@pytest.fixture(scope="module")
def run(scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("junk") / "run"
    api.train("unet", data=scenes_folder, epochs=1, out=out, overrides=TINY)
    return out


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every value in nested dicts and lists."""
    yield above
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*above, key))


def spoilt(value: Any, rng: random.Random) -> Any:
    """A copy in which one to three places hold junk, or have another name."""
    whole = {"": copy.deepcopy(value)}
    for _ in range(rng.choice([1, 1, 2, 3])):
        *path, last = rng.choice([place for place in places(whole) if place])
        here: Any = whole
        for key in path:
            here = here[key]
        if isinstance(here, dict) and path and rng.random() < 0.3:
            here[rng.choice(["name", "x", 1, None])] = here.pop(last)
        else:
            here[last] = copy.deepcopy(rng.choice(JUNK))
    return whole[""]


def flipped(content: bytes, rng: random.Random, within: int) -> bytes:
    """A copy cut short, or with one to five other bytes in the first so many."""
    if rng.random() < 0.2:
        return content[: rng.randrange(within)]
    changed = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        changed[rng.randrange(min(within, len(changed)))] = rng.randrange(256)
    return bytes(changed)


def refusal(call: Callable[[Path], object], file: Path) -> str:
    """The sentence with which a file is refused; empty where it is taken."""
    try:
        call(file)
    except UserError as error:
        return str(error)
    return ""


def test_recipes(run: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    folder = Path(pixelwise.__file__).parent / "recipes"
    written = yaml.safe_load((run / "recipe.yaml").read_text())
    texts = {name: (folder / f"{name}.yaml").read_text() for name in recipe_names()}
    said = 0
    for number in range(500):
        text = rng.choice(list(texts.values()))
        if number % 4 == 0:
            content = flipped(text.encode(), rng, len(text))
        else:
            content = yaml.safe_dump(spoilt(written if number % 2 else yaml.safe_load(text), rng)).encode()
        (tmp_path / "r.yaml").write_bytes(content)
        sentence = refusal(load_planned if number % 2 else load_recipe, tmp_path / "r.yaml")
        said += bool(sentence)
        assert "\n" not in sentence
    assert said > 250


def with_spec(content: bytes, text: str) -> bytes:
    """A model file with other words about its network."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"][METADATA_KEY] = text
    changed = json.dumps(header).encode()
    return len(changed).to_bytes(8, "little") + changed + content[8 + length :]


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_model_files(run: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    content = (run / "best.safetensors").read_bytes()
    spec = json.loads(read_spec(run / "best.safetensors").to_json())
    file = tmp_path / "best.safetensors"
    said = 0
    for number in range(300):
        if number % 2:
            file.write_bytes(flipped(content, rng, rng.choice([100, 5000, len(content)])))
        else:
            file.write_bytes(with_spec(content, json.dumps(spoilt(spec, rng), default=str)))
        sentence = refusal(load_model, file)
        said += bool(sentence)
        assert not sentence or sentence.startswith(f"{file}: ")
        assert "\n" not in sentence
    assert said > 200
    file.write_bytes(content)
    load_model(file)


@pytest.mark.parametrize("text", ["", "null", "[]", "3", '"x"', '{"a": 1}', '{"kind": "train"}\n{}', "\udcff"])
def test_files_of_a_run(text: str, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Damaged scores are written again once they are removed; damaged lines of the log are left out with a word."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    junk = text.encode(errors="surrogateescape")
    (folder / "metrics.json").write_bytes(junk)
    with pytest.raises(UserError, match="cannot be read as a run's scores"):
        _ = open_run(folder).metrics
    (folder / "metrics.json").unlink()
    log = (folder / "log.jsonl").read_bytes()
    (folder / "log.jsonl").write_bytes(junk + b"\n" + log)
    with caplog.at_level(logging.WARNING):
        assert len(open_run(folder).log()) == len(log.splitlines())
    assert "line 1 is damaged" in caplog.text
    (folder / "last" / "state.json").write_bytes(junk)
    shutil.rmtree(folder / "previous", ignore_errors=True)
    with pytest.raises(UserError, match="no checkpoint can be read"):
        api.resume(folder)
    shutil.copytree(run / "last", folder / "previous")
    api.resume(folder)
    assert (folder / "metrics.json").read_bytes() == (run / "metrics.json").read_bytes()


def test_several_mistakes_in_a_recipe_are_told_together() -> None:
    values = {"optimizer.lr": -1, "train.batch_size": "many", "augment.flop": "both"}
    with pytest.raises(UserError, match=r"unknown key 'augment\.flop'.*'optimizer\.lr'.*'train\.batch_size'"):
        load_recipe("unet", values)
    with pytest.raises(UserError, match=r"'optimizer\.lr'.*; unknown key model\.widht .* did you mean 'width'"):
        load_recipe("unet", {"optimizer.lr": -1, "model.widht": 4})
    for rate in ("nan", "inf", "-inf", "-1", "0"):
        with pytest.raises(UserError, match=r"'optimizer\.lr': input should be"):
            load_recipe("unet", [f"optimizer.lr={rate}"])
    with pytest.raises(UserError, match=r"model\.weights: expected a file, .* found 3"):
        create_model("unet", num_classes=2, weights=3)


def test_mistakes_in_recipe_data_and_folder_are_told_together(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        api.train("unet", data=tmp_path / "nowhere", out=run, overrides={"optimizer.lr": -1})
    first, *others = str(caught.value).splitlines()
    assert first == "3 mistakes:"
    for sentence, words in zip(others, ("'optimizer.lr'", "nowhere: no such folder", "exists already"), strict=True):
        assert words in sentence
    assert not (tmp_path / "runs").exists()


def test_weights_that_are_gone_cannot_be_resumed_into_being(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / "best.safetensors").unlink()
    for gone in (None, "metrics.json"):
        if gone is not None:
            (folder / gone).unlink()
        with pytest.raises(
            UserError, match=r"best\.safetensors is gone; put it back, or train again: `pixelwise train"
        ):
            api.evaluate(folder) if gone is None else api.resume(folder)
