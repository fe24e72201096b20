"""Who may call, how much, how slowly; what happens in the queue; how a server ends."""

import io
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.serving.conftest import Running, SlowEngine, connect, hole, offer, photo, to_file, wait_until

from infilling.errors import InputError, install_hint
from infilling.machine import share_cores
from infilling.serving.server import describe_exposure
from infilling.serving.settings import Settings, choose_jobs

PNG, MASK = to_file(photo(1)), to_file(hole())
FILES = {"image": PNG, "mask": MASK}
Start = Callable[..., Running]


def fill(server: Running, **options: object) -> httpx.Response:
    return server.client.post("/api/v1/fill", files=FILES, **options)  # type: ignore[arg-type]


@contextmanager
def half_way(server: Running, files: dict[str, bytes]) -> Iterator[None]:
    """Ask for a fill over a bare connection, and leave at the end of the block."""
    request = server.client.build_request("POST", "/api/v1/fill", files=files)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with connect(server.url) as connection:
        connection.sendall(f"POST /api/v1/fill HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        yield


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has width × height pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return len(data).to_bytes(4, "big") + whole + zlib.crc32(whole).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    rows = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("part", ["image", "mask"])
def test_a_decompression_bomb_is_refused_by_its_head(shared: Running, part: str) -> None:
    files = FILES | {part: bomb(60_000, 60_000)}
    began = time.monotonic()
    found = shared.client.post("/api/v1/fill", files=files).json()
    assert (found["status"], found["code"], found["field"]) == (413, "too-many-pixels", part)
    assert time.monotonic() - began < 2


def test_a_large_body_is_refused_with_and_without_its_length(start: Start) -> None:
    server = start(Settings(max_bytes=100_000))
    assert fill(server).status_code == 200
    large = FILES | {"image": bytes(200_000)}
    assert server.client.post("/api/v1/fill", files=large).json()["code"] == "too-large"
    chunks = (b"x" * 10_000 for _ in range(30))
    head = {"content-type": "multipart/form-data; boundary=x"}
    answer = server.client.post("/api/v1/fill", content=b"--x\r\n" + b"".join(chunks), headers=head)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")

    def drip() -> object:
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(30):
            yield b"x" * 10_000

    answer = server.client.post("/api/v1/fill", content=drip(), headers=head)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_too_many_parts_are_refused(shared: Running) -> None:
    fields = [("box", (None, "1,1,2,2"))] * 1500
    answer = shared.client.post("/api/v1/fill", files=[("image", ("a", PNG)), *fields])
    assert answer.json()["code"] == "bad-request"
    answer = shared.client.post("/api/v1/fill", files=[("patch", ("a", b"x"))] * 100)
    assert answer.json()["code"] == "bad-request"


def test_a_slow_head_is_cut_off(start: Start) -> None:
    server = start(Settings(header_seconds=0.3))
    for head in (b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "):
        with connect(server.url) as connection:
            connection.sendall(head)
            began = time.monotonic()
            assert connection.recv(100) == b""
            assert 0.1 < time.monotonic() - began < 5
    with connect(server.url) as connection:  # nor does the next head on a connection have more time
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in connection.recv(4000)
        connection.sendall(b"GET /healthz HTT")
        while connection.recv(4000):
            pass


def test_a_slow_body_is_cut_off(start: Start) -> None:
    server = start(Settings(body_seconds=0.3))
    with connect(server.url) as connection:
        connection.sendall(
            b"POST /api/v1/fill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        assert b"408" in connection.recv(4000)
    wait_until(lambda: not server.service.pool.callers)


def test_a_token(start: Start) -> None:
    server = start(Settings(token="sesame"))
    answer = fill(server)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    for wrong in ("Bearer sesam", "Bearer sesame2", "Basic sesame", "Bearer é".encode()):
        assert fill(server, headers={"Authorization": wrong}).status_code == 401
    assert fill(server, headers={"Authorization": "Bearer sesame"}).status_code == 200
    for path in ("/v1/models", "/metrics", "/api/v1/info", "/openapi.json"):
        assert server.client.get(path).status_code == 401
    for path in ("/healthz", "/readyz", "/", "/static/app.js"):
        assert server.client.get(path).status_code == 200


def test_pages_of_other_origins_are_refused_unless_asked_for(start: Start) -> None:
    server = start(Settings(origins=("https://photos.example",)))
    answer = fill(server, headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign-origin")
    assert fill(server, headers={"Origin": "null"}).status_code == 403
    assert fill(server, headers={"Origin": server.url}).status_code == 200
    answer = fill(server, headers={"Origin": "https://photos.example"})
    assert answer.headers["access-control-allow-origin"] == "https://photos.example"
    assert "access-control-allow-credentials" not in answer.headers


def test_without_being_asked_no_header_lets_others_read(shared: Running) -> None:
    answer = shared.client.get("/v1/models", headers={"Origin": shared.url})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/nope", "/static/app.js", "/static/nope"])
def test_security_headers_are_on_every_answer(shared: Running, path: str) -> None:
    headers = shared.client.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "server" not in headers


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2ferrors.py"]
)
def test_nothing_outside_the_page_is_served(shared: Running, path: str) -> None:
    with connect(shared.url) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert b" 404 " in connection.recv(4000).splitlines()[0]


def test_nothing_that_is_uploaded_is_written_to_disk(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    rolled = []
    import tempfile

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", lambda self: rolled.append(self))
    server = start()
    large = np.random.default_rng(1).integers(0, 256, (1100, 1100, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(large).save(data, "PNG", compress_level=0)
    assert len(data.getvalue()) > 3 << 20
    files = {"image": data.getvalue()}
    assert server.client.post("/api/v1/fill", files=files, data={"box": "9,9,9,9"}).status_code == 200
    assert not rolled


# -- the queue -----------------------------------------------------------------------------------------------


def test_a_full_queue_refuses_and_says_when_to_come_back(start: Start) -> None:
    engine = SlowEngine()
    server = start(Settings(jobs=1, queue=1, per_client=2), [offer(engine)])
    with ThreadPoolExecutor(2) as callers:
        waiting = [callers.submit(fill, server, headers={"X-Job-Id": name}) for name in ("one", "two")]
        states = server.service.pool.callers
        wait_until(lambda: {job.state for job in list(states.values())} == {"running", "waiting"})
        names = {job.state: job.id for job in list(states.values())}
        answer = fill(server)
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        running = server.client.get(f"/api/v1/jobs/{names['running']}").json()
        unknown = {"share": 0.0, "seconds_left": None}
        assert running == {"state": "running", "ahead": 0} | unknown
        assert server.client.get(f"/api/v1/jobs/{names['waiting']}").json()["state"] == "waiting"
        assert server.client.get("/api/v1/jobs/three").json()["state"] == "unknown"
        assert server.client.get("/healthz").status_code == 200
        twice = fill(server, headers={"X-Job-Id": "one"})
        assert twice.status_code in (422, 503)
        engine.gate.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
    assert fill(server).status_code == 200
    assert not server.service.pool.callers


def test_who_leaves_takes_the_job_along(start: Start) -> None:
    engine = SlowEngine()
    server = start(Settings(jobs=1, queue=4), [offer(engine)])
    with ThreadPoolExecutor(1) as callers:
        stays = callers.submit(fill, server)
        assert engine.began.acquire(timeout=10)
        with half_way(server, FILES):
            wait_until(lambda: "waiting" in [job.state for job in list(server.service.pool.callers.values())])
        wait_until(lambda: len(server.service.pool.callers) == 1)
        engine.gate.set()
        assert stays.result().status_code == 200
    assert engine.regions == 1, "the engine worked for a caller who had left"
    assert 'outcome="left"' in server.client.get("/metrics").text


def test_a_running_fill_stops_at_its_next_region_when_its_caller_leaves(start: Start) -> None:
    engine = SlowEngine()
    server = start(Settings(jobs=1), [offer(engine)])
    image, mask = photo(2, (40, 3000)), np.zeros((40, 3000), bool)
    mask[10:20, 100::1000] = True  # three holes, too far apart for one crop
    files = {"image": to_file(image), "mask": to_file(mask)}
    with half_way(server, files):
        assert engine.began.acquire(timeout=10)
        assert server.client.get("/metrics").status_code == 200
    jobs = server.service.pool.callers.values()
    wait_until(lambda: all(job.worker and job.worker.progress.stopped for job in list(jobs)))
    engine.gate.set()
    wait_until(lambda: not server.service.pool.callers)
    assert engine.regions == 1
    assert server.client.post("/api/v1/fill", files=files).status_code == 200
    assert engine.regions > 2


def test_a_fill_that_takes_too_long_is_a_gateway_timeout(start: Start) -> None:
    engine = SlowEngine()
    server = start(Settings(jobs=1, fill_seconds=0.3), [offer(engine)])
    answer = fill(server)
    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
    assert "retry-after" in answer.headers
    engine.gate.set()
    wait_until(lambda: not server.service.pool.callers)


class BrokenEngine(SlowEngine):
    def fill(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("a secret")


def test_a_broken_engine_is_a_500_without_its_words(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = start(None, [offer(BrokenEngine())])
    answer = fill(server)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert "a secret" in caplog.text
    assert answer.headers["x-frame-options"] == "DENY"
    assert server.client.get("/healthz").status_code == 200


def test_stopping_finishes_what_runs_and_refuses_the_rest(start: Start) -> None:
    engine = SlowEngine()
    server = start(Settings(jobs=1, queue=4), [offer(engine)])
    with ThreadPoolExecutor(2) as callers:
        running = callers.submit(fill, server)
        assert engine.began.acquire(timeout=10)
        waiting = callers.submit(fill, server)
        wait_until(lambda: len(server.service.pool.callers) == 2)
        wait_until(lambda: any(job.state == "waiting" for job in list(server.service.pool.callers.values())))
        server.stop()
        refused = waiting.result(10)
        assert (refused.status_code, refused.json()["code"]) == (503, "closing")
        assert "retry-after" in refused.headers
        with pytest.raises(ConnectionRefusedError):  # asking for a page might meet a reset on the way
            wait_until(lambda: connect(server.url).close(), 3)
        engine.gate.set()
        assert running.result(10).status_code == 200
    server.thread.join(10)
    assert not server.thread.is_alive()


# -- the command ---------------------------------------------------------------------------------------------


def test_the_command_serves_until_sigterm() -> None:
    command = [sys.executable, "-m", "infilling", "serve", "--port", "0", "--engine", "push-pull", "-j", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    killer = threading.Timer(60, process.kill)
    killer.start()
    try:
        url = process.stdout.readline().strip()
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200)
            assert client.post("/api/v1/fill", files=FILES).status_code == 200
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    finally:
        killer.cancel()
        process.kill()
    assert errors == ""
    assert process.returncode in (0, -signal.SIGTERM)


def test_a_port_in_use_is_one_line(shared: Running, infill: Callable[..., object]) -> None:
    ran = infill("serve", "--port", shared.url.rpartition(":")[2])
    assert ran.code == 8  # type: ignore[attr-defined]
    assert "cannot listen on 127.0.0.1" in ran.err  # type: ignore[attr-defined]


def test_a_missing_extra_is_one_line() -> None:
    code = "import sys; sys.modules['fastapi'] = None; from infilling.cli import main; main(['serve'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr == f"error: serve needs fastapi: {install_hint('serve')}\n"


def test_binding_elsewhere_without_a_token_is_warned_about() -> None:
    assert describe_exposure("127.0.0.1", Settings()) is None
    assert "INFILLING_TOKEN" in (describe_exposure("0.0.0.0", Settings()) or "")
    assert describe_exposure("0.0.0.0", Settings(token="x")) is None


@pytest.mark.parametrize("cores", range(1, 33))
@pytest.mark.parametrize("jobs", [None, 1, 2, 3])
def test_jobs_and_threads_fit_the_cores(jobs: int | None, cores: int) -> None:
    count = choose_jobs(jobs, cores)
    threads = share_cores(count, cores)
    assert count * threads <= max(cores, count)
    assert threads >= 1
    assert jobs is None or count == jobs


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"queue": -1}, {"max_pixels": 0}, {"token": ""}])
def test_settings_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Settings(**wrong)  # type: ignore[arg-type]
