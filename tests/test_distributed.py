"""Two processes give the losses and weights of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SETTINGS = {
    "model.width": "4",
    "model.encoder": "null",
    "train.batch_size": "4",
    "train.precision": "float32",
    "train.validations": "2",
    "augment.crop": "[32, 48]",
    # Steps in proportion to the gradient: Adam's would make a whole step of what is rounding around zero.
    "optimizer.name": "sgd",
    "optimizer.lr": "0.01",
}
COMMON = ["--epochs", "5", *(part for pair in SETTINGS.items() for part in ("--set", "=".join(pair)))]


def run(launcher: list[str], data: Path, out: Path) -> None:
    command = [sys.executable, *launcher, "-m", "pixelwise", "train", "unet", "--data", str(data), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *COMMON], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_processes_give_one_process_its_losses(scenes_folder: Path, tmp_path: Path) -> None:
    run([], scenes_folder, tmp_path / "one")
    run(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"], scenes_folder, tmp_path / "two")

    def logged(name: str, kind: str) -> list[dict[str, float]]:
        entries = map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())
        return [entry for entry in entries if entry["kind"] == kind]

    # The first step, and the mean over the nine after it, in which rounding has grown.
    for alone, together, tolerance in zip(logged("one", "train"), logged("two", "train"), (1e-5, 1e-2), strict=True):
        for name in ("loss", "cross_entropy", "dice", "gradient_norm"):
            assert together[name] == pytest.approx(alone[name], rel=tolerance), name
    assert [entry["step"] for entry in logged("two", "validation")] == [5, 10]
    for first, second in zip(logged("one", "validation"), logged("two", "validation"), strict=True):
        assert second["mean_iou"] == pytest.approx(first["mean_iou"], abs=5e-3)
    one, two = (load_file(tmp_path / name / "best.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        assert torch.allclose(value.float(), two[name].float(), rtol=1e-2, atol=2e-3), name
    metrics = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two")]
    assert metrics[0]["pixels"] == metrics[1]["pixels"]
