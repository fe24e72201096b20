"""Shards are found and read on disks, web servers and S3, and asked for again when something goes wrong."""

import json
import logging
import os
import shutil
import sys
from pathlib import Path

import braceexpand
import pytest

from infilling.errors import DataError, DependencyError
from infilling.learning import remote_files
from infilling.learning.remote_files import fetch_file
from infilling.learning.shard_sets import Shard, expand_braces, find_shards, read_shard
from infilling.learning.shard_writer import pack_pictures


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(remote_files, "WAITS_S", (0.0, 0.0))


@pytest.fixture(scope="module")
def packed(tmp_path_factory, tree, draw):
    """Ten pictures in shards of four, four and two."""
    files = {f"sea/{number}.jpg": draw(number, format="JPEG") for number in range(10)}
    out = tmp_path_factory.mktemp("packed") / "set"
    pack_pictures(tree(tmp_path_factory.mktemp("in"), files), out, per_shard=4)
    return out


@pytest.fixture
def server(packed, tmp_path, serve):
    """A server of a copy of the set; `/set/` has the index, `/bare/` has not."""
    shutil.copytree(packed, tmp_path / "served" / "set")
    shutil.copytree(packed, tmp_path / "served" / "bare")
    (tmp_path / "served" / "bare" / "index.json").unlink()
    return serve(tmp_path / "served")


@pytest.fixture(scope="module")
def s3(packed, store):
    """The set in the bucket `photos`: `s3://photos/set`, and `s3://photos/bare` without the index."""
    for path in packed.iterdir():
        store.pipe_file(f"photos/set/{path.name}", path.read_bytes())
        if path.suffix == ".tar":
            store.pipe_file(f"photos/bare/{path.name}", path.read_bytes())


def describe(found: tuple[Shard, ...]) -> list[tuple[str, int]]:
    return [(shard.name, shard.pictures) for shard in found]


WHOLE = [("000000.tar", 4), ("000001.tar", 4), ("000002.tar", 2)]


# -- which shards there are


@pytest.mark.parametrize(
    "url", ["s3://b/x.tar", "x-{000..011}.tar", "{8..12}/{00..02}.tar", "a{1..3}b{7..7}.tar"]
)
def test_braces_are_numbers_as_webdataset_expands_them(url):
    assert expand_braces(url) == list(braceexpand.braceexpand(url))


def test_a_set_on_a_disk_is_named_in_many_ways(packed, tmp_path):
    bare = shutil.copytree(packed, tmp_path / "bare")
    (bare / "index.json").unlink()
    for path in (packed, packed / "index.json", packed / "{000000..000002}.tar", bare):
        found = find_shards([str(path)], tmp_path / "counted")
        assert describe(found) == WHOLE
        for shard in found:
            assert Path(shard.url).stat().st_size == shard.size
    assert describe(find_shards([f"{packed}/000001.tar", str(bare)], tmp_path / "counted")) == [
        WHOLE[1],
        *WHOLE,
    ]


@pytest.mark.parametrize("place", ["set", "set/", "set/index.json", "bare/{000000..000002}.tar", "bare"])
def test_a_set_on_a_web_server(server, place, tmp_path, packed):
    found = find_shards([f"{server.url}/{place}"], tmp_path / "counted")
    assert describe(found) == WHOLE
    for shard in found:
        assert shard.url.startswith(f"{server.url}/{place.partition('/')[0]}/")
        assert fetch_file(shard.url, shard.size) == (packed / shard.name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["set", "set/index.json", "bare/{000000..000002}.tar", "bare"])
def test_a_set_on_s3(s3, place, tmp_path, packed):
    found = find_shards([f"s3://photos/{place}"], tmp_path / "counted")
    assert describe(found) == WHOLE
    for shard in found:
        assert shard.url.startswith(f"s3://photos/{place.partition('/')[0]}/")
        assert fetch_file(shard.url, shard.size) == (packed / shard.name).read_bytes()


def test_an_index_may_name_shards_anywhere(server, packed, tmp_path):
    """The file as others write it: no sizes, and URLs of its own."""
    entries = [
        {"url": f"{server.url}/bare/000000.tar", "nsamples": 4},
        {"url": str(packed / "000001.tar"), "nsamples": 4, "dataset": "sea"},
    ]
    (tmp_path / "mine.json").write_text(json.dumps({"wids_version": 1, "name": "x", "shardlist": entries}))
    found = find_shards([str(tmp_path / "mine.json")], tmp_path)
    assert found == tuple(Shard(str(entry["url"]), 4, None) for entry in entries)
    assert [len(read_shard(shard.url, shard.size)) for shard in found] == [4, 4]


def test_pictures_are_counted_once(server, tmp_path, caplog):
    url = f"{server.url}/bare/{{000000..000002}}.tar"
    with caplog.at_level(logging.WARNING, logger="infilling"):
        assert describe(find_shards([url], tmp_path / "counted")) == WHOLE
    told = [record.getMessage() for record in caplog.records]
    assert told == ["reading 3 shards once to count their pictures: there is no index.json"]
    server.asked.clear()
    assert describe(find_shards([url], tmp_path / "counted")) == WHOLE
    assert server.asked == []  # HEAD alone
    changed = Path(shutil.copy(server.folder / "bare/000002.tar", server.folder / "bare/000000.tar"))
    os.utime(changed, (1e9, 1e9))  # the sizes are the same: a tar is padded
    assert describe(find_shards([url], tmp_path / "counted")) == [("000000.tar", 2), *WHOLE[1:]]
    assert server.asked == ["/bare/000000.tar"]


def test_a_read_only_cache_costs_only_time(packed, tmp_path):
    (tmp_path / "counted").write_bytes(b"no folder")
    assert describe(find_shards([f"{packed}/000001.tar"], tmp_path / "counted")) == [WHOLE[1]]


# -- what goes wrong


@pytest.mark.parametrize("fault", ["500", "cut", "short"])
def test_what_fails_twice_works_the_third_time(server, packed, fault, caplog):
    server.faults["/set/000000.tar"] = [fault, fault]
    whole = (packed / "000000.tar").read_bytes()
    with caplog.at_level(logging.WARNING, logger="infilling"):
        assert fetch_file(f"{server.url}/set/000000.tar", len(whole)) == whole
    assert server.asked == ["/set/000000.tar"] * 3
    assert not caplog.records


def test_what_fails_three_times_is_given_up(server):
    url = f"{server.url}/set/000000.tar"
    server.faults["/set/000000.tar"] = ["500"] * 3
    with pytest.raises(
        DataError, match=rf"^cannot read {url} in 3 tries: 500, message='Internal Server Error'"
    ):
        fetch_file(url)
    with pytest.raises(DataError, match=rf"^cannot read {server.url}/none.tar in 3 tries: it is not there$"):
        fetch_file(f"{server.url}/none.tar")
    server.faults["/set/000000.tar"] = ["cut"] * 3
    with pytest.raises(DataError, match=rf"^cannot read {url} in 3 tries: .*not completed") as caught:
        fetch_file(url)
    assert "\n" not in str(caught.value)
    assert fetch_file(url)  # the server is well again


def test_what_stays_short_is_used_as_far_as_it_goes(server, packed, caplog):
    size = (packed / "000000.tar").stat().st_size
    server.faults["/set/000000.tar"] = ["short"] * 3
    with caplog.at_level(logging.WARNING, logger="infilling"):
        items = read_shard(f"{server.url}/set/000000.tar", size)
    assert 1 <= len(items) <= 3
    told = [record.getMessage() for record in caplog.records]
    assert told[0].endswith(f"in 3 tries: it ends after {size // 2:,} of {size:,} bytes")
    assert told[1] == f"{server.url}/set/000000.tar: the shard ends early, after {len(items)} pictures"


def test_shards_that_cannot_be_counted_are_left_out(server, tmp_path, caplog):
    (server.folder / "bare/000001.tar").unlink()
    (server.folder / "bare/000002.tar").write_bytes(b"<html>no tar</html>" * 100)
    with caplog.at_level(logging.WARNING, logger="infilling"):
        found = find_shards([f"{server.url}/bare/{{000000..000002}}.tar"], tmp_path / "counted")
    assert describe(found) == [WHOLE[0]]
    assert caplog.records[-1].getMessage().startswith("left out 2 of 3 shards: first cannot read")
    with pytest.raises(DataError, match="none of 2 shards can be read: cannot read"):
        find_shards([f"{server.url}/bare/{{000001..000002}}.tar"], tmp_path / "counted")


@pytest.mark.slow
def test_s3_says_what_is_not_there(s3, tmp_path):
    with pytest.raises(DataError, match=r"^cannot read s3://photos/none.tar in 3 tries: it is not there$"):
        fetch_file("s3://photos/none.tar")
    with pytest.raises(DataError, match=r"s3://photos/nowhere"):
        find_shards(["s3://photos/nowhere"], tmp_path)
    with pytest.raises(DataError, match=r"s3://no-such-bucket/x"):
        find_shards(["s3://no-such-bucket/x"], tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("index.json", b"no JSON", "is not an index of shards, a JSON object with a shardlist"),
        ("index.json", b'{"shards": []}', "is not an index of shards"),
        ("index.json", b'{"shardlist": [{"url": "x"}]}', "is not an index of shards"),
        ("index.json", b"[1]", "is not an index of shards"),
        ("index.json", b'{"shardlist": []}', "lists no shards"),
        (
            "index.json",
            b'{"shardlist": [{"url": "x.tar", "nsamples": 9999999999}]}',
            "pictures do not fit into",
        ),
        ("index.json", b'{"shardlist": [{"url": "x.tar", "nsamples": -1}]}', "-1 pictures do not fit into"),
        (
            "index.json",
            b'{"shardlist": [{"url": "x", "nsamples": 3, "filesize": 2048}]}',
            "3 pictures do not",
        ),
        (
            "index.json",
            b'{"shardlist": [{"url": "file:///x.tar", "nsamples": 1}]}',
            "is a file of this machine",
        ),
        ("a.tar.gz", b"", "is compressed: unpack it to a .tar"),
        ("a.jpg", b"", "there is nothing|holds no tar|is no folder"),
    ],
)
def test_what_is_no_set(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason):
        find_shards([str(tmp_path / name)], tmp_path / "counted")


def test_a_folder_of_pictures_is_to_be_packed(tmp_path, tree):
    folder = tree(tmp_path / "in", {"a.jpg": b"x"})
    with pytest.raises(DataError, match="holds no tar shards to stream: pack its pictures with `infill data"):
        find_shards([str(folder)], tmp_path)


def test_a_shard_that_no_memory_holds_is_refused(packed, monkeypatch):
    monkeypatch.setattr(remote_files, "MOST_BYTES", 1000)
    with pytest.raises(DataError, match=r"000000.tar has 0.0 GB, and is read whole: pack it into smaller"):
        fetch_file(str(packed / "000000.tar"), 2000)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(DependencyError, match=r"cannot read gs://b/x.tar: .*gcsfs.*; for s3:.*pip install"):
        fetch_file("gs://b/x.tar")
    with pytest.raises(DataError, match=r"cannot read nonsense://x.tar: nonsense:// is unknown"):
        fetch_file("nonsense://x.tar")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(DependencyError, match=r"https://h/x.tar needs fsspec: pip install .*stream"):
        fetch_file("https://h/x.tar")
