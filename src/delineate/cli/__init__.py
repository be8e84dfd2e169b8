"""The command line: parse, call, print. Exit codes: 0 well, 1 problems found, 2 wrong call."""

import sys
from typing import Annotated

import typer

from delineate import console
from delineate.checks import InputError
from delineate.cli.analyse import analyse_app
from delineate.cli.corrections import corrections_app
from delineate.cli.data import data_app
from delineate.cli.datasets import datasets
from delineate.cli.explain import explain
from delineate.cli.export import export
from delineate.cli.listing import models, profile, recipes
from delineate.cli.predict import predict
from delineate.cli.reproduce import reproduce
from delineate.cli.runs import train
from delineate.cli.scoring import evaluate
from delineate.cli.serve import serve
from delineate.cli.study import study
from delineate.processes import FailedElsewhere
from delineate.version import __version__

app = typer.Typer(
    name="delineate",
    help="Segment, classify, explain and honestly measure 2-D medical images. Not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
COMMANDS = (
    models,
    recipes,
    datasets,
    train,
    evaluate,
    predict,
    explain,
    export,
    serve,
    profile,
    study,
    reproduce,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(data_app, name="data")
app.add_typer(analyse_app, name="analyse")
app.add_typer(corrections_app, name="corrections")


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Handle options that need no command."""
    if version:
        console.out.print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; a wrong input ends in one sentence and exit code 2, never in a traceback."""
    console.quieten_libraries()
    try:
        app(standalone_mode=True)
    except FailedElsewhere:
        sys.exit(2)  # the process in which it happened says what
    except InputError as error:
        console.print_error(str(error))
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        console.print_error(f"{where}{error.strerror or error}.")
        sys.exit(2)
    except KeyboardInterrupt:
        console.print_error("stopped; a training run or a prediction goes on with --resume.")
        sys.exit(130)
