"""The command line, `infill`: parse, call one function of the package, print. Heavy imports stay inside."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from infilling.cli import (
    batch,
    console,
    data,
    evaluate,
    extend,
    features,
    fill,
    holes,
    info,
    leaderboard,
    mask,
    models,
    options,
    restore,
    serve,
    train,
)

app = typer.Typer(
    name="infill",
    help="Fill the missing region of pictures; train and judge the models that do it.",
    epilog="A fill is invented content: it shows what could have been there, not what was.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run `infill` and leave with its exit code: 0, 1, 2 for usage, those of `errors.py`, 130 on Ctrl-C."""
    console.show_warnings_in_one_line()
    try:
        app(args)
        code: object = 0
    except SystemExit as leaving:
        code = leaving.code
    except KeyboardInterrupt:
        code = console.fail("interrupted", code=130)
    except Exception as error:  # the last door: whatever arrives here becomes one line
        code = console.fail_with(error)
    _leave(code)


def _leave(code: object) -> NoReturn:
    """End the process, also while a network works that does not listen."""
    patience = sys.modules.get("infilling.filling.patience")
    if patience is not None and not patience.stop_all():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
    sys.exit(code)  # type: ignore[arg-type]


def _print_version(wanted: bool) -> None:
    if wanted:
        from infilling.version import VERSION

        console.put(f"infill {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


app.command("fill", cls=options.GroupedCommand)(fill.fill)
app.command("extend", cls=options.GroupedCommand)(extend.extend)
app.command("restore", cls=options.GroupedCommand)(restore.restore)
app.command("batch", cls=batch.BatchCommand)(batch.batch)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("export")(train.export)
app.add_typer(data.app, name="data")
app.add_typer(features.app, name="features")
app.command("holes")(holes.holes)
app.add_typer(mask.app, name="mask")
app.add_typer(models.app, name="models")
app.command("serve")(serve.serve)
app.command("info")(info.info)
