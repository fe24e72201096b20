"""What every dialect does with a request: a place in the queue, an engine, the fill, the figures."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Request, Response

from infilling.errors import Advice, InfillingError
from infilling.filling.finders import Finder
from infilling.filling.workers import Progress
from infilling.serving.engines import EngineList, OfferedEngine
from infilling.serving.fill_task import FillAnswer, FillRequest
from infilling.serving.find_task import run_find
from infilling.serving.guard import find_client
from infilling.serving.memory import MemoryBudget
from infilling.serving.metrics import Metrics
from infilling.serving.picture_store import PictureStore
from infilling.serving.pool import CallerLeft, Job, Pool
from infilling.serving.problems import Problem
from infilling.serving.settings import Settings

Wanted = TypeVar("Wanted", contravariant=True)
Answer = TypeVar("Answer", bound=FillAnswer, covariant=True)
T = TypeVar("T")

ADVICE_HEADER = "X-Infilling-Advice"
BOX_HEADER = "X-Infilling-Box"
ENGINE_HEADER = "X-Infilling-Engine"
PATCH_HEADER = "X-Infilling-Patch-Id"
WARNINGS_HEADER = "X-Infilling-Warnings"
JOB_HEADER = "X-Job-Id"
SEED_HEADER = "X-Seed"
HEADERS = (ADVICE_HEADER, BOX_HEADER, ENGINE_HEADER, PATCH_HEADER, WARNINGS_HEADER, JOB_HEADER, SEED_HEADER)


class Task(Protocol[Wanted, Answer]):
    """What a worker process does for one request, such as `run_fill`."""

    def __call__(
        self, progress: Progress, wanted: Wanted, engine: OfferedEngine, threads: int, max_pixels: int, /
    ) -> Answer:
        """Carry `wanted` out."""
        ...


@dataclass(frozen=True)
class Service:
    """What one server's requests share.

    Attributes:
        settings: of the server.
        engines: that callers may choose.
        pool: where fills run.
        metrics: what has happened since the start.
        pictures: that callers have uploaded once.
        memory: that bodies and answers hold.
        threads: threads of each fill.
    """

    settings: Settings
    engines: EngineList
    pool: Pool
    metrics: Metrics
    pictures: PictureStore
    memory: MemoryBudget
    threads: int

    @contextmanager
    def admit(self, request: Request) -> Iterator[Job]:
        """Let a caller in, before the body is read.

        Raises:
            Problem: there is no place, or the caller's name for the job cannot be used.
        """
        id = request.headers.get(JOB_HEADER)
        if id is not None and not (id.isascii() and id.replace("-", "").isalnum() and len(id) <= 64):
            raise Problem("invalid", "a job's name is up to 64 letters, digits and hyphens", field=JOB_HEADER)
        with self.pool.admit(id, find_client(request.scope)) as job:
            yield job

    async def fill(
        self,
        request: Request,
        job: Job,
        wanted: Wanted,
        engine: OfferedEngine,
        respond: Callable[[Answer], Response],
        *,
        task: Task[Wanted, Answer],
    ) -> Response:
        """Carry out a fill in a worker process and make the response.

        Args:
            request: the caller's.
            job: from `admit`.
            wanted: what is to be filled.
            engine: what fills.
            respond: makes the response.
            task: carries `wanted` out, in a worker process.

        Raises:
            Problem: it cannot be carried out.
            CallerLeft: nobody waits for the response any more.
        """
        outcome = "internal"
        try:
            answer: Answer = await self._work(request, job, task, wanted, engine, self.threads)
            outcome = "done"
        except (Problem, CallerLeft) as error:
            outcome = error.code
            raise
        except InfillingError as error:
            outcome = "engine-failed"
            raise Problem(outcome, str(error), field="engine") from error
        finally:
            self.metrics.count_fill(engine.name, outcome, job.lasted)
        response = respond(answer)
        _add_warnings(response, answer.warnings)
        response.headers[ENGINE_HEADER] = engine.name
        response.headers[JOB_HEADER] = job.id
        response.headers["Server-Timing"] = (
            f"queue;dur={1000 * job.waited:.1f}, fill;dur={1000 * job.lasted:.1f}"
        )
        return response

    async def find(
        self,
        request: Request,
        job: Job,
        wanted: FillRequest,
        finder: Finder,
        respond: Callable[[FillAnswer], Response],
    ) -> Response:
        """Find something in a picture, in a worker process, and make the response with the mask.

        Raises:
            Problem: it cannot be carried out.
            CallerLeft: nobody waits for the response any more.
        """
        response = respond(await self._work(request, job, run_find, wanted, finder))
        response.headers[JOB_HEADER] = job.id
        return response

    async def _work(self, request: Request, job: Job, task: Callable[..., T], *wanted: object) -> T:
        """Run a task in a worker process, as long as the caller waits for it."""
        gone, seconds = _wait_until_gone(request), self.settings.fill_seconds
        return await self.pool.run(job, task, *wanted, self.settings.max_pixels, gone=gone, seconds=seconds)


async def find_service(request: Request) -> Service:
    """Return what the requests of one server share."""
    service: Service = request.app.state.service
    return service


Shared = Annotated[Service, Depends(find_service)]


def _add_warnings(response: Response, warnings: Sequence[str]) -> None:
    """Put warnings into a header, and into another the code and numbers of those that have one."""
    advice = [{"code": each.code, **each.values} if isinstance(each, Advice) else None for each in warnings]
    if warnings:
        response.headers[WARNINGS_HEADER] = json.dumps(warnings)
    if any(advice):
        response.headers[ADVICE_HEADER] = json.dumps(advice)


async def _wait_until_gone(request: Request) -> None:
    """Return when the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
