"""The command line: one thin module per command, which parses, calls the API, and prints.

Nothing here imports torch at the top, so that help is instant.
"""

from __future__ import annotations

import errno
import logging
import platform
import re
import shutil
import sys
import traceback
from collections.abc import Sequence
from typing import cast

import typer

from pixelwise.cli import (
    check,
    convert,
    demo,
    evaluate,
    explain,
    models,
    predict,
    recipes,
    sample,
    simulate,
    slices,
    suggest,
    train,
    weights,
)
from pixelwise.cli.messages import Messages, print_error
from pixelwise.cli.stopping import stoppable
from pixelwise.errors import UserError

app = typer.Typer(
    name="pixelwise",
    help="Folder of pictures in, pixel-accurate model out.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # frames leave sentences too little room, and show a type for flags
    epilog="Every command has --help. Add --debug to see the traceback of an error.",
)
VERBS = {
    verb.__name__: verb
    for verb in (
        demo.demo,
        check.check,
        convert.convert,
        slices.slices,
        train.train,
        evaluate.evaluate,
        predict.predict,
        sample.sample,
        suggest.suggest,
        simulate.simulate,
        explain.explain,
        models.models,
        recipes.recipes,
        weights.weights,
    )
}
for name, verb in VERBS.items():
    app.command(name, short_help=(verb.__doc__ or "").split("\n")[0])(stoppable(verb))


BUILT_ON = ("torch", "numpy", "pillow", "opencv-python-headless", "scikit-image", "scikit-learn", "accelerate")
"""Packages whose versions affect what pixelwise does."""


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        from pixelwise import __version__
        from pixelwise.hardware import processor_name

        print(f"pixelwise {__version__}")
        print(f"Python {platform.python_version()} on {platform.platform()}, {processor_name()}")
        for name in BUILT_ON:
            print(f"{name} {version(name)}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_version,
        is_eager=True,
        help="Show the versions of pixelwise and of its main dependencies.",
    ),
) -> None:
    return None


UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
"""Wrong arguments. Typer exports only this subclass of it, and the module of the class depends on Typer's version."""
HELP_WIDTH = 100
"""The most columns that help fills on a terminal."""
UNLIMITED = 1_000_000


def main() -> None:
    """Runs the command line. Bad input ends with one sentence and a non-zero status, without a traceback."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    logging.basicConfig(format="%(message)s", handlers=[Messages()])
    logging.getLogger("pixelwise").setLevel(logging.INFO)
    _lay_out_help()
    try:
        sys.exit(app(arguments or ["--help"], prog_name="pixelwise", standalone_mode=False))
    except UserError as error:
        _fail(str(error), debug)
    except UsageError as error:
        _fail(_usage(error, arguments), debug, status=2)
    except BrokenPipeError:
        sys.exit(0)  # the program that reads the pipe (head, less) has ended
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM):
            raise
        _fail(f"{error.filename or 'the disk'}: {error.strerror}.", debug)


def _lay_out_help() -> None:
    """Fits help to the width of the terminal; in a pipe, each option is one line."""
    width = min(shutil.get_terminal_size().columns, HELP_WIDTH) if sys.stdout.isatty() else UNLIMITED
    app.info.context_settings = {"help_option_names": ["-h", "--help"], "terminal_width": width}


def _usage(error: typer.BadParameter, arguments: Sequence[str]) -> str:
    """What is wrong with the arguments, and which help to read."""
    wrong = error.format_message().replace(": Value error, ", ": ")
    wrong = re.sub(r" \(Possible options: (.*)\)", r"; did you mean \1?", wrong)
    end = "" if wrong.endswith((".", "?")) else "."
    verb = next((argument for argument in arguments if argument in VERBS), None)
    return f"{wrong[0].lower()}{wrong[1:]}{end} `pixelwise {f'{verb} ' if verb else ''}--help` lists what is possible."


def _fail(sentence: str, debug: bool, status: int = 1) -> None:
    if debug:
        traceback.print_exc()
    print_error(sentence)
    sys.exit(status)
