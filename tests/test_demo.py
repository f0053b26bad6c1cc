"""The demo, in small: everything is there at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise import demo
from pixelwise.data import scenes
from pixelwise.errors import UserError


def test_the_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from pixelwise.cli.demo import demo as command

    monkeypatch.setattr(demo, "LARGE", (256, 320))
    monkeypatch.setattr(demo, "write_scenes", lambda out: scenes.write_scenes(out, train=6, val=3))
    command(minutes=0.05, out=tmp_path / "demo")
    for name in (
        "scenes/classes.txt",
        "run/report.html",
        "run/next.txt",
        "large/scene_mask.png",
        "large/scene_overlay.png",
    ):
        assert (tmp_path / "demo" / name).stat().st_size > 0
    printed = capsys.readouterr().out
    for words in (
        "always background",
        "colour of the pixel alone",
        "this network",
        "report.html",
        "Ready for training",
    ):
        assert words in printed
    with pytest.raises(UserError, match="exists already"):
        demo.prepare(tmp_path / "demo")
