"""Nothing that a caller sends, or does not send, freezes or bloats the server or outlives its time."""

import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
from tests.serving.conftest import (
    Running,
    SlowEngine,
    command,
    connect,
    find_children,
    hole,
    offer,
    photo,
    push_pull,
    to_file,
    wait_until,
)

from infilling.machine import MEBIBYTE
from infilling.serving import connections, guard
from infilling.serving.connections import RepeatFilter
from infilling.serving.guard import knows_host
from infilling.serving.memory import MemoryBudget
from infilling.serving.problems import Problem
from infilling.serving.settings import Settings

Start = Callable[..., Running]
PNG, MASK = to_file(photo(1)), to_file(hole())
FILES = {"image": PNG, "mask": MASK}
FORM = "Content-Type: multipart/form-data; boundary=x\r\n"


def fill(server: Running, **options: object) -> httpx.Response:
    return server.client.post("/api/v1/fill", files=FILES, **options)  # type: ignore[arg-type]


def head(path: str = "/api/v1/fill", length: int = 60_000_000, more: str = FORM) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def connect_from(url: str, address: str) -> socket.socket:
    """A connection that comes from another of the loopback's addresses."""
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10, source_address=(address, 0))


def client_from(url: str, address: str) -> httpx.Client:
    transport = httpx.HTTPTransport(local_address=address)
    return httpx.Client(base_url=url, transport=transport, timeout=30, trust_env=False)


def read_until_closed(connection: socket.socket) -> bytes:
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


# -- connections ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "path", "status"),
    [
        (FORM, "/api/v1/fill", 401),
        ("Authorization: Bearer t\r\nContent-Type: text/plain\r\n", "/api/v1/fill", 415),
        ("Authorization: Bearer t\r\n" + FORM, "/nothing", 404),
        ("Authorization: Bearer t\r\nOrigin: http://evil.example\r\n", "/api/v1/fill", 403),
        ("", "/healthz", 405),
    ],
)
def test_an_early_answer_closes_the_connection(
    start: Start, monkeypatch: pytest.MonkeyPatch, more: str, path: str, status: int
) -> None:
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.5)
    server = start(Settings(jobs=1, token="t"))
    with connect(server.url) as connection:
        connection.sendall(head(path, more=more))
        answer = connection.recv(65536)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"connection: close" in answer.lower()
        connection.sendall(b"a")
        began = time.monotonic()
        with suppress(ConnectionResetError):
            read_until_closed(connection)
        assert time.monotonic() - began < 3


def test_a_refused_upload_gets_to_read_why(start: Start) -> None:
    """The rest of the body is read for a while: otherwise the system would discard the answer."""
    server = start(Settings(jobs=1, max_bytes=100_000))
    connection = connect(server.url)
    with connection:
        connection.sendall(head(length=3_000_000) + bytes(3_000_000))
        assert read_until_closed(connection).startswith(b"HTTP/1.1 413 ")


def test_idle_and_slow_bodies_are_cut_off(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start(Settings(jobs=1, idle_seconds=0.3))
    with connect(server.url) as connection:
        connection.sendall(head() + b"--x\r\n")
        assert b" 408 " in connection.recv(4000).splitlines()[0]
    monkeypatch.setattr(guard, "RATE_GRACE_SECONDS", 0.2)
    with connect(server.url) as connection:
        connection.sendall(head() + b"--x\r\n")
        began = time.monotonic()
        connection.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() - began < 5:
            connection.sendall(b"y")
            with suppress(TimeoutError):
                answer = connection.recv(4000)
        connection.settimeout(5)
        answer += read_until_closed(connection)
    assert b" 408 " in answer.splitlines()[0]
    assert b"slower than" in answer
    wait_until(lambda: not server.service.pool.callers)


def test_answers_that_nobody_reads_are_dropped(start: Start) -> None:
    server = start(Settings(jobs=1, write_seconds=0.5))
    image = to_file(np.zeros((2000, 3000, 3), np.uint8))
    form = server.client.build_request(
        "POST", "/api/v1/fill", files={"image": image}, data={"box": "1,1,2,2", "format": "bmp"}
    )
    lines = "".join(f"{name}: {value}\r\n" for name, value in form.headers.items())
    with connect(server.url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"POST /api/v1/fill HTTP/1.1\r\n{lines}\r\n".encode() + form.read())
        wait_until(lambda: server.service.memory.held > 18_000_000)
        wait_until(lambda: server.service.memory.held == 0)
    assert fill(server).status_code == 200


def test_half_open_connections_lock_nobody_out(start: Start) -> None:
    server = start(Settings(jobs=1, connections=20))
    with ExitStack() as stack:
        for number in range(100):
            half = stack.enter_context(connect(server.url))
            half.sendall(b"GET /healthz HTT")
            if not number % 10:
                with httpx.Client(base_url=server.url, trust_env=False) as client:
                    assert client.get("/healthz").status_code == 200


CHUNKED = (
    f"POST /api/v1/fill HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{FORM}\r\n".encode()
)
MANY_LINES = b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"Host: localhost\r\n\r\n"


PIECES = [MANY_LINES[:30_000], MANY_LINES[30_000:50_000] + b"\r\n\r\n"]


@pytest.mark.parametrize(
    "sent", [[CHUNKED + b"1\r\na\r\n" * 100_000], [MANY_LINES], PIECES], ids=["chunks", "lines", "pieces"]
)
def test_what_costs_the_event_loop_much_is_refused(shared: Running, sent: list[bytes]) -> None:
    with connect(shared.url) as connection:
        for piece in sent:
            with suppress(OSError):  # it is closed before all is sent
                connection.sendall(piece)
            time.sleep(0.05)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_body_in_small_chunks_is_read(shared: Running) -> None:
    request = shared.client.build_request("POST", "/api/v1/fill", files=FILES)
    body = request.read()
    pieces = (body[start : start + 100] for start in range(0, len(body), 100))
    headers = {"Content-Type": request.headers["Content-Type"]}
    assert shared.client.post("/api/v1/fill", content=pieces, headers=headers).status_code == 200


def test_bad_bodies_do_not_flood_the_log(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = start(Settings(jobs=1))
    for number in range(20):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        body = b"--x" + bytes([65 + number])  # the parser quotes each in its log
        assert server.client.post("/api/v1/fill", content=body, headers=headers).status_code == 400
    assert 0 < len(caplog.records) <= 5


def test_log_lines_of_one_kind_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    records = [logging.LogRecord("a", 30, "x", 1, f"bad {n}", (), None) for n in range(20)]
    gate = RepeatFilter()
    assert [gate.filter(record) for record in records].count(True) == 5
    assert gate.filter(logging.LogRecord("a", 30, "x", 2, "another", (), None))
    clock[0] = 61.0
    last = logging.LogRecord("a", 30, "x", 1, "bad %d", (7,), None)
    assert gate.filter(last)
    assert last.getMessage() == "bad 7 (15 more since the last such line)"


# -- who calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("LOCALHOST:8000", True),
        ("a.localhost", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("192.168.1.7", True),
        ("photos.example", True),
        ("photos.example.:80", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost@evil.example", False),
        ("[", False),
        ("127.0.0.1:x", True),
        ("٣.example", False),
        ("[::1]evil.example", False),
        ("[::1%25.evil]", False),
        ("evil.example\\.localhost", False),
        ("evil.example%00.localhost", False),
        ("evil.example,localhost", False),
    ],
)
def test_host_names(host: str, known: bool) -> None:
    assert knows_host(host, frozenset({"photos.example"})) == known


def test_a_page_elsewhere_cannot_give_the_server_its_name(start: Start) -> None:
    server = start(Settings(jobs=1, allow_hosts=("Photos.Example",)))
    for host, status in (("evil.example", 403), ("photos.example", 200), ("localhost:1", 200)):
        answer = server.client.get("/healthz", headers={"Host": host})
        assert answer.status_code == status
    assert server.client.get("/healthz", headers={"Host": "evil.example"}).json()["code"] == "foreign-host"


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "http://\u0663".encode(), "://", ""])
def test_an_origin_that_cannot_be_parsed_is_a_foreign_one(shared: Running, origin: str | bytes) -> None:
    answer = shared.client.get("/api/v1/info", headers={"Origin": origin})  # type: ignore[dict-item]
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign-origin")


def test_one_address_does_not_take_all_places(start: Start) -> None:
    engine = SlowEngine()
    server = start(Settings(jobs=1, queue=3, per_client=2), [offer(engine)])
    other = client_from(server.url, "127.0.0.2")
    with other, ThreadPoolExecutor(3) as threads:
        mine = [threads.submit(fill, server) for _ in range(2)]
        wait_until(lambda: len(server.service.pool.callers) == 2)
        answer = fill(server)
        assert (answer.status_code, answer.json()["code"]) == (429, "too-many")
        assert "retry-after" in answer.headers
        theirs = threads.submit(other.post, "/api/v1/fill", files=FILES)
        wait_until(lambda: len(server.service.pool.callers) == 3)
        engine.gate.set()
        assert [each.result().status_code for each in (*mine, theirs)] == [200, 200, 200]


def test_addresses_take_turns(start: Start) -> None:
    """Of five waiting fills of one address and one of another, the other's is not the last."""
    engine = SlowEngine()
    server = start(Settings(jobs=1, queue=20), [offer(engine)])
    done: list[str] = []
    other = client_from(server.url, "127.0.0.2")

    def ask(client: httpx.Client, name: str) -> None:
        assert client.post("/api/v1/fill", files=FILES).status_code == 200
        done.append(name)

    with other, ThreadPoolExecutor(7) as threads:
        for count in range(1, 7):
            threads.submit(ask, server.client, "mine")
            wait_until(lambda count=count: server.service.pool.count_states()["waiting"] == count - 1)  # type: ignore[misc]
        threads.submit(ask, other, "theirs")
        wait_until(lambda: server.service.pool.count_states()["waiting"] == 6)
        theirs = next(job for job in server.service.pool.callers.values() if job.client == "127.0.0.2")
        assert server.service.pool.count_ahead(theirs) == 1
        engine.gate.set()
    assert done.index("theirs") <= 3


def test_a_slow_upload_holds_no_place_of_a_fill(start: Start) -> None:
    server = start(Settings(jobs=1, queue=0, per_client=5))
    with connect(server.url) as connection:
        connection.sendall(head() + b"--x\r\n")
        wait_until(lambda: server.service.pool.count_states()["uploading"] == 1)
        assert fill(server).status_code == 200


def test_the_memory_of_bodies_is_bounded_and_fair(start: Start) -> None:
    budget = MemoryBudget(100)
    budget.require("a", 50)
    budget.take("a", 50)
    with pytest.raises(Problem, match="your address"):
        budget.require("a", 1)
    budget.require("b", 50)
    budget.take("b", 40)
    with pytest.raises(Problem, match="try later"):
        budget.require("c", 11)
    budget.give("a", 50)
    budget.require("c", 11)
    server = start(Settings(jobs=1, max_bytes=1_000_000, held_bytes=2_000_000))
    with ExitStack() as stack:
        first = stack.enter_context(connect(server.url))
        part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        first.sendall(head(length=900_000) + part + bytes(850_000))
        wait_until(lambda: server.service.memory.held > 800_000)
        second = stack.enter_context(connect(server.url))
        second.sendall(head(length=900_000))
        assert second.recv(4000).startswith(b"HTTP/1.1 429 ")
    wait_until(lambda: server.service.memory.held == 0)


def test_who_leaves_in_the_middle_of_an_upload_is_no_error(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(Settings(jobs=1))
    for path, more in (("/api/v1/fill", FORM), ("/api/v1/inpaint", "Content-Type: application/json\r\n")):
        with connect(server.url) as connection:
            connection.sendall(head(path, more=more) + b"--x\r\n")
            wait_until(lambda: server.service.pool.count_states()["uploading"] == 1)
        wait_until(lambda: not server.service.pool.callers)
    wait_until(lambda: server.client.get("/metrics").text.count('status="499"') == 2)
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# -- bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"\\ud800":1,"image":"a","mask":"b"}', 400),
        (b'{"image":"\\ud800","mask":"b"}', 400),
        (b'{"image":"a","mask":"b","croper_x":NaN}', 400),
        (b'{"image":"a","mask":"b","croper_x":1e999999}', 400),
        (b'{"image":"a","mask":"b","sd_seed":' + b"9" * 100_000 + b"}", 422),
        (b'{"image":"a","mask":"b","sd_seed":' + b"9" * 4000 + b"}", 422),
        (b'{"image":"a","mask":"b","prompt":' + b"[" * 1_000_000, 400),
        ('{"image":"a","mask":"b"}'.encode("utf-16"), 400),
        (b'{"image":"\xff","mask":"b"}', 400),
        (b"{" + b",".join(b'"k%d":0' % n for n in range(5000)) + b"}", 400),
        (b'{"' + b"k" * 1_000_000 + b'":1}', 422),
        (b'["image"]', 400),
        (b"", 400),
    ],
)
def test_odd_json_is_a_callers_mistake(shared: Running, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    answer = shared.client.post("/api/v1/inpaint", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert len(answer.content) < 5000


def test_json_has_a_limit_of_its_own(start: Start) -> None:
    server = start(Settings(jobs=1, max_json_bytes=1000))
    body = {"image": "a" * 1000, "mask": "b"}
    assert server.client.post("/api/v1/inpaint", json=body).json()["code"] == "too-large"
    assert fill(server).status_code == 200


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "undefined", "unicode_escape", "utf-7", "latin-1", "x"]
)
def test_multipart_is_utf8_only(shared: Running, charset: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="box"\r\n\r\n1,1,2,2\r\n--x--\r\n'
    headers = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    answer = shared.client.post("/api/v1/fill", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-type")


@pytest.mark.parametrize(
    "part",
    [
        b'Content-Disposition: form-data; name="box"\r\n\r\n\xff',
        b'Content-Disposition: form-data; name="\xed\xa0\x80"\r\n\r\n1',
        b"Content-Disposition: form-data; name*=utf-8''b%FFx\r\n\r\n1",
        b'Content-Disposition: form-data; name="' + b"n" * 1_000_000 + b'"\r\n\r\n1',
        b"X-Long: " + b"n" * 1_000_000 + b'\r\nContent-Disposition: form-data; name="box"\r\n\r\n1',
        b"\r\n\r\n1",
    ],
)
def test_odd_parts_are_a_callers_mistake(shared: Running, part: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = shared.client.post("/api/v1/fill", content=b"--x\r\n" + part + b"\r\n--x--\r\n", headers=headers)
    assert 400 <= answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("box", "\u0661,\u0661,\u0662,\u0662"),
        ("grow", "\u0663"),
        ("grow", "\u00b2"),
        ("quality", "\uff15\uff10"),
        ("seed", "\u0967"),
        ("box", "1,1,2,\u00b2"),
    ],
)
def test_numerals_are_ascii(shared: Running, field: str, value: str) -> None:
    answer = shared.client.post("/api/v1/fill", files=FILES, data={field: value})
    assert (answer.status_code, answer.json()["field"].partition(".")[0]) == (422, field)


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
def test_a_picture_wider_than_the_format_allows_is_refused(shared: Running, format: str) -> None:
    wide = to_file(np.zeros((2, 70_000, 3), np.uint8))
    answer = shared.client.post(
        "/api/v1/fill", files={"image": wide}, data={"box": "1,0,1,1", "format": format}
    )
    assert (answer.status_code, answer.json()["field"]) == (422, "format"), answer.text


def test_several_fills_have_no_more_pixels_than_one_picture_may_have(start: Callable[..., Running]) -> None:
    server = start(Settings(max_pixels=4 * 48 * 64 + 1))
    files = {"image": to_file(np.dstack([photo(3), np.where(hole(), 0, 255).astype(np.uint8)]))}
    for path, form in (
        ("/v1/images/edits", {"prompt": ""}),
        ("/api/v1/fill", {"mask_from_alpha": "true"}),
    ):
        answers = [server.client.post(path, files=files, data={**form, "n": str(n)}) for n in (4, 5)]
        assert [answer.status_code for answer in answers] == [200, 422], answers[0].text
        assert "ask for 4" in answers[1].text
        assert int(answers[0].headers["content-length"]) == len(answers[0].content)
    form = {"prompt": "", "size": "128x96", "n": "2"}  # each is as large as four of them
    answer = server.client.post("/v1/images/edits", files=files, data=form)
    assert answer.status_code == 422
    assert "ask for 1" in answer.text


# -- workers -------------------------------------------------------------------------------------------------


@dataclass
class StuckEngine(SlowEngine):
    """Works in C, where no thread can be interrupted, and takes no notice of signals to stop."""

    name: str = "stuck"

    def fill(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        self.began.release()
        zeros = bytes(200_000_000)
        for _ in range(100):
            zlib.compress(zeros, 9)
        return image


@dataclass
class HungryEngine(SlowEngine):
    """Takes ever more memory."""

    name: str = "hungry"

    def fill(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        kept = [np.ones(10_000_000) for _ in range(100)]
        return image * len(kept)


def ask_for(server: Running, engine: str) -> httpx.Response:
    return server.client.post("/api/v1/fill", files=FILES, data={"engine": engine})


def test_work_that_cannot_be_interrupted_ends_at_its_deadline(start: Start) -> None:
    server = start(Settings(jobs=1, fill_seconds=2.0), [push_pull(), offer(StuckEngine())])
    began = time.monotonic()
    answer = ask_for(server, "stuck")
    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
    assert time.monotonic() - began < 5
    assert fill(server).status_code == 200


def test_an_address_whose_fill_ran_out_gives_way(start: Start) -> None:
    """It asks again first, and still lets another in before it."""
    server = start(Settings(jobs=1, fill_seconds=2.0), [push_pull(), offer(StuckEngine())])
    assert ask_for(server, "stuck").status_code == 504
    with client_from(server.url, "127.0.0.2") as other, ThreadPoolExecutor(1) as threads:
        mine = threads.submit(ask_for, server, "stuck")
        wait_until(lambda: server.service.pool.count_states()["waiting"] == 1)
        assert other.post("/api/v1/fill", files=FILES).status_code == 200
        assert not mine.done()
        assert mine.result().status_code == 504


def test_who_leaves_takes_even_stuck_work_along(start: Start) -> None:
    engine = StuckEngine()
    server = start(Settings(jobs=1), [push_pull(), offer(engine)])
    form = server.client.build_request("POST", "/api/v1/fill", files=FILES, data={"engine": "stuck"})
    lines = "".join(f"{name}: {value}\r\n" for name, value in form.headers.items())
    with connect(server.url) as connection:
        connection.sendall(f"POST /api/v1/fill HTTP/1.1\r\n{lines}\r\n".encode() + form.read())
        assert engine.began.acquire(timeout=10)
    wait_until(lambda: not server.service.pool.callers)
    assert fill(server).status_code == 200


def test_memory_without_end_is_refused_and_costs_nobody_else(start: Start) -> None:
    settings = Settings(jobs=1, worker_memory=400 * MEBIBYTE)
    server = start(settings, [push_pull(), offer(HungryEngine())])
    answer = ask_for(server, "hungry")
    assert (answer.status_code, answer.json()["code"]) == (413, "too-much-memory")
    assert fill(server).status_code == 200


def test_killed_workers_are_replaced(start: Start) -> None:
    engine = SlowEngine()
    server = start(Settings(jobs=2), [push_pull(), offer(engine)])
    workers = server.service.pool._workers
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: all(worker.is_alive for worker in workers), 2)
    with ThreadPoolExecutor(1) as threads:
        mine = threads.submit(ask_for, server, "slow")
        assert engine.began.acquire(timeout=10)
        [job] = server.service.pool.callers.values()
        assert job.worker is not None
        os.kill(job.worker.pid, signal.SIGKILL)
        assert fill(server).status_code == 200
        answer = mine.result(10)
    assert (answer.status_code, answer.json()["code"]) == (500, "engine-failed")
    assert "SIGKILL" in answer.json()["detail"]
    wait_until(lambda: all(worker.is_alive for worker in workers), 2)


# -- many, and a process of its own --------------------------------------------------------------------------


@contextmanager
def serve_apart(*options: str, descriptors: int | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`infill serve` in a process of its own, which a test may kill or starve."""

    def limit() -> None:
        if descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    command = [sys.executable, "-m", "infilling", "serve", "--port", "0", "--engine", "mean", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200, 30)
        yield url, process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.load
def test_1200_half_open_connections_against_1024_descriptors() -> None:
    with serve_apart(descriptors=1024) as (url, process), ExitStack() as stack:
        with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            for number in range(1200):
                half = stack.enter_context(connect(url))
                half.sendall(b"POST /api/v1/fill HTTP/1.1\r\nHost: x")
                if not number % 100:
                    client.close()
                    client = httpx.Client(base_url=url, trust_env=False, timeout=10)
                    assert client.get("/healthz").status_code == 200
            assert client.post("/api/v1/fill", files=FILES).status_code == 200
            client.close()
        process.terminate()
        _, errors = process.communicate(timeout=15)
    assert errors == ""


@pytest.mark.load
def test_sigterm_ends_everything_whatever_callers_do() -> None:
    large = to_file(np.zeros((4000, 4000, 3), np.uint8))
    with serve_apart("--engine", "patch-synthesis", "--jobs", "2") as (url, process), ExitStack() as stack:
        client = stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=60))
        requests = [
            {"box": "1,1,2,2", "format": "bmp"},  # never read
            {"box": "500,500,2500,2500", "engine": "patch-synthesis"},  # takes minutes
        ]
        for fields in requests * 2:
            form = client.build_request("POST", "/api/v1/fill", files={"image": large}, data=fields)
            lines = "".join(f"{name}: {value}\r\n" for name, value in form.headers.items())
            connection = stack.enter_context(connect(url))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(f"POST /api/v1/fill HTTP/1.1\r\n{lines}\r\n".encode() + form.read())
        for data in (head() + b"--x\r\n", b"GET /healthz HTT", b""):  # slow bodies and heads
            stack.enter_context(connect(url)).sendall(data)
        time.sleep(3)
        began = time.monotonic()
        children = find_children(process.pid)
        process.terminate()
        process.wait(timeout=10)
        print(f"ended after {time.monotonic() - began:.1f} s")
        wait_until(lambda: not [pid for pid in children if is_running(pid)], 2)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.load
def test_an_idle_server_is_small() -> None:
    """At most 150 MB, and 100 MB more for each worker, even if pages that processes share count in each."""
    with command(None, "--jobs", "2") as server:
        time.sleep(4)
        sizes = [measure(pid) for pid in (server.pid, *find_children(server.pid))]
    shared, resident = (sum(size[kind] for size in sizes) / 1e3 for kind in (0, 1))
    print(f"{shared:.0f} MB in {len(sizes)} processes; {resident:.0f} MB if shared pages count in each")
    assert resident < 150 + 2 * 100


def measure(pid: int) -> tuple[int, int]:
    """Proportional and resident set size in kB."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        rows = dict(line.split()[:2] for line in file.read().splitlines()[1:])
    return int(rows["Pss:"]), int(rows["Rss:"])


@pytest.mark.load
def test_hostile_fills_starve_no_honest_one() -> None:
    """Two callers keep both workers busy with what takes minutes: another waits for one deadline, no more.

    Its own deadline counts from when it asks, so it is refused when it asks just after them.
    """
    large = to_file(np.zeros((3000, 3000, 3), np.uint8))
    files, fields = {"image": large}, {"box": "100,100,2500,2500", "engine": "patch-synthesis"}
    with serve_apart("--engine", "patch-synthesis", "--jobs", "2", "--timeout", "5") as (url, _):
        end, seen = time.monotonic() + 40, []

        def attack() -> None:
            with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
                while time.monotonic() < end:
                    assert client.post("/api/v1/fill", files=files, data=fields).status_code in (504, 429)

        threads = [threading.Thread(target=attack) for _ in range(2)]
        for thread in threads:
            thread.start()
        with client_from(url, "127.0.0.2") as client:
            while time.monotonic() < end:
                began = time.monotonic()
                answer = client.post("/api/v1/fill", files=FILES, data={"engine": "mean"})
                seen.append((answer.status_code, time.monotonic() - began))
        for thread in threads:
            thread.join()
    late = [status != 200 for status, _ in seen]
    print(f"{len(seen)} honest fills, {sum(late)} too late, slowest {max(each for _, each in seen):.1f} s")
    assert sum(late) <= len(late) / 2
