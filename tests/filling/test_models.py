"""Downloads from a server on the loopback address: whole, corrupt, cut short, unreachable, offline."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from infilling.errors import ModelError, StorageError
from infilling.filling import models
from infilling.filling.engine import available, open_engine
from infilling.filling.models import MODELS, Model
from infilling.filling.network import NetworkEngine
from infilling.pictures.frame import SizeRule

CONTENT = bytes(range(256)) * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves /good, /corrupt (a byte differs), /short (half of it), /long (a byte more); counts requests."""

    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        body = {
            "/good": CONTENT,
            "/corrupt": b"\x01" + CONTENT[1:],
            "/short": CONTENT[: len(CONTENT) // 2],
            "/long": CONTENT + b"\0",
        }.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) if self.path == "/short" else len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.requests = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFILLING_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INFILLING_OFFLINE", raising=False)
    return tmp_path / "home"


def add(monkeypatch: pytest.MonkeyPatch, url: str | None, file: str = "small.onnx") -> Model:
    digest = hashlib.sha256(CONTENT).hexdigest()
    model = Model("a test", file, digest, len(CONTENT), "CC0-1.0", "nothing", SizeRule(), url)
    monkeypatch.setitem(MODELS, "small", model)
    return model


def state() -> str:
    return {row.name: row.state for row in models.list_models()}["small"]


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_download_once_then_take_the_file(server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, f"{server}/good")
    assert state() == "missing"
    path = models.download("small")
    assert path == home / "models" / "small.onnx"
    assert path.read_bytes() == CONTENT
    assert models.download("small") == models.verify("small") == path
    assert Handler.requests == 1
    assert models.download("small", force=True) == path
    assert Handler.requests == 2
    assert leftovers(home) == ["small.onnx"]
    assert state() == "downloaded"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("corrupt", "is not the released file: SHA-256"),
        ("long", "is not the released file: SHA-256"),
        ("short", "was cut short: 128000 of 256000 bytes came"),
        ("nowhere", "cannot download small from .*: Not Found"),
    ],
)
def test_a_bad_download_is_refused_and_leaves_nothing(
    url: str, message: str, server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/{url}")
    with pytest.raises(ModelError, match=message) as caught:
        models.download("small")
    assert "\n" not in str(caught.value)
    assert leftovers(home) == []


def test_a_bad_download_leaves_the_good_file_alone(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/good")
    models.download("small")
    add(monkeypatch, f"{server}/corrupt")
    with pytest.raises(ModelError, match="not the released file"):
        models.download("small", force=True)
    assert models.verify("small").read_bytes() == CONTENT


def test_an_interrupted_download_leaves_nothing(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/good")
    monkeypatch.setattr(models, "CHUNK", 1000)
    calls = 0

    def interrupt(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        raise KeyboardInterrupt

    monkeypatch.setattr(models.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        models.download("small")
    assert calls == 1
    assert leftovers(home) == []


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/good")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models.os, "fsync", fail)
    with pytest.raises(StorageError, match=r"small\.onnx: No space left on device"):
        models.download("small")
    assert leftovers(home) == []


def test_a_cache_folder_that_cannot_be_made(server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, f"{server}/good")
    home.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot write in"):
        models.download("small")


def test_nobody_listens(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "http://127.0.0.1:9/good")
    with pytest.raises(ModelError, match=r"cannot download small from http://127\.0\.0\.1:9/good"):
        models.download("small")
    assert leftovers(home) == []


def test_offline_asks_nobody_but_takes_what_is_here(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/good")
    monkeypatch.setenv("INFILLING_OFFLINE", "1")
    with pytest.raises(ModelError, match="INFILLING_OFFLINE is set"):
        models.download("small")
    assert Handler.requests == 0
    assert available("small") == "small is not downloaded and INFILLING_OFFLINE is set"
    (home / "models").mkdir(parents=True)
    (home / "models" / "small.onnx").write_bytes(CONTENT)
    assert models.download("small").read_bytes() == CONTENT
    assert available("small") is None


def test_a_file_that_changed_on_disk_is_refused(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/good")
    path = models.download("small")
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(ModelError, match="is damaged or not small"):
        models.verify("small")
    with pytest.raises(ModelError, match="is damaged or not small"):
        open_engine("small")
    assert models.download("small", force=True).read_bytes() == CONTENT


def test_a_model_inside_the_package(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    add(monkeypatch, None)
    assert available("small") == f"small: {tmp_path / 'small.onnx'} is missing"
    with pytest.raises(ModelError, match="small is not here"):
        models.download("small")
    (tmp_path / "small.onnx").write_bytes(CONTENT)
    assert models.download("small") == tmp_path / "small.onnx"
    assert state() == "bundled"


def test_unknown_names_list_the_near_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, None)
    with pytest.raises(ModelError, match="unknown model 'smal'; did you mean small"):
        models.verify("smal")


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFILLING_HOME", "/somewhere")
    assert models.cache_folder() == Path("/somewhere/models")
    monkeypatch.delenv("INFILLING_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert models.cache_folder() == Path("/cache/infilling/models")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert models.cache_folder() == Path("/home/someone/.cache/infilling/models")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_released_model_is_what_the_table_says(name: str) -> None:
    path, model = models.verify(name), MODELS[name]
    assert path.stat().st_size == model.size <= 12_000_000
    engine = NetworkEngine(path, threads=1)
    assert engine.size_rule == model.size_rule
    card = engine.card
    assert (card.trained_on, card.licence) == (model.trained_on, model.licence)
    assert card.images_seen > 0


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_released_model_fills_a_plane_with_its_colour(name: str) -> None:
    image = np.full((1, 3, 64, 96), 0.4, np.float32)
    mask = np.zeros((1, 1, 64, 96), np.float32)
    mask[..., 20:44, 30:60] = 1
    assert np.abs(open_engine(name).fill(image, mask) - 0.4).max() < 0.05
