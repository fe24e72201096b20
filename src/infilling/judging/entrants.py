"""Who enters a leaderboard by learning: one row per config, what its network costs, and its training.

Every row is trained for the same minutes with the recipe that its config writes down. A run that is finished
is not trained again; one that was stopped goes on within the minutes that are left to it.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from infilling.errors import ConfigError, DataError, DependencyError, InfillingError, StorageError
from infilling.learning import checkpoint, run
from infilling.learning import config as configs
from infilling.learning.config import Config
from infilling.learning.device import choose_place
from infilling.learning.dry_run import fit_run
from infilling.learning.learner import Learner
from infilling.learning.system import System
from infilling.learning.train import Progress, train
from infilling.storage import write_atomic

FINISHED = "finished.json"
SIGNALS = ("SIGINT", "SIGTERM")
FATAL = (ConfigError, DataError, DependencyError, StorageError)
"""What ends the whole leaderboard: the other rows would meet it, too, or it is a mistake to be mended."""

PLAIN = (
    "train.log_every=1",  # spikes last a step
    "train.sample_every=1_000_000_000",  # samples and checkpoints take time from quick systems above all
    "train.checkpoint_every=1_000_000_000",
    "train.checkpoint_minutes=5",
    "train.keep_checkpoints=1",
)
"""What every row has in common. It changes nothing that is learned."""


@dataclass(frozen=True)
class Cost:
    """What a network takes.

    Attributes:
        generator: numbers that are learned in it.
        discriminator: the same of its adversary; 0 without one.
        flop: floating-point operations to fill one picture of the leaderboard's size: 2 per multiplication
            and addition of convolutions and matrix products, as FlopCounterMode counts them.
    """

    generator: int
    discriminator: int
    flop: int


@dataclass(frozen=True)
class Entrant:
    """A row that learns.

    Attributes:
        name: how the tables call it.
        config: resolved.
        run: the folder of its run.
        cost: of its network.
    """

    name: str
    config: Config
    run: Path
    cost: Cost


@dataclass(frozen=True)
class Training:
    """How the training of a row ended.

    Attributes:
        steps: taken.
        images_seen: pictures seen in them.
        seconds: of training, without what was spent on samples and checkpoints.
        ended_by: as `Outcome` says it.
        device: where it was trained, in words.
        limits: of the run, by their keys in `[train]`.
        reason: why there is no model; None where there is.
    """

    steps: int
    images_seen: int
    seconds: float
    ended_by: str
    device: str
    limits: dict[str, float]
    reason: str | None = None


Tell = Callable[[str, Progress], None]
"""Called with a row's name and how its training goes."""


def find_entrants(
    asked: Iterable[str | Path],
    overrides: Iterable[str],
    *,
    data: Sequence[str | Path],
    out: Path,
    minutes: float,
    size: int,
    device: str,
    features: str | Path | None,
) -> tuple[Entrant, ...]:
    """Reads every config and makes every network once, so that a mistake in one ends nothing half-way.

    Args:
        asked: config files, `FILE` or `NAME=FILE`; without a name, the file's stem is the row's.
        overrides: `a.b=c` for all rows, `NAME:a.b=c` for one.
        data: pictures to learn from.
        out: the leaderboard's folder.
        minutes: of training for each.
        size: side of the pictures. A system that is made for one size is told it.
        device: as `train.device` takes it.
        features: a feature file, for the losses that read one.

    Raises:
        ConfigError: a config that does not fit, two rows of one name, or an override for no row.
    """
    named = [_name(str(each)) for each in asked]
    names = [name for name, _ in named]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"two rows are called {min(twice)}: write NAME=FILE to tell them apart")
    changes = [_split_override(override, names) for override in overrides]
    common = [
        *PLAIN,
        f"data.paths={json.dumps([str(path) for path in data])}",
        f"data.image_size={size}",
        f"train.max_minutes={float(minutes)}",
        f"train.device={json.dumps(device)}",
        *([f"features.path={json.dumps(str(features))}"] if features else []),
    ]
    found = []
    for name, file in named:
        own = [change for of, change in changes if of in (None, name)]
        sized = "image_size" in type(configs.load(file, [*common, *own]).system).model_fields
        config = configs.load(file, [*common, *([f"system.image_size={size}"] if sized else []), *own])
        found.append(Entrant(name, config, out / "runs" / name, measure(config, size)))
    return tuple(found)


def measure(config: Config, size: int) -> Cost:
    """Counts a system's parameters, and the operations of one fill.

    Raises:
        ConfigError: settings that do not fit together.
    """
    place = choose_place(config.train)
    with torch.random.fork_rng(devices=[place.device] if place.device.type == "cuda" else []):
        learner = Learner(config, place)
    counts = learner.count_parameters()
    flop = count_flop(learner.system.eval(), size, place.device)
    return Cost(counts["generator"], counts.get("discriminator", 0), flop)


def count_flop(system: System, size: int, device: torch.device) -> int:
    """Counts what filling the centre of one picture of `size` px takes."""
    image = torch.full((1, 3, size, size), 0.5, device=device)
    mask = torch.zeros(1, 1, size, size, device=device)
    mask[..., size // 4 : size // 4 + size // 2, size // 4 : size // 4 + size // 2] = 1
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        system.fill(image, mask)
    total: int = counter.get_total_flops()
    return total


def train_entrant(entrant: Entrant, tell: Tell) -> Training:
    """Trains a row, or what is left of it; a row that fails by itself gets a reason.

    A recipe of so many pictures is scaled to its minutes, as `infill train --max-minutes` does it.

    Raises:
        ConfigError: its folder holds a run with another config.
        StorageError, DataError, DependencyError: as `train`.
    """
    folder, minutes = entrant.run, entrant.config.train.max_minutes
    assert minutes is not None
    config = fit_run(entrant.config, folder, minutes)
    _check_same(config, folder)
    limits = _find_limits(config)
    ended = read_training(folder)
    if ended and (ended.limits == limits or _is_enough(ended, limits)):
        return ended
    left = limits["max_minutes"] - _count_minutes(folder, ended)
    settings = config.train.model_copy(update={"max_minutes": max(left, 1e-3)})
    (folder / FINISHED).unlink(missing_ok=True)
    device = describe_device(config)
    try:
        outcome = train(
            config.model_copy(update={"train": settings}),
            folder,
            report=lambda progress: tell(entrant.name, progress),
        )
    except FATAL:
        raise
    except InfillingError as error:
        steps, images, seconds = _read_progress(folder)
        return Training(steps, images, seconds, "failure", device, limits, str(error))
    finally:
        gc.collect()  # a system and its optimisers refer to each other
    _, _, seconds = _read_progress(folder)
    training = Training(outcome.step, outcome.images_seen, seconds, outcome.ended_by, device, limits)
    if outcome.ended_by not in SIGNALS:
        write_atomic(folder / FINISHED, (json.dumps(asdict(training), indent=1) + "\n").encode())
    return training


def read_training(folder: Path) -> Training | None:
    """How a run ended; None where it has not.

    Raises:
        ConfigError: the note of it cannot be read.
    """
    path = folder / FINISHED
    if not path.is_file():
        return None
    try:
        return Training(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot read {path}: remove it to go on training that run") from error


def describe_device(config: Config) -> str:
    """Names what a run is trained on."""
    device = choose_place(config.train).device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def _name(asked: str) -> tuple[str, Path]:
    """Splits `NAME=FILE`."""
    name, equals, file = asked.partition("=")
    path = Path(file if equals else asked)
    name = name if equals else path.stem
    if not name or name in (".", "..") or any(sign in name for sign in "/\\:"):
        raise ConfigError(f"a row cannot be called {name!r}: take a name without / and :")
    return name, path


def _split_override(override: str, names: Sequence[str]) -> tuple[str | None, str]:
    """Splits `NAME:a.b=c`; the name is None where all rows are meant."""
    front = override.partition("=")[0]
    if ":" not in front:
        return None, override
    name = front.partition(":")[0]
    if name not in names:
        raise ConfigError(f"{override!r} is for a row {name!r}; the rows are {', '.join(names) or 'none'}")
    return name, override[len(name) + 1 :]


def _check_same(config: Config, folder: Path) -> None:
    """Refuses to take the run of another config, or on other pictures, for this one."""
    if not (folder / run.CONFIG).is_file():
        return
    saved = configs.load(folder / run.CONFIG)
    checkpoint.check_same_run(saved, config, folder)
    old, new = ([str(Path(path).resolve()) for path in each.data.paths] for each in (saved, config))
    if old != new:
        pictures = ", ".join(saved.data.paths)
        raise ConfigError(f"{folder} learns from {pictures}; choose another folder for other pictures")


def _find_limits(config: Config) -> dict[str, float]:
    wanted: dict[str, Any] = config.train.model_dump(include={"epochs", "images", "steps", "max_minutes"})
    return {name: float(value) for name, value in wanted.items() if value is not None}


def _is_enough(ended: Training, limits: dict[str, float]) -> bool:
    """Says whether a run that its minutes ended had as many as are asked for."""
    return ended.ended_by == "max_minutes" and ended.limits["max_minutes"] >= limits["max_minutes"]


def _count_minutes(folder: Path, ended: Training | None) -> float:
    """The minutes that a run has had: all it was given, or those up to the checkpoint it goes on from."""
    if ended and ended.ended_by == "max_minutes":
        return ended.limits["max_minutes"]
    return _read_progress(folder)[2] / 60


def _read_progress(folder: Path) -> tuple[int, int, float]:
    """Step, pictures seen and seconds trained, at the newest checkpoint."""
    latest = checkpoint.find_latest(folder)
    if latest is None:
        return 0, 0, 0.0
    step = int(latest.name.removeprefix("step-"))
    rows = [row for row in run.read_stats(folder) if row["step"] <= step]
    return (step, int(rows[-1]["images_seen"]), rows[-1]["seconds"]) if rows else (step, 0, 0.0)
