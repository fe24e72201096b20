"""Work in C that never ends: networks that loop, and those whose constants take for ever to compute."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from infilling.errors import ModelError, SlowModelError
from infilling.filling import open_engines, session
from infilling.filling.engine import open_engine
from infilling.filling.patience import run_patiently, stop_all

FLOAT = TensorProto.FLOAT
PORTS = [
    helper.make_tensor_value_info(name, FLOAT, [1, channels, 64, 64])
    for name, channels in (("image", 3), ("mask", 1), ("output", 3))
]


def save(path: Path, nodes: list[onnx.NodeProto], **constants: object) -> Path:
    """Write a network of LaMa's signature."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "hostile", PORTS[:2], PORTS[2:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def save_loop(path: Path) -> Path:
    """A network that does something 2^62 times."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Mul", ["x", "one"], ["x2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x2", FLOAT, None),
        ],
        [numpy_helper.from_array(np.float32(1), "one")],
    )
    nodes = [
        helper.make_node("Add", ["image", "mask"], ["both"]),
        helper.make_node("Loop", ["trips", "yes", "both"], ["output"], body=body),
    ]
    return save(path, nodes, trips=np.int64(2**62), yes=np.array(True))


def save_constants(path: Path) -> Path:
    """A network whose constant part is the product of 3,000 large matrices."""
    value = helper.make_tensor("value", FLOAT, [1], [0.0005])
    nodes = [helper.make_node("ConstantOfShape", ["side"], ["p0"], value=value)]
    nodes += [helper.make_node("MatMul", [f"p{i}", "p0"], [f"p{i + 1}"]) for i in range(3000)]
    nodes.append(helper.make_node("ReduceMax", ["p3000"], ["top"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["mask", "top"], ["weighted"]))
    nodes.append(helper.make_node("Add", ["image", "weighted"], ["output"]))
    return save(path, nodes, side=np.array([2000, 2000]))


def test_what_is_done_in_time_comes_back() -> None:
    assert run_patiently(lambda: 7, 10) == 7
    with pytest.raises(KeyError):
        run_patiently(lambda: {}["there is none"], 10)


def test_what_is_not_done_in_time_is_asked_to_stop() -> None:
    asked = threading.Event()
    with pytest.raises(TimeoutError):
        run_patiently(lambda: asked.wait(30), 0.05, asked.set)
    assert asked.is_set()
    assert stop_all()


def test_a_loop_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "OPEN_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(SlowModelError, match=r"endless\.onnx did not fill a plain picture in \d\.\d s"):
        open_engine(save_loop(tmp_path / "endless.onnx"))
    assert time.monotonic() - began < 5
    assert stop_all(), "the network goes on"


def test_a_network_without_end_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "OPEN_SECONDS", 0.3)
    path = save_loop(tmp_path / "endless.onnx")
    opened: list[str] = []

    def note(name: str, **choice: object) -> object:
        opened.append(name)
        return open_engine(name, **choice)  # type: ignore[arg-type]

    monkeypatch.setattr(open_engines, "open_engine", note)
    for _ in range(2):
        with pytest.raises(SlowModelError, match="plain picture"):
            open_engines.keep_open(path, None, "cpu")
    assert opened == [str(path)]
    os.utime(path, (1, 1))
    with pytest.raises(SlowModelError, match="plain picture"):
        open_engines.keep_open(path, None, "cpu")
    assert len(opened) == 2, "it has changed"


def test_late_runs_are_not_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "OPEN_SECONDS", 0.3)
    runs: list[float | None] = []

    def note(work: Callable[[], object], seconds: float | None = None, stop: object = None) -> object:
        runs.append(seconds)
        return run_patiently(work, seconds, stop)  # type: ignore[arg-type]

    monkeypatch.setattr(session, "run_patiently", note)
    with pytest.raises(SlowModelError):
        open_engine(save_loop(tmp_path / "endless.onnx"))
    assert len(runs) == 2, "one opens it, one asks it"


LEAVE = """
import threading
from infilling.filling import patience

assert patience.stop_for_good()
begun = []

def work():
    patience.run_patiently(lambda: begun.append(1), 5)

thread = threading.Thread(target=work)
thread.start()
thread.join()
assert not begun
"""


def test_no_work_begins_while_the_process_ends() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


START = """
import sys
from infilling.filling import session
from infilling.filling.patience import run_patiently

def run_aloud(*args):
    print("begins", flush=True)
    return run_patiently(*args)

session.OPEN_SECONDS = float(sys.argv.pop(1))
session.run_patiently = run_aloud
from infilling.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("make", "steps"), [(save_loop, 2), (save_constants, 1)])
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_a_fill_that_works_in_c(make: Callable[[Path], Path], steps: int, tmp_path: Path) -> None:
    path = make(tmp_path / "endless.onnx")
    Image.new("RGB", (80, 80), "teal").save(tmp_path / "a.png")
    words = ["fill", str(tmp_path / "a.png"), "--box", "9,9,9,9", "--engine", str(path)]
    with subprocess.Popen([sys.executable, "-c", START, "60", *words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(steps)] == [b"begins\n"] * steps
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        process.wait(30)
    assert time.monotonic() - began < 5
    assert process.returncode == 130


def test_constants_that_take_for_ever_are_given_up(tmp_path: Path) -> None:
    path = save_constants(tmp_path / "constants.onnx")
    words = [sys.executable, "-c", START, "2", "info", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.returncode == ModelError.exit_code
    assert done.stderr == f"error: the model {path} was not open after 2 seconds\n"
    assert session.OPEN_SECONDS == 60
