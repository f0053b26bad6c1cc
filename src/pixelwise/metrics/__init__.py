"""Scores of predictions, one accumulator per family of scores. No score depends on the batch size."""

from pixelwise.metrics.average_precision import voc_average_precision
from pixelwise.metrics.boundary import BoundaryScore, boundaries
from pixelwise.metrics.calibration import Calibration, CalibrationTable
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.instances import InstanceScore, Overlaps, overlaps
from pixelwise.metrics.keypoints import pck, pckh
from pixelwise.metrics.pictures import PictureScore

__all__ = [
    "BoundaryScore",
    "Calibration",
    "CalibrationTable",
    "ConfusionMatrix",
    "Headline",
    "InstanceScore",
    "Overlaps",
    "PictureScore",
    "boundaries",
    "overlaps",
    "pck",
    "pckh",
    "voc_average_precision",
]
