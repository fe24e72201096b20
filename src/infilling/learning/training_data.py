"""The data of a run: its pictures, its holes, and the batches that are made of both."""

import json

from infilling.errors import ConfigError, DataError
from infilling.learning import shard_sets
from infilling.learning.batches import Batches, split_pictures
from infilling.learning.decoding import Progress
from infilling.learning.device import Place
from infilling.learning.distributed import ALONE, Ranks
from infilling.learning.picture_cache import Pictures, find_cache, open_pictures
from infilling.learning.settings import Config
from infilling.learning.shard_sets import Shard
from infilling.learning.shard_stream import ShardedPictures
from infilling.machine import share_cores


def open_training_data(
    config: Config, ranks: Ranks = ALONE, progress: Progress | None = None
) -> tuple[Pictures | ShardedPictures, Pictures | None]:
    """Open the pictures to learn from, and some that are held out; of the same ones where none are.

    Of streamed shards these are `train.samples` at most, for the first process, and None for others.

    Raises:
        ConfigError: no path is named, or the lanes of a stream cannot be shared evenly.
        DataError: no pictures, or another process found others.
    """
    data = config.data
    if not data.paths:
        raise ConfigError("there are no pictures to learn from: set data.paths, or name a folder with --data")
    size = data.decoded_size
    workers = data.workers or share_cores(ranks.neighbours)
    if data.streamed:
        return _open_stream(config, size, workers, ranks)
    with ranks.first_alone():
        pictures = open_pictures(data.paths, size, cache_dir=data.cache, workers=workers, progress=progress)
    if pictures.key != ranks.share(pictures.key):
        raise DataError(f"process {ranks.rank} finds other pictures in data.paths than process 0")
    training, held_out = split_pictures(pictures, data.validation_share)
    return training, held_out if len(held_out) else training


def _open_stream(
    config: Config, size: int, workers: int, ranks: Ranks
) -> tuple[ShardedPictures, Pictures | None]:
    """Let the first process find the shards, for all."""
    data, batch = config.data, config.train.batch
    if data.lanes % ranks.world or batch % data.lanes:
        raise ConfigError(
            f"data.lanes is {data.lanes}: set it to a number that divides train.batch = {batch} and that "
            f"{ranks.world} processes can share evenly"
        )
    counts = find_cache(data.cache) / "counted"
    found = shard_sets.find_shards(data.paths, counts) if ranks.leads else ()
    shards = tuple(Shard(*each) for each in json.loads(ranks.share(json.dumps(found))))
    pictures = ShardedPictures(shards, size, data.lanes, data.validation_share, workers)
    return pictures, pictures.take_held_out(config.train.samples) if ranks.leads else None


def make_batches(
    config: Config, pictures: Pictures | ShardedPictures, place: Place, seed: int, ranks: Ranks = ALONE
) -> Batches:
    """Make the stream of batches that a config asks for; of each, the share of one process."""
    data = config.data
    return Batches(
        pictures,
        config.holes,
        image_size=data.image_size,
        augmentation=data,
        seed=seed,
        rank=ranks.rank,
        world=ranks.world,
        device=place.device,
        channels_last=place.channels_last,
    )
