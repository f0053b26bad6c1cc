"""Every command of README and docs is one that pixelwise takes: options exist, recipes and settings load."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
import typer
from pages import DOCS, ROOT, code_blocks

from pixelwise.catalog import SYSTEMS
from pixelwise.cli import app
from pixelwise.training.recipes import load_recipe, recipe_names

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]
PLACEHOLDER = re.compile(r"^(RUN|DATA|DIR|FOLDER|FILE|PICTURES?|NAME|COPY\.yaml|[A-Z_/]+|.*\.ya?ml|\.\.\.)$")
"""Words that stand for what the reader has; a recipe of that name is not looked for."""


def commands() -> Iterator[tuple[str, str]]:
    """(page:line, command) of all pages: lines of plain code blocks, and words in backticks."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for language in ("", "bash", "console", "sh"):
            for line, block in code_blocks(text, language):
                joined = block.replace("\\\n", " ")
                for offset, row in enumerate(joined.splitlines()):
                    for part in row.split("&&"):
                        if part.strip().startswith("pixelwise "):
                            yield f"{page.stem}:{line + offset}", part.strip()
        outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for match in re.finditer(r"`(pixelwise [a-z]+ [^`]+)`", outside):
            yield f"{page.stem}", " ".join(match.group(1).split())


COMMANDS = list(dict.fromkeys(commands()))


def words_of(command: str) -> list[str]:
    """The arguments after `pixelwise`, without a remark at the end of the line."""
    return shlex.split(command, comments=True)[1:]


@pytest.mark.parametrize(("place", "command"), COMMANDS, ids=[place for place, _ in COMMANDS])
def test_a_command_is_one_that_pixelwise_takes(place: str, command: str) -> None:
    if "..." in command or "{" in command or "[--" in command:
        pytest.skip("a pattern, not a command")
    verb, *rest = words_of(command)
    group = typer.main.get_command(app)
    assert verb in group.commands, f"{place}: no verb '{verb}'"  # type: ignore[attr-defined]
    try:
        parsed = group.commands[verb].make_context(verb, list(rest))  # type: ignore[attr-defined]
    except Exception as error:
        if type(error).__name__ != "MissingParameter":  # of click, wherever typer keeps it
            raise
        assert ":" not in place, f"{place}: incomplete"  # within a sentence, a part of a command will do
        return
    if verb != "train":
        return
    name = parsed.params.get("recipe")
    if name is None or PLACEHOLDER.match(str(name)):
        return
    assert str(name) in {*recipe_names(), *SYSTEMS}, f"{place}: no recipe or network '{name}'"
    load_recipe(str(name), parsed.params["set_"] or ())


def test_pages_have_commands() -> None:
    assert len(COMMANDS) > 100
    pages = {place.split(":")[0] for place, _ in COMMANDS}
    assert {"README", "unet", "mask_rcnn", "training"} <= pages


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if not target.startswith(("http://", "https://", "mailto:")) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken
