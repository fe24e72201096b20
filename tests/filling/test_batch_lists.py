"""Lists and generators of pictures, and results as rows."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import infilling
from infilling.errors import InputError

BOXES = infilling.FillOptions(boxes=((2, 2, 3, 3),))


def make_pictures(folder: Path, names: list[str]) -> list[Path]:
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 40 * number + 40, np.uint8)).save(path)
    return paths


def test_a_list_is_filled_in_its_order_and_names_stay_apart(tmp_path: Path) -> None:
    paths = make_pictures(tmp_path, ["b.png", "a.png", "sub/a.png"])
    seen = []
    summary = infilling.batch(
        [paths[0], str(paths[1]), paths[2]], tmp_path / "out", engine="mean", options=BOXES,
        report=lambda result, done, total: seen.append((Path(result.picture).name, done, total)),
    )  # fmt: skip
    assert seen == [("b.png", 1, 3), ("a.png", 2, 3), ("a.png", 3, 3)]
    rows = list(summary.rows())
    assert [row["output"] for row in rows] == ["b.png", "a.png", "a-2.png"]
    assert {row["state"] for row in rows} == {"filled"}
    for row, path in zip(rows, paths, strict=True):
        given, filled = (np.asarray(Image.open(each)) for each in (path, tmp_path / "out" / row["output"]))
        np.testing.assert_array_equal(given, filled)  # plain pictures
    again = infilling.batch(paths, tmp_path / "out", engine="mean", options=BOXES)
    assert again.counts == {"skipped": 3}


def test_a_generator_is_asked_for_one_picture_at_a_time(tmp_path: Path) -> None:
    paths = make_pictures(tmp_path, ["a.png", "b.png", "c.png"])
    events: list[str] = []

    def generate() -> Iterator[Path]:
        for path in paths:
            events.append(f"ask {path.stem}")
            yield path

    totals = set()

    def report(result: object, done: int, total: int | None) -> None:
        events.append(f"done {done}")
        totals.add(total)

    infilling.batch(generate(), tmp_path / "out", engine="mean", options=BOXES, report=report)
    assert events == ["ask a", "done 1", "ask b", "done 2", "ask c", "done 3"]
    assert totals == {None}


def test_pairs_have_masks_of_their_own_and_bad_pictures_stop_nothing(tmp_path: Path) -> None:
    paths = make_pictures(tmp_path, ["a.png", "b.png"])
    mask = np.zeros((20, 30), np.uint8)
    mask[5:9, 5:9] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    items = [(path, tmp_path / "mask.png") for path in [*paths, tmp_path / "bad.png", tmp_path / "none.png"]]
    summary = infilling.batch([*items, tmp_path / "x.txt"], tmp_path / "out", engine="mean")
    assert summary.counts == {"filled": 2, "failed": 3}
    rows = {Path(row["picture"]).name: row for row in summary.rows()}
    assert rows["a.png"]["holes"] == 1
    assert "not the ending of a supported picture format" in rows["x.txt"]["error"]
    one = infilling.batch(paths, tmp_path / "other", masks=tmp_path / "mask.png", engine="mean", jobs=1)
    assert one.counts == {"filled": 2}


def test_rows_make_a_table(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    paths = make_pictures(tmp_path, ["a.png", "b.png"])
    table = pandas.DataFrame(infilling.batch(paths, tmp_path / "out", engine="mean", options=BOXES).rows())
    assert table["state"].tolist() == ["filled", "filled"]
    dry = infilling.batch(paths, tmp_path / "out", engine="mean", options=BOXES, dry_run=True)
    assert list(dry.rows()) == []


def test_what_no_list_can_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an item of a list is a path"):
        infilling.batch([3], tmp_path / "out", engine="mean", options=BOXES)  # type: ignore[list-item]


def test_the_masks_of_a_list_are_found_in_a_folder(tmp_path: Path) -> None:
    paths = make_pictures(tmp_path / "in", ["a.png", "sub/b.jpg", "c.png", "d.png"])
    mask = np.zeros((20, 30), np.uint8)
    mask[2:5, 2:5] = 255
    (tmp_path / "masks").mkdir()
    for name in ("a.png", "b_mask001.png", "b_mask002.png", "own.png"):
        Image.fromarray(mask).save(tmp_path / "masks" / name)
    items = [*paths[:3], (paths[3], tmp_path / "masks" / "own.png")]
    found = infilling.batch(items, tmp_path / "out", masks=tmp_path / "masks", engine="mean")
    rows = [(row["output"], row["state"]) for row in found.rows()]
    filled = ["a.png", "b_mask001.jpg", "b_mask002.jpg", "d.png"]
    assert sorted(rows) == sorted([*((name, "filled") for name in filled), ("c.png", "failed")])
    found = infilling.batch(
        items, tmp_path / "other", masks=tmp_path / "masks", engine="mean", skip_unmasked=True
    )
    assert found.counts == {"filled": 4, "unmasked": 1}
    with pytest.raises(InputError, match="no such mask file or folder"):
        infilling.batch(items, tmp_path / "other", masks=tmp_path / "nowhere", engine="mean")
