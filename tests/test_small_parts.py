"""Errors with near names, files that are whole or absent, and what is known of the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pixelwise
from pixelwise import atomic, hardware
from pixelwise.distributed import any_process, from_first, rank, total, world_size
from pixelwise.errors import unknown


def test_the_nearest_name_is_offered_only_if_near() -> None:
    assert "did you mean 'unet'" in str(unknown("model", "UNET", ["unet", "fpn"]))
    assert "did you mean" not in str(unknown("model", "xyzzy", ["unet", "fpn"]))
    assert "fpn, unet" in str(unknown("model", "xyzzy", ["unet", "fpn"]))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    file = tmp_path / "a.txt"
    atomic.write_text(file, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, call, fail)
        with pytest.raises(OSError, match="No space"):
            atomic.write_text(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


IMPORTS = """
import importlib, os, pkgutil, sys
import cv2, numpy, torch
from PIL import Image, ImageFile

def settings():
    return (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, cv2.getNumThreads(), dict(os.environ),
            torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(),
            numpy.geterr(), sys.getswitchinterval())

cv2.setNumThreads(3)
before = settings()
import pixelwise
for module in pkgutil.walk_packages(pixelwise.__path__, "pixelwise."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
    assert settings() == before, module.name
"""


def test_importing_the_package_changes_no_setting_of_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


USE = """
import sys
from unittest import mock
import cv2
from pixelwise import api
cv2.setNumThreads(3)
library = mock.Mock()  # freed memory may be given back, which is no setting
library.mallopt.side_effect = AssertionError("malloc was set")
with mock.patch("ctypes.CDLL", return_value=library):
    run = api.train("unet", data=sys.argv[1], out=sys.argv[2] + "/run", epochs=0.25, overrides=[
        "model.width=2", "model.encoder=null", "augment.crop=[32,48]", "train.batch_size=2", "train.validations=1"])
    api.predict(run.path, [sys.argv[1] + "/images"], sys.argv[2] + "/out")
assert cv2.getNumThreads() == 3
"""


def test_the_api_changes_no_setting_of_the_process(scenes_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", USE, str(scenes_folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_public_names_exist() -> None:
    for name in pixelwise.__all__:
        assert callable(getattr(pixelwise, name))
    assert set(pixelwise.__all__) <= set(dir(pixelwise))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        pixelwise.trian  # noqa: B018
    assert callable(pixelwise.losses.dice)


def test_alone_a_process_is_the_first_and_sums_are_its_own() -> None:
    value = torch.ones(2)
    assert (world_size(), rank()) == (1, 0)
    assert total(value) is value
    assert any_process(True, torch.device("cpu"))
    assert from_first(0.25, torch.device("cpu")) == 0.25


def test_the_machine_is_described() -> None:
    facts = hardware.describe()
    assert facts["threads"] == torch.get_num_threads()
    assert facts["precision"] in ("float32", "bfloat16")
    assert hardware.preferred_dtype(torch.device("meta")) == torch.float32
    hardware.keep_freed_memory()
