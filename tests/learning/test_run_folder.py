"""Rows, figures and clocks of a run."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from infilling.errors import ModelError, StorageError
from infilling.learning import checkpoint, clock, plots, run_folder
from infilling.learning.clock import Clock, Limits
from infilling.learning.settings import TrainSettings


def test_rows_after_the_resumed_step_are_dropped(tmp_path: Path) -> None:
    lines = [
        '{"step": 1, "total": 0.5}',
        '{"step": 2, "total": 0.25}',
        '{"step": 3, "total": 0.1}',
        '{"step": 4, "to',
    ]
    (tmp_path / "stats.jsonl").write_text("\n".join(lines))
    log = run_folder.RunLog(tmp_path, 2)
    log.write({"step": 3, "total": 0.123456789, "images_seen": 1_234_567_890})
    log.events.close()
    rows = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert rows == [
        {"step": 1, "total": 0.5},
        {"step": 2, "total": 0.25},
        {"step": 3, "total": 0.123457, "images_seen": 1_234_567_890},
    ]
    assert run_folder.read_stats(tmp_path) == rows
    assert run_folder.read_stats(tmp_path / "elsewhere") == []


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = run_folder.RunLog(tmp_path, 0)
    log.write({"step": 5, "Loss_D": 1.5})
    log.write({"step": 10, "Loss_D": 1.25})
    log.events.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("Loss_D")] == [(5, 1.5), (10, 1.25)]


def test_panels_are_laid_out_in_rows() -> None:
    first = torch.stack([torch.full((3, 4, 6), value / 255) for value in (10.0, 20.0, 30.4)])
    second = torch.stack([torch.full((3, 4, 6), value) for value in (-1.0, 0.5, 2.0)])
    grid = plots.tile_panels([first, second], across=2)
    assert grid.shape == (4 + 2 + 4, 12 + 2 + 12, 3)
    assert grid[0, 0, 0] == 10
    assert grid[0, 14, 0] == 20
    assert grid[6, 0, 0] == 30  # the second row
    assert [grid[0, 6, 0], grid[0, 20, 0], grid[6, 6, 0]] == [0, 128, 255]  # round, then clip
    assert (grid[4:6] == 255).all()
    assert (grid[6:, 14:] == 255).all()


def test_an_animation_spreads_its_frames_over_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "FRAMES", 3)
    frames = []
    for index in range(9):
        frames.append(tmp_path / f"{index}.png")
        Image.new("RGB", (16, 16), (20 * index, 0, 0)).save(frames[-1])
    plots.animate(frames, tmp_path / "all.webp")
    with Image.open(tmp_path / "all.webp") as image:
        shades = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            shades.append(float(np.asarray(image.convert("RGB"))[..., 0].mean()))
    assert shades == pytest.approx([0, 80, 160], abs=6)
    plots.animate([], tmp_path / "none.webp")
    assert not (tmp_path / "none.webp").exists()


def test_losses_are_drawn_where_there_are_some(tmp_path: Path) -> None:
    out = tmp_path / "losses.png"
    assert not plots.plot_losses([], out)
    assert not plots.plot_losses([{"step": 1, "D(x)": 0.5}], out)
    assert not out.exists()
    for rows in (
        [{"step": 1, "Loss_D": 1.0, "Loss_G": 2.0}, {"step": 2, "Loss_G": 3.0}],
        [{"step": 1, "total": 1.0}],
    ):
        assert plots.plot_losses(rows, out)
        with Image.open(out) as image:
            assert image.size[0] > 400
        out.unlink()


def test_a_clock_counts_training_and_not_its_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(clock.time, "monotonic", lambda: now)
    watch = Clock(seconds=1000.0, images_seen=50)
    now += 30
    with watch.pause():
        now += 90
    assert (watch.seconds, watch.minutes, watch.minutes_unsaved) == (1030.0, 2.0, 2.0)
    assert watch.measure_rate(350) == 10.0
    now += 60
    assert watch.measure_rate(410) == 1.0
    watch.note_save()
    assert (watch.minutes_unsaved, watch.minutes) == (0.0, 3.0)


def test_limits_know_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(clock.time, "monotonic", lambda: now)
    watch = Clock()
    limits = Limits(TrainSettings(batch=8, epochs=2.5, steps=100, max_minutes=10), epoch_images=101)
    assert limits.find_reached(252, watch) is None
    assert limits.find_share(100, watch) == pytest.approx(100 / 253)
    assert limits.find_reached(253, watch) == "epochs"  # 252.5, rounded up
    now = 300
    assert limits.find_share(100, watch) == 0.5
    now = 600
    assert limits.find_reached(100, watch) == "max_minutes"
    assert limits.find_share(100, watch) == 1.0
    assert Limits(TrainSettings(batch=8, steps=3), 10).find_reached(24, watch) == "steps"


def test_damaged_rows_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = ['{"step": 1, "total": 0.5}', '{"step": 2, "total": 0.25}']
    bad = ["[1, 2]", "7", '{"total": 1}', '{"step": "x"}', "[" * 100_000, "\x00\xff", '{"step": true}']
    lines = [good[0], *bad, good[1], '{"step": 3, "to']
    (tmp_path / "stats.jsonl").write_bytes("\n".join(lines).encode("latin-1"))
    assert [row["step"] for row in run_folder.read_stats(tmp_path)] == [1, 2]
    assert [record.getMessage() for record in caplog.records] == [
        f"left out 7 of 10 lines of {tmp_path / 'stats.jsonl'} as damaged"
    ]


def test_tensorboard_shows_samples_and_settings(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = run_folder.RunLog(tmp_path, 0)
    log.events.add_code("config", "[train]\nsteps = 3\n")
    log.events.add_picture("samples", np.zeros((8, 9, 3), np.uint8), 5)
    log.events.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.step for event in events.Images("samples")] == [5]
    assert b"steps = 3" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]


def test_a_caption_stands_above_a_grid() -> None:
    grid = np.full((10, 300, 3), 7, np.uint8)
    sheet = plots.add_caption(grid, "step 5, 20 pictures", "masked | filled | original")
    assert sheet.shape == (10 + plots.CAPTION, 300, 3)
    assert (sheet[plots.CAPTION :] == grid).all()
    assert (sheet[: plots.CAPTION] < 100).any()  # text
    narrow = plots.add_caption(grid[:, :50], "a", "b")
    assert narrow.shape[1] == plots.CAPTION_WIDTH
    assert (narrow[plots.CAPTION :, 50:] == 255).all()


@pytest.mark.timeout(5)
def test_a_pipe_in_place_of_the_rows_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "stats.jsonl")
    assert run_folder.read_stats(tmp_path) == []
    with pytest.raises(StorageError, match="nobody reads from it"):
        run_folder.RunLog(tmp_path, 0)


@pytest.mark.timeout(5)
def test_a_pipe_in_place_of_the_trainers_state_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / checkpoint.TRAINER)
    with pytest.raises(ModelError, match=r"not a regular file; remove .* to resume from the one before"):
        checkpoint.load_trainer(tmp_path)
