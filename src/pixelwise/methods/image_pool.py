"""A pool of earlier generated pictures (Shrivastava et al., CVPR 2017, arXiv:1612.07828, section 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Shows a discriminator earlier translations as well as the latest ones, so that it does not forget them.

    Until the pool is full, pictures go in and are shown. Afterwards each picture is shown with probability 1/2;
    otherwise an earlier one is shown, and the picture takes its place. Random numbers come from torch's generator.

    Args:
        size: the most pictures; 0 shows every picture as it comes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._pictures: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._pictures)

    def shown(self, pictures: Tensor) -> Tensor:
        """(N, C, H, W) new pictures -> as many pictures to show, without gradient."""
        return torch.stack([self._one(picture) for picture in pictures.detach()])

    def _one(self, picture: Tensor) -> Tensor:
        if len(self._pictures) < self.size:
            self._pictures.append(picture.clone())
            return picture
        if not self.size or torch.rand(()) < 0.5:
            return picture
        place = int(torch.randint(self.size, ()))
        earlier, self._pictures[place] = self._pictures[place], picture.clone()
        return earlier

    def state_dict(self) -> dict[str, Any]:
        """The pictures in the pool."""
        return {"pictures": list(self._pictures)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restores what `state_dict` returned, on a device."""
        self._pictures = [picture.to(device) for picture in state["pictures"]]
