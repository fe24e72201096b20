"""What a config asks for: its pictures, its holes, and the batches that are made of both."""

from __future__ import annotations

import json

from infilling.errors import ConfigError, DataError
from infilling.learning import shards
from infilling.learning.config import Config
from infilling.learning.data import Augmentation, Batches, Holes, Pictures, open_pictures, split
from infilling.learning.device import Place
from infilling.learning.distributed import ALONE, Ranks
from infilling.learning.prepare import find_cache
from infilling.learning.shards import Shard
from infilling.learning.stream import ShardedPictures
from infilling.machine import share_cores


def open_data(config: Config, ranks: Ranks = ALONE) -> tuple[Pictures | ShardedPictures, Pictures | None]:
    """The pictures to learn from, and some that are held out; of the same ones where none are.

    Of shards that are streamed these are `train.samples` at most, for the first process, and None for others.

    Raises:
        ConfigError: no path is named, or the lanes of a stream cannot be shared out.
        DataError: no pictures, or another process found others.
    """
    data = config.data
    if not data.paths:
        raise ConfigError("there are no pictures to learn from: set data.paths, or name a folder with --data")
    size = max(data.prepared_size or 0, data.image_size)
    workers = data.workers or share_cores(ranks.neighbours)
    if data.streamed:
        return _open_stream(config, size, workers, ranks)
    with ranks.first_alone():
        pictures = open_pictures(data.paths, size, cache_dir=data.cache, workers=workers)
    if pictures.key != ranks.share(pictures.key):
        raise DataError(f"process {ranks.rank} finds other pictures in data.paths than process 0")
    kept, held_out = split(pictures, data.validation_share)
    return kept, held_out if len(held_out) else kept


def _open_stream(
    config: Config, size: int, workers: int, ranks: Ranks
) -> tuple[ShardedPictures, Pictures | None]:
    """The first process finds the shards, for all."""
    data, batch = config.data, config.train.batch
    if data.lanes % ranks.world or batch % data.lanes:
        raise ConfigError(
            f"data.lanes is {data.lanes}: set it to a number that divides train.batch = {batch} and that "
            f"{ranks.world} processes can share evenly"
        )
    found = shards.find(data.paths, find_cache(data.cache) / "counted") if ranks.leads else ()
    told = tuple(Shard(*each) for each in json.loads(ranks.share(json.dumps(found))))
    pictures = ShardedPictures(told, size, data.lanes, data.validation_share, workers)
    return pictures, pictures.take_held_out(config.train.samples) if ranks.leads else None


def make_batches(
    config: Config, pictures: Pictures | ShardedPictures, place: Place, seed: int, ranks: Ranks = ALONE
) -> Batches:
    """The stream of batches that a config asks for; of each, the share of one process."""
    data = config.data
    return Batches(
        pictures,
        make_holes(config),
        image_size=data.image_size,
        augmentation=Augmentation(data.crop, data.flip, data.zoom),
        seed=seed,
        rank=ranks.rank,
        world=ranks.world,
        device=place.device,
        channels_last=place.channels_last,
    )


def make_holes(config: Config) -> Holes:
    """The holes that a config asks for."""
    holes = config.holes
    return Holes(holes.kind, holes.min_area, holes.max_area, holes.pool)
