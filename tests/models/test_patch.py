"""The patch classifier: all windows at once give what they give one by one."""

from __future__ import annotations

import pytest
import torch

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.models.facts import network_facts


@pytest.mark.parametrize("window", [65, 95])
def test_dense_equals_sliding_at_every_pixel(window: int) -> None:
    torch.manual_seed(0)
    network = create_model("patch", num_classes=4, window=window, width=6, hidden=10).eval()
    images = torch.randn(2, 3, 19, 26)
    with torch.inference_mode():
        dense, slow = network(images), network.slide(images)
    assert dense.shape == (2, 4, 19, 26)
    assert float(slow.std()) > 0.1
    assert torch.allclose(dense, slow, atol=1e-5)


def test_the_shapes_of_the_papers_table() -> None:
    network = create_model("patch", num_classes=2, in_channels=1, window=95)
    sizes: list[tuple[int, int]] = []
    for conv in (*network.convs, network.hidden):
        conv.register_forward_hook(lambda layer, inputs, output: sizes.append(tuple(output.shape[1:3])))
    with torch.inference_mode():
        assert network.classify(torch.randn(3, 1, 95, 95)).shape == (3, 2)
    assert sizes == [(48, 92), (48, 42), (48, 18), (48, 6), (200, 1)]  # table 1, N4


def test_a_logit_sees_its_window_and_no_more() -> None:
    with torch.device("meta"):
        assert network_facts(create_model("patch", num_classes=2)).receptive_field == 65
    network = create_model("patch", num_classes=2, width=6).eval()
    images = torch.randn(1, 3, 80, 80)
    changed = images.clone()
    changed[..., 40 + 33, :] += 1  # one row below the window around row 40
    with torch.inference_mode():
        assert torch.equal(network(images)[..., 40, :], network(changed)[..., 40, :])
        changed[..., 40 + 32, :] += 1
        assert not torch.equal(network(images)[..., 40, :], network(changed)[..., 40, :])


def test_other_windows_are_refused() -> None:
    with pytest.raises(UserError, match="65 or 95"):
        create_model("patch", num_classes=2, window=64)
