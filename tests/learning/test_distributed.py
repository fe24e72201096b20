"""Several processes that train as one: the same weights everywhere, and the same as of one process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from infilling.errors import ConfigError, DependencyError, InfillingError
from infilling.learning import checkpoint, distributed
from infilling.learning import config as configs
from infilling.learning.device import choose_place
from infilling.learning.distributed import ALONE, Ranks, find_ranks
from infilling.learning.settings import Config
from infilling.learning.train import train

MakeConfig = Callable[..., Config]
WORKER = "tests.learning.distributed_worker"
ROOT = Path(__file__).parents[2]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass
class Team:
    """Processes that train together, as often as they are told to."""

    processes: list[subprocess.Popen[str]]

    def start(
        self, tree: dict[str, Any], out: Path, at: int = 0, do: Sequence[str] = (), shows: bool = False
    ) -> None:
        """Begins a run; `do[rank]` is what happens to a process after step `at`."""
        environ = {
            "WORLD_SIZE": str(len(self.processes)),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": find_port(),
        }
        for rank, process in enumerate(self.processes):
            task = {
                "environ": {**environ, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                "config": tree,
                "out": str(out),
                "at": at,
                "do": do[rank] if do else "",
                "shows": shows,
            }
            assert process.stdin is not None
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()

    def hear(self, rank: int) -> dict[str, Any]:
        """What a process says of its run."""
        stdout = self.processes[rank].stdout
        assert stdout is not None
        said: dict[str, Any] = json.loads(stdout.readline())
        return said

    def train(
        self, tree: dict[str, Any], out: Path, at: int = 0, do: Sequence[str] = (), shows: bool = False
    ) -> list[dict[str, Any]]:
        """Runs to the end; what each process says of it."""
        self.start(tree, out, at, do, shows)
        return [self.hear(rank) for rank in range(len(self.processes))]


@contextmanager
def gather(count: int) -> Iterator[Team]:
    """Starts processes, and ends them."""
    command, environ = [sys.executable, "-m", WORKER], {**os.environ, **ONE_THREAD}
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
            cwd=ROOT,
        )
        for _ in range(count)
    ]
    try:
        yield Team(processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def pair() -> Iterator[Team]:
    """Two processes for all tests that leave them alive: starting them is what takes long."""
    with gather(2) as team:
        yield team


def find_port() -> str:
    """A port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def make_tree(make_config: MakeConfig, *overrides: str, name: str = "tiny") -> dict[str, Any]:
    """A config as the workers take it; they know `plain`, which this process need not."""
    tree = configs.config_to_tree(make_config("train.batch=8", "train.precision=fp32", *overrides))
    if name != "tiny":
        tree["system"] = {"name": name}
    return tree


def read_tensors(run: Path) -> dict[str, torch.Tensor]:
    """The weights of the newest checkpoint; read without their config, whose system may be unknown here."""
    import safetensors.torch

    latest = checkpoint.find_latest_checkpoint(run)
    assert latest is not None
    tensors: dict[str, torch.Tensor] = safetensors.torch.load_file(latest / checkpoint.WEIGHTS)
    return tensors


def read_rows(run: Path) -> list[dict[str, float]]:
    """The rows of `stats.jsonl`."""
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def test_two_processes_hold_the_same_after_20_steps_and_one_keeps_the_run(
    make_config: MakeConfig, tmp_path: Path, pair: Team
) -> None:
    """With batch norm and dropout."""
    first, second = pair.train(make_tree(make_config, "train.steps=20"), tmp_path / "run", shows=True)
    assert first["digest"] == second["digest"]
    assert (first["step"], first["images_seen"], first["ended_by"]) == (20, 160, "steps")
    assert [second[key] for key in first if key != "told"] == [first[key] for key in first if key != "told"]
    assert (len(first["told"]), second["told"]) == (20, [])
    assert first["model"] == str(tmp_path / "run" / "model.onnx")
    assert (tmp_path / "run" / "model.onnx").is_file()
    rows = read_rows(tmp_path / "run")
    assert [row["step"] for row in rows] == list(range(1, 21))
    assert rows[-1]["images_seen"] == 160
    assert len(list((tmp_path / "run").glob("events.*"))) == 1


def test_two_processes_find_what_one_finds(make_config: MakeConfig, tmp_path: Path, pair: Team) -> None:
    """In float64, R1 and a parameter that no loss reaches included; and so do parts of a batch."""
    tree = make_tree(make_config, "train.steps=20", "train.generator.lr=0.01", name="plain")
    said = pair.train(tree, tmp_path / "two")
    said += Team(pair.processes[:1]).train(tree, tmp_path / "one")
    tree["train"]["accumulate"] = 2
    said += pair.train(tree, tmp_path / "parts")
    assert [each["step"] for each in said] == [20] * 5
    expected = read_tensors(tmp_path / "one")
    for run in (tmp_path / "two", tmp_path / "parts"):
        found = read_tensors(run)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert value.dtype == torch.float64
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-8)
        for ours, theirs in zip(read_rows(run), read_rows(tmp_path / "one"), strict=True):
            times = {"seconds", "images_per_second"}
            assert ours.keys() == theirs.keys()
            assert all(ours[name] == pytest.approx(theirs[name], 1e-4) for name in ours.keys() - times)


def test_a_signal_to_one_ends_both_and_another_number_goes_on(
    make_config: MakeConfig, tmp_path: Path, pair: Team
) -> None:
    """Two processes, then one, then two: no picture is seen twice, and no row is lost."""
    tree, out = make_tree(make_config, "train.steps=9"), tmp_path / "run"
    ended = pair.train(tree, out, at=3, do=["", "SIGTERM"])
    assert [said["ended_by"] for said in ended] == ["SIGTERM", "SIGTERM"]
    assert [said["step"] for said in ended] == [3, 3]
    assert ended[0]["digest"] == ended[1]["digest"]
    assert ended[0]["model"] is None
    assert not (out / "model.onnx").exists()
    outcome = train(make_config("train.batch=8", "train.precision=fp32", "train.steps=6"), out)
    assert (outcome.step, outcome.images_seen) == (6, 48)
    first, second = pair.train(tree, out)
    assert (first["step"], first["images_seen"]) == (9, 72)
    assert first["digest"] == second["digest"]
    rows = read_rows(out)
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert [row["epoch"] for row in rows] == pytest.approx(
        [8 * step * rows[0]["epoch"] / 8 for step in range(1, 10)]
    )


def test_a_run_of_two_goes_on_bit_for_bit(make_config: MakeConfig, tmp_path: Path, pair: Team) -> None:
    """Dropout draws what it would have drawn."""
    whole = pair.train(make_tree(make_config, "train.steps=6"), tmp_path / "whole")
    pair.train(make_tree(make_config, "train.steps=6"), tmp_path / "parts", at=3, do=["SIGINT", ""])
    parts = pair.train(make_tree(make_config, "train.steps=6"), tmp_path / "parts")
    assert parts[0]["step"] == 6
    assert parts[0]["digest"] == whole[0]["digest"]


def test_two_processes_share_a_stream_and_find_what_one_finds(
    make_config: MakeConfig, tmp_path: Path, pair: Team, sharded: Path
) -> None:
    """Also where two begin, one goes on, and two end it; each reads only its own lane's shards."""
    stream = [f'data.paths=["{sharded}"]', "data.stream=true", "data.lanes=2", "data.flip=true"]
    tree = make_tree(make_config, *stream, "train.steps=8", "train.generator.lr=0.01", name="plain")
    said = pair.train(tree, tmp_path / "two")
    alone = Team(pair.processes[:1])
    said += alone.train(tree, tmp_path / "one")
    pair.train(tree, tmp_path / "parts", at=3, do=["SIGTERM", ""])
    alone.train(tree, tmp_path / "parts", at=5, do=["SIGTERM"])
    said += pair.train(tree, tmp_path / "parts")
    assert [each["step"] for each in said] == [8] * 5
    expected = read_tensors(tmp_path / "one")
    for run in (tmp_path / "two", tmp_path / "parts"):
        for name, value in read_tensors(run).items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-8)
    refused = pair.train(make_tree(make_config, *stream, "data.lanes=1"), tmp_path / "none")
    reason = "data.lanes is 1: set it to a number that divides train.batch = 8 and that 2 processes can share"
    assert refused == [{"error": f"ConfigError: {reason} evenly"}] * 2


def test_a_stream_that_ends_for_one_ends_for_both(
    make_config: MakeConfig, tmp_path: Path, pair: Team, sharded: Path
) -> None:
    broken = shutil.copytree(sharded, tmp_path / "broken")
    for shard in broken.glob("*.tar"):
        shard.write_bytes(b"x" * shard.stat().st_size)
    stream = [f'data.paths=["{broken}"]', "data.stream=true", "data.lanes=2"]
    said = pair.train(make_tree(make_config, *stream), tmp_path / "run")
    assert said[0]["error"] == "DataError: none of the pictures held out of training can be read"
    assert said[1]["error"].startswith("InfillingError: process 1 of 2 lost another one and ends")


@pytest.mark.parametrize("failing", [0, 1])
def test_one_that_fails_ends_the_other(
    make_config: MakeConfig, tmp_path: Path, pair: Team, failing: int
) -> None:
    """Both live on and can train again."""
    tree = make_tree(make_config, "train.steps=9", "train.checkpoint_every=1")
    said = pair.train(
        tree, tmp_path / "run", at=2, do=["raise" if rank == failing else "" for rank in range(2)]
    )
    assert said[failing] == {"error": "InfillingError: as told"}
    assert said[1 - failing]["error"].startswith(
        f"InfillingError: process {1 - failing} of 2 lost another one"
    )
    assert said[1 - failing]["error"].endswith("; the same command continues from the last checkpoint")
    assert "\n" not in said[1 - failing]["error"]
    latest = checkpoint.find_latest_checkpoint(tmp_path / "run")
    assert latest is not None
    assert latest.name == f"step-{1 + failing:08}"  # it did not fail before, or in, saving the second
    first, second = pair.train(tree, tmp_path / "run")
    assert first["step"] == 9
    assert first["digest"] == second["digest"]


def test_what_one_process_refuses_both_do(make_config: MakeConfig, tmp_path: Path, pair: Team) -> None:
    said = pair.train(make_tree(make_config, "train.accumulate=3"), tmp_path / "run")
    expected = "train.batch is 8; 2 processes and train.accumulate = 3 need a multiple of 6"
    assert said == [{"error": f"ConfigError: {expected}"}] * 2
    with pytest.raises(ConfigError, match=r"train.batch is 8; 1 processes and train.accumulate = 3 need"):
        train(make_config("train.batch=8", "train.accumulate=3"), tmp_path / "run")


def test_who_one_is_stands_in_the_environment() -> None:
    torchrun = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    slurm = {
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_ID": "2",
        "SLURM_PROCID": "5",
        "SLURM_STEP_NUM_TASKS": "6",
        "SLURM_LOCALID": "2",
        "SLURM_STEP_NODELIST": "gpu[07-09,12],big3",
    }
    assert find_ranks({}) is ALONE
    assert find_ranks(torchrun) == find_ranks({**slurm, **torchrun}) == Ranks(3, 8, 1, "env://")
    assert find_ranks(slurm) == Ranks(5, 6, 2, "tcp://gpu07:27702")
    own = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "5"}
    assert find_ranks({**slurm, **own}).meeting == "tcp://10.0.0.1:5"
    # A plain command in a batch script: the job has six tasks, but nobody starts five more of this.
    assert find_ranks({"SLURM_PROCID": "0", "SLURM_NTASKS": "6", "SLURM_JOB_ID": "77"}) is ALONE
    with pytest.raises(ConfigError, match="the environment variable RANK is 'one', not a number"):
        find_ranks({"RANK": "one", "WORLD_SIZE": "2"})


def test_every_process_takes_a_gpu_of_its_own(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    third = Ranks(rank=6, world=8, local=2)
    place = choose_place(make_config("train.device=auto").train, third)
    assert place.device == torch.device("cuda:2")
    assert current == [place.device]
    with pytest.raises(DependencyError, match=r"there is no cuda:5 here: torch .* sees 4 GPUs"):
        choose_place(make_config("train.device=cuda").train, Ranks(rank=5, world=8, local=5))
    with pytest.raises(ConfigError, match=r"train.device is cuda:1 for 8 processes; write cuda"):
        choose_place(make_config("train.device=cuda:1").train, third)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # as SLURM binds them
    assert choose_place(make_config("train.device=cuda").train, third).device == torch.device("cuda:0")


def test_who_does_not_find_the_others_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "MEETING", distributed.timedelta(seconds=1))
    for name, value in {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": find_port(),
    }.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(InfillingError, match=r"^process 1 of 2 cannot meet the others at env://: .*timed out"),
        distributed.join_ranks(),
    ):
        pass


@pytest.mark.slow
def test_four_processes_hold_the_same_after_20_steps(make_config: MakeConfig, tmp_path: Path) -> None:
    with gather(4) as team:
        said = team.train(make_tree(make_config, "train.steps=20"), tmp_path / "run")
    assert len({each["digest"] for each in said}) == 1
    assert {each["step"] for each in said} == {20}


@pytest.mark.slow
@pytest.mark.parametrize("signals", [False, True])
def test_torchrun_trains_with_the_same_config(drawn: Path, tmp_path: Path, signals: bool) -> None:
    """The command of the manual; SIGTERM to torchrun saves, and one process goes on from there."""
    config = "reference"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "infilling", "train", config, "--data", str(drawn), "--out", str(tmp_path / "run")]
    steps = 100_000 if signals else 3
    small = [
        "train.batch=8",
        f"train.steps={steps}",
        "system.width=4",
        "train.device=cpu",
        "train.log_every=1",
    ]
    options = [argument for each in [*small, f'data.cache="{tmp_path}"'] for argument in ("--set", each)]
    process = subprocess.Popen(
        [*torchrun, *command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    stats, out = tmp_path / "run" / "stats.jsonl", ""
    try:
        while signals and process.poll() is None and not (stats.is_file() and stats.stat().st_size):
            time.sleep(0.2)
        if signals:
            process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=200)
    finally:
        process.kill()
    if not signals:
        assert process.returncode == 0, error
        assert out == f"{tmp_path / 'run' / 'model.onnx'}\n"
        assert [row["step"] for row in read_rows(tmp_path / "run")] == [1, 2, 3]
        return
    assert process.returncode != 0
    assert error.count("saved; the same command continues from here") == 1
    latest = checkpoint.find_latest_checkpoint(tmp_path / "run")
    assert latest is not None
    step = checkpoint.read_weights(latest).step
    alone = configs.read_config(config, [*small, f"data.cache={tmp_path}", f"data.paths=['{drawn}']"])
    resumed = train(
        alone.model_copy(update={"train": alone.train.model_copy(update={"steps": step + 1})}),
        tmp_path / "run",
    )
    assert resumed.step == step + 1


@pytest.mark.faults
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_others_within_a_minute(
    make_config: MakeConfig, tmp_path: Path, killed: int
) -> None:
    """And the last checkpoint is whole: two processes go on from it."""
    settings = ["train.batch=12", "train.checkpoint_every=1"]
    with gather(3) as team:
        do = ["SIGKILL" if rank == killed else "" for rank in range(3)]
        team.start(make_tree(make_config, *settings, "train.steps=99"), tmp_path / "run", at=3, do=do)
        team.processes[killed].wait()
        begun = time.monotonic()
        for rank in {0, 1, 2} - {killed}:
            assert f"process {rank} of 3 lost another one and ends" in team.hear(rank)["error"]
        assert time.monotonic() - begun < 60
        survivors = Team([team.processes[rank] for rank in range(3) if rank != killed])
        first, second = survivors.train(make_tree(make_config, *settings, "train.steps=5"), tmp_path / "run")
    assert first["step"] == 5
    assert first["digest"] == second["digest"]
    assert [row["step"] for row in read_rows(tmp_path / "run")] == [1, 2, 3, 4, 5]


@pytest.mark.faults
def test_a_silent_process_ends_the_others_within_a_minute(make_config: MakeConfig, tmp_path: Path) -> None:
    """As behind a cut link: nothing is closed, and nothing answers."""
    with gather(2) as team:
        tree = make_tree(make_config, "train.steps=99", "train.checkpoint_every=1")
        team.start(tree, tmp_path / "run", at=3, do=["", "SIGSTOP"])
        while (
            not (latest := checkpoint.find_latest_checkpoint(tmp_path / "run"))
            or latest.name < "step-00000002"
        ):
            time.sleep(0.1)
        begun = time.monotonic()
        waiting = team.processes[0]
        _, error = waiting.communicate(timeout=70)
        assert time.monotonic() - begun < 62
        assert waiting.returncode == 1
        assert "process 0 of 2 lost another one and ends: Timed out waiting 40000ms" in error
        assert error.rstrip().endswith("the same command continues from the last checkpoint")
