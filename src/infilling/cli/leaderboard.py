"""`infill leaderboard`: every system trained for the same minutes, every engine judged on the same holes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infilling.cli import console
from infilling.cli.options import (
    Features,
    Fid,
    Jobs,
    Lpips,
    Seed,
    Side,
    Threads,
    Verbose,
    count_option,
    engines_option,
    hole_names,
    out_option,
)

if TYPE_CHECKING:
    from infilling.judging.leaderboard import Listener

EVERY_S = 30.0  # seconds between lines where there is no terminal


def leaderboard(
    configs: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]CONFIG…", help="One row each: a TOML file or a built-in name, such as reference."
        ),
    ],
    data: Annotated[list[Path], typer.Option(metavar="DIR|TAR", help="Pictures to learn from. Repeatable.")],
    judge: Annotated[
        list[Path], typer.Option(metavar="DIR|TAR", help="Other pictures, to judge on. Repeatable.")
    ],
    minutes: Annotated[float, typer.Option(metavar="N", help="Minutes of training for each system.")],
    out: Annotated[
        Path, out_option(metavar="DIR", help="Folder for runs, scores and pages; what is there is used.")
    ],
    engine: Annotated[
        list[str] | None,
        engines_option(help="Another engine to judge. Repeatable.", show_default="all that need no training"),
    ] = None,
    holes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOLES",
            autocompletion=hole_names,
            help="Kind of holes, a table each. Repeatable.",
            show_default="center, block, freeform",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="[NAME:]A.B=C", help="Change a key of all configs, or of one row's. Repeatable."
        ),
    ] = None,
    features: Features = None,
    lpips: Lpips = None,
    fid: Fid = None,
    count: Annotated[int | None, count_option(min=1, help="Number of pictures to judge on.")] = 300,
    scenes: Annotated[
        str | None,
        typer.Option(
            metavar="ROW",
            help="The row whose figures rank the classes of pictures.",
            show_default="the best that was trained",
        ),
    ] = None,
    scene_count: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Number of pictures that rank the classes.", show_default="all"
        ),
    ] = None,
    seed: Seed = 7,
    size: Side = 128,
    jobs: Annotated[int, Jobs(help="Processes that share the judging.")] = 1,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda:N", help="Where systems are trained.")
    ] = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
) -> None:
    """Train systems for the same minutes, and judge them and all engines on the same holes.

    Writes leaderboard.html and leaderboard.md and prints their paths. Runs and scores that are there are not
    made again; Ctrl-C and SIGTERM save, and the same command continues.
    """
    from infilling.filling.contract import require_torch

    require_torch("learning")
    from infilling.judging import leaderboard as boards
    from infilling.judging.evaluate import find_networks, list_paths
    from infilling.judging.settings import EvaluationSettings
    from infilling.judging.training_runs import TrainingSettings

    console.limit_torch(threads)
    networks = find_networks(features, lpips, fid)
    judging = EvaluationSettings(
        data=list_paths(judge),
        seed=seed,
        count=count,
        size=size,
        networks=networks,
        threads=threads,
        jobs=jobs,
        device="cpu" if device == "cpu" else "auto",
    )
    training = TrainingSettings(
        data=list_paths(data),
        minutes=minutes,
        device=device,
        overrides=tuple(set_ or ()),
        features=boards.choose_teacher(networks),
    )
    with _listen() as listener:
        boards.make_leaderboard(
            configs,
            training,
            judging,
            out,
            engines=engine,
            holes=holes or boards.HOLES,
            scenes=scenes,
            scene_count=scene_count,
            listener=listener,
        )
    console.put("\n".join(str(out / name) for name in boards.FILES))


@contextmanager
def _listen() -> "Iterator[Listener]":
    """Show a bar at a terminal, and elsewhere a line every `EVERY_S` seconds at most."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    from infilling.judging.leaderboard import Listener

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with console.show_bar(*columns, transient=False) as bar:
        if bar is None:
            yield Listener(_say_now_and_then(), console.say)
            return
        task = bar.add_task("", total=1.0)

        def show(text: str, share: float) -> None:
            bar.update(task, description=text, completed=share)

        yield Listener(show, lambda text: bar.console.print(text, markup=False, highlight=False))


def _say_now_and_then() -> Callable[[str, float], None]:
    last_s = 0.0

    def say(text: str, share: float) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= EVERY_S:
            last_s = time.monotonic()
            console.say(f"{text}, {share:.0%}")

    return say
