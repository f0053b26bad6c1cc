"""OverFeat from a picture to boxes: literal merges, and the whole path with a network that is made to see one thing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.models.detect.overfeat import ConvLayer, OverFeat
from pixelwise.tasks.detect.merging import SCALES, Localised, Scale, ScoredBoxes, localise, match_score, merge_boxes


def detections(boxes: list[list[float]], classes: list[int], scores: list[float]) -> ScoredBoxes:
    return ScoredBoxes(
        torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4), torch.tensor(classes), torch.tensor(scores)
    )


def test_match_score_by_hand() -> None:
    one = torch.tensor([0.0, 0.0, 4.0, 3.0])  # its diagonal is 5
    assert match_score(one, one) == 0
    # Half of it, shifted by one to the right: 6 of 18 pixels in common, centres 2 apart, mean of the diagonals 5.
    assert float(match_score(one, torch.tensor([2.0, 0.0, 6.0, 3.0]))) == pytest.approx(2 / 5 + 1 - 6 / 18)
    assert float(match_score(one, torch.tensor([8.0, 0.0, 12.0, 3.0]))) == pytest.approx(8 / 5 + 1)
    assert float(match_score(one, torch.tensor([1.0, 1.0, 3.0, 2.0]))) == pytest.approx(
        1 - 2 / 12
    )  # inside, concentric
    points = torch.tensor([[2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0], [3.0, 2.0, 3.0, 2.0]])
    assert float(match_score(points[0], points[1])) == 0
    assert float(match_score(points[0], points[2])) > 1


def test_match_score_has_no_unit() -> None:
    boxes = torch.rand(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    boxes[:, 2:] += boxes[:, :2]
    table = match_score(boxes[:, None], boxes[None])
    assert torch.allclose(table, match_score(70 * boxes[:, None] + 3, 70 * boxes[None] + 3))
    assert torch.allclose(table, table.T)
    assert (table[~torch.eye(20, dtype=torch.bool)] > 0).all()


def test_merging_by_hand() -> None:
    """Two near boxes of class 1 become one, with their mean and the sum of their confidences; others stay."""
    merged = merge_boxes(
        detections(
            [[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60], [0, 0, 10, 10]], [1, 1, 1, 2], [0.5, 0.25, 0.875, 0.625]
        )
    )
    assert merged.boxes.tolist() == [[50, 50, 60, 60], [1, 0, 11, 10], [0, 0, 10, 10]]
    assert merged.classes.tolist() == [1, 1, 2]
    assert merged.scores.tolist() == [0.875, 0.75, 0.625]


def test_every_box_counts_once_in_the_average() -> None:
    """Three boxes at 0, 0 and 3: the average is 1, while averages of pairs would give 1.5."""
    merged = merge_boxes(
        detections([[0, 0, 9, 9], [0, 0, 9, 9], [3, 0, 12, 9]], [0, 0, 0], [0.1, 0.2, 0.3]), threshold=1
    )
    assert merged.boxes.tolist() == [[1, 0, 10, 9]]
    assert merged.scores.tolist() == pytest.approx([0.6])


def test_the_threshold_decides() -> None:
    pair = detections([[0, 0, 10, 10], [4, 0, 14, 10]], [0, 0], [1.0, 1.0])
    score = float(match_score(pair.boxes[0], pair.boxes[1]))
    assert len(merge_boxes(pair, threshold=score + 1e-9)) == 1
    assert len(merge_boxes(pair, threshold=score - 1e-9)) == 2
    assert len(merge_boxes(pair, threshold=-1)) == 2


def merged_naively(boxes: Tensor, scores: Tensor, threshold: float) -> list[tuple[list[float], float]]:
    """The paper's steps (d) to (g) as they are printed: every pair is looked at again after every merge."""
    groups = [([box], float(score)) for box, score in zip(boxes, scores, strict=True)]
    means = [box.clone() for box in boxes]
    while len(groups) > 1:
        pairs = [(float(match_score(means[i], means[j])), i, j) for i in range(len(means)) for j in range(i)]
        least, i, j = min(pairs)
        if least > threshold:
            break
        groups[j] = (groups[j][0] + groups[i][0], groups[j][1] + groups[i][1])
        means[j] = torch.stack(groups[j][0]).mean(0)
        del groups[i], means[i]
    return sorted((mean.tolist(), score) for mean, (_, score) in zip(means, groups, strict=True))


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9, 3.0])
def test_merging_equals_looking_at_all_pairs_each_time(threshold: float) -> None:
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        boxes = torch.rand(15, 4, generator=generator, dtype=torch.float64) * 10
        boxes[:, 2:] += boxes[:, :2] + 4
        scores = torch.rand(15, generator=generator, dtype=torch.float64)
        merged = merge_boxes(ScoredBoxes(boxes, torch.zeros(15, dtype=torch.int64), scores), threshold)
        expected = merged_naively(boxes, scores, threshold)
        found = sorted(zip(merged.boxes.tolist(), merged.scores.tolist(), strict=True))
        assert len(found) == len(expected)
        for (box, score), (other, total) in zip(found, expected, strict=True):
            assert box == pytest.approx(other)
            assert score == pytest.approx(total)
        assert float(merged.scores.sum()) == pytest.approx(float(scores.sum()))  # no confidence is lost


def test_no_boxes() -> None:
    assert len(merge_boxes(detections([], [], []))) == 0


def bright_square_finder() -> OverFeat:
    """Class 1 where a window's middle is bright, class 0 elsewhere; the box: the middle half of the window.

    One channel; 4x4 maximum of 2x2 averages, read at 3 x 3 places: a window of 24 x 24 pixels, 2 apart.
    """
    network = OverFeat(
        layers=(ConvLayer(1, 2, stride=2), ConvLayer(1, 1, pool=4)), side=3, hidden=(1, 1), box_hidden=(1,),
        num_classes=3, in_channels=1, regression=True,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.features[0].weight.fill_(0.25)
        network.features[2].weight.fill_(1.0)
        network.classifier[0].weight[0, 0, 1, 1] = 1  # the middle place
        network.classifier[3].weight.fill_(1.0)
        network.head.weight[1] = 20
        network.head.bias[0], network.head.bias[2] = 10, -20
        network.box_head.bias.copy_(torch.tensor([0.25, 0.25, 0.75, 0.75]))
    return network


def test_the_whole_path() -> None:
    network = bright_square_finder()
    assert network.window == (24, 24)
    image = torch.zeros(1, 48, 72)
    image[:, 20:28, 40:48] = 1
    steps = localise(network, image, scales=(24, 48, 96), top=1, background=0, least=0.5, threshold=3)
    assert [scale.size for scale in steps.scales] == [(24, 36), (48, 72), (96, 144)]
    for scale in steps.scales:
        windows = scale.windows
        assert scale.probabilities.shape[1:] == windows.shape[:2]
        assert windows[0, 0, :2].tolist() == [0, 0]
        side = 24 * 48 / scale.size[0]  # of a window, in pixels of the picture
        assert torch.allclose(windows[..., 2:] - windows[..., :2], torch.tensor(side))
        # Sure where the middle third of the window touches the square, and nowhere else.
        middle = torch.stack([windows[..., 0] + side / 3, windows[..., 1] + side / 3], -1)
        overlap = torch.minimum(middle + side / 3, torch.tensor([48.0, 28.0])) - torch.maximum(
            middle, torch.tensor([40.0, 20.0])
        )
        if scale.size == (48, 72):  # not resampled: exact
            sure = scale.probabilities[1] > 0.5
            assert torch.equal(sure, (overlap > 0).all(-1))
    assert set(steps.candidates.classes.tolist()) == {1}
    assert (steps.candidates.scores[:-1] >= steps.candidates.scores[1:]).all()
    # The windows lie symmetrically around the square, but for the coarse scale's places; so does their average.
    assert len(steps.merged) == 1
    best = steps.merged.boxes[0]
    assert torch.allclose((best[:2] + best[2:]) / 2, torch.tensor([44.0, 24.0], dtype=torch.float64), atol=2)
    assert torch.allclose(best, steps.candidates.boxes.mean(0))
    assert float(steps.merged.scores[0]) > 10
    assert float(steps.merged.scores.sum()) == pytest.approx(float(steps.candidates.scores.sum()))
    assert float(steps.class_probabilities()[1]) > 0.9


def test_classes_that_are_looked_at() -> None:
    """Ranked by their largest probability; the background never is, and takes no place among the first."""
    network = bright_square_finder()
    image = torch.zeros(1, 24, 24)
    steps = localise(network, image, scales=(24,), top=1, least=0.0)
    assert steps.candidates.classes.tolist() == [0]  # the background, as nobody said that it is one
    assert localise(network, image, scales=(24,), top=1, background=0, least=0.0).candidates.classes.tolist() == [1]
    every = localise(network, image, scales=(24,), top=5, background=0, least=0.0)
    assert every.candidates.classes.tolist() == [1, 2]
    assert every.candidates.boxes[0].tolist() == [6, 6, 18, 18]
    assert len(localise(network, image, scales=(24,), background=0).candidates) == 0


def test_each_axis_has_its_own_ratio() -> None:
    """25 x 51 pixels become 24 x 49, so boxes come back by factors of 25/24 and 51/49."""
    steps = localise(bright_square_finder(), torch.zeros(1, 25, 51), scales=(24,), top=1, background=0, least=0.0)
    assert steps.scales[0].size == (24, 49)
    ratio = torch.tensor([51 / 49, 25 / 24], dtype=torch.float64)
    found = steps.candidates.boxes
    assert torch.allclose(found[0], torch.cat([6 * ratio, 18 * ratio]))
    assert torch.allclose(
        steps.scales[0].windows[0, 1].double(),
        torch.cat([ratio * torch.tensor([2, 0]), ratio * torch.tensor([26, 24])]),
    )


def test_per_class_boxes_go_with_their_class() -> None:
    torch.manual_seed(0)
    network = OverFeat(
        layers=(ConvLayer(2, 2, stride=2), ConvLayer(2, 1, pool=2)), side=2, hidden=(4,), box_hidden=(4,),
        num_classes=3, regression=True, per_class=True,
    ).eval()  # fmt: skip
    image = torch.randn(3, 8, 8)
    expected = network(image[None]).boxes[0]
    found = localise(network, image, scales=(8,), top=3, least=0.0).candidates
    assert sorted(found.classes.tolist()) == [0, 1, 2]
    for box, class_id in zip(found.boxes, found.classes, strict=True):
        assert torch.allclose(box.float(), expected[class_id])


def test_mean_over_scales_of_the_largest_probability() -> None:
    def scale(values: list[list[float]]) -> Scale:
        return Scale((1, 1), torch.tensor(values).unsqueeze(1), torch.zeros(1, 2, 4), 1)

    empty = detections([], [], [])
    steps = Localised((scale([[0.1, 0.7], [0.9, 0.3]]), scale([[0.5, 0.2], [0.5, 0.8]])), empty, empty)
    assert steps.class_probabilities().tolist() == pytest.approx([0.6, 0.85])


def test_what_cannot_be() -> None:
    network = bright_square_finder()
    with pytest.raises(UserError, match="smaller than the network's window"):
        localise(network, torch.zeros(1, 48, 48), scales=(20,))
    with pytest.raises(ValueError, match="no scale"):
        localise(network, torch.zeros(1, 48, 48), scales=())
    plain = OverFeat(layers=(ConvLayer(1, 2),), side=1, hidden=(1,), box_hidden=(1,), num_classes=2)
    with pytest.raises(ValueError, match="regression=True"):
        localise(plain, torch.zeros(3, 8, 8), scales=(8,))
    assert len(SCALES) == 6
