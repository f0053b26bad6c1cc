"""How a budget is spent on measured candidates."""

from __future__ import annotations

import numpy as np
import pytest

from pixelwise.active import k_centre
from pixelwise.active.coverage import principal_subspace
from pixelwise.active.selection import Measured, cover, cover_subspace, mixed, power, random, top
from pixelwise.active.strategies import DEFAULT, STRATEGIES


def candidates(count: int = 60, labelled: int = 4) -> Measured:
    generator = np.random.default_rng(0)
    return Measured(
        generator.random(count),
        generator.normal(size=(count, 5)),
        generator.normal(size=(labelled, 5)) if labelled else None,
    )


def test_top_is_sorted_and_keeps_the_order_of_equal_scores() -> None:
    chosen = top(Measured(np.array([1.0, 3.0, 2.0, 3.0])), 3, 0)
    assert chosen.indices.tolist() == [1, 3, 2]
    assert chosen.values.tolist() == [3, 3, 2]


@pytest.mark.parametrize("labelled", [0, 4])
def test_cover_counts_labelled_pictures_as_centres(labelled: int) -> None:
    measured = candidates(labelled=labelled)
    assert measured.features is not None
    points = measured.features if measured.labelled is None else np.concatenate([measured.labelled, measured.features])
    expected = k_centre(points, range(labelled), 7) - labelled
    chosen = cover(measured, 7, 0)
    assert chosen.indices.tolist() == expected.tolist()
    assert chosen.distances is not None
    assert (np.diff(chosen.distances) <= 1e-9).all()  # later centres are nearer to those before


@pytest.mark.parametrize("labelled", [0, 4])
@pytest.mark.parametrize("budget", [2, 10, 60])
def test_mixed_takes_the_largest_product_of_score_and_distance(budget: int, labelled: int) -> None:
    measured = candidates(labelled=labelled)
    assert measured.features is not None
    points = measured.features if measured.labelled is None else np.concatenate([measured.labelled, measured.features])
    places = principal_subspace(points).numpy()
    expected: list[int] = []
    for _ in range(budget):
        known = [*range(labelled), *(labelled + number for number in expected)]
        nearest = np.linalg.norm(places[labelled:, None] - places[None, known], axis=2).min(1) if known else 1.0
        product = measured.scores * nearest
        product[expected] = -1
        expected.append(int(product.argmax()))
    chosen = mixed(measured, budget, 0)
    assert chosen.indices.tolist() == expected
    assert chosen.values.tolist() == measured.scores[chosen.indices].tolist()


def test_mixed_with_equal_scores_covers_and_never_repeats_a_candidate() -> None:
    measured = candidates()
    equal = Measured(np.ones(60), measured.features, measured.labelled)
    assert mixed(equal, 20, 0).indices.tolist() == cover_subspace(equal, 20, 0).indices.tolist()
    certain = Measured(np.zeros(60), measured.features, measured.labelled)
    assert sorted(mixed(certain, 60, 0).indices.tolist()) == list(range(60))


@pytest.mark.parametrize("select", [power, random])
def test_random_choices_repeat_for_a_seed_and_never_repeat_a_candidate(select: object) -> None:
    measured = candidates()
    chosen = [select(measured, 30, seed).indices.tolist() for seed in (1, 1, 2)]  # type: ignore[operator]
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(len(set(each)) == 30 for each in chosen)


def test_every_strategy_measures_something() -> None:
    assert DEFAULT in STRATEGIES
    for name, strategy in STRATEGIES.items():
        measures = (strategy.score is not None, strategy.distance is not None, strategy.features)
        assert any(measures) != (name == "random")
        assert not (strategy.score and strategy.distance)
        assert not strategy.dropout or strategy.score
