"""The dense CRF: fast filters against their definition, and an energy that never rises."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from pixelwise.nn.crf import BruteForce, DenseCRF, Kernel, SpatialGaussian, energy, mean_field, unary_of
from pixelwise.nn.permutohedral import Permutohedral


def picture(name: str) -> Tensor:
    """32 x 32 pixels of a photograph: a detail of it, the whole of it made small, or noise."""
    photo = data.astronaut()
    if name == "detail":
        found = photo[100:132, 200:232]
    elif name == "whole":
        found = cv2.resize(photo, (32, 32), interpolation=cv2.INTER_AREA)
    else:
        found = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    return torch.from_numpy(np.ascontiguousarray(found))


def features(image: Tensor, position: float, colour: float) -> Tensor:
    height, width = image.shape[:2]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.cat([torch.stack([y, x], -1) / position, image / colour], -1).view(height * width, -1)


def by_loops(points: Tensor, values: Tensor) -> Tensor:
    """The Gaussian sum, pair by pair."""
    out = torch.zeros_like(values)
    for i, j in itertools.product(range(len(points)), repeat=2):
        distance = sum(float(points[i, k] - points[j, k]) ** 2 for k in range(points.shape[1]))
        out[i] += math.exp(-distance / 2) * values[j]
    return out


def probabilities(image: Tensor, classes: int = 4, seed: int = 0) -> Tensor:
    noise = np.random.default_rng(seed).normal(size=(*image.shape[:2], classes)).astype(np.float32)
    smooth = torch.from_numpy(cv2.GaussianBlur(noise, (0, 0), 2)).permute(2, 0, 1)
    return (smooth * 8).softmax(0)


def symmetric(filter: object, values: Tensor) -> Tensor:
    return Kernel.normalised(filter, 1.0, len(values), values.device)(values)  # type: ignore[arg-type]


def test_brute_force_is_the_sum_over_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(30, 5, generator=generator)
    values = torch.rand(30, 3, generator=generator)
    torch.testing.assert_close(BruteForce(points)(values), by_loops(points, values), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width", "std"), [(11, 17, 3.0), (40, 7, 1.5), (1, 1, 2.0)])
def test_spatial_gaussian_equals_brute_force(height: int, width: int, std: float) -> None:
    image = torch.zeros(height, width, 0)
    values = torch.rand(height * width, 3, generator=torch.Generator().manual_seed(0))
    exact = BruteForce(features(image, std, 1.0))(values)
    fast = SpatialGaussian(height, width, std, values.device)(values)
    # Its taps end where the Gaussian has fallen below 2e-4.
    torch.testing.assert_close(fast, exact, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize(("name", "limit"), [("detail", 0.045), ("whole", 0.08)])
@pytest.mark.parametrize(("position", "colour"), [(8.0, 20.0), (20.0, 10.0), (50.0, 30.0)])
def test_lattice_is_near_brute_force_on_photographs(name: str, limit: float, position: float, colour: float) -> None:
    image = picture(name)
    points = features(image, position, colour)
    values = probabilities(image).flatten(1).T.contiguous()
    exact, fast = symmetric(BruteForce(points), values), symmetric(Permutohedral(points), values)
    assert float((fast - exact).norm() / exact.norm()) < limit


def test_lattice_in_2_dimensions_is_near_brute_force_in_absolute_terms() -> None:
    points = features(torch.zeros(32, 32, 0), 4.0, 1.0)
    values = torch.rand(32 * 32, 2, generator=torch.Generator().manual_seed(0))
    exact, fast = BruteForce(points)(values), Permutohedral(points)(values)
    assert float((fast - exact).norm() / exact.norm()) < 0.03


@pytest.mark.parametrize("name", ["detail", "noise"])
def test_fast_filters_are_symmetric_and_positive_semidefinite(name: str) -> None:
    image = picture(name)[:12, :14]
    pixels = 12 * 14
    for filter in (Permutohedral(features(image, 6.0, 25.0)), SpatialGaussian(12, 14, 2.0, torch.device("cpu"))):
        matrix = filter(torch.eye(pixels)).double()  # type: ignore[operator]
        torch.testing.assert_close(matrix, matrix.T, rtol=1e-5, atol=1e-6)
        values = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
        assert values[0] > -1e-5 * values[-1]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", ["detail", "noise"])
@pytest.mark.parametrize("weight", [0.5, 5.0, 100.0])
def test_energy_never_rises(exact: bool, name: str, weight: float) -> None:
    image = picture(name)[:24, :20]
    crf = DenseCRF(gaussian_weight=weight, gaussian_std=1.0, bilateral_weight=weight, bilateral_std=8, exact=exact)
    kernels = crf.kernels(image)
    unary = unary_of(probabilities(image))
    values = [energy(torch.log_softmax(-unary, 1), unary, kernels)]
    values += [energy(log_q, unary, kernels) for log_q in mean_field(unary, kernels, 30)]
    slack = 1e-6 * (abs(values[0]) + weight * image[..., 0].numel())  # of float32 sums
    assert all(after <= before + slack for before, after in itertools.pairwise(values))
    assert values[-1] < values[0]


def test_two_pixels_do_not_take_turns() -> None:
    """Where the paper's parallel update swaps two labels for ever, and raises the energy, ours settles."""
    unary = torch.tensor([[0.0, 1.0], [0.9, 0.0]])
    kernels = [Kernel.normalised(BruteForce(torch.zeros(2, 3)), 20.0, 2, unary.device)]
    log_q = torch.log_softmax(-unary, 1)
    plain = [energy(log_q, unary, kernels)]
    for _ in range(6):
        q = log_q.exp()
        log_q = torch.log_softmax(kernels[0](q) - kernels[0].own * q - unary, 1)
        plain.append(energy(log_q, unary, kernels))
    assert max(after - before for before, after in itertools.pairwise(plain)) > 0.5
    ours = list(mean_field(unary, kernels, 60))
    values = [energy(log_q, unary, kernels) for log_q in ours]
    assert all(after <= before + 1e-5 for before, after in itertools.pairwise(values))
    assert torch.equal(ours[-1].argmax(1), ours[-2].argmax(1))
    assert ours[-1].argmax(1).tolist() in ([0, 0], [1, 1])


def test_energy_is_the_kl_divergence_up_to_a_constant() -> None:
    """Against the enumeration of all labellings of four pixels."""
    generator = torch.Generator().manual_seed(0)
    unary = torch.rand(4, 2, generator=generator)
    kernels = [Kernel.normalised(BruteForce(torch.randn(4, 3, generator=generator)), 1.5, 4, unary.device)]
    pairs = kernels[0](torch.eye(4))
    labellings = list(itertools.product(range(2), repeat=4))
    minus_energy = []
    for labels in labellings:
        pairwise = sum(float(pairs[i, j]) for i in range(4) for j in range(i) if labels[i] != labels[j])
        minus_energy.append(-sum(float(unary[i, label]) for i, label in enumerate(labels)) - pairwise)
    log_p = torch.log_softmax(torch.tensor(minus_energy), 0)
    gaps = []
    for seed in range(5):
        log_q = torch.log_softmax(torch.randn(4, 2, generator=torch.Generator().manual_seed(seed)), 1)
        of_labelling = torch.stack([sum(log_q[i, label] for i, label in enumerate(labels)) for labels in labellings])
        kl = float((of_labelling.exp() * (of_labelling - log_p)).sum())
        gaps.append(kl - energy(log_q, unary, kernels))
    assert gaps == pytest.approx([gaps[0]] * 5, abs=1e-5)


def test_fast_and_exact_agree_on_a_photograph() -> None:
    image = picture("detail")
    given = probabilities(image)
    options = {"gaussian_weight": 3.0, "bilateral_weight": 5.0, "bilateral_std": 10.0, "colour_std": 15.0}
    exact = DenseCRF(**options, exact=True)(image, given)  # type: ignore[arg-type]
    fast = DenseCRF(**options)(image, given)  # type: ignore[arg-type]
    assert float((exact - fast).abs().mean()) < 0.02
    assert float((exact.argmax(0) == fast.argmax(0)).float().mean()) > 0.95
    assert float((exact.argmax(0) != given.argmax(0)).float().mean()) > 0.1  # it did something


def test_labels_move_to_the_edge_of_the_picture() -> None:
    """Two flat halves, and probabilities whose border lies 3 pixels beside theirs."""
    image = torch.zeros(24, 40, 3)
    image[:, 20:] = 200
    given = torch.full((2, 24, 40), 0.3)
    given[0, :, :23], given[1, :, 23:] = 0.7, 0.7
    found = DenseCRF(gaussian_weight=3.0, bilateral_weight=5.0)(image, given)
    torch.testing.assert_close(found.sum(0), torch.ones(24, 40))
    expected = torch.zeros(24, 40, dtype=torch.long)
    expected[:, 20:] = 1
    assert torch.equal(found.argmax(0), expected)


def test_without_kernels_or_iterations_it_returns_what_it_was_given() -> None:
    image, given = picture("detail"), probabilities(picture("detail"))
    torch.testing.assert_close(DenseCRF(gaussian_weight=0, bilateral_weight=0)(image, given), given)
    torch.testing.assert_close(DenseCRF(iterations=0)(image, given), given)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_pixel_and_probabilities_of_0_stay_finite(channels: int) -> None:
    found = DenseCRF()(torch.zeros(1, 1, channels), torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1))
    assert torch.isfinite(found).all()
    assert float(found[0]) > 0.99
    with pytest.raises(ValueError, match="picture is"):
        DenseCRF()(torch.zeros(2, 2, 3), torch.zeros(3, 2, 3))
