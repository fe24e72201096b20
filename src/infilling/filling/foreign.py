"""Networks that others made, as engines: what they take and give is brought to the contract of `Engine`."""

from pathlib import Path

import numpy as np

from infilling.errors import ModelError
from infilling.filling import models
from infilling.filling.contract import check_batch
from infilling.filling.families import CHANNELS, WORKING_SIZE, Family, find_families
from infilling.filling.network import METADATA_KEY, NetworkEngine, check_answer, check_side
from infilling.filling.session import Session
from infilling.pictures import mask as masks
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Array, Bools, Floats

PROBE_SIDE = 128
"""Side in pixels of the picture that a graph of any size is probed with."""
PROBE_COLOUR = (0.3, 0.45, 0.6)
"""Its one colour. All of it is in one half of each range, and no channel is like another."""
CLOSE = 0.15
"""A network that is understood gives a picture of one colour back with at most this error."""
PROBE_SECONDS = 60.0
"""Time for one answer to the probe."""
TYPES = {"float": np.float32, "float16": np.float16, "uint8": np.uint8}

Range = tuple[float, float]


def open_network(
    path: Path,
    *,
    name: str | None = None,
    threads: int | None = None,
    device: str = "auto",
    adapter: str | None = None,
    result: Range | None = None,
    external_data: bool = False,
) -> "NetworkEngine | ForeignEngine":
    """Open an ONNX file: one that `infill export` wrote, or one of a family that is known.

    Args:
        path: the file.
        name: what to call the engine; the file's stem if None.
        threads: threads for one call; see `Session`.
        device: where the network runs; see `Session`.
        adapter: name of its family; None recognises it.
        result: range of its answer; None finds it.
        external_data: take weights from files beside this one too, unless it is our own.

    Raises:
        ModelError: the file cannot be opened, or is of no known family.
        DependencyError: CUDA was ordered and this ONNX Runtime has none.
    """
    session = Session(path, threads=threads, device=device, external_data=external_data)
    if adapter is None and METADATA_KEY in session.metadata:
        return NetworkEngine(path, name=name, session=session)
    if adapter is None and (row := models.find_by_file(path)) is not None:
        adapter, result = row[1].adapter, row[1].result
    return ForeignEngine(session, name=name, adapter=adapter, result=result)


class ForeignEngine:
    """An engine that runs a network of one of the `FAMILIES`. Safe to call from several threads."""

    trained = True

    def __init__(
        self,
        session: Session,
        *,
        name: str | None = None,
        adapter: str | None = None,
        result: Range | None = None,
    ) -> None:
        """Recognise the network of an open file.

        Args:
            session: the open file.
            name: what to call the engine; the file's stem if None.
            adapter: name of its family; None recognises it.
            result: range of its answer, as the values of 0 and 1; None finds it.

        Raises:
            ModelError: it is of no family, of a size that cannot be used, or fails when it is probed.
        """
        self.session = session
        self.path: Path = session.path
        self.name = name or session.path.stem
        families = sorted(find_families(session, adapter), key=self._is_hinted, reverse=True)
        self.family, self.result = families[0], result or families[0].results[0]
        self.size_rule = _find_size_rule(session, self.family)
        if len(families) > 1 or (result is None and len(families[0].results) > 1):
            self.family, self.result = self._probe(families)
            self.size_rule = _find_size_rule(session, self.family)

    @property
    def device(self) -> str:
        """Where the network runs: `cpu` or `cuda`."""
        return self.session.device

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return self.session.digest

    def fill(self, image: Floats, mask: Floats) -> Floats:
        """Fill the holes; see `Engine.fill`. One picture is run at a time.

        Raises:
            InputError: the arrays are no batch, or not of the one size that this network takes.
            ModelError: the network fails, or gives something that is not a picture.
        """
        check_batch(image, mask)
        check_side(self.name, self.size_rule, image)
        pairs = zip(image, mask, strict=True)
        return np.stack([self._fill_one(one, hole[0] > 0) for one, hole in pairs])

    def _fill_one(self, image: Floats, hole: Bools) -> Floats:
        """Fill one picture (3, h, w); mirrored at its edges if it is below the least side."""
        height, width = hole.shape
        least = 1 if self.size_rule.fixed_size else self.family.least
        below = ((0, max(0, least - height)), (0, max(0, least - width)))
        image = np.pad(image, ((0, 0), *below), mode="symmetric")
        hole = np.pad(hole, below, mode="symmetric")
        answer = self._run(self.family, image, hole)
        low, high = self.result
        filled: Floats = np.clip((answer - low) / (high - low), 0, 1).astype(np.float32)
        return filled[:, :height, :width]

    def _run(self, family: Family, image: Floats, hole: Bools, seconds: float | None = None) -> Floats:
        """Return the raw answer (3, h, w) for one picture (3, h, w) in [0, 1]."""
        bound = family.bind(self.session)
        assert bound is not None  # it was found by that
        parts = _encode(family, image, hole)
        feed = {}
        for names, port in bound.items():
            planes = np.concatenate([parts[name] for name in names])[None]
            feed[port.name] = _cast(np.repeat(planes, port.shape[0] or 1, axis=0), TYPES[port.kind])
        output = self.session.outputs[family.output].name
        answer = self.session.run(feed, output, self.name, seconds=seconds)
        answer = answer[:1].astype(np.float32)
        check_answer(self.name, answer, image[None])
        raw: Floats = answer[0]
        return raw

    def _probe(self, families: list[Family]) -> tuple[Family, Range]:
        """Find the family and range by which a picture of one colour comes back as that colour.

        What is in the hole decides; of a network that fills with a fixed colour, the whole picture does.
        Where several fit, the first is taken.
        """
        side = self.session.inputs[0].shape[2] or PROBE_SIDE
        colour = np.array(PROBE_COLOUR, np.float32)[:, None, None]
        image = np.broadcast_to(colour, (3, side, side))
        hole = np.zeros((side, side), bool)
        hole[side // 8 : side // 3, side // 2 : side * 4 // 5] = True  # small, and off the centre
        answers = {family.name: self._run(family, image, hole, PROBE_SECONDS) for family in families}
        errors = {
            (family.name, result): _measure(answers[family.name], result, hole)
            for family in families
            for result in family.results
        }
        by_name = {family.name: family for family in families}
        for index in (0, 1):
            for (family_name, result), error in errors.items():
                if error[index] < CLOSE:
                    return by_name[family_name], result
        return _guess(families, answers)

    def _is_hinted(self, family: Family) -> bool:
        words = f"{self.path.stem} {self.session.outputs[0].name}".lower()
        return any(hint in words for hint in family.hints)


def _encode(family: Family, image: Floats, hole: Bools) -> dict[str, Floats]:
    """Return the parts of the inputs, (channels, h, w) each, in the family's own values."""
    low, high = family.pixels
    scaled = image * np.float32(high - low) + np.float32(low)
    if family.blank is not None:
        under = np.float32(family.blank)
    else:
        known = scaled[:, ~hole]
        under = known.mean(axis=1, keepdims=True)[..., None] if known.size else np.float32((low + high) / 2)
    wide = masks.grow(hole, family.grow)
    known_value, hole_value = map(np.float32, family.mask)
    return {
        "image": np.where(hole, under, scaled).astype(np.float32),
        "mask": np.where(hole if wide.all() else wide, hole_value, known_value)[None],
        "ones": np.ones((CHANNELS["ones"], *hole.shape), np.float32),
    }


def _cast(values: Floats, kind: type) -> Array:
    if kind is np.uint8:
        return np.rint(values).astype(np.uint8)
    return np.ascontiguousarray(values, dtype=kind)


def _measure(answer: Floats, result: Range, hole: Bools) -> tuple[float, float]:
    """Return the error of the probe's colour, in the hole and over the picture: worst channel's median."""
    low, high = result
    error = np.abs((answer - low) / (high - low) - np.array(PROBE_COLOUR)[:, None, None])
    inside = np.median(error[:, hole], axis=1).max()
    return float(inside), float(np.median(error, axis=(1, 2)).max())


def _guess(families: list[Family], answers: dict[str, Floats]) -> tuple[Family, Range]:
    """Choose by the values alone, for a network that does not give the colour back at all.

    Raises:
        ModelError: they are in no range of these families.
    """
    for family in families:
        answer = answers[family.name]
        for low, high in sorted(family.results, key=lambda result: result[1] - result[0]):
            margin = 0.05 * (high - low)
            if low - margin <= answer.min() and answer.max() <= high + margin:
                return family, (low, high)
    raise ModelError("its answer to a plain picture is in no known range: name its family with --adapter")


def _find_size_rule(session: Session, family: Family) -> SizeRule:
    """Return the sizes that a graph takes, from its shapes and its family.

    Raises:
        ModelError: it is fixed to a size that is not square.
    """
    height, width = session.inputs[0].shape[2:]
    if height is None or width is None:
        return SizeRule(multiple_of=family.multiple_of, working_size=WORKING_SIZE)
    if height != width:
        raise ModelError(f"{session.path} takes pictures of {width}×{height} only: it has to be a square")
    return SizeRule(fixed_size=height)
