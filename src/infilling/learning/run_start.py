"""The start of a run: from a config to all that the training loop works with."""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from infilling.errors import ConfigError
from infilling.learning import checkpoint, export, plots, run_folder
from infilling.learning.batches import Batches, find_hole_maker
from infilling.learning.clock import Clock, Limits
from infilling.learning.config import config_to_toml
from infilling.learning.device import Place
from infilling.learning.distributed import Ranks
from infilling.learning.dry_run import fit_run
from infilling.learning.learner import Learner
from infilling.learning.loss_guard import LossGuard
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.picture_cache import Pictures
from infilling.learning.progress import Progress, Report
from infilling.learning.settings import Config, TrainSettings
from infilling.learning.shard_stream import ShardedPictures
from infilling.learning.systems import build_system
from infilling.learning.training_data import make_batches, open_training_data
from infilling.storage import write_atomic
from infilling.version import VERSION

CHECK_EVERY = 10  # steps between looks at the losses on a GPU, where a look waits for the device
RESERVE = 1.5  # safety factor of the time that the end of a run is expected to take


@dataclass(frozen=True)
class TrainingSession:
    """All that the training loop works with.

    Attributes:
        config: of the run.
        out: the run's folder.
        ranks: the processes of the run.
        learner: the system in training.
        batches: its training data.
        fixed: the held-out pictures of the sample grids, in the first process.
        limits: its limits.
        clock: its time.
        guard: check of its losses.
        log: its rows, in the first process.
        report: called with its progress.
    """

    config: Config
    out: Path
    ranks: Ranks
    learner: Learner
    batches: Batches
    fixed: MaskedBatch | None
    limits: Limits
    clock: Clock
    guard: LossGuard
    log: run_folder.RunLog | None
    report: Report

    def tell(self, activity: str) -> None:
        """Report what the run does now."""
        step, seen = self.learner.step, self.learner.images_seen
        share = self.limits.find_share(seen, self.clock)
        self.report(Progress(step, seen, share, activity=activity))

    def close(self) -> None:
        """End what works ahead, and the files that are open."""
        self.batches.close()
        if self.log:
            self.log.events.close()


Data = tuple[Pictures | ShardedPictures, Pictures | None]
"""The pictures to learn from, and those held out."""


@dataclass(frozen=True)
class Start:
    """The start of a run.

    Attributes:
        config: of the run.
        out: the run's folder.
        place: device and precision.
        ranks: the processes of the run.
        report: called with its progress.
        started: `time.monotonic()` at which its minutes begin.
        allow_new_data: continue on other pictures than it learned from so far.
    """

    config: Config
    out: Path
    place: Place
    ranks: Ranks
    report: Report
    started: float
    allow_new_data: bool = False

    def open_data(self) -> Data:
        """Open the pictures, after a look at what would end the run later."""
        config, settings = self.config, self.config.train
        _check_parts(settings, self.ranks)
        side = config.data.image_size
        find_hole_maker(config.holes)(np.random.default_rng(settings.seed), 1, side, side)
        self._tell("looking for pictures")

        def show(done: int, count: int) -> None:
            self._tell(f"preparing pictures {done:,}/{count:,}")

        return open_training_data(config, self.ranks, show)

    def fit_config(self) -> Config:
        """Scale a recipe to the minutes that are left of `train.max_minutes`.

        Raises:
            ConfigError: settings that do not fit together.
        """
        minutes, images = self.config.train.max_minutes, self.config.train.images
        if minutes is None or images is None or self.ranks.world > 1:
            return self.config
        self._tell("timing a few steps of each stage")
        left = minutes - (time.monotonic() - self.started) / 60
        fitted = fit_run(self.config, self.out, max(left, 1e-3))
        if fitted.train.images != images and not os.path.isfile(self.out / run_folder.CONFIG):
            scaled = f"{fitted.train.images:,} pictures, as many as get through all stages here"
            advice = f"in {minutes:g} minutes; --images N sets the number"
            self._note(f"the recipe is scaled to {scaled} {advice}")
        return fitted

    def open_session(self, data: Data) -> TrainingSession:
        """Make or load all that the loop works with."""
        config, ranks, (pictures, held_out) = self.config, self.ranks, data
        settings = config.train
        self._tell("building the networks and the holes")
        batches = make_batches(config, pictures, self.place, settings.seed, ranks)
        fixed = _draw_fixed(config, held_out, self.place)

        # -- what learns, and where it stopped
        latest = ranks.share(str(checkpoint.find_latest_checkpoint(self.out) or ""))
        learner = Learner(config, self.place, ranks, resumes=bool(latest))
        seconds = self._resume(Path(latest), learner, batches) if latest else 0.0
        reserve = self._time_end(learner, fixed) if settings.max_minutes and ranks.leads else 0.0
        clock = Clock(seconds, learner.images_seen, self.started)
        limits = Limits(settings, len(pictures), reserve)
        if not learner.step:
            self._check_budget(clock, limits, reserve)

        # -- what is kept of it
        guard = LossGuard(self.out, 1 if self.place.device.type == "cpu" else CHECK_EVERY)
        log = self._open_log(learner, data) if ranks.leads else None
        return TrainingSession(
            config, self.out, ranks, learner, batches, fixed, limits, clock, guard, log, self.report
        )

    def _tell(self, activity: str) -> None:
        self.report(Progress(activity=activity))

    def _note(self, note: str) -> None:
        self.report(Progress(note=note))

    def _resume(self, latest: Path, learner: Learner, batches: Batches) -> float:
        """Continue from a checkpoint, and return the seconds of learning so far."""
        weights = checkpoint.read_weights(latest)
        checkpoint.check_same_run(weights.config, self.config, self.out)
        extra = learner.load(latest, weights)
        try:
            state, seconds = extra["batches"], float(extra["seconds"])
            same, count = batches.has_same_pictures(state), int(state["count"])
            batches.restore(state)
        except (KeyError, TypeError, ValueError) as error:
            raise checkpoint.refuse_state(latest, error) from error
        change = f"{count:,} pictures so far, now {len(batches):,} in {', '.join(self.config.data.paths)}"
        if not same and not self.allow_new_data:
            advice = "add --allow-new-data to continue on these, or choose another folder"
            raise ConfigError(f"{self.out} learned from other pictures ({change}): {advice}")
        self._note(f"continuing from {latest}, {learner.images_seen:,} pictures seen")
        if not same:
            self._note(f"learning from other pictures from here on: {change}")
        return seconds

    def _time_end(self, learner: Learner, fixed: MaskedBatch | None) -> float:
        """Return the minutes that the last figures and the export will take.

        A system that cannot be exported ends here, and not after its minutes of training.
        """
        self._tell("timing the export")
        begun = time.monotonic()
        with torch.random.fork_rng(devices=[]):
            system = build_system(self.config.system).eval().requires_grad_(False)
            export.to_onnx(system, export.make_card(system, self.config, 0))
        if fixed is not None:
            learner.fill(fixed)
        return RESERVE * (time.monotonic() - begun) / 60

    def _check_budget(self, clock: Clock, limits: Limits, reserve: float) -> None:
        """Refuse minutes in which not one step would fit."""
        if clock.minutes < limits.minutes:
            return
        least = max(RESERVE * (clock.minutes + reserve), 0.01)
        spent = f"the start took {60 * clock.minutes:.0f} s and the end needs {60 * reserve:.0f} s"
        raise ConfigError(
            f"{self.config.train.max_minutes:g} minutes are too few for a single step: {spent}; "
            f"the least that works is about {least:.2g} minutes"
        )

    def _open_log(self, learner: Learner, data: Data) -> run_folder.RunLog:
        """Write the config and the history, drop what will be made again, and open the log."""
        pictures, held_out = data
        text = config_to_toml(self.config)
        write_atomic(self.out / run_folder.CONFIG, text.encode())
        plots.drop_samples(self.out, after=learner.step)
        start = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": VERSION,
            "step": learner.step,
            "images_seen": learner.images_seen,
            "paths": list(self.config.data.paths),
            "pictures": len(pictures),
            "held_out": len(held_out) if held_out else 0,
            "key": pictures.key,
        }
        run_folder.add_history(self.out, start)
        log = run_folder.RunLog(self.out, learner.step)
        log.events.add_code("config", text)
        return log


def _check_parts(settings: TrainSettings, ranks: Ranks) -> None:
    """Refuse a batch that cannot be split evenly: a mean of means would then be another one."""
    if settings.batch % (ranks.world * settings.accumulate):
        parts = f"{ranks.world} processes and train.accumulate = {settings.accumulate}"
        multiple = f"a multiple of {ranks.world * settings.accumulate}"
        raise ConfigError(f"train.batch is {settings.batch}; {parts} need {multiple}")


def _draw_fixed(config: Config, held_out: Pictures | None, place: Place) -> MaskedBatch | None:
    """Draw the held-out pictures and holes that every sample grid shows."""
    if not held_out:
        return None
    # The few samples need no pool of holes, which takes longer to make than all else here.
    without_pool = config.model_copy(update={"holes": config.holes.model_copy(update={"pool": 0})})
    batches = make_batches(without_pool, held_out, place, config.train.seed + 1)
    return batches.next(min(config.train.samples, len(held_out)))
