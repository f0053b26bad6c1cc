"""A classifier as a fully convolutional network (Long et al., CVPR 2015, section 3.1; Sermanet et al., ICLR 2014).

A fully connected layer over a map of h x w places is a convolution with a kernel of h x w; a global average is an
average over a window of that size. Written so, a classifier made for one window answers for every window of a larger
picture at once, a network's stride apart, and shares the arithmetic where windows overlap.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.nn.encoder import Classifier
from pixelwise.nn.receptive_field import Trace

MapShape = tuple[int, int, int]
"""Channels, height and width that the converted network has at a place when it sees exactly one window."""


class FullyConvolutional(nn.Module):
    """A classifier's scores for every window of a picture; made by `fully_convolutional`.

    Score (i, j) belongs to the window whose top left pixel is (i stride, j stride).

    Attributes:
        window: height and width of the pictures that the classifier was made for.
        stride: pixels from one window to the next, down and to the right.
    """

    def __init__(self, network: fx.GraphModule, window: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.window = window
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W), at least a window -> scores (N, K, h, w), h = 1 + (H - window) // stride without padding."""
        return self.network(images)

    def heat_map(self, images: Tensor) -> Tensor:
        """(N, C, H, W), at least a window -> class probabilities (N, K, H, W).

        The softmax of each window's scores at the middle of the window, bilinearly interpolated in between; beyond the
        outermost middles, those of the nearest window.
        """
        probabilities = self(images).softmax(1)
        lines = []
        for size, window, stride, places in zip(
            images.shape[-2:], self.window, self.stride, probabilities.shape[-2:], strict=True
        ):
            place = (torch.arange(size, device=images.device) + 0.5 - window / 2) / stride
            lines.append(2 * place / max(places - 1, 1) - 1)  # -1 and 1: the middles of the first and the last window
        rows, columns = torch.meshgrid(*lines, indexing="ij")
        grid = torch.stack([columns, rows], -1).to(probabilities.dtype).expand(len(images), -1, -1, -1)
        return F.grid_sample(probabilities, grid, padding_mode="border", align_corners=True)


def fully_convolutional(classifier: nn.Module, window: int | tuple[int, int]) -> FullyConvolutional:
    """The same classifier for pictures of any size from a window up.

    Of a picture as large as the window the scores are the classifier's logits. Of a larger one they equal the
    classifier run window by window if it pads nowhere (and pools over whole windows only: no `ceil_mode`). One that
    pads sees zeros beyond the border of a lone window, where the converted one sees the picture; its scores are those
    of a classifier that knows the surroundings, and equal the lone window's nowhere.

    Weights are shared with the classifier, not copied.

    Args:
        classifier: (N, C, h, w) -> logits (N, K), of layers that are modules: convolutions, poolings and so on, then a
            flattened map or a global average, then linear layers with pointwise functions between them.
        window: height and width, or the side of a square, that the classifier is made for. Adaptive pooling must find a
            map of its own size there (224 for VGG), or be global.

    Raises:
        UserError: a classifier that is built in another way, or does not take such a window.
    """
    height, width = (window, window) if isinstance(window, int) else window
    training = classifier.training
    classifier.eval()  # batch norm takes one picture, and functions that ask for the mode are those of prediction
    try:
        network = _convert(classifier, height, width)
        stride = _strides(network, _input_channels(classifier, height * width), height, width)
    except (RuntimeError, ValueError, TypeError, NameError, IndexError) as error:  # of running it as no layer allows
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{type(classifier).__name__}: its layers cannot be followed on {height} x {width} and larger ({reason})."
        ) from error
    finally:
        classifier.train(training)
    return FullyConvolutional(network, (height, width), stride).train(training)


class _Tracer(fx.Tracer):
    """Records a forward pass down to single layers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return next(m.children(), None) is None

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(m, nn.Sequential):  # may be a slice of another one, which has no name in the classifier
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shape of every result."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        n.meta["shape"] = tuple(result.shape) if isinstance(result, Tensor) else None
        return result


def _convert(classifier: nn.Module, height: int, width: int) -> fx.GraphModule:
    channels = _input_channels(classifier, height * width)
    parameter = next(classifier.parameters())
    example = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0)).to(parameter)
    tracer = _Tracer()
    if isinstance(classifier, Classifier):
        tracer.traced_func_name = "logits"  # `forward` asks whether the auxiliary heads are wanted
    graph = tracer.trace(classifier)
    with torch.no_grad():
        expected = _Shapes(fx.GraphModule(classifier, graph)).run(example)
    layers: dict[str, Any] = {}
    shapes: dict[fx.Node, MapShape] = {}
    for node in list(graph.nodes):
        if node.op == "output":
            continue
        if node.op in {"call_module", "get_attr"}:
            layers[node.target] = _attribute(classifier, node.target)
        _rewrite(node, graph, layers, shapes)
    network = fx.GraphModule(layers, graph)
    network.graph.eliminate_dead_code()  # sizes that only a flattening asked for
    network.recompile()
    network.eval()
    with torch.no_grad():
        found = network(example)
    if found.shape != (*expected.shape, 1, 1) or not torch.allclose(found.flatten(1), expected, rtol=1e-3, atol=1e-4):
        raise UserError(
            f"{type(classifier).__name__}: cannot be converted; behind its convolutions it does something else than "
            "flatten or average over the plane, linear layers and pointwise functions."
        )
    return network


def _rewrite(node: fx.Node, graph: fx.Graph, layers: dict[str, Any], shapes: dict[fx.Node, MapShape]) -> None:
    """Makes one operation keep its place in the plane, and notes the shape of its map."""
    after = node.meta["shape"]
    if node.op == "placeholder":
        shapes[node] = after[1:]
        return
    sources = [source for source in node.all_input_nodes if source in shapes]
    if not sources or after is None:  # nothing of the picture, or its size
        return
    source = sources[0]
    before = source.meta["shape"]
    channels, height, width = shapes[source]
    target = str(node.target)
    layer = layers[target] if node.op == "call_module" else None
    if isinstance(layer, nn.Linear):
        if layer.in_features != channels * height * width:
            raise UserError(
                f"'{target}' takes {layer.in_features} numbers, but the map before it has {channels} x {height} x "
                f"{width}."
            )
        layers[target] = _as_convolution(layer, shapes[source])
        shapes[node] = (layer.out_features, 1, 1)
        return
    flattened = len(before) == 4 and len(after) == 2 and after[1] == prod(before[1:])
    if flattened or (_averages(node, layer) and after[2:] == (height, width)):
        node.replace_all_uses_with(source)
        graph.erase_node(node)
        return
    if _averages(node, layer):
        if prod(after[2:]) != 1:
            raise UserError(
                f"'{target}' averages maps of {height} x {width} to {after[2]} x {after[3]}; give the window for "
                "which they have that size."
            )
        name = f"average_{len(layers)}"
        layers[name] = nn.AvgPool2d((height, width), stride=1)
        with graph.inserting_before(node):
            pooled = graph.create_node("call_module", name, (source,))
        pooled.meta = dict(node.meta)
        node.replace_all_uses_with(pooled)
        graph.erase_node(node)
        shapes[pooled] = (channels, 1, 1)
        return
    if len(before) == 4 and len(after) != 4:
        raise UserError(f"'{node.name}' neither flattens a map nor averages over it; that has no convolutional form.")
    shapes[node] = after[1:] if len(after) == 4 else shapes[source]


def _averages(node: fx.Node, layer: nn.Module | None) -> bool:
    """Whether an operation averages over the plane, whatever its size."""
    return isinstance(layer, nn.AdaptiveAvgPool2d) or node.target in {"mean", torch.mean, F.adaptive_avg_pool2d}


def _as_convolution(linear: nn.Linear, shape: MapShape) -> nn.Conv2d:
    """The convolution that a linear layer over a flattened map is; it shares the layer's tensors."""
    channels, height, width = shape
    with torch.device("meta"):
        convolution = nn.Conv2d(channels, linear.out_features, (height, width), bias=linear.bias is not None)
    convolution.weight = nn.Parameter(
        linear.weight.detach().view(linear.out_features, *shape), requires_grad=linear.weight.requires_grad
    )
    if linear.bias is not None:
        convolution.bias = linear.bias
    return convolution


def _attribute(module: nn.Module, path: str) -> Any:
    value: Any = module
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _input_channels(classifier: nn.Module, pixels: int) -> int:
    modules = list(classifier.modules())
    for module in modules:
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    for module in modules:
        if isinstance(module, nn.Linear):  # a perceptron on the pixels
            return max(module.in_features // pixels, 1)
    raise UserError(f"{type(classifier).__name__}: neither a convolution nor a linear layer in it.")


def _strides(network: fx.GraphModule, channels: int, height: int, width: int) -> tuple[int, int]:
    """Pixels from window to window: how far the fields of two neighbouring scores lie apart."""
    state = {name: value.to("meta") for name, value in (*network.named_parameters(), *network.named_buffers())}
    images = torch.empty(1, channels, 3 * height, 3 * width, device="meta")  # room for a second window
    trace = Trace(lambda images: functional_call(network, state, (images,)), images)
    first, second = (trace.field(trace.outputs, place, place) for place in (0, 1))
    return int(second.top - first.top), int(second.left - first.left)
