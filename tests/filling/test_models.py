"""Downloads from a server on the loopback address: whole, corrupt, cut short, unreachable, offline."""

import hashlib
import http.server
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from tests.filling import published

from infilling.errors import ModelError, StorageError
from infilling.filling import download as fetching
from infilling.filling import foreign, models
from infilling.filling.contract import find_digest
from infilling.filling.download import add_file as take
from infilling.filling.download import download
from infilling.filling.engine import available, find_size_rule, open_engine
from infilling.filling.families import FAMILIES
from infilling.filling.models import MODELS, Model
from infilling.filling.network import NetworkEngine
from infilling.pictures.frame import SizeRule

CONTENT = bytes(range(256)) * 1000
RELEASED = sorted(name for name, model in MODELS.items() if model.url is None)
THIRD = len(CONTENT) // 3 + 1


class Handler(http.server.BaseHTTPRequestHandler):
    """A server with a mood for each path; it counts requests and notes where they begin.

    /good, /corrupt (a byte differs), /long (a byte more), /page (HTML), /moved (redirects to /good), /breaks
    (sends a third and hangs up, each time), /dead (hangs up at once the second time), /stuck (sends a third,
    then nothing), /whole (as /breaks, but always from the beginning).
    """

    requests = 0
    starts: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        type(self).requests += 1
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.starts.append(start)
        mood = self.path[1:]
        if mood == "moved":
            self.send_response(302)
            self.send_header("Location", "/good")
            self.end_headers()
            return
        body = {
            "corrupt": b"\x01" + CONTENT[1:],
            "long": CONTENT + b"\0",
            "page": b"<html>log in</html>\n",
        }.get(mood, CONTENT)
        if mood not in ("good", "corrupt", "long", "page", "breaks", "dead", "stuck", "whole"):
            self.send_error(404)
            return
        if mood == "dead" and self.requests > 1:
            self.close_connection = True
            return
        start = 0 if mood == "whole" else start
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        part = mood in ("breaks", "dead", "stuck", "whole")
        self.wfile.write(body[start:][: THIRD if part else None])
        if mood == "stuck":
            time.sleep(1)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.requests = 0
    Handler.starts.clear()
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
    path = download("small")
    assert path == home / "models" / "small.onnx"
    assert path.read_bytes() == CONTENT
    assert download("small") == models.verify("small") == path
    assert Handler.requests == 1
    assert download("small", force=True) == path
    assert Handler.requests == 2
    assert leftovers(home) == ["small.onnx"]
    assert state() == "downloaded"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("corrupt", "is not the file in the table: SHA-256"),
        ("long", "cannot download small from .*: the server has 256001 bytes there, not 256000"),
        ("page", "cannot download small from .*: the server has 20 bytes there, not 256000"),
        ("nowhere", "cannot download small from .*: 404 Not Found"),
    ],
)
def test_a_bad_download_is_refused_and_leaves_nothing(
    url: str, message: str, server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/{url}")
    with pytest.raises(ModelError, match=message) as caught:
        download("small")
    assert "\n" not in str(caught.value)
    assert leftovers(home) == []


def test_a_bad_download_leaves_the_good_file_alone(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/good")
    download("small")
    add(monkeypatch, f"{server}/corrupt")
    with pytest.raises(ModelError, match="not the file in the table"):
        download("small", force=True)
    assert models.verify("small").read_bytes() == CONTENT


def test_a_connection_that_breaks_is_made_again_from_there(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/breaks")
    told: list[tuple[int, int]] = []
    path = download("small", progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert Handler.starts == [0, THIRD, 2 * THIRD]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert leftovers(home) == ["small.onnx"]


def test_a_download_that_was_cut_off_is_resumed_by_the_next_one(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/dead")
    with pytest.raises(ModelError, match=r"cannot download small|was cut short"):
        download("small")
    [part] = leftovers(home)
    assert part.startswith(".small.onnx.")
    assert state() == "missing"
    add(monkeypatch, f"{server}/good")
    assert download("small").read_bytes() == CONTENT
    assert Handler.starts[-1] == THIRD
    assert leftovers(home) == ["small.onnx"]


def test_a_server_that_cannot_begin_in_the_middle_sends_all(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/dead")
    with pytest.raises(ModelError):
        download("small")
    add(monkeypatch, f"{server}/whole")
    with pytest.raises(ModelError, match=f"was cut short: {THIRD} of {len(CONTENT)} bytes came"):
        download("small")
    add(monkeypatch, f"{server}/good")
    assert download("small").read_bytes() == CONTENT


def test_a_part_of_another_file_shows_by_the_digest(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add(monkeypatch, f"{server}/good")
    part = home / "models" / f".small.onnx.{model.sha256[:12]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"wrong")
    with pytest.raises(ModelError, match="is not the file in the table"):
        download("small")
    assert leftovers(home) == []
    part.write_bytes(CONTENT + b"too long")
    assert download("small").read_bytes() == CONTENT


def test_a_redirect_is_followed(server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, f"{server}/moved")
    assert download("small").read_bytes() == CONTENT
    assert Handler.requests == 2


def test_a_server_that_falls_silent_is_given_up(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/stuck")
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(fetching, "TRIES", 1)
    with pytest.raises(ModelError, match=r"was cut short: .* the same command continues from there"):
        download("small")


def test_a_proxy_is_asked_instead(server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy gets the whole address as the path; this one knows it."""
    add(monkeypatch, "http://models.invalid/good")
    monkeypatch.setenv("http_proxy", server)
    with pytest.raises(ModelError, match="404 Not Found"):
        download("small")
    assert Handler.requests == 1


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/good")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching.os, "fsync", fail)
    with pytest.raises(StorageError, match=r"small\.onnx: No space left on device"):
        download("small")
    assert leftovers(home) == []


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/good")
    usage = shutil.disk_usage(home.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match=r"no room in .*: 0 MB are needed and 0 MB are free"):
        download("small")
    assert Handler.requests == 0
    assert leftovers(home) == []


def test_two_downloads_at_once_do_not_mix(server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl", reason="this system has no file locks")
    model = add(monkeypatch, f"{server}/good")
    part = home / "models" / f".small.onnx.{model.sha256[:12]}.part"
    part.parent.mkdir(parents=True)
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="is being downloaded by another process"):
            download("small")
    assert download("small").read_bytes() == CONTENT


def test_a_file_fetched_by_hand_is_checked_and_taken(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, "http://127.0.0.1:9/good")
    source = tmp_path / "by-hand.onnx"
    with pytest.raises(ModelError, match="no such file"):
        take("small", source)
    source.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(ModelError, match="is not the file in the table"):
        take("small", source)
    assert state() == "missing"
    source.write_bytes(CONTENT)
    assert take("small", source) == home / "models" / "small.onnx"
    assert source.exists()
    assert models.verify("small").read_bytes() == CONTENT
    assert leftovers(home) == ["small.onnx"]


def test_a_cache_folder_that_cannot_be_made(server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, f"{server}/good")
    home.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot make the folder"):
        download("small")


def test_nobody_listens(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "http://127.0.0.1:9/good")
    with pytest.raises(ModelError, match=r"cannot download small from http://127\.0\.0\.1:9/good"):
        download("small")
    assert leftovers(home) == []


def test_offline_asks_nobody_but_takes_what_is_here(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/good")
    monkeypatch.setenv("INFILLING_OFFLINE", "1")
    with pytest.raises(ModelError, match="INFILLING_OFFLINE is set"):
        download("small")
    assert Handler.requests == 0
    assert "infill models add small FILE" in (available("small") or "")
    (home / "models").mkdir(parents=True)
    (home / "models" / "small.onnx").write_bytes(CONTENT)
    assert download("small").read_bytes() == CONTENT
    assert available("small") is None


def test_a_file_that_changed_on_disk_is_refused(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/good")
    path = download("small")
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(ModelError, match="is damaged or not small"):
        models.verify("small")
    with pytest.raises(ModelError, match="is damaged or not small"):
        open_engine("small")
    assert download("small", force=True).read_bytes() == CONTENT


def test_a_model_inside_the_package(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    add(monkeypatch, None)
    assert f"small: {tmp_path / 'small.onnx'} is missing" in (available("small") or "")
    with pytest.raises(ModelError, match="small is not here"):
        download("small")
    (tmp_path / "small.onnx").write_bytes(CONTENT)
    assert download("small") == tmp_path / "small.onnx"
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


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_model_is_what_the_table_says(name: str) -> None:
    path, model = models.verify(name), MODELS[name]
    assert path.stat().st_size == model.size <= 12_000_000
    engine = NetworkEngine(path, threads=1)
    assert engine.size_rule == model.size_rule == find_size_rule(name)
    card = engine.card
    assert (card.trained_on, card.licence) == (model.trained_on, model.licence)
    assert card.images_seen > 0


@pytest.mark.parametrize("name", ["lama", "push-pull", "model.onnx", Path("run"), object()])
def test_other_engines_are_opened_for_their_size_rule(name: object) -> None:
    assert find_size_rule(name) is None


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_model_fills_a_plane_with_its_colour(name: str) -> None:
    image = np.full((1, 3, 64, 96), 0.4, np.float32)
    mask = np.zeros((1, 1, 64, 96), np.float32)
    mask[..., 20:44, 30:60] = 1
    assert np.abs(open_engine(name).fill(image, mask) - 0.4).max() < 0.05


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_model_fills_the_same_however_it_is_opened(name: str, tmp_path: Path) -> None:
    """By name it is opened with fewer steps of the optimiser than from a file of anyone."""
    rng = np.random.default_rng(3)
    image = rng.random((1, 3, 96, 64), dtype=np.float32)
    mask = np.zeros((1, 1, 96, 64), np.float32)
    mask[..., 20:60, 10:40] = 1
    copy = shutil.copy(models.verify(name), tmp_path / "copy.onnx")
    assert np.array_equal(open_engine(name).fill(image, mask), open_engine(copy).fill(image, mask))


# -- published by others -------------------------------------------------------------------------------------

PUBLISHED = sorted(name for name, model in MODELS.items() if model.url and model.is_engine)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_is_described_whole(name: str) -> None:
    model = MODELS[name]
    assert len(model.sha256) == 64
    assert model.size > 1_000_000
    assert str(model.url).startswith("https://huggingface.co/")
    assert model.adapter in FAMILIES
    assert model.result is None or model.result in FAMILIES[model.adapter].results
    assert model.licence
    assert model.trained_on


def test_a_model_that_is_not_here_is_not_fetched_when_it_is_opened(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, f"{server}/good")
    with pytest.raises(ModelError, match="small is not downloaded: `infill models download small`"):
        open_engine("small")
    assert Handler.requests == 0
    assert "infill models download" in (models.suggest_download() or "")


def test_a_downloaded_network_of_others_fills_by_its_name(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = published.lama(tmp_path / "x.onnx").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    row = replace(MODELS["lama"], sha256=digest, size=len(content))
    monkeypatch.setitem(MODELS, "lama", row)
    monkeypatch.setattr(foreign, "find_reading", None)  # a file of the table is known
    take("lama", tmp_path / "x.onnx")
    engine = open_engine("lama")
    assert (engine.name, engine.size_rule) == ("lama", SizeRule(fixed_size=512))
    of_file = open_engine(tmp_path / "x.onnx")
    assert (find_digest(engine), find_digest(of_file)) == (digest, digest)
    assert of_file.size_rule == engine.size_rule
    assert models.suggest_download() is None


def test_a_file_of_unknown_size_is_whole_when_the_server_says_so(
    server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add(monkeypatch, f"{server}/good")
    monkeypatch.setitem(MODELS, "small", replace(model, size=0, sha256=model.sha256[:8]))
    assert download("small").read_bytes() == CONTENT
    monkeypatch.setitem(MODELS, "small", replace(model, size=0, url=f"{server}/breaks"))
    assert download("small", force=True).read_bytes() == CONTENT
