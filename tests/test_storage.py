"""Storage: atomic writes, reads that say why they fail, and the one cache folder."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from infilling.errors import InputError, ModelError, StorageError
from infilling.filling import models
from infilling.learning.picture_cache import find_cache
from infilling.storage import find_home, make_folder, read_file, write_atomic


@pytest.mark.parametrize(
    ("home", "cache", "expected"),
    [
        ("/somewhere", "/cache", "/somewhere"),
        ("~/x", None, "/home/someone/x"),
        (None, "/cache", "/cache/infilling"),
        (None, "~/c", "/home/someone/c/infilling"),
        (None, None, "/home/someone/.cache/infilling"),
    ],
)
def test_every_cache_folder_is_in_one_home(home, cache, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    for name, value in (("INFILLING_HOME", home), ("XDG_CACHE_HOME", cache)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert find_home() == Path(expected)
    assert models.cache_folder() == Path(expected) / "models"
    assert find_cache(None) == Path(expected) / "data"


def test_make_folder_makes_those_above_and_says_what_is_in_the_way(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir()
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot make the folder .*file/b: Not a directory"):
        make_folder(tmp_path / "file" / "b")


class TestReadFile:
    def test_a_file(self, tmp_path):
        (tmp_path / "a").write_bytes(b"data")
        assert read_file(tmp_path / "a") == read_file(str(tmp_path / "a")) == b"data"

    @pytest.mark.timeout(5)
    def test_what_is_no_regular_file_is_named_at_once(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / "socket"))
            for path, words in (
                (tmp_path, "is a folder"),
                (tmp_path / "pipe", "is a pipe; give - to read from a pipe"),
                (tmp_path / "socket", "is a socket"),
                (os.devnull, "is a device"),
                ("/dev/zero", "is a device"),
                (tmp_path / "none", "no such file"),
                ("a\0b", "cannot be read"),
            ):
                with pytest.raises(InputError) as caught:
                    read_file(path)
                assert str(caught.value).startswith(f"{path}: {words}")

    def test_a_file_that_is_too_large_is_not_read(self, tmp_path):
        with open(tmp_path / "sparse", "wb") as file:
            file.truncate(5 << 30)
        with pytest.raises(InputError, match="has 5,368,709,120 bytes, more than the limit"):
            read_file(tmp_path / "sparse")

    def test_the_class_of_the_error_is_the_callers(self, tmp_path):
        with pytest.raises(ModelError, match="no such file"):
            read_file(tmp_path / "none", raises=ModelError)


class TestWriteAtomic:
    def test_writes_with_the_usual_permissions(self, tmp_path):
        plain = tmp_path / "plain"
        plain.write_bytes(b"")
        write_atomic(tmp_path / "new", b"data")
        assert (tmp_path / "new").read_bytes() == b"data"
        assert (tmp_path / "new").stat().st_mode == plain.stat().st_mode

    def test_replaces_and_keeps_permissions_and_links(self, tmp_path):
        target, link = tmp_path / "target", tmp_path / "link"
        target.write_bytes(b"old")
        target.chmod(0o640)
        link.symlink_to(target)
        write_atomic(link, b"new")
        assert link.is_symlink()
        assert target.read_bytes() == b"new"
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
        assert sorted(os.listdir(tmp_path)) == ["link", "target"]

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_full_disk_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch, step):
        target = tmp_path / "target"
        target.write_bytes(b"old")

        def fail(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
        with pytest.raises(StorageError, match="No space left on device") as caught:
            write_atomic(target, b"new")
        assert str(target) in str(caught.value)
        assert target.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["target"]

    @pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="this system has no files without a name")
    def test_a_new_file_has_no_name_before_it_is_whole(self, tmp_path, monkeypatch):
        seen = []
        monkeypatch.setattr(os, "fsync", lambda _: seen.extend(os.listdir(tmp_path)))
        write_atomic(tmp_path / "new", b"data")
        assert (seen, os.listdir(tmp_path)) == ([], ["new"])

    @pytest.mark.parametrize("missing", ["O_TMPFILE", "link"])
    def test_systems_without_such_files_write_all_the_same(self, tmp_path, monkeypatch, missing):
        def refuse(*_, **__):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

        if missing == "link":
            monkeypatch.setattr(os, "link", refuse)
        else:
            monkeypatch.delattr(os, missing, raising=False)
        write_atomic(tmp_path / "new", b"data")
        assert os.listdir(tmp_path) == ["new"]
        assert (tmp_path / "new").read_bytes() == b"data"

    def test_a_missing_folder_and_a_folder_are_storage_errors(self, tmp_path):
        with pytest.raises(StorageError, match="No such file or directory"):
            write_atomic(tmp_path / "missing" / "a.png", b"data")
        with pytest.raises(StorageError, match="Is a directory"):
            write_atomic(tmp_path, b"data")

    @pytest.mark.timeout(5)
    def test_a_pipe_that_nobody_reads_from_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(StorageError, match=r"pipe: cannot be written \(nobody reads from it\)$"):
            write_atomic(tmp_path / "pipe", b"data")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        write_atomic(tmp_path / "pipe", b"data")
        assert os.read(reader, 9) == b"data"
        os.close(reader)

    def test_a_device_stays_a_device(self):
        write_atomic(Path(os.devnull), b"data")
        assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
