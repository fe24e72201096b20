"""The commands of docs/foreign.md, in their order, with a synthetic LaMa in the place of the published one.

Feature networks are converted in tests/learning/test_convert_features.py; a network in torch is written as a
file in test_foreign.py.
"""

import hashlib
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.filling import published

from infilling.filling import download
from infilling.filling.models import MODELS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "foreign.md"
DOWNLOAD = "infill models download"
OTHER_TESTS = ("python ", f"{DOWNLOAD} squeezenet", f"{DOWNLOAD} efficientnet", "infill features")


def read_commands() -> list[str]:
    """The commands of the page that are run here, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.partition(" #")[0].strip() for line in "".join(blocks).splitlines()]
    return [line for line in lines if line and not line.startswith(OTHER_TESTS)]


@pytest.fixture
def lama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photograph, its mask and network files; `lama` in the table is one of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INFILLING_HOME", str(tmp_path / "home"))
    file = published.lama(tmp_path / "lama_fp32.onnx", sides=published.FREE)
    published.lama(tmp_path / "filler.onnx", sides=published.FREE)
    (tmp_path / "Downloads").mkdir()
    (tmp_path / "Downloads" / file.name).write_bytes(file.read_bytes())
    data = file.read_bytes()
    row = replace(MODELS["lama"], sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    monkeypatch.setitem(MODELS, "lama", row)
    pixels = np.full((64, 80, 3), (200, 90, 40), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    mask = np.zeros((64, 80), np.uint8)
    mask[20:40, 20:50] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    return file


def test_every_command_of_the_page(lama: Path, infill, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Path("home") / "models" / MODELS["lama"].file
    commands = read_commands()
    assert len(commands) >= 9
    for command in commands:
        words = shlex.split(command)
        if command.startswith(DOWNLOAD):
            store.parent.mkdir(parents=True, exist_ok=True)
            store.write_bytes(lama.read_bytes())  # as if it had been fetched
        if words[0] == "INFILLING_OFFLINE=1":
            store.unlink()
            with monkeypatch.context() as offline:
                offline.setenv("INFILLING_OFFLINE", "1")
                ran = infill(*words[2:])
            assert ran.code == 4
            assert MODELS["lama"].url in ran.err
            continue
        ran = infill(*(Path(word).expanduser() if word.startswith("~") else word for word in words[1:]))
        assert ran.code == 0, f"{command}: {ran.err}"
        if words[1] == "fill":
            filled = np.asarray(Image.open("photo.filled.jpg")).astype(int)
            assert abs(filled[30, 35] - (200, 90, 40)).max() <= 6
            Path("photo.filled.jpg").unlink()
    assert download.verify("lama").is_file()
