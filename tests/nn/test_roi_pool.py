import pytest
import torch

from pixelwise.nn.roi_pool import roi_max_pool


def pooled_slowly(maps, boxes, pictures, stride, size):
    """Bin by bin, from the definition."""
    found = torch.empty(len(boxes), maps.shape[1], size, size)
    for number, (box, picture) in enumerate(zip(boxes.tolist(), pictures.tolist(), strict=True)):
        spans = []
        for low, high, length in ((box[1], box[3], maps.shape[2]), (box[0], box[2], maps.shape[3])):
            begin = min(max(int(low // stride), 0), length - 1)
            end = max(min(-int(-high // stride), length), begin + 1)
            n = end - begin
            spans.append([(begin + k * n // size, begin - (-(k + 1) * n // size)) for k in range(size)])
        for i, (top, bottom) in enumerate(spans[0]):
            for j, (left, right) in enumerate(spans[1]):
                found[number, :, i, j] = maps[picture, :, top:bottom, left:right].amax((1, 2))
    return found


def test_roi_max_pool_on_numbers_one_can_check_by_hand():
    maps = torch.arange(24.0).view(1, 1, 4, 6)  # rows 0-5, 6-11, 12-17, 18-23
    boxes = torch.tensor([[0.0, 0.0, 12.0, 8.0], [2.0, 2.0, 8.0, 8.0], [11.0, 7.0, 12.0, 8.0]])
    found = roi_max_pool(maps, boxes, torch.zeros(3, dtype=torch.long), 2.0, 2)
    assert found[0, 0].tolist() == [[8.0, 11.0], [20.0, 23.0]]
    assert found[1, 0].tolist() == [[14.0, 15.0], [20.0, 21.0]]  # 3 x 3 places: the middle ones are in two bins
    assert found[2, 0].tolist() == [[23.0, 23.0], [23.0, 23.0]]  # one place is all there is


@pytest.mark.parametrize("size", [1, 3, 7])
def test_roi_max_pool_is_the_maximum_of_each_bin(size):
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 13, 9)
    corners = torch.rand(60, 2) * torch.tensor([150.0, 210.0])
    boxes = torch.cat([corners, corners + torch.rand(60, 2) * 120], 1)  # some reach beyond the picture
    pictures = torch.randint(0, 2, (60,))
    torch.testing.assert_close(
        roi_max_pool(maps, boxes, pictures, 16.0, size), pooled_slowly(maps, boxes, pictures, 16.0, size)
    )


def test_the_gradient_goes_to_the_largest_values_alone():
    maps = torch.randn(1, 2, 8, 8, requires_grad=True)
    boxes = torch.tensor([[0.0, 0.0, 5.0, 8.0], [3.0, 1.0, 8.0, 7.0]])
    weights = torch.rand(2, 2, 2, 2)
    zeros = torch.zeros(2, dtype=torch.long)
    (found,) = torch.autograd.grad((roi_max_pool(maps, boxes, zeros, 1.0, 2) * weights).sum(), maps)
    (wanted,) = torch.autograd.grad((pooled_slowly(maps, boxes, zeros, 1.0, 2) * weights).sum(), maps)
    torch.testing.assert_close(found, wanted)


def test_no_boxes_give_no_maps():
    found = roi_max_pool(torch.zeros(1, 3, 4, 4), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 16.0, 7)
    assert found.shape == (0, 3, 7, 7)
