"""The configuration of a run: read from TOML, changed by `a.b=c`, written back as resolved."""

import copy
import os
import re
import reprlib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import pydantic
from pydantic_core import ErrorDetails

from infilling.errors import ConfigError, describe_error, did_you_mean
from infilling.learning import systems
from infilling.learning.settings import Config
from infilling.learning.system import SystemSettings
from infilling.storage import read_file

Model = TypeVar("Model", bound=pydantic.BaseModel)

FOLDER = Path(__file__).parent / "configs"  # the configs that are part of the package
MOST_CHARACTERS = 100_000  # of a config
MOST_DEPTH = 16  # levels of tables and lists in one another
LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{MOST_DEPTH}}}""")


def list_configs() -> list[str]:
    """List the names of the package's own configs."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_config(name: str | Path) -> Path:
    """Return the file of a config: a path, or the name of one of the package's own.

    Raises:
        ConfigError: there is none.
    """
    path = Path(name)
    if os.path.isfile(path):
        return path
    known = list_configs()
    if str(path) in known:
        return FOLDER / f"{path}.toml"
    if path.suffix or os.path.exists(path) or len(path.parts) > 1:
        return path  # reading it says why it cannot be read
    raise ConfigError(f"no config is called {str(name)!r}{did_you_mean(str(name), known)}")


def read_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a config, and set `a.b=c` in it.

    Args:
        path: a TOML file, or the name of one of the package's configs.
        overrides: `table.key=value`, the value in TOML's own syntax; what is not TOML is taken as a string.

    Raises:
        ConfigError: the file cannot be read, or a key or value does not fit; one line, with near names for a
            misspelled key.
    """
    return parse_config(_read_toml(find_config(path)), overrides, source=str(path))


def parse_config(tree: Mapping[str, Any], overrides: Iterable[str] = (), *, source: str = "config") -> Config:
    """Check a tree of tables, as TOML gives it, with `a.b=c` set in it.

    >>> tree = {"system": {"name": "reference"}, "train": {"steps": 3}}
    >>> parse_config(tree, ["train.batch=8"]).train.batch
    8

    Raises:
        ConfigError: a key or value does not fit.
    """
    try:
        if not isinstance(tree, Mapping):
            raise ConfigError(f"needs tables, not {reprlib.repr(tree)}")
        _check_depth(tree)
        merged = copy.deepcopy(dict(tree))
        for override in overrides:
            _set_value(merged, override)
        merged["system"] = _read_system(merged.get("system"))
        return _validate_table(Config, merged)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def rescale_config(config: Config, images: int) -> Config:
    """Scale a recipe to N pictures: all counts called `…_images` keep their share of `train.images`.

    Raises:
        ConfigError: the config does not say for how many pictures it is meant.
    """
    if config.train.images is None:
        raise ConfigError("only a recipe that sets train.images can be scaled; set the limits one by one")
    tree = _scale_counts(config_to_tree(config), images / config.train.images)
    tree["train"]["images"] = images
    return parse_config(tree)


def config_to_tree(config: Config) -> dict[str, Any]:
    """Return the config as tables of plain values, without those that are None, which TOML cannot say."""
    tree: dict[str, Any] = config.model_dump(exclude_none=True)
    return tree


def config_to_toml(config: Config) -> str:
    """Return the config as the text of a TOML file, which `read_config` reads back to the same."""
    import tomli_w

    return tomli_w.dumps(config_to_tree(config))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        data = read_file(path, raises=ConfigError)
    except ConfigError as error:  # it begins with the path
        raise ConfigError(f"cannot read the config {error}") from error
    try:
        return _parse_toml(data.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read the config {path}: not a UTF-8 text file") from error
    except (tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(f"cannot read the config {path}: {describe_error(error)}") from error


def _parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML of some kilobytes and a few levels; the parser takes minutes for a key of 100,000 parts."""
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"a config has {len(text):,} characters, more than {MOST_CHARACTERS:,}")
    too_deep = f"tables and lists in one another have more than {MOST_DEPTH} levels"
    if LONG_KEY.search(text):
        raise ConfigError(too_deep)
    try:
        tree = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(too_deep) from error
    except ValueError as error:  # no TOML, or a date or a number that Python has no room for
        raise tomllib.TOMLDecodeError(str(error)) from error
    _check_depth(tree)
    return tree


def _check_depth(tree: Mapping[str, Any]) -> None:
    """Refuse what later steps, which call themselves for every level, could not walk through."""
    level: list[Any] = [tree]
    for _ in range(MOST_DEPTH):
        inside: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                inside += value.values()
            elif isinstance(value, (list, tuple)):
                inside += value
        level = inside
    if level:
        raise ConfigError(f"tables and lists in one another have more than {MOST_DEPTH} levels")


def _scale_counts(tree: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return a tree with every `…_images` times a factor; what was not zero stays at least one."""
    scaled: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            scaled[key] = _scale_counts(value, factor)
        elif key.endswith("_images") and value:
            scaled[key] = max(1, round(value * factor))
        else:
            scaled[key] = value
    return scaled


def _set_value(tree: dict[str, Any], override: str) -> None:
    """Set one `a.b=c` in a tree of tables."""
    dotted, equals, text = override.partition("=")
    *tables, key = (part.strip() for part in dotted.split("."))
    shown = reprlib.repr(override)
    if not (equals and key and all(tables)):
        raise ConfigError(f"cannot use {shown}: write table.key=value, for example train.batch=64")
    if len(tables) >= MOST_DEPTH:
        raise ConfigError(f"cannot use {shown}: it has more than {MOST_DEPTH} levels")
    for name in tables:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"cannot use {shown}: {name} is a value, not a table")
    try:
        tree[key] = _parse_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        tree[key] = text
    except ConfigError as error:
        raise ConfigError(f"cannot use {shown}: {error}") from error


def _read_system(table: object) -> SystemSettings:
    """Return the `[system]` table as the settings of the system that it names."""
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise ConfigError(f"[system] needs a name, one of {', '.join(systems.SYSTEMS)}")
    return _validate_table(systems.find_system_settings(table["name"]), table, ("system",))


def _validate_table(model: type[Model], table: Mapping[str, Any], place: tuple[str, ...] = ()) -> Model:
    """Validate a table; every fault in one line, a misspelled key with the names that are near."""
    try:
        return model.model_validate(table)
    except pydantic.ValidationError as error:
        faults = [_explain_fault(fault, model, place) for fault in error.errors()]
        raise ConfigError("; ".join(faults)) from error


def _explain_fault(fault: ErrorDetails, model: type[pydantic.BaseModel], place: tuple[str, ...]) -> str:
    """Return in a few words what is wrong at one place of a table."""
    *tables, last = [str(part) for part in fault["loc"]] or [""]
    dotted = ".".join(filter(None, (*place, *tables, last)))
    if fault["type"] == "missing":
        return f"{dotted} is missing"
    if fault["type"] == "extra_forbidden":
        for name in tables:
            model = cast(type[pydantic.BaseModel], model.model_fields[name].annotation)
        return f"unknown key {dotted}{did_you_mean(last, model.model_fields)}"
    message = fault["msg"].removeprefix("Value error, ")
    found = "" if fault["type"] == "value_error" else f", not {reprlib.repr(fault['input'])}"
    return f"{dotted}: {message[0].lower()}{message[1:]}{found}"
