"""`infill models`: the released models, where their files are, fetching and checking them."""

from typing import Annotated

import typer

from infilling.cli import console
from infilling.cli.options import Verbose

app = typer.Typer(
    help="Released models: list, download, verify.", no_args_is_help=True, rich_markup_mode=None
)


def _model_names(incomplete: str) -> list[str]:
    from infilling.filling.models import MODELS

    return [name for name in MODELS if name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=_model_names, help="As `list` names it.")]


@app.command("list")
def list_(verbose: Verbose = False) -> None:
    """Print every released model: where its file is, its size, licence and training data."""
    from infilling.filling.models import list_models

    rows = [
        (each.name, each.state, f"{each.model.size / 1e6:.1f} MB", each.model.licence, each.model.trained_on)
        for each in list_models()
    ]
    console.put_table(["model", "file", "size", "licence", "trained on"], rows)


@app.command("download")
def download(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Fetch it again even if it is here.")] = False,
    verbose: Verbose = False,
) -> None:
    """Fetch a model's file, check it, and print its path."""
    from infilling.filling.models import MODELS
    from infilling.filling.models import download as fetch

    path = fetch(name, force=force)
    console.say(f"{name}: {MODELS[name].licence}; trained on {MODELS[name].trained_on}")
    console.put(str(path))


@app.command("verify")
def verify(name: Name, verbose: Verbose = False) -> None:
    """Check a model's file against its SHA-256 and print its path."""
    from infilling.filling.models import verify as check

    console.put(str(check(name)))
