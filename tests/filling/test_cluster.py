"""Ray: the option, and that it fills what one process fills, bit for bit, whatever becomes of the workers."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from infilling.errors import DependencyError
from infilling.filling.batch import batch as fill_folder
from infilling.filling.batch_results import RESULTS
from infilling.filling.options import FillOptions

OPTIONS = FillOptions(boxes=((4, 4, 8, 8),))
CHOSEN = ["--box", "4,4,8,8", "--engine", "push-pull"]
batch = partial(fill_folder, engine="push-pull")


def test_without_ray_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    with pytest.raises(DependencyError, match=r"--ray needs ray: pip install .*\[ray\]'"):
        batch(tmp_path, tmp_path / "out", options=OPTIONS, ray="local")


def make_pictures(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.png", compress_level=1)


def start(folder: Path, *options: object, ray: str = "--ray=local") -> subprocess.Popen[str]:
    """The command, on a Ray of its own with two workers."""
    pytest.importorskip("ray", reason="the extra ray is not installed: make test-faults installs it")
    command = [sys.executable, "-m", "infilling", "batch", *options, *CHOSEN, "--jobs", "2", *ray.split()]
    return subprocess.Popen(
        list(map(str, command)), cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def find_workers(driver: int) -> list[int]:
    """Processes of Ray actors of ours whose ancestor is the driver; Ray names them after the class."""
    parents: dict[int, int] = {}
    fillers: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat, title = (entry / "stat").read_text(), (entry / "cmdline").read_bytes()
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
            if title.startswith(b"ray::Filler"):
                fillers.append(int(entry.name))

    def descends(process: int) -> bool:
        while process > 1 and process != driver:
            process = parents.get(process, 0)
        return process == driver

    return [process for process in fillers if descends(process)]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != RESULTS
    }


def rows(out: Path) -> dict[str, dict[str, Any]]:
    told = [json.loads(line) for line in (out / RESULTS).read_text().splitlines()]
    assert len({row["picture"] for row in told}) == len(told), "one line per picture"
    return {
        row.pop("picture"): {key: value for key, value in row.items() if key != "seconds"} for row in told
    }


@pytest.mark.parametrize(
    "words",
    [
        "--ray in out",
        "in --ray out",
        "in out --ray",
        "in out --ray --jobs 2",
        "--ray local in out",
        "in --ray 10.0.0.1:6379 out",
        "in out --ray=[::1]:6379",
        "--ray -- in out",
    ],
)
def test_the_option_takes_an_address_or_none_and_never_a_folder(
    infill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_pictures(tmp_path / "in", 1)
    ran = infill("batch", *CHOSEN, "--dry-run", *words.split())
    assert (ran.code, ran.lines) == (0, ["pending\t0000.png\t0000.png"]), ran.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("in out --ray=in", "'in' is no address: write HOST:PORT, local, or nothing"),
        ("in --ray local", "'local' may be an address or a file here: write --ray=local or ./local"),
        ("--ray head in out", "unexpected extra argument"),
        ("in --ray head:6379", "Missing argument 'OUT'"),
    ],
)
def test_what_may_be_meant_otherwise_is_told(
    infill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_pictures(tmp_path / "in", 1)
    (tmp_path / "local").mkdir()
    ran = infill("batch", *CHOSEN, "--dry-run", *words.split())
    assert (ran.code, ran.lines) == (2, [])
    assert told in ran.err


CLUSTER = """
import ray, sys
ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_cluster_is_found_and_fills_a_bucket(
    tmp_path: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By RAY_ADDRESS, and by its address on the command line; the second run finds what the first left."""
    pytest.importorskip("ray", reason="the extra ray is not installed: make test-faults installs it")
    make_pictures(tmp_path / "in", 8)
    store.put(f"{tmp_path}/in", "photos/ray/in", recursive=True)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else whoever names an address must bring a token
    places = "s3://photos/ray/in", "s3://photos/ray/out"
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        monkeypatch.setenv("RAY_ADDRESS", address)
        for ray, told in (("--ray", "8 filled"), (f"--ray {address}", "8 skipped")):
            out, error = start(tmp_path, *places, ray=ray).communicate(timeout=200)
            assert out == f"s3://photos/ray/out/{RESULTS}\n", error
            assert error == f"filling on the Ray cluster at {address}\n{told}\n"
        cluster.stdin.close()
    store.invalidate_cache()
    store.get("photos/ray/out", f"{tmp_path}/out", recursive=True)
    batch(tmp_path / "in", tmp_path / "alone", options=OPTIONS)
    assert files(tmp_path / "out") == files(tmp_path / "alone")
    gone, error = start(tmp_path, "in", "out", ray="--ray").communicate(timeout=200)
    assert gone == ""
    assert error.startswith(f"error: no Ray cluster at {address}: ")
    assert error.count("\n") == 1


@pytest.mark.faults
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="workers are found in /proc")
def test_a_worker_killed_midway_costs_nothing(tmp_path: Path) -> None:
    """2,000 pictures: each is there exactly once, equal to what one process gives byte for byte."""
    make_pictures(tmp_path / "in", 2000)
    process = start(tmp_path, f"file://{tmp_path}/in", "out")
    killed = 0
    while process.poll() is None and killed < 1:
        time.sleep(0.02)
        if len(list((tmp_path / "out").glob("*.png"))) >= 700:
            killed = find_workers(process.pid)[0]
            os.kill(killed, signal.SIGKILL)
    out, error = process.communicate(timeout=200)
    assert killed, error
    assert process.returncode == 0, error
    assert out == f"out/{RESULTS}\n"
    assert batch(tmp_path / "in", tmp_path / "alone", options=OPTIONS).counts == {"filled": 2000}
    alone = files(tmp_path / "alone")
    assert files(tmp_path / "out") == alone
    assert len(alone) == 2000
    assert rows(tmp_path / "out") == rows(tmp_path / "alone")


@pytest.mark.faults
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="workers are found in /proc")
def test_a_driver_killed_midway_is_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    make_pictures(tmp_path / "in", 300)
    process = start(tmp_path, "in", "out")
    while process.poll() is None and len(list((tmp_path / "out").glob("*.png"))) < 100:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    done = len((tmp_path / "out" / RESULTS).read_text().splitlines())
    assert 50 < done < 300
    again = start(tmp_path, "in", "out", ray="--ray")  # no cluster is there, so it starts one
    _, error = again.communicate(timeout=200)
    assert again.returncode == 0, error
    assert error.startswith("filling on a Ray cluster of this machine, started for this run, at ")
    assert sum(row["state"] == "skipped" for row in rows(tmp_path / "out").values()) >= done - 1
    batch(tmp_path / "in", tmp_path / "alone", options=OPTIONS)
    assert files(tmp_path / "out") == files(tmp_path / "alone")
