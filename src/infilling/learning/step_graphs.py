"""CUDA graphs of training steps: a step's thousands of kernels are started by one call.

A step is captured once for each set of phases and each shape of batch, after a few steps that ran as usual,
and replayed from then on. Nothing in it may depend on Python's numbers but through the phases that are due:
what changes from step to step is a tensor (`System.seen`, the learning rates).
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from infilling.learning.masked_batch import MaskedBatch

WARM_UP = 3  # steps before a capture: libraries choose their kernels, optimisers make their state

Step = Callable[[MaskedBatch], dict[str, Tensor]]
"""Takes a step and returns its scalars."""

Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""Records what a function does on the device without doing it, and returns what repeats it."""


@dataclass
class _Recorded:
    """One kind of step: how often it ran, its place for a batch, its graph and its scalars."""

    runs: int = 0
    batch: MaskedBatch | None = None
    replay: Callable[[], None] | None = None
    scalars: dict[str, Tensor] = field(default_factory=dict)


class StepGraphs:
    """Steps that are run, and replayed once they are captured.

    Args:
        capture: how a function is recorded; `capture_cuda` but in tests.
    """

    def __init__(self, capture: Capture | None = None) -> None:
        self._capture = capture or capture_cuda
        self._recorded: dict[Hashable, _Recorded] = {}

    def run(self, kind: Hashable, step: Step, batch: MaskedBatch) -> dict[str, Tensor]:
        """Take one step.

        Args:
            kind: what the step consists of; steps of one kind and shape do the same work.
            step: takes the step.
            batch: what it learns from.

        Returns:
            The step's scalars, on the device.
        """
        recorded = self._recorded.setdefault((kind, batch.image.shape), _Recorded())
        recorded.runs += 1
        if recorded.runs <= WARM_UP:
            return step(batch)
        if recorded.replay is None:
            recorded.batch = MaskedBatch(*(torch.empty_like(each) for each in batch))
            recorded.replay = self._capture(lambda: self._record(recorded, step))
        assert recorded.batch is not None
        for place, value in zip(recorded.batch, batch, strict=True):
            place.copy_(value)
        recorded.replay()
        return {name: value.clone() for name, value in recorded.scalars.items()}

    @staticmethod
    def _record(recorded: _Recorded, step: Step) -> None:
        assert recorded.batch is not None
        recorded.scalars = step(recorded.batch)


def capture_cuda(function: Callable[[], None]) -> Callable[[], None]:
    """Capture what a function does as a CUDA graph, in memory of its own."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        function()
    return graph.replay
