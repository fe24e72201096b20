"""The training loop, and what it writes into the run's folder."""

import dataclasses
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from infilling.errors import DataError, InfillingError, StorageError
from infilling.learning import checkpoint, distributed, export, plots, run_folder
from infilling.learning.device import choose_place
from infilling.learning.masked_batch import MaskedBatch, cover_holes, halve_batch
from infilling.learning.process_state import (
    STOP_SIGNALS,
    collect_signals,
    flush_denormals,
    fork_random_numbers,
)
from infilling.learning.progress import Progress, Report, ignore_progress
from infilling.learning.run_start import Start, TrainingSession
from infilling.learning.settings import Config
from infilling.storage import MODEL_FILE

FIDELITY = "fidelity.onnx"  # the model as it was before the discriminator's first step
FEW = 32  # pictures of a batch in a figure
ENDS = ("", "epochs", "images", "steps", "max_minutes", *STOP_SIGNALS)  # what may end a run; "": nothing


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: its folder.
        step: number of steps taken in all.
        images_seen: number of pictures seen in all.
        ended_by: the limit that was reached (epochs, images, steps, max_minutes) or the signal (SIGTERM,
            SIGINT).
        model: the exported model; None after a signal.
    """

    run: Path
    step: int
    images_seen: int
    ended_by: str
    model: Path | None


def train(
    config: Config,
    out: str | Path,
    *,
    report: Report = ignore_progress,
    allow_new_data: bool = False,
    fit_minutes: bool = False,
    started: float | None = None,
) -> Outcome:
    """Train a system, or continue a run that was stopped: on a CPU bit for bit as if it had not been.

    The first Ctrl-C or SIGTERM saves after the step at hand and returns; a second one ends the process. Where
    torchrun or SLURM started several processes they train together, and a signal to one ends all.

    Args:
        config: what to learn, from what, for how long.
        out: the run's folder; `run_folder` lists its files.
        report: called after every step, and when something happens; by the first process only.
        allow_new_data: continue a run on other pictures than it learned from so far.
        fit_minutes: scale a recipe that sets `train.images` down to what fits into `train.max_minutes`.
        started: `time.monotonic()` from which `train.max_minutes` counts; None: now.

    Raises:
        ConfigError: settings that do not fit together, or differ from those that the run was started with;
            other pictures without `allow_new_data`; too few minutes for one step and the export.
        DataError: no pictures.
        DependencyError: a package or the device is missing.
        StorageError: the folder cannot be written, or another process trains in it.
        ModelError: a damaged checkpoint, or an export that does not compute the same.
        InfillingError: a loss is not a number, or another process of the run was lost.
    """
    started = time.monotonic() if started is None else started
    out = Path(out)
    export.check_installed()
    with distributed.join_ranks() as ranks:
        place = choose_place(config.train, ranks)
        with (
            run_folder.lock_run(out) if ranks.leads else nullcontext(),
            fork_random_numbers(place.device, config.train.seed),
            flush_denormals(),
        ):
            tell = report if ranks.leads else ignore_progress
            start = Start(config, out, place, ranks, tell, started, allow_new_data)
            data = start.open_data()
            if fit_minutes:
                start = dataclasses.replace(start, config=start.fit_config())
            session = start.open_session(data)
            with closing(session), collect_signals() as signals:
                return _run_session(session, signals)


def _run_session(session: TrainingSession, signals: list[str]) -> Outcome:
    """Learn until the end, and write what is left to write."""
    learner = session.learner
    if session.log and learner.step and learner.enters_stage(session.config.train.batch):
        _export_first_stage(session, again=False)  # the run was killed just before
    try:
        ended_by, last = _take_steps(session, signals)
    except torch.OutOfMemoryError as error:
        settings = session.config.train
        memory = f"too little memory for batches of {settings.batch}"
        raise InfillingError(f"{memory}: set train.batch lower, or train.accumulate higher") from error
    except (DataError, StorageError) as error:
        raise _save_after(session, error) from error
    finished = ended_by not in STOP_SIGNALS
    if session.log:
        _save_checkpoint(session)
        _finish_run(session, session.log, last, interrupted=not finished)
    return Outcome(
        session.out,
        learner.step,
        learner.images_seen,
        ended_by,
        session.out / MODEL_FILE if finished else None,
    )


def _take_steps(session: TrainingSession, signals: list[str]) -> tuple[str, MaskedBatch | None]:
    """Take steps until a limit or a signal; return its name, and the last batch if there was a step."""
    settings, learner, clock = session.config.train, session.learner, session.clock
    batch: MaskedBatch | None = None
    session.tell("learning")
    while not (ended_by := _find_end(session, signals)):
        # -- learn: the discriminator's step, then the generator's
        batch = session.batches.next(settings.batch // session.ranks.world)
        if learner.images_seen < session.config.data.half_size_images:
            batch = halve_batch(batch)
        if learner.step == 0 and session.log:
            _draw_batch(session, "batch", batch)
        session.guard.add(learner.step + 1, learner.take_step(batch))

        # -- report: one process does for all
        if session.log is None:
            continue
        row: dict[str, float] = {}
        if learner.step == 1 or learner.step % settings.log_every == 0:
            row = _write_row(session, session.log)
        share = session.limits.find_share(learner.images_seen, clock)
        session.report(Progress(learner.step, learner.images_seen, share, row))

        # -- show and keep
        with clock.pause():
            if learner.step % settings.sample_every == 0:
                _draw_sample(session, session.log)
            if learner.enters_stage(len(batch.image) * session.ranks.world):
                _save_checkpoint(session)
                _export_first_stage(session)
            overdue = clock.minutes_unsaved >= settings.checkpoint_minutes
            if overdue or learner.step % settings.checkpoint_every == 0:
                _save_checkpoint(session)
    return ended_by, batch


def _find_end(session: TrainingSession, signals: list[str]) -> str:
    """Return what ends the run now, or "". A signal to one process, or the end of its time, ends all."""
    reached = session.limits.find_reached(session.learner.images_seen, session.clock)
    return ENDS[session.ranks.find_largest(ENDS.index(signals[0] if signals else reached or ""))]


def _export_first_stage(session: TrainingSession, *, again: bool = True) -> None:
    """Export the model as it is before the discriminator's first step."""
    path = session.out / FIDELITY
    if again or not path.is_file():
        session.tell("exporting the model of the first stage")
        export.export_model(session.out, path)


def _write_row(session: TrainingSession, log: run_folder.RunLog) -> dict[str, float]:
    """Write the figures of the step just taken, as the reference prints them: of this step, not means."""
    learner, clock = session.learner, session.clock
    scalars = session.guard.check()
    row = {
        "step": learner.step,
        "images_seen": learner.images_seen,
        "epoch": session.batches.epoch,
        "seconds": clock.seconds,
        "images_per_second": clock.measure_rate(learner.images_seen),
        **{f"rate {network}": rate for network, rate in learner.rates().items()},
        **scalars,
    }
    log.write(row)
    return row


def _draw_sample(session: TrainingSession, log: run_folder.RunLog) -> None:
    """Draw the fixed held-out pictures, masked and filled."""
    fixed, step = session.fixed, session.learner.step
    assert fixed is not None
    title = f"step {step:,}, {session.learner.images_seen:,} pictures"
    panels = {"masked": cover_holes(fixed), "filled": session.learner.fill(fixed), "original": fixed.image}
    pixels = plots.write_grid(plots.name_sample(session.out, step), title, **panels)
    log.events.add_picture("samples", pixels, step)


def _draw_batch(session: TrainingSession, name: str, batch: MaskedBatch, *, filled: bool = False) -> None:
    """Draw some of a batch's pictures before and after masking, and filled."""
    few = MaskedBatch(batch.image[:FEW], batch.mask[:FEW])
    panels = {"original": few.image, "masked": cover_holes(few)}
    if filled:
        panels["filled"] = session.learner.fill(few)
    title = f"{'last' if filled else 'first'} batch, step {session.learner.step if filled else 1:,}"
    plots.write_grid(session.out / f"{name}.png", title, **panels)


def _save_checkpoint(session: TrainingSession) -> None:
    """Write a checkpoint, unless a loss is not a number."""
    session.guard.check()
    session.learner.save(session.out, {"batches": session.batches.state(), "seconds": session.clock.seconds})
    session.clock.note_save()


def _save_after(session: TrainingSession, error: DataError | StorageError) -> InfillingError:
    """Write a checkpoint of a run that cannot continue, and return its error with what to do."""
    latest = checkpoint.find_latest_checkpoint(session.out)
    if session.log and session.learner.step:
        try:
            _save_checkpoint(session)
            latest = checkpoint.find_latest_checkpoint(session.out)
        except InfillingError:
            pass  # the first error is the one to mend
    if latest is None:
        return error
    return type(error)(f"{error}; the same command continues from {latest}")


def _finish_run(
    session: TrainingSession, log: run_folder.RunLog, last: MaskedBatch | None, *, interrupted: bool
) -> None:
    """Log the last step, draw the run, and export the model if it was not interrupted."""
    out, learner = session.out, session.learner
    if last is not None and log.last_step != learner.step:
        row = _write_row(session, log)
        session.report(Progress(learner.step, learner.images_seen, 1.0, row))
    session.tell("drawing")
    plots.plot_losses(run_folder.read_stats(out), out / "losses.png")
    if not interrupted:
        _draw_sample(session, log)
        plots.animate(plots.list_samples(out), out / "samples.webp")
        if last is None and not (out / "final.png").is_file():  # killed right here; the next batch will do
            last = session.batches.next(session.config.train.batch // session.ranks.world)
        if last is not None:
            _draw_batch(session, "final", last, filled=True)
        session.tell("exporting the model")
        export.export_model(out, out / MODEL_FILE)
