"""A recipe with a cut: trained, frozen bitwise, measured and predicted with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from pixelwise import api
from pixelwise.catalog import create_model
from pixelwise.errors import UserError


def recipe(folder: Path, **changes: object) -> Path:
    """Behind the third convolution of a narrow VGG-11, conv 16, flatten and dense, with weights of its own."""
    torch.manual_seed(7)
    whole = create_model("vgg11_bn", in_channels=1, num_classes=5, width=4)
    for name, buffer in whole.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(2.0)
    save_file(whole.state_dict(), folder / "w.safetensors")
    model = {
        "name": "cut", "network": "vgg11_bn", "options": {"width": 4}, "layer": "features.8", "size": 32,
        "head": ["conv 16", "relu", "flatten", "dense 3"], "weights": str(folder / "w.safetensors"),
    }  # fmt: skip
    values = {
        "model": {**model, **changes},
        "optimizer": {"freeze": "trunk"},
        "train": {"batch_size": 8, "epochs": 2, "validations": 1, "ema_decay": None},
    }
    (folder / "cut.yaml").write_text(yaml.safe_dump(values))
    return folder / "cut.yaml"


def test_what_was_taken_over_stays_bitwise_and_the_head_learns(digits_folder: Path, tmp_path: Path) -> None:
    run = api.train(recipe(tmp_path), data=digits_folder, out=tmp_path / "run")
    before, after = load_file(tmp_path / "w.safetensors"), load_file(run.best)
    kept = [name for name in after if not name.startswith("head.")]
    assert len(kept) == 3 * 2 + 2 * 5
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert run.planned.augment.crop == (32, 32)
    assert run.planned.optimizer.encoder_lr_factor == 0.3
    assert api.evaluate(run.path) == run.metrics
    assert api.load(run.path)(digits_folder / "digit1" / "00.png").probabilities.shape == (3,)
    again = api.train(
        recipe(tmp_path, weights=str(run.path)),
        data=digits_folder,
        out=tmp_path / "again",
        overrides={"optimizer.freeze": ["features.0", "head"]},
    )
    later = load_file(again.best)
    held = {name for name in after if torch.equal(after[name], later[name])}
    assert {"features.0.weight", "features.0.bias", "head.0.weight", "head.3.weight"} <= held
    assert "features.4.weight" not in held


def test_mistakes_are_found_before_anything_is_written(digits_folder: Path, tmp_path: Path) -> None:
    for changes, words in (
        ({"head": ["flatten", "dense 10"]}, "'dense 10', does not return one value for each of the 3 classes"),
        ({"layer": "features.88"}, "unknown layer"),
    ):
        with pytest.raises(UserError, match=words):
            api.train(recipe(tmp_path, **changes), data=digits_folder, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_head_that_was_completed_is_told(
    digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, head=["conv 4"], size=None)
    api.train(path, data=digits_folder, out=tmp_path / "run", epochs=0.2, progress=True)
    assert "so it was extended by avgpool and dense classes" in capsys.readouterr().out
