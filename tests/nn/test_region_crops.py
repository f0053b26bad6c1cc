import torch

from pixelwise.nn.region_crops import region_crops


def ramp(height, width):
    """Two channels: x and y of each pixel's centre."""
    ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([xs, ys])


def test_a_box_of_the_crop_s_size_is_cut_out_as_it_is():
    image = torch.rand(3, 20, 30)
    found = region_crops(image[None], [torch.tensor([[4.0, 6.0, 14.0, 16.0]])], 10)
    torch.testing.assert_close(found[0], image[:, 6:16, 4:14])


def test_context_is_what_is_around_the_box_and_zero_beyond_the_picture():
    image = 1 + torch.rand(1, 20, 30)
    found = region_crops(image[None], [torch.tensor([[0.0, 6.0, 6.0, 12.0]])], 10, context=2)[0]
    torch.testing.assert_close(found[:, :, 2:], image[:, 4:14, 0:8])
    assert (found[:, :, :1] == 0).all()


def test_boxes_of_any_proportions_and_size_keep_their_place():
    image = ramp(300, 400)
    boxes = torch.tensor([[10.0, 20.0, 50.0, 120.0], [3.0, 3.0, 399.0, 299.0], [100.0, 100.0, 101.0, 290.0]])
    found = region_crops(image[None], [boxes], 16)
    steps = (torch.arange(16) + 0.5) / 16
    for crop, (left, top, right, bottom) in zip(found, boxes.tolist(), strict=True):
        inner = slice(1, -1)  # at the picture's edge there is less to interpolate between
        torch.testing.assert_close(crop[0, 8, inner], (left + steps * (right - left))[inner], atol=0.51, rtol=0)
        torch.testing.assert_close(crop[1, inner, 8], (top + steps * (bottom - top))[inner], atol=0.51, rtol=0)


def test_large_boxes_are_averaged_not_sampled():
    torch.manual_seed(0)
    noise = torch.randn(1, 1, 256, 256)
    found = region_crops(noise, [torch.tensor([[0.0, 0.0, 256.0, 256.0]])], 8)
    assert float(found.std()) < 0.1  # single pixels have 1, means of 32 x 32 have 1 / 32


def test_crops_come_picture_by_picture_and_none_is_none():
    images = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    boxes = [torch.tensor([[2.0, 2.0, 4.0, 4.0]]), torch.tensor([[2.0, 2.0, 4.0, 4.0], [1.0, 1.0, 3.0, 5.0]])]
    assert region_crops(images, boxes, 4).mean((1, 2, 3)).tolist() == [0.0, 1.0, 1.0]
    assert region_crops(images, [torch.zeros(0, 4)] * 2, 4).shape == (0, 1, 4, 4)
