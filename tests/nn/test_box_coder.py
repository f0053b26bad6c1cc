"""Offsets by hand, and decode(encode(x)) == x."""

from __future__ import annotations

import pytest
import torch

from pixelwise.nn.box_coder import BoxCoder


def test_the_example_of_the_docstring() -> None:
    anchor, box = torch.tensor([[0.0, 0.0, 10.0, 20.0]]), torch.tensor([[5.0, 0.0, 15.0, 20.0]])
    assert BoxCoder().encode(box, anchor).tolist() == [[0.5, 0.0, 0.0, 0.0]]
    assert BoxCoder((10, 10, 5, 5)).encode(box, anchor).tolist() == [[5.0, 0.0, 0.0, 0.0]]
    larger = torch.tensor([[0.0, -10.0, 10.0, 30.0]])  # twice as high
    assert BoxCoder((10, 10, 5, 5)).encode(larger, anchor)[0].tolist() == pytest.approx([0, 0, 0, 5 * 0.693147])


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_decoding_undoes_encoding(weights: tuple[float, float, float, float]) -> None:
    draw = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 50, 2, generator=draw) * 100
    boxes, anchors = torch.cat([corners, corners + 1 + torch.rand(2, 50, 2, generator=draw) * 60], 2)
    coder = BoxCoder(weights)
    assert torch.allclose(coder.decode(coder.encode(boxes, anchors), anchors), boxes, atol=1e-4)


def test_huge_offsets_do_not_overflow() -> None:
    decoded = BoxCoder().decode(torch.tensor([[0.0, 0.0, 1e6, 1e6]]), torch.tensor([[0.0, 0.0, 16.0, 16.0]]))
    assert decoded.isfinite().all()
    assert float(decoded[0, 2] - decoded[0, 0]) == pytest.approx(1000, rel=1e-3)
