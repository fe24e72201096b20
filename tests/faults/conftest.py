"""Processes that start in milliseconds, a disk that is soon full, and a narrow network with two stages."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import draw_pictures

from infilling.learning import config as configs
from infilling.learning.settings import Config

Start = Callable[..., BaseProcess]
MakeConfig = Callable[..., Config]

PRELOADED = [
    "tests.faults.processes",
    "torch.utils.tensorboard",
    "matplotlib.pyplot",
]


@pytest.fixture(scope="session")
def start() -> Start:
    """`start(function, *arguments, **options)`: a process, forked from one that has loaded all modules."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    os.environ["OMP_NUM_THREADS"] = "1"

    def start_process(function: Callable[..., object], *arguments: Any, **options: Any) -> BaseProcess:
        process = context.Process(target=function, args=arguments, kwargs=options)
        process.start()
        return process

    return start_process


@dataclass(frozen=True)
class Told:
    """What a command left: its exit code, and what it wrote."""

    code: int | None
    out: str
    err: str


@pytest.fixture
def run(start: Start, tmp_path: Path) -> Callable[..., Told]:
    """`run("fill", path, …, privileged=False)`: the command in a process; it leaves no trace of a stack."""

    def run_command(*arguments: object, privileged: bool = True) -> Told:
        from tests.faults import processes

        told = tmp_path / "told"
        process = start(processes.run_command, [str(each) for each in arguments], told, privileged)
        process.join()
        assert process.exitcode is not None
        out, err = (Path(f"{told}{ending}").read_text() for ending in (".out", ".err"))
        assert "Traceback" not in err
        assert "unexpected" not in err
        return Told(process.exitcode, out, err)

    return run_command


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """`disk(kilobytes)`: a folder on an empty disk of that size; called again, it has another size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(kilobytes: int) -> Path:
        nonlocal mounted
        options = f"size={kilobytes}k" + (",remount" if mounted else "")
        ran = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True
        )
        if ran.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {ran.stderr.strip()}")
        mounted = True
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sixty pictures of smooth colours, 96×80."""
    return draw_pictures(tmp_path_factory.mktemp("pictures"), 60, (96, 80))


NARROW = [
    "system.widths=[8, 16, 24]",
    "system.depth=1",
    "system.critic_width=8",
    "system.perceptual_weight=0",
    "system.adversary_start_images=24",
]


@pytest.fixture(scope="session")
def make_config(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeConfig:
    """Makes a config of a short run in two stages, of pictures with 32×32 px; its arguments override."""

    def make(*overrides: str) -> Config:
        tree = {
            "system": {"name": "push-pull-unet"},
            "data": {
                "paths": [str(pictures)],
                "cache": str(tmp_path_factory.getbasetemp() / "cache"),
                "image_size": 32,
                "validation_share": 0.2,
            },
            "train": {
                "batch": 4,
                "steps": 30,
                "log_every": 1,
                "sample_every": 5,
                "samples": 2,
                "device": "cpu",
                "checkpoint_every": 2,
            },
        }
        return configs.parse_config(tree, [*NARROW, *overrides])

    return make
