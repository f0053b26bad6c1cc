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
            metavar="MODEL_OR_RECIPE", help="A model, a recipe, or a YAML file; by default the labels decide."
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="DATA", help="The folder with pictures and labels.")] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="LAYOUT", help="Layout of the data (docs/data.md); auto recognises it.")
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder of pictures without labels, for methods that use them.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="MINUTES", min=0.01, help="Time for everything, the report included.")
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(
            metavar="EPOCHS",
            min=0.0001,
            help="Passes over the data, instead of a time; such a run repeats to the byte.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The new run folder; by default a folder below runs/.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override the recipe, for example optimizer.lr=0.001; the option may be repeated.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="SEED", min=0, help="Seed of the first weights, the order of pictures, and their crops."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Continue a stopped run; add --data only if the data moved.")
    ] = None,
) -> None:
    """Train on a folder: plan from the data, train, measure, report.

    Ctrl-C saves the run, and --resume RUN continues it. RUN/recipe.yaml is the plan; RUN/next.txt lists the commands
    that may follow.
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
                "--resume continues the run exactly as it was started, so it cannot be combined with "
                f"{', '.join(extra)}. For another run, start from RUN/recipe.yaml."
            )
        run = api.resume(resume, data=data, unlabelled=unlabelled, progress=True)
    elif recipe is None and data is None:
        raise UserError(
            "nothing to train on: give a folder (`pixelwise train --data DATA`), a recipe that names one, or "
            "--resume RUN."
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
    from pixelwise.cli.tables import number, print_files
    from pixelwise.terminal import Column, Listing, show

    titles = ("training", "validation", "gap", "epochs", "kept", "of epoch")
    columns = [Column("variant"), *(Column(title, "right") for title in titles)]
    rows = []
    for name, row in run.metrics["variants"].items():
        scores = [number(row[key]) for key in ("training", "validation", "gap")]
        rows.append([name, *scores, f"{row['epochs']:.1f}", number(row["kept"]), f"{row['kept_epoch']:.1f}"])
    for name, score in run.metrics.get("references", {}).items():
        rows.append([name, "", number(score), "", "", "", ""])
    show(Listing(columns, rows, run.metrics["definition"]))
    for note in run.metrics.get("notes", ()):
        show(note)
    print_files(run, runs=run.path / "variants")
