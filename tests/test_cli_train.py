"""The command line of learning and judging: train, go on, export, evaluate, fill with what was learned."""

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import draw_pictures

from infilling.cli import train as commands
from infilling.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "reference"
SMALL = ["system.width=4", "train.batch=2", "train.log_every=1", "train.sample_every=100", "train.samples=2"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve pictures of 128×128 px."""
    return draw_pictures(tmp_path_factory.mktemp("pictures"), 12, (128, 128), grid=5)


@pytest.fixture
def train(infill, pictures, tmp_path) -> Callable[..., object]:
    """`train(steps, *options)` learns for so many steps in `tmp_path / "run"`."""

    def run(steps: int, *options: object) -> object:
        keys = [*SMALL, f"train.steps={steps}", f'data.cache="{tmp_path / "cache"}"']
        settings = [part for key in keys for part in ("--set", key)]
        where = ["--data", pictures, "--out", tmp_path / "run", "--device", "cpu", "--threads", 1]
        return infill("train", CONFIG, *where, *settings, *options)

    return run


def read_steps(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "stats.jsonl").read_text().splitlines()]


def test_a_run_is_trained_judged_and_used(train, infill, pictures, tmp_path) -> None:
    run = tmp_path / "run"
    trained = train(2)
    assert trained.code == 0, trained.err
    assert trained.lines == [str(run / "model.onnx")]
    told = [line for line in trained.err.splitlines() if "step" in line]
    assert [line.split()[:2] for line in told[:2]] == [["step", "1"], ["step", "2"]]
    assert all("Loss_D" in line and "pictures/s" in line for line in told[:2])
    assert told[-1] == "2 steps, 4 pictures, ended by steps"

    exported = infill("export", run, "--out", tmp_path / "half.onnx", "--half")
    assert exported.lines == [str(tmp_path / "half.onnx")]
    assert (tmp_path / "half.onnx").stat().st_size < (run / "model.onnx").stat().st_size

    report = tmp_path / "report"
    few = ["--count", 4, "--seed", 3, "--threads", 1]
    judge = ["evaluate", "--data", pictures, "--engine", "mean", "--engine", run, *few]
    judged = infill(*judge, "--out", report)
    assert judged.code == 0, judged.err
    header, *rows = (line.split("\t") for line in judged.lines)
    assert header[0] == "engine"
    assert "PSNR" in " ".join(header)
    assert [row[0] for row in rows[:2]] == ["mean", "run"]
    found = json.loads((report / "report.json").read_text())["rows"]
    assert [row["engine"] for row in found] == ["mean", "run"]
    assert float(rows[0][header.index("PSNR")]) == pytest.approx(found[0]["values"]["psnr"], abs=0.01)
    with (report / "per-image.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * 4
    assert "<img" in (report / "report.html").read_text()
    again = infill(*judge, "--markdown")
    assert again.lines[0].startswith("| engine |")

    filled = infill(
        "fill", pictures / "00.png", "--box", "30,40,50,40", "--engine", run, "-o", tmp_path / "x.png"
    )
    assert filled.code == 0, filled.err
    before, after = (
        np.asarray(Image.open(path).convert("RGB")) for path in (pictures / "00.png", tmp_path / "x.png")
    )
    changed = (before != after).any(axis=-1)
    assert changed[40:80, 30:80].any()
    assert changed.sum() == changed[40:80, 30:80].sum()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_a_signal_saves_and_the_same_command_goes_on(train, tmp_path, monkeypatch, number, code) -> None:
    def stop(lines: object, progress: object) -> None:
        if getattr(progress, "row", None):
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(commands._Lines, "show", stop)
        stopped = train(2)
    assert (stopped.code, stopped.out) == (code, b"")
    assert "saved" in stopped.err
    assert "Traceback" not in stopped.err
    assert read_steps(tmp_path / "run") == [1]
    assert not (tmp_path / "run" / "model.onnx").exists()
    resumed = train(2)
    assert resumed.code == 0
    assert "continuing from" in resumed.err
    assert read_steps(tmp_path / "run") == [1, 2]


def test_a_dry_run_says_what_would_be_and_writes_nothing(train, tmp_path) -> None:
    ran = train(2, "--dry-run", "--max-minutes", 5)
    assert ran.code == 0, ran.err
    text = ran.out.decode()
    for expected in (
        "max_minutes = 5.0",
        "# generator",
        "# discriminator",
        "# memory",
        "# speed",
        "# preparing",
        "for 12 pictures, the first time",
        "# learning",
        "# total",
        "5 min 0 s (train.max_minutes)",
        'name = "reference"',
    ):
        assert expected in text
    assert not (tmp_path / "run").exists()
    (tmp_path / "resolved.toml").write_text(text)
    from infilling.learning import config

    assert config.read_config(tmp_path / "resolved.toml").train.steps == 2  # what it prints is a config


def test_a_recipe_that_says_no_number_of_pictures_is_not_scaled(train, tmp_path) -> None:
    ran = train(2, "--images", 100)
    assert ran.code == ConfigError.exit_code
    assert "train.images" in ran.err
    assert not (tmp_path / "run").exists()


def test_minutes_scale_a_recipe_and_a_run_that_goes_on_keeps_its_number(train, tmp_path, monkeypatch) -> None:
    from infilling.learning import config, dry_run

    monkeypatch.setattr(dry_run, "_time_step", lambda *_: 24.0)  # seconds, for two pictures
    recipe = ["--set", "train.images=100", "--max-minutes", 2]
    first = train(2, *recipe)
    assert first.code == 0, first.err
    images = config.read_config(tmp_path / "run" / "config.toml").train.images
    assert f"scaled to {images} pictures" in first.err
    assert 4 <= images <= 9  # 9 in 108 seconds, less those that the start took
    monkeypatch.setattr(dry_run, "_time_step", lambda *_: 1.0)
    again = train(2, *recipe)
    assert again.code == 0, again.err
    assert config.read_config(tmp_path / "run" / "config.toml").train.images == images


def test_a_misspelled_key_names_the_near_ones(train) -> None:
    ran = train(2, "--set", "train.bacth=4")
    assert ran.code == 6
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert "train.bacth" in ran.err
    assert "batch" in ran.err.replace("bacth", "")


def test_a_folder_without_pictures_is_one_line(infill, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    ran = infill("train", CONFIG, "--data", tmp_path / "empty", "--out", tmp_path / "run")
    assert ran.code == 5
    assert ran.err.count("\n") == 1
    assert str(tmp_path / "empty") in ran.err
    assert not (tmp_path / "run").exists()
