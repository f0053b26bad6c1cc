"""Damaged datasets, recipes and model files: a result, findings or a sentence, and nothing else."""

from __future__ import annotations

import importlib.util
import logging
import time
import warnings
from pathlib import Path
from types import ModuleType

import pytest

ATTEMPTS = 300
FOUND = (("pictures and masks", 420), ("pictures and masks", 720), ("idx", 57))
"""What once ended in a traceback: groups.csv in UTF-16, and with an open quotation mark; an idx file of six bytes."""


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", Path(__file__).parents[1] / "benchmarks" / "fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_but_results_findings_and_sentences(fuzz: ModuleType, tmp_path: Path) -> None:
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    inputs = fuzz.Fuzz(tmp_path)
    attempts = [*FOUND, *((inputs.kinds[number % len(inputs.kinds)], number) for number in range(ATTEMPTS))]
    outcomes = set()
    for kind, seed in attempts:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            outcomes.add(inputs.attempt(kind, seed))
        assert time.perf_counter() - start < fuzz.LIMIT, (kind, seed)
    assert outcomes == {"a result", "findings", "a sentence"}
