"""The script that checks a CUDA device, run on the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def run(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--out", str(page), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_everything_holds_on_the_cpu(tmp_path: Path) -> None:
    done = run(tmp_path / "page.md", "--limit-seconds", "1200")
    page = (tmp_path / "page.md").read_text()
    assert done.returncode == 0, page + done.stderr
    assert "all checks passed; nothing was left out." in page
    assert "- yes: the killed and resumed run ends with the same bytes" in page
    assert page.count("outputs differ from the CPU's by 0.0e+00 in float32") == 9
    assert "| mobilenet_v2 | prediction |" in page


def test_what_does_not_fit_into_the_limit_is_named(tmp_path: Path) -> None:
    done = run(tmp_path / "page.md", "--limit-seconds", "0")
    assert done.returncode == 0, done.stderr
    assert "left out for lack of time: data, train, kill -9, resume, evaluate" in (tmp_path / "page.md").read_text()
