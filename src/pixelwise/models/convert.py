"""A classifier as a fully convolutional network (Long et al., CVPR 2015, section 3.1; Sermanet et al., ICLR 2014).

A fully connected layer over a map of h x w positions is a convolution with a kernel of h x w; a global average is an
average over a window of that size. In this form a classifier made for one window predicts for every window of a larger
picture at once. The windows are one stride of the network apart, and overlapping windows share the arithmetic.
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
"""Channels, height and width of a map of the converted network when its input is exactly one window."""


class FullyConvolutional(nn.Module):
    """Computes a classifier's logits for every window of a picture; made by `fully_convolutional`.

    The logits at (i, j) belong to the window whose top left pixel is (i stride, j stride).

    Attributes:
        window: height and width of the pictures that the classifier was made for.
        stride: pixels from one window to the next, downwards and to the right.
    """

    def __init__(self, network: fx.GraphModule, window: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.window = window
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W), at least a window -> logits (N, K, h, w), h = 1 + (H - window) // stride without padding."""
        return self.network(images)

    def heat_map(self, images: Tensor) -> Tensor:
        """(N, C, H, W), at least a window -> class probabilities (N, K, H, W).

        Each window's softmax is placed at the middle of the window and interpolated bilinearly in between. Pixels
        beyond the outermost middles take the probabilities of the nearest window.
        """
        probabilities = self(images).softmax(1)
        lines = []
        for size, window, stride, positions in zip(
            images.shape[-2:], self.window, self.stride, probabilities.shape[-2:], strict=True
        ):
            centre = (torch.arange(size, device=images.device) + 0.5 - window / 2) / stride
            lines.append(
                2 * centre / max(positions - 1, 1) - 1
            )  # -1 and 1: the middles of the first and the last window
        rows, columns = torch.meshgrid(*lines, indexing="ij")
        grid = torch.stack([columns, rows], -1).to(probabilities.dtype).expand(len(images), -1, -1, -1)
        return F.grid_sample(probabilities, grid, padding_mode="border", align_corners=True)


def fully_convolutional(classifier: nn.Module, window: int | tuple[int, int]) -> FullyConvolutional:
    """Converts a classifier so that it takes pictures of any size from one window up.

    For a picture as large as the window, the result is the classifier's logits. For a larger picture it equals the
    classifier run window by window, provided that the classifier pads nowhere (and pools over whole windows only: no
    `ceil_mode`). A classifier that pads sees zeros beyond the border of a lone window, where the converted network sees
    the rest of the picture; its logits then take the surroundings into account and differ from the lone window's
    everywhere.

    Weights are shared with the classifier, not copied.

    Args:
        classifier: (N, C, h, w) -> logits (N, K). Its layers are modules: convolutions, poolings and so on, then a
            flattened map or a global average, then linear layers with pointwise functions between them.
        window: height and width, or the side of a square, that the classifier is made for. Adaptive pooling must be
            global, or receive a map of exactly its output size from such a window (224 for VGG).

    Raises:
        UserError: the classifier is built in another way, or does not take such a window.
    """
    height, width = (window, window) if isinstance(window, int) else window
    training = classifier.training
    classifier.eval()  # batch norm accepts a single picture, and dropout is off
    try:
        network = _convert(classifier, height, width)
        stride = _strides(network, _input_channels(classifier, height * width), height, width)
    except (RuntimeError, ValueError, TypeError, NameError, IndexError) as error:  # a layer refused its input
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{type(classifier).__name__}: its layers cannot be traced on pictures of {height} x {width} and larger "
            f"({reason})."
        ) from error
    finally:
        classifier.train(training)
    return FullyConvolutional(network, (height, width), stride).train(training)


class _Tracer(fx.Tracer):
    """Records a forward pass down to single layers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return next(m.children(), None) is None

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(m, nn.Sequential):  # may be a slice of another sequence, which has no name in the classifier
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


class _Shapes(fx.Interpreter):
    """Runs a graph and records the shape of every result."""

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
        tracer.traced_func_name = "logits"  # `forward` branches on whether the auxiliary heads are wanted
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
    network.graph.eliminate_dead_code()  # sizes that only the flattening needed
    network.recompile()
    network.eval()
    with torch.no_grad():
        found = network(example)
    if found.shape != (*expected.shape, 1, 1) or not torch.allclose(found.flatten(1), expected, rtol=1e-3, atol=1e-4):
        raise UserError(
            f"{type(classifier).__name__}: cannot be converted; after its convolutions only a flattening or an average "
            "over the plane, linear layers and pointwise functions are possible, and it does something else."
        )
    return network


def _rewrite(node: fx.Node, graph: fx.Graph, layers: dict[str, Any], shapes: dict[fx.Node, MapShape]) -> None:
    """Rewrites one operation so that it keeps the positions of the map, and records the shape of its map."""
    after = node.meta["shape"]
    if node.op == "placeholder":
        shapes[node] = after[1:]
        return
    sources = [source for source in node.all_input_nodes if source in shapes]
    if not sources or after is None:  # independent of the picture, or a size
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
                f"'{target}' averages maps of {height} x {width} to {after[2]} x {after[3]}; give the window whose "
                "maps have that size."
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
    """Whether an operation averages over the plane, to whatever output size."""
    return isinstance(layer, nn.AdaptiveAvgPool2d) or node.target in {"mean", torch.mean, F.adaptive_avg_pool2d}


def _as_convolution(linear: nn.Linear, shape: MapShape) -> nn.Conv2d:
    """The convolution that equals a linear layer over a flattened map; it shares the layer's tensors."""
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
    raise UserError(f"{type(classifier).__name__}: has neither a convolution nor a linear layer.")


def _strides(network: fx.GraphModule, channels: int, height: int, width: int) -> tuple[int, int]:
    """Pixels from window to window: the distance between the receptive fields of two neighbouring logits."""
    state = {name: value.to("meta") for name, value in (*network.named_parameters(), *network.named_buffers())}
    images = torch.empty(1, channels, 3 * height, 3 * width, device="meta")  # room for a second window
    trace = Trace(lambda images: functional_call(network, state, (images,)), images)
    first, second = (trace.field(trace.outputs, position, position) for position in (0, 1))
    return int(second.top - first.top), int(second.left - first.left)
