"""One process's share of an evaluation: its engines, its feature networks, its pictures, its sums."""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from infilling.errors import InfillingError, describe_error
from infilling.filling.contract import require_torch
from infilling.filling.pipeline import fill_picture
from infilling.judging import metrics
from infilling.judging.engines import JudgedEngine
from infilling.judging.metrics import METRICS, Sums
from infilling.judging.results import Failure, Judged, Pixels
from infilling.judging.settings import EvaluationSettings
from infilling.learning.decoding import try_decode
from infilling.learning.picture_items import Item, Skipped
from infilling.pictures import holes
from infilling.pictures.mask import Mask
from infilling.pictures.picture import Array, Picture

Group = tuple[str, str, str]  # label of an engine; "all", "bin" or "class"; which bin or class, "" for all
# (engine, metric) → feature vectors of a result and of its target, one pair per picture
Vectors = dict[tuple[str, str], list[tuple[Array, Array]]]

SECONDS = "seconds"  # key of the durations of fills among a group's sums


@dataclass
class Part:
    """What is known after some of the pictures. Parts of disjoint pictures add up.

    Attributes:
        seen: number of pictures, those that could not be read among them.
        judged: figures of each engine on each picture.
        failures: pictures that an engine did not fill.
        left: pictures that could not be read.
        digests: one per picture, of its pixels and its hole.
        sums: per group, metric → sums, the durations among them.
    """

    seen: int = 0
    judged: list[Judged] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left: list[Skipped] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    sums: dict[Group, dict[str, Sums]] = field(default_factory=dict)

    def add(self, other: "Part") -> None:
        """Add another part to this one."""
        self.seen += other.seen
        self.judged += other.judged
        self.failures += other.failures
        self.left += other.left
        self.digests += other.digests
        for group, sums in other.sums.items():
            self.add_sums(group, sums)

    def fingerprint(self) -> str:
        """Return a digest of the pixels and holes of all pictures, whatever the order they were judged in."""
        return hashlib.sha256("".join(sorted(self.digests)).encode()).hexdigest()[:16]

    def list_failures(self, label: str) -> list[Failure]:
        """Return what an engine failed on."""
        return [failure for failure in self.failures if failure.engine == label]

    def get_sums(self, label: str) -> Mapping[str, Sums]:
        """Return an engine's sums over all pictures; empty where it filled none."""
        return self.sums.get((label, "all", ""), {})

    def add_sums(self, group: Group, sums: Mapping[str, Sums]) -> None:
        """Add the sums of further pictures of a group."""
        known = self.sums.setdefault(group, {})
        for name, value in sums.items():
            known[name] = metrics.add_sums(known.get(name, {}), value)


@dataclass
class _Filled:
    """One picture as all engines filled it, and the sums of each engine so far."""

    item: Item
    target: Pixels
    mask: Mask
    results: dict[str, Pixels] = field(default_factory=dict)
    sums: dict[str, dict[str, Sums]] = field(default_factory=dict)


class Judge:
    """The engines that have no reason against them, and the feature networks, opened once per process.

    Raises:
        ModelError: a feature file holds something else.
        DependencyError: there are feature files, and torch is not installed.
    """

    def __init__(self, settings: EvaluationSettings, engines: Sequence[JudgedEngine] = ()) -> None:
        self.settings, self.engines = settings, tuple(engines)
        able = [engine for engine in engines if engine.reason is None]
        self._engines = {each.label: each.open(settings) for each in able}
        self._cold = set(self._engines)
        self._networks: Mapping[str, Any] = {}
        if settings.networks:
            self._networks = import_networks().open_networks(settings.networks, settings.threads_each)

    def judge(self, items: Sequence[Item]) -> Part:
        """Judge all engines on some pictures; failures are recorded, and the others continue."""
        part = Part(seen=len(items))
        vectors: Vectors = {}
        for item in items:
            opened = self.open_item(item)
            if isinstance(opened, Skipped):
                part.left.append(opened)
                continue
            filled = _Filled(item, *opened)
            part.digests.append(_digest_picture(filled.target, filled.mask))
            part.failures += self._fill_by_all(filled)
            if filled.results:
                self._add_features(filled, vectors)
            _add_picture(part, filled)
        # Fréchet sums are large matrices: computed once for all of these pictures, and for no smaller group.
        for (label, name), pairs in vectors.items():
            of_results, of_targets = (np.stack(side) for side in zip(*pairs, strict=True))
            part.add_sums((label, "all", ""), {name: METRICS[name].update(of_results, of_targets, None)})
        return part

    def open_item(self, item: Item) -> tuple[Pixels, Mask] | Skipped:
        """Decode a picture and make its hole."""
        decoded = try_decode(item, self.settings.size)
        if isinstance(decoded, str):
            return Skipped(item.name, decoded)
        return decoded[0], make_hole(self.settings, item.name)

    def open_named(self, items: Iterable[Item], names: Iterable[str]) -> dict[str, tuple[Pixels, Mask]]:
        """Open some of the pictures by name; those that cannot be read are left out."""
        by_name = {item.name: item for item in items}
        opened = {name: self.open_item(by_name[name]) for name in names}
        return {name: each for name, each in opened.items() if not isinstance(each, Skipped)}

    def try_fill(self, label: str, name: str, target: Pixels, mask: Mask) -> tuple[Pixels, float] | Failure:
        """Fill a picture as a user would.

        The first fill of an engine is done twice: the time that it takes to load is not part of a fill.

        Args:
            label: label of the engine.
            name: name of the picture.
            target: (H, W, 3) uint8, the original; the engine does not see what the hole hides.
            mask: (H, W), True = hole.

        Returns:
            The result and the seconds it took, or why there is none.
        """
        hidden = target.copy()
        hidden[mask] = 0
        picture, engine = Picture(hidden), self._engines[label]
        try:
            if label in self._cold:
                self._cold.discard(label)
                fill_picture(picture, mask, engine)
            start = time.perf_counter()
            result = fill_picture(picture, mask, engine)
            return result.pixels.astype(np.uint8), time.perf_counter() - start
        except Exception as error:  # whatever one engine does on one picture, the others continue
            return Failure(label, name, _describe_error(error))

    def fill_again(self, labels: Iterable[str], name: str, target: Pixels, mask: Mask) -> dict[str, Pixels]:
        """Fill a picture to show it: label → result; engines that fail are left out."""
        fills = {label: self.try_fill(label, name, target, mask) for label in labels}
        return {label: fill[0] for label, fill in fills.items() if not isinstance(fill, Failure)}

    def _fill_by_all(self, filled: _Filled) -> list[Failure]:
        """Fill a picture by every engine, and compute the figures of its pixels."""
        failures = []
        for label in self._engines:
            result = self.try_fill(label, filled.item.name, filled.target, filled.mask)
            if isinstance(result, Failure):
                failures.append(result)
                continue
            pixels, seconds = result
            filled.results[label] = pixels
            filled.sums[label] = {
                name: metric.update(pixels, filled.target, filled.mask)
                for name, metric in metrics.select_metrics("pixels").items()
            }
            filled.sums[label][SECONDS] = metrics.fraction(seconds, 1)
        return failures

    def _add_features(self, filled: _Filled, vectors: Vectors) -> None:
        """Add the figures of feature networks; vectors are buffered until there are many of them."""
        pictures = np.stack([filled.target, *filled.results.values()])
        for kind, embed in self._networks.items():
            target, *results = embed(pictures).split()
            for label, result in zip(filled.results, results, strict=True):
                for name, metric in metrics.select_metrics("maps", kind).items():
                    filled.sums[label][name] = metric.update(result.maps, target.maps, None)
                for name in metrics.select_metrics("vectors", kind):
                    vectors.setdefault((label, name), []).append((result.vector, target.vector))


def import_networks() -> ModuleType:
    """Import the module of the feature networks, which loads torch.

    Raises:
        DependencyError: torch is not installed.
    """
    require_torch("a feature network")
    from infilling.judging import networks

    return networks


def make_hole(settings: EvaluationSettings, name: str) -> Mask:
    """Make the hole of a picture, which depends on the kind of holes, seed, name and size alone."""
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
    rng = np.random.default_rng([settings.seed, int.from_bytes(digest[:8])])
    mask: Mask = settings.hole_maker(rng, 1, settings.size, settings.size)[0]
    return mask


def _describe_error(error: Exception) -> str:
    """Return an error in one line, with its type unless it is one of ours."""
    line = describe_error(error)
    return line if isinstance(error, InfillingError) else f"{type(error).__name__}: {line}"


def _digest_picture(target: Pixels, mask: Mask) -> str:
    return hashlib.sha256(target.tobytes() + np.packbits(mask).tobytes()).hexdigest()


def _add_picture(part: Part, filled: _Filled) -> None:
    """Add a picture's figures: by itself, and to the sums of all, of its area bin and of its class."""
    area_bin = holes.area_bin(filled.mask)
    for label, sums in filled.sums.items():
        values, terms = {}, {}
        for name in metrics.sort_metrics(sums):
            metric, value = METRICS[name], sums[name]
            values[name] = metric.compute(value)
            if value and metric.compute is metrics.ratio:
                terms[name] = metrics.get_terms(value)
        part.judged.append(
            Judged(
                engine=label,
                name=filled.item.name,
                group=filled.item.label,
                area=float(filled.mask.mean()),
                area_bin=area_bin,
                seconds=float(sums[SECONDS]["numerator"][0]),
                values=values,
                terms=terms,
            )
        )
        for group in ((label, "all", ""), (label, "bin", area_bin), (label, "class", filled.item.label)):
            part.add_sums(group, sums)
