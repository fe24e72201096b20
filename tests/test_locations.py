"""URLs: a folder behind one is filled like a folder here, and a file is there whole or not at all."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from infilling.errors import InputError, StorageError
from infilling.filling import batch_results
from infilling.filling.batch import batch as fill_folder
from infilling.filling.batch_results import RESULTS
from infilling.filling.folder import find_jobs
from infilling.locations import Url, list_folder, locate, write_location

fsspec = pytest.importorskip("fsspec", reason="the extra stream is not installed")


batch = partial(fill_folder, engine="push-pull")


@pytest.fixture
def memory() -> Iterator[Any]:
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one in a folder below and one damaged, and masks for them."""
    rng = np.random.default_rng(0)
    mask = Image.new("L", (40, 30))
    mask.paste(255, (4, 4, 12, 12))
    for name in ("a.png", "sub/b.png", "sub/_c.png"):
        for kind in ("in", "masks"):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(tmp_path / "in" / name)
        mask.save(tmp_path / "masks" / name)
    (tmp_path / "in/sub/_c.png").write_bytes(b"no")
    (tmp_path / "in/notes.txt").write_text("no picture")
    return tmp_path


def rows(text: bytes) -> dict[str, tuple[str, str]]:
    """Picture → state and error, of the lines of a run."""
    told = [json.loads(line) for line in text.splitlines()]
    assert len({row["picture"] for row in told}) == len(told)
    return {row["picture"]: (row["state"], row["error"]) for row in told}


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != RESULTS
    }


def test_a_store_is_filled_as_a_folder_is(folder: Path, memory: Any) -> None:
    memory.put(f"{folder}/in", "/photos/in", recursive=True)
    memory.put(f"{folder}/masks", "/photos/masks", recursive=True)
    here = batch(folder / "in", folder / "out", masks=folder / "masks")
    there = batch("memory://photos/in", "memory://photos/out/", masks="memory://photos/masks")
    assert here.counts == there.counts == {"filled": 2, "failed": 1}
    found = {name.removeprefix("/photos/out/"): memory.cat_file(name) for name in memory.find("/photos/out")}
    assert rows(found.pop(RESULTS)) == rows((folder / "out" / RESULTS).read_bytes())
    assert found == files(folder / "out")
    again = batch("memory://photos/in", "memory://photos/out", masks="memory://photos/masks")
    assert again.counts == {"skipped": 2, "failed": 1}


def test_a_store_that_shows_half_a_file_is_written_under_another_name_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.local import LocalFileSystem

    written: list[str] = []
    pipe = LocalFileSystem.pipe_file

    def watch(self: Any, path: str, value: bytes, **options: Any) -> None:
        written.append(path)
        pipe(self, path, value, **options)

    monkeypatch.setattr(LocalFileSystem, "pipe_file", watch)
    batch(folder / "in", folder / "out", masks=folder / "masks")
    batch(f"file://{folder}/in", f"file://{folder}/url", masks=f"file://{folder}/masks")
    assert files(folder / "url") == files(folder / "out")
    assert len(written) == 4  # two pictures, the lines' first part and their file
    assert all(name.endswith(".part") for name in written)


def test_lines_of_a_killed_run_are_found_again_and_parts_become_one_file(
    folder: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def kill(_result: object, done: int, _total: int) -> None:
        if done == 2:
            raise Killed

    monkeypatch.setattr(batch_results, "PART_S", 0)
    with pytest.raises(Killed):
        batch(folder / "in", "memory://out", masks=folder / "masks", report=kill)
    parts = ["results.part-00001.jsonl", "results.part-00002.jsonl"]
    assert [name for name in list_folder(Url("memory://out"))[1] if "results" in name] == parts
    assert (
        batch(folder / "in", "memory://out", masks=folder / "masks").counts["skipped"] == 2 - 1
    )  # one failed
    assert [name for name in list_folder(Url("memory://out"))[1] if "results" in name] == [RESULTS]
    assert len(rows(memory.cat_file("/out/results.jsonl"))) == 3


def test_a_place_is_joined_named_and_compared_like_a_path() -> None:
    place = locate("s3://bucket/photos/") / "sub" / "a.tar.png"
    assert place == Url("s3://bucket/photos/sub/a.tar.png")
    assert (place.name, place.stem, place.parent.name) == ("a.tar.png", "a.tar", "sub")
    assert locate("s3://bucket/photos/").resolve() == locate("s3://bucket/photos").resolve()
    assert locate("photos") == Path("photos")
    assert locate(place) is place


def test_results_beside_pictures_in_a_store_are_no_pictures(memory: Any) -> None:
    for name in ("/in/a.png", "/in/out/b.png", "/in/.hidden/c.png", "/in/_mask.png"):
        memory.pipe_file(name, b"")
    found = find_jobs(Url("memory://in"), Url("memory://in/out/"), Url("memory://in/_mask.png"))
    assert [(job.picture, job.mask) for job in found] == [("a.png", Url("memory://in/_mask.png"))]


def test_what_a_store_refuses_is_one_line(folder: Path, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"memory://none: no such folder"):
        batch("memory://none", folder / "out", masks=folder / "masks")
    with pytest.raises(InputError, match=r"nostore://x: .*nostore"):
        batch("nostore://x", folder / "out", masks=folder / "masks")

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("quota\nused up")

    monkeypatch.setattr(type(memory), "pipe_file", refuse)
    with pytest.raises(StorageError, match=r"memory://out/a: cannot be written \(quota used up\)"):
        write_location(Url("memory://out/a"), b"")


def test_the_command_takes_urls(folder: Path, memory: Any, infill: Any) -> None:
    memory.put(f"{folder}/in/a.png", "/in/a.png")
    ran = infill("batch", "memory://in", "memory://out", "--box", "4,4,8,8", "--engine", "push-pull")
    assert (ran.code, ran.lines) == (0, [f"memory://out/{RESULTS}"])


def test_a_bucket_is_filled_as_a_folder_is_and_gone_on_from(folder: Path, store: Any) -> None:
    """Against an S3 server: what one run leaves, the next finds, though others wrote there meanwhile."""
    import boto3

    place, other = "s3://photos/batch", boto3.client("s3")
    for kind in ("in", "masks"):
        store.put(f"{folder}/{kind}", f"photos/batch/{kind}", recursive=True)
    here = batch(folder / "in", folder / "out", masks=folder / "masks")
    there = batch(f"{place}/in", f"{place}/out", masks=f"{place}/masks")
    assert here.counts == there.counts == {"filled": 2, "failed": 1}

    def read(name: str) -> dict[str, bytes]:
        listed = other.list_objects_v2(Bucket="photos", Prefix=f"batch/{name}/")["Contents"]
        names = [each["Key"] for each in listed]
        return {
            key.removeprefix(f"batch/{name}/"): other.get_object(Bucket="photos", Key=key)["Body"].read()
            for key in names
        }

    found = read("out")
    assert rows(found.pop(RESULTS)) == rows((folder / "out" / RESULTS).read_bytes())
    assert found == files(folder / "out")
    good = (folder / "in/a.png").read_bytes()
    other.put_object(Bucket="photos", Key="batch/in/sub/_c.png", Body=good)
    other.put_object(Bucket="photos", Key="batch/in/d.png", Body=good)
    other.put_object(Bucket="photos", Key="batch/masks/d.png", Body=(folder / "masks/a.png").read_bytes())
    other.delete_object(Bucket="photos", Key="batch/out/sub/b.png")
    again = batch(f"{place}/in", f"{place}/out", masks=f"{place}/masks")
    assert again.counts == {"skipped": 1, "filled": 3}
    assert read("out").keys() == {"a.png", "d.png", "sub/b.png", "sub/_c.png", RESULTS}
    assert read("out")["sub/b.png"] == found["sub/b.png"]


def test_a_bucket_that_cannot_be_used_is_one_line(
    folder: Path, store: Any, infill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["--box", "4,4,8,8", "--engine", "push-pull"]
    store.pipe_file("photos/refused/in/a.png", (folder / "in/a.png").read_bytes())
    for source, out, code in [
        ("s3://nowhere/in", folder / "out", 3),
        ("s3://photos/refused/none", folder / "out", 3),
        ("s3://photos/refused/in", "s3://nowhere/out", 8),
    ]:
        ran = infill("batch", source, out, *chosen)
        assert (ran.code, ran.out) == (code, b""), ran.err
        assert ran.err.startswith("error: s3://")
        assert ran.err.count("\n") == 1
