"""One process's share of an evaluation: its engines, its feature networks, its pictures, its sums."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from infilling.errors import DependencyError, InfillingError
from infilling.filling.pipeline import fill_picture
from infilling.judging import metrics
from infilling.judging.contenders import Contender, HoleSpec
from infilling.judging.metrics import METRICS, Sums
from infilling.judging.results import Failure, Judged, Left, Mask, Pixels
from infilling.learning import prepare
from infilling.learning.sources import Item
from infilling.pictures import holes
from infilling.pictures.holes import HoleMaker
from infilling.pictures.picture import Picture

Group = tuple[str, str, str]
"""An engine's label; "all", "bin" or "class"; which bin or class, "" for all."""

Vectors = dict[tuple[str, str], list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]]
"""(engine, metric) → a result's feature vector and its target's, picture by picture."""

SECONDS = "seconds"
"""Stands among a group's sums for the time that fills took."""

_PIXEL_METRICS = {name: metric for name, metric in METRICS.items() if metric.takes == "pixels"}


@dataclass(frozen=True)
class Plan:
    """All that a process needs to know to judge its share; `networks` maps kinds to weight files."""

    contenders: tuple[Contender, ...]
    networks: Mapping[str, tuple[str, ...]]
    holes: HoleSpec
    seed: int
    size: int
    threads: int
    device: str

    @cached_property
    def hole_maker(self) -> HoleMaker:
        """Makes the holes; found once, since a folder of masks takes long to list."""
        return holes.find(self.holes)


@dataclass
class Part:
    """What is known after some of the pictures. Parts of disjoint pictures add up.

    Attributes:
        seen: pictures looked at, those left out among them.
        sums: per group, metric → sums, with the seconds among them.
        digests: one per picture, of its pixels and its hole.
    """

    seen: int = 0
    judged: list[Judged] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    sums: dict[Group, dict[str, Sums]] = field(default_factory=dict)

    def add(self, other: "Part") -> None:
        """Adds another part to this one."""
        self.seen += other.seen
        self.judged += other.judged
        self.failures += other.failures
        self.left += other.left
        self.digests += other.digests
        for group, sums in other.sums.items():
            self.add_sums(group, sums)

    def fingerprint(self) -> str:
        """Stands for the pixels and the holes of all pictures, in whatever order they were judged."""
        return hashlib.sha256("".join(sorted(self.digests)).encode()).hexdigest()[:16]

    def add_sums(self, group: Group, sums: Mapping[str, Sums]) -> None:
        """Adds the sums of further pictures of a group."""
        known = self.sums.setdefault(group, {})
        for name, value in sums.items():
            known[name] = metrics.add(known.get(name, {}), value)


@dataclass
class _Look:
    """One picture as all engines left it, and what is known of that so far."""

    item: Item
    target: Pixels
    mask: Mask
    results: dict[str, Pixels] = field(default_factory=dict)
    sums: dict[str, dict[str, Sums]] = field(default_factory=dict)


class Judge:
    """Engines and feature networks, opened once per process."""

    def __init__(self, plan: Plan) -> None:
        """Opens them.

        Raises:
            ModelError: a feature file holds something else.
            DependencyError: there are feature files, and torch is not installed.
        """
        self.plan = plan
        able = [contender for contender in plan.contenders if contender.reason is None]
        self._engines = {contender.label: contender.open(plan.threads, plan.device) for contender in able}
        self._cold = set(self._engines)
        self._networks = {}
        if plan.networks:
            try:
                import torch

                from infilling.judging.networks import open_network
            except ImportError as error:
                reason = f"feature networks need {error.name}: pip install 'infilling[train]'"
                raise DependencyError(reason) from error
            torch.set_num_threads(plan.threads)
            self._networks = {kind: open_network(kind, files) for kind, files in plan.networks.items()}

    def judge(self, items: Sequence[Item]) -> Part:
        """Judges all engines on some pictures; what fails is written down and stops nothing."""
        part = Part(seen=len(items))
        vectors: Vectors = {}
        for item in items:
            opened = self.open_item(item)
            if isinstance(opened, Left):
                part.left.append(opened)
                continue
            look = _Look(item, *opened)
            part.digests.append(_digest(look.target, look.mask))
            for label in self._engines:
                result = self.try_fill(label, item.name, look.target, look.mask)
                if isinstance(result, Failure):
                    part.failures.append(result)
                    continue
                look.results[label], seconds = result
                judged = [look.results[label], look.target, look.mask]
                look.sums[label] = {name: metric.update(*judged) for name, metric in _PIXEL_METRICS.items()}
                look.sums[label][SECONDS] = metrics.fraction(seconds, 1)
            self._look_through_networks(look, vectors)
            _enter(part, look)
        # Fréchet sums are large matrices: made once for all of these pictures, and for no smaller group.
        for (label, name), pairs in vectors.items():
            of_results, of_targets = (np.stack(side) for side in zip(*pairs, strict=True))
            part.add_sums((label, "all", ""), {name: METRICS[name].update(of_results, of_targets, None)})
        return part

    def open_item(self, item: Item) -> tuple[Pixels, Mask] | Left:
        """Decodes a picture and makes its hole."""
        try:
            target, _ = prepare.decode(item, self.plan.size)
        except Exception as error:  # one file that trips a decoder in a new way must not end the rest
            return Left(item.name, _explain(error))
        return target, make_hole(self.plan, item.name)

    def try_fill(self, label: str, name: str, target: Pixels, mask: Mask) -> tuple[Pixels, float] | Failure:
        """Fills a picture as a user would; gives the result and the seconds it took.

        The very first fill of an engine is done twice, since what it loads then is not part of a fill.
        """
        hidden = target.copy()
        hidden[mask] = 0  # the answer
        picture, engine = Picture(hidden), self._engines[label]
        try:
            if label in self._cold:
                self._cold.discard(label)
                fill_picture(picture, mask, engine)
            start = time.perf_counter()
            result = fill_picture(picture, mask, engine)
            return result.pixels.astype(np.uint8), time.perf_counter() - start
        except Exception as error:  # whatever one engine does on one picture, the others go on
            return Failure(label, name, _explain(error))

    def _look_through_networks(self, look: _Look, vectors: Vectors) -> None:
        """Adds what feature networks see; vectors are put by until there are many of them."""
        if not look.results:
            return
        for kind, embed in self._networks.items():
            seen = embed(np.stack([look.target, *look.results.values()]))
            for name, metric in METRICS.items():
                for place, label in enumerate(look.results if metric.network == kind else (), 1):
                    if metric.takes == "maps":
                        result, target = ([layer[i : i + 1] for layer in seen.maps] for i in (place, 0))
                        look.sums[label][name] = metric.update(result, target, None)
                    elif seen.vectors is not None:
                        pair = (seen.vectors[place], seen.vectors[0])
                        vectors.setdefault((label, name), []).append(pair)


def make_hole(plan: Plan, name: str) -> Mask:
    """Makes the hole of a picture, which follows from kind of holes, seed, name and size alone."""
    digest = hashlib.sha256(name.encode()).digest()
    rng = np.random.default_rng([plan.seed, int.from_bytes(digest[:8])])
    mask: Mask = plan.hole_maker(rng, 1, plan.size, plan.size)[0]
    return mask


def _explain(error: Exception) -> str:
    """One line; ours are said in words that need no type."""
    line = " ".join(str(error).split())
    return line if isinstance(error, InfillingError) else f"{type(error).__name__}: {line}"


def _digest(target: Pixels, mask: Mask) -> str:
    return hashlib.sha256(target.tobytes() + np.packbits(mask).tobytes()).hexdigest()


def _enter(part: Part, look: _Look) -> None:
    """Enters a picture's figures: on its own, and in the sums of all, of its area bin and of its class."""
    area_bin = holes.area_bin(look.mask)
    for label, sums in look.sums.items():
        values = {name: METRICS[name].compute(value) for name, value in sums.items() if name != SECONDS}
        part.judged.append(
            Judged(
                engine=label,
                name=look.item.name,
                group=look.item.label,
                area=float(look.mask.mean()),
                area_bin=area_bin,
                seconds=float(sums[SECONDS]["numerator"][0]),
                values=values,
            )
        )
        for group in ((label, "all", ""), (label, "bin", area_bin), (label, "class", look.item.label)):
            part.add_sums(group, sums)
