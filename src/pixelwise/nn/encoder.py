"""Base classes of classification networks, which return logits of whole pictures, or feature maps as encoders."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.nn.atrous import with_atrous_convolutions
from pixelwise.nn.dense import mirror_pad


class Classifier(nn.Module):
    """Base class of networks that classify whole pictures.

    Attributes:
        heads: dotted names of the layers whose tensors depend on the number of classes.
        auxiliary_weights: factor of the training loss of each auxiliary head; empty for a network with one output.
        smallest: the smallest side of a picture, in pixels, that the layers take.
        window: the only height and width that the network takes, if a fully connected layer reads a whole map; None if
            the network takes any size from `smallest` on.
    """

    heads: tuple[str, ...]
    auxiliary_weights: tuple[float, ...] = ()
    smallest: int = 1
    window: tuple[int, int] | None = None

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_classes)."""
        raise NotImplementedError

    def all_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """`logits(images)`, then the logits of each auxiliary head."""
        return (self.logits(images),)

    def forward(self, images: Tensor, *, auxiliary: bool = False) -> Tensor | tuple[Tensor, ...]:
        """(N, C, H, W) -> logits (N, num_classes); with `auxiliary` a tuple with those of all heads."""
        return self.all_logits(images) if auxiliary else self.logits(images)


class Encoder(Classifier):
    """Base class of classifiers that consist of stages, each of which ends in a map of a different stride.

    Attributes:
        feature_channels: channels of the stages' maps, finest first.
        feature_strides: strides of the stages' maps: pixels of the picture from one position of a map to the next.
    """

    feature_channels: tuple[int, ...]
    feature_strides: tuple[int, ...]

    def stages(self) -> Sequence[nn.Module]:
        """The network without its classifier, cut after each map of `pyramid`."""
        raise NotImplementedError

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """(N, C, H, W), multiples of the largest stride -> maps (N, feature_channels[i], H / strides[i], W / ...)."""
        maps = []
        for stage in self.stages():
            images = stage(images)
            maps.append(images)
        return maps

    def first_convolution(self) -> nn.Conv2d:
        """The layer that reads the picture; its weights are adapted to other numbers of channels."""
        return next(module for module in self.modules() if isinstance(module, nn.Conv2d))

    def dilate(self, output_stride: int) -> None:
        """Undoes every downsampling beyond `output_stride` and dilates the filters after it instead.

        The filters still read the grid for which they were trained, but at more positions (Chen et al., ICLR 2015,
        section 3.1: the hole algorithm; Yu & Koltun, ICLR 2016). Weights and their names do not change. If the
        downsampling was done by convolutions, the new map equals the old one at the old map's positions. A pooling that
        no longer strides becomes 3x3 and undilated, as in DeepLab, so this equality ends after a 2x2 pooling.
        A dilated network can be dilated further.

        Raises:
            UserError: the network does not have this stride.
        """
        if output_stride not in self.feature_strides:
            raise UserError(
                f"output_stride {output_stride}: {type(self).__name__} has maps at strides "
                f"{', '.join(map(str, sorted(set(self.feature_strides))))}; choose one of them."
            )
        rate = 1  # positions of the new grid per position of the grid for which a filter was made
        for stage, stride in zip(self.stages(), self.feature_strides, strict=True):
            finer = max(stride // output_stride, 1)
            if finer == 1:
                continue
            before = rate
            for module in stage.modules():
                if isinstance(module, nn.Conv2d):
                    # A filter that had a stride still reads the grid before it, and so do strided filters in parallel.
                    # Filters after it read a finer grid than the one for which they were made. The 1x1 convolutions of
                    # shortcuts are strided in parallel to the filter, not before it.
                    strode = max(module.stride) > 1
                    module.stride = (1, 1)
                    if max(module.kernel_size) > 1:
                        widen(module, before if strode else rate)
                        rate = finer if strode else rate
                elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d) and module.stride not in (1, (1, 1)):
                    module.kernel_size, module.stride, module.padding = 3, 1, 1
                    if isinstance(module, nn.AvgPool2d):
                        module.count_include_pad = False  # the border would be darker than the picture
                    rate = finer
        with_atrous_convolutions(self)
        self.feature_strides = tuple(min(stride, output_stride) for stride in self.feature_strides)


class UnpaddedEncoder(Encoder):
    """Base class of encoders with layers that do not pad, so that their maps have fewer positions than the full grid.

    `pyramid` fills every map up to its full grid: the outermost values are repeated on both sides, half of the missing
    positions on each. If their number is odd, the map is shifted by half a position with bilinear interpolation. The
    maps that stages pass on to each other do not change, so classifier and encoder compute the same. A picture that is
    too small for the layers is mirrored at the right and at the bottom until it is large enough.
    """

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """(N, C, H, W), multiples of the largest stride -> maps (N, feature_channels[i], H / strides[i], W / ...)."""
        height, width = images.shape[-2:]
        coarsest = max(self.feature_strides)
        least = -(-self.smallest // coarsest) * coarsest
        images = mirror_pad(images, (0, max(least - width, 0), 0, max(least - height, 0)))
        padded = images.shape[-2]
        return [
            on_grid(each, padded // stride - each.shape[-2])[..., : height // stride, : width // stride]
            for each, stride in zip(super().pyramid(images), self.feature_strides, strict=True)
        ]


def on_grid(maps: Tensor, missing: int) -> Tensor:
    """(N, C, h, w) -> (N, C, h + missing, w + missing), half of it on each side, by repeating the outermost values.

    >>> on_grid(Tensor([[[[1.0, 2.0, 4.0]]]]), 1)[0, 0, 0].tolist()
    [1.0, 1.5, 3.0, 4.0]
    """
    if missing == 0:
        return maps
    each = (missing + 1) // 2
    maps = F.pad(maps, (each,) * 4, mode="replicate")
    return F.avg_pool2d(maps, 2, 1) if missing % 2 else maps


def widen(convolution: nn.Conv2d, rate: int) -> None:
    """Multiplies the dilation and the padding of a filter by `rate`.

    The caller passes the finished network to `nn.atrous.with_atrous_convolutions`, for a correct gradient in bfloat16.
    """
    rows, columns = convolution.dilation
    convolution.dilation = (rate * rows, rate * columns)
    assert not isinstance(convolution.padding, str)
    top, left = convolution.padding
    convolution.padding = (rate * top, rate * left)
