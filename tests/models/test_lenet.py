"""LeNet-5: the sizes of the paper's figure 2, and the network as a filter over a larger picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.models.classify.lenet import LeNet5
from pixelwise.models.convert import fully_convolutional


def test_sizes_of_figure_2() -> None:
    network = LeNet5()
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("c1", "s2", "c3", "s4", "c5", "f6", "head"):

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            shapes[name] = tuple(output.shape[1:])

        network.get_submodule(name).register_forward_hook(note)
    network(torch.randn(1, 1, 32, 32))
    assert shapes == {
        "c1": (6, 28, 28),
        "s2": (6, 14, 14),
        "c3": (16, 10, 10),
        "s4": (16, 5, 5),
        "c5": (120,),
        "f6": (84,),
        "head": (10,),
    }


@torch.no_grad()
def test_units_saturate_at_one() -> None:
    """tanh behind every layer but the last: pictures of any brightness give bounded logits."""
    torch.manual_seed(0)
    network = LeNet5().eval()
    network.f6.weight.mul_(100)
    bound = network.head.weight.abs().sum(1) + network.head.bias.abs()
    assert (network(1e6 * torch.randn(4, 1, 32, 32)).abs() <= bound + 1e-4).all()


@torch.no_grad()
def test_on_a_larger_picture_it_is_the_network_window_by_window() -> None:
    torch.manual_seed(0)
    network = LeNet5(in_channels=2, num_classes=4).eval()
    converted = fully_convolutional(network, 32)
    assert converted.stride == (4, 4)
    one = torch.randn(2, 2, 32, 32)
    assert torch.allclose(converted(one)[..., 0, 0], network(one), atol=1e-5)
    images = torch.randn(1, 2, 44, 53)
    scores = converted(images)
    assert scores.shape == (1, 4, 4, 6)
    for row in range(4):
        for column in range(6):
            window = images[..., 4 * row : 4 * row + 32, 4 * column : 4 * column + 32]
            assert torch.allclose(scores[..., row, column], network(window), atol=1e-5)
