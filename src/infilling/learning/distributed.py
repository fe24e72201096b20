"""One run by several processes: each learns from its share of every batch, and all keep the same weights.

torchrun or SLURM starts the processes and numbers them in the environment. For a process that neither
started, nothing here does anything.

Gradients are averaged by hand, in one flat all_reduce for each phase, and not by DistributedDataParallel,
which hooks into one backward pass of one module's output. Here a loss may run a network several times, take a
gradient of a gradient (R1) or leave parameters unused, and `system.generator` must stay the bare network that
EMA, checkpoints and the export know. The price: nothing is sent while the backward pass still runs.

There are two groups of connections. One is the pulse: every two seconds a thread of each process signals that
it is alive, whatever its main thread does. The other carries the work, and may wait for a slow step or for
hours of decoding; a lost process is still found within a minute.
"""

import logging
import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from infilling.errors import ConfigError, InfillingError

log = logging.getLogger(__name__)

MEETING = timedelta(minutes=10)  # longest wait for all processes to start
PULSE_S = 2.0  # seconds between signs of life
SILENCE = timedelta(seconds=40)  # time without an answer after which a process is lost
GRACE_S = 10.0  # seconds for the main thread to notice by itself and end in order
WORK = timedelta(days=2)  # longest wait for another process that is alive
PORTS = range(20_000, 30_000)  # ports of SLURM's jobs without MASTER_PORT


@dataclass(frozen=True)
class Ranks:
    """Which process this is, among how many, and what they do together. Alone, every method is idle.

    Every process must call the same methods in the same order. They raise InfillingError where another
    process is gone.

    Attributes:
        rank: number of this process; 0 writes the run's folder.
        world: number of processes.
        local: number of this process on its host: the GPU that it takes.
        meeting: address where they meet, as torch writes it: env:// or tcp://host:port.
        neighbours: number of processes that share this one's CPUs, itself included. SLURM gives each its own.
        links: the connections on which gradients go, between `join_ranks` and leaving.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    meeting: str = "env://"
    neighbours: int = 1
    links: list[dist.ProcessGroup] = field(default_factory=list, repr=False, compare=False)

    @property
    def leads(self) -> bool:
        """Whether this is the process that reports and writes for all."""
        return self.rank == 0

    def seed(self, seed: int, step: int) -> None:
        """Seed torch for a step: no two shares of a batch get the same dropout.

        From the step alone, so that a resumed run draws what it would have, without keeping every rank's
        random state. A process that is alone continues its one stream.
        """
        if self.world > 1:
            sequence = np.random.SeedSequence((seed, step, self.rank))
            torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))

    def average(self, parameters: Iterable[Tensor], scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Average the gradients of parameters, in place, and scalars, over all processes.

        A parameter without a gradient has none in any process: all run the same code on shares of one size.

        Returns:
            The scalars' averages.
        """
        if self.world == 1:
            return dict(scalars)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        pieces = [*gradients, *(value.detach() for value in scalars.values())]
        flat = torch.cat([piece.reshape(-1) for piece in pieces])
        with self._explain_loss():
            dist.all_reduce(flat, group=self.links[0])
        _unpack_tensors(flat / self.world, gradients)
        averages = flat[len(flat) - len(scalars) :] / self.world
        return dict(zip(scalars, averages.unbind(), strict=True))

    @torch.no_grad()
    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Copy the first process's tensors to all processes, in place."""
        if self.world == 1:
            return
        kinds: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for tensor in tensors:
            kinds[tensor.dtype].append(tensor)
        for same in kinds.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            with self._explain_loss():
                dist.broadcast(flat, src=0, group=self.links[0])
            _unpack_tensors(flat, same)

    def find_largest(self, number: int) -> int:
        """Return the largest of the processes' numbers."""
        if self.world == 1:
            return number
        largest = torch.tensor([number])
        with self._explain_loss():
            dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.links[0])
        return int(largest.item())

    def share(self, text: str) -> str:
        """Return the first process's text."""
        if self.world == 1:
            return text
        texts = [text]
        with self._explain_loss():
            dist.broadcast_object_list(texts, src=0, group=self.links[0], device=torch.device("cpu"))
        return texts[0]

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the first process do what is inside before the others: it fills the cache that they find."""
        if not self.leads:
            self.find_largest(0)
        yield
        if self.leads:
            self.find_largest(0)

    @contextmanager
    def _explain_loss(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # Without its frames, which hold the connections open.
            raise _describe_loss(self, str(error)) from error.with_traceback(None)


ALONE = Ranks()


@contextmanager
def join_ranks() -> Iterator[Ranks]:
    """Meet the other processes of the run, if there are any, and leave together with them.

    Raises:
        ConfigError: the environment does not say what it should.
        InfillingError: the others did not come, or one was lost.
    """
    ranks = find_ranks(os.environ)
    if ranks.world == 1:
        yield ranks
        return
    _meet_ranks(ranks)
    pulse = _Pulse(ranks)
    try:
        _open_links(ranks)
        yield ranks
        pulse.leave_together()
    finally:
        # First the connections: gloo closes them when nobody holds them any more, which tells the others. A
        # GPU's may hang, and then the pulse ends this process.
        ranks.links.clear()
        dist.destroy_process_group()
        pulse.leave()


def find_ranks(environ: Mapping[str, str]) -> Ranks:
    """Read rank and size from torchrun's variables, else from those of a SLURM step (srun).

    Not from a SLURM job's own variables: a plain command in a batch script is alone, whatever the job has.

    >>> find_ranks({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"})
    Ranks(rank=3, world=8, local=1, meeting='env://', neighbours=4)

    Raises:
        ConfigError: a variable is not a number.
    """
    if "RANK" in environ and "WORLD_SIZE" in environ:
        return Ranks(
            _read_number(environ, "RANK"),
            _read_number(environ, "WORLD_SIZE"),
            _read_number(environ, "LOCAL_RANK"),
            neighbours=max(1, _read_number(environ, "LOCAL_WORLD_SIZE")),
        )
    if "SLURM_PROCID" in environ and "SLURM_STEP_NUM_TASKS" in environ:
        return Ranks(
            _read_number(environ, "SLURM_PROCID"),
            _read_number(environ, "SLURM_STEP_NUM_TASKS"),
            _read_number(environ, "SLURM_LOCALID"),
            _find_slurm_meeting(environ),
        )
    return ALONE


def _find_slurm_meeting(environ: Mapping[str, str]) -> str:
    """Return where the processes of a SLURM step meet: a port of the step's own on its first host."""
    host = environ.get("MASTER_ADDR") or _find_first_host(environ.get("SLURM_STEP_NODELIST", ""))
    job, step = _read_number(environ, "SLURM_JOB_ID"), _read_number(environ, "SLURM_STEP_ID")
    port = _read_number(environ, "MASTER_PORT") or PORTS[(100 * job + step) % len(PORTS)]
    return f"tcp://{host}:{port}"


def _read_number(environ: Mapping[str, str], name: str) -> int:
    value = environ.get(name, "0")
    if not value.isdecimal():
        raise ConfigError(f"the environment variable {name} is {value!r}, not a number")
    return int(value)


def _find_first_host(nodes: str) -> str:
    """Return the first host of a list as SLURM writes it.

    >>> _find_first_host("gpu[07-09,12],big3"), _find_first_host("r[1-2]n[03,05]"), _find_first_host("a,b")
    ('gpu07', 'r1n03', 'a')
    """
    return re.sub(r"\[([^],-]+)[^]]*\]", r"\1", nodes).split(",")[0]


def _meet_ranks(ranks: Ranks) -> None:
    """Wait for all processes, then open the connections of the pulse."""
    try:
        store, _, _ = next(rendezvous(ranks.meeting, ranks.rank, ranks.world, timeout=MEETING))
        store.set(f"here {ranks.rank}", "")
        store.wait([f"here {rank}" for rank in range(ranks.world)], MEETING)
        dist.init_process_group("gloo", store=store, rank=ranks.rank, world_size=ranks.world, timeout=SILENCE)
    except (RuntimeError, ValueError) as error:
        meeting = f"process {ranks.rank} of {ranks.world} cannot meet the others at {ranks.meeting}"
        raise InfillingError(f"{meeting}: {_cut_reason(str(error))}") from error


def _open_links(ranks: Ranks) -> None:
    """Open the connections for gradients: NCCL's between GPUs, gloo's between CPUs."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    with ranks._explain_loss():
        ranks.links.append(dist.new_group(backend=backend, timeout=WORK))


class _Pulse:
    """A thread that notices when another process is gone, and ends this one if nothing else does."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._leaving = threading.Event()
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Announce that this process has left or is about to."""
        self._leaving.set()

    def leave_together(self) -> None:
        """Wait until every process wants to leave; the others may still be writing.

        Raises:
            InfillingError: one of them was lost.
        """
        self.leave()
        self._thread.join()
        if self._lost is not None:
            raise _describe_loss(self._ranks, self._lost)

    def _beat(self) -> None:
        left = 0
        while left < self._ranks.world:
            leaving = torch.tensor([int(self._leaving.wait(PULSE_S))])
            try:
                dist.all_reduce(leaving)
            except (RuntimeError, ValueError) as error:  # ValueError: this process has closed them itself
                self._lost = str(error)
                break
            left = int(leaving.item())
        if self._lost is not None and not self._leaving.wait(GRACE_S):
            # The main thread waits for what never comes, in code that no exception reaches.
            log.critical("%s", _describe_loss(self._ranks, self._lost))
            os._exit(InfillingError.exit_code)


def _describe_loss(ranks: Ranks, reason: str) -> InfillingError:
    lost = f"process {ranks.rank} of {ranks.world} lost another one and ends: {_cut_reason(reason)}"
    return InfillingError(f"{lost}; the same command continues from the last checkpoint")


def _cut_reason(reason: str) -> str:
    r"""Return the first line of torch's message, without the place in its source.

    >>> _cut_reason("[/pytorch/gloo/pair.cc:547] Connection closed by peer [127.0.0.1]:80. See above.\n at …")
    'Connection closed by peer [127.0.0.1]:80'
    """
    line = re.sub(r"^(\[[^]]*\.(cc|cpp|h):\d+\]\s*)+", "", reason.strip().partition("\n")[0])
    return line.partition(". ")[0].rstrip(".") or "no reason is given"


def _unpack_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Copy a flat tensor's pieces into tensors, in order."""
    sizes = [tensor.numel() for tensor in tensors]
    pieces = torch.split(flat[: sum(sizes)], sizes)
    for tensor, piece in zip(tensors, pieces, strict=True):
        tensor.copy_(piece.view(tensor.shape))
