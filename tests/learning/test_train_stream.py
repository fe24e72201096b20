"""Runs that learn from streamed shards: from disks and servers, resumed, with shards missing."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from infilling.errors import ConfigError, DataError
from infilling.learning import checkpoint, remote_files
from infilling.learning import config as configs
from infilling.learning.settings import Config
from infilling.learning.train import train

MakeConfig = Callable[..., Config]
ROOT = Path(__file__).resolve().parents[2]
TIMES = {"seconds", "images_per_second"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "WAITS_S", (0.0, 0.0))


def read_weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read_weights(run).tensors


def read_rows(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def assert_same_run(one: Path, other: Path) -> None:
    ours, theirs = read_weights(one), read_weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert read_rows(one) == read_rows(other)


def stream(path: object, *more: str) -> list[str]:
    return [f'data.paths=["{path}"]', "data.stream=true", "data.lanes=2", "data.flip=true", *more]


def test_stopped_and_resumed_is_bit_for_bit_uninterrupted(
    make_config: MakeConfig, sharded: Path, tmp_path: Path
) -> None:
    """Over the end of an epoch of 16 pictures, from another place and with other threads."""
    long = make_config(*stream(sharded, "train.steps=7"))
    train(long, tmp_path / "whole")
    moved = shutil.copytree(sharded, tmp_path / "moved")
    for steps in (3, 7):
        train(
            make_config(*stream(moved, f"train.steps={steps}", f"data.workers={steps}")), tmp_path / "parts"
        )
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert read_rows(tmp_path / "whole")[-1]["epoch"] > 1


def test_a_server_and_a_disk_give_the_same_run(
    make_config: MakeConfig, sharded: Path, tmp_path: Path, serve: Callable[[Path], object]
) -> None:
    """The server fails now and then."""
    train(make_config(*stream(sharded)), tmp_path / "disk")
    server = serve(sharded)
    server.faults = {f"/00000{number}.tar": ["500", "cut"] for number in range(4)}
    url = f"{server.url}/{{000000..000003}}.tar"
    train(make_config(f'data.paths=["{url}"]', "data.lanes=2", "data.flip=true"), tmp_path / "server")
    assert_same_run(tmp_path / "disk", tmp_path / "server")


def test_a_run_outlives_a_missing_shard(
    make_config: MakeConfig, sharded: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = shutil.copytree(sharded, tmp_path / "broken")
    (broken / "000001.tar").unlink()
    (broken / "000002.tar").write_bytes((broken / "000002.tar").read_bytes()[:6000])
    with caplog.at_level(logging.WARNING, logger="infilling"):
        outcome = train(make_config(*stream(broken, "train.steps=8")), tmp_path / "run")
    assert (outcome.ended_by, outcome.images_seen) == ("steps", 32)
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "000001.tar in 3 tries: it is not there; another shard takes its place" in told
    assert "000002.tar: the shard ends early" in told


def test_a_run_whose_shards_are_all_gone_ends_and_goes_on(
    make_config: MakeConfig, sharded: Path, tmp_path: Path
) -> None:
    """The last checkpoint is whole; with the shards back the run ends as if nothing had been."""
    broken = shutil.copytree(sharded, tmp_path / "broken")
    long = make_config(*stream(broken, "train.steps=8", "train.checkpoint_every=1"))

    def break_at(progress: object) -> None:
        if progress.step == 2:
            for path in broken.glob("*.tar"):
                path.rename(path.with_suffix(".gone"))

    with pytest.raises(
        DataError, match=r"cannot read \d shards one after the other, .*; the same command continues from"
    ):
        train(long, tmp_path / "run", report=break_at)
    for path in broken.glob("*.gone"):
        path.rename(path.with_suffix(".tar"))
    train(long, tmp_path / "run")
    train(make_config(*stream(sharded, "train.steps=8")), tmp_path / "whole")
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ["data.lanes=3"],
            r"data.lanes is 3: set it to a number that divides train.batch = 4 and that 1 processes",
        ),
        (['data.paths=["nowhere"]'], r"there is nothing at nowhere"),
    ],
)
def test_streams_that_cannot_be(
    make_config: MakeConfig, sharded: Path, tmp_path: Path, overrides: list[str], reason: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=reason):
        train(make_config(*stream(sharded), *overrides), tmp_path / "run")


def test_a_run_of_a_stream_does_not_go_on_otherwise(
    make_config: MakeConfig, sharded: Path, tmp_path: Path
) -> None:
    train(make_config(*stream(sharded, "train.steps=1")), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"data.lanes was 2, now 4; choose another folder"):
        train(make_config(*stream(sharded, "train.steps=2"), "data.lanes=4"), tmp_path / "run")


@pytest.mark.slow
def test_the_command_learns_from_s3(store, sharded: Path, tmp_path: Path, infill) -> None:
    for path in sharded.iterdir():
        store.pipe_file(f"photos/run/{path.name}", path.read_bytes())
    small = ["system.width=4", "train.batch=4", "train.steps=2", "train.samples=1", "data.lanes=2"]
    options = [part for key in [*small, f'data.cache="{tmp_path}"'] for part in ("--set", key)]
    where = ["--data", "s3://photos/run", "--out", tmp_path / "run", "--device", "cpu"]
    ran = infill("train", "reference", *where, *options)
    assert ran.code == 0, ran.err
    assert ran.lines == [str(tmp_path / "run" / "model.onnx")]
    assert configs.read_config(tmp_path / "run" / "config.toml").data.paths == ("s3://photos/run",)
    store.rm_file("photos/run/000000.tar")
    missing = infill("train", "reference", *where, *options, "--set", "train.steps=9")
    assert missing.code == 0, missing.err
    assert "warning: cannot read s3://photos/run/000000.tar in 3 tries: it is not there" in missing.err
