"""A classifier cut after any of its layers, with a new head: transfer learning from a chosen depth (Yosinski et al.,
NIPS 2014, arXiv:1411.1792).

The first layers of a network are useful for nearly any picture, the last ones only for the task that it was trained on.
So a network that was trained on many pictures is cut where its layers become too specific, and gets a head for the new
classes there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from pixelwise.errors import UserError, unknown
from pixelwise.models.classify.table import CLASSIFIERS
from pixelwise.models.construct import construct
from pixelwise.models.weights import load_weights
from pixelwise.nn.encoder import Classifier, Encoder
from pixelwise.nn.initialise import he_normal

Shape = tuple[int, ...]
"""Shape of a layer's output for one picture: (channels, height, width) of maps, or (units,)."""

HEAD = ("conv 16", "relu", "flatten", "dense classes")
SIDE = 224
"""Default side of the pictures for a head that flattens; published networks were trained with it."""
LARGEST = 4096
"""Largest side in pixels that is tried in the search for the smallest picture that a network takes."""


@dataclass(frozen=True, slots=True)
class Word:
    """A kind of layer as it is written in a recipe.

    Attributes:
        pattern: regular expression for the whole word; its groups go to `build`.
        form: the pattern in readable form.
        takes: possible dimensions of the layer's input for one picture: 3 for maps, 1 for a vector.
        build: (shape before the layer, groups) -> the layer.
    """

    pattern: str
    form: str
    takes: Sequence[int]
    build: Callable[..., nn.Module]


def _convolution(before: Shape, channels: str, side: str | None) -> nn.Module:
    kernel = int(side or 3)
    return nn.Conv2d(before[0], int(channels), kernel, padding=kernel // 2)


def _norm(before: Shape) -> nn.Module:
    return nn.BatchNorm2d(before[0]) if len(before) == 3 else nn.BatchNorm1d(before[0])


def _dense(before: Shape, units: str) -> nn.Module:
    return nn.Linear(before[0], int(units))


WORDS: dict[str, Word] = {
    "avgpool": Word("avgpool", "avgpool", (3,), lambda _: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())),
    "batchnorm": Word("batchnorm", "batchnorm", (1, 3), _norm),
    "conv": Word(r"conv ([1-9]\d*)(?: (\d*[13579])x\2)?", "conv N, or conv N KxK with K odd", (3,), _convolution),
    "dense": Word(r"dense ([1-9]\d*)", "dense N or dense classes", (1,), _dense),
    "dropout": Word(r"dropout (0|0?\.\d+)", "dropout P with 0 <= P < 1", (1, 3), lambda _, p: nn.Dropout(float(p))),
    "flatten": Word("flatten", "flatten", (3,), lambda _: nn.Flatten()),
    "maxpool": Word("maxpool", "maxpool", (3,), lambda _: nn.MaxPool2d(2)),
    "relu": Word("relu", "relu", (1, 3), lambda _: nn.ReLU()),
}
"""Convolutions keep the size of a map, `maxpool` halves it, `avgpool` averages over the whole map."""


class Cut(Classifier):
    """The layers of a classifier up to a chosen one, and a new head.

    The default is VGG-16 up to the third convolution of its third block, without that convolution's ReLU
    (`features.15` includes it), and a head of conv 16, relu, flatten and dense: 2,274,138 parameters for 10 classes and
    pictures of 224x224.

    Everything after the cut is removed. The remaining layers keep the names of their tensors, so published weights load
    by key. New layers start as in He et al. (ICCV 2015). Batch norm after `avgpool` or `flatten` needs batches of two
    or more.

    Args:
        network: a classifier of the catalog.
        layer: the last layer that is kept, by its name in the network's `named_modules()`. For a layer that is called
            several times, such as a ReLU that a block shares, the cut is after the last call.
        head: the new layers in order: `conv N` (3x3), `conv N 1x1`, `relu`, `maxpool` (2x2), `avgpool` (over the whole
            map), `batchnorm`, `flatten`, `dense N`, `dropout P`. A head that does not end in a `dense` is completed by
            `avgpool`, if it ends in maps, and `dense classes`.
        size: height and width, or the side of a square, of the pictures. None stands for the network's own `window` if
            it has one, for 224 if the head flattens maps, and else for any size.
        options: further options of the network's constructor (`width`).
        weights: pretrained weights of the network, as for an encoder.

    Attributes:
        notes: one sentence about the layers that were added to the given head, if any were.

    Raises:
        UserError: the network, layer or word is unknown; the layer is at the end of the network, or is not called on
            the way there; the words do not fit together, or do not end in one value per class; the weights are of
            another network.
    """

    heads = ("head",)  # everything that is new, so that `freeze: trunk` keeps the pretrained layers

    def __init__(
        self,
        *,
        network: str = "vgg16",
        layer: str = "features.14",
        head: Sequence[str] = HEAD,
        in_channels: int = 3,
        num_classes: int = 10,
        size: int | tuple[int, int] | None = None,
        options: Mapping[str, Any] | None = None,
        weights: Any = None,
    ) -> None:
        super().__init__()
        whole = _classifier(network, in_channels, num_classes, options or {})
        left = cut_after(whole, layer, network)
        if weights is not None:
            if isinstance(whole, Encoder):
                # `load_weights` adapts this layer to other numbers of channels.
                left.first_convolution = whole.first_convolution  # type: ignore[assignment]
            load_weights(left, weights)
        for name, module in left.named_children():
            self.add_module(name, module)
        self._code: Callable[[nn.Module, Tensor], Tensor] = type(left).forward  # finds layers by name, in any module
        self._stages = _stages_left(whole, left)

        words = [head] if isinstance(head, str) else [str(word) for word in head]
        _check_end(words, num_classes)
        self.window = _window(size, whole, words)
        size = self.window or (max(SIDE, whole.smallest),) * 2
        left.eval()  # batch norm accepts a single picture
        try:
            before = _shape(left, (in_channels, *size))
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{network}: cannot take pictures of {size[0]} x {size[1]} pixels ({str(error).splitlines()[0]}); "
                "choose another size."
            ) from None
        if len(before) not in (1, 3):
            raise UserError(f"layer '{layer}': returns neither maps nor a vector; cut after another layer.")
        self.head = nn.Sequential()
        for word in words:
            before = self._append(word, before, num_classes)
        self.notes: tuple[str, ...] = ()
        if not words or not words[-1].startswith("dense"):
            added = ["avgpool", "dense classes"] if len(before) == 3 else ["dense classes"]
            for word in added:
                before = self._append(word, before, num_classes)
            self.notes = (f"The head does not end in 'dense classes', so it was extended by {' and '.join(added)}.",)
        he_normal(self.head)
        self.smallest = min(self.window) if self.window else self._smallest(in_channels)
        self.train()

    def _append(self, word: str, before: Shape, num_classes: int) -> Shape:
        """Appends a layer to the head and returns the shape of its output."""
        layer = _layer(word, before, num_classes)
        try:
            after = _shape(layer.eval(), before)
        except RuntimeError:
            raise UserError(
                f"head: '{word}' cannot reduce maps of {before[1]} x {before[2]} any further; leave it out."
            ) from None
        self.head.append(layer)
        return after

    def _smallest(self, in_channels: int) -> int:
        """The side of the smallest square picture that all layers take."""

        def fits(side: int) -> bool:
            try:
                _shape(self, (in_channels, side, side))
            except RuntimeError:
                return False
            return True

        self.eval()
        high = 1
        while not fits(high):
            high *= 2
            if high > LARGEST:
                raise UserError(
                    f"this head and the layers before it take no square picture with a side of up to {LARGEST} pixels; "
                    "leave out a maxpool, or cut after an earlier layer."
                )
        low = high // 2  # too small, or 0
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return high

    def stages(self) -> Sequence[nn.Module]:
        """The remaining stages of an encoder, for learning rates that fall with depth; none for other networks."""
        return self._stages

    def trunk(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> the output of the layer at the cut."""
        return self._code(self, images)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_classes)."""
        return self.head(self.trunk(images))


def cut_after(network: Classifier, layer: str, name: str) -> fx.GraphModule:
    """The part of a classifier that leads up to the output of one of its layers; it shares modules and their names.

    Args:
        name: the network's name, for messages.

    Raises:
        UserError: as in `Cut`, about the layer.
    """
    modules = dict(network.named_modules())
    if layer not in modules or not layer:
        near = difflib.get_close_matches(layer, filter(None, modules), n=8, cutoff=0.4)
        raise unknown("layer", layer, near or [child for child, _ in network.named_children()])
    if any(f"{layer}.".startswith(f"{head}.") or f"{head}.".startswith(f"{layer}.") for head in network.heads):
        raise UserError(f"layer '{layer}': it returns {name}'s class logits; cut after an earlier layer.")
    tracer = _AroundLayer(layer, modules[layer])
    network.eval()  # functions that depend on the mode are traced as in prediction
    try:
        graph = tracer.trace(network)
    except (fx.proxy.TraceError, RuntimeError, TypeError, ValueError, NameError) as error:
        raise UserError(
            f"layer '{layer}': the computation of {name} around it cannot be traced ({str(error).splitlines()[0]}); "
            f"cut after '{layer.rpartition('.')[0]}'."
        ) from None
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == layer]
    if not calls:
        parts = [node.target for node in graph.nodes if str(node.target).startswith(f"{layer}.")]
        nearest = f"cut after one of its parts, such as '{parts[-1]}'" if parts else "cut after another layer"
        raise UserError(f"layer '{layer}': {name} does not call it as a whole on the way to its output; {nearest}.")
    graph.erase_node(next(node for node in graph.nodes if node.op == "output"))
    graph.output(calls[-1])
    left = fx.GraphModule(network, graph, type(network).__name__)
    left.graph.eliminate_dead_code()
    left.delete_all_unused_submodules()
    left.recompile()
    return left


class _AroundLayer(fx.Tracer):
    """Records a forward pass through the modules that contain the layer; all other modules stay whole."""

    def __init__(self, layer: str, module: nn.Module) -> None:
        super().__init__()
        self.traced_func_name = "logits"  # `forward` branches on whether the auxiliary heads are wanted
        self._layer, self._module = layer, module

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not self._layer.startswith(f"{module_qualified_name}.")

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(m, nn.Sequential) and m is not self._module:  # may be a slice, which has no name in the network
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


def _classifier(network: str, in_channels: int, num_classes: int, options: Mapping[str, Any]) -> Classifier:
    if network not in CLASSIFIERS:
        raise unknown("network to cut", network, CLASSIFIERS)
    for given in ("in_channels", "num_classes"):
        if given in options:
            raise UserError(f"options of {network}: {given} is decided by the data; leave it out.")
    build = CLASSIFIERS[network]
    return construct(network, build, {"in_channels": in_channels, "num_classes": num_classes, **options})


def _stages_left(whole: Classifier, left: nn.Module) -> tuple[nn.Module, ...]:
    """The remaining modules with parameters of each stage; stages without any are left out."""
    if not isinstance(whole, Encoder):
        return ()
    kept = {id(module) for module in left.modules() if any(True for _ in module.parameters(recurse=False))}
    stages = ([module for module in stage.modules() if id(module) in kept] for stage in whole.stages())
    return tuple(nn.ModuleList(modules) for modules in stages if modules)


def _window(size: int | tuple[int, int] | None, whole: Classifier, words: Sequence[str]) -> tuple[int, int] | None:
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        return height, width
    if whole.window is None and "flatten" in words:
        return (max(SIDE, whole.smallest),) * 2
    return whole.window


def _check_end(words: Sequence[str], num_classes: int) -> None:
    last = words[-1] if words else ""
    if re.fullmatch(WORDS["dense"].pattern, last) and last != f"dense {num_classes}":
        raise UserError(
            f"head: the last layer, '{last}', does not return one value for each of the {num_classes} classes; "
            "write 'dense classes'."
        )


def _layer(word: str, before: Shape, num_classes: int) -> nn.Module:
    name = word.partition(" ")[0]
    if name not in WORDS:
        raise unknown("layer of the head", name, WORDS)
    rule = WORDS[name]
    match = re.fullmatch(rule.pattern, f"dense {num_classes}" if word == "dense classes" else word)
    if match is None:
        raise UserError(f"head: found '{word}', expected {rule.form}.")
    if len(before) not in rule.takes:
        needs = "maps, but its input is a vector" if len(before) == 1 else "a vector; put flatten or avgpool before it"
        raise UserError(f"head: '{word}' takes {needs}.")
    return rule.build(before, *match.groups())


def _shape(network: nn.Module, before: Shape) -> Shape:
    """The shape of a network's output, found without computing the output."""
    state = {name: value.to("meta") for name, value in (*network.named_parameters(), *network.named_buffers())}
    return tuple(functional_call(network, state, (torch.empty(1, *before, device="meta"),)).shape[1:])
