"""The Python API of pixelwise. The command line is a thin layer over it."""

from pixelwise.api.datasets import check, convert
from pixelwise.api.evaluation import evaluate, tables
from pixelwise.api.labelling import simulate, suggest
from pixelwise.api.prediction import load, not_read, predict
from pixelwise.api.sampling import sample
from pixelwise.api.training import Baselines, list_recipes, resume, train

__all__ = [
    "Baselines",
    "check",
    "convert",
    "evaluate",
    "list_recipes",
    "load",
    "not_read",
    "predict",
    "resume",
    "sample",
    "simulate",
    "suggest",
    "tables",
    "train",
]
