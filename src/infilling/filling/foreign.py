"""Networks that others made, as engines: what they take and give is brought to the contract of `Engine`."""

from pathlib import Path

import numpy as np

from infilling.errors import ModelError, warn
from infilling.filling import models
from infilling.filling.contract import check_batch
from infilling.filling.families import (
    CHANNELS,
    FAMILIES,
    WORKING_SIZE,
    Family,
    Range,
    find_families,
    is_picture,
)
from infilling.filling.network import METADATA_KEY, FileEngine, NetworkEngine, check_answer, check_side
from infilling.filling.probe import find_reading
from infilling.filling.session import Session
from infilling.pictures import mask as masks
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Array, Bools, Floats

LEAST_SIDE, MOST_SIDE = 8, 4096  # px, of a network that takes one size
TYPES = {"float": np.float32, "float16": np.float16, "uint8": np.uint8}


def open_network(
    path: Path,
    *,
    content: bytes | None = None,
    name: str | None = None,
    threads: int | None = None,
    device: str = "auto",
    adapter: str | None = None,
    model: models.Model | None = None,
    external_data: bool = False,
) -> "NetworkEngine | ForeignEngine":
    """Open an ONNX file: one that `infill export` wrote, or one of a family that is known.

    Args:
        path: the file.
        content: its bytes, if they have been read; see `Session`.
        name: what to call the engine; the file's stem if None.
        threads: threads for one call; see `Session`.
        device: where the network runs; see `Session`.
        adapter: name of its family; None recognises it.
        model: its row in the table of models; None looks for it.
        external_data: take weights from files beside this one too, unless it is our own.

    Raises:
        ModelError: the file cannot be opened, or is of no known family.
        DependencyError: CUDA was ordered and this ONNX Runtime has none.
    """
    is_ours = model is not None and model.adapter is None
    session = Session(
        path, content, threads=threads, device=device, external_data=external_data, simplified=is_ours
    )
    if adapter is None and METADATA_KEY in session.metadata:
        return NetworkEngine(path, name=name, session=session)
    if model is None and adapter is None:
        model = models.find_by_file(path)
    if model is None or model.adapter is None:
        return ForeignEngine(session, name=name, adapter=adapter)
    result = model.result or FAMILIES[model.adapter].results[0]
    return ForeignEngine(session, name=name, adapter=model.adapter, result=result)


class ForeignEngine(FileEngine):
    """An engine that runs a network of one of the `FAMILIES`.

    Attributes:
        doubt: what speaks against the family that it was taken for; empty where nothing does.
    """

    doubt = ""

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
            result: range of its answer, as the values of 0 and 1, where all is known; None asks the network.

        Raises:
            ModelError: it is of no family, of a size that cannot be used, or fails when it is probed.
        """
        super().__init__(session, name)
        families = sorted(find_families(session, adapter), key=self._rank, reverse=True)
        self.family = families[0] if result else self._find_reading(families, adapter)
        self.result = result or self.family.results[0]
        self.size_rule = _find_size_rule(session, self.family)

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
            batch = np.broadcast_to(planes, (port.shape[0] or 1, *planes.shape[1:]))
            feed[port.name] = _cast(batch, TYPES[port.kind])
        output = family.find_answer(self.session).name
        answer = self.session.run(feed, output, self.name, seconds=seconds)
        answer = answer[:1].astype(np.float32)
        check_answer(self.name, answer, image[None])
        raw: Floats = answer[0]
        return raw

    def _find_reading(self, families: list[Family], adapter: str | None) -> Family:
        """Find the family and the values by which a plain picture comes back as it is; see `find_reading`."""
        trusted = [family.name for family in families if adapter or self._is_hinted(family)]
        fixed = _find_size_rule(self.session, families[0]).fixed_size
        found = find_reading(
            families,
            fixed,
            self._run,
            name=str(self.path),
            trusted=trusted,
            deadline=self.session.deadline,
        )
        if adapter:
            return found.reading
        pictures = [port.name for port in self.session.outputs if is_picture(port)]
        if found.is_doubtful:
            others = "".join(f", or take --adapter {name}" for name in found.others)
            self.doubt = (
                f"{self.name} does not give a plain picture back: it is taken for {found.reading.name}; "
                f"look at what it fills{others}"
            )
        elif len(pictures) > 1 and not found.reading.output:
            self.doubt = f"of the pictures that {self.name} gives ({', '.join(pictures)}) the first is taken"
        if self.doubt:
            warn(self.doubt)
        return found.reading

    def _rank(self, family: Family) -> tuple[bool, bool]:
        """Return what speaks for a family, where several fit: names, and whether its sides are open."""
        is_open = self.session.inputs[0].shape[2] is None
        return self._is_hinted(family), family.open_sides in (None, is_open)

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
        under = (
            known.mean(axis=1, keepdims=True, dtype=np.float64)[..., None]
            if known.size
            else np.float32((low + high) / 2)
        )
    wide = masks.grow(hole, family.grow)
    known_value, hole_value = map(np.float32, family.masks[0])
    return {
        "image": np.where(hole, under, scaled).astype(np.float32),
        "mask": np.where(hole if wide.all() else wide, hole_value, known_value)[None],
        "ones": np.ones((CHANNELS["ones"], *hole.shape), np.float32),
    }


def _cast(values: Floats, kind: type) -> Array:
    if kind is np.uint8:
        return np.rint(values).astype(np.uint8)
    return np.ascontiguousarray(values, dtype=kind)


def _find_size_rule(session: Session, family: Family) -> SizeRule:
    """Return the sizes that a graph takes, from its shapes and its family.

    Raises:
        ModelError: it is fixed to a size that is not square, or too small or large to be filled.
    """
    height, width = session.inputs[0].shape[2:]
    if height is None or width is None:
        return SizeRule(multiple_of=family.multiple_of, working_size=WORKING_SIZE)
    if height != width or not LEAST_SIDE <= height <= MOST_SIDE:
        raise ModelError(
            f"{session.path} takes pictures of {width}×{height} only: "
            f"it has to be a square with sides of {LEAST_SIDE} to {MOST_SIDE:,} px"
        )
    return SizeRule(fixed_size=height)
