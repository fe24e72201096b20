"""`infill models`: the models by name, where their files are, fetching and checking them."""

from pathlib import Path
from typing import Annotated

import typer

from infilling.cli import console
from infilling.cli.options import Verbose, model_names

app = typer.Typer(
    help="Models by name: list, download, add, verify.", no_args_is_help=True, rich_markup_mode=None
)


Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=model_names, help="As `list` names it.")]


@app.command("list")
def list_(verbose: Verbose = False) -> None:
    """Print every model: whether its file is here, its size, licence, and what it learned from."""
    from infilling.filling.models import list_models

    rows = []
    for each in list_models():
        model = each.model
        size = f"{model.size / 1e6:.1f} MB" if model.size else ""
        rows.append((each.name, each.state, size, model.summary, model.licence, model.trained_on))
    console.put_table(["model", "file", "size", "what for", "licence", "learned from"], rows)


@app.command("download")
def download(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Fetch it again even if it is here.")] = False,
    verbose: Verbose = False,
) -> None:
    """Fetch a model's file, check it, and print its path.

    A download that was cut off continues where it stopped. Proxies are those of HTTPS_PROXY;
    INFILLING_OFFLINE=1 forbids downloads.
    """
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    from infilling.filling.download import download as fetch

    _show_licence(name)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with console.show_bar(*columns) as bar:
        path = fetch(name, force=force, progress=console.count_on(bar, name))
    console.put(str(_convert_features(name, path)))


@app.command("add")
def add(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The model's file.")],
    verbose: Verbose = False,
) -> None:
    """Check a model's file that was fetched by hand, copy it to the others, and print its path there."""
    from infilling.filling.download import add_file

    _show_licence(name)
    console.put(str(_convert_features(name, add_file(name, file))))


@app.command("verify")
def verify(name: Name, verbose: Verbose = False) -> None:
    """Check a model's file against its SHA-256 and print its path."""
    from infilling.filling.models import verify as check

    console.put(str(check(name)))


def _convert_features(name: str, path: Path) -> Path:
    """Return the file to use: a model's own, or the feature file that is made of published weights."""
    from infilling.filling.models import find_model

    if find_model(name).is_engine:
        return path
    from infilling.filling.contract import require_torch

    require_torch(f"converting {path} to a feature file")
    from infilling.learning.convert_features import convert_features

    return convert_features(path, path.with_name(f"{name}.safetensors"))


def _show_licence(name: str) -> None:
    from infilling.filling.models import find_model

    model = find_model(name)
    console.say(f"{name}: licence {model.licence}; learned from {model.trained_on}")
