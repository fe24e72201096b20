"""The table of systems, one file each."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from infilling.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from infilling.learning.system import System, SystemSettings

SYSTEMS: dict[str, str] = {
    "autoencoder": "infilling.learning.systems.autoencoder:Autoencoder",
    "context-encoder": "infilling.learning.systems.context_encoder:ContextEncoder",
    "gated": "infilling.learning.systems.gated:Gated",
    "partial-conv": "infilling.learning.systems.partial_conv:PartialConv",
    "push-pull-unet": "infilling.learning.systems.push_pull_unet:PushPullUNet",
    "reference": "infilling.learning.systems.reference:Reference",
    "scene-unet": "infilling.learning.systems.scene_unet:SceneUNet",
}
"""Name to `module:class`; the module also holds the system's `Settings`. Imported when asked for."""

FREE: dict[str, int] = {
    "autoencoder": 32,
    "gated": 8,
    "partial-conv": 256,
    "push-pull-unet": 8,
    "scene-unet": 32,
}
"""Systems that fill holes anywhere in pictures of any size, and, with their own defaults, what its sides are
multiples of."""


def build(settings: SystemSettings) -> System:
    """Makes a system from its settings, with fresh weights from torch's global generator."""
    system: System = _find(settings.name)[1](settings)
    return system


def find_settings(name: str) -> type[SystemSettings]:
    """The class of the settings that the named system's `[system]` table must fit.

    Raises:
        ConfigError: no system has this name; the message has the near ones.
    """
    settings: type[SystemSettings] = _find(name)[0]
    return settings


def suggest(size: int) -> str:
    """What to say to someone whose system cannot do what was asked: the systems that can.

    >>> suggest(96)
    'autoencoder, gated, push-pull-unet fill holes anywhere in pictures of 96 px'
    >>> suggest(100)
    'gated, push-pull-unet fill holes anywhere in pictures whose sides are multiples of 8 px'
    """
    least = min(FREE.values())
    fitting = [name for name, multiple in FREE.items() if size % multiple == 0]
    fitting = fitting or [name for name, multiple in FREE.items() if multiple == least]
    where = f"of {size} px" if size % least == 0 else f"whose sides are multiples of {least} px"
    return f"{', '.join(fitting)} fill holes anywhere in pictures {where}"


def _find(name: str) -> tuple[Any, Any]:
    """The `Settings` and the class of a system."""
    if name not in SYSTEMS:
        raise ConfigError(f"no system is called {name!r}{did_you_mean(name, SYSTEMS)}")
    module_path, class_name = SYSTEMS[name].split(":")
    module = importlib.import_module(module_path)
    return module.Settings, getattr(module, class_name)
