"""Interpolations and sums of codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pixelwise.tasks.generate.code_report import SUMS, sum_terms
from pixelwise.tasks.generate.sampling import added, between


@pytest.mark.parametrize("spherical", [False, True])
def test_what_is_subtracted_and_added_again_changes_nothing(spherical: bool) -> None:
    a, b = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(added(torch.stack([a, b, b]), spherical=spherical), a[None])
    torch.testing.assert_close(added(torch.stack([a, a, a]), spherical=spherical), a[None])


def test_sums_of_codes_of_a_gaussian_stay_as_long_as_codes() -> None:
    codes = torch.randn(200, 3, 64, generator=torch.Generator().manual_seed(0))
    plain, scaled = (
        torch.cat([added(each, spherical=spherical) for each in codes]).square().mean().sqrt()
        for spherical in (False, True)
    )
    assert plain == pytest.approx(math.sqrt(3), rel=0.03)
    assert scaled == pytest.approx(1, rel=0.03)


def test_an_interpolation_along_the_sphere_keeps_the_length() -> None:
    first, second = torch.nn.functional.normalize(torch.randn(2, 32, generator=torch.Generator().manual_seed(0)))
    way = between(first, second, 7, spherical=True)
    torch.testing.assert_close(way.norm(dim=1), torch.ones(7))
    torch.testing.assert_close(way[[0, -1]], torch.stack([first, second]))
    angles = torch.arccos((way[:-1] * way[1:]).sum(1))
    torch.testing.assert_close(angles, angles[:1].expand(6))


def test_a_and_b_are_of_one_class_and_c_of_another() -> None:
    rng = np.random.default_rng(0)
    for count in (2, 3, 7, 60):
        codes = torch.from_numpy(rng.normal(size=(count, 5)))
        classes = np.sort(rng.integers(0, 3, count))
        found = sum_terms(codes, classes)
        for a, b, c in found:
            assert a != b
            assert classes[a] == classes[b] != classes[c]
            alike = np.flatnonzero(classes == classes[a])
            assert torch.dist(codes[a], codes[b]) == max(torch.dist(codes[a], codes[other]) for other in alike)
    assert len(found) == SUMS


def test_pictures_without_classes_give_three_different_ones() -> None:
    codes = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    found = sum_terms(codes, None)
    assert len(found) == SUMS
    assert all(len(set(each)) == 3 for each in found)
    assert sum_terms(codes[:2], None) == []
    assert sum_terms(codes[:1], None) == []
    assert sum_terms(codes, np.zeros(5)) == []  # nothing is of another class
