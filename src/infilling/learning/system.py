"""The contract that every system keeps: a generator, a discriminator, their losses, and `fill`.

A system is one file in `systems/`, with two names in it: `Settings`, what its table in the config may say,
and one subclass of `System`, made from those settings. The training loop knows nothing else about it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import pydantic
import torch
from pydantic import Field
from torch import Tensor, nn

from infilling.learning.masked_batch import MaskedBatch
from infilling.pictures.frame import SizeRule

Losses = tuple[Tensor, dict[str, Tensor]]
"""A scalar to differentiate, and named scalars to keep in `stats.jsonl`."""


Channels = Annotated[int, Field(ge=1, le=65_536)]
"""Number of channels of a layer: 1 to 65,536."""
Depth = Annotated[int, Field(ge=1, le=64)]
"""Number of blocks one after the other: 1 to 64."""
Side = Annotated[int, Field(ge=1, le=4096)]
"""Side of a picture: 1 to 4,096 pixels."""


class SystemSettings(pydantic.BaseModel):
    """What the `[system]` table of a config may say. A system's `Settings` is a subclass that narrows `name`.

    >>> class Settings(SystemSettings):
    ...     name: Literal["example"] = "example"
    ...     width: int = 64
    >>> Settings(width=8).width
    8
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str


class AnySizeSettings(SystemSettings):
    """Settings of a system that fills holes anywhere in pictures of any size."""

    working_size: Side = 128
    """Side of the pictures it learns from: the size at which it works best."""


@dataclass(frozen=True)
class Phase:
    """One kind of optimiser step: which network it moves, by which loss, how often and from when on.

    Attributes:
        name: names the phase in logs and errors; unique within a system.
        network: the network whose parameters move; phases of one network share its optimiser.
        loss: `(batch, generated) -> Losses`.
        interval: every how many steps the phase is due (16 for a lazy regulariser).
        start_images: the phase rests until this many pictures were seen.
    """

    name: str
    network: Literal["generator", "discriminator"]
    loss: Callable[[MaskedBatch, Any], Losses]
    interval: int = 1
    start_images: int = 0

    def due(self, step: int, images_seen: int) -> bool:
        """Return whether the phase runs at a step, counted from 0, before which `images_seen` were seen."""
        return step % self.interval == 0 and images_seen >= self.start_images


class System(nn.Module):
    """A generator, a discriminator or none, and their losses: what is trained together and exported.

    What learns lives in `generator` and `discriminator`: only these two are saved, and EMA follows the
    generator. [-1, 1] and every other range but [0, 1] live only inside a network. The loop wraps
    `generate` and the losses in autocast; a loss that needs fp32 says so itself (`.float()`).

    Attributes:
        starts_from: other systems from whose generator it can start: its own has the same layers, and more
            that add nothing at first.
        size_rule: what pictures and holes `fill` takes.
        needs_features: True where the losses read `self.features`; the loop refuses to start without a file.
        feature_layers: layers of the feature network that the losses read; a network without them is refused.
        takes_noise: True where `fill` has a third argument, noise (N, 1, H, W) of mean 0 and variance 1.
        settings: what it was made from; enough to make it again.
        generator: the network that `fill` and the export use; the EMA copy takes its place there.
        discriminator: None where there is no adversary.
        discriminator_start_images: number of pictures before the discriminator's first step.
        smallest_side: of the pictures that the losses of the last stage can look at, pixels.
        features: a frozen feature network, set by the loop before training when the config names a file.
            Never part of `fill`, never saved.
        images_seen: pictures seen before this step, set by the loop; what it decides, a stage, must show in
            which phases are due, so that a captured step is not replayed in another stage.
        seen: the same as a tensor, for what changes from step to step, such as a ramp.
    """

    starts_from: ClassVar[tuple[str, ...]] = ()

    size_rule: SizeRule
    needs_features: bool = False
    feature_layers: tuple[str, ...] = ()
    discriminator_start_images: int = 0
    smallest_side: int = 1
    takes_noise: bool = False
    settings: SystemSettings
    generator: nn.Module
    discriminator: nn.Module | None
    features: nn.Module | None
    seen: Tensor

    def __init__(self, settings: SystemSettings) -> None:
        super().__init__()
        self.settings = settings
        self.discriminator = None
        self.features = None
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64), persistent=False)
        self._images_seen = 0

    @property
    def images_seen(self) -> int:
        """Pictures seen before this step."""
        return self._images_seen

    @images_seen.setter
    def images_seen(self, count: int) -> None:
        self._images_seen = count
        self.seen.fill_(count)

    @property
    def name(self) -> str:
        """The system's name in configs: of the table `systems.SYSTEMS`, or `module:Class`."""
        return self.settings.name

    def generate(self, batch: MaskedBatch) -> Any:
        """Run the generator once for this step, with its graph; the type is the system's own.

        Args:
            batch: image (N, 3, H, W) in [0, 1], mask (N, 1, H, W) in {0, 1}, 1 = hole.
        """
        raise NotImplementedError

    def discriminator_loss(self, batch: MaskedBatch, generated: Any) -> Losses:
        """Return the discriminator's loss, which detaches `generated` itself.

        Usual names: `D(x)`, `D(G(z)) before`. The loop adds the loss itself as `Loss_D`.
        """
        raise NotImplementedError

    def generator_loss(self, batch: MaskedBatch, generated: Any) -> Losses:
        """Return the generator's loss. The discriminator's parameters take no gradient here.

        Usual names: `Loss_G` (the adversarial part, unweighted), `reconstruction`, `D(G(z)) after`. The loop
        adds the loss itself as `total`.
        """
        raise NotImplementedError

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fill the holes with `self.generator`: tensor operations only, since the export traces it.

        Args:
            image: (N, 3, H, W) in [0, 1]; what it holds inside the hole must not matter.
            mask: (N, 1, H, W) in {0, 1}, 1 = hole.

        Returns:
            (N, 3, H, W) in [0, 1], read inside the hole only.
        """
        raise NotImplementedError

    def phases(self) -> tuple[Phase, ...]:
        """Return the optimiser steps in order: discriminator, generator. Override to add or delay one."""
        generator = Phase("generator", "generator", self.generator_loss)
        if self.discriminator is None:
            return (generator,)
        start = self.discriminator_start_images
        return Phase("discriminator", "discriminator", self.discriminator_loss, start_images=start), generator
