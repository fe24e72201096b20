"""Holes beyond what an engine was trained on: filled coarse to fine, with one line of warning."""

import numpy as np
import pytest

from infilling.errors import Advice, collect_warnings
from infilling.filling import detail
from infilling.filling.classical import ClassicalEngine, fill_push_pull
from infilling.filling.coarse import fill_crop
from infilling.filling.pipeline import fill_picture
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Floats, Picture

RULE = SizeRule(multiple_of=8, working_size=64)


class Notes:
    """Push-pull that notes the sizes and holes it is given, and answers with the number of the call."""

    name = "notes"

    def __init__(self, size_rule: SizeRule = RULE) -> None:
        self.size_rule = size_rule
        self.holes: list[Floats] = []

    def fill(self, image: Floats, mask: Floats) -> Floats:
        assert not (image * mask).any()
        self.holes.append(mask[0, 0] > 0)
        return np.where(mask > 0, np.float32(len(self.holes) / 10), image)


def crop(side: int, hole: int) -> tuple[Floats, Floats]:
    mask = np.zeros((1, 1, side, side), np.float32)
    edge = (side - hole) // 2
    mask[..., edge : edge + hole, edge : edge + hole] = 1
    return np.float32(0.9) * (1 - mask).repeat(3, axis=1), mask


def test_the_middle_is_filled_at_half_the_size_and_the_ring_round_it_at_full() -> None:
    engine = Notes()
    image, mask = crop(64, 56)
    filled = fill_crop(engine, image, mask)
    small, ring = engine.holes
    assert small.shape == (32, 32)
    assert small.sum() == 28**2
    assert ring.shape == (64, 64)
    assert ring.sum() == 56**2 - 40**2, "8 px deep"
    np.testing.assert_allclose(filled[0, 0, 16:48, 16:48], 0.1, atol=1e-6)
    np.testing.assert_allclose(filled[0, 0][ring], 0.2, atol=1e-6)
    np.testing.assert_allclose(filled[0, 0, :4], 0.9, atol=1e-6)


@pytest.mark.parametrize(
    ("side", "hole", "rule"),
    [
        (64, 40, RULE),  # less than half of the crop
        (56, 52, RULE),  # a small picture: the hole is no larger than those in training
        (64, 56, SizeRule(fixed_size=64)),
        (64, 56, SizeRule()),
    ],
)
def test_other_holes_are_filled_at_once(side: int, hole: int, rule: SizeRule) -> None:
    engine = Notes(rule)
    fill_crop(engine, *crop(side, hole))
    assert len(engine.holes) == 1


def test_many_specks_have_no_middle() -> None:
    engine = Notes()
    mask = (np.random.default_rng(0).random((1, 1, 64, 64)) < 0.7).astype(np.float32)
    fill_crop(engine, np.zeros((1, 3, 64, 64), np.float32), mask)
    assert len(engine.holes) == 1


@pytest.mark.parametrize(
    ("hole", "rule", "words", "advice"),
    [
        ((0, 0, 150, 200), RULE, "covers 75 % of the picture", ("mostly-hole", {"share": 75})),
        (
            (10, 10, 90, 20),
            SizeRule(working_size=8),
            "90 px long and this engine works at 8 px",
            ("large-hole", {"length": 90, "side": 8}),
        ),
        ((10, 10, 90, 60), RULE, None, None),
        ((0, 0, 150, 200), SizeRule(), None, None),
    ],
)
def test_one_line_warns(
    hole: tuple[int, int, int, int], rule: SizeRule, words: str | None, advice: tuple[str, object] | None
) -> None:
    x, y, width, height = hole
    mask = np.zeros((200, 200), bool)
    mask[y : y + height, x : x + width] = True
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    with collect_warnings() as told:
        result = fill_picture(Picture(pixels), mask, ClassicalEngine("e", fill_push_pull, rule))
    np.testing.assert_array_equal(result.pixels[~mask], pixels[~mask])
    assert len(told) == bool(words)
    assert all(str(words) in text for text in told)
    assert [(each.code, each.values) for each in told if isinstance(each, Advice)] == [advice] * len(told)


def test_the_largest_holes_are_redrawn_at_half_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    # Stripes of 8 px, so that half of the resolution still shows them.
    rows = (np.arange(301) // 8 % 2 * 160 + 40).astype(np.uint8)
    pixels = np.repeat(np.repeat(rows[:, None], 260, axis=1)[..., None], 3, axis=2)
    mask = np.zeros((301, 260), bool)
    mask[90:211, 80:180] = True
    monkeypatch.setattr(detail, "LARGEST", 5_000)
    engine = ClassicalEngine("small", fill_push_pull, RULE)
    result = fill_picture(Picture(pixels), mask, engine).pixels
    np.testing.assert_array_equal(result[~mask], pixels[~mask])
    plain = fill_picture(Picture(pixels), mask, engine, detail=False).pixels
    errors = [np.abs(one.astype(int) - pixels)[mask].mean() for one in (plain, result)]
    assert errors[1] < 0.5 * errors[0]


def test_a_small_hole_in_a_part_of_a_picture_is_filled_in_half_of_the_crop() -> None:
    engine = Notes()
    image, mask = crop(64, 10)
    filled = fill_crop(engine, image, mask, is_part=True)
    [hole] = engine.holes
    assert hole.shape == (32, 32)
    assert hole.sum() == 100
    assert hole[11:21, 11:21].all(), "in the middle"
    np.testing.assert_allclose(filled[0, 0][mask[0, 0] > 0], 0.1, atol=1e-6)
    np.testing.assert_array_equal(filled[0, 0][mask[0, 0] == 0], image[0, 0][mask[0, 0] == 0])


def test_a_hole_at_the_edge_is_filled_in_the_half_at_the_edge() -> None:
    engine = Notes()
    mask = np.zeros((1, 1, 64, 64), np.float32)
    mask[..., :4, 60:] = 1
    filled = fill_crop(engine, np.float32(0.9) * (1 - mask).repeat(3, axis=1), mask, is_part=True)
    [hole] = engine.holes
    assert hole.shape == (32, 32)
    assert hole[:4, 28:].all()
    np.testing.assert_allclose(filled[0, 0][mask[0, 0] > 0], 0.1, atol=1e-6)


@pytest.mark.parametrize(
    ("hole", "rule", "is_part"),
    [
        (10, RULE, False),
        (11, RULE, True),  # over a third of 32 px
        (4, SizeRule(fixed_size=64), True),
        (4, SizeRule(working_size=256), True),
        (4, SizeRule(multiple_of=64, working_size=64), True),
        (4, SizeRule(), True),
    ],
)
def test_all_else_is_filled_in_the_whole_crop(hole: int, rule: SizeRule, is_part: bool) -> None:
    engine = Notes(rule)
    fill_crop(engine, *crop(64, hole), is_part=is_part)
    assert [seen.shape for seen in engine.holes] == [(64, 64)]
