"""Random tensors, and what every system's fill has to keep to."""

import torch
from torch import Tensor

from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.system import System


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return uniform numbers in [0, 1), the same for the same seed."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def check_hidden(system: System, batch: MaskedBatch) -> None:
    """What the hole hides does not matter, known pixels stay, and values are in [0, 1]."""
    with torch.no_grad():
        filled = system.fill(batch.image, batch.mask)
        other = system.fill(batch.image * (1 - batch.mask) + 0.3 * batch.mask, batch.mask)
    assert torch.equal(filled, other)
    known = ~batch.mask.bool().expand_as(filled)
    assert torch.equal(filled[known], batch.image[known])
    assert filled.min() >= 0
    assert filled.max() <= 1
