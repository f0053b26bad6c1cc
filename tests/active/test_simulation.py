"""`pixelwise simulate` on small data: the rounds, what is known in each, resuming, and the report."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from pixelwise import api
from pixelwise.active.candidates import Candidate
from pixelwise.active.curves import falls, labels_to_reach, mean_curves
from pixelwise.active.labels import Labels
from pixelwise.active.simulation import FULL, Point
from pixelwise.api import labelling
from pixelwise.data.formats import open_dataset
from pixelwise.data.regions import Patch
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError
from pixelwise.tasks.classify.scores import HEADLINES
from pixelwise.tasks.labelling import Known
from pixelwise.tasks.segment.task import Segment

MLP = {"recipe": "mlp", "epochs": 1, "overrides": {"model.hidden": [8], "train.validations": 1}}
UNET = {
    "recipe": "unet",
    "epochs": 1,
    "overrides": {
        "model.width": 4,
        "model.encoder": None,
        "augment.crop": [32, 48],
        "train.batch_size": 2,
        "train.validations": 1,
    },
}


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "simulation.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulation") / "out"
    api.simulate(digits_folder, out, budget=5, start=12, rounds=2, seeds=2, strategies=["random", "mixed"], **MLP)
    return out


def test_every_strategy_starts_alike_and_buys_as_much(finished: Path, digits_folder: Path) -> None:
    pool = len(open_dataset(digits_folder).split("train"))
    found = rows(finished)
    assert list(found[0]) == ["strategy", "seed", "round", "labels", "share", "score"]
    assert len(found) == 2 * (1 + 2 * 3)
    for seed in "01":
        of_seed = [row for row in found if row["seed"] == seed]
        assert [row["labels"] for row in of_seed if row["strategy"] == FULL] == [str(pool)]
        for name in ("random", "mixed"):
            assert [row["labels"] for row in of_seed if row["strategy"] == name] == ["12", "17", "22"]
        starts = {row["score"] for row in of_seed if row["round"] == "0" and row["strategy"] != FULL}
        assert len(starts) == 1
        bought = [
            Labels.read(finished / f"seed-{seed}" / name / "round-2" / "labels.npz") for name in ("random", "mixed")
        ]
        start = Labels.read(finished / f"seed-{seed}" / "start" / "labels.npz")
        assert all(start.whole < each.whole for each in bought)
        assert bought[0].whole != bought[1].whole
    assert "Labels to reach 95 % of full" in (finished / "report.html").read_text()


def test_a_stopped_simulation_goes_on_to_the_same_table(
    finished: Path, digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    train = api.train

    def stopping(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return train(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(labelling, "train", stopping)
    options = {"budget": 5, "start": 12, "rounds": 2, "strategies": ["random", "mixed"], **MLP}
    with pytest.raises(KeyboardInterrupt, match="Run the same command to continue"):
        api.simulate(digits_folder, tmp_path / "out", seeds=2, **options)  # type: ignore[arg-type]
    assert calls == 6
    api.simulate(digits_folder, tmp_path / "out", seeds=2, **options)  # type: ignore[arg-type]
    assert (tmp_path / "out" / "simulation.csv").read_bytes() == (finished / "simulation.csv").read_bytes()
    assert calls == 6 + 2 * 6 - 5
    api.simulate(digits_folder, tmp_path / "out", seeds=2, **options)  # type: ignore[arg-type]
    assert calls == 6 + 2 * 6 - 5


def test_rounds_can_be_added_but_other_settings_cannot_change(
    finished: Path, digits_folder: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    options = {"start": 12, "seeds": 1, "strategies": ["random"], **MLP}
    with pytest.raises(UserError, match="holds a simulation with budget 5, now it is 6"):
        api.simulate(digits_folder, out, budget=6, rounds=2, **options)  # type: ignore[arg-type]
    api.simulate(digits_folder, out, budget=5, rounds=3, **options)  # type: ignore[arg-type]
    assert [row["labels"] for row in rows(out) if row["strategy"] == "random"] == ["12", "17", "22", "27"]


@pytest.mark.parametrize("unit", ["regions", "pixels"])
def test_regions_and_pixels_are_bought_once(scenes_folder: Path, tmp_path: Path, unit: str) -> None:
    api.simulate(
        scenes_folder,
        tmp_path / "out",
        budget=8,
        start=24,
        rounds=2,
        seeds=1,
        strategies=["entropy"],
        unit=unit,
        **UNET,  # type: ignore[arg-type]
    )
    folders = [tmp_path / "out" / "seed-0" / name for name in ("start", "entropy/round-1", "entropy/round-2")]
    labels = [Labels.read(folder / "labels.npz") for folder in folders]
    assert [each.count for each in labels] == [24, 32, 40]
    areas = [sum(np.count_nonzero(part) for part in each.parts.values()) for each in labels]
    assert areas[0] < areas[1] < areas[2]
    if unit == "pixels":
        assert areas == [24, 32, 40]
    for before, after in ((labels[0], labels[1]), (labels[1], labels[2])):
        assert all(after.parts[number][part].all() for number, part in before.parts.items())
    shares = [float(row["share"]) for row in rows(tmp_path / "out") if row["strategy"] == "entropy"]
    assert shares == pytest.approx([area / (8 * 64 * 96) for area in areas])


def test_labels_that_were_not_bought_are_void(scenes_folder: Path, tmp_path: Path) -> None:
    dataset = open_dataset(scenes_folder)
    train, val = dataset.split("train"), dataset.split("val")
    shape = dataset.load_mask(train[0]).shape
    known = np.random.default_rng(0).random(shape) < 0.3
    splits = {"train": [Known(train[0], known), Known(train[1])], "val": [Known(val[0])]}
    layout = Segment().write_known(dataset, splits, tmp_path / "copy")
    copy = open_dataset(tmp_path / "copy", layout)
    assert copy.class_names == dataset.class_names
    first, second = copy.split("train")
    assert np.array_equal(copy.load_mask(first), np.where(known, dataset.load_mask(train[0]), VOID))
    assert np.array_equal(copy.load_mask(second), dataset.load_mask(train[1]))
    assert len(copy.split("val")) == 1


def test_labels_come_back_from_their_file(tmp_path: Path) -> None:
    labels = Labels(5).adding(3, Candidate(0, 0.0), (4, 6))
    labels = labels.adding(1, Candidate(0, 0.0, region=Patch(1, 2, np.ones((2, 3), bool))), (4, 6))
    labels = labels.adding(1, Candidate(0, 0.0, pixel=(0, 3)), (4, 6))
    labels.write(tmp_path / "labels.npz")
    found = Labels.read(tmp_path / "labels.npz")
    assert (found.total, found.whole, found.count, found.pictures) == (5, {3}, 3, [1, 3])
    part = found.pixels(1)
    assert part is not None
    assert np.argwhere(part).tolist() == [[1, 2], [1, 3], [1, 4], [2, 2], [2, 3], [2, 4], [3, 0]]
    assert Labels.everything(4).share([(1, 1)] * 4) == 1


@pytest.mark.parametrize(
    ("target", "expected"), [(0.4, 10.0), (0.5, 10.0), (0.6, 15.0), (0.85, 37.5), (0.9, 40.0), (0.91, None)]
)
def test_labels_to_reach_a_score(target: float, expected: float | None) -> None:
    found = labels_to_reach([10, 20, 30, 40], [0.5, 0.7, 0.7, 0.9], target)
    assert found == (None if expected is None else pytest.approx(expected))


def test_unfinished_rounds_are_left_out_of_mean_curves() -> None:
    points = [Point("a", seed, number, 10 * number, 0.1, 0.5 + seed) for seed in (0, 1) for number in (0, 1)]
    curves = mean_curves([*points, Point("a", 0, 2, 20, 0.2, 0.9)])
    assert [entry.labels for entry in curves["a"]] == [0, 10]
    assert curves["a"][0].score == 1.0


def test_a_score_that_falls_with_more_labels_is_reported_unless_seeds_differ_as_much() -> None:
    scores = {"a": ([0.5, 0.7, 0.65], [0.52, 0.72, 0.67]), "b": ([0.5, 0.7, 0.6], [0.5, 0.5, 0.5])}
    points = [
        Point(name, seed, number, 10 * number, 0.1, score)
        for name, seeds in scores.items()
        for seed, row in enumerate(seeds)
        for number, score in enumerate(row)
    ]
    (words,) = falls(points, "pictures", HEADLINES[0])
    assert words.startswith("a: with 20 pictures the accuracy is 0.660, less than 0.710 with 10;")
    assert not falls(points[:2], "pictures", HEADLINES[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rounds": 50}, "--rounds 50: 262 pictures would be labelled, but .* has 58 to train on"),
        ({"strategies": ["randon"]}, "unknown strategy 'randon'; did you mean 'random'"),
        ({"unit": "pixels"}, "predict whole pictures; choose pictures"),
        ({"strategies": []}, "--strategies"),
        ({"start": 0}, "--start, --budget, --rounds and --seeds are numbers of at least 1"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    digits_folder: Path, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    settings = {"budget": 5, "start": 12, "rounds": 1, "seeds": 1, **MLP, **options}
    with pytest.raises(UserError, match=words):
        api.simulate(digits_folder, tmp_path / "out", **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
