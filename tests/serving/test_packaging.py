"""The wheel holds the page; the Dockerfile's steps, in a fresh directory, give a server; so does the unit."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import typer
from tests.serving.conftest import from_file, hole, photo, to_file, wait_until

from infilling.cli import app as commands
from infilling.serving.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROMISED_STOP_SECONDS = 10  # docs/serve.md: SIGTERM ends everything within this


def steps(word: str) -> list[str]:
    """What follows a word of the Dockerfile, its continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", TEXT)
    return [line.partition(" ")[2] for line in joined.splitlines() if line.startswith(f"{word} ")]


def test_the_image_is_slim_and_not_run_by_root() -> None:
    assert steps("FROM")[0].endswith("-slim")
    assert steps("USER") == ["infilling"]
    assert TEXT.index("USER infilling") < TEXT.index("ENTRYPOINT")
    assert "/healthz" in TEXT
    assert "torch" not in TEXT


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for line in steps("COPY"):
        for source in shlex.split(line)[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source.removeprefix('./')}" in ignored


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or shutil.which("useradd") is None, reason="only root adds users"
)
def test_its_user_can_be_added(tmp_path: Path) -> None:
    """The other RUN step, on account files of its own."""
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group", "shadow"):
        (tmp_path / "etc" / name).touch()
    (step,) = (line for line in steps("RUN") if line.startswith("useradd "))
    subprocess.run([*shlex.split(step), "--prefix", tmp_path], check=True, timeout=30)
    name, _, number, *_ = (tmp_path / "etc" / "passwd").read_text().split(":")
    assert [name] == steps("USER")
    assert int(number) > 0
    assert {line.split()[0] for line in steps("RUN")} == {"pip", "useradd"}, "a step that no test runs"


def test_the_documented_unit(tmp_path: Path) -> None:
    """systemd takes it, where it is installed; its command is ours, and it waits until that has ended."""
    document = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```ini\n(.*?)```", document, re.DOTALL)
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    assert set(unit) == {"DEFAULT", "Unit", "Service", "Install"}
    service = unit["Service"]
    program, *words = shlex.split(service["ExecStart"])
    serve = typer.main.get_command(commands).commands[words[0]]  # type: ignore[attr-defined]
    assert serve.make_context(words[0], words[1:]).params["host"] == "127.0.0.1"
    assert int(service["TimeoutStopSec"]) > PROMISED_STOP_SECONDS > Settings().stop_seconds
    if tool := shutil.which("systemd-analyze"):
        here = tmp_path / "infill"
        here.touch(0o755)
        file = tmp_path / "infilling.service"
        file.write_text(text.replace(program, str(here)), encoding="utf-8")
        told = subprocess.run([tool, "verify", file], capture_output=True, text=True, timeout=60)
        assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.slow
def test_its_steps_give_a_server(tmp_path: Path) -> None:
    """COPY, RUN pip, HEALTHCHECK and CMD as they stand; a virtual environment stands for the image."""
    app, venv = tmp_path / "app", tmp_path / "venv"
    app.mkdir()
    for line in steps("COPY"):
        *sources, target = shlex.split(line)
        for source in sources:
            if (ROOT / source).is_dir():
                junk = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(ROOT / source, app / target, ignore=junk)
            else:
                shutil.copy(ROOT / source, app / target)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    environment = os.environ | {"PATH": f"{venv / 'bin'}:{os.environ['PATH']}"}
    for line in steps("ENV"):
        environment |= dict(pair.split("=", 1) for pair in shlex.split(line))
    pip = next(line for line in steps("RUN") if line.startswith("pip")).replace("/app/", f"{app}/")
    subprocess.run(pip, shell=True, cwd=app, env=environment, check=True, timeout=280)
    assert not list(app.iterdir())
    (entry,) = json.loads(steps("ENTRYPOINT")[0])
    command = [venv / "bin" / entry, *json.loads(steps("CMD")[0])]
    port = "--port=0"
    server = subprocess.Popen(
        [*command, port], cwd=app, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    killer = threading.Timer(120, server.kill)
    killer.start()
    try:
        url = server.stdout.readline().strip()
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200, 30)
            for path in (
                "/",
                "/static/app.js",
                "/static/modules/view.js",
                "/static/strings/vi.json",
                "/docs",
            ):
                assert client.get(path).status_code == 200, path
            files = {"image": to_file(photo(1)), "mask": to_file(hole())}
            assert from_file(client.post("/api/v1/fill", files=files).content).shape == (48, 64, 3)
        health = re.sub(r"^.*?CMD ", "", steps("HEALTHCHECK")[0]).replace("http://127.0.0.1:8000", url)
        subprocess.run(health, shell=True, env=environment, check=True, timeout=30)
        server.terminate()
        _, errors = server.communicate(timeout=30)
        assert "INFILLING_TOKEN" in errors, "it listens to everyone and did not warn"
    finally:
        killer.cancel()
        server.kill()
