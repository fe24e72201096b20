"""What every dialect does with an order: a place in the queue, an engine, the fill, the figures."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import Request, Response

from infilling.serving.metrics import Metrics
from infilling.serving.offers import Offer, Offers
from infilling.serving.pool import Job, Pool, Stopped
from infilling.serving.problems import Problem
from infilling.serving.settings import Settings
from infilling.serving.work import Answer, Order, fill_file

JOB_HEADER = "X-Job-Id"
WARNINGS_HEADER = "X-Infilling-Warnings"  # a JSON list of sentences
LEFT = Response(status_code=499)
"""What is answered to a caller who has left; nobody receives it."""


@dataclass(frozen=True)
class Service:
    """What one server's requests share."""

    settings: Settings
    offers: Offers
    pool: Pool
    metrics: Metrics

    @contextmanager
    def admit(self, request: Request) -> Iterator[Job]:
        """Take a place for a request, before its body is read.

        Raises:
            Problem: there is none, or the caller's name for the job cannot be used.
        """
        id = request.headers.get(JOB_HEADER)
        if id is not None and not (id.isascii() and id.replace("-", "").isalnum() and len(id) <= 64):
            raise Problem("invalid", "a job's name is up to 64 letters, digits and hyphens", field=JOB_HEADER)
        with self.pool.admit(id) as job:
            yield job

    async def fill(
        self,
        request: Request,
        job: Job,
        order: Order,
        offer: Offer,
        respond: Callable[[Answer], Response],
    ) -> Response:
        """Carry out an order in a worker thread and make the response there too.

        Raises:
            Problem: it cannot be carried out.
        """

        def work(job: Job) -> Response:
            answer = fill_file(order, partial(self.offers.open, offer), job, self.settings.max_pixels)
            response = respond(answer)
            if answer.warnings:
                response.headers[WARNINGS_HEADER] = json.dumps(answer.warnings)
            return response

        outcome = "internal"
        try:
            gone = _wait_until_gone(request)
            response = await self.pool.run(job, work, gone=gone, seconds=self.settings.fill_seconds)
            outcome = "left" if response is None else "done"
        except Problem as problem:
            outcome = problem.code
            raise
        except Stopped:
            outcome = "left"
            return LEFT
        finally:
            self.metrics.count_fill(offer.name, outcome, job.lasted)
        if response is None:
            return LEFT
        response.headers["X-Infilling-Engine"] = offer.name
        response.headers[JOB_HEADER] = job.id
        response.headers["Server-Timing"] = (
            f"queue;dur={1000 * job.waited:.1f}, fill;dur={1000 * job.lasted:.1f}"
        )
        return response


async def _wait_until_gone(request: Request) -> None:
    """Return when the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
