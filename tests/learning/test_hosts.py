"""Two hosts train together, and each says so when the other is gone. A host is a network namespace here."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infilling.learning import checkpoint
from infilling.learning import config as configs
from infilling.learning.train import train

pytestmark = pytest.mark.faults

CONFIG = "reference"
ENOUGH_S = 240.0  # for a run, and for both to notice a cut, on a busy machine
PORT = "29400"


@dataclass
class Hosts:
    """Two network namespaces, joined by one link."""

    names: tuple[str, str]
    links: tuple[str, str]
    addresses: tuple[str, str] = ("10.213.77.1", "10.213.77.2")
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *command: str) -> None:
        """Runs a command by torchrun on both, one process each."""
        nodes = ["--nnodes", "2", "--nproc-per-node", "1"]
        meeting = ["--master-addr", self.addresses[0], "--master-port", PORT]
        for rank, (name, link) in enumerate(zip(self.names, self.links, strict=True)):
            torchrun = [
                sys.executable,
                "-m",
                "torch.distributed.run",
                *nodes,
                "--node-rank",
                str(rank),
                *meeting,
            ]
            environ = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": link}
            self.processes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", name, *torchrun, *command],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environ,
                )
            )

    def cut(self) -> None:
        """Takes the link away for good."""
        ask("-n", self.names[0], "link", "delete", self.links[0])

    def wait(self) -> list[tuple[int, str, str]]:
        """Of each host: exit code, stdout and stderr."""
        said = [process.communicate(timeout=ENOUGH_S) for process in self.processes]
        return [
            (process.returncode, out, error)
            for process, (out, error) in zip(self.processes, said, strict=True)
        ]


def ask(*command: str) -> None:
    """Runs `ip`."""
    subprocess.run(["ip", *command], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Two hosts that see each other and nothing else."""
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` command to make network namespaces with")
    marks = [f"{os.getpid()}{side}" for side in "ab"]
    made = Hosts((f"infilling{marks[0]}", f"infilling{marks[1]}"), (f"inf{marks[0]}", f"inf{marks[1]}"))
    try:
        try:
            for name in made.names:
                ask("netns", "add", name)
            first, second = made.links
            ask(
                "link",
                "add",
                first,
                "netns",
                made.names[0],
                "type",
                "veth",
                "peer",
                second,
                "netns",
                made.names[1],
            )
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
        for name, link, address in zip(made.names, made.links, made.addresses, strict=True):
            ask("-n", name, "address", "add", f"{address}/24", "dev", link)
            ask("-n", name, "link", "set", link, "up")
            ask("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.communicate()
        for name in made.names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.fixture
def command(drawn: Path, tmp_path: Path) -> Callable[[int], list[str]]:
    """The command of the manual, for so many steps of a narrow network."""

    def make(steps: int) -> list[str]:
        keys = list_keys(tmp_path, steps)
        options = [part for key in keys for part in ("--set", key)]
        return [
            *("-m", "infilling", "train", CONFIG, "--data", str(drawn), "--out", str(tmp_path / "run")),
            *options,
        ]

    return make


def list_keys(folder: Path, steps: int) -> list[str]:
    return [
        f"train.steps={steps}",
        f'data.cache="{folder / "cache"}"',
        "system.width=4",
        "train.batch=4",
        "train.samples=2",
        "train.sample_every=1000000",
        "train.checkpoint_every=2",
        "train.log_every=1",
        'train.device="cpu"',
    ]


def test_two_hosts_train_as_one(hosts: Hosts, command: Callable[[int], list[str]], tmp_path: Path) -> None:
    hosts.start(*command(4))
    (code, out, error), (other_code, other_out, other_error) = hosts.wait()
    assert (code, other_code) == (0, 0), error + other_error
    assert out == f"{tmp_path / 'run' / 'model.onnx'}\n"
    assert other_out == ""
    assert [row.split(",")[0] for row in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()] == [
        f'{{"step": {step}' for step in range(1, 5)
    ]
    assert (tmp_path / "run" / "model.onnx").is_file()


def test_a_cut_link_ends_both_and_leaves_a_whole_checkpoint(
    hosts: Hosts, command: Callable[[int], list[str]], tmp_path: Path, drawn: Path
) -> None:
    """Neither hears that the other is gone; both find out, and the run goes on from its last checkpoint."""
    run = tmp_path / "run"
    hosts.start(*command(1_000_000))
    began = time.monotonic()
    while (latest := checkpoint.find_latest_checkpoint(run)) is None or checkpoint.read_weights(
        latest
    ).step < 4:
        assert all(process.poll() is None for process in hosts.processes), [
            p.communicate() for p in hosts.processes
        ]
        assert time.monotonic() - began < ENOUGH_S
        time.sleep(0.2)
    hosts.cut()
    for rank, (code, out, error) in enumerate(hosts.wait()):
        assert code != 0
        assert out == ""
        told = [line for line in error.splitlines() if "lost another one" in line]
        assert len(told) == 1, error
        assert told[0].startswith(
            (f"error: process {rank} of 2 lost another", f"critical: process {rank} of 2")
        )
        assert told[0].endswith("; the same command continues from the last checkpoint")
    latest = checkpoint.find_latest_checkpoint(run)
    assert latest is not None
    step = checkpoint.read_weights(latest).step
    assert checkpoint.load_trainer(latest)["step"] == step >= 4
    alone = configs.read_config(CONFIG, [*list_keys(tmp_path, step + 1), f"data.paths=['{drawn}']"])
    outcome = train(alone, run)
    assert (outcome.step, outcome.images_seen) == (step + 1, 4 * (step + 1))
