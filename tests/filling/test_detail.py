"""Detail: a fill made in a reduced crop gets texture from around it, and known pixels stay as they are."""

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import brick, gravel

from infilling import InfillingWarning, fill
from infilling.filling import detail
from infilling.filling.classical import ClassicalEngine, fill_push_pull
from infilling.filling.detail import Guess, recover
from infilling.filling.pipeline import fill_picture
from infilling.filling.progress import watch
from infilling.filling.seam import match_seam
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Picture

SIDE = 210
HOLE = np.zeros((SIDE, SIDE), bool)
HOLE[70:140, 70:140] = True
SMALL = ClassicalEngine("small", fill_push_pull, SizeRule(working_size=64))


def texture(name: str) -> NDArray[np.float32]:
    grey = {"brick": brick, "gravel": gravel}[name]()[:SIDE, :SIDE].astype(np.float32) / 255
    return np.repeat(grey[..., None], 3, axis=2)


def energy(image: NDArray[np.float32], part: tuple[slice, slice]) -> float:
    grey = image[part].astype(np.float64).mean(axis=2)
    return float(np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean())


INSIDE, ABOVE = (slice(72, 138), slice(72, 138)), (slice(0, 66), slice(72, 138))


@pytest.mark.parametrize(("name", "least"), [("brick", 0.6), ("gravel", 0.35)])  # grain fades the most
def test_a_texture_goes_on_sharply(name: str, least: float) -> None:
    pixels = np.rint(texture(name) * 255).astype(np.uint8)
    plain, redrawn = (
        fill_picture(Picture(pixels), HOLE, SMALL, detail=detail).pixels for detail in (False, True)
    )
    around = energy(pixels, ABOVE)
    assert energy(plain, INSIDE) < 0.02 * around
    assert least < energy(redrawn, INSIDE) / around < 1.4
    for result in (plain, redrawn):
        np.testing.assert_array_equal(result[~HOLE], pixels[~HOLE])


def test_the_fill_says_which_texture_goes_where() -> None:
    # Dark gravel meets light gravel somewhere in the hole; the fill says where.
    right = np.arange(SIDE)[None, :, None] >= SIDE // 2
    image = (texture("gravel") * 0.4 + np.where(right, 0.5, 0)).astype(np.float32)
    means = []
    for side in (image[:, : SIDE // 2], image[:, SIDE // 2 :]):
        guide = np.full_like(image, side.mean())
        for hint in (detail.HINT, detail.FIRM_HINT):
            redrawn = recover(image, HOLE, Guess(guide, hint), np.random.default_rng(0))
            means.append(redrawn[HOLE].mean())
    dark, darker, light, lighter = means
    assert light > dark + 0.05
    assert lighter - darker > light - dark + 0.05


def test_it_is_the_same_every_time() -> None:
    pixels = np.rint(texture("gravel") * 255).astype(np.uint8)
    once, twice = (fill_picture(Picture(pixels), HOLE, SMALL).pixels for _ in range(2))
    np.testing.assert_array_equal(once, twice)


def test_a_fill_is_mixed_in_as_far_as_it_has_texture(monkeypatch: pytest.MonkeyPatch) -> None:
    image = texture("gravel")
    flat, rng = np.full_like(image, 0.5), np.random.default_rng
    monkeypatch.setattr(detail, "MOST_SHARE", 0.0)
    monkeypatch.setattr(detail, "MISFIT", 1e-9)  # no copy fits so well that nothing is mixed in
    monkeypatch.setattr(detail, "match_seam", lambda image, filled, hole: filled)
    monkeypatch.setattr(detail, "find_membrane", lambda hole, steps: np.float32(0))
    assert set(recover(image, HOLE, Guess(flat), rng(0))[HOLE].flat) <= set(image[~HOLE].flat)  # copies alone
    mixed = recover(image, HOLE, Guess(image), rng(0))  # the truth itself, as steep as what is around it
    trust = detail.TRUST
    monkeypatch.setattr(detail, "TRUST", 0.0)
    copies = recover(image, HOLE, Guess(image), rng(0))
    left = np.abs(mixed - image)[HOLE].mean() / np.abs(copies - image)[HOLE].mean()
    assert left == pytest.approx(1 - trust, abs=0.05)


@pytest.mark.parametrize(("rough", "share"), [(0.08, 0), (0.1, 0), (0.15, 1 / 3), (0.9, detail.MOST_SHARE)])
def test_copies_are_made_no_steeper_than_their_surroundings(rough: float, share: float) -> None:
    """Squares of a chessboard, by hand: (1 - share) · rough = 0.1, up to a limit, where the fill is flat."""
    board = (np.indices(HOLE.shape).sum(0) % 2)[..., None].repeat(3, 2).astype(np.float32)
    flat = np.full_like(board, 0.5)
    found = detail._choose_share(0.1 * board, HOLE, flat, np.float32(rough) * board)
    assert found == pytest.approx(share, abs=1e-4)


def test_without_a_whole_patch_around_known_lines_are_connected_smoothly() -> None:
    rows = np.arange(60, dtype=np.uint8)
    pixels = np.repeat(np.repeat(3 * rows[:, None], 80, axis=1)[..., None], 3, axis=2)
    hole = np.ones((60, 80), bool)
    hole[::6] = False
    with pytest.warns(InfillingWarning, match="covers 83 %"):
        filled = fill(np.where(hole[..., None], 0, pixels).astype(np.uint8), hole)
    assert np.abs(filled.astype(int) - pixels)[6:-6].max() <= 3


@pytest.mark.parametrize("side", [10, 16, 21])  # with pyramids of one, two and two levels
def test_small_holes_in_a_larger_picture_are_redrawn(side: int) -> None:
    """Bricks go on in holes that the engine saw unreduced; sharply, and nearer to what was there."""
    pixels = np.rint(texture("brick") * 255).astype(np.uint8)
    corners = [(y, x) for y in (30, 90, 150) for x in (30, 90, 150)]
    found = []
    for y, x in corners:
        hole, inner = np.zeros_like(HOLE), (slice(y + 1, y + side - 1), slice(x + 1, x + side - 1))
        hole[y : y + side, x : x + side] = True
        plain, redrawn = (
            fill_picture(Picture(pixels), hole, SMALL, detail=detail).pixels for detail in (False, True)
        )
        errors = (np.square(fill[hole].astype(float) - pixels[hole]).mean() for fill in (plain, redrawn))
        found.append((*errors, energy(plain, inner), energy(redrawn, inner), energy(pixels, inner)))
        np.testing.assert_array_equal(redrawn[~hole], pixels[~hole])
    plain_error, error, plain_energy, redrawn_energy, true_energy = np.sum(found, axis=0)
    assert error < 0.6 * plain_error
    assert plain_energy < 0.15 * true_energy
    assert 0.45 < redrawn_energy / true_energy < 1.4


def test_a_picture_seen_whole_stays_as_the_engine_filled_it_but_for_the_seam() -> None:
    pixels = np.rint(texture("gravel")[:64, :64] * 255).astype(np.uint8)
    hole = np.zeros((64, 64), bool)
    hole[20:30, 20:30] = True
    plain, same = (
        fill_picture(Picture(pixels), hole, SMALL, detail=detail).pixels for detail in (False, True)
    )
    matched = match_seam(pixels / np.float32(255), plain / np.float32(255), hole)
    assert np.abs(matched * 255 - same).max() <= 1.5


@pytest.mark.parametrize("engine", ["default", "patch-synthesis"])
def test_one_hole_reports_how_far_it_is(engine: str) -> None:
    """In growing shares up to 1; what the watcher raises ends the fill between two of them."""
    photo = np.random.default_rng(0).integers(0, 256, (240, 240, 3), np.uint8)
    seen: list[float] = []
    with watch(lambda done, total: seen.append(done / total)):
        fill(photo, boxes=[(70, 70, 100, 100)], engine=engine)
    assert seen == sorted(seen)
    assert len(set(seen)) >= 5
    assert seen[-1] == 1

    def stop(done: float, total: float) -> None:
        if done / total > 0.5:
            raise InterruptedError

    with pytest.raises(InterruptedError), watch(stop):
        fill(photo, boxes=[(70, 70, 100, 100)], engine=engine)
