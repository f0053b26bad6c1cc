"""Baselines: background everywhere, and a classifier of single pixels by colour. A useful network beats both."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pixelwise.data.sample import VOID
from pixelwise.errors import UserError

MAX_PIXELS = 200_000


def always_background(image: np.ndarray, background: int = 0) -> np.ndarray:
    """Predicts the same class for every pixel.

    Args:
        image: (H, W, C).
        background: the id of this class.

    Returns:
        (H, W) uint8.
    """
    return np.full(image.shape[:2], background, np.uint8)


class ColourClassifier:
    """Predicts the class of each pixel from its channels alone, with a decision tree.

    The tree is fitted to a sample of pixels in which no class has more than an equal share, so that rare classes count.
    Pictures may have any number of channels and any depth.
    """

    def __init__(self, seed: int = 0) -> None:
        """Args:
        seed: seed of the sample of pixels.
        """
        from sklearn.tree import DecisionTreeClassifier

        self.seed = seed
        self._tree = DecisionTreeClassifier(min_samples_leaf=40, max_leaf_nodes=4096, random_state=seed)

    def fit(self, pictures: Iterable[tuple[np.ndarray, np.ndarray]], per_picture: int = 200) -> ColourClassifier:
        """Fits the tree to pictures and their masks; keeps at most `MAX_PIXELS` pixels.

        Args:
            pictures: (H, W, C) pictures with their (H, W) masks, class ids with 255 = void; read once, one at a time.
            per_picture: the most pixels of a class that are taken from one picture.

        Raises:
            UserError: there is no labelled pixel.
        """
        rng = np.random.default_rng(self.seed)
        colours: dict[int, list[np.ndarray]] = {}
        for image, mask in pictures:
            flat, ids = image.reshape(-1, image.shape[2]), mask.ravel()
            for class_id in np.flatnonzero(np.bincount(ids, minlength=VOID + 1)[:VOID]).tolist():
                positions = np.flatnonzero(ids == class_id)
                some = rng.choice(positions, min(per_picture, len(positions)), replace=False)
                colours.setdefault(class_id, []).append(flat[some])
        if not colours:
            raise UserError("no labelled pixel to learn colours from: every mask is empty or void; check the dataset.")
        share = MAX_PIXELS // len(colours)
        features, labels = [], []
        for class_id, parts in sorted(colours.items()):
            found = np.concatenate(parts)
            features.append(found[rng.permutation(len(found))[:share]])
            labels.append(np.full(len(features[-1]), class_id, np.uint8))
        self._tree.fit(np.concatenate(features).astype(np.float32), np.concatenate(labels))
        return self

    def predict(self, image: np.ndarray) -> np.ndarray:
        """A picture (H, W, C) with the channels and depth of the training pictures -> (H, W) uint8 class ids."""
        flat = image.reshape(-1, image.shape[2]).astype(np.float32)
        return self._tree.predict(flat).astype(np.uint8).reshape(image.shape[:2])
