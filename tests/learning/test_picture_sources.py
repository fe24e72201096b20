"""Every kind of source is found, named and read; what is none of them is refused in one line."""

import gzip
import io
import os
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from infilling.errors import DataError
from infilling.learning.picture_items import read_item
from infilling.learning.picture_sources import find_sources, list_items

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def make_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make_idx(path: Path, array: np.ndarray) -> Path:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def list_names(path: Path) -> list[tuple[str, str]]:
    items, cut = list_items(find_sources(path))
    assert not cut
    return [(item.name, item.label) for item in items]


def test_class_folders_nested_ones_too(tmp_path, tree):
    tree(tmp_path, {"b/2.JPG": b"", "a/house/outdoor/1.png": b"", "b/1.webp": b"", "b/notes.txt": b""})
    assert list_names(tmp_path) == [
        ("a/house/outdoor/1.png", "a/house/outdoor"),
        ("b/1.webp", "b"),
        ("b/2.JPG", "b"),
    ]
    assert find_sources(tmp_path)[0].ignored == {".txt": 1}


def test_a_flat_folder_has_no_classes(tmp_path, tree):
    tree(tmp_path, {"2.jpg": b"", "1.tiff": b"", "3.avif": b"", "4.bmp": b""})
    assert list_names(tmp_path) == [("1.tiff", ""), ("2.jpg", ""), ("3.avif", ""), ("4.bmp", "")]


def test_hidden_files_are_left_out(tmp_path, tree):
    tree(tmp_path, {"1.jpg": b"", "._1.jpg": b"", ".cache/2.jpg": b"", "__MACOSX/1.jpg": b""})
    assert list_names(tmp_path) == [("1.jpg", "")]


def test_links_are_followed_but_not_in_circles(tmp_path, tree):
    elsewhere = tree(tmp_path / "elsewhere", {"1.jpg": b"one"})
    folder = tree(tmp_path / "folder", {"b/2.jpg": b"two"})
    (folder / "a").symlink_to(elsewhere)
    for circle in ("back", "again"):  # two: the ways through them are endless
        (folder / "b" / circle).symlink_to(folder)
    items, _ = list_items(find_sources(folder))
    assert [item.name for item in items] == ["a/1.jpg", "b/2.jpg"]
    assert [read_item(item) for item in items] == [b"one", b"two"]


def test_several_paths_in_their_order(tmp_path, tree):
    one, two = tree(tmp_path / "one", {"z.jpg": b"1"}), tree(tmp_path / "two", {"a.jpg": b"2"})
    shard = make_tar(tmp_path / "s.tar", {"m.jpg": b"3"})
    items, _ = list_items(find_sources([two, shard, one]))
    assert [read_item(item) for item in items] == [b"2", b"3", b"1"]


def test_tar_members_and_their_bytes(tmp_path):
    members = {
        f"miniplaces/{place}/{n}.jpg": f"{place}{n}".encode() * 300
        for n in (1, 2)
        for place in ("sea", "hut")
    }
    path = make_tar(tmp_path / "p.tar", {**members, "miniplaces/README.md": b"hello"})
    items, cut = list_items(find_sources(path))
    assert not cut
    assert {item.name: read_item(item) for item in items} == members
    assert [item.label for item in items] == ["sea", "hut", "sea", "hut"]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["1.jpg", "2.jpg"], ["", ""]),
        (["hut/1.jpg", "hut/2.jpg"], ["hut", "hut"]),
        (["./hut/1.jpg", "./sea/2.jpg"], ["hut", "sea"]),
        (["data_256/a/hut/1.jpg", "data_256/b/sea/1.jpg"], ["a/hut", "b/sea"]),
        (["train/hut/1.jpg", "1.jpg"], ["train/hut", ""]),
    ],
)
def test_tar_classes(tmp_path, names, labels):
    path = make_tar(tmp_path / "p.tar", dict.fromkeys(names, b"x"))
    assert [label for _, label in list_names(path)] == labels


def test_webdataset_class_files(tmp_path):
    path = make_tar(
        tmp_path / "p.tar", {"a/1.jpg": b"x", "a/1.cls": b"7\n", "a/2.cls": b"12", "a/2.jpg": b"y"}
    )
    assert [label for _, label in list_names(path)] == ["7", "12"]


def test_a_folder_of_shards(tmp_path):
    make_tar(tmp_path / "s-1.tar", {"x/b.jpg": b"2"})
    make_tar(tmp_path / "s-0.tar", {"x/a.jpg": b"1"})
    assert list_names(tmp_path) == [("x/a.jpg", "x"), ("x/b.jpg", "x")]


def test_pictures_beside_shards_win_and_the_shards_are_counted(tmp_path, tree):
    make_tar(tmp_path / "s.tar", {"x/b.jpg": b"2"})
    tree(tmp_path, {"a.jpg": b"1"})
    assert list_names(tmp_path) == [("a.jpg", "")]
    assert find_sources(tmp_path)[0].ignored == {".tar": 1}


def test_tar_cut_inside_a_picture(tmp_path):
    path = make_tar(tmp_path / "p.tar", {f"{n}.jpg": bytes([n]) * 3000 for n in range(4)})
    path.write_bytes(path.read_bytes()[: 3 * 3584 + 512 + 1000])  # a header and 3000 bytes take 3584
    items, cut = list_items(find_sources(path))
    assert [read_item(item) for item in items[:3]] == [bytes([n]) * 3000 for n in range(3)]
    with pytest.raises(DataError, match="ends inside"):
        read_item(items[3])
    assert [entry.name for entry in cut] == ["p.tar"]
    assert "ends early" in cut[0].reason


@pytest.mark.parametrize("tail", [b"", b"rubbish!" * 200], ids=["cut between members", "rubbish"])
def test_tar_without_its_end_mark(tmp_path, tail):
    path = make_tar(tmp_path / "p.tar", {f"{n}.jpg": b"x" * 3000 for n in range(4)})
    path.write_bytes(path.read_bytes()[: 2 * 3584] + tail)
    items, cut = list_items(find_sources(path))
    assert [item.name for item in items] == ["0.jpg", "1.jpg"]
    assert len(cut) == 1


def test_idx_files(tmp_path):
    digits = np.random.default_rng(1).integers(0, 256, (5, 28, 28), np.uint8)
    make_idx(tmp_path / IMAGES, digits)
    make_idx(tmp_path / LABELS, np.array([3, 1, 4, 1, 5]))
    items, _ = list_items(find_sources(tmp_path))
    assert [item.label for item in items] == ["3", "1", "4", "1", "5"]
    assert [item.name for item in items[:2]] == ["train-images/000000", "train-images/000001"]
    assert all(item.grey == (28, 28) for item in items)
    assert b"".join(map(read_item, items)) == digits.tobytes()


def test_idx_files_compressed_and_without_labels(tmp_path):
    digits = np.arange(2 * 28 * 28).reshape(2, 28, 28) % 256
    items, _ = list_items(find_sources(make_idx(tmp_path / f"{IMAGES}.gz", digits)))
    assert b"".join(map(read_item, items)) == digits.astype(np.uint8).tobytes()
    assert [item.label for item in items] == ["", ""]


def test_of_a_mnist_folder_the_training_pictures(tmp_path):
    make_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((7, 28, 28)))
    assert len(list_names(tmp_path)) == 7
    make_idx(tmp_path / IMAGES, np.zeros((3, 28, 28)))
    assert len(list_names(tmp_path)) == 3
    assert len(list_names(tmp_path / "t10k-images-idx3-ubyte")) == 7


def test_idx_files_that_are_none(tmp_path):
    path = make_idx(tmp_path / IMAGES, np.zeros((3, 28, 28)))
    whole = path.read_bytes()
    for data, reason in [
        (b"", "not an IDX file of this kind"),
        (b"\x00\x00\x0d\x03" + whole[4:], "begins with '00000d03', not 00000803"),
        (whole[:-1], "has 2367 bytes, its header's 3×28×28 need 2368"),
        (whole + b"\0", "need 2368"),
        (whole[:10], "not an IDX file of this kind"),
    ]:
        path.write_bytes(data)
        with pytest.raises(DataError, match=reason):
            list_items(find_sources(path))


def test_idx_labels_that_do_not_fit(tmp_path):
    make_idx(tmp_path / IMAGES, np.zeros((3, 28, 28)))
    make_idx(tmp_path / LABELS, np.zeros(4))
    with pytest.raises(DataError, match="4 labels for the 3 pictures"):
        list_names(tmp_path)


@pytest.mark.parametrize(
    "data",
    [gzip.compress(struct.pack(">IIII", 2051, 1, 28, 28) + bytes(784))[:-9], b"no gzip at all"],
    ids=["cut", "none"],
)
def test_idx_files_badly_compressed(tmp_path, data):
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot read"):
        list_names(path)


def test_what_holds_no_pictures_is_refused(tmp_path, tree):
    empty = tree(tmp_path / "empty", {})
    texts = tree(tmp_path / "texts", {"a.txt": b"", "b.txt": b"", "c": b"", "picture.gif": b""})
    for path, reason in [
        (tmp_path / "missing", "there is nothing at .*missing"),
        (Path("s3://bucket/set"), "s3:/bucket/set is an address, which only `infill train` reads"),
        (
            empty,
            r"no pictures in .*empty: looked .* \.jpeg, .* \.tar shards and for IDX files; found nothing",
        ),
        (texts, r"found 2 of \.txt, "),
        (tree(tmp_path, {"p.tar.gz": b"x"}) / "p.tar.gz", "compressed"),
        (tree(tmp_path, {"p.zip": b"x"}) / "p.zip", "no folder, .tar shard or IDX file"),
        (tree(tmp_path, {"p.tar": b"this is a text, not a tar. " * 50}) / "p.tar", "as a tar file"),
        (tree(tmp_path, {"q.tar": b""}) / "q.tar", "as a tar file"),
        (make_tar(tmp_path / "r.tar", {"a.txt": b"x"}), "no pictures in .*r.tar"),
    ]:
        with pytest.raises(DataError, match=reason) as caught:
            list_items(find_sources(path))
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no data given"):
        find_sources([])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path, tree):
    (tree(tmp_path, {"p.tar": b"x"}) / "p.tar").chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        list_names(tmp_path / "p.tar")
