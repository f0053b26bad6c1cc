"""The weights that a run starts from: makes a recipe's `model.weights` concrete, and records which file was used.

A recipe without `model.weights`, or with `auto`, starts from published weights if there are any; `none` (or null) means
random weights. A planned recipe holds a path, a name on the hub, or null.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.catalog import published_classifier
from pixelwise.distributed import gathered, rank
from pixelwise.errors import UserError
from pixelwise.models.known_weights import recognised
from pixelwise.models.published import FOLDER, Search, search, weights_folder
from pixelwise.models.weights import locate, read_weights
from pixelwise.recipe.recipe import PlannedRecipe, Recipe

AUTO, NONE = "auto", "none"


@dataclass(slots=True)
class Weights:
    """Finds the weights for one or several recipes that start together; each classifier's are searched for once.

    Attributes:
        notes: a sentence for each classifier whose published weights were not found.
        reasons: `model.weights` -> the reason for the last recipe's weights; empty if the recipe names them.
    """

    notes: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    _found: dict[str, Search] = field(default_factory=dict)

    def settle(self, recipe: Recipe) -> Recipe:
        """The recipe with a path, a name on the hub, or null as its weights, or without the key if no weights are
        published for its network.

        Paths become absolute, so that the run can be resumed from another folder. All processes must call this.

        Raises:
            UserError: as in `published.search`.
        """
        self.reasons = {}
        options = recipe.model.options
        if "weights" not in options and recipe.provenance:  # from an earlier run, which had random weights
            return recipe
        asked = options.get("weights", AUTO)
        if asked == AUTO:
            classifier = published_classifier(recipe.model.name, {k: v for k, v in options.items() if k != "weights"})
            if classifier is None and "weights" not in options:
                return recipe
            weights = None if classifier is None else self._published(classifier)
        else:
            weights = None if asked == NONE else _absolute(asked)
        model = {"name": recipe.model.name, **options, "weights": weights}
        return recipe.model_copy(update={"model": type(recipe.model).model_validate(model)})

    def _published(self, classifier: str) -> str | None:
        if classifier not in self._found:
            self._found[classifier] = _search_once(classifier)
            if self._found[classifier].weights is None:
                self.notes.append(
                    f"weights: random, since no published weights of {classifier} were found "
                    f"({'; '.join(self._found[classifier].tried)}). To start from published weights, save a file that "
                    f"`pixelwise weights {classifier}` lists into a folder and set {FOLDER} to that folder, or give "
                    "--set model.weights=FILE_OR_HUB_NAME."
                )
        found = self._found[classifier].weights
        published = f"published weights of {classifier}"
        self.reasons = {"model.weights": published if found is not None else f"no {published} were found"}
        return found


def _search_once(classifier: str) -> Search:
    """The result of the first process's search, or its error, on all processes."""
    outcome: Search | str | None = None
    if rank() == 0:
        try:
            outcome = search(classifier)
        except UserError as error:
            outcome = str(error)
    first = gathered(outcome)[0]
    if not isinstance(first, Search):
        raise UserError(str(first))
    return first


def _absolute(weights: Any) -> Any:
    if isinstance(weights, str | os.PathLike) and Path(weights).expanduser().exists():
        return str(Path(weights).expanduser().resolve())
    return weights


def origin(weights: str | os.PathLike[str]) -> dict[str, Any]:
    """The file that weights were read from, for the provenance of a run.

    Raises:
        UserError: as in `locate`.
    """
    path = locate(weights)
    known = recognised(os.fspath(weights))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    name = os.fspath(weights) if known is None else known.name
    return {"name": name, "file": path.name, "sha256": digest, "licence": None if known is None else known.licence}


def check_origin(recipe: Recipe | PlannedRecipe, found: Mapping[str, Any], fix: str) -> None:
    """Checks that the file of the weights is the file that the recipe's run began with.

    Args:
        found: what `origin` returns now.
        fix: what the user can do instead of putting that file back.

    Raises:
        UserError: it is a different file.
    """
    before = recipe.provenance.get("weights")
    if before and before["name"] == found["name"] and before["sha256"] != found["sha256"]:
        raise UserError(
            f"{found['name']}: its SHA-256 digest begins with {found['sha256']}, but the run began with "
            f"{before['sha256']}; put that file back, or {fix}"
        )


def origin_line(weights: str | os.PathLike[str], taken: Mapping[str, Any]) -> str:
    """A line on the weights that a run starts from: name, licence and place; empty for the weights of another run.

    Raises:
        UserError: as in `read_weights`.
    """
    if read_weights(weights).model is not None:
        return ""
    name, folder = taken["name"], weights_folder()
    known = recognised(name)
    licence = "licence unknown" if known is None else f"{known.licence}, ImageNet"
    if known is not None and known.on_hub and os.fspath(weights) == known.name:
        return f"weights: {name} ({licence}), from the hub's cache"
    path = Path(weights)
    if folder is not None and path.parent == folder:
        return f"weights: {path.name} ({licence}), from ${FOLDER}"
    return f"weights: {name} ({licence})"
