"""A system in training: its networks, the average of its generator, the optimisers, and one step."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from infilling.errors import ConfigError, ModelError
from infilling.learning import checkpoint, export, features, systems
from infilling.learning.device import Place
from infilling.learning.distributed import ALONE, Ranks
from infilling.learning.masked_batch import MaskedBatch, paste, split_batch
from infilling.learning.optimizers import Ema, find_rate, load_optimizer, make_optimizer, set_rate
from infilling.learning.scalars import LOSS_D, TOTAL
from infilling.learning.settings import Config, OptimizerSettings, TrainSettings
from infilling.learning.step_graphs import StepGraphs
from infilling.learning.system import Phase, System


class _Network(NamedTuple):
    """A network in training: its settings, the parameters that it learns, and what moves them."""

    module: nn.Module
    settings: OptimizerSettings
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer


class Learner:
    """A system in training.

    Args:
        config: of the run.
        place: device and precision.
        ranks: the processes of the run; each takes its share of every batch.
        resumes: whether a checkpoint will be loaded, so that the weights of `[start]` are not needed.

    Attributes:
        config, place: as given.
        system: what is trained.
        ema: the average of its generator.
        step: steps taken.
        images_seen: pictures seen in them, by all processes.

    Raises:
        ConfigError: the system and the data do not fit together, or a file that it needs is not named.
    """

    def __init__(self, config: Config, place: Place, ranks: Ranks = ALONE, *, resumes: bool = False) -> None:
        self.config, self.place, self._ranks = config, place, ranks
        self.system = _make_system(config)
        if config.start.weights and not resumes:
            _start_from(config.start.weights, self.system)
        self.system.to(place.device)
        place.arrange(self.system)
        train = config.train
        self._graphs = _make_graphs(train, place, ranks)
        self._networks = {"generator": self._adopt(self.system.generator, train.generator)}
        if self.system.discriminator is not None:
            self._networks["discriminator"] = self._adopt(self.system.discriminator, train.discriminator)
        self.ema = Ema(self.system.generator, train.ema_half_life_images, train.ema_ramp)
        self.step, self.images_seen = 0, 0
        if train.compile:
            self._compile()

    def _adopt(self, module: nn.Module, settings: OptimizerSettings) -> _Network:
        """Make a network the same in every process, and give it an optimiser."""
        self._ranks.copy_from_first([*module.parameters(), *module.buffers()])
        learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
        optimizer = make_optimizer(learned, settings, capturable=self._graphs is not None)
        return _Network(module.train(), settings, learned, optimizer)

    def _compile(self) -> None:
        for network in self._networks.values():
            network.module.compile(dynamic=False)
        features: Any = self.system.features
        if features is not None:
            features.layers = torch.compile(features.layers, dynamic=False)

    def take_step(self, batch: MaskedBatch) -> dict[str, Tensor]:
        """Take one step of every phase that is due, the discriminator's first.

        With `train.accumulate` the batch is learned from in parts, one at a time in memory. Their gradients
        are averaged, so nothing changes for losses that are means over pictures, in networks without batch
        statistics.

        Returns:
            Scalars by name, still on the device: losses, what the system measured, gradient norms; the same
            in every process.
        """
        system, images = self.system, len(batch.image) * self._ranks.world
        system.images_seen = self.images_seen
        for network in self._networks.values():
            set_rate(network.optimizer, find_rate(network.settings, self.images_seen))
        self._ranks.seed(self.config.train.seed, self.step)
        due = [phase for phase in system.phases() if phase.due(self.step, self.images_seen)]
        take = partial(self._take_phases, due)
        kind = tuple(phase.name for phase in due)
        scalars = self._graphs.run(kind, take, batch) if self._graphs else take(batch)
        self.step += 1
        if self._ranks.world > 1:  # batch norm's statistics, which each share moved in its own way
            moved = [network.module.buffers() for network in self._networks.values()]
            self._ranks.copy_from_first(chain.from_iterable(moved))
        self.ema.update(system.generator, images, self.images_seen)
        self.images_seen += images
        return scalars

    def enters_stage(self, images: int) -> bool:
        """Return whether the step just taken, of N images, was the last before a phase's first."""
        before = self.images_seen - images
        return any(before < phase.start_images <= self.images_seen for phase in self.system.phases())

    def _generate(self, batch: MaskedBatch) -> Any:
        with self.place.autocast():
            return self.system.generate(batch)

    def _take_phases(self, phases: Sequence[Phase], batch: MaskedBatch) -> dict[str, Tensor]:
        """Take the step of each phase; all that the device does in a step but for the average's."""
        parts = split_batch(batch, self.config.train.accumulate)
        # One part is generated once for all phases. Of several, each phase generates its own again: to keep
        # the graphs of all parts would take the memory that the parts are to save.
        generated = self._generate(batch) if len(parts) == 1 else None
        scalars: dict[str, Tensor] = {}
        for phase in phases:
            scalars |= self._take_phase(phase, parts, generated)
        return scalars

    def _take_phase(self, phase: Phase, parts: Sequence[MaskedBatch], generated: Any) -> dict[str, Tensor]:
        _, _, parameters, optimizer = self._networks[phase.network]
        optimizer.zero_grad(set_to_none=True)
        with self._freeze_others(phase.network):
            sums = self._sum_gradients(phase, parts, generated)
        scalars = self._ranks.average(parameters, sums)
        norm = nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
        if self.config.train.grad_clip:
            nn.utils.clip_grads_with_norm_(parameters, self.config.train.grad_clip, norm)
        optimizer.step()
        return {**scalars, f"gradient norm {phase.name}": norm.detach().float()}

    def _sum_gradients(self, phase: Phase, parts: Sequence[MaskedBatch], generated: Any) -> dict[str, Tensor]:
        """Run a phase's loss forward and back on each part, and return the means of its scalars."""
        sums: dict[str, Tensor] = {}
        for part in parts:
            theirs = generated if len(parts) == 1 else self._generate(part)
            with self.place.autocast():
                loss, measured = phase.loss(part, theirs)
            torch.autograd.backward(loss / len(parts))
            for name, value in {_LOSS_NAMES.get(phase.name, phase.name): loss, **measured}.items():
                share = value.detach().float() / len(parts)
                sums[name] = sums[name] + share if name in sums else share
        return sums

    @contextmanager
    def _freeze_others(self, network: str) -> Iterator[None]:
        """Freeze the networks that a phase does not move, which would compute gradients that nobody reads."""
        others = [each.parameters for name, each in self._networks.items() if name != network]
        frozen = list(chain.from_iterable(others))
        for parameter in frozen:
            parameter.requires_grad_(False)
        yield
        for parameter in frozen:
            parameter.requires_grad_(True)

    @torch.no_grad()
    def fill(self, batch: MaskedBatch) -> Tensor:
        """Fill with the averaged generator, in fp32: results (N, 3, H, W) in [0, 1], known pixels kept."""
        raw, self.system.generator = self.system.generator, self.ema.generator
        try:
            filled = self.system.fill(batch.image, batch.mask)
        finally:
            self.system.generator = raw
        return paste(batch.image, filled.float(), batch.mask)

    def count_parameters(self) -> dict[str, int]:
        """Return the number of learned parameters, by network."""
        return {name: sum(map(Tensor.numel, each.parameters)) for name, each in self._networks.items()}

    def rates(self) -> dict[str, float]:
        """Return the learning rates of the next step, by network."""
        return {name: find_rate(each.settings, self.images_seen) for name, each in self._networks.items()}

    def save(self, run: Path, extra: Mapping[str, Any]) -> Path:
        """Write a checkpoint; `load` returns `extra`.

        Raises:
            StorageError: it could not be written; earlier ones are as they were.
        """
        trainer = {
            "step": self.step,
            "images_seen": self.images_seen,
            "optimizers": {name: each.optimizer.state_dict() for name, each in self._networks.items()},
            "random": _random_state(self.place.device),
            "extra": dict(extra),
        }
        return checkpoint.save_checkpoint(run, self._list_modules(), trainer, self.config)

    def _list_modules(self) -> dict[str, nn.Module]:
        """Return the networks that a checkpoint holds, by name."""
        return {name: each.module for name, each in self._networks.items()} | {"ema": self.ema.generator}

    def load(self, folder: Path, weights: checkpoint.Weights) -> dict[str, Any]:
        """Continue from a checkpoint, torch's random state included, and return its `extra`.

        Raises:
            ModelError: the checkpoint is damaged or of other networks.
        """
        trainer = checkpoint.load_trainer(folder)
        for name, module in self._list_modules().items():
            checkpoint.load_network(module, weights.take(name), str(folder))
        try:
            for name, network in self._networks.items():
                load_optimizer(network.optimizer, trainer["optimizers"][name])
            self.step, self.images_seen = trainer["step"], trainer["images_seen"]
            _set_random_state(trainer["random"], self.place.device)
            extra: dict[str, Any] = trainer["extra"]
        except (KeyError, ValueError) as error:
            raise ModelError(f"{folder} holds another trainer's state: {error}") from error
        return extra


_LOSS_NAMES = {"discriminator": LOSS_D, "generator": TOTAL}


def _make_graphs(train: TrainSettings, place: Place, ranks: Ranks) -> StepGraphs | None:
    """Make what replays steps, where the run asks for it."""
    if not train.graphs:
        return None
    if place.device.type != "cuda" or ranks.world > 1:
        where = f"{ranks.world} processes" if ranks.world > 1 else f"the device {place.device}"
        raise ConfigError(f"train.graphs is for one GPU, not for {where}: set it to false")
    return StepGraphs()


def _find_misfits(system: System, config: Config) -> Iterator[str]:
    """Yield why a system cannot learn from the pictures of a config."""
    rule, size, half = system.size_rule, config.data.image_size, config.data.half_size_images
    if half and (rule.fixed_size or size % (2 * rule.multiple_of)):
        yield f"system {system.name} cannot learn at half of {size} px: set data.half_size_images to 0"
    if size != (rule.fixed_size or size) or size % rule.multiple_of:
        takes = f"{rule.fixed_size} px" if rule.fixed_size else f"multiples of {rule.multiple_of} px"
        advice = systems.suggest_systems(size)
        yield f"system {system.name} takes {takes}; data.image_size is {size}; {advice}"
    last = max(phase.start_images for phase in system.phases())
    seen = size // 2 if half > last else size
    if seen < system.smallest_side:
        yield (
            f"the losses of system {system.name} look at {system.smallest_side} px or more, here at {seen}: "
            "set data.image_size higher or data.half_size_images lower"
        )
    if system.needs_features and not config.features.path:
        yield (
            f"system {system.name} learns from a feature network: set features.path to a file, such as the "
            "one that `infill models download efficientnet-lite1` or `squeezenet` fetches"
        )


def _make_system(config: Config) -> System:
    """Return a system with fresh weights, and with its feature network, if one is named."""
    system = systems.build_system(config.system)
    if misfit := next(_find_misfits(system, config), None):
        raise ConfigError(misfit)
    if config.features.path:
        network = features.load_features(config.features.path)
        if not set(system.feature_layers) <= set(network.names):
            wanted = f"system {system.name} reads the layers {', '.join(system.feature_layers)}"
            raise ConfigError(f"{wanted}; {config.features.path} is {network.title}, without them")
        system.features = network
    return system


def _start_from(path: str, system: System) -> None:
    """Load the averaged generator of another run, and its discriminator if there is one."""
    if export.is_exported(path):
        name, generator = export.read_generator(path)
        discriminator: dict[str, Tensor] = {}
    else:
        weights = checkpoint.read_weights(path)
        name, generator = weights.config.system.name, weights.take("ema") or weights.take("generator")
        discriminator = weights.take("discriminator")
    if name in system.starts_from:
        generator = system.generator.state_dict() | generator
        discriminator = {}
    elif name != system.name:
        raise ConfigError(f"start.weights {path} are of the system {name}, not {system.name}")
    checkpoint.load_network(system.generator, generator, path)
    if system.discriminator is not None and discriminator:
        checkpoint.load_network(system.discriminator, discriminator, path)


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Restore the random states; a run that moves from a CPU to a GPU uses the GPU's own numbers."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
