"""Arguments that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DataRoot = Annotated[Path, typer.Option("--data", help="Folder of the data set.")]
Reader = Annotated[str, typer.Option("--dataset", help="Name of the reader; a plain folder by default.")]
Device = Annotated[str, typer.Option(help="auto takes a GPU when there is one; or cpu, cuda, cuda:1.")]
ProtocolName = Annotated[
    str | None, typer.Option("--protocol", help="How to split, see `delineate datasets`.")
]
Fold = Annotated[int | None, typer.Option("--fold", help="Which fold of the protocol is the test, from 0.")]
Folds = Annotated[int | None, typer.Option("--folds", help="Number of folds of the protocol k-fold.")]
SplitSeed = Annotated[int, typer.Option("--split-seed", help="Of what the protocol draws.")]
