"""Pictures go into shards as they are, always to the same bytes, and webdataset reads them back."""

import errno
import json
import os
import shutil
import tarfile
from contextlib import ExitStack

import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from infilling.errors import DataError, StorageError
from infilling.learning import picture_sources
from infilling.learning import shard_writer as module
from infilling.learning.shard_writer import pack_pictures


@pytest.fixture
def folder(tmp_path, tree, draw):
    """Fifteen pictures of three classes, and a file that is none."""
    names = [f"{place}/{number}.jpg" for place in ("hut", "sea", "a/house/outdoor") for number in range(5)]
    files = {name: draw(seed, format="JPEG") for seed, name in enumerate(names)}
    return tree(tmp_path / "pictures", {**files, "notes.txt": b"no picture"})


def read_back(out):
    """What webdataset reads: key and suffix to bytes."""
    with ExitStack() as stack:
        shards = [
            {"url": str(path), "stream": stack.enter_context(path.open("rb"))}
            for path in sorted(out.glob("*.tar"))
        ]
        return {
            f"{sample['__key__']}.{kind}": data
            for sample in group_by_keys(tar_file_expander(shards))
            for kind, data in sample.items()
            if not kind.startswith("_")
        }


def test_webdataset_reads_what_was_packed(folder, tmp_path):
    packed = pack_pictures(folder, tmp_path / "out", per_shard=4)
    assert (packed.shards, packed.pictures, packed.skipped) == (4, 15, ())
    expected = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jpg")}
    assert read_back(tmp_path / "out") == expected
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["wids_version"] == 1
    assert [entry["nsamples"] for entry in index["shardlist"]] == [4, 4, 4, 3]
    for entry in index["shardlist"]:
        assert (tmp_path / "out" / entry["url"]).stat().st_size == entry["filesize"]
    assert packed.size == sum(entry["filesize"] for entry in index["shardlist"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"{number:06}.tar" for number in range(4)),
        "index.json",
    ]


def test_shards_hold_classes_and_mix_them(folder, tmp_path):
    pack_pictures(folder, tmp_path / "out", per_shard=8)
    items, cut = picture_sources.list_items(picture_sources.find_sources(tmp_path / "out"))
    assert not cut
    assert {item.label for item in items} == {"hut", "sea", "a/house/outdoor"}
    for shard in ("000000.tar", "000001.tar"):
        assert len({item.label for item in items if item.file.name == shard}) > 1


def test_the_same_pictures_give_the_same_bytes_anywhere(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    for number, path in enumerate(copy.rglob("*.jpg")):
        os.utime(path, (number, number))
        path.chmod(0o600)
    outs = [tmp_path / name for name in ("one", "two", "other seed")]
    for source, out, seed in zip((folder, copy, folder), outs, (0, 0, 1), strict=True):
        pack_pictures(source, out, per_shard=4, seed=seed)
    one, two, other = ({path.name: path.read_bytes() for path in out.iterdir()} for out in outs)
    assert one == two
    assert one.keys() == other.keys()
    assert one["000000.tar"] != other["000000.tar"]


def test_members_have_no_owner_and_no_time(folder, tmp_path):
    pack_pictures(folder, tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "000000.tar") as archive:
        assert {(member.mtime, member.uid, member.uname, member.mode) for member in archive} == {
            (0, 0, "", 0o644)
        }


def test_every_picture_is_a_sample_of_its_own(tmp_path, tree):
    """Names that webdataset would take for several files of one sample, long ones and foreign ones."""
    files = {
        "sea/a.jpg": b"1",
        "sea/a.png": b"2",
        "sea/b.left.JPG": b"3",
        "sea/b.right.jpg": b"4",
        f"sea/{'x' * 150}.jpg": b"5",
        "bãi biển/đá.jpg": b"6",
    }
    pack_pictures(tree(tmp_path / "in", files), tmp_path / "out")
    assert read_back(tmp_path / "out") == {
        "sea/a.jpg": b"1",
        "sea/a-2.png": b"2",
        "sea/b_left.jpg": b"3",
        "sea/b_right.jpg": b"4",
        f"sea/{'x' * 150}.jpg": b"5",
        "bãi biển/đá.jpg": b"6",
    }


def test_shards_are_packed_anew(folder, tmp_path):
    pack_pictures(folder, tmp_path / "small", per_shard=2)
    pack_pictures(tmp_path / "small", tmp_path / "large", per_shard=100)
    pack_pictures(folder, tmp_path / "direct", per_shard=100)
    assert [path.name for path in (tmp_path / "large").glob("*.tar")] == ["000000.tar"]
    assert read_back(tmp_path / "large") == read_back(tmp_path / "direct")


def test_what_cannot_be_read_is_left_out_and_told(folder, tmp_path):
    (folder / "hut" / "0.jpg").write_bytes(b"")
    (folder / "hut" / "1.jpg").unlink()
    (folder / "hut" / "1.jpg").mkdir()  # found as a name no more
    (folder / "hut" / "2.jpg").unlink()
    (folder / "hut" / "2.jpg").symlink_to(folder / "nowhere")
    packed = pack_pictures(folder, tmp_path / "out")
    assert packed.pictures == 12
    assert dict(packed.skipped) == {
        "hut/0.jpg": "the file is empty",
        "hut/2.jpg": "No such file or directory",
    }


@pytest.mark.parametrize("what", ["not empty", "a file", "no pictures", "idx", "all bad"])
def test_what_cannot_be_packed_leaves_nothing(folder, tmp_path, tree, what):
    source, out = folder, tmp_path / "out"
    if what == "not empty":
        tree(out, {"mine.txt": b"mine"})
        reason = "is not empty: name a new folder"
    elif what == "a file":
        out.write_bytes(b"mine")
        reason = "is not empty: name a new folder"
    elif what == "no pictures":
        source, reason = tree(tmp_path / "none", {"a.txt": b"x"}), "no pictures in"
    elif what == "idx":
        source = tree(
            tmp_path / "idx", {"train-images-idx3-ubyte": bytes([0, 0, 8, 3, *[0, 0, 0, 1] * 3, 9])}
        )
        reason = "IDX files hold no picture files"
    else:
        source, reason = (
            tree(tmp_path / "bad", {"a.jpg": b""}),
            "none of 1 pictures can be read: a.jpg: the file",
        )
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=reason):
        pack_pictures(source, out)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_leaves_nothing(folder, tmp_path, monkeypatch):
    def fill_up(_file, _data=b""):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_through", fill_up)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StorageError, match=r"cannot write .*out: No space left on device"):
        pack_pictures(folder, tmp_path / "out", per_shard=4)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_packs_and_tells(folder, tmp_path, infill):
    ran = infill("data", "shards", folder, tmp_path / "out", "--per-shard", 10)
    assert ran.code == 0, ran.err
    assert ran.lines[0] == "shards\tpictures\tMB"
    assert ran.lines[1].split("\t")[:2] == ["2", "15"]
    again = infill("data", "shards", folder, tmp_path / "out")
    assert (again.code, again.out) == (5, b"")
    assert again.err.strip() == f"error: {tmp_path / 'out'} is not empty: name a new folder"
    (folder / "sea" / "0.jpg").write_bytes(b"")
    partly = infill("data", "shards", folder, tmp_path / "more")
    assert (partly.code, partly.err) == (5, "left out sea/0.jpg: the file is empty\n")
    assert partly.lines[1].split("\t")[:2] == ["1", "14"]
