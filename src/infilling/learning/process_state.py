"""State of the whole process that a run changes and puts back: random numbers, denormals, signals."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

STOP_SIGNALS = {each.name: 128 + each for each in (signal.SIGINT, signal.SIGTERM)}
"""The signals that end a run in order, by name, with the exit code of a process that one has ended."""


@contextmanager
def fork_random_numbers(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch, and put the caller's random numbers back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Take numbers below 1e-38 as 0 on the CPU, and put the caller's mode back afterwards.

    The weights of a trained attention are full of them. An Intel processor takes a hundred times longer for
    each: without this a step of `push-pull-unet` takes a quarter more time.
    """
    before = bool(torch.tensor(1e-39) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def collect_signals() -> Iterator[list[str]]:
    """Collect the name of the first SIGINT or SIGTERM; the next one does what it did before."""
    caught: list[str] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield caught
        return

    def catch(number: int, _frame: FrameType | None) -> None:
        caught.append(signal.Signals(number).name)
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler or signal.SIG_DFL)

    numbers = [signal.Signals[name] for name in STOP_SIGNALS]
    previous = {number: signal.signal(number, catch) for number in numbers}
    try:
        yield caught
    finally:
        restore()
