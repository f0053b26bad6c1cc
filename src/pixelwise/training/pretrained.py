"""What a run starts from: `model.weights` of a recipe made concrete, and which file that was.

A recipe that does not mention `model.weights`, or says `auto`, starts from published weights where there are any;
`none` (or null) stands for random ones. A planned recipe holds a path, a name on the hub, or null.
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
    """The weights of one or several recipes that start together: those of each classifier are searched for once.

    Attributes:
        notes: a sentence for each classifier whose published weights were not found.
        reasons: `model.weights` -> why the last recipe's are what they are; empty where the recipe names them.
    """

    notes: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    _found: dict[str, Search] = field(default_factory=dict)

    def settle(self, recipe: Recipe) -> Recipe:
        """The recipe with a path, a name on the hub, or null as its weights; without any where none are known.

        Paths become absolute, so that the run can be resumed from another folder. All processes must call it.

        Raises:
            UserError: as `published.search`.
        """
        self.reasons = {}
        options = recipe.model.options
        if "weights" not in options and recipe.provenance:  # written by a run of before, which had random ones
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
                    f"weights: random, as no published ones of {classifier} were found "
                    f"({'; '.join(self._found[classifier].tried)}). To start from published ones, save a file that "
                    f"`pixelwise weights {classifier}` lists into a folder and set {FOLDER} to it, or give --set "
                    "model.weights=FILE_OR_HUB_NAME."
                )
        found = self._found[classifier].weights
        published = f"published weights of {classifier}"
        self.reasons = {"model.weights": published if found is not None else f"no {published} were found"}
        return found


def _search_once(classifier: str) -> Search:
    """The first process's search, on all of them; its error too."""
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
    """The file that weights were taken from, for the provenance of a run.

    Raises:
        UserError: as `locate`.
    """
    path = locate(weights)
    known = recognised(os.fspath(weights))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    name = os.fspath(weights) if known is None else known.name
    return {"name": name, "file": path.name, "sha256": digest, "licence": None if known is None else known.licence}


def check_origin(recipe: Recipe | PlannedRecipe, found: Mapping[str, Any], fix: str) -> None:
    """Compares the file that weights are taken from with the one that the recipe's run took.

    Args:
        found: what `origin` gives now.
        fix: how to go on, beside putting that file back.

    Raises:
        UserError: another one.
    """
    before = recipe.provenance.get("weights")
    if before and before["name"] == found["name"] and before["sha256"] != found["sha256"]:
        raise UserError(
            f"{found['name']}: its SHA-256 digest begins with {found['sha256']}, but the run began with "
            f"{before['sha256']}; put that file back, or {fix}"
        )


def origin_line(weights: str | os.PathLike[str], taken: Mapping[str, Any]) -> str:
    """What weights a run starts from, whose they are and where they were; empty for those of another run.

    Raises:
        UserError: as `read_weights`.
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
