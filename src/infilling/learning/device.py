"""Device, precision and memory layout of a run."""

from dataclasses import dataclass

import torch
from torch import nn

from infilling.errors import ConfigError, DependencyError
from infilling.learning.distributed import ALONE, Ranks
from infilling.learning.layers import FromPoint, ToPoint
from infilling.learning.settings import TrainSettings


@dataclass(frozen=True)
class Place:
    """Device, precision and memory layout.

    Attributes:
        device: device of all tensors.
        bf16: autocast to bfloat16; weights, losses and optimisers stay fp32.
        channels_last: memory layout of pictures and weights.
    """

    device: torch.device
    bf16: bool
    channels_last: bool

    def autocast(self) -> torch.autocast:
        """Return the context in which networks run."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def arrange(self, module: nn.Module) -> None:
        """Bring a module's weights into the memory layout, but for those that are used as matrices."""
        if not self.channels_last:
            return
        for layer in module.modules():
            if isinstance(layer, (ToPoint, FromPoint)):
                continue
            for parameter in layer.parameters(recurse=False):
                if parameter.dim() == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def choose_place(settings: TrainSettings, ranks: Ranks = ALONE) -> Place:
    """Resolve device, precision and memory layout.

    `auto` means: a GPU if there is one; bf16 on a GPU, and on a CPU only where it computes in bf16 itself
    (elsewhere it is 20 times slower); channels-last, which cuDNN and oneDNN both prefer. Of several processes
    each takes a GPU of its own, by its place on its host.

    Raises:
        DependencyError: the device is not on this machine.
        ConfigError: there is no such kind of device, or several processes are to share one GPU.
    """
    device = choose_device(settings.device)
    if ranks.world > 1 and device.type == "cuda":
        if ":" in settings.device:
            raise ConfigError(f"train.device is {settings.device} for {ranks.world} processes; write cuda")
        seen = torch.cuda.device_count()  # a scheduler may show each process only its own
        device = choose_device(f"cuda:{ranks.local if seen > 1 else 0}")
        torch.cuda.set_device(device)  # NCCL asks for the current one
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and _is_bf16_fast(device))
    return Place(device, bf16, settings.channels_last is not False)


def choose_device(name: str) -> torch.device:
    """Return the device of a name: auto, cpu, cuda, cuda:1.

    Raises:
        DependencyError: it is not on this machine.
        ConfigError: there is no such kind of device.
    """
    has_gpu = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if has_gpu else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"no device is called {name!r}; write auto, cpu, cuda or cuda:1") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r} is not supported; write auto, cpu, cuda or cuda:1")
    if device.type == "cpu":
        return device
    index, count = device.index or 0, torch.cuda.device_count() if has_gpu else 0
    if index >= count:
        raise DependencyError(f"there is no {name} here: torch {torch.__version__} sees {count} GPUs")
    return torch.device("cuda", index)


def _is_bf16_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
