"""Pictures out of tar shards while they are learned from: none is kept, and every epoch shows each one once.

The shards of an epoch are shuffled, and the epochs end to end are one endless row of shards. It is dealt
out to lanes, like cards to players. A lane has one shard in memory, yields its pictures in a shuffled order
and continues with its next shard. A batch takes equally many pictures of every lane: the lanes are the
shuffle buffer.

The place of every picture follows from the seed and from the number of pictures in each shard, and from
nothing else. So the state of a stream is one number; processes share the lanes, and see together what one
alone would see; and a shard or a picture that cannot be read leaves its places to others, and moves none.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b, sha256
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from infilling.errors import ConfigError, DataError
from infilling.learning.decoding import try_decode
from infilling.learning.picture_cache import Pictures
from infilling.learning.picture_items import Item
from infilling.learning.shard_sets import READERS, Shard, read_shard
from infilling.machine import count_cores

log = logging.getLogger(__name__)

BATCHES_AHEAD = 2  # decoded before they are asked for
SUBSTITUTES = 5  # shards tried in the place of one that cannot be read


@dataclass(frozen=True, eq=False)
class ShardedPictures:
    """The pictures of a set of shards to learn from, without those that are held out.

    Attributes:
        shards: the set.
        side: side of the squares that pictures are decoded to, pixels.
        lanes: number of shards in memory at a time, in all processes together.
        share: share of the pictures that are held out, on average, in [0, 1).
        workers: number of threads that decode; None: one for each CPU.

    Raises:
        DataError: nothing is left to learn from.
    """

    shards: tuple[Shard, ...]
    side: int
    lanes: int = 8
    share: float = 0.0
    workers: int | None = None

    def __post_init__(self) -> None:
        if not len(self):
            raise DataError("there are no pictures to learn from: add some, or hold out fewer")

    def __len__(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Pictures to learn from in each shard."""
        counts = [np.count_nonzero(~self.find_held_out(number)) for number in range(len(self.shards))]
        return np.array(counts, np.int64)

    @cached_property
    def key(self) -> str:
        """Digest that stands for the content, wherever it is stored."""
        content = [(shard.name, shard.pictures, shard.size) for shard in self.shards]
        return sha256(repr((content, self.side)).encode()).hexdigest()[:32]

    def find_held_out(self, number: int) -> NDArray[np.bool_]:
        """Return which pictures of a shard, by their place in it, are held out, whatever else the set has."""
        shard = self.shards[number]
        seed = int.from_bytes(blake2b(shard.name.encode(errors="surrogatepass"), digest_size=8).digest())
        held_out: NDArray[np.bool_] = np.random.default_rng(seed).random(shard.pictures) < self.share
        if number == 0 and self.share > 0:  # at least one
            held_out[:1] = True
        return held_out

    def take_held_out(self, most: int) -> Pictures:
        """Decode the first pictures that are held out; of all, where none are.

        Raises:
            DataError: none of them can be read, or several shards in a row cannot.
        """
        pixels: list[NDArray[np.uint8]] = []
        names: list[str] = []
        for item in self._list_held_out():
            if len(names) == most:
                break
            decoded = try_decode(item, self.side)
            if not isinstance(decoded, str):
                pixels.append(decoded[0])
                names.append(item.name)
        if not names:
            raise DataError("none of the pictures held out of training can be read")
        labels = np.zeros(len(names), np.int32)
        return Pictures(np.stack(pixels), np.arange(len(names)), (), self.key, ("",), names, labels)

    def _list_held_out(self) -> Iterator[Item]:
        """Read shard after shard; some may be missing, but not many in a row."""
        failed = 0
        for number, shard in enumerate(self.shards):
            chosen = self.find_held_out(number) if self.share > 0 else np.ones(shard.pictures, bool)
            try:
                items = read_counted_shard(shard) if chosen.any() else []
                failed = 0
            except DataError as error:
                failed += 1
                if failed > SUBSTITUTES:
                    raise
                log.warning("%s", error)
                continue
            yield from (items[place] for place in np.flatnonzero(chosen[: len(items)]))


class ShardStream:
    """The endless sequence of pictures of a set of shards, by seed. Threads read shards and decode ahead."""

    def __init__(self, pictures: ShardedPictures, seed: int) -> None:
        self._pictures, self._seed = pictures, seed
        self._readers = ThreadPoolExecutor(READERS, "reader")
        self._decoders = ThreadPoolExecutor(pictures.workers or count_cores(), "decoder")
        self._lanes: dict[int, _Lane] = {}
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))
        self._warned: set[str] = set()
        self._warning = threading.Lock()

    def draw(self, start: int, count: int, mine: slice) -> NDArray[np.uint8]:
        """Return this process's part of a batch: (N, S, S, 3).

        Args:
            start: pictures drawn before by all processes together, a multiple of the lanes.
            count: pictures in the batch of all processes, a multiple of the lanes.
            mine: which of them; whole lanes.

        Raises:
            ConfigError: the lanes do not fit the batch or the processes.
            DataError: shards could not be read, nor could others in their place.
        """
        lanes = self._pictures.lanes
        each = count // lanes
        rests = (start % lanes, count % lanes, mine.start % each, mine.stop % each)
        if any(rests):
            part = mine.stop - mine.start
            raise ConfigError(f"data.lanes = {lanes} do not fit batches of {count} in parts of {part}")
        numbers = range(mine.start // each, mine.stop // each)
        taken = [self._find_lane(number, start // lanes) for number in numbers]
        for lane in taken:  # all begin to read before the first is waited for
            lane.order(each * (1 + BATCHES_AHEAD))
        pixels = chain.from_iterable(lane.take(each) for lane in taken)
        return np.stack(list(pixels))

    def close(self) -> None:
        """End the threads; their work is finished and thrown away."""
        for pool in (self._readers, self._decoders):
            pool.shutdown(wait=False, cancel_futures=True)

    def _warn_once(self, name: str, line: str) -> None:
        """Warn of a shard or picture the first time that it cannot be read."""
        with self._warning:
            known = name in self._warned
            self._warned.add(name)
        if not known:
            log.warning("%s", line)

    def _find_lane(self, number: int, position: int) -> "_Lane":
        lane = self._lanes.get(number)
        if lane is None or lane.position != position:
            lane = self._lanes[number] = _Lane(self._walk_lane(number, position), position)
        return lane

    def _walk_lane(self, lane: int, position: int) -> Iterator[Future[NDArray[np.uint8]]]:
        """Start to decode a lane's pictures one by one; a shard is read when half of the last one is used."""
        element, place = self._skip_empty(lane), position
        while place >= (count := self._count_at(element)):
            element, place = self._skip_empty(element + self._pictures.lanes), place - count
        shard = self._read_ahead(element)
        while True:
            count = self._count_at(element)
            following = self._skip_empty(element + self._pictures.lanes)
            coming = None
            for current in range(place, count):
                if coming is None and 2 * current >= count:
                    coming = self._read_ahead(following)
                yield self._decoders.submit(self._decode, shard, current)
            element, place, shard = following, 0, coming or self._read_ahead(following)

    def _find_shard(self, element: int) -> int:
        """Return which shard is at a place of the endless row of shards."""
        epoch, place = divmod(element, len(self._pictures.shards))
        if self._order[0] != epoch:
            order = np.random.default_rng((self._seed, 3, epoch)).permutation(len(self._pictures.shards))
            self._order = epoch, order
        return int(self._order[1][place])

    def _count_at(self, element: int) -> int:
        """Return the number of pictures to learn from in the shard at a place of the row."""
        return int(self._pictures.counts[self._find_shard(element)])

    def _skip_empty(self, element: int) -> int:
        """Return the place itself, or the lane's next one whose shard has pictures to learn from."""
        while not self._count_at(element):
            element += self._pictures.lanes
        return element

    def _read_ahead(self, element: int) -> Future[list[Item]]:
        near = [self._find_shard(element + step) for step in range(SUBSTITUTES + 1)]
        return self._readers.submit(self._read_one_of, element, list(dict.fromkeys(near)))

    def _read_one_of(self, element: int, candidates: Sequence[int]) -> list[Item]:
        """Return the pictures to learn from of the first of these shards that can be read, shuffled."""
        for number in candidates:
            shard = self._pictures.shards[number]
            try:
                items = read_counted_shard(shard)
            except DataError as error:
                self._warn_once(shard.url, f"{error}; another shard takes its place")
                continue
            learned = np.flatnonzero(~self._pictures.find_held_out(number)[: len(items)])
            if learned.size:
                order = np.random.default_rng((self._seed, 4, element)).permutation(len(learned))
                return [items[place] for place in learned[order]]
        last = self._pictures.shards[candidates[-1]].url
        raise DataError(f"cannot read {len(candidates)} shards one after the other, the last {last}")

    def _decode(self, shard: Future[list[Item]], place: int) -> NDArray[np.uint8]:
        """Decode the picture at a place of a shard, (S, S, 3), or the next one that can be decoded."""
        items = shard.result()
        for step in range(len(items)):
            item = items[(place + step) % len(items)]
            decoded = try_decode(item, self._pictures.side)
            if not isinstance(decoded, str):
                return decoded[0]
            name = f"{item.file}: {item.name}"
            self._warn_once(name, f"{name}: {decoded}; another picture takes its place")
        raise DataError(f"no picture of {items[0].file} can be decoded")


class _Lane:
    """A part of the stream, in its own order.

    Attributes:
        position: number of pictures taken out of it so far.
    """

    def __init__(self, pictures: Iterator[Future[NDArray[np.uint8]]], position: int) -> None:
        self.position = position
        self._pictures = pictures
        self._coming: deque[Future[NDArray[np.uint8]]] = deque()

    def order(self, count: int) -> None:
        """Start to decode until `count` pictures are on their way."""
        while len(self._coming) < count:
            self._coming.append(next(self._pictures))

    def take(self, count: int) -> list[NDArray[np.uint8]]:
        """Return the next of the pictures that were ordered, each (S, S, 3)."""
        self.position += count
        return [self._coming.popleft().result() for _ in range(count)]


def read_counted_shard(shard: Shard) -> list[Item]:
    """Read a shard, with a warning if it holds more or fewer pictures than its index says."""
    items = read_shard(shard.url, shard.size)
    if len(items) != shard.pictures:
        log.warning("%s holds %d pictures, its index says %d", shard.url, len(items), shard.pictures)
    return items
