"""Rows of a leaderboard that are trained: one run per config, the cost of its network, its training.

Every row is trained for the same minutes with the recipe of its config. A finished run is not trained again;
a stopped one continues within the minutes that it has left.
"""

import gc
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from infilling.errors import (
    ConfigError,
    DataError,
    DependencyError,
    InfillingError,
    StorageError,
    count_things,
)
from infilling.learning import checkpoint, run_folder
from infilling.learning import config as configs
from infilling.learning.device import choose_place
from infilling.learning.dry_run import fit_run
from infilling.learning.learner import Learner
from infilling.learning.progress import Report, ignore_progress
from infilling.learning.settings import Config
from infilling.learning.system import System
from infilling.learning.train import train
from infilling.storage import parse_json, write_atomic

FINISHED = "finished.json"
# Errors that end the whole leaderboard: other rows would meet them, too, or they are mistakes to be mended.
FATAL = (ConfigError, DataError, DependencyError, StorageError)

# What every row has in common; it changes nothing that is learned.
COMMON = (
    "train.log_every=1",  # a spike lasts one step
    "train.sample_every=1_000_000_000",  # samples and checkpoints cost quick systems the largest share
    "train.checkpoint_every=1_000_000_000",
    "train.checkpoint_minutes=5",
    "train.keep_checkpoints=1",
)


@dataclass(frozen=True)
class TrainingSettings:
    """What systems learn from, and for how long.

    Attributes:
        data: folders, tar shards or IDX files.
        minutes: minutes of training of each system.
        device: device as `train.device` takes it.
        overrides: `a.b=c` for all rows, `NAME:a.b=c` for one.
        features: a feature file for the losses that read one; None without.
    """

    data: tuple[str, ...]
    minutes: float
    device: str = "auto"
    overrides: tuple[str, ...] = ()
    features: str | None = None


@dataclass(frozen=True)
class Cost:
    """The cost of a network.

    Attributes:
        generator: number of learned parameters.
        discriminator: the same of its adversary; 0 without one.
        flop: floating-point operations to fill one picture of the leaderboard's size: 2 per multiplication
            and addition of convolutions and matrix products, as FlopCounterMode counts them.
    """

    generator: int
    discriminator: int
    flop: int


@dataclass(frozen=True)
class TrainingRun:
    """A row that is trained.

    Attributes:
        name: name of the row.
        config: its config, resolved.
        folder: folder of its run.
        cost: cost of its network.
    """

    name: str
    config: Config
    folder: Path
    cost: Cost


@dataclass(frozen=True)
class TrainingResult:
    """How the training of a row ended.

    Attributes:
        steps: number of steps taken.
        images_seen: number of pictures seen in them.
        seconds: seconds of training, without samples and checkpoints.
        ended_by: what ended it, as in `Outcome`.
        device: device that it was trained on, in words.
        limits: limits of the run, by their keys in `[train]`.
        reason: why there is no model; None where there is.
    """

    steps: int
    images_seen: int
    seconds: float
    ended_by: str
    device: str
    limits: dict[str, float]
    reason: str | None = None


def find_runs(
    files: Iterable[str | Path], settings: TrainingSettings, *, out: Path, size: int
) -> tuple[TrainingRun, ...]:
    """Read every config and make every network once, so that a mistake in one ends nothing half-way.

    Args:
        files: config files, `FILE` or `NAME=FILE`; without a name, the file's stem is the row's.
        settings: what they learn from, and for how long.
        out: the leaderboard's folder.
        size: side of the pictures in pixels. A system that is made for one size gets it as its own.

    Raises:
        ConfigError: a config that does not fit, or an override for no row.
    """
    named = [_split_name(str(file)) for file in files]
    names = [name for name, _ in named]
    changes = [_split_override(override, names) for override in settings.overrides]
    common = _list_common(settings, size)
    found = []
    for name, file in named:
        own = [change for row, change in changes if row in (None, name)]
        config = configs.read_config(file, [*common, *own])
        if "image_size" in type(config.system).model_fields:
            config = configs.read_config(file, [*common, f"system.image_size={size}", *own])
        found.append(TrainingRun(name, config, out / "runs" / name, measure_cost(config, size)))
    return tuple(found)


def _list_common(settings: TrainingSettings, size: int) -> list[str]:
    """Return the overrides that all rows get."""
    features = [f"features.path={json.dumps(settings.features)}"] if settings.features else []
    return [
        *COMMON,
        f"data.paths={json.dumps(settings.data)}",
        f"data.image_size={size}",
        f"train.max_minutes={float(settings.minutes)}",
        f"train.device={json.dumps(settings.device)}",
        *features,
    ]


def measure_cost(config: Config, size: int) -> Cost:
    """Count a system's parameters, and the operations of one fill.

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
    """Count the operations of filling the centre of one picture of `size` px."""
    image = torch.full((1, 3, size, size), 0.5, device=device)
    mask = torch.zeros(1, 1, size, size, device=device)
    mask[..., size // 4 : size // 4 + size // 2, size // 4 : size // 4 + size // 2] = 1
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        system.fill(image, mask)
    total: int = counter.get_total_flops()
    return total


def train_run(row: TrainingRun, report: Report = ignore_progress) -> TrainingResult:
    """Train a row, or what is left of it; a row that fails by itself gets a reason.

    A recipe with a number of pictures is scaled to its minutes, as `infill train --max-minutes` does it.

    Raises:
        ConfigError: its folder holds a run with another config.
        StorageError: as `train`.
        DataError: as `train`.
        DependencyError: as `train`.
    """
    folder, minutes = row.folder, row.config.train.max_minutes
    assert minutes is not None
    config = fit_run(row.config, folder, minutes)
    _check_same(config, folder)
    limits = _find_limits(config)
    ended = read_result(folder)
    if ended and (ended.limits == limits or _is_enough(ended, limits)):
        return ended
    left = limits["max_minutes"] - _count_minutes(folder, ended)
    settings = config.train.model_copy(update={"max_minutes": max(left, 1e-3)})
    (folder / FINISHED).unlink(missing_ok=True)
    device = describe_device(config)
    try:
        outcome = train(config.model_copy(update={"train": settings}), folder, report=report)
    except FATAL:
        raise
    except InfillingError as error:
        return TrainingResult(*_read_progress(folder), "failure", device, limits, str(error))
    finally:
        gc.collect()  # a system and its optimisers refer to each other
    _, _, seconds = _read_progress(folder)
    result = TrainingResult(outcome.step, outcome.images_seen, seconds, outcome.ended_by, device, limits)
    if outcome.model:
        write_atomic(folder / FINISHED, (json.dumps(asdict(result), indent=1) + "\n").encode())
    return result


def list_devices(results: Mapping[str, TrainingResult]) -> list[str]:
    """Return the devices that rows were trained on, each once."""
    return sorted({result.device for result in results.values()})


def read_result(folder: Path) -> TrainingResult | None:
    """Return how a run ended; None where it has not.

    Raises:
        ConfigError: the record of it cannot be read.
    """
    path = folder / FINISHED
    if not os.path.isfile(path):
        return None
    try:
        return TrainingResult(**parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot read {path}: remove it to continue training that run") from error


def describe_device(config: Config) -> str:
    """Return the name of the device that a run is trained on."""
    device = choose_place(config.train).device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {count_things(torch.get_num_threads(), 'thread')}"


def _split_name(asked: str) -> tuple[str, Path]:
    """Split `NAME=FILE`."""
    name, equals, file = asked.partition("=")
    if not equals:
        name, file = Path(asked).stem, asked
    if name in ("", ".", "..") or set(name) & set("/\\:"):
        raise ConfigError(f"a row cannot be called {name!r}: take a name without / and :")
    return name, Path(file)


def _split_override(override: str, names: Sequence[str]) -> tuple[str | None, str]:
    """Split `NAME:a.b=c`; the name is None where all rows are meant."""
    name, colon, _ = override.partition("=")[0].partition(":")
    if not colon:
        return None, override
    if name not in names:
        raise ConfigError(f"{override!r} is for a row {name!r}; the rows are {', '.join(names) or 'none'}")
    return name, override[len(name) + 1 :]


def _check_same(config: Config, folder: Path) -> None:
    """Refuse the run of another config, or on other pictures."""
    if not os.path.isfile(folder / run_folder.CONFIG):
        return
    saved = configs.read_config(folder / run_folder.CONFIG)
    checkpoint.check_same_run(saved, config, folder)
    if _resolve_data(saved) != _resolve_data(config):
        pictures = ", ".join(saved.data.paths)
        raise ConfigError(f"{folder} learns from {pictures}; choose another folder for other pictures")


def _resolve_data(config: Config) -> list[Path]:
    return [Path(path).resolve() for path in config.data.paths]


def _find_limits(config: Config) -> dict[str, float]:
    wanted: dict[str, Any] = config.train.model_dump(include={"epochs", "images", "steps", "max_minutes"})
    return {name: float(value) for name, value in wanted.items() if value is not None}


def _is_enough(ended: TrainingResult, limits: dict[str, float]) -> bool:
    """Say whether a run that its minutes ended had as many as are asked for."""
    return ended.ended_by == "max_minutes" and ended.limits["max_minutes"] >= limits["max_minutes"]


def _count_minutes(folder: Path, ended: TrainingResult | None) -> float:
    """Return the minutes that a run has had: all it was given, or those up to its newest checkpoint."""
    if ended and ended.ended_by == "max_minutes":
        return ended.limits["max_minutes"]
    return _read_progress(folder)[2] / 60


def _read_progress(folder: Path) -> tuple[int, int, float]:
    """Return step, pictures seen and seconds trained at the newest checkpoint."""
    latest = checkpoint.find_latest_checkpoint(folder)
    if latest is None:
        return 0, 0, 0.0
    step = int(latest.name.removeprefix("step-"))
    rows = [row for row in run_folder.read_stats(folder) if row["step"] <= step]
    return (step, int(rows[-1]["images_seen"]), rows[-1]["seconds"]) if rows else (step, 0, 0.0)
