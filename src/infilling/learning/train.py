"""The loop: one step after the other until a limit, and all that a run's folder shows of it."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from infilling.errors import ConfigError, InfillingError
from infilling.learning import checkpoint, distributed, export, plots, run_folder
from infilling.learning.batches import Batches
from infilling.learning.clock import Clock, Limits
from infilling.learning.device import Place, choose_place
from infilling.learning.distributed import Ranks
from infilling.learning.learner import Learner
from infilling.learning.masked_batch import MaskedBatch, halve_batch
from infilling.learning.settings import Config, TrainSettings
from infilling.learning.training_data import make_batches, make_holes, open_training_data

MODEL = "model.onnx"
FIDELITY = "fidelity.onnx"  # the model as it was before the discriminator's first step
CHECK_EVERY = 10  # steps between looks at the losses on a GPU, where a look waits for the device
FEW = 32  # pictures of a batch in a figure
SIGNALS = ("SIGINT", "SIGTERM")
ENDS = ("", "epochs", "images", "steps", "max_minutes", *SIGNALS)  # what may end a run; "": nothing


@dataclass(frozen=True)
class Progress:
    """What a run tells of itself.

    Attributes:
        step: steps taken.
        images_seen: pictures seen.
        share: of the way to the nearest limit, in [0, 1].
        row: the row of `stats.jsonl` if one was just written, else empty.
        note: something that happened, in words, else empty.
    """

    step: int
    images_seen: int
    share: float
    row: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: its folder.
        step: steps taken in all.
        images_seen: pictures seen in all.
        ended_by: the limit that was reached (epochs, images, steps, max_minutes) or the signal (SIGTERM,
        SIGINT).
        model: the exported model; None after a signal.
    """

    run: Path
    step: int
    images_seen: int
    ended_by: str
    model: Path | None


Report = Callable[[Progress], None]


def train(config: Config, out: str | Path, *, report: Report = lambda progress: None) -> Outcome:
    """Trains a system, or goes on with a run that was stopped: on a CPU bit for bit as if it had not been.

    The first Ctrl-C or SIGTERM saves after the step at hand and returns; a second one ends the process. Where
    torchrun or SLURM started several processes they train together, and a signal to one ends all.

    Args:
        config: what to learn, from what, for how long.
        out: the run's folder; `run` says what it will hold.
        report: called after every step, and when something happened; by the first process only.

    Raises:
        ConfigError: settings that do not fit together, or differ from those that the run was begun with.
        DataError: no pictures.
        DependencyError: a package or the device is not here.
        StorageError: the folder cannot be written, or another process trains in it.
        ModelError: a damaged checkpoint, or an export that does not compute the same.
        InfillingError: a loss is not a number, or another process of the run was lost.
    """
    export.check_installed()
    with distributed.join_ranks() as ranks:
        place = choose_place(config.train, ranks)
        with (
            run_folder.lock_run(Path(out)) if ranks.leads else nullcontext(),
            _own_random_numbers(place.device, config.train.seed),
            _flush_denormals(),
        ):
            return _train(config, Path(out), place, ranks, report if ranks.leads else lambda progress: None)


def _train(config: Config, out: Path, place: Place, ranks: Ranks, report: Report) -> Outcome:
    settings = config.train
    _check_shares(settings, ranks)
    torch.backends.cudnn.benchmark = True  # shapes stay, so the fastest way is worth a search
    # Holes that cannot be made end here, not after an hour of preparing pictures.
    make_holes(config).make(np.random.default_rng(settings.seed), 1, config.data.image_size)

    # -- what is learned from
    pictures, held_out = open_training_data(config, ranks)
    batches = make_batches(config, pictures, place, settings.seed, ranks)
    # The few samples need no pool of masks, which takes longer to make than all else here.
    without_pool = config.model_copy(update={"holes": config.holes.model_copy(update={"pool": 0})})
    fixed = make_batches(without_pool, held_out, place, settings.seed + 1) if held_out else None

    # -- what learns, and where it was left
    latest = ranks.share(str(checkpoint.find_latest_checkpoint(out) or ""))
    learner = Learner(config, place, ranks, resumes=bool(latest))
    seconds = _resume(config, Path(latest), learner, batches, report) if latest else 0.0

    # -- what is kept of it
    if ranks.leads:
        run_folder.write_config(out, config)
        plots.drop_samples(out, after=learner.step)
        if latest and learner.enters_stage(settings.batch) and not (out / FIDELITY).is_file():
            export.export_model(out, out / FIDELITY)  # the run was killed just before
    session = _Session(
        config,
        out,
        ranks,
        learner,
        batches,
        fixed.next(min(settings.samples, len(held_out))) if fixed and held_out else None,
        Limits(settings, len(pictures)),
        Clock(seconds, learner.images_seen),
        Guard(out, every=1 if place.device.type == "cpu" else CHECK_EVERY),
        run_folder.RunLog(out, learner.step) if ranks.leads else None,
        report,
    )
    with _watch_signals() as signals, closing(batches):
        try:
            ended_by, last = _loop(session, signals)
        except torch.OutOfMemoryError as error:
            memory = f"{place.device} has too little memory for batches of {settings.batch}"
            raise InfillingError(f"{memory}: set train.batch lower, or train.accumulate higher") from error
        finished = ended_by not in SIGNALS
        if session.log:
            _save(session)
            _finish(session, session.log, last, interrupted=not finished)
    return Outcome(out, learner.step, learner.images_seen, ended_by, out / MODEL if finished else None)


def _check_shares(settings: TrainSettings, ranks: Ranks) -> None:
    """Refuses a batch that cannot be shared out evenly: a mean of means would then be another one."""
    if settings.batch % (ranks.world * settings.accumulate):
        shares = f"{ranks.world} processes and train.accumulate = {settings.accumulate}"
        multiple = f"a multiple of {ranks.world * settings.accumulate}"
        raise ConfigError(f"train.batch is {settings.batch}; {shares} need {multiple}")


@dataclass(frozen=True)
class _Session:
    """What the loop works with."""

    config: Config
    out: Path
    ranks: Ranks
    learner: Learner
    batches: Batches
    fixed: MaskedBatch | None  # the first process's
    limits: Limits
    clock: Clock
    guard: Guard
    log: run_folder.RunLog | None  # the first process's
    report: Report


def _loop(session: _Session, signals: list[str]) -> tuple[str, MaskedBatch | None]:
    """Steps until a limit or a signal; returns its name, and the last batch if there was a step."""
    settings, learner, clock = session.config.train, session.learner, session.clock
    batch: MaskedBatch | None = None
    while not (ended_by := _find_end(session, signals)):
        # -- learn: the discriminator's step, then the generator's
        batch = session.batches.next(settings.batch // session.ranks.world)
        if learner.images_seen < session.config.data.half_size_images:
            batch = halve_batch(batch)
        if learner.step == 0 and session.log:
            plots.write_grid(session.out / "batch.png", [batch.image[:FEW], cover(batch)[:FEW]])
        session.guard.add(learner.step + 1, learner.take_step(batch))

        # -- tell: one process does for all
        if session.log is None:
            continue
        row: dict[str, float] = {}
        if learner.step == 1 or learner.step % settings.log_every == 0:
            row = _make_row(session)
            session.log.write(row)
        share = session.limits.find_share(learner.images_seen, clock)
        session.report(Progress(learner.step, learner.images_seen, share, row))

        # -- show and keep
        with clock.pause():
            if learner.step % settings.sample_every == 0:
                _draw_sample(session)
            if learner.enters_stage(len(batch.image) * session.ranks.world):
                _save(session)
                export.export_model(session.out, session.out / FIDELITY)
            overdue = clock.minutes_unsaved >= settings.checkpoint_minutes
            if overdue or learner.step % settings.checkpoint_every == 0:
                _save(session)
    return ended_by, batch


def _find_end(session: _Session, signals: list[str]) -> str:
    """What ends the run now, or "". What one process meets, a signal or the end of its time, ends all."""
    reached = session.limits.find_reached(session.learner.images_seen, session.clock)
    return ENDS[session.ranks.find_largest(ENDS.index(signals[0] if signals else reached or ""))]


def _make_row(session: _Session) -> dict[str, float]:
    """The figures of the step just taken, as the reference prints them: of this step, not means."""
    learner, clock = session.learner, session.clock
    scalars = session.guard.check()
    return {
        "step": learner.step,
        "images_seen": learner.images_seen,
        "epoch": session.batches.epoch,
        "seconds": clock.seconds,
        "images_per_second": clock.measure_rate(learner.images_seen),
        **{f"rate {network}": rate for network, rate in learner.rates().items()},
        **scalars,
    }


def _draw_sample(session: _Session) -> None:
    """Fills the fixed held-out pictures: masked, result, target."""
    fixed, step = session.fixed, session.learner.step
    assert fixed is not None
    panels = [cover(fixed), session.learner.fill(fixed), fixed.image]
    plots.write_grid(plots.name_sample(session.out, step), panels)


def _save(session: _Session) -> None:
    """Writes a checkpoint, unless a loss is not a number."""
    session.guard.check()
    session.learner.save(session.out, {"batches": session.batches.state(), "seconds": session.clock.seconds})
    session.clock.note_save()


def _finish(
    session: _Session, log: run_folder.RunLog, last: MaskedBatch | None, *, interrupted: bool
) -> None:
    """Draws what became of the run, and exports the model if it was not interrupted."""
    out = session.out
    log.close()
    plots.plot_losses(run_folder.read_stats(out), out / "losses.png")
    if interrupted:
        return
    _draw_sample(session)
    plots.animate(plots.list_samples(out), out / "samples.webp")
    if last is None and not (out / "final.png").is_file():  # killed right here; the next batch is as good
        last = session.batches.next(session.config.train.batch // session.ranks.world)
    if last is not None:
        few = MaskedBatch(last.image[:FEW], last.mask[:FEW])
        plots.write_grid(out / "final.png", [few.image, cover(few), session.learner.fill(few)])
    export.export_model(out, out / MODEL)


def cover(batch: MaskedBatch) -> Tensor:
    """The pictures with their holes grey: (N, 3, H, W) in [0, 1]."""
    return batch.image * (1 - batch.mask) + 0.5 * batch.mask


class Guard:
    """Stops a run whose losses are not numbers.

    Args:
        out: the run's folder, whose last good checkpoint the error names.
        every: look at the losses after so many steps; 1 looks at each at once.
    """

    def __init__(self, out: Path, every: int) -> None:
        self._out, self._every = out, every
        self._unchecked: list[tuple[int, dict[str, Tensor]]] = []
        self._last: dict[str, float] = {}

    def add(self, step: int, scalars: dict[str, Tensor]) -> None:
        """Takes a step's scalars, and looks at them when it is time.

        Raises:
            InfillingError: as `check`.
        """
        self._unchecked.append((step, scalars))
        if len(self._unchecked) >= self._every:
            self.check()

    def check(self) -> dict[str, float]:
        """Looks at all that were not looked at yet; returns the last step's.

        Raises:
            InfillingError: one is NaN or infinite; the step, its losses and the last good checkpoint are
            named.
        """
        for step, scalars in self._unchecked:
            self._last = dict(zip(scalars, torch.stack(list(scalars.values())).tolist(), strict=True))
            if not all(map(math.isfinite, self._last.values())):
                losses = ", ".join(f"{name} = {value:.4g}" for name, value in self._last.items())
                last = checkpoint.find_latest_checkpoint(self._out)
                kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
                raise InfillingError(f"step {step} gave {losses}; {kept}")
        self._unchecked.clear()
        return self._last


def _resume(config: Config, latest: Path, learner: Learner, batches: Batches, report: Report) -> float:
    """Goes on from a checkpoint; returns the seconds trained so far."""
    weights = checkpoint.read_weights(latest)
    checkpoint.check_same_run(weights.config, config, latest.parent.parent)
    extra = learner.load(latest, weights)
    batches.restore(extra["batches"])
    report(Progress(learner.step, learner.images_seen, 0.0, note=f"going on from {latest}"))
    return float(extra["seconds"])


@contextmanager
def _own_random_numbers(device: torch.device, seed: int) -> Iterator[None]:
    """Seeds torch for the run (weights, dropout), and gives the caller its own numbers back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _flush_denormals() -> Iterator[None]:
    """Takes numbers below 1e-38 as 0 on the CPU, and gives the caller's way back afterwards.

    The weights of a trained attention are full of them. An Intel processor computes with each a hundred times
    longer: without this a step of `push-pull-unet` takes a quarter more.
    """
    before = bool(torch.tensor(1e-39) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def _watch_signals() -> Iterator[list[str]]:
    """Collects the name of the first SIGINT or SIGTERM; the next one does what it did before."""
    caught: list[str] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield caught
        return

    def catch(number: int, _frame: FrameType | None) -> None:
        caught.append(signal.Signals(number).name)
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler or signal.SIG_DFL)

    previous = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        restore()
