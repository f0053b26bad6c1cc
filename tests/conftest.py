"""What tests share: where the real data is, and a small dataset made on the spot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # the suite runs in as many processes as there are cores


def shared() -> Path:
    """The folder of real data and reference vectors."""
    return Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    folder = shared()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (PIXELWISE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def scenes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small scenes in the folder layout; tests must not write into it."""
    from pixelwise.data.scenes import write_scenes

    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(folder, train=8, val=4, size=(64, 96))
    return folder
