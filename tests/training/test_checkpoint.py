"""Checkpoints: nested state comes back as it was, and no failure leaves a run without a whole one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pixelwise import atomic
from pixelwise.errors import UserError
from pixelwise.training.checkpoint import LAST, PREVIOUS, load_checkpoint, remove_leftovers, save_checkpoint


def state(value: float) -> dict[str, Any]:
    return {
        "weights": torch.full((3, 2), value),
        "step": int(value),
        "nested": {"list": [torch.tensor(value), "x", None]},
    }


def same(found: dict[str, Any] | None, value: float) -> bool:
    return (
        found is not None
        and torch.equal(found["weights"], state(value)["weights"])
        and found["step"] == int(value)
        and torch.equal(found["nested"]["list"][0], torch.tensor(value))
        and found["nested"]["list"][1:] == ["x", None]
    )


def test_optimizer_state_comes_back(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(4))
    optimizer = torch.optim.AdamW([weight], 0.1)
    weight.sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path, {"optimizer": optimizer.state_dict()})
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    before, after = optimizer.state_dict(), loaded["optimizer"]
    assert before["param_groups"] == [{**g, "betas": tuple(g["betas"])} for g in after["param_groups"]]
    assert set(before["state"]) == set(after["state"]) == {0}  # a number, not "0"
    assert all(torch.equal(before["state"][0][k], after["state"][0][k]) for k in before["state"][0])


def test_none_yet(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


def test_last_and_previous(tmp_path: Path) -> None:
    for value in (1, 2, 3):
        save_checkpoint(tmp_path, state(value))
    assert same(load_checkpoint(tmp_path), 3)
    shutil.rmtree(tmp_path / LAST)
    assert same(load_checkpoint(tmp_path), 2)


CALLS = ["write", "fsync", "replace", "rename", "rmtree"]


@pytest.mark.parametrize("fail_at", range(1, 12))
@pytest.mark.parametrize("call", CALLS)
def test_whatever_call_fails_a_whole_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, fail_at: int
) -> None:
    """Makes the n-th write, flush, rename or removal of the third save fail, as a full disk or a lost mount would."""
    save_checkpoint(tmp_path, state(1))
    save_checkpoint(tmp_path, state(2))
    seen = 0

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal seen
            if options.get("ignore_errors"):
                return real(*arguments, **options)
            seen += 1
            if seen == fail_at:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **options)

        return wrapped

    with monkeypatch.context() as patch:
        if call == "write":
            patch.setattr(atomic.os, "fsync", failing(os.fsync))  # buffered writes surface at the flush
        elif call == "rmtree":
            patch.setattr(atomic.shutil, "rmtree", failing(shutil.rmtree))
        else:
            patch.setattr(atomic.os, call, failing(getattr(os, call)))
        try:
            save_checkpoint(tmp_path, state(3))
            failed = False
        except OSError:
            failed = True
    found = load_checkpoint(tmp_path)
    assert same(found, 3) or (failed and (same(found, 2) or same(found, 1)))
    save_checkpoint(tmp_path, state(4))
    assert same(load_checkpoint(tmp_path), 4)


def test_a_damaged_last_falls_back_and_two_damaged_ones_are_a_sentence(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(1))
    save_checkpoint(tmp_path, state(2))
    tensors = tmp_path / LAST / "tensors.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    assert same(load_checkpoint(tmp_path), 1)
    (tmp_path / PREVIOUS / "state.json").write_text("{")
    with pytest.raises(UserError, match="no checkpoint can be read"):
        load_checkpoint(tmp_path)


def test_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(1))
    (tmp_path / ".last.partial").mkdir()
    (tmp_path / ".last.partial" / "half").write_text("x")
    (tmp_path / ".metrics.json.partial").write_text("{")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST]


def test_what_cannot_be_stored_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a/1: a set"):
        save_checkpoint(tmp_path, {"a": [1, {2}]})
    assert load_checkpoint(tmp_path) is None
