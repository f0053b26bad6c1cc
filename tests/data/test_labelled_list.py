"""Few labels: how many and which pictures keep them, and that the others lose them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pixelwise import api
from pixelwise.data.dataset import UNLABELLED
from pixelwise.data.digits import write_digits
from pixelwise.data.formats import open_dataset
from pixelwise.data.labelled_list import FILE, choose_labelled, read_labelled, write_labelled
from pixelwise.data.pictures import write_png
from pixelwise.errors import UserError


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos of 12, 8, 8 and 4 frames, and a validation split."""
    root = tmp_path_factory.mktemp("few") / "videos"
    rng = np.random.default_rng(0)
    names = [f"cam{video}_{frame:03d}" for video, frames in enumerate((12, 8, 8, 4)) for frame in range(frames)]
    for name in (*names, "other_1", "other_2"):
        write_png(root / "images" / f"{name}.png", rng.integers(0, 256, (24, 24, 3), np.uint8))
        write_png(root / "masks" / f"{name}.png", rng.integers(0, 2, (24, 24)).astype(np.uint8))
    (root / "train.txt").write_text("\n".join(names) + "\n")
    (root / "val.txt").write_text("other_1\nother_2\n")
    return root


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "digits"
    write_digits(folder, train=6, val=2)
    return folder


def test_the_other_pictures_lose_their_labels(videos: Path) -> None:
    whole, few = open_dataset(videos), open_dataset(videos, labelled=8)
    assert len(few.splits["train"]) == 8
    assert set(few.splits["train"]) | set(few.splits[UNLABELLED]) == set(whole.splits["train"])
    assert few.splits["val"] == whole.splits["val"]
    assert not any(record.labelled for record in few.split(UNLABELLED))
    assert any("8 of 32 training pictures keep their labels" in note for note in few.notes)


@pytest.mark.parametrize("seed", range(5))
def test_each_video_gives_frames_in_a_row_in_proportion_to_its_length(videos: Path, seed: int) -> None:
    chosen = [Path(name).name for name in choose_labelled(open_dataset(videos), 8, seed)]
    assert sorted(Counter(name[:4] for name in chosen).items()) == [("cam0", 3), ("cam1", 2), ("cam2", 2), ("cam3", 1)]
    for video, length in (("cam0", 12), ("cam1", 8), ("cam2", 8)):
        frames = sorted(int(name[5:]) for name in chosen if name.startswith(video))
        gaps = [(after - before) % length for before, after in zip(frames, frames[1:] + frames[:1], strict=True)]
        assert sorted(gaps)[:-1] == [1] * (len(frames) - 1)


def test_two_videos_are_enough(tmp_path: Path) -> None:
    """Too few groups for a split, one with more than half of the frames: still two videos."""
    names = [f"{video}_{frame:04d}" for video, frames in (("day", 20), ("night", 8)) for frame in range(frames)]
    for name in (*names, "other_1"):
        write_png(tmp_path / "images" / f"{name}.png", np.full((24, 24, 3), len(name), np.uint8))
        write_png(tmp_path / "masks" / f"{name}.png", np.eye(24, dtype=np.uint8))
    (tmp_path / "train.txt").write_text("\n".join(names) + "\n")
    (tmp_path / "val.txt").write_text("other_1\n")
    chosen = [Path(name).name.split("_") for name in choose_labelled(open_dataset(tmp_path), 7, 0)]
    for video, length, expected in (("day", 20, 5), ("night", 8, 2)):
        frames = sorted(int(frame) for name, frame in chosen if name == video)
        assert len(frames) == expected
        gaps = [(after - before) % length for before, after in zip(frames, frames[1:] + frames[:1], strict=True)]
        assert sorted(gaps)[:-1] == [1] * (expected - 1)


@pytest.mark.parametrize("data", ["videos", "digits"])
def test_fewer_labels_are_a_part_of_more(data: str, request: pytest.FixtureRequest) -> None:
    dataset = open_dataset(request.getfixturevalue(data))
    lists = [choose_labelled(dataset, count, 3) for count in range(1, 21)]
    assert all(set(fewer) < set(more) for fewer, more in pairwise(lists))
    assert lists[5] != choose_labelled(dataset, 6, 4)


def test_each_class_gives_equally_many(digits: Path) -> None:
    dataset = open_dataset(digits)
    classes = {record.name: record.class_id for record in dataset.records}
    for seed in range(3):
        assert set(Counter(classes[name] for name in choose_labelled(dataset, 20, seed)).values()) == {2}


def test_a_list_is_read_as_it_was_written(videos: Path, tmp_path: Path) -> None:
    names = choose_labelled(open_dataset(videos), 5, 0)
    file = tmp_path / "few.txt"
    write_labelled(file, names)
    assert read_labelled(file) == names
    assert open_dataset(videos, labelled=str(file)).splits["train"] == open_dataset(videos, labelled=5).splits["train"]
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(UserError, match="but the first line says"):
        open_dataset(videos, labelled=str(file))
    file.write_text("\n".join(lines[1:-1]) + "\n")
    assert len(open_dataset(videos, labelled=str(file)).splits["train"]) == 4


def test_a_number_or_a_list_that_does_not_fit_is_one_sentence(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found 33, but .* has 32 training pictures"):
        open_dataset(videos, labelled=33)
    (tmp_path / "few.txt").write_text("cam0_000\nnowhere\n")
    with pytest.raises(UserError, match="names nowhere, which is not among the training pictures"):
        open_dataset(videos, labelled=str(tmp_path / "few.txt"))
    (tmp_path / "few.txt").write_text("\n")
    with pytest.raises(UserError, match="names no picture that is not among"):
        open_dataset(videos, labelled=str(tmp_path / "few.txt"))
    with pytest.raises(UserError, match="no such list"):
        open_dataset(videos, labelled=str(tmp_path / "nothing.txt"))


def test_a_run_writes_its_list_and_another_run_takes_it(digits: Path, tmp_path: Path) -> None:
    tiny = {"model.hidden": [8], "method.name": "pseudo_labels"}
    first = api.train("mlp", data=digits, epochs=2, out=tmp_path / "a", overrides={**tiny, "data.labelled": 20})
    assert first.planned.provenance["data"]["pictures"] == {"train": 20, "val": 20, "unlabelled": 40}
    file = first.path / FILE
    again = {**tiny, "data.labelled": str(file)}
    second = api.train("mlp", data=digits, epochs=2, out=tmp_path / "b", overrides=again)
    assert second.planned.provenance["data_digest"] == first.planned.provenance["data_digest"]
    assert second.planned.provenance["recipe_digest"] == first.planned.provenance["recipe_digest"]
    assert second.best.read_bytes() == first.best.read_bytes()
