"""kill −9, at any moment: what is there is whole, and what goes on from it ends where it would have ended."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.faults.conftest import MakeConfig, Start
from tests.faults.processes import fill_in_a_group

from infilling.errors import StorageError
from infilling.filling.batch_results import RESULTS
from infilling.filling.options import FillOptions
from infilling.learning import checkpoint
from infilling.learning import run_folder as runs
from infilling.learning.train import train

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

KILLS = 50
OPTIONS = FillOptions(boxes=((10, 10, 40, 40),))


def kill_at(process: BaseProcess, count: Callable[[], int], goal: int, seconds: float) -> bool:
    """Kills a process so long after a count has reached a goal, unless it ends before; True if killed."""
    while count() < goal and process.is_alive():
        time.sleep(0.005)
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f"it failed by itself, with {process.exitcode}"
    return process.exitcode != 0


def count_progress(run: Path) -> int:
    """How far a training is: rows, and the files that are written at its end."""
    stats = run / "stats.jsonl"
    rows = stats.read_bytes().count(b"\n") if stats.is_file() else 0
    return rows + sum(
        (run / name).is_file() for name in ("losses.png", "samples.webp", "final.png", "model.onnx")
    )


def count_pictures(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*.png"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- training ------------------------------------------------------------------------------------------------


def check_run(out: Path, whole: dict[str, bytes]) -> int:
    """Loads every checkpoint, and compares all else that is written at once; returns the last one's step."""
    folders = sorted((out / "checkpoint").glob("step-*"))
    for folder in folders:
        weights, trainer = checkpoint.read_weights(folder), checkpoint.load_trainer(folder)
        assert folder.name == f"step-{weights.step:08d}"
        assert trainer["step"] == weights.step
    for name, data in files(out).items():
        if name.endswith((".onnx", ".png", ".toml")) and name not in ("losses.png", "final.png"):
            assert data == whole[name], name
    return int(folders[-1].name[5:]) if folders else 0


def assert_same_end(out: Path, whole: Path) -> None:
    """Weights, averages, optimisers, random states, rows and pictures are those of the uninterrupted run."""
    last = [checkpoint.find_latest_checkpoint(folder) for folder in (out, whole)]
    assert last[0] is not None
    assert last[1] is not None
    assert last[0].name == last[1].name
    ours, theirs = (checkpoint.read_weights(folder).tensors for folder in last)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    states = [flatten(checkpoint.load_trainer(folder)) for folder in last]
    assert states[0] == states[1]
    times = {"seconds", "images_per_second"}
    rows = [
        [{name: value for name, value in row.items() if name not in times} for row in runs.read_stats(folder)]
        for folder in (out, whole)
    ]
    assert rows[0] == rows[1]
    assert sorted(name for name in files(out) if "events" not in name) == sorted(
        name for name in files(whole) if "events" not in name
    )
    # final.png shows the last batch; a run that was killed as it drew that shows the one after it.
    for name in ("model.onnx", "fidelity.onnx", "samples.webp", "losses.png"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def flatten(state: Any) -> Any:
    """Tensors as what can be compared; without the time that training took."""
    if isinstance(state, torch.Tensor):
        return (str(state.dtype), state.tolist())
    if isinstance(state, dict):
        return {name: flatten(value) for name, value in state.items() if name != "seconds"}
    return [flatten(value) for value in state] if isinstance(state, (list, tuple)) else state


def test_training_killed_at_fifty_moments(start: Start, make_config: MakeConfig, tmp_path: Path) -> None:
    """Some of them fall into a checkpoint, an export or the end; whenever a run ends, another begins."""
    config, whole = make_config("train.steps=16"), tmp_path / "whole"
    begun = time.monotonic()
    reference = start(train, config, whole)
    reference.join()
    assert reference.exitcode == 0
    length, content = time.monotonic() - begun, files(whole)
    rng, killed, ended, moments = random.Random(0), 0, 0, set()
    end = count_progress(whole)
    while killed < KILLS or not ended:
        out = tmp_path / f"run-{ended}"
        goal = min(count_progress(out) + rng.randint(0, 3), end) if killed < KILLS else end + 1
        process = start(train, config, out)
        if kill_at(process, partial(count_progress, out), goal, rng.uniform(0, length / 60)):
            killed += 1
            moments.add((ended, check_run(out, content)))
        else:
            assert_same_end(out, whole)
            ended += 1
    assert len(moments) > 5, "they were killed at different steps"
    print(f"killed {killed} times after {len(moments)} different checkpoints; {ended} runs ended")


def test_a_second_training_of_a_folder_waits_until_the_first_is_dead(
    start: Start, make_config: MakeConfig, tmp_path: Path
) -> None:
    out, long = tmp_path / "run", make_config("train.steps=100000")
    first = start(train, long, out)
    while not (out / "checkpoint" / "step-00000002").is_dir():
        assert first.is_alive()
        time.sleep(0.02)
    before = (out / "config.toml").read_bytes()
    for _ in range(2):
        with pytest.raises(StorageError, match=f"process {first.pid} is training in .*wait for it"):
            train(make_config("train.steps=4"), out)
    assert (out / "config.toml").read_bytes() == before
    assert first.is_alive()
    first.kill()
    first.join()
    latest = checkpoint.find_latest_checkpoint(out)
    assert latest is not None
    step = int(latest.name[5:]) + 1
    assert train(make_config(f"train.steps={step}"), out).step == step


# -- filling a folder ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("jobs", "kills"), [(1, KILLS - 5), (2, 5)])
def test_a_batch_killed_at_fifty_moments(
    start: Start, pictures: Path, tmp_path: Path, jobs: int, kills: int
) -> None:
    """A file that is there is whole, whenever one looks; the same command goes on."""
    whole = tmp_path / "whole"
    begun = time.monotonic()
    reference = start(fill_in_a_group, pictures, whole, options=OPTIONS, jobs=jobs)
    reference.join()
    assert reference.exitcode == 0
    length, content = time.monotonic() - begun, files(whole)
    lines = content.pop(RESULTS)
    rng, killed, ended, found = random.Random(0), 0, 0, set()
    while killed < kills or not ended:
        out = tmp_path / f"out-{ended}"
        goal = count_pictures(out) + rng.randint(0, 4) if killed < kills else 2 * len(content)
        process = start(fill_in_a_group, pictures, out, options=OPTIONS, jobs=jobs)
        was_killed = kill_at(process, partial(count_pictures, out), goal, rng.uniform(0, length / 20))
        with suppress(ProcessLookupError):
            while True:  # until all that it began have ended by themselves
                assert process.pid is not None
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        there = files(out) if out.is_dir() else {}
        rows = there.pop(RESULTS, b"").splitlines()
        assert there.items() <= content.items(), "only whole files, and no others"
        if was_killed:
            killed += 1
            found.add(len(there))
            continue
        ended += 1
        assert there == content
        outputs = [json.loads(row)["output"] for row in rows]
        assert sorted(outputs) == sorted(content)
        assert len(rows) == len(lines.splitlines())
    assert len(found) > 2, "they were killed after different numbers of pictures"
    print(f"killed {killed} times after {len(found)} different numbers of pictures; {ended} runs ended")
