"""The recipe of docs/how-to/add-a-system.md, followed; and what is wrong with systems of one's own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from infilling.errors import ConfigError
from infilling.learning.config import parse_config

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "add-a-system.md"


def read_block(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return block


def test_the_recipe_trains_and_fills(tmp_path: Path, drawn: Path) -> None:
    (tmp_path / "small_net.py").write_text(read_block("python"))
    (tmp_path / "small.toml").write_text(read_block("toml"))
    Image.open(drawn / "00.png").resize((160, 120)).save(tmp_path / "photo.jpg")
    short = "--set train.images=16 --set train.samples=2 --set train.device=cpu --set data.cache=cache"
    for line in read_block("text").splitlines():
        words = line.replace("PYTHONPATH=. ", "").replace("pictures", str(drawn)).split()
        assert words[0] == "infill"
        more = short.split() if words[1] == "train" else []
        command = [sys.executable, "-m", "infilling", *words[1:], *more]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    with Image.open(tmp_path / "filled.png") as filled:
        assert filled.size == (160, 120)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere_net:Net", "cannot import the system nowhere_net:Net: No module named 'nowhere_net'"),
        ("pathlib:Path", "cannot use the system pathlib:Path: .*Settings"),
        ("infilling.learning.systems.gated:Stages", "Stages is no subclass of System"),
        ("os.system('true'):x", "no system is called"),
    ],
)
def test_what_is_no_system_is_named(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_config({"system": {"name": name}, "train": {"steps": 1}})
