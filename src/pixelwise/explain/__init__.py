"""Looking inside a network: what its layers respond to, and which pixels its predictions depend on."""

from pixelwise.explain.activations import outputs
from pixelwise.explain.cam import grad_cam
from pixelwise.explain.deconvnet import project
from pixelwise.explain.deepdream import deepdream
from pixelwise.explain.explanation import explain
from pixelwise.explain.fields import Fields
from pixelwise.explain.filters import filter_sheet
from pixelwise.explain.heatmaps import attribution_overlay, heatmap_sheet, signed_picture
from pixelwise.explain.layers import list_layers
from pixelwise.explain.maximisation import maximise
from pixelwise.explain.occlusion import occlusion
from pixelwise.explain.subject import Subject, open_subject
from pixelwise.explain.target import channel_score, class_score, edge_score, peak_score, unit_score
from pixelwise.explain.top_patches import top_patches

__all__ = [
    "Fields",
    "Subject",
    "attribution_overlay",
    "channel_score",
    "class_score",
    "deepdream",
    "edge_score",
    "explain",
    "filter_sheet",
    "grad_cam",
    "heatmap_sheet",
    "list_layers",
    "maximise",
    "occlusion",
    "open_subject",
    "outputs",
    "peak_score",
    "project",
    "signed_picture",
    "top_patches",
    "unit_score",
]
