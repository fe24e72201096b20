"""A full disk, files that may not be read or written, a clock that goes back: nothing good is lost."""

import json
import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.faults.conftest import MakeConfig, Start, Told
from tests.faults.processes import train_as_the_clock_goes_back
from tests.faults.test_kills import assert_same_end, files

from infilling.filling.batch import batch
from infilling.filling.batch_results import RESULTS
from infilling.filling.options import FillOptions
from infilling.learning import checkpoint
from infilling.learning import config as configs
from infilling.learning.train import train

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

Run = Callable[..., Told]
Disk = Callable[[int], Path]


@pytest.fixture
def config(make_config: MakeConfig, tmp_path: Path) -> Path:
    """A file with the config of a short run."""
    file = tmp_path / "narrow.toml"
    file.write_text(configs.config_to_toml(make_config("train.steps=16")))
    return file


@pytest.fixture(scope="module")
def whole(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of the same config."""
    torch.set_num_threads(1)
    return train(make_config("train.steps=16"), tmp_path_factory.mktemp("whole")).run


def assert_told(told: Told, code: int, *words: str) -> None:
    """The command failed with this code, and its last line says so."""
    assert told.code == code, told.err
    last = told.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert all(word in last for word in words), last


# -- a full disk ---------------------------------------------------------------------------------------------


def fill_up(folder: Path) -> int:
    """How many kilobytes the files of a folder take, each in whole pages."""
    return sum(-(-path.stat().st_size // 4096) * 4 for path in folder.rglob("*") if path.is_file())


def test_a_disk_that_is_full_at_any_point_of_a_training(
    run: Run, disk: Disk, config: Path, whole: Path
) -> None:
    """Each time it has a little more room, and goes on; the end is that of the run that had room at once."""
    reached = []
    needed = fill_up(whole)
    for room in [*range(16, needed, needed // 12), 4 * needed]:
        out = disk(room)
        told = run("train", config, "--out", out / "run")
        folders = sorted((out / "run" / "checkpoint").glob("step-*"))
        for folder in folders:
            assert checkpoint.load_trainer(folder)["step"] == checkpoint.read_weights(folder).step
        reached.append(len(folders) and int(folders[-1].name[5:]))
        if told.code == 0:
            break
        assert_told(told, 8, "No space left on device", str(out))
        assert not [name for name in files(out) if name.endswith(".part")]
    assert told.code == 0
    assert len(set(reached)) > 2, "it was full at different points"
    assert reached == sorted(reached)
    assert_same_end(out / "run", whole)


def test_a_disk_that_is_full_when_a_model_is_exported(run: Run, disk: Disk, whole: Path) -> None:
    good = (whole / "model.onnx").read_bytes()
    out = disk(len(good) // 1024 + 8)
    (out / "model.onnx").write_bytes(good)
    told = run("export", whole, "--out", out / "model.onnx")
    assert_told(told, 8, "No space left on device", "model.onnx")
    assert_told(run("export", whole, "--out", out / "other.onnx"), 8, "No space left on device")
    assert files(out) == {"model.onnx": good}


def test_a_disk_that_is_full_at_any_point_of_a_batch(
    run: Run, disk: Disk, pictures: Path, tmp_path: Path
) -> None:
    options = FillOptions(boxes=((10, 10, 40, 40),))
    assert batch(pictures, tmp_path / "whole", options=options, engine="push-pull").failed == 0
    content = files(tmp_path / "whole")
    lines = content.pop(RESULTS).splitlines()
    command = ["batch", pictures, None, "--box", "10,10,40,40", "--engine", "push-pull"]
    needed, counts = fill_up(tmp_path / "whole"), []
    for room in [4, 8, 12, *range(16, needed, needed // 8), 2 * needed]:
        out = disk(room)
        command[2] = out / "out"
        told = run(*command)
        there = files(out / "out") if (out / "out").is_dir() else {}
        there.pop(RESULTS, None)
        assert there.items() <= content.items(), "only whole files, and no others"
        counts.append(len(there))
        if told.code == 0:
            break
        assert told.code in (1, 8)
        assert "No space left on device" in told.err.splitlines()[0]
    assert told.code == 0
    assert counts == sorted(counts)
    assert 0 < counts[len(counts) // 2] < len(content)
    assert there == content
    rows = [json.loads(line) for line in (out / "out" / RESULTS).read_text().splitlines()]
    assert sorted(row["output"] for row in rows) == sorted(content)
    assert len(rows) == len(lines)


def test_a_disk_that_is_full_as_pictures_are_prepared(run: Run, disk: Disk, config: Path) -> None:
    cache = disk(64)
    told = run("train", config, "--out", cache / "run", "--set", f"data.cache={cache}")
    assert_told(told, 8, str(cache))
    assert not list(cache.glob("*/pixels.npy"))


# -- permission denied ---------------------------------------------------------------------------------------


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """`locked(path)`: takes the permission to read a file, or to write into a folder."""
    changed: list[tuple[Path, int]] = []

    def lock(path: Path) -> Path:
        changed.append((path, stat.S_IMODE(path.stat().st_mode)))
        path.chmod(0o555 if path.is_dir() else 0)
        return path

    yield lock
    for path, mode in changed:
        path.chmod(mode)


def test_what_may_not_be_read_or_written_is_told(
    run: Run, locked: Callable[[Path], Path], config: Path, whole: Path, pictures: Path, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    locked(closed)
    photo, secret = tmp_path / "photo.png", tmp_path / "secret.png"
    for path in (photo, secret):
        Image.new("RGB", (40, 30)).save(path)
    locked(secret)
    box = ["--box", "4,4,8,8"]
    denied = "Permission denied"

    def refuse(code: int, *command: object, words: str = denied) -> None:
        assert_told(run(*command, privileged=False), code, words)

    refuse(3, "fill", secret, *box)
    refuse(3, "fill", photo, "--mask", secret)
    refuse(8, "fill", photo, *box, "--out", closed / "photo.png")
    refuse(8, "batch", pictures, closed / "out", *box)
    refuse(8, "train", config, "--out", closed / "run")
    refuse(8, "export", whole, "--out", closed / "model.onnx")
    assert not list(closed.iterdir())
    model, latest = tmp_path / "model.onnx", checkpoint.find_latest_checkpoint(whole)
    assert latest is not None
    model.write_bytes((whole / "model.onnx").read_bytes())
    refuse(4, "fill", photo, *box, "--engine", locked(model))
    locked(latest / "trainer.pt")
    refuse(4, "train", config, "--out", whole, "--set", "train.steps=18")
    locked(latest / "weights.safetensors")
    refuse(4, "export", whole, "--out", tmp_path / "again.onnx")
    refuse(6, "train", locked(config), "--out", tmp_path / "run")
    assert not (tmp_path / "again.onnx").exists()


def test_a_picture_that_may_not_be_read_stops_no_batch(
    run: Run, locked: Callable[[Path], Path], tmp_path: Path
) -> None:
    for name in ("a", "b", "sub/c"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / "in" / f"{name}.png")
    locked(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "sub").chmod(0)
    told = run(
        "batch", tmp_path / "in", tmp_path / "out", "--box", "4,4,8,8", "--engine", "mean", privileged=False
    )
    (tmp_path / "in" / "sub").chmod(0o755)
    assert told.code == 1
    assert told.err.count("Permission denied") == 2
    assert files(tmp_path / "out").keys() == {"b.png", RESULTS}


# -- the clock -----------------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_changes_nothing(
    start: Start, make_config: MakeConfig, whole: Path, tmp_path: Path
) -> None:
    """A day back at every step; killed on the way, it goes on though all its files are of days to come."""
    out, config = tmp_path / "run", make_config("train.steps=16")
    process = start(train_as_the_clock_goes_back, config, out)
    while not (out / "checkpoint" / "step-00000006").is_dir():
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    rng, now = random.Random(0), time.time()
    for path in [*out.rglob("*"), *Path(str(config.data.cache)).rglob("*")]:
        os.utime(path, (now + rng.uniform(0, 1e6),) * 2)
    process = start(train_as_the_clock_goes_back, config, out)
    process.join()
    assert process.exitcode == 0
    assert_same_end(out, whole)
