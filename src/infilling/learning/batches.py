"""Batches of pictures with a mask each: drawn by seed, resumable from one number, the same on every device.

files  -> open_pictures -> split_pictures -> ShuffledPictures -> Batches -> MaskedBatch
shards -> ShardedPictures                 -> ShardStream      -> Batches -> MaskedBatch
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from infilling.errors import DataError
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.picture_cache import Pictures
from infilling.learning.settings import DataSettings, HoleSettings
from infilling.learning.shard_stream import ShardedPictures, ShardStream
from infilling.pictures import holes as hole_makers
from infilling.pictures.holes import HoleMaker

PLAIN = DataSettings()  # the middle of each picture, as it is
POOL_CHUNK = 512  # masks made at once before they are packed: 8 MiB at 128 px
BITS = torch.from_numpy(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)).float()  # of a byte
UPLOAD_CHUNK = 4096  # pictures copied to the device at once
DEVICE_SHARE = 0.5  # of the device's free memory that pictures may take


def find_hole_maker(holes: HoleSettings) -> HoleMaker:
    """Return the maker of the holes that settings ask for; a folder of masks takes long to list."""
    return hole_makers.find_maker(holes.kind, min_area=holes.min_area, max_area=holes.max_area)


def split_pictures(pictures: Pictures, share: float, seed: int = 0) -> tuple[Pictures, Pictures]:
    """Split pictures into (training, validation) by a hash of each name: new pictures move no old one.

    Args:
        pictures: what to split.
        share: share of the pictures, on average, that validation gets, in [0, 1). Above 0 no part is empty.
        seed: another seed, another split.

    Raises:
        DataError: a share outside [0, 1), or a single picture to split.
    """
    if not 0 <= share < 1:
        raise DataError(f"a validation share must be at least 0 and below 1, not {share}")
    if share > 0 and len(pictures) < 2:
        raise DataError(
            "cannot split a single picture into training and validation pictures: "
            "add pictures, or set data.validation_share to 0"
        )
    place = np.fromiter((_hash_name(seed, name) for name in pictures.names), np.float64, len(pictures))
    validation = place < share
    if share > 0:
        validation[place.argmin()] = True
        validation[place.argmax()] = False
    return pictures.take(np.flatnonzero(~validation)), pictures.take(np.flatnonzero(validation))


def _hash_name(seed: int, name: str) -> float:
    """Return a number in [0, 1) that depends on seed and name alone."""
    digest = blake2b(f"{seed} {name}".encode(errors="surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest) / 2.0**48


class PictureSequence(Protocol):
    """An endless sequence of pictures: epoch after epoch, each in another order."""

    def draw(self, start: int, count: int, mine: slice) -> NDArray[np.uint8] | Tensor:
        """Return this process's part of a batch, (N, S, S, 3) uint8.

        Args:
            start: place of the batch's first picture in the sequence.
            count: pictures in the batch of all processes.
            mine: which of them this process takes.
        """
        ...

    def close(self) -> None:
        """End what works ahead."""
        ...


class ShuffledPictures:
    """The endless sequence of prepared pictures, by seed; on the device if they take half of its memory."""

    def __init__(self, pictures: Pictures, seed: int, device: torch.device | str) -> None:
        self._pictures, self._seed = pictures, seed
        self._resident = _upload_pictures(pictures, torch.device(device))
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def draw(self, start: int, count: int, mine: slice) -> Tensor:
        """Return this process's part of a batch; see `PictureSequence`."""
        indices = self._find_indices(start + mine.start, mine.stop - mine.start)
        if self._resident is None:
            return torch.from_numpy(self._pictures.read(indices))
        return self._resident.index_select(0, _send_array(indices, self._resident.device))

    def close(self) -> None:
        """Do nothing: nothing works ahead."""

    def _find_indices(self, start: int, count: int) -> NDArray[np.int64]:
        """Return which pictures are at `count` places of the sequence, from `start` on."""
        parts = []
        while count > 0:
            epoch, offset = divmod(start, len(self._pictures))
            if epoch != self._epoch:
                rng = np.random.default_rng((self._seed, 2, epoch))
                self._epoch, self._order = epoch, rng.permutation(len(self._pictures))
            parts.append(self._order[offset : offset + count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return np.concatenate(parts)


def _upload_pictures(pictures: Pictures, device: torch.device) -> Tensor | None:
    """Copy pictures to a GPU, (M, S, S, 3) uint8; None where batches are to be read from the disk."""
    size = len(pictures) * pictures.side**2 * 3
    if device.type != "cuda" or size > DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    shape = (len(pictures), pictures.side, pictures.side, 3)
    resident = torch.empty(shape, dtype=torch.uint8, device=device)
    for start in range(0, len(pictures), UPLOAD_CHUNK):
        part = slice(start, start + UPLOAD_CHUNK)
        resident[part] = torch.from_numpy(pictures.read(part)).to(device)
    return resident


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


class Batches:
    """An endless stream of batches. Every epoch shows every picture once, in another order.

    All that is random follows from the seed and the position, which is the number of pictures drawn so far
    by all ranks together: the state is that one number, and to stop, resume or draw ahead changes nothing.
    Random numbers are drawn on the CPU for the batch of all ranks, and each rank takes its slice: two ranks
    of 16 see what one rank of 32 sees.

    Args:
        pictures: prepared, or to be decoded, at `image_size` or larger.
        holes: kind and size of the holes.
        image_size: side of the batches' pictures, pixels; None: as prepared.
        augmentation: settings whose crop, flip and zoom vary the pictures.
        seed: not negative.
        rank: number of this process, from 0.
        world: number of processes.
        device: where batches are made. The pool of masks is kept there, and the pictures when they fit.
        channels_last: memory layout of the images.

    Raises:
        DataError: no pictures, or pictures prepared smaller than `image_size`.
    """

    def __init__(
        self,
        pictures: Pictures | ShardedPictures,
        holes: HoleSettings,
        *,
        image_size: int | None = None,
        augmentation: DataSettings = PLAIN,
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
        self._augmentation, self._maker = augmentation, find_hole_maker(holes)
        self._device = torch.device(device)
        # As a tensor: by a Python number CUDA multiplies with the reciprocal, which has another last bit.
        self._white = torch.tensor(255.0, device=self._device)
        self._bits = BITS.to(self._device)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._sequence: PictureSequence = (
            ShardStream(pictures, seed)
            if isinstance(pictures, ShardedPictures)
            else ShuffledPictures(pictures, seed, device)
        )
        self._pool: Tensor | None = None
        if holes.pool:
            self._pool = _make_pool(self._maker, holes.pool, self._rng(0), self.image_size).to(device)

    def next(self, count: int) -> MaskedBatch:
        """Draw this rank's next `count` pictures; every rank must ask for as many.

        Raises:
            DataError, StorageError: pictures cannot be read any more.
        """
        total = count * self._world
        mine = slice(self._rank * count, (self._rank + 1) * count)
        rng = self._rng(1, self._position)
        draws = _Draws(*rng.random((len(_Draws._fields), total))[:, mine])
        if self._pool is None:
            made = self._maker(rng, total, self.image_size, self.image_size)[mine, None]
            mask = _send_array(made, self._device).float()
        else:
            mask = _take_masks(self._pool, self._bits, draws, self.image_size)
        image = self._take_images(total, mine, draws)
        self._position += total
        return MaskedBatch(image, mask)

    def close(self) -> None:
        """End what works ahead."""
        self._sequence.close()

    def __len__(self) -> int:
        """Return the number of pictures in an epoch."""
        return self._count

    @property
    def epoch(self) -> float:
        """Epochs drawn so far by all ranks together."""
        return self._position / self._count

    def state(self) -> dict[str, int | str]:
        """Return all that `restore` needs, as JSON can hold it."""
        return {"position": self._position, "seed": self._seed, "count": self._count, "key": self._key}

    def has_same_pictures(self, state: Mapping[str, int | str]) -> bool:
        """Return whether a state is of a stream of the same pictures."""
        return (state["count"], state["key"]) == (self._count, self._key)

    def restore(self, state: Mapping[str, int | str]) -> None:
        """Continue where another stream of the same seed was.

        Raises:
            DataError: the state is of another seed.
        """
        if state["seed"] != self._seed:
            raise DataError(
                f"cannot continue with seed {self._seed}: the run was started with seed {state['seed']}"
            )
        self._position = int(state["position"])

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, *purpose))

    def _take_images(self, count: int, mine: slice, draws: _Draws) -> Tensor:
        """Return this rank's part of the next pictures, varied: (N, 3, S, S) in [0, 1]."""
        pixels = torch.as_tensor(self._sequence.draw(self._position, count, mine), device=self._device)
        pixels = _cut_squares(pixels, self.image_size, draws if self._augmentation.crop == "random" else None)
        if self._augmentation.flip:
            pixels = _mirror_drawn(pixels, draws.flip, dim=2)
        image = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=self._format)
        image.div_(self._white)
        if self._augmentation.zoom > 1:
            image = _zoom_images(image, self._augmentation.zoom, draws).contiguous(memory_format=self._format)
        return image


def _send_array(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to a device; the host does not wait for a GPU that still works on other things."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _make_pool(maker: HoleMaker, count: int, rng: np.random.Generator, side: int) -> Tensor:
    """Make a pool of masks, eight pixels to the byte: (P, ceil(S * S / 8)) uint8."""
    packed = []
    for start in range(0, count, POOL_CHUNK):
        masks = maker(rng, min(POOL_CHUNK, count - start), side, side)
        packed.append(np.packbits(masks.reshape(len(masks), -1), axis=1))
    return torch.from_numpy(np.concatenate(packed))


def _take_masks(pool: Tensor, bits_of: Tensor, draws: _Draws, side: int) -> Tensor:
    """Take masks from the pool and mirror them: (N, 1, S, S) float32."""
    rows = _send_array((draws.mask * len(pool)).astype(np.int64), pool.device)
    bits = F.embedding(pool.index_select(0, rows).int(), bits_of)
    mask = bits.flatten(1)[:, : side * side].reshape(-1, 1, side, side)
    return _mirror_drawn(_mirror_drawn(mask, draws.mask_flip_y, dim=2), draws.mask_flip_x, dim=3)


def _mirror_drawn(batch: Tensor, draw: NDArray[np.float64], dim: int) -> Tensor:
    """Mirror, in place, those whose draw is below one half."""
    chosen = _send_array(np.flatnonzero(draw < 0.5), batch.device)
    return batch.index_copy_(0, chosen, batch.index_select(0, chosen).flip(dim))


def _cut_squares(pixels: Tensor, side: int, draws: _Draws | None) -> Tensor:
    """Cut a square of `side` from each of (N, S, S, C): at the drawn place, or from the middle."""
    spare = pixels.shape[1] - side
    if spare == 0:
        return pixels
    if draws is None:
        return pixels[:, spare // 2 : spare // 2 + side, spare // 2 : spare // 2 + side]
    reach = np.arange(side)
    rows = (draws.crop_y[:, None] * (spare + 1)).astype(np.int64) + reach
    columns = (draws.crop_x[:, None] * (spare + 1)).astype(np.int64) + reach
    which = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    y, x = (_send_array(index, pixels.device) for index in (rows, columns))
    return pixels[which, y[:, :, None], x[:, None, :]]


def _zoom_images(image: Tensor, most: float, draws: _Draws) -> Tensor:
    """Enlarge a drawn part of each picture to the whole square, bilinearly, by a factor from 1 to `most`."""
    share = 1 / (1 + draws.zoom * (most - 1))  # side of the part, as a share of the picture's
    side = image.shape[2]
    centers = (2 * np.arange(side) + 1) / side - 1  # of the pixels, -1 to 1 over the picture

    def place(draw: NDArray[np.float64]) -> Tensor:
        middle = (1 - share) * (2 * draw - 1)
        return _send_array((share[:, None] * centers + middle[:, None]).astype(np.float32), image.device)

    shape = (len(share), side, side)
    x, y = place(draws.zoom_x)[:, None, :].expand(shape), place(draws.zoom_y)[:, :, None].expand(shape)
    grid = torch.stack([x, y], dim=3)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False).clamp_(0, 1)
