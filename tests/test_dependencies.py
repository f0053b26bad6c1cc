"""What is imported is declared: every import of the package is of the standard library or of a declared dependency."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def distribution(requirement: str) -> str:
    """The normalised name (PEP 503) of `name[extra]>=1.0; marker`."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


REQUIRED = {distribution(each) for each in PROJECT["dependencies"]}
OPTIONAL = {
    distribution(each)
    for extra, members in PROJECT.get("optional-dependencies", {}).items()
    if extra != "dev"
    for each in members
}


def imports(source: str) -> Iterator[tuple[str, int, bool]]:
    """Top-level module, line, and whether it is imported inside a function, for each import of a source file."""

    def visit(node: ast.AST, in_function: bool) -> Iterator[tuple[str, int, bool]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno, in_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module.partition(".")[0], node.lineno, in_function
        inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(ast.parse(source), False)


def undeclared(source: str, provided_by: dict[str, list[str]]) -> list[tuple[str, int]]:
    """Modules and lines of imports that no declared dependency provides, or an optional one at the top of the file."""
    found = []
    for module, line, in_function in imports(source):
        if module in sys.stdlib_module_names or module == "pixelwise":
            continue
        providers = {distribution(each) for each in provided_by.get(module, ())}
        if not providers & (REQUIRED | OPTIONAL if in_function else REQUIRED):
            found.append((module, line))
    return found


def test_every_import_is_declared() -> None:
    provided_by = dict(packages_distributions())
    for path in sorted((ROOT / "src" / "pixelwise").rglob("*.py")):
        wrong = undeclared(path.read_text(), provided_by)
        assert not wrong, f"{path.relative_to(ROOT)}: not declared in pyproject.toml: {wrong}"


def test_undeclared_imports_are_found_wherever_they_stand() -> None:
    provided_by = {"torch": ["torch"], "cv2": ["opencv-python-headless"], "httpx2": ["httpx2"], "pytest": ["pytest"]}
    source = (
        "import os, torch\nimport cv2.dnn\ndef f():\n    import httpx2 as h\nclass A:\n    from pytest import raises"
    )
    assert undeclared(source, provided_by) == [("httpx2", 4), ("pytest", 6)]


@pytest.mark.parametrize("path", sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("docs/*.py")]), ids=lambda p: p.name)
def test_what_the_scripts_import_is_there(path: Path) -> None:
    """Names of the package that a benchmark or a page's script imports; nothing else runs these files every day."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "pixelwise":
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


IMPORT = re.compile(r"^from (pixelwise[\w.]*) import ([\w, ]+)$", re.MULTILINE)


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda path: path.name)
def test_what_the_pages_import_is_there(path: Path) -> None:
    for name, members in IMPORT.findall(path.read_text()):
        module = importlib.import_module(name)
        missing = [member for member in members.replace(" ", "").split(",") if not hasattr(module, member)]
        assert not missing, f"{path.name}: {name} has no {missing}"
