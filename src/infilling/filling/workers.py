"""Worker processes that can be killed, each with a deadline and limits of memory and processor time.

A decoder, a network or a kernel that works in C cannot be interrupted in a thread: only a process can be
ended at its deadline. Each worker has a pipe of its own, so one that dies costs the task in hand and nothing
else. pebble and loky, whose workers share pipes, were measured for this: see `docs/reliability.md`.
"""

import atexit
import contextlib
import io
import mmap
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from infilling import machine
from infilling.errors import SlowModelError

T = TypeVar("T")

INLINE_BYTES = 64 << 10  # messages up to this size go through the pipe, larger ones through shared memory
START_SECONDS = 120.0  # time for a worker process to start and prepare itself
TRIM_SECONDS = 2.0  # idle time after which a worker gives freed memory back to the system
CPU_SLACK_SECONDS = 5  # processor time beyond the deadline after which the kernel ends a worker by itself

_START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
CONTEXT: Any = multiprocessing.get_context(_START)
_HAS_SHARED_MEMORY = hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")


class TaskTimeout(Exception):
    """A task ran past its deadline; its worker was killed."""


class WorkerDied(Exception):
    """A worker ended in the middle of a task: killed from outside, by the memory killer, or by a crash."""


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker process is given when it starts.

    Attributes:
        prepare: called once before the first task, for example to open an engine. Its errors are ignored:
            the task that needs what it prepares meets them again and reports them.
        memory: bytes of address space that the worker may take beyond what it starts with; None for no limit.
        uses_gpu: returns, in the worker, whether its tasks may use a GPU. Then there is no limit of address
            space: a driver maps more of it than any limit allows, and takes little memory for that.
        threads: threads that a task may keep busy, which sets its limit of processor time.
        preload: modules that all workers share in memory, where the system can fork.
    """

    prepare: Callable[[], object] | None = None
    memory: int | None = None
    uses_gpu: Callable[[], bool] = bool
    threads: int = 1
    preload: Sequence[str] = ()


class Progress:
    """How far a task is, and whether its caller wants it to stop; memory that both processes see."""

    def __init__(self) -> None:
        """Begin at 0."""
        self._values = CONTEXT.RawArray("d", 2)  # share, whether to stop

    @property
    def share(self) -> float:
        """The part of the task that is done, from 0 to 1."""
        return float(self._values[0])

    @property
    def stopped(self) -> bool:
        """Whether the caller has asked the task to stop."""
        return bool(self._values[1])

    def report(self, done: float, total: float) -> None:
        """Say how much is done, of how much. Parts that are done beside each other never take it back."""
        self._values[0] = max(self._values[0], done / total if total else 0.0)

    def stop(self) -> None:
        """Ask the task to stop at its next step."""
        self._values[1] = 1.0

    def reset(self) -> None:
        """Start at 0 for the next task."""
        self._values[:] = (0.0, 0.0)


class Worker:
    """A process that runs one task at a time. `call` belongs to one thread; the other methods to any."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Start the process; it prepares itself while the caller continues."""
        self.setup = setup
        self.progress = Progress()
        self._lock = threading.Lock()
        self._closed = False
        self._busy = False  # whether a thread is in `call`
        self._killed = False  # whether somebody has ended the task that it waits for
        self._has_begun = False  # whether the process has received that task
        self._start()
        _WORKERS.add(self)

    @property
    def pid(self) -> int:
        """The process's id."""
        return int(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        with self._lock:
            return not self._closed and bool(self._process.is_alive())

    def call(self, function: Callable[..., T], *args: object, seconds: float | None = None) -> T:
        """Run `function(progress, *args)` in the process and wait for what it returns.

        Args:
            function: importable by its name; `progress` is its own end of the worker's progress.
            args: values that pickle can write; large ones travel through shared memory.
            seconds: deadline, from when the process begins with it; None waits as long as it takes.

        Raises:
            TaskTimeout: the deadline has passed. The process was killed and replaced.
            WorkerDied: the process ended. It was replaced.
            MemoryError: the task needs more than the worker may take. The process was replaced.
            SlowModelError: a network did not open in time. The process was replaced.
            Exception: whatever the function raises.
        """
        with self._lock:
            self._busy, self._killed = True, False
        try:
            return self._attempt(function, args, seconds, attempts=2)
        finally:
            with self._lock:
                self._busy = False

    def _attempt(
        self, function: Callable[..., T], args: Sequence[object], seconds: float | None, attempts: int
    ) -> T:
        self.progress.reset()
        try:
            succeeded, value = self._exchange((function, args, seconds), seconds)
        except TaskTimeout:
            self.restart()
            raise
        except (EOFError, OSError) as error:
            exit_code = self.restart()
            was_ended = self._killed or self._closed
            had_died = not (self._has_begun or was_ended)  # before this task
            if had_died and attempts > 1:
                return self._attempt(function, args, seconds, attempts - 1)
            if exit_code == -getattr(signal, "SIGXCPU", 0):
                raise TaskTimeout("the task used up its processor time") from error
            raise WorkerDied(_describe_exit(exit_code)) from error
        if succeeded:
            result: T = value
            return result
        if isinstance(value, MemoryError | SlowModelError):  # a network that does not stop works on
            self.restart()
        raise value

    def _exchange(self, message: object, seconds: float | None) -> tuple[bool, Any]:
        """Send a task and wait for its answer: whether it succeeded, and its result or error."""
        self._has_begun = False
        parcel = _send(self._pipe, message)
        try:
            if not self._pipe.poll(START_SECONDS):
                raise TaskTimeout(f"no worker process was ready after {START_SECONDS:g} seconds")
            self._pipe.recv_bytes()  # the deadline counts from here, when it has started
            self._has_begun = True
            if not self._pipe.poll(seconds):
                raise TaskTimeout(f"the task was not done after {seconds:g} seconds")
            answer: tuple[bool, Any] = _receive(self._pipe)
            return answer
        finally:
            parcel.close()

    def restart(self) -> int | None:
        """Kill the process and start another one; return the exit code of the old one."""
        with self._lock:
            if self._closed:
                return None
            exit_code = self._end()
            self._start()
        return exit_code

    def kill(self) -> bool:
        """Kill the process in the middle of a task; the thread in `call` gets WorkerDied and replaces it.

        Returns:
            Whether there was a task; without one nothing is done.
        """
        with self._lock:
            if self._busy and not self._closed:
                self._killed = True
                self._process.kill()
            return self._busy

    def close(self) -> None:
        """End the process for good; a thread in `call` gets WorkerDied."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._process.kill()
                self._process.join()

    def _start(self) -> None:
        if _START == "forkserver":
            CONTEXT.set_forkserver_preload(list(self.setup.preload))
        pipe, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(
            target=_run_tasks, args=(theirs, self.progress, self.setup), name="infilling-worker", daemon=True
        )
        process.start()
        theirs.close()
        self._pipe, self._process = pipe, process

    def _end(self) -> int | None:
        try:
            # A process that has closed its pipe is about to end by itself; its exit code says why.
            self._process.join(0.05)
            self._process.kill()
            self._process.join()
            exit_code: int | None = self._process.exitcode
            self._process.close()
        except ValueError:  # it has ended before, and no other could be started
            return None
        finally:
            self._pipe.close()
        return exit_code


_WORKERS: "weakref.WeakSet[Worker]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End the workers before multiprocessing waits for them, which it would do for ever."""
    for worker in list(_WORKERS):
        worker.close()


def _describe_exit(code: int | None) -> str:
    if code is None or code >= 0:
        return "the process that worked on it ended"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", perhaps for want of memory" if name in ("SIGKILL", "SIGABRT") else ""
    return f"the process that worked on it was ended by {name}{hint}"


# -- messages ------------------------------------------------------------------------------------------------


def _send(pipe: Connection, message: object) -> io.IOBase:
    """Send a message, by way of shared memory if it is large.

    Returns:
        What the message lives in; keep it open until the answer is there.

    Raises:
        Exception: pickle cannot write the message; nothing was sent.
    """
    if not _HAS_SHARED_MEMORY:
        data = pickle.dumps(message)
        pipe.send_bytes(data)
        return io.BytesIO()
    file = open(os.memfd_create("infilling"), "wb", buffering=0)  # noqa: SIM115, the caller closes it
    try:
        pickle.dump(message, file)
        size = file.tell()
        if size <= INLINE_BYTES:
            pipe.send_bytes(os.pread(file.fileno(), size, 0))
            file.close()
        else:
            pipe.send_bytes(pickle.dumps(_Parcel(f"/proc/{os.getpid()}/fd/{file.fileno()}")))
    except BaseException:
        file.close()
        raise
    return file


def _receive(pipe: Connection) -> Any:
    """Receive a message of `_send`.

    Raises:
        EOFError, OSError: the other side has ended.
    """
    message = pickle.loads(pipe.recv_bytes())
    return message.open() if isinstance(message, _Parcel) else message


@dataclass(frozen=True)
class _Parcel:
    """A message in shared memory, by the path under which processes of the same user can open it."""

    path: str

    def open(self) -> Any:
        """Read the message and give its memory back."""
        with open(self.path, "r+b", buffering=0) as file:
            with mmap.mmap(file.fileno(), 0) as memory:
                message = pickle.loads(memory)
            file.truncate(0)
        return message


# -- in the process ------------------------------------------------------------------------------------------


def _run_tasks(pipe: Connection, progress: Progress, setup: WorkerSetup) -> None:
    """Run tasks as they come until the other side closes the pipe."""
    # Ctrl-C and a service manager's SIGTERM reach all processes: the one that is worked for decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    machine.silence_libraries()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    machine.keep_freed_memory()
    if setup.prepare is not None:
        with contextlib.suppress(Exception):
            setup.prepare()
    machine.trim_memory()
    machine.be_killed_first()
    if setup.memory is not None and not setup.uses_gpu():
        machine.limit_memory(setup.memory)
    answer: io.IOBase = io.BytesIO()
    while True:
        try:
            if not pipe.poll(TRIM_SECONDS):
                machine.trim_memory()
            function, args, seconds = _receive(pipe)
            pipe.send_bytes(b"begun")
        except (EOFError, OSError):
            return
        answer.close()
        busy = None if seconds is None else seconds * setup.threads + CPU_SLACK_SECONDS
        machine.limit_processor(busy)
        try:
            answer = _answer(pipe, function, (progress, *args))
        except OSError:  # nobody is there any more
            return
        del function, args


def _answer(pipe: Connection, function: Callable[..., object], args: Sequence[object]) -> io.IOBase:
    try:
        answer: tuple[bool, object] = (True, function(*args))
    except BaseException as error:  # a worker outlives whatever a task raises
        error.add_note(traceback.format_exc())
        answer = (False, error.with_traceback(None))
    try:
        return _send(pipe, answer)
    except OSError:
        raise
    except MemoryError as error:
        return _send(pipe, (False, MemoryError(*error.args)))
    except Exception as error:  # pickle's errors have no class in common
        failed = RuntimeError(f"the answer of a task cannot be sent: {error!r}")
        return _send(pipe, (False, failed))


def _end_with_parent() -> None:
    """End at once when the parent is killed, whatever the task is doing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
