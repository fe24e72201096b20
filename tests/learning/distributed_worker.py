"""One process of a distributed run, for the tests: a line of JSON in for each training, one out.

In: {"environ": {…}, "config": tree, "out": path, "at": step, "do": what, "shows": bool}; `do` happens in this
process after that many steps: SIGTERM or another signal to itself, "raise", or "" for nothing. `shows` has it
draw figures and export the model in the end, which takes longer than the training.
"""

import hashlib
import json
import os
import signal
import sys
from types import ModuleType
from typing import Any, ClassVar, Literal

import torch
from tests.learning import conftest as fixtures
from torch import Tensor, nn

from infilling.errors import InfillingError
from infilling.learning import config as configs
from infilling.learning import run_start
from infilling.learning.learner import Learner
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.system import Losses, Phase, System, SystemSettings
from infilling.learning.systems import SYSTEMS
from infilling.learning.train import Outcome, train
from infilling.pictures.frame import SizeRule

loop = sys.modules[train.__module__]
SHOWING = {name: getattr(loop, name) for name in ("_draw_sample", "_finish_run")}


class PlainSettings(SystemSettings):
    """Settings of `Plain`."""

    name: Literal["plain"] = "plain"


class Plain(System):
    """In float64, without batch statistics and dropout: any number of processes must find the same."""

    name: ClassVar[str] = "plain"
    size_rule = SizeRule()

    def __init__(self, settings: PlainSettings) -> None:
        super().__init__(settings)
        self.generator: nn.Module = nn.Sequential(
            nn.Conv2d(4, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 3, 3, padding=1), nn.Sigmoid()
        ).double()
        self.generator.register_parameter("unused", nn.Parameter(torch.ones(2, dtype=torch.float64)))
        self.discriminator: nn.Module = nn.Sequential(
            nn.Conv2d(3, 4, 4, stride=4), nn.SiLU(), nn.Conv2d(4, 1, 1)
        ).double()

    def generate(self, batch: MaskedBatch) -> Tensor:
        return self._run(batch.image.double(), batch.mask.double())

    def discriminator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        real, fake = self.discriminator(batch.image.double()), self.discriminator(generated.detach())
        loss = nn.functional.softplus(fake).mean() + nn.functional.softplus(-real).mean()
        return loss, {"D(x)": real.mean()}

    def generator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        reconstruction = (generated - batch.image).square().mean()
        return reconstruction + nn.functional.softplus(-self.discriminator(generated)).mean(), {
            "reconstruction": reconstruction
        }

    def r1(self, batch: MaskedBatch, _generated: Tensor) -> Losses:
        """A gradient of a gradient."""
        image = batch.image.double().requires_grad_()
        score = self.discriminator(image).float().sum()
        (gradient,) = torch.autograd.grad(score, image, create_graph=True)
        return gradient.float().square().sum(dim=(1, 2, 3)).mean(), {}

    def phases(self) -> tuple[Phase, ...]:
        return *super().phases(), Phase("r1", "discriminator", self.r1, 2)

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        return self._run(image.double(), mask.double()).float()

    def _run(self, image: Tensor, mask: Tensor) -> Tensor:
        filled: Tensor = self.generator(torch.cat([image * (1 - mask), mask], dim=1))
        return filled


def add_systems() -> None:
    """Puts `Plain` and the fixtures' `Tiny` into the table of systems."""
    for name, settings, system in [
        ("plain", PlainSettings, Plain),
        ("tiny", fixtures.TinySettings, fixtures.Tiny),
    ]:
        module = ModuleType(f"{name}_system")
        module.Settings, module.System = settings, system  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module
        SYSTEMS[name] = f"{module.__name__}:System"


class Watched(Learner):
    """Does something to this process after a step, and leaves a digest of all weights when the run ends."""

    at: ClassVar[int]
    do: ClassVar[str]
    last: ClassVar["Watched"]

    def take_step(self, batch: MaskedBatch) -> dict[str, Tensor]:
        Watched.last = self
        scalars = super().take_step(batch)
        if self.step == self.at and self.do:
            if self.do == "raise":
                raise InfillingError("as told")
            os.kill(os.getpid(), signal.Signals[self.do])
        return scalars

    def digest(self) -> str:
        """Of every weight, buffer, average and optimiser's state, to the last bit."""
        states = [module.state_dict() for module in self._list_modules().values()]
        for optimizer in [network.optimizer for network in self._networks.values()]:
            states += [
                {f"{key} {name}": value for name, value in state.items()}
                for key, state in optimizer.state_dict()["state"].items()
            ]
        found = hashlib.sha256()
        for state in states:
            for name, value in sorted(state.items()):
                found.update(name.encode() + value.contiguous().numpy().tobytes())
        return found.hexdigest()


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Trains, and says how it went."""
    os.environ.update(task["environ"])
    Watched.at, Watched.do = task["at"], task["do"]
    told: list[int] = []
    for name, function in SHOWING.items():
        setattr(loop, name, function if task["shows"] else lambda *_, **__: None)
    try:
        outcome: Outcome = train(
            configs.parse_config(task["config"]),
            task["out"],
            report=lambda progress: told.extend([progress.step] if progress.row else []),
        )
    except InfillingError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "step": outcome.step,
        "images_seen": outcome.images_seen,
        "ended_by": outcome.ended_by,
        "model": outcome.model and str(outcome.model),
        "told": told,
        "digest": Watched.last.digest(),
    }


def main() -> None:
    """Trains as often as it is told to."""
    torch.set_num_threads(1)
    add_systems()
    run_start.Learner = Watched  # type: ignore[misc]
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
