"""The options that several commands share, each written once so that it means the same everywhere."""

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from infilling.cli import console
from infilling.errors import InputError
from infilling.filling.options import FillOptions, Option, list_options
from infilling.machine import limit_threads

HEADINGS = {"mask": "Mask", "result": "Result", "engine": "Engine"}


def engine_names(incomplete: str) -> list[str]:
    """Complete the name of an engine in the shell."""
    from infilling.filling.engine import list_engines

    return [name for name in list_engines() if name.startswith(incomplete)]


def adapter_names(incomplete: str) -> list[str]:
    """Complete the name of a family of networks in the shell."""
    from infilling.filling.families import FAMILIES

    return [name for name in FAMILIES if name.startswith(incomplete)]


def hole_names(incomplete: str) -> list[str]:
    """Complete the name of a hole maker in the shell."""
    from infilling.pictures.holes import HOLES

    return [name for name in HOLES if name.startswith(incomplete)]


Verbose = Annotated[
    bool, typer.Option("--verbose", callback=console.ask_for_trace, help="Show the trace of an error.")
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda:N",
        help="Where a network runs.",
        rich_help_panel=HEADINGS["engine"],
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        callback=limit_threads,
        help="CPU threads at most.",
        rich_help_panel=HEADINGS["engine"],
        show_default="all cores",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Where the randomness starts.")]
Holes = Annotated[
    str,
    typer.Option(
        "--holes",
        metavar="HOLES",
        autocompletion=hole_names,
        help="A hole maker, a mix like '0.4 block + 0.6 freeform', or a folder of masks.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        "-e",
        metavar="NAME|FILE",
        autocompletion=engine_names,
        help="An engine of `infill info`, an .onnx file, or a run folder.",
        rich_help_panel=HEADINGS["engine"],
    ),
]
Adapter = Annotated[
    str | None,
    typer.Option(
        "--adapter",
        metavar="NAME",
        autocompletion=adapter_names,
        help="Family of a network that others published, for an .onnx file.",
        show_default="recognised",
        rich_help_panel=HEADINGS["engine"],
    ),
]
Engines = Annotated[
    list[str],
    typer.Option(
        "--engine",
        "-e",
        metavar="NAME|FILE|RUN",
        autocompletion=engine_names,
        help="What is judged: an engine, an .onnx file, or a RUN folder. Repeat it to compare.",
    ),
]
Features = Annotated[
    list[Path] | None,
    typer.Option(
        "--features",
        metavar="FILE",
        help="A feature file: SqueezeNet for lpips_like and fid_like, EfficientNet-Lite for lpips_lite. "
        "Repeatable.",
    ),
]
Lpips = Annotated[list[Path] | None, typer.Option("--lpips", metavar="FILE", help="The weights of LPIPS.")]
Fid = Annotated[Path | None, typer.Option("--fid", metavar="FILE", help="The weights of FID's Inception-v3.")]
Side = Annotated[
    int, typer.Option("--size", min=16, metavar="N", help="Side in pixels that pictures are brought to.")
]


class GroupedCommand(TyperCommand):
    """A command whose help shows its options under headings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, each under the heading of its group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                usual = "Options" if param.param_type_name == "option" else "Arguments"
                groups.setdefault(getattr(param, "rich_help_panel", None) or usual, []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def take_fill_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of `FillOptions`; it takes them as one argument, `options`."""
    return take_options(command, list_options(), FillOptions)


def take_options(
    command: Callable[..., None], listed: Sequence[Option], gather: Callable[..., Any] = dict
) -> Callable[..., None]:
    """Give a command options; it takes them as one argument, `options`.

    Args:
        command: what runs.
        listed: the options. One whose default is `...` becomes an argument, before all others.
        gather: makes `options` of the values, which are given to it by name.
    """

    @functools.wraps(command)
    def run(**values: Any) -> None:
        chosen = {each.name: _read_value(each, values.pop(each.name)) for each in listed}
        command(**values, options=gather(**chosen))

    given = inspect.signature(command).parameters.values()
    kept = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in given if each.name != "options"]
    arguments = [_make_parameter(each) for each in listed if each.default is ...]
    added = [_make_parameter(each) for each in listed if each.default is not ...]
    parameters = [*arguments, *kept, *added]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _make_parameter(option: Option) -> inspect.Parameter:
    """Return an option as a parameter of a command."""
    default = None if option.element else option.default
    if option.word:
        default = str(default)
    if default is ...:
        default = inspect.Parameter.empty
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(option.name, kind, default=default, annotation=_annotate(option))


def _annotate(option: Option) -> Any:
    """Return the annotation from which typer makes an option, or an argument."""
    if option.default is ...:
        return Annotated[option.kind, typer.Argument(metavar=option.metavar, help=option.help)]
    flag = f"--{option.key.replace('_', '-')}"
    flags = f"{flag}/--no-{flag[2:]}" if option.default is True else flag
    kind: Any = list[str] if option.element else str if option.word else option.kind
    numbers: dict[str, Any] = {} if kind not in (int, float) else {"min": option.low, "max": option.high}
    about = typer.Option(
        flags,
        metavar=option.metavar or None,
        help=option.help,
        show_default=option.unset or option.default not in (False, ()),
        rich_help_panel=HEADINGS[option.group],
        **numbers,
    )
    return Annotated[kind | None if option.default in (None, ()) else kind, about]


def _read_value(option: Option, value: Any) -> Any:
    """Return the value of an option; texts that cannot be read are an error of usage."""
    if not option.element and not option.word:
        return value
    try:
        if option.word:
            return option.parse(value)
        return tuple(option.parse(text) for text in value or ())
    except InputError as error:
        raise typer.BadParameter(str(error), param_hint=f"--{option.key}") from None
