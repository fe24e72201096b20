"""Work on several threads: the same results in the same order, however many there are."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from infilling import machine
from infilling.filling import threads
from infilling.filling.classical import make_method
from infilling.filling.pipeline import fill_picture
from infilling.filling.pyramid import Level
from infilling.filling.search import BAND_TARGETS, Guide, Search
from infilling.filling.vote import Vote
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Picture


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_order_and_few_items_are_taken_ahead(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(threads, "count_threads", lambda: count)
    taken: list[int] = []

    def give() -> object:
        for number in range(50):
            taken.append(number)
            yield number

    for place, (number, _) in enumerate(threads.work_on(lambda n: (n, threading.get_ident()), give())):
        assert number == place
        assert len(taken) <= place + threads.WAITING * count + 1


@pytest.mark.parametrize("count", [1, 3])
def test_what_clashes_is_begun_when_the_other_is_done(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(threads, "count_threads", lambda: count)
    done: set[int] = set()

    def lead(number: int, beside: threads.Beside) -> Callable[[], int]:
        assert all(other in done for other in range(number) if other % 3 == number % 3)

        def follow() -> int:
            done.add(number)
            return number

        return follow

    found = threads.work_behind(lead, range(30), lambda one, other: one % 3 == other % 3)
    assert list(found) == list(range(30))


def test_holes_are_the_same_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    pixels, hole = rng.integers(0, 256, (160, 300, 3), np.uint8), np.zeros((160, 300), bool)
    for y, x in rng.integers(0, (150, 290), (9, 2)):  # in crops that overlap, and that do not
        hole[y : y + 8, x : x + 8] = True
    engine = replace(make_method("push-pull"), size_rule=SizeRule(working_size=64))
    found = []
    for count in (1, 3):
        monkeypatch.setattr(threads, "count_threads", lambda count=count: count)
        found.append(fill_picture(Picture(pixels), hole, engine, detail=True).pixels)
    assert np.array_equal(*found)
    assert np.array_equal(found[0][~hole], pixels[~hole])


def test_an_error_in_a_thread_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "count_threads", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        list(threads.work_on(lambda number: 1 // number, [1, 0, 1]))


@pytest.mark.parametrize(
    ("told", "threads_"), [("1", 1), ("2", 2), ("99", 4), ("", 4), ("many", 4), ("0", 4)]
)
def test_threads_are_those_that_were_allowed(
    monkeypatch: pytest.MonkeyPatch, told: str, threads_: int
) -> None:
    monkeypatch.setattr(machine, "count_cores", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert machine.count_threads() == threads_


def make_search() -> Search:
    rng = np.random.default_rng(3)
    image = rng.random((260, 260, 3)).astype(np.float32)
    hole = np.zeros((260, 260), bool)
    hole[40:190, 40:190] = True
    return Search(Level(image, hole, 2), guide=Guide(image, 0.1))


def test_bands_are_too_far_apart_to_read_what_another_writes() -> None:
    search = make_search()
    assert len(search.targets) > 2 * BAND_TARGETS
    reach = 4
    times = list(search._split(reach))
    assert len(times) == 2
    assert np.array_equal(
        np.sort(np.concatenate([part for parts in times for part in parts])), search.targets
    )
    width = search.level.shape[1]
    for parts in times:
        for upper, lower in itertools.pairwise(parts):
            assert lower[0] // width - upper[-1] // width > reach


def test_few_targets_are_one_part() -> None:
    hole = np.zeros((30, 30), bool)
    hole[10:20, 10:20] = True
    search = Search(Level(np.zeros((30, 30, 3), np.float32), hole, 2))
    assert [[len(part) for part in parts] for parts in search._split(4)] == [[len(search.targets)]]


def test_search_and_vote_give_the_same_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr(threads, "count_threads", lambda count=count: count)
        search, rng = make_search(), np.random.default_rng(0)
        vote = Vote(search)
        search.start(rng, 100_000)
        changed = [search.improve(rng) for _ in range(2)]
        vote.average()
        found.append((changed, search.match, search.cost, search.level.pixels))
    for one in found[1:]:
        assert one[0] == found[0][0]
        for values, first in zip(one[1:], found[0][1:], strict=True):
            assert np.array_equal(values, first)


def test_every_match_costs_what_its_patch_does_and_none_got_worse() -> None:
    search, rng = make_search(), np.random.default_rng(0)
    search.start(rng, 100_000)
    search.improve(rng)
    before = search.cost[search.targets].copy()
    search.improve(rng)
    after = search.cost[search.targets]
    assert (after <= before + 1e-6).all()
    level, some = search.level, search.targets[::97]
    wanted, copies = level.patches(some), level.patches(search.match[some])
    patch = (level.weights(some, level.trust) * (copies - wanted) ** 2).sum(axis=1)
    assert search.guide is not None
    middle = level.pixels[search.match[some]] - search.guide.colours[level.to_yx(some)]
    guide = search.guide.hint / 3 * (middle**2).sum(axis=1)
    np.testing.assert_allclose(search.cost[some], patch + guide, rtol=1e-3, atol=1e-5)
