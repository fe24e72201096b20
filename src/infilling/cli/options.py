"""The options that several commands share, each written once so that it means the same everywhere."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from infilling.cli import console
from infilling.errors import InputError
from infilling.filling.options import FillOptions, Option, list_options
from infilling.machine import MOST_THREADS, limit_threads

HEADINGS = {"mask": "Mask", "result": "Result", "engine": "Engine"}

mask_option = partial(typer.Option, rich_help_panel=HEADINGS["mask"])
result_option = partial(typer.Option, rich_help_panel=HEADINGS["result"])
engine_option = partial(typer.Option, rich_help_panel=HEADINGS["engine"])


def complete_from(place: str) -> Callable[[str], list[str]]:
    """Return what completes the names of a table in the shell.

    Args:
        place: `module:name` of the table, or of a function that returns it; loaded when it is asked for.
    """

    def complete(incomplete: str) -> list[str]:
        module, _, name = place.partition(":")
        table = getattr(import_module(f"infilling.{module}"), name)
        return [each for each in (table() if callable(table) else table) if each.startswith(incomplete)]

    return complete


engine_names = complete_from("filling.engine:list_engines")
adapter_names = complete_from("filling.families:FAMILIES")
hole_names = complete_from("pictures.holes:HOLES")
model_names = complete_from("filling.models:MODELS")

out_option = partial(typer.Option, "--out", "-o")
result_out_option = partial(result_option, "--out", "-o", help="Where the result goes.")
count_option = partial(typer.Option, "--count", "-n", metavar="N")
Verbose = Annotated[
    bool, typer.Option("--verbose", callback=console.ask_for_trace, help="Show the trace of an error.")
]
Device = Annotated[str, engine_option(metavar="auto|cpu|cuda:N", help="Where a network runs.")]
Threads = Annotated[
    int | None,
    engine_option(
        min=1,
        max=MOST_THREADS,
        metavar="N",
        callback=limit_threads,
        help="CPU threads at most.",
        show_default="all cores",
    ),
]
Jobs = partial(typer.Option, "--jobs", "-j", min=1, metavar="N")
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Where the randomness starts.")]
HOLES_HELP = "A hole maker, a mix like '0.4 block + 0.6 freeform', or a folder of masks."
Holes = Annotated[str, typer.Option(metavar="HOLES", autocompletion=hole_names, help=HOLES_HELP)]
Engine = Annotated[
    str,
    engine_option(
        "--engine",
        "-e",
        metavar="NAME|FILE",
        autocompletion=engine_names,
        help="An engine of `infill info`, an .onnx file, or a run folder.",
    ),
]
Adapter = Annotated[
    str | None,
    engine_option(
        metavar="NAME",
        autocompletion=adapter_names,
        help="Family of a network that others published, for an .onnx file.",
        show_default="recognised",
    ),
]
engines_option = partial(typer.Option, "--engine", "-e", metavar="NAME|FILE|RUN", autocompletion=engine_names)
Features = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="A feature file: SqueezeNet for lpips_like and fid_like, EfficientNet-Lite for lpips_lite. "
        "Repeatable.",
    ),
]
Lpips = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="The weights of LPIPS.")]
Fid = Annotated[Path | None, typer.Option(metavar="FILE", help="The weights of FID's Inception-v3.")]
Side = Annotated[
    int,
    typer.Option(
        "--size", min=16, max=16_384, metavar="N", help="Side in pixels that pictures are brought to."
    ),
]


@dataclass(frozen=True)
class EngineChoice:
    """The options by which every command that fills chooses and opens its engine."""

    engine: Engine = "default"
    adapter: Adapter = None
    device: Device = "auto"
    threads: Threads = None

    def as_arguments(self) -> dict[str, Any]:
        """Return the options by the names that `fill`, `fills`, `batch` and `extend` give them."""
        return asdict(self)


ENGINE_PARAMETERS = tuple(inspect.signature(EngineChoice).parameters.values())
VERBOSE_PARAMETER = inspect.Parameter(  # it acts by its callback alone
    "verbose", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Verbose
)


class GroupedCommand(TyperCommand):
    """A command whose help shows its options under headings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, each under the heading of its group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            usual = "Options" if param.param_type_name == "option" else "Arguments"
            heading = getattr(param, "rich_help_panel", None) or usual
            groups.setdefault(heading, []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def take_fill_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of `FillOptions`; it takes them as one argument, `options`."""
    return take_options(command, list_options(), FillOptions)


def take_options(
    command: Callable[..., None], listed: Sequence[Option], gather: Callable[..., Any] = dict
) -> Callable[..., None]:
    """Give a command options; it takes them as one argument, `options`, and an engine's as `choice`.

    Args:
        command: what runs. It gets `--verbose`, too, and the options of `EngineChoice` if it takes `choice`.
        listed: the options. One whose default is `...` becomes an argument, before all others.
        gather: makes `options` of the values, which are given to it by name.
    """
    given = inspect.signature(command).parameters
    engine = ENGINE_PARAMETERS if "choice" in given else ()

    @functools.wraps(command)
    def run(verbose: bool, **values: Any) -> None:
        chosen = {each.name: _read_value(each, values.pop(each.name)) for each in listed}
        if engine:
            values["choice"] = EngineChoice(**{each.name: values.pop(each.name) for each in engine})
        command(**values, options=gather(**chosen))

    own = [each for name, each in given.items() if name not in ("options", "choice")]
    made = [_make_parameter(each) for each in listed]
    arguments = [each for each in made if each.default is inspect.Parameter.empty]
    added = [each for each in made if each.default is not inspect.Parameter.empty]
    ordered = [*arguments, *own, *engine, VERBOSE_PARAMETER, *added]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in ordered]
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
    kind: Any = option.kind
    if option.element:
        kind = list[str]
    elif option.word:
        kind = str
    numbers: dict[str, Any] = {}
    if kind in (int, float):
        numbers = {"min": option.low, "max": option.high}
    about = typer.Option(
        f"{flag}/--no-{flag[2:]}" if option.default is True else flag,
        metavar=option.metavar or None,
        help=option.help,
        show_default=option.unset or option.default not in (False, ()),
        rich_help_panel=HEADINGS[option.group],
        **numbers,
    )
    return Annotated[kind | None if option.default in (None, ()) else kind, about]


def _read_value(option: Option, value: Any) -> Any:
    """Return the value of an option; texts that cannot be read are an error of usage."""
    try:
        if option.element:
            return tuple(option.parse(text) for text in value or ())
        return option.parse(value) if option.word else value
    except InputError as error:
        raise typer.BadParameter(str(error), param_hint=f"--{option.key}") from None
