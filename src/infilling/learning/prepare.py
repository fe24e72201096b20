"""Decodes every picture once: squares of one size in one memory-mapped file, under a key of the content.

CACHE/<key>/pixels.npy   (M, S, S, 3) uint8
CACHE/<key>/index.json   names, classes, what was left out
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import secrets
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from infilling.errors import DataError, InfillingError, StorageError
from infilling.learning import sources
from infilling.learning.fingerprint import digest_content
from infilling.learning.sources import Item, Skipped, Source
from infilling.machine import count_cores
from infilling.pictures import files
from infilling.storage import find_home

log = logging.getLogger(__name__)

FORMAT_VERSION = 1  # of the cache; whatever changes the prepared pixels adds one
CHUNK_BYTES = 64 << 20  # of prepared pictures held in memory while they are written
DRAFT_PIXELS = 40_000_000  # a larger JPEG is left to files.decode, which knows the limits
ABANDONED_S = 24 * 3600.0  # after which an unfinished preparation is nobody's

Decoded = tuple[NDArray[np.uint8], tuple[int, int]]
"""(side, side, 3) RGB, and the (height, width) that the picture has."""

Progress = Callable[[int, int], None]
"""Called with the number of pictures done, and of all."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Prepared pictures, or a part of them.

    Attributes:
        pixels: (M, S, S, 3) uint8, memory-mapped and read-only: all that were prepared together.
        rows: (N,) which of them these are.
        skipped: what was left out when they were prepared, and why.
        key: stands for the content of all M and their size.
        classes: names of the classes, sorted; pictures outside any folder have the class "".
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    skipped: tuple[Skipped, ...]
    key: str
    classes: tuple[str, ...]
    _names: Sequence[str]
    _labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """One picture, (S, S, 3)."""
        return np.array(self.pixels[self.rows[index]])

    @property
    def side(self) -> int:
        """Height and width, pixels."""
        return int(self.pixels.shape[1])

    @cached_property
    def names(self) -> list[str]:
        """The path of each picture inside its folder or shard."""
        return [self._names[row] for row in self.rows]

    @property
    def labels(self) -> NDArray[np.int32]:
        """(N,) the place of each picture's class in `classes`."""
        return self._labels[self.rows]

    def take(self, indices: NDArray[np.integer] | slice) -> Pictures:
        """Some of these pictures, in the order of the indices."""
        return dataclasses.replace(self, rows=self.rows[indices])


def open_pictures(
    paths: str | Path | Iterable[str | Path],
    image_size: int,
    *,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Pictures:
    """Opens pictures at one size: short side resized to it, the middle cut out. Decodes them only once ever.

    Pictures that cannot be read are left out, with one warning for all of them.

    Args:
        paths: folders, tar shards and IDX files, one or several.
        image_size: side, pixels.
        cache_dir: where prepared pictures are kept; None: `data` in the package's cache folder.
        workers: threads that decode; None: one per CPU.
        progress: told while pictures are decoded.

    Raises:
        DataError: nothing at a path, or no picture that can be read.
        StorageError: the cache cannot be written.
    """
    found = sources.find(paths)
    cache = find_cache(cache_dir)
    content = digest_content(found, cache / "known", workers or count_cores())
    key = hashlib.sha256(f"{FORMAT_VERSION} {image_size} {content}".encode()).hexdigest()[:32]
    pictures = _load(cache / key)
    if pictures is None:
        _prepare(found, image_size, cache / key, workers, progress)
        pictures = _load(cache / key)
    if pictures is None:
        raise StorageError(f"the pictures prepared in {cache / key} cannot be read back; delete that folder")
    if pictures.skipped:
        (name, reason), count = pictures.skipped[0], len(pictures.skipped)
        log.warning("left out %d of %d: first %s: %s", count, count + len(pictures), name, reason)
    return pictures


def decode(item: Item, side: int) -> Decoded:
    """Decodes one picture to its middle square.

    Raises:
        InfillingError: it cannot be read; one line that says why.
    """
    try:
        data = sources.read(item)
    except OSError as error:
        raise DataError(error.strerror or str(error)) from error
    if not data:
        raise DataError("the file is empty")
    if item.grey is not None:
        image, size = _pad_grey(data, *item.grey), item.grey
    else:
        image, size = _decode_jpeg(data, side) or _decode_any(data)
    # Resizing the middle square gives what resizing all and then cutting would. It lies on whole pixels: a
    # picture whose short side fits keeps its own.
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    square = (left, top, left + short, top + short)
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, square)), size


def decode_all(
    items: Sequence[Item], side: int, workers: int | None, progress: Progress | None
) -> Iterator[tuple[Item, Decoded | str]]:
    """Decodes pictures in order, on all CPUs: each with what `decode` returns, or the reason it cannot."""
    workers = workers or count_cores()
    chunk = max(workers, CHUNK_BYTES // (side * side * 3))
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders have much to say about odd headers
        for start in range(0, len(items), chunk):
            part = items[start : start + chunk]
            yield from zip(part, pool.map(partial(try_decode, side=side), part), strict=True)
            if progress:
                progress(start + len(part), len(items))


def try_decode(item: Item, side: int) -> Decoded | str:
    """Decodes one picture, or says in one line why that cannot be done."""
    try:
        return decode(item, side)
    except InfillingError as error:
        return str(error).removeprefix("picture: ")  # the name that decode gives to bytes
    except Exception as error:  # one file that trips a decoder in a new way must not end hours of work
        return f"{type(error).__name__}: {error}"


def _decode_jpeg(data: bytes, side: int) -> tuple[Image.Image, tuple[int, int]] | None:
    """The quick way for common JPEGs: the decoder halves large ones, to no less than twice the side."""
    if not data.startswith(b"\xff\xd8"):
        return None
    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            width, height = image.size
            if image.mode not in ("RGB", "L") or width * height > DRAFT_PIXELS:
                return None
            image.draft(image.mode, (2 * side, 2 * side))
            if "exif" in image.info and (turn := image.getexif().get(ExifTags.Base.Orientation, 1)) > 1:
                sideways = turn > 4
                size = (width, height) if sideways else (height, width)
                return ImageOps.exif_transpose(image).convert("RGB"), size
            return image.convert("RGB"), (height, width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # the careful way finds out what is wrong


def _decode_any(data: bytes) -> tuple[Image.Image, tuple[int, int]]:
    """Every other picture: 16 bits to 8, grey to RGB, alpha dropped."""
    pixels = files.decode(data).pixels
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    height, width, channels = pixels.shape
    return Image.fromarray(np.repeat(pixels, 3, axis=2) if channels == 1 else pixels), (height, width)


def _pad_grey(data: bytes, height: int, width: int) -> Image.Image:
    """Raw grey bytes, with black round them to a multiple of 32: MNIST's 28 become 32."""
    pixels = np.frombuffer(data, np.uint8).reshape(height, width)
    spare = [(-length) % 32 for length in (height, width)]
    padded = np.pad(pixels, [(space // 2, space - space // 2) for space in spare])
    return Image.fromarray(padded).convert("RGB")


def _prepare(
    found: Sequence[Source], side: int, target: Path, workers: int | None, progress: Progress | None
) -> None:
    """Decodes all into a folder of another name, then renames it; who comes second keeps the first's."""
    items, skipped = sources.list_items(found)
    log.info("preparing %d pictures at %d px in %s", len(items), side, target)
    unfinished = target.with_name(f"{target.name}.{secrets.token_hex(4)}.unfinished")
    try:
        unfinished.mkdir(parents=True)
        _clear_abandoned(target.parent)
        _check_space(target.parent, len(items) * side * side * 3)
        with (unfinished / "pixels.npy").open("wb") as file:
            good, bad = _write_pixels(file, items, side, workers, progress)
        _write_index(unfinished / "index.json", good, [*skipped, *bad])
        _publish(unfinished, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cannot keep prepared pictures in {target.parent}: {reason}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_pixels(
    file: BinaryIO, items: Sequence[Item], side: int, workers: int | None, progress: Progress | None
) -> tuple[list[Item], list[Skipped]]:
    """Writes the pictures that can be decoded as one .npy array, no more than a chunk of them in memory.

    Plain writes, not a memory map: on a full disk a write is an error, and a map kills the process.
    """
    good: list[Item] = []
    bad: list[Skipped] = []
    _write_header(file, len(items), side)
    for item, result in decode_all(items, side, workers, progress):
        if isinstance(result, str):
            bad.append(Skipped(item.name, result))
        else:
            good.append(item)
            file.write(np.ascontiguousarray(result[0]).data)
    if not good:
        raise DataError(f"none of {len(items)} pictures can be read: {bad[0].name}: {bad[0].reason}")
    file.seek(0)
    _write_header(file, len(good), side)
    file.flush()
    os.fsync(file.fileno())
    return good, bad


def _write_header(file: BinaryIO, count: int, side: int) -> None:
    """A .npy header; numpy leaves room in it for any count, so it can be written again in place."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
    )


def _write_index(path: Path, items: Sequence[Item], skipped: Sequence[Skipped]) -> None:
    classes = sorted({item.label for item in items})
    place = {label: index for index, label in enumerate(classes)}
    index = {
        "names": [item.name for item in items],
        "classes": classes,
        "labels": [place[item.label] for item in items],
        "skipped": skipped,
    }
    with path.open("w", encoding="utf-8") as file:
        json.dump(index, file)
        file.flush()
        os.fsync(file.fileno())


def _load(folder: Path) -> Pictures | None:
    """What was prepared in a folder; None if nothing was, or if it is damaged."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        if len(index["names"]) != len(pixels):
            return None
        return Pictures(
            pixels=pixels,
            rows=np.arange(len(pixels)),
            skipped=tuple(Skipped(*entry) for entry in index["skipped"]),
            key=folder.name,
            classes=tuple(index["classes"]),
            _names=index["names"],
            _labels=np.array(index["labels"], np.int32),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _publish(unfinished: Path, target: Path) -> None:
    """Renames a finished folder, unless another process was first."""
    try:
        unfinished.rename(target)
    except OSError:
        if _load(target):
            return
        if not target.exists():
            raise
        damaged = target.with_name(f"{unfinished.name}.damaged.unfinished")
        target.rename(damaged)
        unfinished.rename(target)
        shutil.rmtree(damaged, ignore_errors=True)


def _clear_abandoned(cache: Path) -> None:
    """Removes what killed processes left."""
    for folder in cache.glob("*.unfinished"):
        with suppress(FileNotFoundError):  # finished meanwhile
            newest = max((file.stat().st_mtime for file in folder.iterdir()), default=folder.stat().st_mtime)
            if time.time() - newest > ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"prepared pictures need {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free: "
            "choose another cache folder, fewer pictures or a smaller image_size"
        )


def find_cache(folder: str | Path | None) -> Path:
    """Return the folder of prepared pictures: the one named, else `data` in the package's cache folder."""
    return find_home() / "data" if folder is None else Path(folder).expanduser()
