"""The task of a batch: one picture of a folder, in this process, in a worker or on another host."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from infilling.errors import InfillingError, StorageError, describe_error
from infilling.filling.batch_results import Result
from infilling.filling.contents import fill_content
from infilling.filling.contract import Engine, find_digest
from infilling.filling.fills import fill_best
from infilling.filling.finders import Finder
from infilling.filling.folder import Job
from infilling.filling.open_engines import keep_open
from infilling.filling.options import FillOptions
from infilling.filling.pipeline import FilledFile
from infilling.filling.restore import restore_file
from infilling.locations import Location, read_location, write_location
from infilling.pictures.mask import components

Task: TypeAlias = tuple[Job, bytes | None]
"""A result to make, and the key of the finished one, if there is one."""

DIED = "its process died, perhaps for want of memory"
NO_MEMORY = "not enough memory"


@dataclass(frozen=True)
class BatchRun:
    """What every picture of a run has in common; it is sent to processes and hosts."""

    source: Location
    out: Location
    engine: str
    options: FillOptions
    threads: int | None
    device: str
    adapter: str | None
    overwrite: bool
    dry_run: bool
    max_pixels: int | None
    salt: bytes
    finders: tuple[Finder, ...] = ()
    count: int = 1

    def open_engine(self) -> Engine:
        """Return the engine of the run, opened once in each process; see `keep_open` for the errors."""
        return keep_open(self.engine, self.threads, self.device, self.adapter)


def fill_one(run: BatchRun, engine: Engine, job: Job, finished: bytes | None) -> Result:
    """Fill one picture unless its key is that of the finished result; failures are in the result."""
    started = time.perf_counter()
    result = Result(job.picture, job.output, "failed", error=job.problem)
    if job.problem:
        return result
    if job.is_unmasked:
        return dataclasses.replace(result, state="unmasked")
    try:
        result = _fill_and_write(run, engine, job, finished)
    except InfillingError as error:
        result = dataclasses.replace(result, error=describe_error(error))
    except MemoryError:
        result = dataclasses.replace(result, error=NO_MEMORY)
    except Exception as error:  # what no one foresaw must not take the other pictures with it
        result = dataclasses.replace(result, error=f"unexpected {type(error).__name__}: {error}")
    return dataclasses.replace(result, seconds=round(time.perf_counter() - started, 4))


def _fill_and_write(run: BatchRun, engine: Engine, job: Job, finished: bytes | None) -> Result:
    target = run.out / job.output
    data = read_location(run.source / job.picture)
    mask = None if job.mask is None else read_location(job.mask)
    key = _make_key(run, data, mask)
    there = target.is_file()
    if there and finished == bytes.fromhex(key) and not run.overwrite:
        return Result(job.picture, job.output, "skipped", key=key)
    if run.dry_run:
        return Result(job.picture, job.output, "pending", key=key)
    done = _fill(run, engine, data, mask)
    # A run that was killed may have left the very same file before it could be noted.
    may_replace = run.overwrite or finished is not None or not there
    if not may_replace and read_location(target) != done.data:
        raise StorageError(f"{target} is there and is not from here: --overwrite replaces it")
    write_location(target, done.data)
    holes = len(components(done.hole))
    doubt = None if done.doubt is None else round(done.doubt, 5)
    result = Result(job.picture, job.output, "unchanged", key=key, warnings=done.warnings, doubt=doubt)
    if not holes:
        return result
    return dataclasses.replace(result, state="filled", holes=holes, digest=find_digest(engine))


def _make_key(run: BatchRun, data: bytes, mask: bytes | None) -> str:
    """Return the digest of everything that a result depends on, in 32 hexadecimal digits."""
    digest = hashlib.sha256(run.salt + len(data).to_bytes(8, "big") + data)
    digest.update(mask or b"")
    return digest.hexdigest()[:32]


def _fill(run: BatchRun, engine: Engine, data: bytes, mask: bytes | None) -> FilledFile:
    """Fill a file by its mask, or by what the run's mask helpers find in it."""
    fill: Callable[..., FilledFile] = fill_content
    if run.count > 1:
        fill = partial(fill_best, count=run.count, threads=run.threads)
    if run.finders:
        return restore_file(data, run.finders, engine, run.options, max_pixels=run.max_pixels, fill=fill)
    return fill(data, mask, engine, run.options, max_pixels=run.max_pixels)
