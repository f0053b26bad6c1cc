"""Splits depend on names, groups and the seed alone, keep groups whole, and hold what they promise."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.data.record import Record
from pixelwise.data.splits import even_sample, groups, make_splits
from pixelwise.errors import UserError


def records(*names: str, group_of: dict[str, str] | None = None) -> list[Record]:
    return [Record(name, Path(f"{name}.png"), group=(group_of or {}).get(name, "")) for name in names]


grouped = st.lists(st.integers(0, 12), min_size=4, max_size=60).filter(lambda ids: len(set(ids)) > 1)


def as_records(ids: list[int]) -> list[Record]:
    return [Record(f"r{index:03}", Path("x.png"), group=f"g{group}") for index, group in enumerate(ids)]


@settings(max_examples=60, deadline=None)
@given(grouped, st.floats(0.05, 0.95), st.integers(0, 5), st.randoms(use_true_random=False))
def test_laws(ids: list[int], fraction: float, seed: int, random) -> None:  # type: ignore[no-untyped-def]
    all_records = as_records(ids)
    splits = make_splits(all_records, val_fraction=fraction, seed=seed)
    train, val = set(splits["train"]), set(splits["val"])
    assert train
    assert val
    assert train | val == {record.name for record in all_records}
    assert not train & val
    group_of = {record.name: record.group for record in all_records}
    assert not {group_of[name] for name in train} & {group_of[name] for name in val}
    largest = max(Counter(ids).values())
    assert abs(len(val) - fraction * len(ids)) <= largest
    shuffled = list(all_records)
    random.shuffle(shuffled)
    assert make_splits(shuffled, val_fraction=fraction, seed=seed) == splits


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=10, max_size=60), st.integers(0, 3))
def test_every_kind_is_held_out_by_its_share(kinds: list[str], seed: int) -> None:
    all_records = records(*(f"r{index}" for index in range(len(kinds))))
    kind_of = dict(zip((record.name for record in all_records), kinds, strict=True))
    splits = make_splits(all_records, val_fraction=0.3, seed=seed, strata=kinds)
    held = Counter(kind_of[name] for name in splits["val"])
    # Half a picture of rounding on either side, and what a small kind takes beyond its share to have one held out.
    for kind, count in Counter(kinds).items():
        assert abs(held[kind] - 0.3 * count) <= 1.5


def test_the_same_on_every_machine() -> None:
    splits = make_splits(records(*(f"picture {index}" for index in range(10))), val_fraction=0.2, seed=0)
    assert splits["val"] == ("picture 4", "picture 5")


def test_seeds_differ_and_a_new_picture_moves_few() -> None:
    many = records(*(f"picture {index}" for index in range(200)))
    first = set(make_splits(many, val_fraction=0.2, seed=0)["val"])
    assert set(make_splits(many, val_fraction=0.2, seed=1)["val"]) != first
    grown = set(make_splits([*many, *records("new")], val_fraction=0.2, seed=0)["val"])
    assert len(first - grown) <= 1


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1, 2])
def test_no_fraction(fraction: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        make_splits(records("a", "b"), val_fraction=fraction, seed=0)


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(UserError, match="one group"):
        make_splits(records("a", "b", group_of={"a": "g", "b": "g"}), val_fraction=0.5, seed=0)


class TestGroups:
    def test_prefixes(self, tmp_path: Path) -> None:
        names = [f"images/{video}_{frame:06}" for video in ("0001TP", "0006R0", "a-b", "p3_slice") for frame in (1, 31)]
        ids, note = groups(tmp_path, records(*names))
        assert ids == ("0001TP", "0001TP", "0006R0", "0006R0", "a-b", "a-b", "p3_slice", "p3_slice")
        assert "last number" in note

    def test_folders_before_prefixes(self, tmp_path: Path) -> None:
        names = [f"images/day{day}/x_{frame}" for day in range(4) for frame in range(3)]
        ids, note = groups(tmp_path, records(*names))
        assert set(ids) == {"day0", "day1", "day2", "day3"}
        assert "sub-folders" in note

    @pytest.mark.parametrize(
        "names",
        [
            [f"images/{index}" for index in range(30)],
            [f"images/img_{index}" for index in range(30)],
            [f"images/{index:08x}" for index in range(16, 46)],
            [f"images/{'ab'[index % 2]}_{index}" for index in range(30)],
            [f"images/{'aaaaabcd'[index % 8]}_{index}" for index in range(32)],
            [f"images/{'abcdefghijklmnopqrstu'[index]}_{index}" for index in range(20)],
        ],
    )
    def test_no_groups(self, names: list[str], tmp_path: Path) -> None:
        assert groups(tmp_path, records(*names))[0] == tuple(names)

    def test_a_file_decides(self, tmp_path: Path) -> None:
        (tmp_path / "groups.csv").write_text("picture,group\na.png,one\nimages/b,one\n\nc,two\n")
        ids, _ = groups(tmp_path, records("images/a", "images/b", "images/c", "images/d"))
        assert ids == ("one", "one", "two", "images/d")

    @pytest.mark.parametrize(("text", "sentence"), [("a,b,c\n", "line 1: expected"), ("zzz,one\n", "no picture 'zzz'")])
    def test_a_file_that_is_wrong(self, text: str, sentence: str, tmp_path: Path) -> None:
        (tmp_path / "groups.csv").write_text(text)
        with pytest.raises(UserError, match=sentence):
            groups(tmp_path, records("images/a", "images/b"))


@given(st.integers(0, 300), st.integers(1, 50))
def test_even_sample(count: int, limit: int) -> None:
    sample = even_sample(range(count), limit)
    assert len(sample) == min(count, limit)
    steps = {after - before for before, after in pairwise(sample)}
    assert len(steps) == 0 or max(steps) - min(steps) <= 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_groups_in_other_spellings(separator: str, encoding: str, tmp_path: Path) -> None:
    records = [Record(f"p{number}", tmp_path / f"p{number}.png") for number in range(4)]
    lines = "".join(f"p{number}{separator}day {number % 2}\n" for number in (0, 1, 2, 3, 99))
    (tmp_path / "groups.csv").write_bytes(f"picture{separator}group\n{lines}".encode(encoding))
    ids, note = groups(tmp_path, records)
    assert ids == ("day 0", "day 1", "day 0", "day 1")
    assert "1 of its lines name no picture" in note


def test_groups_of_other_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("x,a\ny,b\n")
    with pytest.raises(UserError, match="line 1: no picture 'x'"):
        groups(tmp_path, [Record("p0", tmp_path / "p0.png")])
