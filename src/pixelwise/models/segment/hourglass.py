"""The stacked hourglass (Newell et al., ECCV 2016, arXiv:1603.06937) as a dense predictor: classes for joints."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.models.pose.hourglass import StackedHourglass
from pixelwise.nn.dense import DenseModel


class HourglassNet(DenseModel):
    """`StackedHourglass` with the classes' logits as heatmaps, upsampled bilinearly from a quarter of the resolution.

    Every stack outputs logits. Those of the last stack are the prediction; the others are auxiliary ones of weight 1
    (intermediate supervision, section 3.3). 21 classes: 6,734,762 parameters with 2 stacks, 25,613,864 with 8.

    Args:
        stacks: number of hourglasses in sequence; 8 in the paper's best network.
        width: channels of the first layer; the hourglasses have four times as many.
        depth: halvings in an hourglass.

    Raises:
        UserError: there is no stack or no halving.
    """

    def __init__(
        self, *, num_classes: int, in_channels: int = 3, stacks: int = 2, width: int = 64, depth: int = 4
    ) -> None:
        super().__init__()
        if stacks < 1 or depth < 1:
            raise UserError(
                f"stacks {stacks}, depth {depth}: an hourglass network has at least 1 of each; give 1 or more."
            )
        self.num_classes = num_classes
        self.trunk = StackedHourglass(
            stacks=stacks, outputs=num_classes, in_channels=in_channels, features=4 * width, depth=depth
        )
        self.stride = self.trunk.stride
        self.auxiliary_weights = (1.0,) * (stacks - 1)
        self.last_layers = tuple(f"trunk.stacks.{number}.head" for number in reversed(range(stacks)))

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of the stride -> (N, K, H, W)."""
        return F.interpolate(self.trunk(images)[-1], scale_factor=4, mode="bilinear")

    def all_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """The last stack's logits, then those of the others, starting with the first."""
        *others, last = self.trunk(images)
        return tuple(F.interpolate(heatmaps, scale_factor=4, mode="bilinear") for heatmaps in (last, *others))
