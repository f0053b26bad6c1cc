"""What tests share: where the real data is, and a small dataset made on the spot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

# No test reaches for the network, or finds weights that happen to be on a machine.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_CACHE"] = os.devnull
os.environ.pop("PIXELWISE_WEIGHTS", None)

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


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's 8 x 8 digits 0, 1 and 2 in folders by class, 24 of each; tests must not write into it."""
    from sklearn.datasets import load_digits

    from pixelwise.data.pictures import write_png

    folder = tmp_path_factory.mktemp("data") / "digits"
    digits = load_digits()
    for class_id in range(3):
        images = (digits.images[digits.target == class_id][:24] * 15.9).astype("uint8")
        for number, image in enumerate(images):
            write_png(folder / f"digit{class_id}" / f"{number:02d}.png", image)
    return folder
