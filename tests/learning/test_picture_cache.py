"""Pictures are decoded as Pillow would, once, into a cache that follows content and survives accidents."""

import json
import logging
import os
import subprocess
import sys
import tarfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from infilling.errors import DataError, StorageError
from infilling.learning import content_digest, decoding, picture_cache
from infilling.learning.decoding import decode_item
from infilling.learning.picture_cache import open_pictures
from infilling.learning.picture_sources import find_sources, list_items


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def save(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def resize_and_cut(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """The two steps as the reference has them: short side to `side`, then the middle."""
    scale = side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)))


def list_prepared(cache: Path) -> list[str]:
    """What is in a cache, but for the digests that it remembers, which depend on the hour."""
    return [folder.name for folder in cache.iterdir() if folder.name != "known"]


@pytest.fixture
def later(monkeypatch) -> None:
    """An hour has gone by, so that every file is old enough to be remembered."""
    now = time.time_ns()
    monkeypatch.setattr(content_digest.time, "time_ns", lambda: now + 3600 * 10**9)


def test_pictures_of_the_right_size_keep_every_pixel(tmp_path, tree, draw, cache):
    files = {
        f"{format}/{seed}.{format.lower()}": draw(seed, format=format)
        for seed, format in enumerate(["PNG", "BMP", "TIFF", "JPEG"])
    }
    pictures = open_pictures(tree(tmp_path / "in", files), 40, cache_dir=cache)
    assert pictures.names == sorted(files)
    assert pictures.classes == ("BMP", "JPEG", "PNG", "TIFF")
    for index, name in enumerate(pictures.names):
        expected = np.asarray(Image.open(BytesIO(files[name])).convert("RGB"))
        np.testing.assert_array_equal(pictures[index], expected)
        assert pictures.classes[pictures.labels[index]] == name.split("/")[0]
    assert pictures.read().dtype == np.uint8
    assert pictures.read().shape == (4, 40, 40, 3)


@pytest.mark.parametrize(("height", "width"), [(40, 55), (61, 40), (41, 40)])
def test_only_the_middle_is_kept(tmp_path, tree, draw, cache, height, width):
    data = draw(0, height, width)
    pictures = open_pictures(tree(tmp_path / "in", {"a.png": data}), 40, cache_dir=cache)
    top, left = (height - 40) // 2, (width - 40) // 2
    expected = np.asarray(Image.open(BytesIO(data)))[top : top + 40, left : left + 40]
    np.testing.assert_array_equal(pictures[0], expected)


@pytest.mark.parametrize(("height", "width"), [(200, 320), (360, 120), (97, 301), (20, 30)])
def test_other_sizes_are_resized_by_the_short_side(tmp_path, tree, draw, cache, height, width):
    data = draw(3, height, width)
    pictures = open_pictures(tree(tmp_path / "in", {"a.png": data}), 40, cache_dir=cache)
    expected = resize_and_cut(Image.open(BytesIO(data)), 40).astype(float)
    assert (
        abs(pictures[0] - expected).mean() < 4
    )  # the middle square may lie half a pixel off; waves are steep
    shifted = abs(pictures[0][2:] - expected[:-2]).mean()
    assert shifted > 4 * abs(pictures[0] - expected).mean()


def test_large_jpegs_are_decoded_small_but_look_the_same(tmp_path, tree, data_dir, cache):
    photo = data_dir / "photos" / "canyon.jpg"
    pictures = open_pictures(tree(tmp_path / "in", {"a.jpg": photo.read_bytes()}), 128, cache_dir=cache)
    expected = resize_and_cut(Image.open(photo).convert("RGB"), 128).astype(float)
    assert abs(pictures[0] - expected).mean() < 1.0


def test_all_kinds_become_rgb(tmp_path, tree, draw, cache):
    image = Image.open(BytesIO(draw(5)))
    grey = image.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257 + 100)  # rounds down to the same grey
    files = {
        "1-grey.png": save(grey, "PNG"),
        "2-deep.png": save(deep, "PNG"),
        "3-alpha.png": save(Image.merge("RGBA", (*image.split(), grey)), "PNG"),
        "4-palette.png": save(image.quantize(256), "PNG"),
        "5-grey.jpg": save(grey, "JPEG", quality=100),
        "6-cmyk.jpg": save(image.convert("CMYK"), "JPEG", quality=100),
        "7-lossless.webp": save(image, "WEBP", lossless=True),
    }
    pictures = open_pictures(tree(tmp_path / "in", files), 40, cache_dir=cache)
    rgb, one = np.asarray(image).astype(int), np.repeat(np.asarray(grey)[..., None], 3, axis=2).astype(int)
    for index, (expected, tolerance) in enumerate(
        [(one, 0), (one, 0), (rgb, 0), (rgb, 60), (one, 3), (rgb, 12), (rgb, 0)]
    ):
        assert abs(pictures[index] - expected).max() <= tolerance, pictures.names[index]
    assert not pictures.skipped


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_turn_of_a_photograph_is_applied(tmp_path, tree, draw, cache, turn):
    image = Image.open(BytesIO(draw(5, 60, 40)))
    exif = Image.Exif()
    exif[0x0112] = turn
    folder = tree(tmp_path / "in", {"a.jpg": save(image, "JPEG", quality=100, exif=exif)})
    transposed = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }  # fmt: skip
    upright = image.transpose(transposed[turn]) if turn > 1 else image
    pictures = open_pictures(folder, 40, cache_dir=cache)
    assert abs(pictures[0] - resize_and_cut(upright, 40).astype(int)).mean() < 3
    (item,), _ = list_items(find_sources(folder))
    assert decode_item(item, 40)[1] == (upright.height, upright.width)


def test_mnist_is_padded_and_made_rgb(tmp_path, cache):
    digits = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    header = bytes([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 28, 0, 0, 0, 28])
    (tmp_path / "train-images-idx3-ubyte").write_bytes(header + digits.tobytes())
    pictures = open_pictures(tmp_path / "train-images-idx3-ubyte", 32, cache_dir=cache)
    assert len(pictures) == 3
    for index in range(3):
        for channel in range(3):
            np.testing.assert_array_equal(pictures[index][2:30, 2:30, channel], digits[index])
    assert int(pictures.read().sum()) == 3 * int(digits.sum())  # black all round


def make_bad_files(draw) -> dict[str, bytes]:
    return {
        "bad/empty.png": b"",
        "bad/text.jpg": b"this is no picture at all\n" * 20,
        "bad/truncated.jpg": draw(1, 80, 80, "JPEG")[:-700],
        "bad/truncated.png": draw(1, 80, 80)[:900],
        "bad/header.jpg": b"\xff\xd8\xff\xe0" + b"\0" * 30,
        "good/1.png": draw(1),
        "good/2.jpg": draw(2, format="JPEG"),
    }


def test_bad_pictures_are_left_out_with_one_warning(tmp_path, tree, draw, cache, caplog):
    folder = tree(tmp_path / "in", make_bad_files(draw))
    (folder / "bad" / "dangling.png").symlink_to(folder / "nowhere")
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="infilling"):
            pictures = open_pictures(folder, 40, cache_dir=cache)
        assert [record.getMessage().count("\n") for record in caplog.records] == [0]
        assert (
            caplog.records[0].getMessage().startswith("left out 6 of 8: first bad/dangling.png: No such file")
        )
    assert pictures.names == ["good/1.png", "good/2.jpg"]
    assert pictures.classes == ("good",)
    reasons = dict(pictures.skipped)
    assert sorted(reasons) == sorted(
        f"bad/{name}"
        for name in ("dangling.png", "empty.png", "header.jpg", "text.jpg", "truncated.jpg", "truncated.png")
    )
    assert reasons["bad/empty.png"] == "the file is empty"
    assert "truncated" in reasons["bad/truncated.jpg"]
    assert "truncated" in reasons["bad/truncated.png"]
    np.testing.assert_array_equal(pictures[0], np.asarray(Image.open(BytesIO(draw(1)))))


def test_a_decoder_that_fails_in_a_new_way_ends_nothing(tmp_path, tree, draw, cache, monkeypatch):
    def explode(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(decoding, "_decode_jpeg", explode)
    folder = tree(tmp_path / "in", {"1.jpg": draw(1, format="JPEG")})
    with pytest.raises(DataError, match=r"none of 1 .*1\.jpg: ZeroDivisionError: of all things"):
        open_pictures(folder, 40, cache_dir=cache)
    assert not list(cache.glob("*.unfinished"))


def test_shards_cut_short_give_what_they_have(tmp_path, draw, cache, caplog):
    path = tmp_path / "p.tar"
    with tarfile.open(path, "w") as archive:
        for seed in range(5):
            info = tarfile.TarInfo(f"top/c{seed % 2}/{seed}.png")
            data = draw(seed)
            info.size = len(data)
            archive.addfile(info, BytesIO(data))
        end = archive.offset
    path.write_bytes(path.read_bytes()[: end - 600])
    pictures = open_pictures(path, 40, cache_dir=cache)
    assert pictures.names == [f"top/c{seed % 2}/{seed}.png" for seed in range(4)]
    assert pictures.classes == ("c0", "c1")
    assert [name for name, _ in pictures.skipped] == ["p.tar", "top/c0/4.png"]
    assert len(caplog.records) == 1


def test_photographs_of_a_real_shard(tmp_path, data_dir, cache):
    with (data_dir / "train" / "places-000.tar").open("rb") as file:
        (tmp_path / "start.tar").write_bytes(file.read(1_500_000))
    pictures = open_pictures(tmp_path / "start.tar", 128, cache_dir=cache)
    assert len(pictures) > 200
    assert len(pictures.classes) > 50
    with tarfile.open(data_dir / "train" / "places-000.tar") as archive:
        for index in range(0, len(pictures), 29):
            image = Image.open(archive.extractfile(pictures.names[index])).convert("RGB")
            np.testing.assert_array_equal(pictures[index], np.asarray(image))
            assert pictures.classes[pictures.labels[index]] == pictures.names[index].split("/")[1]


def test_nothing_is_decoded_twice(tmp_path, tree, draw, cache, monkeypatch):
    folder = tree(tmp_path / "in", {f"{seed}.png": draw(seed) for seed in range(3)})
    first = open_pictures(folder, 40, cache_dir=cache)
    monkeypatch.setattr(picture_cache, "_prepare_pictures", lambda *_: pytest.fail("prepared again"))
    again = open_pictures(folder, 40, cache_dir=cache)
    np.testing.assert_array_equal(first.read(), again.read())
    moved = folder.rename(tmp_path / "elsewhere")
    assert open_pictures(moved, 40, cache_dir=cache).key == first.key


def test_the_key_follows_the_content(tmp_path, tree, draw, cache):
    folder = tree(tmp_path / "in", {"1.bmp": draw(1, format="BMP"), "2.bmp": draw(2, format="BMP")})
    keys = [open_pictures(folder, 40, cache_dir=cache).key]
    keys.append(open_pictures(folder, 32, cache_dir=cache).key)
    tree(folder, {"1.bmp": draw(3, format="BMP")})  # as many bytes as before
    keys.append(open_pictures(folder, 40, cache_dir=cache).key)
    (folder / "2.bmp").rename(folder / "3.bmp")
    keys.append(open_pictures(folder, 40, cache_dir=cache).key)
    tree(folder, {"4.bmp": b""})
    keys.append(open_pictures(folder, 40, cache_dir=cache).key)
    assert len(set(keys)) == len(keys)
    np.testing.assert_array_equal(
        open_pictures(folder, 40, cache_dir=cache)[0], np.asarray(Image.open(BytesIO(draw(3))))
    )


@pytest.mark.usefixtures("later")
def test_unchanged_files_are_not_even_read(tmp_path, tree, draw, cache, monkeypatch):
    folder = tree(tmp_path / "in", {"1.bmp": draw(1, format="BMP"), "2.bmp": draw(2, format="BMP")})
    read: list[Path] = []
    monkeypatch.setattr(
        content_digest, "_digest_file", lambda path: read.append(path) or path.read_bytes().hex()
    )
    first = open_pictures(folder, 40, cache_dir=cache).key
    assert len(read) == 2
    assert open_pictures(folder, 40, cache_dir=cache).key == first
    assert len(read) == 2
    before = (folder / "1.bmp").stat()
    tree(folder, {"1.bmp": draw(3, format="BMP")})
    os.utime(
        folder / "1.bmp", ns=(before.st_atime_ns, before.st_mtime_ns)
    )  # the time set back, the size the same
    assert open_pictures(folder, 40, cache_dir=cache).key != first
    assert len(read) == 4


def test_files_just_written_are_not_remembered(tmp_path, tree, draw, cache, monkeypatch):
    folder = tree(tmp_path / "in", {"1.png": draw(1)})
    written = (folder / "1.png").stat().st_ctime_ns
    for seconds, remembered in [(1.9, False), (2.1, True)]:
        monkeypatch.setattr(content_digest.time, "time_ns", lambda at=seconds: written + int(at * 1e9))
        open_pictures(folder, 40, cache_dir=cache)
        assert (cache / "known").exists() == remembered


@pytest.mark.parametrize("damage", ["pixels.npy", "index.json"])
def test_a_damaged_cache_is_made_again(tmp_path, tree, draw, cache, damage):
    folder = tree(tmp_path / "in", {"1.png": draw(1), "2.png": draw(2)})
    file = cache / open_pictures(folder, 40, cache_dir=cache).key / damage
    file.write_bytes(file.read_bytes()[:-40])
    pictures = open_pictures(folder, 40, cache_dir=cache)
    np.testing.assert_array_equal(pictures[1], np.asarray(Image.open(BytesIO(draw(2)))))
    assert list_prepared(cache) == [pictures.key]


def test_chunks_and_threads_change_nothing(tmp_path, tree, draw, monkeypatch):
    folder = tree(tmp_path / "in", {f"{n:02d}.png": draw(n) if n % 4 else b"bad" for n in range(23)})
    one = open_pictures(folder, 40, cache_dir=tmp_path / "one", workers=1)
    monkeypatch.setattr(decoding, "CHUNK_BYTES", 5 * 40 * 40 * 3)
    done: list[tuple[int, int]] = []
    two = open_pictures(
        folder, 40, cache_dir=tmp_path / "two", workers=3, progress=lambda *at: done.append(at)
    )
    assert len(one) == 17
    np.testing.assert_array_equal(one.read(), two.read())
    assert one.names == two.names
    assert done == [(count, 23) for count in range(1, 24)]
    np.testing.assert_array_equal(np.load(tmp_path / "two" / two.key / "pixels.npy"), one.read())


def run_python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_writers_at_the_same_time(tmp_path, tree, draw, cache):
    folder = tree(tmp_path / "in", {f"{n:02d}.png": draw(n) for n in range(40)})
    code = """
import sys, hashlib
from infilling.learning.picture_cache import open_pictures
pictures = open_pictures(sys.argv[1], 40, cache_dir=sys.argv[2])
print(len(pictures), hashlib.sha256(pictures.read().tobytes()).hexdigest())
"""
    writers = [run_python(code, folder, cache) for _ in range(3)]
    said = [writer.communicate(timeout=60) for writer in writers]
    assert {errors for _, errors in said} == {""}
    assert len({out for out, _ in said}) == 1
    assert said[0][0].startswith("40 ")
    assert len(list_prepared(cache)) == 1


def test_a_disk_that_takes_no_more(tmp_path, tree, draw, cache):
    """A limit on the size of files stands for a full disk: both make a write fail half-way."""
    folder = tree(tmp_path / "in", {f"{n:02d}.png": draw(n) for n in range(40)})
    code = """
import resource, sys
from infilling.errors import StorageError
from infilling.learning.picture_cache import open_pictures
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    open_pictures(sys.argv[1], 40, cache_dir=sys.argv[2])
except StorageError as error:
    print(error)
"""
    out, errors = run_python(code, folder, cache).communicate(timeout=60)
    assert errors == ""
    assert out == f"cannot keep prepared pictures in {cache}: File too large\n"
    assert list_prepared(cache) == []


def test_too_little_space_is_said_before_the_work(tmp_path, tree, draw, cache, monkeypatch):
    monkeypatch.setattr(picture_cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(StorageError, match=r"no room in .*; choose another cache folder"):
        open_pictures(tree(tmp_path / "in", {"1.png": draw(1)}), 40, cache_dir=cache)
    assert list_prepared(cache) == []


def test_a_cache_folder_that_is_a_file(tmp_path, tree, draw):
    folder = tree(tmp_path, {"in/1.png": draw(1), "file": b""}) / "in"
    with pytest.raises(StorageError, match=r"cannot keep prepared pictures in .*file: "):
        open_pictures(folder, 40, cache_dir=tmp_path / "file")


def test_what_a_killed_process_left_is_cleared_after_a_day(tmp_path, tree, draw, cache):
    old, new = (
        tree(cache / "1.unfinished", {"pixels.npy": b"x"}),
        tree(cache / "2.unfinished", {"pixels.npy": b"x"}),
    )
    os.utime(old / "pixels.npy", (1e9, 1e9))
    open_pictures(tree(tmp_path / "in", {"1.png": draw(1)}), 40, cache_dir=cache)
    assert not old.exists()
    assert new.exists()


def test_the_cache_lies_where_it_is_told(tmp_path, tree, draw, monkeypatch):
    folder = tree(tmp_path / "in", {"1.png": draw(1)})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("INFILLING_HOME", raising=False)
    key = open_pictures(folder, 40).key
    assert (tmp_path / "xdg" / "infilling" / "data" / key / "pixels.npy").is_file()
    monkeypatch.setenv("INFILLING_HOME", str(tmp_path / "home"))
    open_pictures(folder, 40)
    index = json.loads((tmp_path / "home" / "data" / key / "index.json").read_text())
    assert index == {"names": ["1.png"], "classes": [""], "labels": [0], "skipped": []}


def test_a_part_of_the_pictures(tmp_path, tree, draw, cache):
    folder = tree(tmp_path / "in", {f"c{n % 2}/{n}.png": draw(n) for n in range(6)})
    pictures = open_pictures(folder, 40, cache_dir=cache)
    part = pictures.take(np.array([5, 0])).take(slice(0, 1))
    assert len(part) == 1
    assert part.names == ["c1/5.png"]
    assert part.classes[part.labels[0]] == "c1"
    np.testing.assert_array_equal(part[0], np.asarray(Image.open(BytesIO(draw(5)))))
