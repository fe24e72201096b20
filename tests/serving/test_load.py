"""Many clients at once: `make test-load`. The first test is a small one of the same kind."""

import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.serving.conftest import Running, command, from_file, hole, photo, to_file

import infilling

ROOT = Path(__file__).resolve().parents[2]
LONG_SECONDS = 1200  # of a test, on a machine that has other things to do
CLIENTS, PICTURES = 32, 20
SIZE = (96, 128)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a short run of a narrow push-pull-unet exports."""
    folder = tmp_path_factory.mktemp("network")
    for index in range(4):
        (folder / f"{index}.png").write_bytes(to_file(photo(index, (128, 128))))
    keys = [
        "system.widths=[8,16,24]",
        "system.depth=1",
        "system.perceptual_weight=0",
        "train.batch=2",
        "train.images=8",
        "train.samples=2",
        "holes.pool=16",
        f'data.cache="{folder / "cache"}"',
    ]
    settings = [part for key in keys for part in ("--set", key)]
    run = [sys.executable, "-m", "infilling", "train", "default", "--data", folder]
    options = ["--out", folder / "run", "--device", "cpu", "--threads", "1"]
    subprocess.run([*run, *options, *settings], check=True, timeout=250)
    return folder / "run" / "model.onnx"


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
@pytest.mark.timeout(LONG_SECONDS)
def test_many_clients_of_a_network(network: Path) -> None:
    files = draw(CLIENTS, PICTURES)
    with command(network, "--per-client", str(CLIENTS), seconds=LONG_SECONDS - 60) as server:
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


@pytest.mark.load
@pytest.mark.timeout(LONG_SECONDS)
def test_memory_does_not_grow(network: Path) -> None:
    files = draw(4, 25)
    with command(network, seconds=LONG_SECONDS - 60) as server:

        def send(rounds: int) -> None:
            with ThreadPoolExecutor(4) as clients:
                for _ in range(rounds):
                    list(clients.map(lambda n: work(server.url, n, files[n]), range(4)))

        send(1)
        early = server.memory
        send(19)
        late = server.memory
    print(f"after 100 requests {early:.0f} MiB, after 2000 {late:.0f} MiB")
    assert late < early * 1.05


@pytest.mark.load
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep it")
def test_fills_find_the_memory_that_others_freed() -> None:
    """A fill needs some 5,000 pages of 4 KiB; hardly any may have to be fetched from the system anew."""
    files = [(to_file(photo(1, (340, 512)), "JPEG"), to_file(hole((340, 512))))]
    with command("push-pull", "--jobs", "2") as server:

        def count_faults(fills: int) -> float:
            before = server.faults
            with ThreadPoolExecutor(4) as clients:
                list(clients.map(lambda _: work(server.url, 0, files), range(fills)))
            return (server.faults - before) / fills

        print(f"first {count_faults(20):.0f} faults a fill, then {(later := count_faults(40)):.0f}")
    assert later < 500
