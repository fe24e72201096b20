"""Average networks that learned on from the same weights, and write one ONNX file.

    python examples/mix_weights.py MIXTURE.onnx 0.6 RUN 0.4 default [--images N]

Each share is followed by a run, a checkpoint, an ONNX file or the name of a released model; the shares add up
to 1, and may be negative. The average fills better than each of them (model soups, Wortsman et al., ICML
2022). A `scene-unet` can be mixed with the `push-pull-unet` that it started from: the levels that only the
first has are taken from it, and what they add counts by its share.
"""

import argparse
import math
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from infilling.filling.models import LICENCE, TRAINED_ON
from infilling.filling.network import ModelCard
from infilling.learning import checkpoint, export
from infilling.learning.system import System
from infilling.learning.systems import build_system
from infilling.learning.systems.push_pull_unet import Settings as PushPullSettings
from infilling.learning.systems.scene_unet import Settings as SceneSettings
from infilling.storage import write_atomic
from infilling.version import VERSION

SETTINGS = {"push-pull-unet": PushPullSettings, "scene-unet": SceneSettings}
ENTRANCES = ("deep.up.", "fine.leave.", "noise_")  # layers that add scene-unet's own levels to the others

State = dict[str, Tensor]


class Source(NamedTuple):
    """A generator's weights, its system, and the feature networks that taught it."""

    state: State
    system: str
    taught_by: tuple[str, ...]


def read_source(name: str) -> Source:
    """Read a run, a checkpoint, an ONNX file or a released model."""
    if export.is_exported(name):
        system, state = export.read_generator(name)
    else:
        weights = checkpoint.read_weights(name)
        system, state = weights.config.system.name, weights.take("ema") or weights.take("generator")
    return Source(state, system, export.read_teachers(name))


def mix_states(shares: list[float], states: list[State]) -> State:
    """Average the weights by their shares.

    A layer that some networks lack is the average of the others; an entrance of it counts as zero in them,
    which it was when the others began to learn.
    """
    mixed = {}
    for name in max(states, key=len):
        having = [(share, state[name]) for share, state in zip(shares, states, strict=True) if name in state]
        total = sum(share for share, _ in having)
        divisor = 1.0 if name.startswith(ENTRANCES) else total
        mixed[name] = sum((share * value for share, value in having), 0 * having[0][1]) / divisor
    return mixed


def mix(shares: list[float], names: list[str], images: int | None) -> bytes:
    """Return the mixture as an ONNX file with weights in 16 bits.

    Args:
        shares: of each network; they add up to 1.
        names: of the networks.
        images: number of pictures that the networks saw, for the model's card.
    """
    if not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise SystemExit(f"the shares add up to {sum(shares):g}, not 1")
    sources = [read_source(name) for name in names]
    largest = max(sources, key=lambda source: len(source.state))
    system = build_system(SETTINGS[largest.system]())
    system.generator.load_state_dict(mix_states(shares, [source.state for source in sources]))
    system.eval().requires_grad_(False)
    teachers = {kind for source in sources for kind in source.taught_by}
    return export.to_onnx(system, make_card(system, images, tuple(sorted(teachers))), half=True)


def make_card(system: System, images: int | None, taught_by: tuple[str, ...]) -> ModelCard:
    """Describe a mixture of networks that learned from the released models' pictures."""
    return ModelCard(
        system=system.name,
        size_rule=system.size_rule,
        trained_on=TRAINED_ON,
        licence=LICENCE,
        version=VERSION,
        images_seen=images,
        takes_noise=system.takes_noise,
        taught_by=taught_by,
    )


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, mix and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("parts", nargs="+", metavar="SHARE NETWORK", help="repeat both for each network")
    parser.add_argument("--images", type=int, help="pictures seen, for the model's card")
    options = parser.parse_args(arguments)
    shares, names = [float(text) for text in options.parts[::2]], options.parts[1::2]
    write_atomic(options.out, mix(shares, names, options.images))


if __name__ == "__main__":
    main()
