"""What is to be done with one picture of a folder, wherever that is: here, in a process, on another host."""

import dataclasses
import hashlib
import time
from dataclasses import dataclass
from typing import TypeAlias

from infilling.errors import InfillingError, StorageError
from infilling.filling.batch_results import Result, State
from infilling.filling.contents import fill_content
from infilling.filling.contract import Engine, find_digest
from infilling.filling.engine import open_engine
from infilling.filling.folder import Job
from infilling.filling.locations import Location, read, write
from infilling.filling.options import FillOptions
from infilling.pictures.mask import components

Task: TypeAlias = tuple[Job, bytes | None]
"""A result to make, and the key of the finished one, if there is one."""

DIED = "its process died, perhaps for want of memory"


@dataclass(frozen=True)
class Work:
    """What every picture of a run has in common; goes to processes and hosts as it is."""

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

    def open_engine(self) -> Engine:
        """Open the engine of the run; see `engine.open_engine` for the errors."""
        return open_engine(self.engine, threads=self.threads, device=self.device, adapter=self.adapter)


def fill_job(work: Work, engine: Engine, job: Job, finished: bytes | None) -> Result:
    """Fill one picture, unless its key is that of the finished result; failures are in what it returns."""
    started = time.perf_counter()
    result = Result(job.picture, job.output, "failed", error=job.problem)
    if job.problem:
        return result
    if job.is_unmasked:
        return dataclasses.replace(result, state="unmasked")
    try:
        result = _fill_job(work, engine, job, finished)
    except InfillingError as error:
        result = dataclasses.replace(result, error=" ".join(str(error).split()))
    except MemoryError:
        result = dataclasses.replace(result, error="not enough memory")
    except Exception as error:  # what no one foresaw must not take the other pictures with it
        result = dataclasses.replace(result, error=f"unexpected {type(error).__name__}: {error}")
    return dataclasses.replace(result, seconds=round(time.perf_counter() - started, 4))


def _fill_job(work: Work, engine: Engine, job: Job, finished: bytes | None) -> Result:
    target = work.out / job.output
    data = read(work.source / job.picture)
    mask = None if job.mask is None else read(job.mask)
    digest = hashlib.sha256(work.salt + len(data).to_bytes(8, "big") + data)
    digest.update(b"" if mask is None else mask)
    key = digest.hexdigest()[:32]
    there = target.is_file()
    if there and finished == bytes.fromhex(key) and not work.overwrite:
        return Result(job.picture, job.output, "skipped", key=key)
    if work.dry_run:
        return Result(job.picture, job.output, "pending", key=key)
    done = fill_content(data, mask, engine, work.options, max_pixels=work.max_pixels)
    # A run that was killed may have left the very same file before it could be noted.
    if there and finished is None and not work.overwrite and read(target) != done.data:
        raise StorageError(f"{target} is there and is not from here: --overwrite replaces it")
    write(target, done.data)
    holes = len(components(done.hole))
    state: State = "filled" if holes else "unchanged"
    file = find_digest(engine) if holes else None
    return Result(job.picture, job.output, state, holes=holes, key=key, warnings=done.warnings, digest=file)
