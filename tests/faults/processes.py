"""What runs in the processes that the tests of this folder start, kill and starve."""

import ctypes
import io
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np

from infilling.cli import main
from infilling.errors import InfillingError
from infilling.filling.batch import batch
from infilling.filling.engine import open_engine
from infilling.filling.network import NetworkEngine
from infilling.filling.options import FillOptions
from infilling.filling.pipeline import fill_file
from infilling.learning import checkpoint, export
from infilling.learning import config as configs
from infilling.learning.device import choose_place
from infilling.learning.learner import Learner
from infilling.learning.settings import Config
from infilling.learning.train import train

LIMIT_S = 10
LIMIT_BYTES = 2 * 2**30
SET_SECUREBITS, NO_ROOT = 28, 0b11  # of Linux's prctl: a program that root executes gets no rights by that


# -- the command ---------------------------------------------------------------------------------------------


def run_command(arguments: list[str], told: Path, privileged: bool) -> None:
    """Runs `infill`, and leaves with its code; what it writes is in `told` with .out and .err behind it."""
    for descriptor, ending in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(f"{told}{ending}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    if not privileged:
        drop_privileges()
    sys.stdin = io.TextIOWrapper(io.BytesIO())
    main(arguments)


def drop_privileges() -> None:
    """Gives up what lets root read and write anything: permissions then count for root too.

    Processes that this one starts get a server of their own to be forked from, as the tests' own has these
    rights, and what is executed for root does not get them back.
    """
    forkserver._forkserver = server = forkserver.ForkServer()
    forkserver.connect_to_new_process = server.connect_to_new_process
    header, libc = (ctypes.c_uint32 * 2)(0x20080522, 0), ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0:
        return
    if libc.prctl(SET_SECUREBITS, NO_ROOT, 0, 0, 0) or libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "the rights of root cannot be given up")


def fill_in_a_group(*arguments: Any, **options: Any) -> None:
    """Fills a folder; the group of processes that this begins has the process's own number."""
    os.setpgid(0, 0)
    batch(*arguments, engine="push-pull", **options)


# -- the clock -----------------------------------------------------------------------------------------------


def train_as_the_clock_goes_back(config: Config, out: Path) -> None:
    """Trains; from the second step on, every look at the clock says a day earlier than the one before it."""
    days = 0
    seconds, nanoseconds = time.time, time.time_ns

    def turn_back(_progress: object) -> None:
        nonlocal days
        days += 1

    time.time = lambda: seconds() - 86_400 * days
    time.time_ns = lambda: nanoseconds() - 86_400_000_000_000 * days
    train(config, out, report=turn_back)


# -- mutated files -------------------------------------------------------------------------------------------

EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\xff\xff\xff\x7f")
WORDS = (b"-1", b"0", b"1e999", b"nan", b"true", b"''", b"[]", b"{}", b"9999999999", b"0.5", b"\xff")


def mutate(data: bytes, rng: random.Random, *, text: bool = False) -> bytes:
    """Damages a file in one to four places; half of them are near its start, where headers are."""
    edited = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(max(1, min(len(edited), 400) if rng.random() < 0.5 else len(edited)))
        kind = rng.choice(["set", "set", "flip", "cut", "insert", "extreme", "end"] + ["word"] * 6 * text)
        if kind == "set":
            edited[place : place + 4] = rng.randbytes(rng.randint(1, 8))
        elif kind == "flip" and edited:
            edited[place] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del edited[place : place + rng.randint(1, 20)]
        elif kind == "insert":
            edited[place:place] = rng.randbytes(rng.randint(1, 8))
        elif kind == "extreme":
            edited[place : place + 4] = rng.choice(EXTREMES)
        elif kind == "word":
            end = place + len(bytes(edited[place:]).split(b"\n")[0])
            start = edited.rfind(b"=", 0, end) + 1
            edited[start:end] = rng.choice(WORDS)
        elif kind == "end" and rng.random() < 0.5:
            del edited[place:]
    return bytes(edited)


def fill_picture(good: Path) -> Callable[[Path], object]:
    engine = open_engine("push-pull")
    return lambda bad: fill_file(bad.read_bytes(), None, engine, FillOptions(boxes=((4, 4, 8, 8),)))


def fill_with_mask(good: Path) -> Callable[[Path], object]:
    engine, picture = open_engine("push-pull"), (good.parent / "picture.png").read_bytes()
    return lambda bad: fill_file(picture, bad.read_bytes(), engine, FillOptions(resize_mask=True))


def load_config(good: Path) -> Callable[[Path], object]:
    def load(bad: Path) -> None:
        config = configs.read_config(bad)
        assert configs.parse_config(configs.config_to_tree(config)) == config

    return load


def load_weights(good: Path) -> Callable[[Path], object]:
    return checkpoint.load_system


def resume(good: Path) -> Callable[[Path], object]:
    config = checkpoint.read_weights(good.parent).config
    weights = checkpoint.read_weights(good.parent)
    learner = Learner(config, choose_place(config.train), resumes=True)
    return lambda bad: learner.load(bad.parent, weights)


def fill_with_network(good: Path) -> Callable[[Path], object]:
    rng = np.random.default_rng(0)
    image = rng.random((1, 3, 32, 32), np.float32)
    mask = np.zeros((1, 1, 32, 32), np.float32)
    mask[..., 8:16, 8:16] = 1
    return lambda bad: NetworkEngine(bad, threads=1).fill(image, mask)


def read_network(good: Path) -> Callable[[Path], object]:
    return lambda bad: export.read_generator(str(bad))


READERS: dict[str, Callable[[Path], Callable[[Path], object]]] = {
    "picture": fill_picture,
    "mask": fill_with_mask,
    "config": load_config,
    "weights": load_weights,
    "trainer": resume,
    "network to fill with": fill_with_network,
    "network to learn from": read_network,
}


def read_mutated(kind: str, good: Path, seeds: range, bad: Path, told: Path) -> None:
    """Reads one mutated file after the other; a line of `told` says how each went: seed, outcome, words.

    A file that takes longer than LIMIT_S ends the process, and so does one that takes the memory past
    LIMIT_BYTES where that cannot be answered. What is asked for and refused counts as taken.
    """
    read, data = READERS[kind](good), good.read_bytes()
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with told.open("a", encoding="utf-8") as lines:
        for seed in seeds:
            bad.write_bytes(mutate(data, random.Random(seed), text=kind == "config"))
            print(seed, end="\t", file=lines, flush=True)
            signal.alarm(LIMIT_S)
            print(*_read(read, bad), sep="\t", file=lines, flush=True)
            signal.alarm(0)


def _read(read: Callable[[Path], object], bad: Path) -> tuple[str, Any]:
    try:
        read(bad)
    except InfillingError as error:
        line = str(error)
        if "\n" in line or not line:
            return "lines", repr(line)
        return ("memory", line) if "memory" in line.lower() or "alloc" in line.lower() else ("refused", line)
    except BaseException as error:
        return "trace", repr("".join(traceback.format_exception(error)[-3:]))
    return "read", ""
