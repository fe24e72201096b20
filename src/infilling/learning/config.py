"""The configuration of a run: one frozen tree, read from TOML, changed by `a.b=c`, written back as resolved.

The defaults stand here and in each system's `Settings`, and nowhere else.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, cast

import pydantic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic_core import ErrorDetails

from infilling.errors import ConfigError, did_you_mean
from infilling.learning import systems
from infilling.learning.system import SystemSettings

Model = TypeVar("Model", bound=pydantic.BaseModel)


class _Table(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class DataSettings(_Table):
    """What pictures are learned from."""

    paths: tuple[str, ...] = ()
    """Folders, tar shards or IDX files, or URLs of shards; `--data` takes their place."""
    image_size: PositiveInt = 128
    """Side of the square pictures that a batch holds, pixels."""
    prepared_size: PositiveInt | None = None
    """Side at which pictures are kept ready, when it is more than `image_size`: room for random crops."""
    crop: Literal["center", "random"] = "center"
    """Where the square is cut from a prepared picture that is larger."""
    flip: bool = False
    """Mirror every other picture left to right, at random."""
    zoom: float = Field(default=1.0, ge=1.0)
    """Enlarge a random part of each picture by a factor from 1 to this."""
    half_size_images: NonNegativeInt = 0
    """Learn from the first so many pictures at half the side: structure, for a quarter of the cost."""
    validation_share: float = Field(default=0.02, ge=0.0, lt=1.0)
    """Share of the pictures held out of training, from which the samples are taken."""
    cache: str | None = None
    """Folder of the prepared pictures; None: the user's cache folder."""
    stream: bool = False
    """Read tar shards anew in every epoch and prepare nothing; those behind URLs always are."""
    lanes: PositiveInt = 8
    """Shards open at a time, in all processes together: a streamed batch takes equally many of each."""
    workers: PositiveInt | None = None
    """Threads of each process that decode pictures; None: one per CPU."""
    trained_on: str = ""
    """What the pictures are, written into the exported model."""
    licence: str = ""
    """The terms they are under, written into the exported model."""

    @property
    def streamed(self) -> bool:
        """Whether pictures come out of shards while they are learned from."""
        return self.stream or any("://" in path for path in self.paths)


class HoleSettings(_Table):
    """What holes are made in them."""

    kind: str = "block"
    """A hole maker's name, a mix such as "0.4 block + 0.6 freeform", or a folder of masks."""
    min_area: float | None = Field(default=None, ge=0.0, le=1.0)
    """Smallest share of the picture that a hole may take."""
    max_area: float | None = Field(default=None, ge=0.0, le=1.0)
    """Largest share of the picture that a hole may take."""
    pool: NonNegativeInt = 0
    """Draw holes, turned over at random, from so many made once; 0: make new ones for every batch."""


class OptimizerSettings(_Table):
    """How one network is moved."""

    kind: Literal["adam", "adamw"] = "adam"
    lr: PositiveFloat = 2e-4
    beta1: float = Field(default=0.5, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_images: NonNegativeInt = 0
    """The rate rises in a straight line over so many pictures."""
    decay_images: PositiveInt | None = None
    """Pictures after which a cosine has reached its end; it stays there."""
    final_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of its highest rate that is left at the end of a cosine."""
    restart_images: PositiveInt | None = None
    """Pictures after which the cosine has come to its end once, and begins anew, for a second stage."""
    restart_share: float = Field(default=1.0, gt=0.0, le=1.0)
    """Share of `lr` at which it begins anew."""

    @pydantic.model_validator(mode="after")
    def _cosine_has_an_end(self) -> Self:
        if self.schedule == "cosine" and (self.decay_images or 0) <= self.warmup_images:
            raise ValueError("a cosine schedule needs decay_images, more than warmup_images")
        if self.restart_images and not self.warmup_images < self.restart_images < (self.decay_images or 0):
            raise ValueError("restart_images must lie between warmup_images and decay_images")
        return self


class TrainSettings(_Table):
    """How long, how fast and how carefully the networks learn. The first limit reached ends the run."""

    seed: NonNegativeInt = 999
    batch: PositiveInt = 256
    """Pictures in a step, of all processes together."""
    accumulate: PositiveInt = 1
    """Learn from a batch in so many parts, one at a time in memory."""
    epochs: PositiveFloat | None = None
    images: PositiveInt | None = None
    steps: PositiveInt | None = None
    max_minutes: PositiveFloat | None = None
    """Minutes of this start of the command; resumed, it counts anew."""
    generator: OptimizerSettings = OptimizerSettings()
    discriminator: OptimizerSettings = OptimizerSettings()
    grad_clip: PositiveFloat | None = None
    """Largest norm of one network's gradient; above it the gradient is scaled down."""
    ema_half_life_images: NonNegativeFloat = 10_000.0
    """Pictures after which a weight's share in its moving average has halved; 0: no average."""
    ema_ramp: PositiveFloat = 0.05
    """The half-life is at most this share of the pictures seen, so that the average forgets the start."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    channels_last: Literal["auto"] | bool = "auto"
    compile: bool = False
    graphs: bool = False
    """Replay steps as CUDA graphs, on one GPU: a step's kernels are then started by one call."""
    log_every: PositiveInt = 50
    """Steps between rows of `stats.jsonl`."""
    sample_every: PositiveInt = 50
    """Steps between grids of the fixed held-out pictures."""
    samples: PositiveInt = 16
    """Held-out pictures in that grid."""
    checkpoint_every: PositiveInt = 500
    """Steps between checkpoints."""
    checkpoint_minutes: PositiveFloat = 10.0
    """Minutes between checkpoints where steps are slow: the earlier of the two counts."""
    keep_checkpoints: PositiveInt = 2

    @pydantic.model_validator(mode="after")
    def _it_ends(self) -> Self:
        if self.epochs is self.images is self.steps is self.max_minutes is None:
            raise ValueError("nothing ends this run: set epochs, images, steps or max_minutes")
        return self


class StartSettings(_Table):
    """What the run starts from, when not from fresh weights."""

    weights: str | None = None
    """What to learn on from: a run, a checkpoint or an ONNX file of the same system; a released model."""


class FeatureSettings(_Table):
    """The feature network that perceptual losses read."""

    path: str | None = None


class Config(_Table):
    """All that decides a run."""

    system: pydantic.SerializeAsAny[SystemSettings]
    data: DataSettings = DataSettings()
    holes: HoleSettings = HoleSettings()
    train: TrainSettings
    start: StartSettings = StartSettings()
    features: FeatureSettings = FeatureSettings()


def load(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Reads a config file and lays `a.b=c` over it.

    Args:
        path: a TOML file.
        overrides: `table.key=value`, the value in TOML's own syntax; what is not TOML is taken as a string.

    Raises:
        ConfigError: the file cannot be read, or a key or value does not fit; one line, with near names for a
            misspelled key.
    """
    return parse(_read_toml(Path(path)), overrides, source=str(path))


def parse(tree: Mapping[str, Any], overrides: Iterable[str] = (), *, source: str = "config") -> Config:
    """Checks a tree of tables, as TOML gives it, with `a.b=c` laid over it.

    >>> tree = {"system": {"name": "reference"}, "train": {"steps": 3}}
    >>> parse(tree, ["train.batch=8"]).train.batch
    8

    Raises:
        ConfigError: a key or value does not fit.
    """
    merged = _copy(tree)
    for override in overrides:
        _lay_over(merged, override)
    try:
        merged["system"] = _read_system(merged.get("system"))
        return _check(Config, merged)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def rescale(config: Config, images: int) -> Config:
    """The recipe for another number of pictures: all counts called `…_images` keep their share of the run.

    Args:
        config: a config that says `train.images`.
        images: pictures of the new run, in all.

    Raises:
        ConfigError: the config does not say for how many pictures it is meant.
    """
    if config.train.images is None:
        raise ConfigError("only a recipe that sets train.images can be scaled; set the limits one by one")
    tree = _scale_counts(to_tree(config), images / config.train.images)
    tree["train"]["images"] = images
    return parse(tree)


def to_tree(config: Config) -> dict[str, Any]:
    """The resolved config as tables of plain values; what is None is left out, as TOML has no such word."""
    tree: dict[str, Any] = config.model_dump(exclude_none=True)
    return tree


def to_toml(config: Config) -> str:
    """The resolved config as a TOML file that `load` reads back to the same."""
    return _write_table(to_tree(config), ())


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text file"
        raise ConfigError(f"cannot read the config {path}: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"cannot read the config {path}: {' '.join(str(error).split())}") from error


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in tree.items()}


def _scale_counts(tree: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """A tree with every `…_images` times a factor; what was not zero stays at least one."""
    return {
        key: _scale_counts(value, factor)
        if isinstance(value, Mapping)
        else max(1, round(value * factor))
        if key.endswith("_images") and value
        else value
        for key, value in tree.items()
    }


def _lay_over(tree: dict[str, Any], override: str) -> None:
    """Sets one `a.b=c` in a tree of tables."""
    dotted, equals, text = override.partition("=")
    *tables, key = (part.strip() for part in dotted.split("."))
    if not (equals and key and all(tables)):
        raise ConfigError(f"cannot use {override!r}: write table.key=value, for example train.batch=64")
    for name in tables:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"cannot use {override!r}: {name} is a value, not a table")
    try:
        tree[key] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        tree[key] = text


def _read_system(table: object) -> SystemSettings:
    """The `[system]` table as the settings of the system that it names."""
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise ConfigError(f"[system] needs a name, one of {', '.join(systems.SYSTEMS)}")
    return _check(systems.find_settings(table["name"]), table, ("system",))


def _check(model: type[Model], table: Mapping[str, Any], place: tuple[str, ...] = ()) -> Model:
    """Validates a table; every fault in one line, a misspelled key with the names that are near."""
    try:
        return model.model_validate(table)
    except pydantic.ValidationError as error:
        faults = [_explain(fault, model, place) for fault in error.errors()]
        raise ConfigError("; ".join(faults)) from error


def _explain(fault: ErrorDetails, model: type[pydantic.BaseModel], place: tuple[str, ...]) -> str:
    """Says in a few words what is wrong at one place of a table."""
    *tables, last = [str(part) for part in fault["loc"]] or [""]
    dotted = ".".join(filter(None, (*place, *tables, last)))
    if fault["type"] == "missing":
        return f"{dotted} is missing"
    if fault["type"] != "extra_forbidden":
        message = fault["msg"].removeprefix("Value error, ")
        return f"{dotted}: {message[0].lower()}{message[1:]}" + (
            f", not {fault['input']!r}" if fault["type"] != "value_error" else ""
        )
    for name in tables:
        model = cast(type[pydantic.BaseModel], model.model_fields[name].annotation)
    return f"unknown key {dotted}{did_you_mean(last, model.model_fields)}"


def _write_table(table: Mapping[str, Any], path: Sequence[str]) -> str:
    """Writes a table's values, then its tables: TOML wants them in this order."""
    values = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    head = f"[{'.'.join(path)}]\n" if path and values else ""
    text = head + "".join(f"{key} = {_write_value(value)}\n" for key, value in values.items())
    inner = [_write_table(table[key], (*path, key)) for key in table if key not in values]
    return "\n".join(part for part in [text, *inner] if part)


def _write_value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_write_value, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    text = json.dumps(value, ensure_ascii=False)  # TOML's strings, integers and booleans are JSON's,
    return text.replace("\x7f", "\\u007f")  # but for this one character
