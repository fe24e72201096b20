"""The loop: what a run's folder holds, resuming bit for bit, stopping, refusing."""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from infilling.errors import ConfigError, DataError, DependencyError, InfillingError, InputError, StorageError
from infilling.filling.network import NetworkEngine
from infilling.learning import checkpoint, config, run_folder, systems
from infilling.learning import dry_run as dry_runs
from infilling.learning.device import choose_device, choose_place
from infilling.learning.dry_run import dry_run
from infilling.learning.learner import Learner
from infilling.learning.loss_guard import LossGuard
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.plots import CAPTION, CAPTION_WIDTH
from infilling.learning.progress import Progress
from infilling.learning.settings import Config
from infilling.learning.systems.push_pull_unet import PushPullUNet
from infilling.learning.train import FIDELITY, Outcome, train

MakeConfig = Callable[..., Config]
TIMES = ("seconds", "images_per_second")


def read_rows(folder: Path) -> list[dict[str, float]]:
    """The rows of a run without what depends on the clock."""
    rows = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def assert_same(one: object, other: object) -> None:
    """Equal to the last bit, in nested dicts and lists of tensors."""
    if isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor)
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert isinstance(other, dict)
        assert one.keys() == other.keys()
        for key in one:
            if key != "seconds":
                assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert isinstance(other, (list, tuple))
        assert len(one) == len(other)
        for ours, theirs in zip(one, other, strict=True):
            assert_same(ours, theirs)
    else:
        assert one == other


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, averages, optimisers, random states, place in the data and rows are the same."""
    first, second = checkpoint.find_latest_checkpoint(one), checkpoint.find_latest_checkpoint(other)
    assert first is not None
    assert second is not None
    assert first.name == second.name
    assert_same(checkpoint.read_weights(first).tensors, checkpoint.read_weights(second).tensors)
    assert_same(checkpoint.load_trainer(first), checkpoint.load_trainer(second))
    assert read_rows(one) == read_rows(other)


@pytest.mark.parametrize("system", ["tiny", "reference"])
def test_stopped_and_resumed_is_bit_for_bit_uninterrupted(
    make_config: MakeConfig, tmp_path: Path, system: str
) -> None:
    size = "data.image_size=128" if system == "reference" else "data.flip=true"
    overrides = [size, "system.width=4", "train.ema_half_life_images=20", "train.generator.warmup_images=10"]
    long = make_config(*overrides, "train.steps=6", name=system)
    train(long, tmp_path / "whole")
    train(make_config(*overrides, "train.steps=3", name=system), tmp_path / "parts")
    seen: list[Progress] = []
    outcome = train(long, tmp_path / "parts", report=seen.append)
    (note,) = [progress.note for progress in seen if progress.note]
    assert note.startswith("continuing from ")
    assert "step-00000003, 12 pictures seen" in note
    assert (outcome.step, outcome.images_seen, outcome.ended_by) == (6, 24, "steps")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_two_sizes_and_two_stages_in_one_run(make_config: MakeConfig, tmp_path: Path) -> None:
    """Half the side for 8 pictures, the critic from 12 on; stopped between, it goes on bit for bit.

    At step 3 it is as if it were killed after the checkpoint of the first stage, before the model of it.
    """
    overrides = [
        "data.half_size_images=8",
        "system.widths=[8, 16, 24]",
        "system.depth=1",
        "system.critic_width=8",
        "system.perceptual_weight=0",
        "system.adversary_start_images=12",
    ]
    long = make_config(*overrides, "train.steps=5", name="push-pull-unet")
    sizes: list[int] = []
    original = PushPullUNet.generate

    def watch(system: PushPullUNet, batch: MaskedBatch) -> torch.Tensor:
        sizes.append(batch.image.shape[-1])
        return original(system, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PushPullUNet, "generate", watch)
        train(long, tmp_path / "whole")
    assert sizes == [16, 16, 32, 32, 32]
    for stop in (2, 3):
        parts = tmp_path / f"stopped-at-{stop}"
        train(make_config(*overrides, f"train.steps={stop}", name="push-pull-unet"), parts)
        (parts / FIDELITY).unlink(missing_ok=stop == 2)
        train(long, parts)
        assert_same_run(tmp_path / "whole", parts)
        stages = [NetworkEngine(parts / name).card.images_seen for name in (FIDELITY, "model.onnx")]
        assert stages == [12, 20]


def test_half_the_side_must_suit_the_system(make_config: MakeConfig, tmp_path: Path) -> None:
    settings = make_config("data.half_size_images=8", "data.image_size=36")
    with pytest.raises(ConfigError, match=r"tiny cannot learn at half of 36 px: set data.half_size_images"):
        train(settings, tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(make_config: MakeConfig, tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    settings = make_config("train.steps=5")

    def stop(progress: Progress) -> None:
        if progress.step == 2 and progress.row:
            os.kill(os.getpid(), number)

    outcome = train(settings, tmp_path / "run", report=stop)
    assert outcome == Outcome(tmp_path / "run", 2, 8, number.name, None)
    assert signal.getsignal(number) is before
    assert not (tmp_path / "run" / "model.onnx").exists()
    latest = checkpoint.find_latest_checkpoint(tmp_path / "run")
    assert latest is not None
    assert latest.name == "step-00000002"
    assert checkpoint.load_trainer(latest)["step"] == 2


def test_a_second_ctrl_c_does_not_wait(make_config: MakeConfig, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        for _ in range(
            2 if progress.step else 0
        ):  # each to this very thread: two that wait for another thread count as one
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(make_config(), tmp_path / "run", report=stop)


def test_a_killed_run_goes_on_from_its_last_checkpoint(make_config: MakeConfig, tmp_path: Path) -> None:
    """Rows and samples past the checkpoint are taken again, none twice, and a half-written one is ignored."""
    settings = make_config("train.steps=6", "train.checkpoint_every=2", "train.sample_every=1")

    class Killed(Exception):
        pass

    def kill(progress: Progress) -> None:
        if progress.step == 5 and progress.row:
            raise Killed

    with pytest.raises(Killed):
        train(settings, tmp_path / "run", report=kill)
    assert [row["step"] for row in read_rows(tmp_path / "run")] == [1, 2, 3, 4, 5]
    with (tmp_path / "run" / "stats.jsonl").open("a") as file:
        file.write('{"step": 6, "Loss_')
    unfinished = tmp_path / "run" / "checkpoint" / ".step-00000005.1.unfinished"
    unfinished.mkdir()
    (unfinished / "weights.safetensors").write_bytes(b"half")
    train(settings, tmp_path / "run")
    train(settings, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    samples = [
        sorted(path.name for path in (tmp_path / name / "samples").iterdir()) for name in ("whole", "run")
    ]
    assert samples[0] == samples[1]
    assert not unfinished.exists()


def test_the_folder_holds_all_it_should(make_config: MakeConfig, tmp_path: Path) -> None:
    settings, out = make_config("train.steps=4", "train.generator.lr=0.05"), tmp_path / "deep" / "run"
    told: list[Progress] = []
    outcome = train(settings, out, report=told.append)
    assert outcome == Outcome(out, 4, 16, "steps", out / "model.onnx")
    assert config.read_config(out / "config.toml") == settings
    rows = read_rows(out)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["images_seen"] for row in rows] == [4, 8, 12, 16]
    names = {
        "Loss_D",
        "total",
        "reconstruction",
        "D(x)",
        "epoch",
        "rate generator",
        "gradient norm generator",
    }
    assert names <= rows[0].keys()
    assert [row["step"] for row in rows if "r1" in row] == [1, 3]  # its phase is due every other step
    steps = [progress for progress in told if progress.row]
    assert [progress.share for progress in steps] == [0.25, 0.5, 0.75, 1.0]
    assert steps[0].row["images_per_second"] > 0
    activities = list(dict.fromkeys(progress.activity for progress in told if progress.activity))
    assert activities[0] == "looking for pictures"
    assert activities[-3:] == ["learning", "drawing", "exporting the model"]
    (start,) = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert (start["step"], start["pictures"] + start["held_out"]) == (0, 20)
    with Image.open(out / "batch.png") as image:
        assert image.size == (4 * (2 * 32 + 2) - 2, 32 + CAPTION)  # four pictures, before and after
    with Image.open(out / "samples" / "step-00000002.png") as image:
        assert image.size == (CAPTION_WIDTH, 32 + CAPTION)  # two: masked, filled, original
    with Image.open(out / "samples.webp") as image:
        assert getattr(image, "n_frames", 1) == 2
    for name in ("final.png", "losses.png"):
        with Image.open(out / name) as image:
            image.load()
    assert len(list(out.glob("events.out.tfevents.*"))) == 1
    assert [path.name for path in sorted((out / "checkpoint").iterdir())] == ["step-00000004"]


def test_the_sample_shows_the_known_pixels_unchanged(make_config: MakeConfig, tmp_path: Path) -> None:
    train(make_config("train.steps=2"), tmp_path)
    with Image.open(tmp_path / "samples" / "step-00000002.png") as image:
        grid = np.asarray(image)[CAPTION:]
    masked, result, target = (grid[:, 32 * panel : 32 * (panel + 1)] for panel in range(3))
    hole = (masked == 128).all(axis=2)
    assert 0.05 < hole.mean() < 0.5
    assert (result[~hole] == target[~hole]).all()
    assert (masked[~hole] == target[~hole]).all()
    assert (result[hole] != target[hole]).any()


def test_only_the_last_checkpoints_are_kept(make_config: MakeConfig, tmp_path: Path) -> None:
    train(make_config("train.steps=5", "train.checkpoint_every=1", "train.keep_checkpoints=3"), tmp_path)
    kept = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())
    assert kept == ["step-00000003", "step-00000004", "step-00000005"]


@pytest.mark.parametrize(
    ("limits", "name", "steps"),
    [
        (["train.epochs=0.5", "train.steps=100"], "epochs", 2),  # of 16 or so pictures
        (["train.images=5", "train.steps=100"], "images", 2),
    ],
)
def test_the_first_limit_ends_it(
    make_config: MakeConfig, tmp_path: Path, limits: list[str], name: str, steps: int
) -> None:
    outcome = train(make_config(*limits), tmp_path)
    assert (outcome.ended_by, outcome.step) == (name, steps)
    assert outcome.model is not None


def test_minutes_count_all_that_a_run_does(make_config: MakeConfig, tmp_path: Path) -> None:
    """A budget of seconds ends in time with a model; what is learned in it depends on the machine."""
    train(make_config("train.steps=1"), tmp_path / "warm")  # imports and caches
    begun = time.monotonic()
    settings = make_config("train.max_minutes=0.17", "train.steps=1000000", "train.log_every=1000000")
    outcome = train(settings, tmp_path / "run", started=begun)
    assert outcome.ended_by == "max_minutes"
    assert outcome.model is not None
    assert time.monotonic() - begun < 20
    rows = read_rows(tmp_path / "run")
    assert [row["step"] for row in rows] == [1, outcome.step]  # the last one too


def test_too_few_minutes_are_refused_with_the_least_that_works(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    message = r"1e-06 minutes are too few for a single step: .*; the least that works is about [\d.]+ minutes"
    with pytest.raises(ConfigError, match=message):
        train(make_config("train.max_minutes=1e-6", "train.steps=100"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_pictures_are_asked_for_and_recorded(
    make_config: MakeConfig, tmp_path: Path, drawn: Path
) -> None:
    """The same pictures elsewhere are the same; others need a word, and leave a row in the history."""
    run = tmp_path / "run"
    train(make_config("train.steps=1"), run)
    moved = shutil.copytree(drawn, tmp_path / "moved")
    train(make_config("train.steps=2", f"data.paths=['{moved}']"), run)
    (moved / "00.png").unlink()
    others = make_config("train.steps=3", f"data.paths=['{moved}']")
    with pytest.raises(ConfigError, match=r"learned from other pictures \(.* so far, now .*--allow-new-data"):
        train(others, run)
    notes: list[str] = []
    report = lambda progress: notes.append(progress.note)  # noqa: E731
    assert train(others, run, allow_new_data=True, report=report).step == 3
    assert any(note.startswith("learning from other pictures from here on") for note in notes)
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in history] == [0, 1, 2]
    assert [row["paths"] for row in history] == [[str(drawn)], [str(moved)], [str(moved)]]
    assert history[0]["key"] == history[1]["key"] != history[2]["key"]
    assert [row["pictures"] + row["held_out"] for row in history] == [20, 20, 19]


def test_prepared_pictures_cut_short_end_in_a_checkpoint_and_a_line(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    settings = make_config("train.steps=50", f"data.cache={tmp_path / 'cache'}")

    def cut(progress: Progress) -> None:
        if progress.step == 3:
            (pixels,) = (tmp_path / "cache").glob("*/pixels.npy")
            os.truncate(pixels, 1000)

    with pytest.raises(StorageError, match=r"pixels.npy was cut short: .*; the same command continues from"):
        train(settings, tmp_path / "run", report=cut)
    assert checkpoint.read_weights(tmp_path / "run").step == 3
    short = settings.model_copy(update={"train": settings.train.model_copy(update={"steps": 4})})
    assert train(short, tmp_path / "run").step == 4  # prepared again


def test_a_finished_run_is_finished(make_config: MakeConfig, tmp_path: Path) -> None:
    first = train(make_config(), tmp_path)
    rows = read_rows(tmp_path)
    assert train(make_config(), tmp_path) == first
    assert read_rows(tmp_path) == rows


def test_what_is_not_a_number_stops_it(make_config: MakeConfig, tmp_path: Path) -> None:
    settings = make_config("train.checkpoint_every=1", "train.steps=9")
    steep = settings.train.generator.model_copy(update={"lr": 1e38})  # beyond what a config may say
    settings = settings.model_copy(update={"train": settings.train.model_copy(update={"generator": steep})})
    with pytest.raises(
        InfillingError, match=r"^step [23] gave .*total = (nan|inf).*checkpoint is .*step-0000000[12]$"
    ):
        train(settings, tmp_path)
    assert checkpoint.find_latest_checkpoint(tmp_path) is not None


def test_the_guard_finds_the_first_bad_step_late(tmp_path: Path) -> None:
    guard = LossGuard(tmp_path, every=3)
    guard.add(1, {"total": torch.tensor(1.0)})
    guard.add(2, {"total": torch.tensor(float("inf"))})
    with pytest.raises(InfillingError, match="step 2 gave total = inf; there is no checkpoint yet"):
        guard.add(3, {"total": torch.tensor(float("nan"))})


def test_another_config_is_refused_and_every_difference_named(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    train(make_config("train.steps=1"), tmp_path)
    changed = make_config("train.generator.lr=0.1", "train.batch=3", "data.image_size=64", "train.steps=1")
    with pytest.raises(
        ConfigError,
        match=r"image_size was 32, now 64; .*batch was 4, now 3; train\.generator\.lr was 0\.0002, now 0\.1",
    ):
        train(changed, tmp_path)
    with pytest.raises(ConfigError, match="holds a run of the system tiny, not reference"):
        train(make_config("system.width=4", "data.image_size=128", name="reference"), tmp_path)
    assert train(make_config("train.steps=2", "train.log_every=2", "train.max_minutes=9"), tmp_path).step == 2


def test_one_process_trains_in_a_folder_and_a_killed_one_frees_it(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    hold = (
        "import fcntl, os, sys, time; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX);"
        "file.write(str(os.getpid())); file.flush(); print(flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path / ".lock")], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StorageError, match=f"process {other.pid} is training in "):
            train(make_config(), tmp_path)
        assert not (tmp_path / "config.toml").exists()
    finally:
        other.kill()
        other.communicate()
    with (
        run_folder.lock_run(tmp_path),
        pytest.raises(StorageError, match=f"process {os.getpid()} is"),
        run_folder.lock_run(tmp_path),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(make_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot train in .*Not a directory"):
        train(make_config(), tmp_path / "file" / "run")


def test_what_does_not_fit_is_refused_before_training(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiny takes multiples of 4 px; data\.image_size is 30"):
        train(make_config("data.image_size=30"), tmp_path)
    with pytest.raises(ConfigError, match=r"reference takes 128 px; data\.image_size is 32"):
        train(make_config("system.width=4", name="reference"), tmp_path)
    with pytest.raises(ConfigError, match=r"set data\.paths"):
        train(make_config("data.paths=[]"), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        train(make_config(f"data.paths=['{tmp_path / 'empty'}']"), tmp_path)
    with pytest.raises(ConfigError, match="no device is called 'gpu'"):
        train(make_config("train.device=gpu"), tmp_path)


def test_it_may_run_beside_the_main_thread_and_leaves_the_callers_random_numbers(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(train(make_config("train.steps=2"), tmp_path)))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    thread.start()
    thread.join()
    assert outcomes[0].step == 2
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor has no such mode")
def test_the_smallest_numbers_are_zero_while_it_learns_and_afterwards_as_they_were(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    def are_zero() -> bool:
        return bool(torch.tensor(1e-39) * 1 == 0)

    seen: list[bool] = []
    train(make_config("train.steps=2"), tmp_path, report=lambda progress: seen.append(are_zero()))
    assert set(seen) == {True}
    assert not are_zero()


def test_fine_tuning_starts_from_the_averaged_generator(make_config: MakeConfig, tmp_path: Path) -> None:
    train(make_config("train.steps=3"), tmp_path / "first")
    weights = checkpoint.read_weights(tmp_path / "first")
    settings = make_config(f"start.weights={tmp_path / 'first'}", "train.generator.lr=1e-4")
    learner = Learner(settings, choose_place(settings.train))
    assert_same(dict(learner.system.generator.state_dict()), weights.take("ema"))
    assert_same(dict(learner.ema.generator.state_dict()), weights.take("ema"))
    assert learner.system.discriminator is not None
    assert_same(dict(learner.system.discriminator.state_dict()), weights.take("discriminator"))
    assert train(settings, tmp_path / "second").step == 4
    (tmp_path / "first").rename(tmp_path / "moved")
    assert train(settings, tmp_path / "second").step == 4  # resumed, it needs no start
    (tmp_path / "moved").rename(tmp_path / "first")
    other = make_config(
        f"start.weights={tmp_path / 'first'}", "system.width=4", "data.image_size=128", name="reference"
    )
    with pytest.raises(ConfigError, match="are of the system tiny, not reference"):
        train(other, tmp_path / "third")


def test_bf16_computes_networks_in_bf16_and_keeps_weights_in_fp32(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    train(make_config("train.precision=bf16", "train.steps=1"), tmp_path / "bf16")
    train(make_config("train.precision=fp32", "train.steps=1"), tmp_path / "fp32")
    half, full = (checkpoint.read_weights(tmp_path / name).tensors for name in ("bf16", "fp32"))
    assert {value.dtype for value in half.values()} == {torch.float32, torch.int64}
    rows = [read_rows(tmp_path / name)[0]["total"] for name in ("bf16", "fp32")]
    assert rows[0] != rows[1]
    assert rows[0] == pytest.approx(rows[1], rel=0.02)
    assert any(not torch.equal(half[name], full[name]) for name in full)


def test_auto_takes_bf16_on_a_cpu_only_where_it_has_it(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_config().train
    for avx, amx in [(False, False), (True, False), (False, True)]:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        assert choose_place(settings).bf16 == (avx or amx)


def test_devices_that_are_not_there_are_named() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(DependencyError, match=r"there is no cuda:99 here: torch .* sees \d+ GPUs"):
        choose_device("cuda:99")
    with pytest.raises(ConfigError, match="device 'meta' is not supported"):
        choose_device("meta")


@pytest.mark.parametrize("change", ["holes.kind=blok", "holes.min_area=0.99"])
def test_holes_that_cannot_be_made_are_said_before_pictures_are_prepared(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr("infilling.learning.run_start.open_training_data", None)
    with pytest.raises(InputError, match=r"blok|an area between"):
        train(make_config(change), tmp_path)
    assert not (tmp_path / "config.toml").exists()


def test_too_little_memory_is_one_line(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore lines.")

    monkeypatch.setattr(Learner, "take_step", run_out)
    with pytest.raises(InfillingError, match=r"too little memory for batches of 4: set train.batch lower"):
        train(make_config(), tmp_path)


def test_a_feature_network_is_asked_for_used_and_not_saved(
    make_config: MakeConfig, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = type(systems.build_system(make_config().system))
    monkeypatch.setattr(tiny, "needs_features", True)
    with pytest.raises(ConfigError, match=r"tiny learns from a feature network: set features.path"):
        train(make_config(), tmp_path)
    settings = make_config(f"features.path={data_dir / 'features' / 'squeezenet.safetensors'}")
    learner = Learner(settings, choose_place(settings.train))
    assert learner.system.features is not None
    learner.save(tmp_path, {})
    monkeypatch.setattr(tiny, "feature_layers", ("stride8",))
    with pytest.raises(
        ConfigError, match=r"tiny reads the layers stride8; .* is SqueezeNet 1\.0, without them"
    ):
        Learner(settings, choose_place(settings.train))
    assert {name.split(".")[0] for name in checkpoint.read_weights(tmp_path).tensors} == {
        "generator",
        "discriminator",
        "ema",
    }


def write_digits(folder: Path) -> None:
    """MNIST's files: two big-endian headers, then a byte for every pixel and every label."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 28, 28), dtype=np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(
        struct.pack(">IIII", 2051, 12, 28, 28) + pixels.tobytes()
    )
    labels = rng.integers(0, 10, 12, dtype=np.uint8)
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 12) + labels.tobytes())


@pytest.mark.parametrize("name", ["mnist", "reference"])
def test_the_projects_configs_run(tmp_path: Path, drawn: Path, name: str) -> None:
    source = drawn
    if name == "mnist":
        source = tmp_path / "digits"
        source.mkdir()
        write_digits(source)
    overrides = [f"data.paths=['{source}']", f"data.cache={tmp_path / 'cache'}"]
    small = ["train.batch=4", "train.steps=1", "train.samples=1", "system.width=4", "train.device=cpu"]
    outcome = train(config.read_config(name, [*overrides, *small]), tmp_path / "run")
    assert outcome.step == 1
    assert outcome.model is not None


def test_a_dry_run_measures_and_writes_nothing(make_config: MakeConfig, tmp_path: Path) -> None:
    settings = make_config("train.batch=8", "data.paths=[]")
    found = dry_run(settings)
    assert config.parse_config(tomllib.loads(found.config)) == settings
    generator, discriminator = 4 * 36 + 4 + 8 + 3 * 36 + 3, 3 * 4 * 16 + 4 + 4 + 1
    assert found.parameters == {"generator": generator, "discriminator": discriminator}
    floor = 16 * (generator + discriminator) + 4 * generator + 8 * 4 * 32 * 32 * 4  # the input alone is kept
    assert floor < found.memory < 50 * floor
    assert found.images_per_second == pytest.approx(8 / found.seconds_per_step)
    assert found.images == 4 * 8
    assert found.training_seconds is not None
    assert found.training_seconds > 0
    assert not list(tmp_path.iterdir())


def test_a_dry_run_measures_the_last_stage(make_config: MakeConfig) -> None:
    """Its critics take memory, which a run must not find out after hours of the first stage."""
    narrow = ["system.widths=[8, 16, 24]", "system.depth=1", "system.critic_width=64", "data.image_size=64"]
    narrow += ["system.perceptual_weight=0", "data.paths=[]"]
    found = [
        dry_run(make_config(*narrow, f"system.adversary_start_images={start}", name="push-pull-unet")).memory
        for start in (0, 10**6)
    ]
    assert found[0] == found[1]


def test_a_dry_run_of_a_large_batch_measures_a_small_one(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step keeps is a constant and as much for each picture, also of a batch in parts."""
    settings = make_config("train.batch=12", "data.paths=[]", "train.accumulate=3")
    whole = dry_run(settings)
    monkeypatch.setattr(dry_runs, "MEASURED", 6)
    few = dry_run(settings)
    assert (whole.measured, few.measured) == (12, 6)
    assert few.memory == pytest.approx(whole.memory, rel=1e-3)
    assert few.images_per_second == pytest.approx(12 / few.seconds_per_step)


def test_a_recipe_is_fitted_to_minutes_with_all_its_stages(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes a second at half the side, two at the whole, and eight with the critics."""
    seconds = iter([1.0, 2.0, 8.0] * 2)
    monkeypatch.setattr(dry_runs, "_time_step", lambda *_: next(seconds))
    narrow = ["system.widths=[8, 16, 24]", "system.depth=1", "system.critic_width=8", "data.image_size=64"]
    narrow += ["system.perceptual_weight=0", "data.paths=[]", "train.batch=4", "data.half_size_images=400"]
    narrow += ["system.adversary_start_images=600", "train.images=1000", "train.steps=100000"]
    settings = make_config(*narrow, name="push-pull-unet")
    whole = 100 * 1.0 + 50 * 2.0 + 100 * 8.0  # seconds
    fitted = dry_runs.fit_config(settings, minutes=whole / 60 / 0.9 / 2)
    assert fitted == config.rescale_config(settings, 500)
    assert fitted.data.half_size_images == 200
    assert dry_runs.fit_config(settings, minutes=whole / 60 / 0.9 * 1.01) == settings
