"""Batches show all pictures once an epoch, resume bit for bit, and are the same on one process or several."""

import json
import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from infilling.errors import DataError
from infilling.learning import batches as module
from infilling.learning.batches import Batches, split_pictures
from infilling.learning.masked_batch import MaskedBatch, halve_batch
from infilling.learning.picture_cache import Pictures
from infilling.learning.settings import DataSettings, HoleSettings
from infilling.pictures.holes import make_holes
from infilling.pictures.picture import to_float

ALL = DataSettings(crop="random", flip=True, zoom=1.3)


def make_pictures(
    count: int, side: int = 16, *, seed: int = 0, pixels: NDArray[np.uint8] | None = None
) -> Pictures:
    """Pictures of noise; the first pixel's red and green say which one it is."""
    if pixels is None:
        pixels = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)
        pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    pixels.flags.writeable = False
    names = [f"class/{index}.png" for index in range(count)]
    return Pictures(
        pixels, np.arange(count), (), f"noise {seed}", ("class",), names, np.zeros(count, np.int32)
    )


def tell(batch: MaskedBatch) -> list[int]:
    """Which pictures are in a batch that neither flips nor crops."""
    first = (batch.image[:, :, 0, 0] * 255).round().int()
    return (first[:, 0] + 256 * first[:, 1]).tolist()


def same(one: MaskedBatch, two: MaskedBatch) -> bool:
    return torch.equal(one.image, two.image) and torch.equal(one.mask, two.mask)


# -- split


def test_split_parts_without_loss_and_keeps_the_share():
    pictures = make_pictures(4000, 2)
    train, validation = split_pictures(pictures, 0.1, seed=3)
    assert sorted([*train.names, *validation.names]) == sorted(pictures.names)
    assert abs(len(validation) - 400) < 4 * (4000 * 0.1 * 0.9) ** 0.5
    assert split_pictures(pictures, 0.1, seed=3)[1].names == validation.names
    assert split_pictures(pictures, 0.1, seed=4)[1].names != validation.names
    assert set(validation.names) < set(split_pictures(pictures, 0.2, seed=3)[1].names)


def test_split_leaves_old_pictures_where_they_are():
    small, large = make_pictures(500, 2), make_pictures(900, 2)
    for old, new in zip(split_pictures(small, 0.2), split_pictures(large, 0.2), strict=True):
        assert set(old.names) == set(new.names) & set(small.names)


def test_split_by_name_not_by_place():
    pictures = make_pictures(100, 2)
    turned = pictures.take(np.arange(100)[::-1])
    assert set(split_pictures(turned, 0.3)[1].names) == set(split_pictures(pictures, 0.3)[1].names)


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_no_part_of_a_split_is_empty(share):
    train, validation = split_pictures(make_pictures(2, 2), share)
    assert len(train) == len(validation) == 1
    train, validation = split_pictures(make_pictures(2, 2), 0)
    assert (len(train), len(validation)) == (2, 0)


def test_splits_that_make_no_sense():
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(DataError, match="validation share must be"):
            split_pictures(make_pictures(3, 2), share)
    with pytest.raises(DataError, match="cannot split a single picture"):
        split_pictures(make_pictures(1, 2), 0.1)


# -- batches


def test_what_a_batch_holds():
    pictures = make_pictures(30, 24)
    batch = Batches(pictures, HoleSettings(kind="block")).next(10)
    assert (batch.image.shape, batch.image.dtype) == ((10, 3, 24, 24), torch.float32)
    assert (batch.mask.shape, batch.mask.dtype) == ((10, 1, 24, 24), torch.float32)
    assert batch.image.is_contiguous()
    for image, index in zip(batch.image, tell(batch), strict=True):
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), to_float(pictures[index]))
    assert set(batch.mask.unique().tolist()) == {0.0, 1.0}
    assert len({mask.numpy().tobytes() for mask in batch.mask}) > 5  # each picture has its own


def test_channels_last_holds_the_same():
    streams = [
        Batches(make_pictures(9), HoleSettings(kind="block"), channels_last=flag, augmentation=ALL)
        for flag in (0, 1)
    ]
    plain, last = (stream.next(6) for stream in streams)
    assert last.image.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain.image, last.image)


@pytest.mark.parametrize("count", [1, 7, 20, 33])
def test_every_epoch_shows_every_picture_once_in_a_new_order(count):
    batches = Batches(make_pictures(20), HoleSettings(kind="center"), seed=5)
    shown: list[int] = []
    while len(shown) < 100:
        shown += tell(batches.next(count))
        assert batches.epoch == len(shown) / 20
    epochs = [shown[start : start + 20] for start in range(0, 100, 20)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5


@pytest.mark.parametrize("pool", [0, 64])
def test_a_seed_decides_everything(pool):
    def draw(seed: int) -> list[MaskedBatch]:
        stream = Batches(
            make_pictures(20, 24),
            HoleSettings(kind="block", pool=pool),
            image_size=16,
            augmentation=ALL,
            seed=seed,
        )
        return [stream.next(7) for _ in range(4)]

    one, again, other = draw(1), draw(1), draw(2)
    assert all(map(same, one, again))
    assert not any(
        torch.equal(a.image, b.image) or torch.equal(a.mask, b.mask) for a, b in zip(one, other, strict=True)
    )
    assert not any(same(one[a], one[b]) for a in range(4) for b in range(a))


@pytest.mark.parametrize("pool", [0, 64])
@pytest.mark.parametrize("stop", [0, 1, 5, 6])
def test_resuming_is_bit_exact(pool, stop):
    def begin() -> Batches:
        return Batches(
            make_pictures(20, 24),
            HoleSettings(kind="block", pool=pool),
            image_size=16,
            augmentation=ALL,
            seed=1,
        )

    whole = begin()
    expected = [whole.next(6 + step % 2) for step in range(8)]
    first = begin()
    for step in range(stop):
        first.next(6 + step % 2)
    saved = json.dumps(first.state())
    assert len(saved) < 200
    second = begin()
    second.next(3)
    second.restore(json.loads(saved))
    assert second.epoch == first.epoch
    for step in range(stop, 8):
        assert same(second.next(6 + step % 2), expected[step])


def test_resuming_with_another_seed_or_other_pictures():
    state = Batches(make_pictures(20), HoleSettings(kind="center"), seed=1).state()
    with pytest.raises(DataError, match="cannot continue with seed 2: the run was started with seed 1"):
        Batches(make_pictures(20), HoleSettings(kind="center"), seed=2).restore(state)
    others = [make_pictures(20), make_pictures(21), make_pictures(20, seed=9)]
    same = [Batches(each, HoleSettings(kind="center"), seed=1).has_same_pictures(state) for each in others]
    assert same == [True, False, False]


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("pool", [0, 64])
def test_ranks_together_see_what_one_sees(world, pool):
    def begin(rank: int, world: int) -> Batches:
        return Batches(
            make_pictures(20, 24),
            HoleSettings(kind="block", pool=pool),
            image_size=16,
            augmentation=ALL,
            rank=rank,
            world=world,
        )

    ranks, alone = [begin(rank, world) for rank in range(world)], begin(0, 1)
    for _ in range(5):
        parts = [stream.next(4) for stream in ranks]
        assert same(
            alone.next(4 * world), MaskedBatch(*(torch.cat(column) for column in zip(*parts, strict=True)))
        )
    assert {stream.epoch for stream in ranks} == {alone.epoch}


def test_ranks_together_cover_every_picture_once():
    ranks = [Batches(make_pictures(24), HoleSettings(kind="center"), rank=rank, world=3) for rank in range(3)]
    shown = [index for _ in range(2) for stream in ranks for index in tell(stream.next(4))]
    assert sorted(shown) == list(range(24))


def test_no_option_moves_anothers_numbers():
    def draw(augmentation: DataSettings) -> MaskedBatch:
        return Batches(
            make_pictures(20), HoleSettings(kind="block", pool=50), augmentation=augmentation, seed=8
        ).next(12)

    plain, flipped, zoomed = draw(DataSettings()), draw(DataSettings(flip=True)), draw(DataSettings(zoom=1.5))
    assert torch.equal(plain.mask, flipped.mask)
    assert torch.equal(plain.mask, zoomed.mask)
    turned = [not torch.equal(a, b) for a, b in zip(plain.image, flipped.image, strict=True)]
    assert 0 < sum(turned) < 12
    expected = torch.stack([x.flip(2) if flip else x for x, flip in zip(plain.image, turned, strict=True)])
    assert torch.equal(flipped.image, expected)


def test_batches_of_nothing_or_of_too_much():
    nothing = make_pictures(3).take(np.array([], np.int64))
    with pytest.raises(DataError, match="no pictures"):
        Batches(nothing, HoleSettings(kind="center"))
    with pytest.raises(DataError, match="prepared at 16 px are too small for 32 px"):
        Batches(make_pictures(3), HoleSettings(kind="center"), image_size=32)


# -- masks


@pytest.mark.parametrize("side", [13, 16])
def test_a_pool_gives_its_masks_turned_over(side):
    drawn = (
        Batches(make_pictures(9, side), HoleSettings(kind="block", pool=5), seed=2)
        .next(400)
        .mask[:, 0]
        .numpy()
        .astype(bool)
    )
    pool = make_holes("block", np.random.default_rng((2, 0)), 5, side, side)
    turned = {mask[::y, ::x].tobytes() for mask in pool for y in (1, -1) for x in (1, -1)}
    assert {mask.tobytes() for mask in drawn} == turned


def test_area_limits_hold():
    for pool in (0, 30):
        mask = (
            Batches(make_pictures(9), HoleSettings(kind="block", min_area=0.07, max_area=0.15, pool=pool))
            .next(50)
            .mask
        )
        assert 0.07 <= mask.mean(dim=(1, 2, 3)).min() <= mask.mean(dim=(1, 2, 3)).max() <= 0.15


def test_pictures_and_masks_are_turned_independently(monkeypatch):
    corner = np.zeros((1, 4, 4), bool)
    corner[0, 0, 0] = True
    monkeypatch.setattr(module, "find_hole_maker", lambda *_: lambda *_: corner)
    pixels = np.zeros((3, 4, 4, 3), np.uint8)
    pixels[:, :, 0] = 255
    batches = Batches(
        make_pictures(3, pixels=pixels), HoleSettings(pool=1), augmentation=DataSettings(flip=True)
    )
    image, mask = batches.next(4000)
    turns = np.stack([image[:, 0, 0, 3], mask[:, 0, :, 3].sum(1), mask[:, 0, 3, :].sum(1)], axis=1).astype(
        int
    )
    counts = np.bincount(turns @ [4, 2, 1], minlength=8)
    assert counts.sum() == 4000
    assert abs(counts - 500).max() < 4.5 * (4000 * 1 / 8 * 7 / 8) ** 0.5


# -- crops and zooms


@pytest.fixture
def places() -> Pictures:
    """Pictures of which every pixel holds its own row and column."""
    pixels = np.zeros((2, 24, 24, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(24)[:, None], np.arange(24)
    return make_pictures(2, pixels=pixels)


def test_random_crops_are_whole_squares_from_everywhere(places):
    batches = Batches(
        places, HoleSettings(kind="center"), image_size=20, augmentation=DataSettings(crop="random")
    )
    image = (batches.next(500).image * 255).round().int()
    top, left = image[:, 0, 0, 0], image[:, 1, 0, 0]
    reach = torch.arange(20)
    assert torch.equal(image[:, 0], (top[:, None] + reach)[:, :, None].expand(-1, 20, 20).int())
    assert torch.equal(image[:, 1], (left[:, None] + reach)[:, None, :].expand(-1, 20, 20).int())
    seen = np.histogram2d(top, left, bins=5, range=[[0, 5], [0, 5]])[0]
    assert seen.min() > 4  # of 20 expected at each of 5×5 places


def test_central_crops(places):
    image = (Batches(places, HoleSettings(kind="center"), image_size=20).next(2).image * 255).round().int()
    assert image[:, :2, 0, 0].tolist() == [[2, 2]] * 2


def test_zoom_enlarges_a_part_as_pillow_does():
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize(
        (64, 64), Image.Resampling.BICUBIC
    )
    image = torch.from_numpy(to_float(np.array(smooth))).permute(2, 0, 1)[None].repeat(8, 1, 1, 1)
    draws = module._Draws(*rng.random((len(module._Draws._fields), 8)))
    zoomed = module._zoom_images(image, 2.0, draws)
    for index in range(8):
        side = 64 / (1 + draws.zoom[index])
        left, top = draws.zoom_x[index] * (64 - side), draws.zoom_y[index] * (64 - side)
        box = (left, top, left + side, top + side)
        expected = to_float(np.asarray(smooth.resize((64, 64), Image.Resampling.BILINEAR, box)))
        inner = abs(zoomed[index].permute(1, 2, 0).numpy() - expected)[1:-1, 1:-1]  # Pillow ends at the box
        assert inner.max() < 1.01 / 255  # Pillow rounds, twice


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_half_a_batch_is_means_of_four_and_hole_where_two_are(layout):
    image = torch.arange(48.0).reshape(1, 3, 4, 4).contiguous(memory_format=layout)
    mask = torch.zeros(1, 1, 4, 4)
    mask[0, 0, 0, 0] = mask[0, 0, 0, 2] = mask[0, 0, 1, 3] = 1  # one of a cell's four, two of another's
    half = halve_batch(MaskedBatch(image, mask))
    assert half.image[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert half.mask[0, 0].tolist() == [[0, 1], [0, 0]]
    assert half.image.is_contiguous(memory_format=layout)


def test_zooms_stay_in_range_and_reach_the_borders(places):
    image = (
        Batches(places, HoleSettings(kind="center"), augmentation=DataSettings(zoom=1.5)).next(400).image
        * 255
    )
    top, bottom = image[:, 0, 0, 0], image[:, 0, -1, 0]
    size = (bottom - top) / 23 * 24
    assert 15.5 < size.min() < 16.5
    assert 23 < size.max() < 24.1
    assert top.min() >= 0
    assert bottom.max() <= 23.001
    assert top.min() < 0.5
    assert bottom.max() > 22.5


# -- devices


def test_on_the_cpu_pictures_are_read_when_they_are_drawn():
    pictures = make_pictures(9).take(np.array([4, 7]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(tell(Batches(pictures, HoleSettings(kind="center")).next(2))) == [4, 7]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("share", [0.0, 0.5], ids=["mapped", "resident"])
def test_a_gpu_makes_the_same_batches(monkeypatch, share):
    monkeypatch.setattr(module, "DEVICE_SHARE", share)
    for augmentation, tolerance in [(DataSettings(crop="random", flip=True), 0.0), (ALL, 2e-5)]:
        cpu, gpu = (
            Batches(
                make_pictures(40, 24),
                HoleSettings(kind="block", pool=9),
                image_size=16,
                augmentation=augmentation,
                device=at,
            )
            for at in ("cpu", "cuda")
        )
        for _ in range(3):
            one, two = cpu.next(16), gpu.next(16)
            assert two.image.is_cuda
            assert torch.equal(one.mask, two.mask.cpu())
            assert (one.image - two.image.cpu()).abs().max() <= tolerance
