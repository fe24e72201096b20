"""Fill a folder of pictures, in one process or several: resumed where it stopped, stopped by no bad picture.

A result is finished when `results.jsonl` in the folder of results says so, with a key made of all that it
depends on: the bytes of picture and mask, the options, the engine. So a second run fills what is new or has
changed, and nothing else. Pictures are listed, handed out and noted one by one; what grows with their number
is a key of 16 bytes for each result of earlier runs.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Literal, TypeAlias

from infilling.errors import InfillingError, InputError, StorageError
from infilling.filling.engine import Engine, open_engine
from infilling.filling.fill import Options, fill_file
from infilling.filling.folder import Job, find_jobs
from infilling.pictures.mask import components
from infilling.pictures.picture import write_atomic
from infilling.version import VERSION

RESULTS = "results.jsonl"
AHEAD = 2  # pictures handed out for each process, so that none waits for the next

State = Literal["filled", "unchanged", "skipped", "pending", "failed"]
Task: TypeAlias = tuple[Job, bytes | None]


@dataclass(frozen=True)
class Result:
    """A line of `results.jsonl`: what became of one picture.

    Attributes:
        state: `filled`; `unchanged`, it has no hole; `skipped`, it was finished before; `pending`, a dry run
            would fill it; `failed`.
        seconds: from reading the picture to the file written.
        holes: connected groups of hole pixels; None if it was not looked at.
        key: of all that the result depends on, in hexadecimal.
    """

    picture: str
    output: str
    state: State
    seconds: float = 0.0
    holes: int | None = None
    error: str | None = None
    key: str | None = None


Report = Callable[[Result, int, int], None]
"""Called after each picture with its result, the number done and the number of all."""


@dataclass(frozen=True)
class Summary:
    """How many pictures came to which end, and where the lines are (nowhere after a dry run)."""

    counts: dict[State, int]
    results: Path | None

    @property
    def failed(self) -> int:
        """Pictures that could not be filled."""
        return self.counts.get("failed", 0)


@dataclass(frozen=True)
class Work:
    """What every picture of a run has in common; goes to the processes as it is."""

    source: Path
    out: Path
    engine: str
    options: Options
    threads: int | None
    device: str
    overwrite: bool
    dry_run: bool
    max_pixels: int | None
    salt: bytes


def batch(
    source: Path,
    out: Path,
    *,
    masks: Path | None = None,
    engine: str | Path = "default",
    options: Options | None = None,
    jobs: int = 1,
    threads: int | None = None,
    device: str = "auto",
    shard: tuple[int, int] = (1, 1),
    overwrite: bool = False,
    dry_run: bool = False,
    max_pixels: int | None = None,
    report: Report | None = None,
) -> Summary:
    """Fill every picture of a folder into another one, keeping its tree; see `find_jobs` for the names.

    Args:
        source, out, masks: folders; `masks` may be one file for all pictures.
        engine: a name in the table, an ONNX file or a run folder; each process opens it once.
        options: for every picture alike.
        jobs: processes.
        threads: of each process, for a network; None shares the processor among them.
        device: for a network.
        shard: (i, n) takes the i-th of n parts, from 1; by the results' names, so that machines which share
            the folders need not know of each other.
        overwrite: fill again what is finished, and replace files of other origin.
        dry_run: write nothing; say what would be done.
        max_pixels: refuse larger files.
        report: told about progress.

    Returns:
        The counts. Failures are in them and in `results.jsonl`; they raise nothing.

    Raises:
        InputError: a folder is missing, there are no pictures, or an option makes no sense.
        ModelError, DependencyError: the engine cannot be opened.
        StorageError: `results.jsonl` cannot be written.
    """
    options = options or Options()
    if jobs < 1 or not 1 <= shard[0] <= shard[1]:
        raise InputError(f"jobs {jobs} and shard {shard[0]}/{shard[1]}: at least 1 job, and part 1 to n of n")
    if masks is None and not (options.boxes or options.mask_from_alpha or options.mask_color):
        raise InputError("nothing says where the holes are: give masks, boxes, a colour, or take the alpha")
    threads = threads or max(1, _count_cores() // jobs)
    opened = open_engine(engine, threads=threads, device=device)  # what cannot be opened is told at once
    work = Work(
        source, out, str(engine), options, threads, device, overwrite, dry_run, max_pixels,
        salt=_describe(opened, engine, options),
    )  # fmt: skip

    def find() -> Iterator[Job]:
        jobs_here = find_jobs(source, out, masks, format=options.format)
        return (job for job in jobs_here if shard[1] == 1 or _place(job, shard[1]) == shard[0])

    total = sum(1 for _ in find())
    if not total and shard[1] == 1:
        raise InputError(f"{source}: no pictures in it")
    finished = _read_finished(out)
    tasks = ((job, finished.get(_brief(job.output))) for job in find())
    counts: dict[State, int] = {}
    path = (
        None if dry_run else out / (RESULTS if shard[1] == 1 else f"results.{shard[0]}-of-{shard[1]}.jsonl")
    )
    with _open_lines(path) as put, closing(_run(work, opened, tasks, jobs)) as results:
        for result in results:
            put(result)
            counts[result.state] = counts.get(result.state, 0) + 1
            if report:
                report(result, sum(counts.values()), total)
    return Summary(counts, path)


# -- one picture ---------------------------------------------------------------------------------------------


def fill_job(work: Work, engine: Engine, job: Job, finished: bytes | None) -> Result:
    """Fill one picture, unless its key is that of the finished result; failures are in what it returns."""
    started = time.perf_counter()
    result = Result(job.picture, job.output, "failed", error=job.problem)
    if job.problem:
        return result
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
    data = _read(work.source / job.picture)
    mask = None if job.mask is None else _read(job.mask)
    digest = hashlib.sha256(work.salt + len(data).to_bytes(8, "big") + data)
    digest.update(b"" if mask is None else mask)
    key = digest.hexdigest()[:32]
    there = target.is_file()
    if there and finished == bytes.fromhex(key) and not work.overwrite:
        return Result(job.picture, job.output, "skipped", key=key)
    if work.dry_run:
        return Result(job.picture, job.output, "pending", key=key)
    done = fill_file(data, mask, engine, work.options, max_pixels=work.max_pixels)
    # A run that was killed may have left the very same file before it could be noted.
    if there and finished is None and not work.overwrite and _read(target) != done.data:
        raise StorageError(f"{target} is there and is not from here: --overwrite replaces it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{target.parent}: cannot be made ({error.strerror})") from error
    write_atomic(target, done.data)
    holes = len(components(done.hole))
    return Result(job.picture, job.output, "filled" if holes else "unchanged", holes=holes, key=key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _describe(engine: Engine, name: str | Path, options: Options) -> bytes:
    """What results depend on beside picture and mask, as a digest: options, engine, version."""
    path = Path(name) / "model.onnx" if Path(name).is_dir() else Path(name)
    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    told = [VERSION, engine.name, content, dataclasses.asdict(options)]
    return hashlib.sha256(json.dumps(told).encode()).digest()


# -- all pictures --------------------------------------------------------------------------------------------


def _run(work: Work, engine: Engine, tasks: Iterator[Task], jobs: int) -> Generator[Result, None, None]:
    if jobs == 1:
        for job, finished in tasks:
            yield fill_job(work, engine, job, finished)
        return
    pool = _make_pool(work, jobs)
    pending: dict[Future[Result], Task] = {}
    try:
        while True:
            for task in islice(tasks, AHEAD * jobs - len(pending)):
                pending[pool.submit(_fill_in_process, *task)] = task
            if not pending:
                return
            lost = []
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                task = pending.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    lost.append(task)
                else:
                    yield future.result()
            if lost:
                # A process died, and with it the pool. Whose fault it was shows when each is tried alone.
                lost += pending.values()
                pending.clear()
                pool.shutdown()
                for task in lost:
                    yield _fill_alone(work, task)
                pool = _make_pool(work, jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _fill_alone(work: Work, task: Task) -> Result:
    with _make_pool(work, 1) as pool:
        try:
            return pool.submit(_fill_in_process, *task).result()
        except BrokenProcessPool:
            error = "its process died, perhaps for want of memory"
            return Result(task[0].picture, task[0].output, "failed", error=error)


def _make_pool(work: Work, jobs: int) -> ProcessPoolExecutor:
    # Spawned: a fork would copy locks that the threads of an open engine hold.
    return ProcessPoolExecutor(jobs, get_context("spawn"), _start_process, (work,))


_IN_PROCESS: list[tuple[Work, Engine]] = []
"""In a process of a pool: its work and engine."""


def _start_process(work: Work) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which lets this picture finish
    _IN_PROCESS[:] = [(work, open_engine(work.engine, threads=work.threads, device=work.device))]


def _fill_in_process(job: Job, finished: bytes | None) -> Result:
    [(work, engine)] = _IN_PROCESS
    return fill_job(work, engine, job, finished)


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _place(job: Job, parts: int) -> int:
    """Which part, from 1, this job is in; an even share of all, and always the same."""
    digest = hashlib.sha256((job.output or job.picture).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % parts + 1


# -- the lines -----------------------------------------------------------------------------------------------


def _brief(output: str) -> bytes:
    """A name in 16 bytes: all that is kept of each earlier result but its key."""
    return hashlib.sha256(output.encode("utf-8", "surrogateescape")).digest()[:16]


def _read_finished(out: Path) -> dict[bytes, bytes]:
    """Read which results are finished, of every part: brief name → key. Later lines count."""
    finished: dict[bytes, bytes] = {}
    for path in sorted(out.glob("results*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    row = json.loads(line)
                    name, state, key = row["output"], row["state"], row["key"]
                    if state != "failed" and key:
                        finished[_brief(name)] = bytes.fromhex(key)
                except (ValueError, KeyError, TypeError):  # the last line of a run that was killed
                    continue
    return finished


@contextmanager
def _open_lines(path: Path | None) -> Iterator[Callable[[Result], None]]:
    """Append lines to a file; when all is done, drop those of earlier runs.

    Raises:
        StorageError: the file cannot be written.
    """
    if path is None:
        yield lambda result: None
        return
    with _storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    with closing(file):
        with _storing(path):
            _end_line(file)
            start = file.tell()

        def put(result: Result) -> None:
            with _storing(path):
                file.write((json.dumps(dataclasses.asdict(result)) + "\n").encode())
                file.flush()

        yield put
        if start:
            with _storing(path):
                _keep_from(path, file, start)


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error


def _end_line(file: IO[bytes]) -> None:
    """Close a line that was torn when a run was killed."""
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    file.seek(0, os.SEEK_END)


def _keep_from(path: Path, file: IO[bytes], start: int) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as kept:
        file.seek(start)
        shutil.copyfileobj(file, kept)
    part.replace(path)
