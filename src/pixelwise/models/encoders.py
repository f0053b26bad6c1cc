"""Classification networks as the way down of dense networks."""

from __future__ import annotations

from typing import Any

from pixelwise.errors import unknown
from pixelwise.models.classify.table import ENCODERS
from pixelwise.models.weights import load_weights
from pixelwise.nn.encoder import Encoder


def create_encoder(
    name: str, *, in_channels: int = 3, weights: Any = None, output_stride: int | None = None
) -> Encoder:
    """A classification network without its classifier.

    Args:
        weights: a file, a run folder, or a name on the Hugging Face hub; see `pixelwise.models.weights`.
        output_stride: maps are no coarser than this, by dilated filters; None for the network's own strides.

    Raises:
        UserError: unknown name, weights that do not fit, or a stride that the network does not have.
    """
    if name not in ENCODERS:
        raise unknown("encoder", name, ENCODERS)
    encoder = ENCODERS[name](in_channels=in_channels, num_classes=0)
    if weights is not None:
        load_weights(encoder, weights)
    if output_stride is not None:
        encoder.dilate(output_stride)
    return encoder
