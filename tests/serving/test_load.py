"""Many clients at once: `make test-load`. The first test is a small one of the same kind."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.serving.conftest import Running, from_file, hole, photo, to_file, wait_until

import infilling
from infilling.filling.network import METADATA_KEY, ModelCard
from infilling.pictures.frame import SizeRule

CLIENTS, PICTURES = 32, 20
SIZE = (96, 128)


def write_network(path: Path, channels: int = 24) -> Path:
    """A network whose fill depends on every pixel round the hole: a few convolutions with drawn weights."""
    rng = np.random.default_rng(3)
    nodes, weights, last = [], [], "image"
    for index, (count, out) in enumerate(((3, channels), (channels, channels), (channels, 3))):
        values = rng.normal(0, 1 / np.sqrt(25 * count), (out, count, 5, 5)).astype(np.float32)
        weights.append(
            helper.make_tensor(f"w{index}", TensorProto.FLOAT, values.shape, values.tobytes(), raw=True)
        )
        nodes.append(
            helper.make_node("Conv", [last, f"w{index}"], [f"c{index}"], pads=[8] * 4, dilations=[4, 4])
        )
        last = f"s{index}" if out != 3 else "filled"
        nodes.append(helper.make_node("Sigmoid", [f"c{index}"], [last]))
    sides = ["N", "H", "W"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [sides[0], count, *sides[1:]])
        for name, count in (("image", 3), ("mask", 1))
    ]
    output = helper.make_tensor_value_info("filled", TensorProto.FLOAT, [sides[0], 3, *sides[1:]])
    graph = helper.make_graph(nodes, "drawn", inputs, [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    card = ModelCard("drawn", SizeRule(), "nothing", "CC0-1.0", "1")
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, path)
    return path


@dataclass(frozen=True)
class Command:
    """A server in a process of its own."""

    url: str
    pid: int

    @property
    def memory(self) -> float:
        """Resident memory in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(x for x in status.splitlines() if x.startswith("VmRSS")).split()[1]) / 1024


@contextmanager
def command(engine: str | Path, *options: str) -> Iterator[Command]:
    args = [sys.executable, "-m", "infilling", "serve", "--port", "0", "--engine", str(engine), *options]
    process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    killer = threading.Timer(280, process.kill)
    killer.start()
    try:
        url = process.stdout.readline().strip()
        with httpx.Client(base_url=url, trust_env=False) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200, 30)
        yield Command(url, process.pid)
    finally:
        killer.cancel()
        process.terminate()
        process.communicate(timeout=30)


def work(url: str, number: int, files: list[tuple[bytes, bytes]]) -> list[tuple[float, bytes]]:
    """One client: asks for its fills one after the other; seconds and answers."""
    found = []
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        for image, mask in files:
            began = time.perf_counter()
            answer = client.post("/api/v1/fill", files={"image": image, "mask": mask})
            assert answer.status_code == 200, answer.text
            found.append((time.perf_counter() - began, answer.content))
    return found


def draw(clients: int, pictures: int) -> list[list[tuple[bytes, bytes]]]:
    mask = to_file(hole(SIZE))
    return [
        [(to_file(photo(1000 * client + index, SIZE)), mask) for index in range(pictures)]
        for client in range(clients)
    ]


def check(
    files: list[list[tuple[bytes, bytes]]], answers: list[list[tuple[float, bytes]]], engine: str
) -> None:
    """Every answer is the caller's own: exactly what a fill of that very picture gives."""
    for client, (sent, got) in enumerate(zip(files, answers, strict=True)):
        assert len(got) == len(sent)
        for (image, mask), (_, result) in zip(sent, got, strict=True):
            expected = from_file(infilling.fill(image, mask, engine, threads=1))
            np.testing.assert_array_equal(from_file(result), expected, err_msg=f"client {client}")


def test_answers_are_the_callers_own(shared: Running) -> None:
    files = draw(8, 4)
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda n: work(shared.url, n, files[n]), range(8)))
    check(files, answers, "push-pull")


@pytest.mark.load
def test_many_clients_of_a_network(tmp_path: Path) -> None:
    network = write_network(tmp_path / "drawn.onnx")
    files = draw(CLIENTS, PICTURES)
    with command(network) as server:
        work(server.url, 0, files[0][:2])
        began = time.perf_counter()
        alone = work(server.url, 0, files[0])
        single = PICTURES / (time.perf_counter() - began)
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(lambda n: work(server.url, n, files[n]), range(CLIENTS)))
        rate = CLIENTS * PICTURES / (time.perf_counter() - began)
    check(files, answers, str(network))
    seconds = np.array([[second for second, _ in client] for client in answers])
    p95_alone = np.percentile([second for second, _ in alone], 95)
    print(f"1 client:   {single:.1f} fills/s, p95 {1000 * p95_alone:.0f} ms")
    print(f"{CLIENTS} clients: {rate:.1f} fills/s, p95 {1000 * np.percentile(seconds, 95):.0f} ms")
    assert rate > 0.7 * single, "many clients are served more slowly than one"


@pytest.mark.load
def test_memory_does_not_grow(tmp_path: Path) -> None:
    files = draw(4, 25)
    with command(write_network(tmp_path / "drawn.onnx", channels=4)) as server:

        def send(rounds: int) -> None:
            with ThreadPoolExecutor(4) as clients:
                for _ in range(rounds):
                    list(clients.map(lambda n: work(server.url, n, files[n]), range(4)))

        send(1)
        early = server.memory
        send(19)
        late = server.memory
    print(f"after 100 requests {early:.0f} MiB, after 2000 {late:.0f} MiB")
    assert late < early * 1.15


@pytest.mark.load
def test_serving_costs_little_beside_filling(tmp_path: Path) -> None:
    """Eight clients get at least 0.9 of the fills a second that the same threads do in process."""
    network, count = write_network(tmp_path / "drawn.onnx"), 12
    size, jobs = (384, 512), min(4, os.cpu_count() or 1)
    mask = np.zeros(size, bool)
    mask[60:320, 80:430] = True
    image, marked = to_file(photo(7, size), "JPEG"), to_file(mask)

    def rate(call: object, threads: int) -> float:
        with ThreadPoolExecutor(threads) as pool:
            began = time.perf_counter()
            list(pool.map(lambda _: call(), range(count)))  # type: ignore[operator]
            return count / (time.perf_counter() - began)

    rates = []
    with (
        command(network, "--jobs", str(jobs)) as server,
        httpx.Client(trust_env=False, timeout=120) as client,
    ):

        def served() -> bytes:
            url = f"{server.url}/api/v1/fill"
            return client.post(url, files={"image": image, "mask": marked}).raise_for_status().content

        def direct() -> bytes:
            return infilling.fill(image, marked, str(network), threads=1)

        assert served() == direct()
        for _ in range(3):  # in turn, because the machine may have others to serve
            rates.append((rate(served, 8), rate(direct, jobs)))
    for one, other in rates:
        print(f"served {one:.2f} fills/s, in process {other:.2f}, {one / other:.2f} of it")
    assert np.median([one / other for one, other in rates]) >= 0.9
