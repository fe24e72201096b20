"""The small network that says how much a line looks like a scratch.

It has one hidden layer, and was trained on lines of drawn scratches and of clean photographs by
`benchmarks/scratches.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from infilling.pictures.picture import Doubles

FAR = 5.0  # standard deviations from the mean beyond which a feature counts no further


@dataclass(frozen=True, eq=False)
class ScratchNetwork:
    """Two layers of weights, and the mean and deviation of what they were trained on.

    Attributes:
        features: names, in the order of the columns of `first`.
        mean, deviation: (features,) each.
        first: (hidden, features) weights.
        bias: (hidden,).
        second: (hidden,) weights.
        offset: added to the result.
    """

    features: tuple[str, ...]
    mean: Doubles
    deviation: Doubles
    first: Doubles
    bias: Doubles
    second: Doubles
    offset: float

    def score(self, known: Mapping[str, Doubles]) -> Doubles:
        """Return (n,) the logarithm of the odds that each of n lines is a scratch.

        Args:
            known: (n,) each, by the name of the feature.
        """
        values = np.stack([known[name] for name in self.features], axis=1)
        steps = np.clip((values - self.mean) / self.deviation, -FAR, FAR)
        return np.asarray(np.tanh(steps @ self.first.T + self.bias) @ self.second + self.offset)


@cache
def load_network() -> ScratchNetwork:
    """Return the network that the package brings along."""
    known = json.loads((files("infilling.pictures") / "scratches.json").read_text(encoding="utf-8"))
    names, offset = tuple(known.pop("features")), known.pop("offset")
    return ScratchNetwork(names, **{name: np.array(each) for name, each in known.items()}, offset=offset)
