"""What every classification network offers: logits of whole pictures, and maps to the networks built on it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.nn.atrous import with_atrous_convolutions
from pixelwise.nn.dense import mirror_pad


class Classifier(nn.Module):
    """Base class of networks that name what a whole picture shows.

    Attributes:
        heads: dotted names of the layers whose tensors depend on the number of classes.
        auxiliary_weights: of a network with auxiliary heads, the factor of each one's loss in training; empty for a
            network with one output.
        smallest: the smallest side of a picture, in pixels, that the layers take.
        window: height and width of the only pictures that it takes, where a fully connected layer reads a whole map;
            None where any size from `smallest` on will do.
    """

    heads: tuple[str, ...]
    auxiliary_weights: tuple[float, ...] = ()
    smallest: int = 1
    window: tuple[int, int] | None = None

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_classes)."""
        raise NotImplementedError

    def all_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """`logits(images)`, then those of each auxiliary head."""
        return (self.logits(images),)

    def forward(self, images: Tensor, *, auxiliary: bool = False) -> Tensor | tuple[Tensor, ...]:
        """(N, C, H, W) -> logits (N, num_classes); with `auxiliary` a tuple, those of all heads."""
        return self.all_logits(images) if auxiliary else self.logits(images)


class Encoder(Classifier):
    """Base class of classifiers with a way down in stages, each of them ending in a map of its own stride.

    Attributes:
        feature_channels: of the stages' maps, finest first.
        feature_strides: of the stages' maps: pixels of the picture from one place of a map to the next.
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
        """The layer that sees the picture; what adapts to other numbers of channels."""
        return next(module for module in self.modules() if isinstance(module, nn.Conv2d))

    def dilate(self, output_stride: int) -> None:
        """Undoes every downsampling beyond `output_stride` and dilates the filters after it instead.

        The filters then see the picture on the grid that they were trained for, at more places (Chen et al., ICLR 2015,
        section 3.1: the hole algorithm; Yu & Koltun, ICLR 2016). Weights stay as they are, and so do their names. Where
        it was convolutions that strode, the new map read at the places of the old one equals the old one. Pooling that
        no longer strides becomes 3x3, undilated, as in DeepLab, so after a 2x2 pooling that is no longer so.
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
            before = rate
            for module in stage.modules():
                if isinstance(module, nn.Conv2d):
                    # A filter that strode still reads the grid before it, as does one that strode beside it; those
                    # after it read a finer one than they were made for. The 1x1 convolutions of shortcuts stride
                    # beside the filter, not before it.
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
    """Base class of encoders some of whose layers do not pad, so that their maps have fewer places than the grid.

    `pyramid` gives every map its whole grid: what is missing is shared out to both sides, where the outermost values
    are repeated (bilinear interpolation by half a place where the number of missing places is odd). What a stage hands
    to the next stays as it is, so classifier and encoder compute the same. A picture too small for the layers is
    mirrored at the right and at the bottom until it suits them.
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
    """Spreads the taps of a filter `rate` times as far, and its padding with them.

    The caller passes the finished network to `nn.atrous.with_atrous_convolutions`, for a right gradient in bfloat16.
    """
    rows, columns = convolution.dilation
    convolution.dilation = (rate * rows, rate * columns)
    assert not isinstance(convolution.padding, str)
    top, left = convolution.padding
    convolution.padding = (rate * top, rate * left)
