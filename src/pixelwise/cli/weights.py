"""`pixelwise weights`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def weights(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="The network; by default all of them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List published weights for a network: name, licence, where they are on this machine, and their normalisation."""
    from rich.text import Text

    from pixelwise.catalog import SYSTEMS
    from pixelwise.errors import unknown
    from pixelwise.models.classify.table import ENCODERS
    from pixelwise.models.known_weights import KNOWN, known_weights
    from pixelwise.models.published import at_hand, in_folder
    from pixelwise.terminal import Column, Listing, show

    if model is not None and model not in {*SYSTEMS, *ENCODERS}:
        raise unknown("model", model, {*SYSTEMS, *ENCODERS})
    found = sorted(KNOWN, key=lambda known: known.model) if model is None else known_weights(model)
    if as_json:
        listed = [{**asdict(known), "address": known.address, "here": at_hand(known)} for known in found]
        print(json.dumps(listed, indent=2))
        return
    if not found:
        show(
            f"No published weights are known for {model}; its encoder may have some (`pixelwise weights` lists all). "
            "You can also start from your own run or file: --set model.weights=FILE"
        )
        return
    columns = [Column(title) for title in ("model", "weights", "licence", "here", "mean", "std")]
    rows: list[list[str | Text]] = [
        [
            known.model,
            Text(known.name, style=f"link {known.address}"),
            known.licence,
            at_hand(known),
            *(" ".join(f"{value:g}" for value in part) for part in (known.mean, known.std)),
            known.note,
        ]
        for known in found
    ]
    show(Listing([*columns, Column("", folds=True)], rows))
    fitting = in_folder(model) if model is not None else None
    if fitting is not None:
        show(f"Training a {model} starts from {fitting}.")
    show(
        "All weights were trained on ImageNet's 1,000 classes; mean and std are for 8-bit RGB and are set for you. "
        "Training starts from weights that are here: in the folder $PIXELWISE_WEIGHTS, or in the cache of the Hugging "
        "Face hub. If there are none, weights with a slash in their name are downloaded from the hub. The others are "
        "files of download.pytorch.org/models: download one into that folder, or give its path (--set "
        "model.weights=FILE); its digest is checked."
    )
