"""The command line: one thin module per command, which parses, calls the API, and prints.

Nothing here imports torch at the top, so that help is instant.
"""

from __future__ import annotations

import errno
import logging
import platform
import sys
import traceback

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
    suggest,
    train,
    weights,
)
from pixelwise.cli.stopping import stoppable
from pixelwise.errors import UserError

app = typer.Typer(
    name="pixelwise",
    help="Folder of pictures in, pixel-accurate model out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Every command has --help. Add --debug to see the traceback of an error.",
)
for verb in (
    demo.demo,
    check.check,
    convert.convert,
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
):
    app.command(verb.__name__)(stoppable(verb))


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


def main() -> None:
    """Runs the command line. Bad input ends with one sentence and a non-zero status, without a traceback."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    logging.basicConfig(format="%(message)s")
    logging.getLogger("pixelwise").setLevel(logging.INFO)
    try:
        app(arguments)
    except UserError as error:
        _fail(str(error), debug)
    except BrokenPipeError:
        sys.exit(0)  # the program that reads the pipe (head, less) has ended
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM):
            raise
        _fail(f"{error.filename or 'the disk'}: {error.strerror}.", debug)


def _fail(sentence: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"pixelwise: {sentence}", file=sys.stderr)
    sys.exit(1)
