"""A small classifier of the data's classes, whose features measure how similar generated and real pictures are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.atomic import write_bytes
from pixelwise.data.cache import SampleCache
from pixelwise.data.loader import TrainLoader
from pixelwise.data.targets import ClassTargets
from pixelwise.recipe.recipe import PlannedRecipe

FILE = "features.safetensors"
WIDTH, STEPS, BATCH, RATE = 32, 400, 64, 3e-3
PIXELS_SIDE = 16
"""Height and width to which pictures are reduced if there are no classes; their pixels are then the features."""


class FeatureNetwork(nn.Module):
    """Three strided convolutions and an average over the map: 128 features, and a linear layer for training."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((in_channels, WIDTH), (WIDTH, 2 * WIDTH), (2 * WIDTH, 4 * WIDTH)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(4 * WIDTH, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> features (N, 128)."""
        return self.features(images).mean((2, 3))


def train_features(recipe: PlannedRecipe, cache: SampleCache, in_channels: int, num_classes: int, folder: Path) -> None:
    """Trains the classifier on the training pictures, which takes some seconds, and writes it to the folder.

    Nothing happens if the file exists already. The same recipe and data give the same weights, even if the run was
    stopped and resumed.
    """
    if (folder / FILE).exists():
        return
    torch.manual_seed(recipe.train.seed)
    network = FeatureNetwork(in_channels, num_classes).train()
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    mean, std = (torch.tensor(part)[:, None, None] for part in (recipe.normalize.mean, recipe.normalize.std))
    records = [record for record in cache.dataset.split("train") if record.class_id is not None]
    loader = TrainLoader(
        cache,
        records,
        recipe.augment,
        targets=ClassTargets,
        batch_size=BATCH,
        seed=recipe.train.seed,
        stream="features",
    )
    batches = loader.batches()
    for step, batch in zip(range(STEPS), batches, strict=False):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        loss = F.cross_entropy(network.head(network((batch.images.float() - mean) / std)), batch.targets.classes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    batches.close()
    write_bytes(folder / FILE, save(network.state_dict()))


class Features:
    """The features by which pictures are compared.

    Args:
        folder: the run's folder; it holds the classifier if the data has classes.

    Attributes:
        words: description of the features, for the definition of a score.
    """

    def __init__(self, folder: Path) -> None:
        self.network: FeatureNetwork | None = None
        self.words = f"the values of {PIXELS_SIDE} x {PIXELS_SIDE} pixels"
        if (folder / FILE).exists():
            state = load_file(folder / FILE)
            classes, _ = state["head.weight"].shape
            self.network = FeatureNetwork(state["features.0.weight"].shape[1], classes)
            self.network.load_state_dict(state)
            self.network.eval()
            self.words = f"128 features of a small classifier of the data's {classes} classes"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(N, C, H, W) float32, normalised as for the network -> (N, D) float64."""
        pictures = torch.from_numpy(images)
        with torch.inference_mode():
            if self.network is None:
                found = F.adaptive_avg_pool2d(pictures, PIXELS_SIDE).flatten(1)
            else:
                found = torch.cat([self.network(part) for part in pictures.split(256)])
        return found.double().numpy()
