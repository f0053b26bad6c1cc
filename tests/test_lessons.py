"""Lessons of `pixelwise demo`, in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelwise import demo
from pixelwise.cli.demo import demo as command
from pixelwise.data import digits
from pixelwise.errors import UserError
from pixelwise.training.recipes import load_recipe


def test_overfitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "write_digits", lambda out: digits.write_digits(out, train=2, val=2))
    command("overfitting", minutes=0.1, out=tmp_path / "demo")
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "demo" / "run" / "metrics.json").read_text())["variants"]
    assert list(rows) == list(load_recipe("overfitting").variants)
    assert all(name in printed for name in rows)
    assert all(row["training"] is not None for row in rows.values())
    with pytest.raises(UserError, match="exists already"):
        demo.overfitting(tmp_path / "demo")


def test_unknown_lessons_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown lesson 'overfiting'; did you mean 'overfitting'"):
        command("overfiting", minutes=None, out=tmp_path / "demo")
