"""Pictures prepared once for training: squares of one size in one file, under a key of their content.

CACHE/<key>/pixels.npy   (M, S, S, 3) uint8
CACHE/<key>/index.json   names, classes, what was left out
"""

import dataclasses
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pydantic
from numpy.typing import NDArray

from infilling.errors import StorageError
from infilling.learning.content_digest import digest_content
from infilling.learning.decoding import Progress, decode_items
from infilling.learning.picture_items import Item, Skipped, refuse_unreadable
from infilling.learning.picture_sources import Source, find_sources, list_items
from infilling.learning.pixel_file import PixelFile, write_pixel_file
from infilling.storage import (
    UNFINISHED,
    find_home,
    make_folder_whole,
    parse_json,
    require_room,
    write_through,
)

log = logging.getLogger(__name__)

FORMAT_VERSION = 1  # of the cache; whatever changes the prepared pixels adds one
ABANDONED_S = 24 * 3600.0  # age of an unfinished preparation that no process works on any more
PIXELS, INDEX = "pixels.npy", "index.json"


@dataclass(frozen=True, eq=False)
class Pictures:
    """Prepared pictures, or a part of them.

    Attributes:
        pixels: all that were prepared together, (M, S, S, 3) uint8: indexed by an array of rows.
        rows: (N,) which of them these are.
        skipped: what was left out when they were prepared, and why.
        key: stands for the content of all M and their size.
        classes: names of the classes, sorted; pictures outside any folder have the class "".
    """

    pixels: PixelFile | NDArray[np.uint8]
    rows: NDArray[np.int64]
    skipped: tuple[Skipped, ...]
    key: str
    classes: tuple[str, ...]
    _names: Sequence[str]
    _labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Return one picture, (S, S, 3)."""
        picture: NDArray[np.uint8] = self.read(np.array([index]))[0]
        return picture

    def read(self, indices: NDArray[np.integer] | slice = slice(None)) -> NDArray[np.uint8]:
        """Return some of these pictures, or all: (len(indices), S, S, 3).

        Raises:
            StorageError: they cannot be read any more.
        """
        pixels: NDArray[np.uint8] = self.pixels[self.rows[indices]]
        return pixels

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

    def take(self, indices: NDArray[np.integer] | slice) -> "Pictures":
        """Return some of these pictures, in the order of the indices."""
        return dataclasses.replace(self, rows=self.rows[indices])


def open_pictures(
    paths: str | Path | Iterable[str | Path],
    image_size: int,
    *,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Pictures:
    """Open pictures at one size: short side resized to it, the middle cut out; each is decoded only once.

    Pictures that cannot be read are left out, with one warning for all of them.

    Args:
        paths: folders, tar shards and IDX files, one or several.
        image_size: side, pixels.
        cache_dir: folder that keeps prepared pictures; None: `data` in the package's cache folder.
        workers: number of threads that decode; None: one for each CPU.
        progress: called while pictures are decoded.

    Raises:
        DataError: nothing at a path, or no picture that can be read.
        StorageError: the cache cannot be written.
    """
    found = find_sources(paths)
    cache = find_cache(cache_dir)
    content = digest_content(found, cache / "known", workers)
    key = hashlib.sha256(f"{FORMAT_VERSION} {image_size} {content}".encode()).hexdigest()[:32]
    folder = cache / key
    pictures = _load_pictures(folder)
    if pictures is None:
        if folder.exists():
            log.warning("the prepared pictures in %s are damaged: preparing them again", folder)
        _prepare_pictures(found, image_size, folder, workers, progress)
        pictures = _load_pictures(folder)
    if pictures is None:
        raise StorageError(f"cannot read back the pictures prepared in {folder}: delete that folder")
    if pictures.skipped:
        (name, reason), count = pictures.skipped[0], len(pictures.skipped)
        log.warning("left out %d of %d: first %s: %s", count, count + len(pictures), name, reason)
    return pictures


def _prepare_pictures(
    found: Sequence[Source], side: int, target: Path, workers: int | None, progress: Progress | None
) -> None:
    """Decode all into a folder of another name, then rename it; the first of several processes wins."""
    items, skipped = list_items(found)
    log.info("preparing %d pictures at %d px in %s", len(items), side, target)
    good: list[Item] = []

    def decode() -> Iterator[NDArray[np.uint8]]:
        for item, result in decode_items(items, side, workers, progress):
            if isinstance(result, str):
                skipped.append(Skipped(item.name, result))
            else:
                good.append(item)
                yield result[0]

    try:
        with make_folder_whole(target, f"cannot keep prepared pictures in {target.parent}") as unfinished:
            _clear_abandoned(target.parent)
            advice = "choose another cache folder, fewer pictures or a smaller image_size"
            require_room(target.parent, len(items) * side * side * 3, advice)
            with (unfinished / PIXELS).open("wb") as file:
                if not write_pixel_file(file, decode(), len(items), side):
                    raise refuse_unreadable(len(items), skipped)
            _write_index(unfinished / INDEX, good, skipped)
            if _load_pictures(target) is None:  # it is damaged
                shutil.rmtree(target, ignore_errors=True)
    except StorageError:
        if _load_pictures(target) is None:
            raise


class _Index(pydantic.BaseModel):
    """What `index.json` holds."""

    names: list[str]
    classes: list[str]
    labels: list[int]
    skipped: list[tuple[str, str]]


def _write_index(path: Path, items: Sequence[Item], skipped: Sequence[Skipped]) -> None:
    classes = sorted({item.label for item in items})
    place = {label: index for index, label in enumerate(classes)}
    index = {
        "names": [item.name for item in items],
        "classes": classes,
        "labels": [place[item.label] for item in items],
        "skipped": skipped,
    }
    with path.open("wb") as file:
        write_through(file, json.dumps(index).encode())


def _load_pictures(folder: Path) -> Pictures | None:
    """Return what was prepared in a folder, or None if nothing was or it is damaged."""
    try:
        index = _Index.model_validate(parse_json((folder / INDEX).read_text(encoding="utf-8")))
        pixels = PixelFile(folder / PIXELS)
        labels = np.array(index.labels, np.int32)
    except (OSError, ValueError, OverflowError):
        return None
    counts = {len(pixels), len(index.names), len(labels)}
    if counts != {len(labels)} or not np.all((labels >= 0) & (labels < len(index.classes))):
        return None
    return Pictures(
        pixels=pixels,
        rows=np.arange(len(pixels)),
        skipped=tuple(Skipped(*entry) for entry in index.skipped),
        key=folder.name,
        classes=tuple(index.classes),
        _names=index.names,
        _labels=labels,
    )


def _clear_abandoned(cache: Path) -> None:
    """Remove what killed processes left."""
    for folder in cache.glob(f"*{UNFINISHED}"):
        with suppress(FileNotFoundError):  # finished meanwhile
            newest = max((file.stat().st_mtime for file in folder.iterdir()), default=folder.stat().st_mtime)
            if time.time() - newest > ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)


def find_cache(folder: str | Path | None) -> Path:
    """Return the folder of prepared pictures: the one named, else `data` in the package's cache folder."""
    return find_home() / "data" if folder is None else Path(folder).expanduser()
