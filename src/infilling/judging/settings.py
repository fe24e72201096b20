"""What engines are judged on, and by what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from infilling.errors import ConfigError
from infilling.machine import share_cores
from infilling.pictures import holes
from infilling.pictures.holes import HoleMaker

LEAST = {"seed": 0, "size": 16}  # smallest value of a setting; 1 for all others

HoleSpec = str | Path | Mapping[str, float]  # holes as `holes.make_holes` takes them


@dataclass(frozen=True)
class EvaluationSettings:
    """Pictures and holes that engines are judged on, and the networks that judge them.

    Attributes:
        data: folders, tar shards or IDX files.
        holes: kind of holes, as `holes.make_holes` takes it.
        seed: seed of the holes.
        count: number of pictures, spread evenly over all; None: all.
        size: side of the pictures in pixels.
        networks: kind of feature network → its weight files.
        threads: threads of each process; None: all cores, shared by the processes.
        jobs: number of processes.
        device: device of the engines; feature networks run on the CPU.

    Raises:
        ConfigError: a number is too small.
    """

    data: tuple[str, ...] = ()
    holes: HoleSpec = "block"
    seed: int = 7
    count: int | None = None
    size: int = 128
    networks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    threads: int | None = None
    jobs: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("seed", "count", "size", "threads", "jobs"):
            value, least = getattr(self, name), LEAST.get(name, 1)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, not {value}")

    @cached_property
    def hole_maker(self) -> HoleMaker:
        """The maker of the holes; found once, because listing a folder of masks takes long."""
        return holes.find_maker(self.holes)

    @property
    def threads_each(self) -> int:
        """Threads of each process."""
        return self.threads or share_cores(self.jobs)
