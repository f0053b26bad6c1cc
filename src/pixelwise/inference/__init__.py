"""Prediction: pictures of any size in, masks out."""

from pixelwise.inference.instances import connected_components, watershed
from pixelwise.inference.predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor", "connected_components", "watershed"]
