"""`pixelwise train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelwise.cli.process import prepare_for_networks
from pixelwise.errors import UserError

if TYPE_CHECKING:
    from pixelwise.training.run import Run


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL_OR_RECIPE", help="A model, a recipe's name, or a YAML file; default: chosen by the labels."
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with pictures and masks.")] = None,
    layout: Annotated[str | None, typer.Option(help="Layout of the data; auto recognises it (docs/data.md).")] = None,
    unlabelled: Annotated[
        Path | None, typer.Option(help="Folder with unlabelled pictures, for methods that use them.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Minutes for everything, report included.")] = None,
    epochs: Annotated[
        float | None, typer.Option(min=0.0001, help="Passes over the data; repeatable to the byte.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/RECIPE-DATA.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override the recipe: optimizer.lr=0.001")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of weights, order and crops.")] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Continue a stopped run; --data only if the data moved.")
    ] = None,
) -> None:
    """Train on a folder: plan from the data, train, measure, report.

    Ctrl-C saves; `--resume RUN` continues. The plan is in RUN/recipe.yaml, the next commands are in RUN/next.txt.
    """
    from pixelwise import api

    prepare_for_networks()
    if resume is not None:
        given = {
            "a recipe": recipe,
            "--layout": layout,
            "--minutes": minutes,
            "--epochs": epochs,
            "--out": out,
            "--set": set_,
            "--seed": seed,
        }
        extra = [name for name, value in given.items() if value is not None]
        if extra:
            raise UserError(
                f"--resume continues the run exactly as it was started, so it takes no {' and no '.join(extra)}; "
                f"for another run, start from RUN/recipe.yaml."
            )
        run = api.resume(resume, data=data, unlabelled=unlabelled, progress=True)
    elif recipe is None and data is None:
        raise UserError(
            "what to train? Give a folder (`pixelwise train --data DATA`), a recipe with a folder, or --resume RUN."
        )
    else:
        run = api.train(
            recipe,
            data=data,
            layout=layout,
            unlabelled=unlabelled,
            minutes=minutes,
            epochs=epochs,
            out=out,
            seed=seed,
            overrides=set_ or (),
            progress=True,
        )
    print_run(run)


def print_run(run: Run) -> None:
    """Prints the scores of a finished run, or those of its variants, on the first process only."""
    from pixelwise.cli.tables import print_result
    from pixelwise.distributed import rank

    if not run.variants_file.exists():
        print_result(run)
    elif rank() == 0:
        print_variants(run)


def print_variants(run: Run) -> None:
    """Prints one row per variant, and the files to look at."""
    from rich.console import Console
    from rich.table import Table

    from pixelwise.cli.tables import number

    table = Table(box=None, header_style="bold")
    table.add_column("variant")
    for title in ("training", "validation", "gap", "epochs", "kept", "of epoch"):
        table.add_column(title, justify="right")
    for name, row in run.metrics["variants"].items():
        scores = [number(row[key]) for key in ("training", "validation", "gap")]
        table.add_row(name, *scores, f"{row['epochs']:.1f}", number(row["kept"]), f"{row['kept_epoch']:.1f}")
    console = Console()
    console.print(table)
    console.print(run.metrics["definition"], highlight=False)
    print(f"report: {run.report}\nruns:   {run.path / 'variants'}\nnext:   {run.path / 'next.txt'}")
