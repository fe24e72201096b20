"""Guard against losses that are not numbers."""

import math
from pathlib import Path

import torch
from torch import Tensor

from infilling.errors import InfillingError
from infilling.learning.checkpoint import describe_latest


class LossGuard:
    """A check of a run's losses, which ends it when one is not a number.

    Args:
        run: the run's folder, whose last good checkpoint the error names.
        every: number of steps between looks; 1 looks at each at once.
    """

    def __init__(self, run: Path, every: int) -> None:
        self._run, self._every = run, every
        self._unchecked: list[tuple[int, dict[str, Tensor]]] = []
        self._last: dict[str, float] = {}

    def add(self, step: int, scalars: dict[str, Tensor]) -> None:
        """Take a step's scalars, and `check` them when it is time."""
        self._unchecked.append((step, scalars))
        if len(self._unchecked) >= self._every:
            self.check()

    def check(self) -> dict[str, float]:
        """Look at all scalars that were not looked at yet, and return the last step's.

        Raises:
            InfillingError: one is NaN or infinite; it names the step, its losses and the last checkpoint.
        """
        for step, scalars in self._unchecked:
            self._last = dict(zip(scalars, torch.stack(list(scalars.values())).tolist(), strict=True))
            if not all(map(math.isfinite, self._last.values())):
                losses = ", ".join(f"{name} = {value:.4g}" for name, value in self._last.items())
                raise InfillingError(f"step {step} gave {losses}; {describe_latest(self._run)}")
        self._unchecked.clear()
        return self._last
