"""Classification networks as the encoders of dense networks."""

from __future__ import annotations

from typing import Any

from pixelwise.errors import unknown
from pixelwise.models.classify.table import ENCODERS
from pixelwise.models.weights import load_weights
from pixelwise.nn.encoder import Encoder


def create_encoder(
    name: str, *, in_channels: int = 3, weights: Any = None, output_stride: int | None = None
) -> Encoder:
    """Builds a classification network without its classifier.

    Args:
        weights: a file, a run folder, or a name on the Hugging Face hub; see `pixelwise.models.weights`.
        output_stride: the coarsest stride of a map; dilated filters take the place of further strides. None keeps the
            network's own strides.

    Raises:
        UserError: the name is unknown, the weights do not fit, or the network does not have that stride.
    """
    if name not in ENCODERS:
        raise unknown("encoder", name, ENCODERS)
    encoder = ENCODERS[name](in_channels=in_channels, num_classes=0)
    if weights is not None:
        load_weights(encoder, weights)
    if output_stride is not None:
        encoder.dilate(output_stride)
    return encoder
