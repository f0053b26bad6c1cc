"""pixelwise: folder of pictures in, pixel-accurate model out.

    import pixelwise

    run = pixelwise.train("unet", data="my_pictures", minutes=20)
    predict = pixelwise.load(run.path)
    predict("new_picture.jpg").overlay()

Names are imported when they are first used, so importing the package takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_HOMES = {
    "UserError": "pixelwise.errors",
    "check": "pixelwise.api",
    "create_model": "pixelwise.catalog",
    "evaluate": "pixelwise.api",
    "list_models": "pixelwise.catalog",
    "list_recipes": "pixelwise.api",
    "load": "pixelwise.api",
    "open_dataset": "pixelwise.data.formats",
    "predict": "pixelwise.api",
    "resume": "pixelwise.api",
    "sample": "pixelwise.api",
    "suggest": "pixelwise.api",
    "train": "pixelwise.api",
}

if TYPE_CHECKING:
    from pixelwise.api import check, evaluate, list_recipes, load, predict, resume, sample, suggest, train
    from pixelwise.catalog import create_model, list_models
    from pixelwise.data.formats import open_dataset
    from pixelwise.errors import UserError

__all__ = [
    "UserError",
    "check",
    "create_model",
    "evaluate",
    "list_models",
    "list_recipes",
    "load",
    "open_dataset",
    "predict",
    "resume",
    "sample",
    "suggest",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in ("active", "losses", "metrics", "hardware"):
        return import_module(f"pixelwise.{name}")
    raise AttributeError(f"module 'pixelwise' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
