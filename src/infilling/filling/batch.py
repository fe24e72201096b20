"""Fill many pictures, here or on many hosts: resumed where it stopped, stopped by no bad picture.

A result is finished when `results.jsonl` in the folder of results says so, with a key made of all that it
depends on: the bytes of picture and mask, the options, the engine. So a second run fills what is new or has
changed, and nothing else. Pictures are listed, handed out and noted one by one; what grows with their number
is a key of 16 bytes for each result of earlier runs.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from infilling.errors import InputError, check_argument, check_count, check_number, show_value
from infilling.filling.batch_results import (
    RESULTS,
    Result,
    State,
    open_lines,
    read_finished,
    read_results,
    shorten_name,
)
from infilling.filling.batch_task import BatchRun, Task, fill_one
from infilling.filling.contract import Engine, find_digest, parse_device
from infilling.filling.engine import open_engine
from infilling.filling.finders import Finder, parse_finder
from infilling.filling.folder import Item, Job, check_list, find_jobs, list_jobs
from infilling.filling.mask_helpers import get_helper
from infilling.filling.options import FillOptions, load_masks
from infilling.filling.processes import fill_in_processes
from infilling.filling.variants import MOST_COUNT
from infilling.locations import Location, Url, locate
from infilling.machine import MOST_THREADS, share_cores
from infilling.version import VERSION

MOST_JOBS = 256  # processes of one machine
LEAST_SECONDS, MOST_SECONDS = 0.001, 86_400  # of a timeout

Report = Callable[[Result, int, int | None], None]
"""Called after each picture with its result, the number done and the number of all, None if unknown."""


@dataclass(frozen=True)
class Summary:
    """How many pictures had which outcome, and where the results are (nowhere after a dry run)."""

    counts: dict[State, int]
    results: Location | None

    @property
    def failed(self) -> int:
        """Pictures that could not be filled."""
        return self.counts.get("failed", 0)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield what `results.jsonl` says of each picture, for `pandas.DataFrame`; nothing after a dry run.

        Raises:
            StorageError: it cannot be read.
        """
        return iter(()) if self.results is None else read_results(self.results)


def batch(
    source: str | Path | Iterable[Item],
    out: str | Path,
    *,
    masks: str | Path | None = None,
    mask_helpers: Sequence[str] = (),
    engine: str | Path = "default",
    options: FillOptions | None = None,
    count: int = 1,
    jobs: int | None = None,
    timeout: float | None = None,
    ray: str | None = None,
    threads: int | None = None,
    device: str = "auto",
    adapter: str | None = None,
    shard: tuple[int, int] = (1, 1),
    skip_unmasked: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    max_pixels: int | None = None,
    report: Report | None = None,
) -> Summary:
    """Fill every picture of a folder, a list or a generator, into a folder.

    Of a folder the tree is kept; see `find_jobs` for the names. Of a list each result has the name of its
    picture; of several with one name, the later ones get a number.

    Args:
        source: folder of the pictures, a path or a URL; or paths of pictures, or pairs of a picture and its
            mask, each of which is asked for when it is filled.
        out: folder for the results.
        masks: folder of the masks, or one file for all pictures without a mask of their own.
        mask_helpers: what is looked for in each picture and filled, instead of `masks`: names of mask
            helpers, each with options if need be, such as "dust:max_size=20".
        engine: a name in the table, an ONNX file or a run folder; each process opens it once.
        options: for every picture alike.
        count: number of fills that are made of each picture. The best is written, and `results.jsonl` says
            how far they differ (`doubt`).
        jobs: worker processes; None: none but this one, or on a cluster one for each core.
        timeout: seconds for one picture, after which its worker is killed and it has failed; None for no
            limit. Not on a cluster.
        ray: fill on this Ray cluster; see `fill_on_cluster` for what it may be.
        threads: of each process, for a network; None shares the processor among them, and is 1 on a cluster.
        device: for a network.
        adapter: family of a network that others published; None recognises it.
        shard: (i, n) takes the i-th of n parts, from 1; by the results' names, so that machines which share
            the folders need not know of each other.
        skip_unmasked: pass over pictures without a mask, instead of failing them.
        overwrite: fill again what is finished, and replace files of other origin.
        dry_run: write nothing; say what would be done.
        max_pixels: refuse larger files.
        report: called with the progress.

    Returns:
        The counts. Failures are in them and in `results.jsonl`; they raise nothing.

    Raises:
        InputError: a folder is missing, there are no pictures, or an option makes no sense.
        ModelError, DependencyError: the engine cannot be opened, or an extra is not installed.
        StorageError: `results.jsonl` cannot be written.
    """
    _check_arguments(locals())
    options = load_masks(options or FillOptions())
    finders = _parse_finders(mask_helpers, masks)
    folder = source if isinstance(source, str | Path) else None
    is_marked = masks is not None or options.mark_hole or finders
    if folder is not None and not is_marked:
        raise InputError("nothing says where the holes are: give masks, boxes, a colour, or take the alpha")
    threads = threads or (1 if ray else share_cores(jobs or 1))
    parse_device(device)
    # What cannot be opened is reported at once; the host that hands the work out may have no GPU itself.
    opened = open_engine(engine, threads=threads, device="cpu" if ray else device, adapter=adapter)
    run = BatchRun(
        source=locate(folder or Path.cwd()).absolute(),
        out=locate(out).absolute(),
        engine=str(engine),
        options=options,
        threads=threads,
        device=device,
        adapter=adapter,
        overwrite=overwrite,
        dry_run=dry_run,
        max_pixels=max_pixels,
        salt=_digest_settings(opened, options, finders, count, adapter),
        finders=finders,
        count=count,
    )
    mask = locate(masks).absolute() if masks else None
    found, total = _find_part(source, run, mask, shard, skip_unmasked)
    finished = read_finished(run.out)
    tasks = ((job, finished.get(shorten_name(job.output))) for job in found)
    counts: Counter[State] = Counter()
    path = None if dry_run else locate(out) / _name_lines(shard)
    with open_lines(path) as put, closing(_fill(run, opened, tasks, jobs, ray, timeout)) as results:
        for result in results:
            put(result)
            counts[result.state] += 1
            if report:
                report(result, counts.total(), total)
    return Summary(dict(counts), path)


def _name_lines(shard: tuple[int, int]) -> str:
    """Return the name of the file that says what is finished: one for each part of a batch."""
    part, parts = shard
    return RESULTS if parts == 1 else f"results.{part}-of-{parts}.jsonl"


_ARGUMENTS: tuple[tuple[str, Any, str], ...] = (
    ("out", str | Path | Url, "a folder"),
    ("masks", str | Path | Url | None, "a folder or a file"),
    ("mask_helpers", list | tuple, "a list of names"),
    ("options", FillOptions | None, "a FillOptions"),
    ("ray", str | None, "the address of a cluster"),
    ("shard", tuple | list, "(part, number of parts)"),
    ("skip_unmasked", bool, "True or False"),
    ("overwrite", bool, "True or False"),
    ("dry_run", bool, "True or False"),
    ("report", Callable | None, "a function"),
)
"""Arguments of `batch`, their types, and what a message says of them."""


def _check_arguments(given: dict[str, Any]) -> None:
    """Refuse arguments of other types, by their names."""
    for name, kinds, wanted in _ARGUMENTS:
        check_argument(name, given[name], kinds, wanted)
    if not isinstance(given["source"], str | Path | Url) or given["source"] == "":
        check_list("source", given["source"])
    shard = given["shard"]
    if [isinstance(number, Integral) for number in shard] != [True, True]:
        raise InputError(f"shard {show_value(shard)} cannot be used: give (part, number of parts)")
    if not 1 <= shard[0] <= shard[1]:
        raise InputError(f"shard {show_value(shard)} cannot be used: give (part, number of parts), from 1")
    _check_numbers(given)


def _check_numbers(given: dict[str, Any]) -> None:
    """Refuse numbers out of range, by their names."""
    check_count("count", given["count"], 1, MOST_COUNT)
    most = {"threads": MOST_THREADS, "max_pixels": None, "jobs": None if given["ray"] else MOST_JOBS}
    for name, high in most.items():
        check_count(name, given[name], 1, high, optional=True)
    if given["timeout"] is not None:
        check_number("timeout", given["timeout"], LEAST_SECONDS, MOST_SECONDS)
        if given["ray"]:
            raise InputError(
                f"timeout {given['timeout']} cannot be used: pictures on a cluster have no deadline"
            )


def _find_part(
    source: str | Path | Iterable[Item],
    run: BatchRun,
    mask: Location | None,
    shard: tuple[int, int],
    skip_unmasked: bool,
) -> tuple[Iterator[Job], int | None]:
    """Find the jobs of one part of all.

    Returns:
        The jobs, found as they are asked for; and their number, None if it is unknown.
    """
    if not isinstance(source, str | Path):
        total = len(source) if isinstance(source, Sized) and shard[1] == 1 else None
        listed = list_jobs(source, mask, format=run.options.format, skip_unmasked=skip_unmasked)
        return _take_part(listed, shard), total

    def find() -> Iterator[Job]:
        all_jobs = find_jobs(
            run.source, run.out, mask, format=run.options.format, skip_unmasked=skip_unmasked
        )
        return _take_part(all_jobs, shard)

    total = sum(1 for _ in find())
    if not total and shard[1] == 1:
        raise InputError(f"{source}: no pictures in it")
    return find(), total


def _take_part(jobs: Iterable[Job], shard: tuple[int, int]) -> Iterator[Job]:
    """Yield the jobs of one part, from 1: an even share of all, and always the same."""
    part, parts = shard
    for job in jobs:
        name = (job.output or job.picture).encode("utf-8", "surrogateescape")
        place = int.from_bytes(hashlib.sha256(name).digest()[:8], "big") % parts + 1
        if place == part:
            yield job


def _fill(
    run: BatchRun,
    engine: Engine,
    tasks: Iterator[Task],
    jobs: int | None,
    ray: str | None,
    timeout: float | None,
) -> Generator[Result, None, None]:
    """Fill on a cluster, in processes of this machine, or in this one."""
    here = (fill_one(run, engine, job, finished) for job, finished in tasks)
    if run.dry_run:
        return here
    if ray:
        from infilling.filling.cluster import fill_on_cluster

        return fill_on_cluster(run, tasks, jobs, ray)
    is_private = any(isinstance(place, Url) and place.is_private for place in (run.source, run.out))
    needs_processes = jobs or timeout
    return fill_in_processes(run, tasks, jobs or 1, timeout) if needs_processes and not is_private else here


def _parse_finders(texts: Sequence[str], masks: str | Path | None) -> tuple[Finder, ...]:
    """Return the mask helpers that texts name.

    Raises:
        InputError: one of them cannot be used on each picture of a folder.
    """
    finders = tuple(map(parse_finder, texts))
    if finders and masks is not None:
        raise InputError("give masks or mask helpers, not both")
    for finder in finders:
        if get_helper(finder.name).many:
            raise InputError(
                f"{finder.name} looks at many pictures together: make a mask with `infill mask {finder.name}`"
            )
    return finders


def _digest_settings(
    engine: Engine, options: FillOptions, finders: Sequence[Finder], count: int, adapter: str | None
) -> bytes:
    """Return the digest of what results depend on beside picture and mask: options, engine, version."""
    facts: list[object] = [VERSION, engine.name, find_digest(engine), dataclasses.asdict(options)]
    facts += [dataclasses.asdict(finder) for finder in finders]
    facts += [int(count)] if count > 1 else []
    facts += [adapter] if adapter else []
    return hashlib.sha256(json.dumps(facts, default=_digest_mask).encode()).digest()


def _digest_mask(data: object) -> str:
    """Return what stands for a mask that is the same for all pictures."""
    if not isinstance(data, bytes):
        raise InputError(f"a mask for all pictures is a path or the bytes of a file, not {type(data)}")
    return hashlib.sha256(data).hexdigest()
