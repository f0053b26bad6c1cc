"""What is printed can be typed and copied: no command, setting, path or number is cut or divided at any width."""

from __future__ import annotations

import ast
import contextlib
import html
import io
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import typer
from rich.console import Console

import pixelwise as package
from pixelwise import api, cli
from pixelwise.cli.tables import print_result
from pixelwise.terminal.prose import WHOLE
from pixelwise.training.progress import Bar
from pixelwise.training.run import Run, open_run

WIDTHS = (40, 80, 120)
TINY = ["model.width=4", "model.encoder=null", "augment.crop=[32,48]", "train.batch_size=2", "train.validations=3"]
COMMAND = re.compile(rf"pixelwise ({'|'.join(cli.VERBS)})\b")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\]8;.*?\x1b\\")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def streams(width: int | None) -> Iterator[io.StringIO]:
    """Both output streams, as a terminal of that width or as a pipe."""
    stream = io.StringIO() if width is None else Terminal()
    # A pipe inherits the size of the terminal that the program was started from; its lines do not follow that size.
    sizes = {"COLUMNS": str(width or 40), "LINES": "40", "TERM": "xterm-256color"}
    with (
        mock.patch.dict(os.environ, sizes),
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        yield stream


def printed(width: int | None, *arguments: object) -> str:
    """What a command prints, without its escape codes on a terminal."""
    with (
        streams(width) as stream,
        mock.patch.object(sys, "argv", ["pixelwise", *map(str, arguments)]),
        contextlib.suppress(SystemExit),
    ):
        cli.main()
    return stream.getvalue() if width is None else ESCAPES.sub("", stream.getvalue())


def whole(text: str) -> list[str]:
    """What must not be divided: commands, settings and quoted names, and every word."""
    return [found[0] for found in WHOLE.finditer(text)] + text.split()


def check_undivided(pipe: str, terminal: str) -> None:
    """The terminal has every part of the text of the pipe on one line, in the same order, and cuts nothing."""
    lines = terminal.splitlines()
    for part in whole(pipe):
        assert any(part in line for line in lines), part
    assert terminal.split() == pipe.split()
    assert "\x1b" not in pipe
    assert not any(line.endswith(" ") for line in pipe.splitlines())


@pytest.fixture(scope="module")
def run(scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run, whose folder needs quoting, with findings that advise settings."""
    out = tmp_path_factory.mktemp("output") / "my first run"
    api.train("unet", data=scenes_folder, epochs=2, out=out, overrides=TINY)
    return out


@pytest.mark.parametrize("verb", ["", *cli.VERBS])
def test_help_has_the_same_words_at_any_width(verb: str) -> None:
    arguments = [verb, "--help"] if verb else ["--help"]
    pipe = printed(None, *arguments)
    for width in WIDTHS:
        terminal = printed(width, *arguments)
        assert terminal.split() == pipe.split()
        assert max(map(len, terminal.splitlines())) <= width
    assert "..." not in pipe.replace("]...", "").replace("}...", "")


def test_help_in_a_pipe_has_one_line_per_option() -> None:
    command = typer.main.get_command(cli.app)
    for verb in command.commands.values():  # type: ignore[attr-defined]
        lines = printed(None, verb.name, "--help").splitlines()
        for parameter in verb.params:
            if parameter.help:  # --help itself is documented by Typer
                (line,) = (line for line in lines if parameter.help in line)
                assert any(name in line.split() for name in parameter.opts if name.startswith("-")) or line.startswith(
                    f"  {parameter.metavar}"
                )


def test_every_option_is_explained_by_one_sentence() -> None:
    command = typer.main.get_command(cli.app)
    for verb in command.commands.values():  # type: ignore[attr-defined]
        for parameter in verb.params:
            assert parameter.help, f"{verb.name} {parameter.name}"
            assert parameter.help.endswith(".")
            assert ". " not in parameter.help
            flag = getattr(parameter, "is_flag", False)
            assert flag or parameter.metavar, f"{verb.name} {parameter.name} needs a name for its value"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["train"],
        ["trian"],
        ["train", "--datta", "x"],
        ["train", "--epochs", "x"],
        ["predict", "RUN"],
        ["check", "DATA", "--rle-order", "diag"],
        ["train", "unett", "--data", "nowhere", "--out", "RUN"],
        ["train", "unet", "--data", "DATA", "--out", "RUN"],
        ["train", "unet", "--data", "DATA", "--set", "model.weights=none.pth"],
        ["train", "unet", "--data", "DATA", "--set", "optimizer.lrr=1"],
        ["train", "resnet18", "--data", "DATA"],
        ["train", "--resume", "RUN", "--epochs", "2", "--set", "a=b"],
        ["evaluate", "RUN", "--split", "tset"],
        ["predict", "RUN", "nowhere.png", "--out", "OUT"],
        ["check", "nowhere"],
    ],
)
def test_errors_wrap_between_words(
    arguments: list[str], width: int, run: Path, scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"DATA": str(scenes_folder), "RUN": str(run), "OUT": str(tmp_path / "out")}
    command = [places.get(argument, argument) for argument in arguments]
    pipe, terminal = printed(None, *command), printed(width, *command)
    terminal = terminal[terminal.index("pixelwise: ") :]  # after a progress bar, which a terminal removes
    check_undivided(pipe, terminal)
    assert pipe.startswith("pixelwise: ")
    assert all(pipe[: command.start()].count("`") % 2 for command in COMMAND.finditer(pipe))
    assert pipe.count("\n") == 1 or "mistakes:\n" in pipe
    for line in terminal.splitlines():
        assert len(line) <= width or any(len(part) + 6 > width and part in line for part in whole(pipe))


def test_wrong_arguments_end_with_status_2_and_name_the_nearest_option() -> None:
    for arguments, words in (
        (["train", "--datta", "x"], "no such option: --datta; did you mean --data? `pixelwise train --help`"),
        (["convert"], "missing argument 'DATA'. `pixelwise convert --help`"),
        (["modles"], "no such command 'modles'. Did you mean 'models'? `pixelwise --help`"),
    ):
        with (
            mock.patch.object(sys, "argv", ["pixelwise", *arguments]),
            streams(None) as stream,
            pytest.raises(SystemExit) as stop,
        ):
            cli.main()
        assert stop.value.code == 2
        assert words in stream.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_result_of_a_run_is_undivided(width: int, run: Path) -> None:
    """Scores, findings with settings, files and the next command; the pipe has the files on lines of their own."""
    texts = {}
    for size in (None, width):
        with streams(size) as stream:
            print_result(open_run(run))
        texts[size] = ESCAPES.sub("", stream.getvalue())
    findings = [f"{limit['sentence']} {limit['advice']}" for limit in Run(run).limits]
    lines = texts[width].splitlines()
    for finding in findings:
        assert f"- {finding}" in texts[None].splitlines()
        for part in whole(finding):
            assert any(part in line for line in lines), part
    assert lines[-3:] == texts[None].splitlines()[-3:]
    assert lines[-1].removeprefix("next:").strip() == commands(run)[0]
    assert "…" not in texts[width]
    scores = re.findall(r"\d\.\d{4}", texts[None])
    assert sorted(re.findall(r"\d\.\d{4}", texts[width])) == sorted(scores)
    assert f"{Run(run).metrics['mean_iou']:.4f}" in scores


def commands(run: Path) -> list[str]:
    return [line for line in (run / "next.txt").read_text().splitlines() if line.startswith("pixelwise ")]


def test_the_report_has_every_next_command_whole(run: Path) -> None:
    page = html.unescape((run / "report.html").read_text())
    for command in commands(run):
        assert f">{command}<" in page, command
        shlex.split(command)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_diagnosis_is_undivided(width: int, scenes_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a folder of scenes"
    (folder / "images").mkdir(parents=True)
    for file in sorted((scenes_folder / "images").iterdir())[:3]:
        (folder / "images" / f"{'long-name-' * 9}{file.name}").write_bytes(b"")
    (folder / "masks").mkdir()
    pipe, terminal = printed(None, "check", folder), printed(width, "check", folder)
    check_undivided(pipe, terminal)
    assert any(line.strip() == f"images/{'long-name-' * 9}{file.name}" for line in terminal.splitlines())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("listing", [["models", "--task", "segment"], ["weights"], ["recipes"]])
def test_listings_name_everything_whole(listing: list[str], width: int) -> None:
    pipe, terminal = printed(None, *listing), printed(width, *listing)
    assert "…" not in terminal
    assert "\x1b" not in pipe
    assert set(pipe.split()) <= {word for text in terminal.split() for word in (text, text.rstrip(":"))} | {"here"}
    for line in terminal.splitlines():
        assert len(line) <= width or max(map(len, whole(line))) + len("  weights: ") > width


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_the_bar_fits_and_always_shows_the_time_left(width: int) -> None:
    stream = io.StringIO()
    bar = Bar(Console(file=stream, width=width, force_terminal=True))
    with bar:
        bar.step(0.35, {"loss": 0.5123, "mean IoU": 0.4312, "pixel accuracy": 0.7654}, 118.3, 161.0)
        bar.say("plan: runs/unet-scenes/recipe.yaml")
    lines = re.split(r"[\r\n]+", ESCAPES.sub("", stream.getvalue()))
    assert max(map(len, lines)) <= max(width, len("runs/unet-scenes/recipe.yaml"))
    assert any(" 35 %" in line and line.rstrip().endswith("2:41 left") for line in lines)
    assert "…" not in stream.getvalue()
    assert any("118.3 pictures/s" in line for line in lines) == (width >= 120)


@pytest.mark.parametrize("width", [40, 120])
def test_a_run_on_a_real_terminal(width: int, scenes_folder: Path, tmp_path: Path) -> None:
    """The last commands and files of a run that a terminal of this width shows are those of the run folder."""
    pty = pytest.importorskip("pty", reason="pseudo-terminals need Unix")
    import fcntl
    import struct
    import termios

    run = tmp_path / "a run"
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    settings = [part for each in TINY for part in ("--set", each)]
    command = [sys.executable, "-m", "pixelwise", "train", "unet", "--data", str(scenes_folder), "--epochs", "1"]
    process = subprocess.Popen(
        [*command, "--out", str(run), *settings],
        stdout=theirs, stderr=theirs, stdin=theirs, env={**environment, "OMP_NUM_THREADS": "1", "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux reports the end of a terminal like this
            break
        if not part:
            break
        shown += part
    assert process.wait(timeout=60) == 0
    os.close(ours)
    lines = re.split(r"[\r\n]+", ESCAPES.sub("", shown.decode()))
    for expected in (
        f"'{run}/recipe.yaml'",
        f"report:   {run}/report.html",
        f"commands: {run}/next.txt",
        f"next:     {commands(run)[0]}",
    ):
        assert any(expected in line for line in lines), expected
    numbers = re.findall(r"\d\.\d{4}", "\n".join(lines))
    assert f"{Run(run).metrics['mean_iou']:.4f}" in numbers


def test_commands_in_sentences_are_marked() -> None:
    """A command within a sentence is between backticks, so that no line break divides it; alone, it needs none."""
    found = 0
    for file in Path(package.__file__).parent.rglob("*.py"):
        tree = ast.parse(file.read_text())
        within = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) in within or id(node) in docs:
                continue
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            else:
                continue
            for command in COMMAND.finditer(text):
                found += 1
                alone = text.startswith(("pixelwise ", "# "))
                assert alone or text[: command.start()].count("`") % 2, f"{file}:{node.lineno}: {text}"
    assert found > 20
