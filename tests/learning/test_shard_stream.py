"""A stream shows every picture once an epoch, goes on bit for bit, and outlives shards that are gone."""

import json
import logging
import shutil
import threading
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from infilling.errors import ConfigError, DataError
from infilling.learning import remote_files, shard_sets
from infilling.learning.batches import Batches
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.picture_cache import open_pictures
from infilling.learning.settings import DataSettings, HoleSettings
from infilling.learning.shard_sets import Shard
from infilling.learning.shard_stream import ShardedPictures, ShardStream
from infilling.learning.shard_writer import pack_pictures
from infilling.pictures.picture import to_float

ALL = DataSettings(crop="random", flip=True, zoom=1.3)
SIDE = 16
COUNT = 40


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Forty pictures of noise in shards of 9, 9, 9, 9 and 4; the first pixel's red says which one it is."""
    folder = tmp_path_factory.mktemp("numbered")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        pixels[0, 0, 0] = number
        Image.fromarray(pixels).save(folder / f"{number}.png")
    out = tmp_path_factory.mktemp("shards") / "set"
    pack_pictures(folder, out, per_shard=9)
    return out


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(remote_files, "WAITS_S", (0.0, 0.0))


@pytest.fixture
def begin(tmp_path):
    """Makes batches of a set; they are closed at the end."""
    begun = []

    def make(path, *, lanes=4, share=0.0, seed=0, **options):
        found = shard_sets.find_shards([str(path)], tmp_path / "counted")
        pictures = ShardedPictures(found, SIDE, lanes, share, workers=2)
        begun.append(Batches(pictures, HoleSettings(kind="block"), seed=seed, **options))
        return begun[-1]

    yield make
    for batches in begun:
        batches.close()
    join_threads()  # what they still have to say does not belong to the next test


def join_threads() -> None:
    """Waits for the threads of streams that were closed."""
    for thread in threading.enumerate():
        if thread.name.startswith(("reader", "decoder")):
            thread.join(20)
            assert not thread.is_alive()


def tell(batch: MaskedBatch) -> list[int]:
    """Which pictures are in a batch that neither flips nor crops."""
    return (batch.image[:, 0, 0, 0] * 255).round().int().tolist()


def same(one: MaskedBatch, two: MaskedBatch) -> bool:
    return torch.equal(one.image, two.image) and torch.equal(one.mask, two.mask)


def draw(batches: Batches, sizes: list[int]) -> list[int]:
    return [number for size in sizes for number in tell(batches.next(size))]


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_shards_of_one_size_show_every_picture_once_an_epoch(tmp_path, packed, begin, lanes):
    again = tmp_path / "even"
    pack_pictures(packed, again, per_shard=5)  # eight shards
    batches = begin(again, lanes=lanes)
    assert batches.epoch == 0
    epochs = [draw(batches, [8] * 5) for _ in range(4)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert batches.epoch == 4


@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_shards_of_several_sizes_show_every_picture_as_often(packed, begin, lanes):
    """Lanes need not be in the same epoch; each has what is dealt to it, so in the end all come as often."""
    shown = Counter(draw(begin(packed, lanes=lanes), [24] * 50))
    assert set(shown) == set(range(COUNT))
    assert sum(shown.values()) == 1200
    # 30 of each are due. Every lane is somewhere in an epoch, and has one shard that it has not shown whole.
    assert max(abs(times - 30) for times in shown.values()) <= (1 if lanes == 1 else 8)


def test_pictures_are_those_that_would_be_prepared(tmp_path, packed, begin):
    prepared = open_pictures(packed, SIDE, cache_dir=tmp_path)
    expected = {int(pixels[0, 0, 0]): to_float(pixels) for pixels in prepared.read()}
    batch = begin(packed).next(32)
    for image, number in zip(batch.image, tell(batch), strict=True):
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected[number])


def test_the_order_is_shuffled_over_shards_and_within_them(packed, begin):
    lie = [
        [int(item.name.split(".")[0]) for item in shard_sets.read_shard(f"{packed}/00000{shard}.tar")]
        for shard in range(5)
    ]
    where = {number: shard for shard, numbers in enumerate(lie) for number in numbers}
    shown = draw(begin(packed, lanes=1), [COUNT])
    order = list(dict.fromkeys(where[number] for number in shown))
    assert shown != [number for shard in order for number in lie[shard]]
    assert sorted(shown, key=lambda number: order.index(where[number])) == shown  # shard after shard
    assert draw(begin(packed, lanes=1, seed=1), [COUNT]) != shown
    mixed = draw(begin(packed), [8])
    assert len({where[number] for number in mixed}) == 4  # two of each of four lanes


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 9, 23])
def test_resuming_is_bit_exact(packed, begin, stop):
    options = {"augmentation": ALL, "image_size": SIDE - 4, "share": 0.1}
    whole = begin(packed, **options)
    expected = [whole.next(4 + 4 * (step % 2)) for step in range(stop + 6)]
    first = begin(packed, **options)
    for step in range(stop):
        first.next(4 + 4 * (step % 2))
    saved = json.dumps(first.state())
    assert len(saved) < 200
    second = begin(packed, **options)
    second.next(8)
    second.restore(json.loads(saved))
    assert second.epoch == first.epoch
    for step in range(stop, stop + 6):
        assert same(second.next(4 + 4 * (step % 2)), expected[step])


def test_other_shards_are_recognised(packed, begin, tmp_path):
    state = begin(packed).state()
    moved = shutil.copytree(packed, tmp_path / "moved")
    assert begin(moved).has_same_pictures(state)
    pack_pictures(packed, tmp_path / "fewer", per_shard=5)
    assert not begin(tmp_path / "fewer").has_same_pictures(state)


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_ranks_together_see_what_one_sees(packed, begin, world, share):
    options = {"augmentation": ALL, "share": share}
    ranks = [begin(packed, rank=rank, world=world, **options) for rank in range(world)]
    alone = begin(packed, **options)
    for _ in range(12):
        parts = [batches.next(8 // world) for batches in ranks]
        together = MaskedBatch(*(torch.cat(column) for column in zip(*parts, strict=True)))
        assert same(alone.next(8), together)
    assert {batches.epoch for batches in ranks} == {alone.epoch}


def test_a_rank_reads_its_own_shards_only(packed, monkeypatch, begin):
    read: list[str] = []
    fetch = shard_sets.fetch_file
    monkeypatch.setattr(
        shard_sets, "fetch_file", lambda url, size=None: (read.append(url), fetch(url, size))[1]
    )
    begin(packed, rank=1, world=4).next(2)
    assert len([url for url in read if url.endswith(".tar")]) <= 2  # the lane's, and the next one ahead


def test_lanes_that_do_not_fit(packed, begin):
    with pytest.raises(ConfigError, match=r"data.lanes = 4 do not fit batches of 6 in parts of 6"):
        begin(packed).next(6)
    with pytest.raises(ConfigError, match=r"data.lanes = 4 do not fit batches of 12 in parts of 4"):
        begin(packed, rank=1, world=3).next(4)


def test_more_lanes_than_shards(packed, begin, tmp_path):
    """A lane is dealt from later epochs then; none stays empty."""
    pack_pictures(packed, tmp_path / "one", per_shard=100)
    shown = Counter(draw(begin(tmp_path / "one", lanes=8), [8] * 40))
    assert set(shown.values()) == {8}


# -- held out


def test_held_out_pictures_never_come(packed, begin, tmp_path):
    found = shard_sets.find_shards([str(packed)], tmp_path)
    pictures = ShardedPictures(found, SIDE, 4, 0.25)
    held_out = pictures.take_held_out(COUNT)
    numbers = [int(pixels[0, 0, 0]) for pixels in held_out.pixels]
    assert [int(name.split(".")[0]) for name in held_out.names] == numbers
    assert 4 <= len(numbers) <= 17
    assert len(pictures) == COUNT - len(numbers)
    shown = set(draw(begin(packed, share=0.25), [8] * 30))
    assert shown == set(range(COUNT)) - set(numbers)
    assert pictures.take_held_out(3).names == held_out.names[:3]
    again = ShardedPictures(found[:2], SIDE, 4, 0.25)  # others move none
    assert set(again.take_held_out(COUNT).names) <= set(held_out.names)


def test_at_least_one_is_held_out_and_one_is_learned_from(tmp_path, packed):
    found = shard_sets.find_shards([str(packed)], tmp_path)
    assert len(ShardedPictures(found, SIDE, 4, 1e-9).take_held_out(9)) == 1
    assert len(ShardedPictures(found, SIDE, 4, 0.0)) == COUNT
    assert len(ShardedPictures(found, SIDE, 4, 0.0).take_held_out(12)) == 12
    with pytest.raises(DataError, match="no pictures to learn from"):
        ShardedPictures((Shard("x.tar", 1, None),), SIDE, 4, 0.1)


# -- faults


def test_a_shard_that_is_gone_leaves_its_places_to_others(packed, begin, tmp_path, caplog):
    """The others come where they would have come, and twice over the run nothing moves."""
    broken = shutil.copytree(packed, tmp_path / "broken")
    lost = {int(item.name.split(".")[0]) for item in shard_sets.read_shard(str(packed / "000002.tar"))}
    (broken / "000002.tar").unlink()
    with caplog.at_level(logging.WARNING, logger="infilling"):
        found = draw(begin(broken), [8] * 10)
    expected = draw(begin(packed), [8] * 10)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours not in lost
        assert ours == theirs or theirs in lost
    told = {record.getMessage() for record in caplog.records}
    assert told == {
        f"cannot read {broken}/000002.tar in 3 tries: it is not there; another shard takes its place"
    }
    assert found == draw(begin(broken), [8] * 10)


def test_a_cut_shard_gives_what_lies_before_the_cut(packed, begin, tmp_path, caplog):
    broken = shutil.copytree(packed, tmp_path / "broken")
    whole = (broken / "000001.tar").read_bytes()
    (broken / "000001.tar").write_bytes(whole[: len(whole) // 2])
    names = [item.name for item in shard_sets.read_shard(str(packed / "000001.tar"))]
    with caplog.at_level(logging.WARNING, logger="infilling"):
        shown = set(draw(begin(broken), [8] * 40))
    missing = {int(name.split(".")[0]) for name in names} & (set(range(COUNT)) - shown)
    assert 3 <= len(missing) <= 6  # about half of nine
    assert missing < {int(name.split(".")[0]) for name in names[3:]}
    told = " ".join(record.getMessage() for record in caplog.records)
    assert f"000001.tar in 3 tries: it ends after {len(whole) // 2:,} of {len(whole):,} bytes" in told
    assert "the shard ends early, after" in told


def test_bad_pictures_leave_their_places_to_others(tmp_path, tree, draw, begin, caplog):
    """`draw` draws a picture here."""
    files = {f"{number}.png": draw(number, SIDE, SIDE) for number in range(6)}
    files |= {"3.png": b"no picture", "4.png": files["4.png"][:60]}
    pack_pictures(tree(tmp_path / "in", files), tmp_path / "out")
    with caplog.at_level(logging.WARNING, logger="infilling"):
        batches = begin(tmp_path / "out", lanes=1)
        shown = torch.cat([batches.next(6).image for _ in range(3)])
    assert len({image.numpy().tobytes() for image in shown}) == 4
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2  # once each, not once an epoch
    assert all("000000.tar: " in line and line.endswith("; another picture takes its place") for line in told)


def test_when_nothing_can_be_read_the_run_ends(packed, begin, tmp_path):
    broken = shutil.copytree(packed, tmp_path / "broken")
    for path in broken.glob("*.tar"):
        path.unlink()
    with pytest.raises(DataError, match=r"cannot read 5 shards one after the other, the last .*\.tar"):
        begin(broken).next(8)
    with pytest.raises(DataError, match="none of the pictures held out"):
        ShardedPictures(shard_sets.find_shards([str(broken)], tmp_path), SIDE).take_held_out(3)


def test_a_shard_of_nothing_but_bad_pictures_ends_the_run(tmp_path, tree, begin):
    pack_pictures(tree(tmp_path / "in", {f"{n}.png": b"bad" for n in range(4)}), tmp_path / "out")
    with pytest.raises(DataError, match=r"no picture of .*000000.tar can be decoded"):
        begin(tmp_path / "out", lanes=1).next(4)


def test_closing_stops_the_threads(packed, tmp_path):
    stream = ShardStream(
        ShardedPictures(shard_sets.find_shards([str(packed)], tmp_path), SIDE, 4, workers=2), 0
    )
    assert stream.draw(0, 8, slice(0, 8)).shape == (8, SIDE, SIDE, 3)
    stream.close()
    join_threads()
