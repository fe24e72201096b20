"""Batches of pictures with a mask each: drawn by seed, resumable from one number, the same on every device.

files  -> open_pictures -> split -> Shuffled -> Batches -> MaskedBatch
shards -> ShardedPictures        -> Stream   -> Batches -> MaskedBatch
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from infilling.errors import DataError
from infilling.learning.prepare import Pictures, open_pictures
from infilling.learning.stream import ShardedPictures, Stream
from infilling.pictures.holes import HoleMaker, find

__all__ = ["Augmentation", "Batches", "Holes", "MaskedBatch", "Pictures", "open_pictures", "split", "upload"]

log = logging.getLogger(__name__)

Crop = Literal["center", "random"]

POOL_CHUNK = 512  # masks made at once before they are packed: 8 MiB at 128 px
BITS = torch.from_numpy(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)).float()  # of a byte
UPLOAD_CHUNK = 4096  # pictures copied to the device at once
DEVICE_SHARE = 0.5  # of the device's free memory that pictures may take


class MaskedBatch(NamedTuple):
    """What one step learns from.

    Attributes:
        image: (N, 3, H, W) float32 in [0, 1].
        mask: (N, 1, H, W) float32, 1 = hole, 0 = known; a mask of its own for every picture.
    """

    image: Tensor
    mask: Tensor


def halve(batch: MaskedBatch) -> MaskedBatch:
    """Reduces pictures and masks to half the side; what half covers is hole."""
    layout = torch.channels_last if batch.image.is_contiguous(memory_format=torch.channels_last) else None
    image = F.avg_pool2d(batch.image, 2).contiguous(memory_format=layout or torch.contiguous_format)
    return MaskedBatch(image, (F.avg_pool2d(batch.mask, 2) >= 0.5).float())


@dataclass(frozen=True)
class Augmentation:
    """How a picture varies from epoch to epoch.

    Attributes:
        crop: where the square of `image_size` is cut from a prepared picture that is larger.
        flip: mirror every other picture left to right.
        zoom: enlarge a random part of that square by a factor drawn evenly from 1 to this.
    """

    crop: Crop = "center"
    flip: bool = False
    zoom: float = 1.0


PLAIN = Augmentation()


@dataclass(frozen=True)
class Holes:
    """Which holes are made, and how many different ones.

    Attributes:
        kind: a hole maker's name, a mix ("0.4 block + 0.6 freeform"), or a folder of masks.
        min_area, max_area: limits of a hole's share of the picture, in [0, 1].
        pool: how many are made once, to be drawn from and turned over at random; 0: new ones for every batch.
    """

    kind: str | Mapping[str, float] = "block"
    min_area: float | None = None
    max_area: float | None = None
    pool: int = 0

    def make(self, rng: np.random.Generator, count: int, side: int) -> NDArray[np.bool_]:
        """Makes new masks, (count, side, side), True = hole."""
        return self._maker(rng, count, side, side)

    @cached_property
    def _maker(self) -> HoleMaker:
        """Found once, since a folder of masks takes long to list and to read."""
        return find(self.kind, min_area=self.min_area, max_area=self.max_area)


def split(pictures: Pictures, share: float, seed: int = 0) -> tuple[Pictures, Pictures]:
    """Parts pictures into (train, validation) by a hash of each name, so that new pictures move no old one.

    Args:
        pictures: what to part.
        share: of the pictures, on average, that validation gets, in [0, 1). Above 0 no part stays empty.
        seed: another seed, another part.

    Raises:
        DataError: a share outside [0, 1), or a single picture to part.
    """
    if not 0 <= share < 1:
        raise DataError(f"a validation share must be at least 0 and below 1, not {share}")
    if share > 0 and len(pictures) < 2:
        raise DataError("one picture cannot be parted: add pictures, or set the validation share to 0")
    place = np.fromiter((_hash(seed, name) for name in pictures.names), np.float64, len(pictures))
    validation = place < share
    if share > 0:
        validation[place.argmin()] = True
        validation[place.argmax()] = False
    return pictures.take(np.flatnonzero(~validation)), pictures.take(np.flatnonzero(validation))


def _hash(seed: int, name: str) -> float:
    """A number in [0, 1) that looks random and depends on nothing else."""
    digest = blake2b(f"{seed} {name}".encode(errors="surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest) / 2.0**48


def upload(pictures: Pictures, device: torch.device | str) -> tuple[Tensor, NDArray[np.int64]]:
    """Puts the pictures where batches are made from, on the device if they leave half of its free memory.

    Returns:
        The pixels (M, S, S, 3) uint8, on the device or, memory-mapped, on the CPU; and each picture's row.
    """
    device = torch.device(device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to it
        mapped = torch.from_numpy(pictures.pixels)
    size = len(pictures) * mapped[0].numel()
    if device.type != "cuda" or size > DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return mapped, pictures.rows
    resident = torch.empty((len(pictures), *mapped.shape[1:]), dtype=torch.uint8, device=device)
    for start in range(0, len(pictures), UPLOAD_CHUNK):
        rows = torch.from_numpy(pictures.rows[start : start + UPLOAD_CHUNK])
        resident[start : start + len(rows)] = mapped.index_select(0, rows).to(device)
    return resident, np.arange(len(pictures))


class Row(Protocol):
    """An endless row of pictures: epoch after epoch, each in a new order."""

    def draw(self, start: int, count: int, mine: slice) -> NDArray[np.uint8] | Tensor:
        """Of `count` pictures from a place of the row on those that are `mine`: (N, S, S, 3) uint8."""
        ...

    def close(self) -> None:
        """Ends what works ahead."""
        ...


class Shuffled:
    """The endless row of prepared pictures.

    Args:
        pictures: which.
        seed: another seed, another order.
        device: where they are kept, if they fit.
    """

    def __init__(self, pictures: Pictures, seed: int, device: torch.device | str) -> None:
        self._seed = seed
        self._pixels, self._rows = upload(pictures, device)
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def draw(self, start: int, count: int, mine: slice) -> Tensor:
        """As `Row`."""
        rows = torch.from_numpy(self._draw_rows(start + mine.start, mine.stop - mine.start))
        return self._pixels.index_select(0, rows.to(self._pixels.device))

    def close(self) -> None:
        """Nothing works ahead."""

    def _draw_rows(self, start: int, count: int) -> NDArray[np.int64]:
        """Where the pictures at a place of the row are kept."""
        parts = []
        while count > 0:
            epoch, offset = divmod(start, len(self._rows))
            if epoch != self._epoch:
                rng = np.random.default_rng((self._seed, 2, epoch))
                self._epoch, self._order = epoch, rng.permutation(self._rows)
            parts.append(self._order[offset : offset + count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts)


class Batches:
    """An endless stream of batches. Every epoch shows every picture once, in a new order.

    All that is random follows from the seed and the position, which is the number of pictures drawn so far
    by all ranks together: the state is that one number, and to stop, resume or draw ahead changes nothing.
    Random numbers are drawn on the CPU for the batch of all ranks, and each rank takes its slice: two ranks
    of 16 see what one rank of 32 sees.

    Args:
        pictures: prepared, or to be decoded, at `image_size` or larger.
        holes: which holes.
        image_size: side of the batches' pictures, pixels; None: as prepared.
        augmentation: how pictures vary.
        seed: not negative.
        rank, world: which process this is, among how many.
        device: where batches are made. The pool of masks is kept there, and the pictures when they fit.
        channels_last: memory layout of the images.

    Raises:
        DataError: no pictures, or pictures prepared smaller than `image_size`.
    """

    def __init__(
        self,
        pictures: Pictures | ShardedPictures,
        holes: Holes,
        *,
        image_size: int | None = None,
        augmentation: Augmentation = PLAIN,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
    ) -> None:
        if not len(pictures):
            raise DataError("there are no pictures to draw batches from")
        self.image_size = image_size or pictures.side
        if self.image_size > pictures.side:
            raise DataError(f"pictures prepared at {pictures.side} px are too small for {self.image_size} px")
        self._seed, self._rank, self._world = seed, rank, world
        self._position, self._count, self._key = 0, len(pictures), pictures.key
        self._augmentation, self._holes = augmentation, holes
        self._device = torch.device(device)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._row: Row = (
            Stream(pictures, seed)
            if isinstance(pictures, ShardedPictures)
            else Shuffled(pictures, seed, device)
        )
        self._pool = _make_pool(holes, self._rng(0), self.image_size).to(device) if holes.pool else None

    def next(self, count: int) -> MaskedBatch:
        """Draws this rank's next `count` pictures; every rank must ask for as many."""
        total = count * self._world
        mine = slice(self._rank * count, (self._rank + 1) * count)
        rng = self._rng(1, self._position)
        draws = _Draws(*rng.random((len(_Draws._fields), total))[:, mine])
        if self._pool is None:
            made = self._holes.make(rng, total, self.image_size)[mine, None]
            mask = torch.from_numpy(made).to(self._device).float()
        else:
            mask = _take_masks(self._pool, draws, self.image_size)
        image = self._take_images(total, mine, draws)
        self._position += total
        return MaskedBatch(image, mask)

    def close(self) -> None:
        """Ends what works ahead."""
        self._row.close()

    @property
    def epoch(self) -> float:
        """Epochs drawn so far by all ranks together."""
        return self._position / self._count

    def state(self) -> dict[str, int | str]:
        """All that `restore` needs, as JSON can hold it."""
        return {"position": self._position, "seed": self._seed, "count": self._count, "key": self._key}

    def restore(self, state: Mapping[str, int | str]) -> None:
        """Goes on where another stream of the same pictures and seed stood.

        Raises:
            DataError: the state is of another seed. Other pictures are only warned of.
        """
        if state["seed"] != self._seed:
            raise DataError(
                f"cannot go on with seed {self._seed}: the run was begun with seed {state['seed']}"
            )
        if (state["count"], state["key"]) != (self._count, self._key):
            log.warning("the pictures changed since this run was begun: it goes on, but not as it would have")
        self._position = int(state["position"])

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, *purpose))

    def _take_images(self, count: int, mine: slice, draws: _Draws) -> Tensor:
        """This rank's part of the next pictures, varied: (N, 3, S, S) in [0, 1]."""
        pixels = torch.as_tensor(self._row.draw(self._position, count, mine), device=self._device)
        pixels = _cut(pixels, self.image_size, draws if self._augmentation.crop == "random" else None)
        if self._augmentation.flip:
            pixels = _mirror(pixels, draws.flip, dim=2)
        image = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=self._format)
        # The divisor is a tensor: by a Python number CUDA multiplies with the reciprocal, another last bit.
        image.div_(torch.tensor(255.0, device=self._device))
        if self._augmentation.zoom > 1:
            image = _zoom(image, self._augmentation.zoom, draws).contiguous(memory_format=self._format)
        return image


class _Draws(NamedTuple):
    """The random numbers of a batch, each (N,) in [0, 1). All are always drawn: no option moves another's."""

    flip: NDArray[np.float64]
    crop_y: NDArray[np.float64]
    crop_x: NDArray[np.float64]
    zoom: NDArray[np.float64]
    zoom_y: NDArray[np.float64]
    zoom_x: NDArray[np.float64]
    mask: NDArray[np.float64]
    mask_flip_y: NDArray[np.float64]
    mask_flip_x: NDArray[np.float64]


def _make_pool(holes: Holes, rng: np.random.Generator, side: int) -> Tensor:
    """Makes a pool of masks, eight pixels to the byte: (P, ceil(S * S / 8)) uint8."""
    starts = range(0, holes.pool, POOL_CHUNK)
    chunks = (holes.make(rng, min(POOL_CHUNK, holes.pool - start), side) for start in starts)
    packed = [np.packbits(chunk.reshape(len(chunk), -1), axis=1) for chunk in chunks]
    return torch.from_numpy(np.concatenate(packed))


def _take_masks(pool: Tensor, draws: _Draws, side: int) -> Tensor:
    """Takes masks from the pool and turns them over: (N, 1, S, S) float32."""
    rows = torch.from_numpy((draws.mask * len(pool)).astype(np.int64)).to(pool.device)
    bits = F.embedding(pool.index_select(0, rows).int(), BITS.to(pool.device))
    mask = bits.flatten(1)[:, : side * side].reshape(-1, 1, side, side)
    return _mirror(_mirror(mask, draws.mask_flip_y, dim=2), draws.mask_flip_x, dim=3)


def _mirror(batch: Tensor, draw: NDArray[np.float64], dim: int) -> Tensor:
    """Turns over, in place, those whose draw is under one half."""
    chosen = torch.from_numpy(np.flatnonzero(draw < 0.5)).to(batch.device)
    return batch.index_copy_(0, chosen, batch.index_select(0, chosen).flip(dim))


def _cut(pixels: Tensor, side: int, draws: _Draws | None) -> Tensor:
    """Cuts a square of `side` from each of (N, S, S, C): at the drawn place, or the middle one."""
    spare = pixels.shape[1] - side
    if spare == 0:
        return pixels
    if draws is None:
        return pixels[:, spare // 2 : spare // 2 + side, spare // 2 : spare // 2 + side]
    reach = np.arange(side)
    rows = (draws.crop_y[:, None] * (spare + 1)).astype(np.int64) + reach
    columns = (draws.crop_x[:, None] * (spare + 1)).astype(np.int64) + reach
    which = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    y, x = (torch.from_numpy(index).to(pixels.device) for index in (rows, columns))
    return pixels[which, y[:, :, None], x[:, None, :]]


def _zoom(image: Tensor, most: float, draws: _Draws) -> Tensor:
    """Enlarges a drawn part of each picture to the whole square, bilinearly, by 1 to `most`."""
    share = 1 / (1 + draws.zoom * (most - 1))  # the part's side, of the picture's
    side = image.shape[2]
    centers = (2 * np.arange(side) + 1) / side - 1  # of the pixels, -1 to 1 over the picture
    x, y = (
        torch.from_numpy(
            (share[:, None] * centers + ((1 - share) * (2 * draw - 1))[:, None]).astype(np.float32)
        )
        for draw in (draws.zoom_x, draws.zoom_y)
    )
    shape = (len(share), side, side)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=3).to(image.device)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False).clamp_(0, 1)
