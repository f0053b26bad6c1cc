"""Stacked hourglass (Newell, Yang, Deng, ECCV 2016, arXiv:1603.06937): heatmaps, refined from stack to stack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.targets import ObjectTargets
from pixelwise.errors import UserError
from pixelwise.models.encoders import create_encoder
from pixelwise.models.weights import load_weights
from pixelwise.nn.encoder import Encoder
from pixelwise.nn.heatmaps import gaussians, heatmap_loss
from pixelwise.nn.pooled_norm import pooled_norm
from pixelwise.nn.pyramid import top_down


class Residual(nn.Module):
    """Residual module of the paper's figure 4, left: 1x1 to half the channels, 3x3, 1x1 back, and the shortcut.

    Batch norm and ReLU come before each convolution (He et al., ECCV 2016). At the bottom of an hourglass the map of a
    small picture is a single position; for a batch of one the batch norms then use their running statistics.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 2
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, middle, 1)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.shortcut is None else self.shortcut(maps)
        maps = self.conv1(F.relu(pooled_norm(self.bn1, maps)))
        maps = self.conv2(F.relu(pooled_norm(self.bn2, maps)))
        maps = self.conv3(F.relu(pooled_norm(self.bn3, maps)))
        return maps + shortcut


class Hourglass(nn.Module):
    """Max pooling down and nearest neighbours up, with residual modules on the way and on each shortcut (figure 3).

    Args:
        depth: halvings; the innermost level has one more residual module.
    """

    def __init__(self, depth: int, features: int) -> None:
        super().__init__()
        self.beside = Residual(features, features)
        self.down = Residual(features, features)
        self.inner = Hourglass(depth - 1, features) if depth > 1 else Residual(features, features)
        self.up = Residual(features, features)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, features, h, w), multiples of 2**depth -> the same shape."""
        low = self.up(self.inner(self.down(F.max_pool2d(maps, 2))))
        return self.beside(maps) + F.interpolate(low, scale_factor=2, mode="nearest")


class Stack(nn.Module):
    """An hourglass, a residual module, a 1x1 convolution with batch norm and ReLU, and a 1x1 one to the heatmaps."""

    def __init__(self, depth: int, features: int, outputs: int) -> None:
        super().__init__()
        self.hourglass = Hourglass(depth, features)
        self.residual = Residual(features, features)
        self.linear = nn.Sequential(nn.Conv2d(features, features, 1), nn.BatchNorm2d(features), nn.ReLU(inplace=True))
        self.head = nn.Conv2d(features, outputs, 1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """(N, features, h, w) -> the same, and heatmaps (N, outputs, h, w)."""
        maps = self.linear(self.residual(self.hourglass(maps)))
        return maps, self.head(maps)


class Remap(nn.Module):
    """The next stack's input: a stack's input, its features and its heatmaps, added up (figure 4, right)."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(features, features, 1)
        self.head = nn.Conv2d(outputs, features, 1)

    def forward(self, read: Tensor, made: Tensor, heatmaps: Tensor) -> Tensor:
        return read + self.features(made) + self.head(heatmaps)


class StackedHourglass(nn.Module):
    """Computes one set of heatmaps per stack, at a quarter of the picture's resolution (section 3.3).

    The layout is that of Wei Yang's PyTorch port (bearpaw): with 16 outputs, 1, 2 and 8 stacks have 3,586,960,
    6,730,912 and 25,594,624 parameters. The authors' network (in Lua) has 160,512 fewer, whatever the number of stacks,
    because the second of its three residual modules before the stacks returns 128 channels instead of 256.

    Args:
        outputs: number of heatmaps: joints, or classes.
        features: channels of all layers after the first ones, 256 in the paper.
        depth: halvings in an hourglass.
        encoder: takes the place of the layers before the first hourglass; None for the paper's layers.

    Attributes:
        stride: heights and widths of the pictures must be multiples of this.
        before_stacks: name of the layer whose output is the input of the first hourglass.
    """

    def __init__(
        self,
        *,
        stacks: int,
        outputs: int,
        in_channels: int = 3,
        features: int = 256,
        depth: int = 4,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.stride = 4 * 2**depth
        self.before_stacks = "residual3" if encoder is None else "quarter"
        if encoder is None:
            self.conv1 = nn.Conv2d(in_channels, features // 4, 7, 2, 3)
            self.bn1 = nn.BatchNorm2d(features // 4)
            self.residual1 = Residual(features // 4, features // 2)
            self.residual2 = Residual(features // 2, features)
            self.residual3 = Residual(features, features)
        else:
            self.encoder = encoder
            self.stride = math.lcm(self.stride, max(encoder.feature_strides))
            self.quarter = QuarterMap(encoder, features)
        self.stacks = nn.ModuleList(Stack(depth, features, outputs) for _ in range(stacks))
        self.remaps = nn.ModuleList(Remap(features, outputs) for _ in range(stacks - 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N, C, H, W), multiples of `stride` -> heatmaps (N, outputs, H/4, W/4) of each stack, in order."""
        maps = self._features(images)
        all_heatmaps: list[Tensor] = []
        for number, stack in enumerate(self.stacks):
            made, heatmaps = stack(maps)
            all_heatmaps.append(heatmaps)
            if number < len(self.remaps):
                maps = self.remaps[number](maps, made, heatmaps)
        return all_heatmaps

    def _features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> the first stack's input, (N, features, H/4, W/4)."""
        if self.before_stacks == "quarter":
            return self.quarter(self.encoder.pyramid(images))
        maps = F.relu(self.bn1(self.conv1(images)))  # (N, 64, H/2, W/2)
        maps = F.max_pool2d(self.residual1(maps), 2)  # (N, 128, H/4, W/4)
        return self.residual3(self.residual2(maps))  # (N, 256, H/4, W/4)


class QuarterMap(nn.Module):
    """The finest map of a feature pyramid (Lin et al., CVPR 2017, section 3), at a quarter of the resolution.

    Args:
        encoder: its maps of stride 4 or more are merged.
        features: channels of the result.
    """

    def __init__(self, encoder: Encoder, features: int) -> None:
        super().__init__()
        # Stride -> level. Of several maps of one stride this takes the last, which has the largest receptive field.
        last = {stride: number for number, stride in enumerate(encoder.feature_strides) if stride >= 4}
        self.levels = tuple(last.values())
        self.lateral = nn.ModuleList(nn.Conv2d(encoder.feature_channels[level], features, 1) for level in self.levels)
        self.smooth = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The encoder's maps, finest first -> (N, features, H/4, W/4)."""
        merged = top_down([maps[level] for level in self.levels], self.lateral, [nn.Identity()] * len(self.levels))
        return self.smooth(merged[0])


class HourglassPose(StackedHourglass):
    """The stacked hourglass as the paper trains it: a heatmap per joint, and a loss at every stack.

    Args:
        num_joints: 16 in MPII.
        stacks: number of hourglasses in sequence, 8 in the paper's best network.
        encoder: a name in `models.encoders.ENCODERS`. A pyramid over its maps then takes the place of the layers before
            the first hourglass, so that a run can start from weights learned on ImageNet. None for the paper's layers.
        weights: pretrained weights of the encoder, or of the whole network if there is none: a file, a run, or a name
            on the Hugging Face hub.

    Raises:
        UserError: there is no stack, no halving, or no joint; unknown encoder, or weights that do not fit.
    """

    heads: tuple[str, ...] = ("head",)

    def __init__(
        self,
        *,
        num_joints: int = 16,
        in_channels: int = 3,
        stacks: int = 8,
        features: int = 256,
        depth: int = 4,
        encoder: str | None = None,
        weights: Any = None,
    ) -> None:
        if min(num_joints, stacks, depth) < 1:
            raise UserError(
                f"num_joints {num_joints}, stacks {stacks}, depth {depth}: a network for poses has at least 1 of "
                "each; give larger numbers."
            )
        super().__init__(
            stacks=stacks,
            outputs=num_joints,
            in_channels=in_channels,
            features=features,
            depth=depth,
            encoder=None if encoder is None else create_encoder(encoder, in_channels=in_channels, weights=weights),
        )
        self.num_joints = num_joints
        if encoder is None and weights is not None:
            load_weights(self, weights)

    def losses(self, images: Tensor, targets: ObjectTargets) -> dict[str, Tensor]:
        """The mean squared error of each stack's heatmaps (`stack_1`, ...), and their sum as `loss`.

        The targets are Gaussians with a standard deviation of one position of the heatmap.

        Args:
            images: (N, C, H, W), multiples of `stride`.
            targets: one person per picture. Joints that are not annotated have no loss.
        """
        all_heatmaps = self(images)
        size = all_heatmaps[0].shape[-2:]
        keypoints = targets.keypoints
        if keypoints is None:  # no person in the batch
            keypoints = images.new_zeros((len(images), 1, self.num_joints, 3))
        person = keypoints[:, 0].float().nan_to_num(0)  # (N, J, 3); NaN is a picture without a person
        present = person[..., 2] > 0
        cells = person.new_tensor([size[1] / images.shape[-1], size[0] / images.shape[-2]])
        true = gaussians(person[..., :2] * cells, (size[0], size[1]))
        values = {
            f"stack_{number}": heatmap_loss(heatmaps, true, present)
            for number, heatmaps in enumerate(all_heatmaps, start=1)
        }
        return {**values, "loss": torch.stack(list(values.values())).sum()}
