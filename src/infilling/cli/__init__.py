"""The command line, `infill`: parse, call one function of the package, print. Heavy imports stay inside."""

import atexit
import gc
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_group

from infilling.cli import console
from infilling.cli.options import GroupedCommand

COMMANDS = {  # each with its module in this package, and the name in there
    "fill": "fill.fill",
    "extend": "extend.extend",
    "restore": "restore.restore",
    "batch": "batch.batch",
    "train": "train.train",
    "evaluate": "evaluate.evaluate",
    "leaderboard": "leaderboard.leaderboard",
    "export": "train.export",
    "holes": "holes.holes",
    "serve": "serve.serve",
    "info": "info.info",
    "data": "data.app",
    "features": "features.app",
    "mask": "mask.app",
    "models": "models.app",
}
GARBAGE_AFTER = 10_000  # objects after which garbage is looked for; modules make 60,000 that stay
LARGE_PRODUCTS = ("train", "evaluate", "leaderboard")  # commands that multiply large matrices with NumPy


class _Commands(Mapping[str, Any]):
    """The commands of `infill` by name, each loaded when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in LARGE_PRODUCTS:
            # Before numpy is loaded: threads of OpenBLAS that wait for small products keep a core busy.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            # For workers: each of their threads would have a heap of its own, which glibc keeps.
            os.environ.setdefault("MALLOC_ARENA_MAX", "1")
        place, _, inner = COMMANDS[name].partition(".")
        module = import_module(f"infilling.cli.{place}")
        command = getattr(module, inner)
        holder = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
        if isinstance(command, typer.Typer):
            holder.add_typer(command, name=name)
        else:
            holder.command(name, cls=getattr(module, "COMMAND_CLASS", GroupedCommand))(command)
        return get_group(holder).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Group(TyperGroup):
    """`infill` itself. A command that runs loads no other: all together take longer than a small fill."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()  # type: ignore[assignment]


app = typer.Typer(
    cls=_Group,
    name="infill",
    help="Fill the missing region of pictures; train and judge the models that do it.",
    epilog="A fill is invented content: it shows what could have been there, not what was.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> NoReturn:
    """Run `infill` as a process, and end it without taking Python apart, which takes 0.1 s.

    All that Python does by itself at the end for the sake of others is done: threads are waited for, what is
    registered with `atexit` is called, and output is flushed.
    """
    gc.set_threshold(GARBAGE_AFTER)
    try:
        main()
    except SystemExit as leaving:
        if not isinstance(leaving.code, int):
            raise
        patience = sys.modules.get("infilling.filling.patience")
        if patience is not None:
            patience.stop_for_good()  # `main` may be called again in one process; `run` is its end
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it was closed
            stream.flush()
        os._exit(leaving.code)


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
