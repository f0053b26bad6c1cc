"""What every classification network offers to the dense networks and detectors that are built on it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.nn.atrous import AtrousConv2d


class Encoder(nn.Module):
    """Base class of classification networks: a way down in stages, each of them ending in a map of its own stride.

    Attributes:
        feature_channels: of the stages' maps, finest first.
        feature_strides: of the stages' maps: pixels of the picture from one place of a map to the next.
    """

    feature_channels: tuple[int, ...]
    feature_strides: tuple[int, ...]

    def stages(self) -> Sequence[nn.Module]:
        """The network without its classifier, cut behind each map of `pyramid`."""
        raise NotImplementedError

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """(N, C, H, W), multiples of the largest stride -> maps (N, feature_channels[i], H / strides[i], W / ...)."""
        maps = []
        for stage in self.stages():
            images = stage(images)
            maps.append(images)
        return maps

    def first_convolution(self) -> nn.Conv2d:
        """The layer that sees the picture; what adapts to other numbers of channels."""
        return next(module for module in self.modules() if isinstance(module, nn.Conv2d))

    def dilate(self, output_stride: int) -> None:
        """Undoes every downsampling beyond `output_stride` and dilates the filters behind it instead.

        The filters then see the picture on the grid that they were trained for, at more places (Chen et al., ICLR 2015,
        section 3.1: the hole algorithm; Yu & Koltun, ICLR 2016). Weights stay as they are, and so do their names. Where
        it was convolutions that strode, the new map read at the places of the old one equals the old one. Pooling that
        no longer strides becomes 3x3, undilated, as in DeepLab, so behind a 2x2 pooling that is no longer so.
        A dilated network can be dilated further.

        Raises:
            UserError: a stride that the network does not have.
        """
        if output_stride not in self.feature_strides:
            raise UserError(
                f"output_stride {output_stride}: {type(self).__name__} has maps at strides "
                f"{', '.join(map(str, sorted(set(self.feature_strides))))}; choose one of them."
            )
        rate = 1  # places of the new grid from one place of the grid that a filter was made for to the next
        for stage, stride in zip(self.stages(), self.feature_strides, strict=True):
            finer = max(stride // output_stride, 1)
            if finer == 1:
                continue
            for module in stage.modules():
                if isinstance(module, nn.Conv2d):
                    # A filter that strode still reads the grid before it; those behind it read a finer one than they
                    # were made for. The 1x1 convolutions of shortcuts stride beside the filter, not before it.
                    strode = max(module.stride) > 1
                    module.stride = (1, 1)
                    if max(module.kernel_size) > 1:
                        widen(module, rate)
                        rate = finer if strode else rate
                elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d) and module.stride not in (1, (1, 1)):
                    module.kernel_size, module.stride, module.padding = 3, 1, 1
                    if isinstance(module, nn.AvgPool2d):
                        module.count_include_pad = False  # the border would be darker than the picture
                    rate = finer
        self.feature_strides = tuple(min(stride, output_stride) for stride in self.feature_strides)


def widen(convolution: nn.Conv2d, rate: int) -> None:
    """Spreads the taps of a filter `rate` times as far, and its padding with them."""
    rows, columns = convolution.dilation
    convolution.dilation = (rate * rows, rate * columns)
    assert not isinstance(convolution.padding, str)
    top, left = convolution.padding
    convolution.padding = (rate * top, rate * left)
    if type(convolution) is nn.Conv2d and convolution.groups == 1:
        convolution.__class__ = AtrousConv2d  # the same tensors under the same names, with a right gradient
