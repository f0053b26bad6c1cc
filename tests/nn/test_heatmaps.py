"""Joints to heatmaps and back."""

from __future__ import annotations

import torch

from pixelwise.nn.heatmaps import gaussians, heatmap_loss, mirrored, peaks


def test_decoding_finds_every_point_to_a_quarter_of_a_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2000, 2, generator=generator) * torch.tensor([62.0, 46.0]) + 1  # no outermost cell
    found, values = peaks(gaussians(points, (48, 64)))
    assert (found - points).abs().max() <= 0.25 + 1e-5
    assert (values > torch.exp(torch.tensor(-0.25)) - 1e-6).all(), "the centre of a cell is at most half a cell off"
    unmoved = found.floor() + 0.5
    assert (unmoved - points).abs().mean() > 1.5 * (found - points).abs().mean(), "the quarter is worth something"


def test_outermost_cells_lack_a_neighbour_and_are_found_to_half_a_cell() -> None:
    points = torch.tensor([[0.1, 0.2], [63.9, 47.8], [0.4, 20.6], [30.3, 47.9]])
    found, _ = peaks(gaussians(points, (48, 64)))
    assert (found - points).abs().max() <= 0.5


def test_the_peak_moves_towards_the_higher_neighbour_on_each_axis() -> None:
    heatmap = torch.zeros(4, 5)
    heatmap[1, 2], heatmap[1, 3], heatmap[0, 2] = 1.0, 0.3, 0.2
    found, value = peaks(heatmap)
    assert found.tolist() == [2.75, 1.25]
    assert float(value) == 1.0
    heatmap[1, 1], heatmap[2, 2] = 0.3, 0.2
    assert peaks(heatmap)[0].tolist() == [2.5, 1.5], "equal neighbours"


def test_width_and_height_are_not_swapped() -> None:
    heatmap = gaussians(torch.tensor([50.5, 3.5]), (10, 60))
    assert heatmap.shape == (10, 60)
    assert float(heatmap[3, 50]) == 1.0


def test_a_mirror_image_of_a_mirror_image_is_the_picture() -> None:
    heatmaps = torch.rand(2, 3, 4, 6)
    order = [1, 0, 2]
    assert torch.equal(mirrored(mirrored(heatmaps, order), order), heatmaps)
    assert torch.equal(mirrored(heatmaps, order)[:, 0], heatmaps[:, 1].flip(-1))


def test_joints_that_are_not_annotated_have_no_loss() -> None:
    heatmaps = torch.rand(2, 3, 4, 6, requires_grad=True)
    true = torch.zeros(2, 3, 4, 6)
    present = torch.tensor([[True, False, True], [False, False, True]])
    loss = heatmap_loss(heatmaps, true, present)
    expected = torch.stack([heatmaps[0, 0], heatmaps[0, 2], heatmaps[1, 2]]).square().mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert heatmaps.grad is not None
    assert bool(((heatmaps.grad != 0).flatten(2).any(-1) == present).all())
    assert float(heatmap_loss(heatmaps.detach(), true, torch.zeros(2, 3, dtype=torch.bool))) == 0.0
