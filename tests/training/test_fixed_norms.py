"""A run whose encoder keeps its batch-norm statistics: what is trained, what stays, and what ships."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from pixelwise import api
from pixelwise.errors import UserError

SMALL = {
    "model.encoder": "mobilenet_v2", "model.weights": "none", "model.decoder_channels": [8, 8],
    "train.batch_size": 4, "train.validations": 1, "train.precision": "float32", "train.fixed_norms": True,
}  # fmt: skip


def test_the_shipped_network_is_the_one_that_was_trained(scenes_folder: Path, tmp_path: Path) -> None:
    """The statistics are those of the start, scales and shifts are not, and the plain network scores the same."""
    run = api.train("unet", data=scenes_folder, epochs=2, out=tmp_path / "run", overrides=SMALL)
    assert run.planned.train.fixed_norms
    tensors = load_file(run.best)
    encoder = {name: value for name, value in tensors.items() if name.startswith("encoder.")}
    means = [value for name, value in encoder.items() if name.endswith("running_mean")]
    assert means
    assert all(not value.any() for value in means)
    decoder = [value for name, value in tensors.items() if name.endswith("running_mean") and name not in encoder]
    assert any(value.any() for value in decoder), "the decoder's follow the pictures"
    shifts = [value for name, value in encoder.items() if name.endswith("1.bias")]
    assert any(value.any() for value in shifts)
    validated = [entry for entry in run.log() if entry["kind"] == "validation"][-1]
    assert api.evaluate(run.path, precision="float32")["mean_iou"] == pytest.approx(validated["mean_iou"], abs=1e-4)


def test_a_network_without_an_encoder_has_no_statistics_to_keep(scenes_folder: Path) -> None:
    with pytest.raises(UserError, match="unet_original has no encoder"):
        api.train("unet_original", data=scenes_folder, epochs=1, overrides={"train.fixed_norms": True})
