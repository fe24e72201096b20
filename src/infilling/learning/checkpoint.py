"""Checkpoints: weights with their config inside, and the trainer's state to continue bit for bit.

    checkpoint/step-00000500/weights.safetensors   generator.*, discriminator.*, ema.*; config, step, …
    checkpoint/step-00000500/trainer.pt            optimisers, random states, the place in the data

A checkpoint is written under a name with a dot in front and renamed when it is whole, so that a folder with a
step's name is whole. Nothing is ever unpickled but tensors and plain values.
"""

import io
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from infilling.errors import ConfigError, ModelError, StorageError, describe_briefly, describe_error
from infilling.learning.config import config_to_tree, parse_config
from infilling.learning.features import find_mismatch
from infilling.learning.settings import Config
from infilling.learning.system import System
from infilling.learning.systems import build_system
from infilling.learning.weights_file import read_tensors
from infilling.storage import UNFINISHED, make_folder_whole, parse_json, write_through
from infilling.version import VERSION

FOLDER = "checkpoint"
WEIGHTS = "weights.safetensors"
TRAINER = "trainer.pt"

FREE_KEYS = {
    *("data.paths", "data.cache", "data.workers", "data.trained_on", "data.licence"),
    *("features.path", "start.weights"),
    *("train.epochs", "train.images", "train.steps", "train.max_minutes"),
    *("train.accumulate", "train.device", "train.compile", "train.graphs"),
    *("train.log_every", "train.sample_every", "train.samples"),
    *("train.checkpoint_every", "train.checkpoint_minutes", "train.keep_checkpoints"),
}
"""Settings that may differ when a run is resumed: they change how long and where, not what is learned."""


@dataclass(frozen=True)
class Weights:
    """The content of a weights file.

    Attributes:
        config: of the run that made it.
        step: number of steps taken.
        images_seen: number of pictures seen.
        tensors: by name, with `generator.`, `discriminator.` or `ema.` in front.
    """

    config: Config
    step: int
    images_seen: int
    tensors: dict[str, Tensor]

    def take(self, network: str) -> dict[str, Tensor]:
        """Return the state dict of one network: generator, discriminator or ema."""
        front = f"{network}."
        return {name[len(front) :]: value for name, value in self.tensors.items() if name.startswith(front)}


def save_checkpoint(
    run: Path, networks: Mapping[str, nn.Module], trainer: Mapping[str, Any], config: Config
) -> Path:
    """Write a checkpoint, whole or not at all, and remove the oldest beyond `train.keep_checkpoints`.

    Args:
        run: folder of the run.
        networks: generator, discriminator and ema by these names.
        trainer: tensors and plain values for `load_trainer`, with `step` and `images_seen`.
        config: config of the run.

    Returns:
        The checkpoint's folder.

    Raises:
        StorageError: the disk is full or the folder cannot be written; earlier checkpoints are as they were.
    """
    folder = run / FOLDER / f"step-{trainer['step']:08d}"
    if not os.path.isdir(folder):  # it is there if the run was resumed here, without a step since
        _write_checkpoint(run, folder, _serialize(networks, trainer, config))
    for old in _list_checkpoints(run)[: -config.train.keep_checkpoints]:
        with suppress(OSError):  # renamed first: a kill in between leaves no checkpoint with half its files
            old.rename(old.with_name(f".{old.name}{UNFINISHED}"))
    _remove_unfinished(folder.parent)
    return folder


def _write_checkpoint(run: Path, folder: Path, content: Mapping[str, bytes | memoryview]) -> None:
    """Write the files of a checkpoint into its folder, whole or not at all."""
    _remove_unfinished(folder.parent)
    try:
        with make_folder_whole(folder, f"cannot save {folder}") as unfinished:
            for name, data in content.items():
                with (unfinished / name).open("wb") as file:
                    write_through(file, data)
    except StorageError as error:
        raise StorageError(f"{error}; {describe_latest(run)}") from error


def _remove_unfinished(folder: Path) -> None:
    """Remove what was half written or half removed, perhaps by a run that was killed."""
    for left_over in folder.glob(f"*{UNFINISHED}"):
        shutil.rmtree(left_over, ignore_errors=True)


def _serialize(
    networks: Mapping[str, nn.Module], trainer: Mapping[str, Any], config: Config
) -> dict[str, bytes | memoryview]:
    """Return the content of a checkpoint's files by their names."""
    metadata = {
        "config": json.dumps(config_to_tree(config)),
        "step": str(trainer["step"]),
        "images_seen": str(trainer["images_seen"]),
        "version": VERSION,
    }
    state_dict = nn.ModuleDict(dict(networks)).state_dict()  # names begin with generator., ema., …
    tensors = {name: value.detach().cpu().contiguous() for name, value in state_dict.items()}
    state = io.BytesIO()
    torch.save(dict(trainer), state)
    return {WEIGHTS: safetensors.torch.save(tensors, metadata), TRAINER: state.getbuffer()}


def find_latest_checkpoint(run: Path) -> Path | None:
    """Return the newest checkpoint of a run, or None."""
    found = _list_checkpoints(run)
    return found[-1] if found else None


def describe_latest(run: Path) -> str:
    """Return the end of a message that a run has failed: where its newest checkpoint is."""
    latest = find_latest_checkpoint(run)
    return f"the last good checkpoint is {latest}" if latest else "there is no checkpoint yet"


def read_weights(path: str | Path) -> Weights:
    """Read the weights of a run (its newest checkpoint), of a checkpoint's folder, or from a weights file.

    Raises:
        ModelError: there are none, or they cannot be read.
    """
    file = _find_weights(Path(path))
    tensors, metadata = read_tensors(file)
    try:
        config = parse_config(parse_json(metadata["config"]), source=str(file))
        return Weights(config, int(metadata["step"]), int(metadata["images_seen"]), tensors)
    except (KeyError, ValueError, ConfigError) as error:
        raise ModelError(f"cannot read the weights in {file}: {describe_error(error)}") from error


def load_system(path: str | Path) -> tuple[System, Weights]:
    """Make the system that was trained, in eval mode, with the averaged generator where there is one.

    Raises:
        ModelError: there are no weights, or they are not this system's.
    """
    weights = read_weights(path)
    with torch.random.fork_rng(devices=[]):  # a run that looks at itself keeps its random numbers
        system = build_system(weights.config.system)
    load_network(system.generator, weights.take("ema") or weights.take("generator"), str(path))
    return system.eval().requires_grad_(False), weights


def load_network(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict into a network.

    Raises:
        ModelError: names or shapes differ; the first that does is named.
    """
    if mismatch := find_mismatch(network.state_dict(), tensors):
        raise ModelError(f"{source} holds another network: {mismatch}")
    network.load_state_dict(tensors)


def load_trainer(checkpoint: Path) -> dict[str, Any]:
    """Read the trainer's state from a checkpoint's folder.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        if not (checkpoint / TRAINER).is_file():
            raise OSError("not a regular file")
        state: dict[str, Any] = torch.load(checkpoint / TRAINER, map_location="cpu", weights_only=True)
        return state
    except Exception as error:  # a damaged file can raise nearly anything
        raise refuse_state(checkpoint, error) from error


def refuse_state(checkpoint: Path, error: Exception) -> ModelError:
    """Return the error of a checkpoint whose trainer's state cannot be used."""
    advice = f"remove {checkpoint} to resume from the one before"
    return ModelError(f"cannot read {checkpoint / TRAINER}: {describe_briefly(error)}; {advice}")


def check_same_run(saved: Config, asked: Config, run: Path) -> None:
    """Refuse to resume what would be learned differently.

    Raises:
        ConfigError: another system, or a setting outside `FREE_KEYS` differs; every difference is named.
    """
    if saved.system.name != asked.system.name:
        names = f"{saved.system.name}, not {asked.system.name}"
        raise ConfigError(f"{run} holds a run of the system {names}; choose another folder")
    old, new = _flatten(config_to_tree(saved)), _flatten(config_to_tree(asked))
    differences = []
    for key in sorted((old.keys() | new.keys()) - FREE_KEYS):
        was, now = old.get(key, "not set"), new.get(key, "not set")
        if was != now:
            differences.append(f"{key} was {was}, now {now}")
    if differences:
        changes = "; ".join(differences)
        raise ConfigError(f"cannot resume {run} with another config: {changes}; choose another folder")


def _flatten(tree: Mapping[str, Any], front: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{front}{key}.")
        else:
            flat[f"{front}{key}"] = value
    return flat


def _list_checkpoints(run: Path) -> list[Path]:
    """List whole checkpoints, oldest first."""
    try:
        names = os.listdir(run / FOLDER)
    except OSError:
        return []
    whole = [name for name in names if re.fullmatch(r"step-\d{1,18}", name)]
    return [run / FOLDER / name for name in sorted(whole, key=lambda name: int(name[5:]))]


def _find_weights(path: Path) -> Path:
    for file in (path, path / WEIGHTS):
        if os.path.isfile(file):
            return file
    latest = find_latest_checkpoint(path)
    if latest is None:
        raise ModelError(f"there is no checkpoint in {path}")
    return latest / WEIGHTS
