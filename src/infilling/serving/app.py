"""The web application: routes, error handlers, the page."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from infilling.errors import warn
from infilling.filling.session import has_gpu
from infilling.filling.workers import WorkerSetup
from infilling.machine import share_cores
from infilling.serving import extending, finders, iopaint, native, openai, uploads
from infilling.serving.answers import respond_problem
from infilling.serving.engines import EngineList, OfferedEngine, offer_engines, open_offered
from infilling.serving.guard import LEFT, Guard
from infilling.serving.memory import MemoryBudget
from infilling.serving.metrics import Metrics
from infilling.serving.picture_store import PictureStore
from infilling.serving.pool import CallerLeft, Pool
from infilling.serving.problems import Problem
from infilling.serving.reference import render
from infilling.serving.service import HEADERS, JOB_HEADER, Service
from infilling.serving.settings import Settings, choose_jobs
from infilling.version import VERSION

WEB = Path(__file__).parent / "web"
STATUS_CODES = {404: "not-found", 405: "method-not-allowed"}


SHARED_MODULES = (
    "onnxruntime",
    "infilling.filling.detail",
    "infilling.filling.network",
    "infilling.serving.fill_task",
)
"""Modules that every worker needs: loaded once, and shared in memory."""


def make_app(settings: Settings | None = None, *, engines: Iterable[OfferedEngine] | None = None) -> FastAPI:
    """Make the application; `app.state.service` holds what its requests share.

    Args:
        settings: how it is to be run.
        engines: the default first; None takes those that the settings name.

    Raises:
        DependencyError: an engine that the settings name needs a package that is not installed.
        ModelError: the default engine cannot be opened.
    """
    service = _make_service(settings or Settings(), engines)
    app = FastAPI(
        title="infilling",
        version=VERSION,
        summary="Fills the missing region of pictures.",
        docs_url=None,  # FastAPI's page loads its scripts from elsewhere; ours needs none
        redoc_url=None,
        lifespan=_live,
    )
    app.state.service = service
    for dialect in (native, extending, finders, uploads, openai, iopaint):
        app.include_router(dialect.router)
    _add_pages(app)
    _add_handlers(app)
    if service.settings.origins:
        _welcome_origins(app, service.settings.origins)
    app.add_middleware(Guard, settings=service.settings, metrics=service.metrics, memory=service.memory)
    return app


def _make_service(settings: Settings, engines: Iterable[OfferedEngine] | None) -> Service:
    """Start the workers, and open the default engine in one of them: without it no server is started."""
    jobs = choose_jobs(settings.jobs)
    threads = share_cores(jobs)
    table = EngineList(offer_engines(settings.engines, settings.device) if engines is None else engines)
    default = table.find(None)
    setup = WorkerSetup(
        partial(default.open, threads),
        settings.worker_memory,
        partial(has_gpu, settings.device),
        threads,
        SHARED_MODULES,
    )
    pool = Pool(jobs, settings.queue, setup, settings.per_client)
    try:
        for text in pool.probe(open_offered, default, threads):
            warn(text)
    except BaseException:
        pool.close()
        raise
    pictures = PictureStore(settings.kept_bytes, settings.kept_seconds, settings.token)
    memory = MemoryBudget(settings.held_bytes)
    return Service(settings, table, pool, Metrics(pool, memory), pictures, memory, threads)


@asynccontextmanager
async def _live(app: FastAPI) -> AsyncIterator[None]:
    """Watch the workers while the server lives."""
    pool = app.state.service.pool
    watching = asyncio.create_task(pool.watch())
    yield
    watching.cancel()
    pool.close()


def _welcome_origins(app: FastAPI, origins: Iterable[str]) -> None:
    """Let pages of other origins call, and read what answers say in their heads."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", JOB_HEADER],
        expose_headers=HEADERS,
    )


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/sw.js", include_in_schema=False)
    async def service_worker() -> Response:
        return FileResponse(WEB / "sw.js", headers={"Cache-Control": "no-cache"})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(render(app.openapi()))

    app.mount("/static", StaticFiles(directory=WEB), name="static")


def _add_handlers(app: FastAPI) -> None:
    """Everything that goes wrong is answered as problem JSON."""

    @app.exception_handler(Problem)
    async def refuse(request: Request, problem: Problem) -> Response:
        return respond_problem(problem)

    @app.exception_handler(CallerLeft)
    async def forget(request: Request, left: CallerLeft) -> Response:
        return Response(status_code=LEFT)  # nobody receives it

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> Response:
        code = STATUS_CODES.get(error.status_code, "bad-request")
        text = f"{request.method} {request.url.path[:100]}: {error.detail}"
        response = respond_problem(Problem(code, text))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def refuse_value(request: Request, error: RequestValidationError) -> Response:
        fault = error.errors()[0]
        return respond_problem(Problem("invalid", fault["msg"], field=str(fault["loc"][-1])))
