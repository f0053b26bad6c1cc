"""Errors with near names, files that are whole or absent, and what is known of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pixelwise
from pixelwise import atomic, hardware
from pixelwise.distributed import any_process, from_first, rank, total, world_size
from pixelwise.errors import unknown


def test_the_nearest_name_is_offered_only_if_near() -> None:
    assert "did you mean 'unet'" in str(unknown("model", "UNET", ["unet", "fpn"]))
    assert "did you mean" not in str(unknown("model", "xyzzy", ["unet", "fpn"]))
    assert "fpn, unet" in str(unknown("model", "xyzzy", ["unet", "fpn"]))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    file = tmp_path / "a.txt"
    atomic.write_text(file, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, call, fail)
        with pytest.raises(OSError, match="No space"):
            atomic.write_text(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_public_names_exist() -> None:
    for name in pixelwise.__all__:
        assert callable(getattr(pixelwise, name))
    assert set(pixelwise.__all__) <= set(dir(pixelwise))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        pixelwise.trian  # noqa: B018
    assert callable(pixelwise.losses.dice)


def test_alone_a_process_is_the_first_and_sums_are_its_own() -> None:
    value = torch.ones(2)
    assert (world_size(), rank()) == (1, 0)
    assert total(value) is value
    assert any_process(True, torch.device("cpu"))
    assert from_first(0.25, torch.device("cpu")) == 0.25


def test_the_machine_is_described() -> None:
    facts = hardware.describe()
    assert facts["threads"] == torch.get_num_threads()
    assert facts["precision"] in ("float32", "bfloat16")
    assert hardware.preferred_dtype(torch.device("meta")) == torch.float32
    hardware.keep_freed_memory()
