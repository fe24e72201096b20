"""The reference's subset is taken from both layouts of Places365, the same for a seed, all or nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers import load_script

from infilling.errors import DataError, StorageError
from infilling.learning import picture_sources

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "places365.py"
places365 = load_script("examples/places365.py")

COUNTS = {"a/abbey": 6, "a/apartment_building/outdoor": 7, "b/beach": 5, "b/bar": 2, "z/zen_garden": 9}
FLAT = {"abbey", "apartment_building-outdoor", "beach", "bar", "zen_garden"}


@pytest.fixture
def unpacked(tmp_path, tree) -> Path:
    """The layout that `places365-small` unpacks to, with its validation pictures and lists beside it."""
    training = {
        f"data_256/{place}/{n:08}.jpg": f"{place} {n}".encode()
        for place, count in COUNTS.items()
        for n in range(count)
    }
    others = {"val_256/Places365_val_00000001.jpg": b"", "categories_places365.txt": b"/a/abbey 0\n"}
    return tree(tmp_path / "places365", {**training, **others})


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_subset(unpacked, tmp_path):
    out = tmp_path / "out"
    counts = places365.take_subset(unpacked, out, classes=3, per_class=5, seed=1)
    assert len(counts) == 3
    assert set(counts) < FLAT - {"bar"}  # which has too few pictures
    assert set(counts.values()) == {5}
    taken = read_tree(out)
    assert sorted({name.split("/")[0] for name in taken}) == sorted(counts) == sorted(os.listdir(out))
    assert len(taken) == 15
    for name, content in taken.items():
        place, number = content.decode().rsplit(" ", 1)
        assert places365.name_class(f"{place}/{number}.jpg") == name.split("/")[0]
        assert int(number) == int(Path(name).stem)
    (found,) = picture_sources.find_sources(out)
    assert len(found.names) == 15
    assert (out / found.names[0]).stat().st_nlink == 2  # linked, not copied


def test_another_seed_takes_others_and_the_same_seed_the_same(unpacked, tmp_path, tree):
    elsewhere = tree(tmp_path / "elsewhere", read_tree(unpacked / "data_256"))
    taken = []
    for index, (source, seed) in enumerate(
        [(unpacked, 1), (elsewhere, 1), (unpacked / "data_256", 1), (unpacked, 2)]
    ):
        places365.take_subset(
            source, tmp_path / f"out{index}", classes=["abbey", "zen_garden"], per_class=4, seed=seed
        )
        taken.append(read_tree(tmp_path / f"out{index}"))
    assert taken[0] == taken[1] == taken[2]
    assert taken[3] != taken[0]
    drawn = {
        tuple(places365.take_subset(unpacked, tmp_path / f"seed{seed}", classes=2, per_class=5, seed=seed))
        for seed in range(8)
    }
    assert len(drawn) > 1


def test_the_layout_of_class_folders(tmp_path, tree):
    source = tree(tmp_path / "in", {f"train/{name}/{n}.jpg": b"x" for name in FLAT for n in range(3)})
    assert set(places365.take_subset(source, tmp_path / "out", classes=5, per_class=3)) == FLAT


def test_copies_where_links_are_impossible(unpacked, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(places365.os, "link", refuse)
    places365.take_subset(unpacked, tmp_path / "out", classes=["beach"], per_class=5)
    taken = read_tree(tmp_path / "out")
    assert len(taken) == 5
    assert taken["beach/00000003.jpg"] == b"b/beach 3"
    assert (tmp_path / "out/beach/00000003.jpg").stat().st_nlink == 1


def test_what_cannot_be_taken(unpacked, tmp_path, tree):
    out = tmp_path / "out"
    for source, options, reason in [
        (
            unpacked,
            {"classes": 5, "per_class": 5},
            "5 classes were asked for, and only 4 of 5 have 5 pictures",
        ),
        (unpacked, {"classes": ["beech"], "per_class": 1}, "no class is called 'beech'; did you mean beach"),
        (unpacked, {"classes": ["bar"], "per_class": 5}, "class bar has only 2 of 5 pictures"),
        (unpacked / "val_256", {}, "not in class folders"),
        (tmp_path / "nowhere", {}, "nothing at"),
    ]:
        with pytest.raises(DataError, match=reason):
            places365.take_subset(source, out, **options)
        assert not out.exists()
    with pytest.raises(DataError, match="not empty"):
        places365.take_subset(unpacked, tree(out, {"mine.txt": b""}), classes=1, per_class=1)
    assert read_tree(out) == {"mine.txt": b""}


def test_an_empty_folder_may_be_filled(unpacked, tmp_path):
    (tmp_path / "out").mkdir()
    places365.take_subset(unpacked, tmp_path / "out", classes=1, per_class=2)
    assert len(read_tree(tmp_path / "out")) == 2


def test_a_disk_that_takes_no_more_leaves_nothing(unpacked, tmp_path, monkeypatch):
    def fill_up(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(places365.os, "link", fill_up)
    monkeypatch.setattr(places365.shutil, "copyfile", fill_up)
    with pytest.raises(StorageError, match=r"cannot write .*out: No space left on device"):
        places365.take_subset(unpacked, tmp_path / "out", classes=1, per_class=1)
    assert [path.name for path in tmp_path.iterdir()] == ["places365"]


def test_the_command(unpacked, tmp_path):
    command = [sys.executable, SCRIPT, unpacked, tmp_path / "out", "--classes", "2", "--per-class", "5"]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    assert [line.split("\t")[1] for line in ran.stdout.splitlines()] == ["5", "5"]
    again = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert (again.returncode, "is not empty" in again.stderr) == (1, True)
