"""Every command and every line of Python in the README and the documentation is run here.

What would take long is run with limits appended, on a drawn folder: see `LIMITS`. `make` verbs are asked what
they would do.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

from infilling.cli import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/api.md",
    "docs/how-to/choose-a-fill.md",
    "docs/how-to/compare-engines.md",
    "docs/how-to/extend-a-picture.md",
    "docs/how-to/fill-a-folder.md",
    "docs/how-to/fine-tune.md",
    "docs/how-to/remove-an-object.md",
    "docs/how-to/restore-a-scan.md",
    "docs/how-to/use-the-page.md",
    "docs/install.md",
    "docs/quickstart.md",
    "docs/serve.md",
    "docs/training.md",
]
SMALL = ["system.width=4", "train.batch=2", "train.steps=1", "train.samples=1", "data.lanes=2"]
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
LIMITS = {
    "train": ["--device", "cpu", "--threads", "1", *(part for key in SMALL for part in ("--set", key))],
    "evaluate": ["--count", "2", "--threads", "1"],
}
"""What is appended to commands that would take long."""


def read_blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def read_commands(page: str) -> list[str]:
    """The commands of a page, comments and line breaks taken out."""
    lines = "".join(read_blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [line for line in (line.split(" # ")[0].strip() for line in lines) if line and line[0] != "#"]


COMMANDS = [(page, read_commands(page)) for page in PAGES if read_commands(page)]
BLOCKS = [
    (page, block)
    for page in PAGES
    for block in read_blocks(page, "python")
    if "OpenAI(" not in block  # needs a server: tests/serving/test_openai.py has one
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the pages take it for granted: a photograph, its mask, pictures, examples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFILLING_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)

    def draw(path: Path, width: int, height: int) -> None:
        path.parent.mkdir(exist_ok=True)
        small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path, quality=92)

    draw(tmp_path / "photo.jpg", 320, 240)
    mask = np.zeros((240, 320), np.uint8)
    mask[60:110, 40:120] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    for number in range(8):
        draw(tmp_path / "pictures" / f"{number}.jpg", 128, 128)
        draw(tmp_path / "held-out" / f"{number}.jpg", 128, 128)
    (tmp_path / "masks").mkdir()
    for number in range(2):
        draw(tmp_path / "photos" / f"{number}.jpg", 96, 80)
        Image.fromarray(mask[40:120, 80:176]).save(tmp_path / "masks" / f"{number}.png")
    draw_album(tmp_path)
    for shared in ("examples", "Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / shared).symlink_to(ROOT / shared)
    return tmp_path


def draw_album(folder: Path) -> None:
    """Draw a scan with a scratch, a mask of its faces, and five pictures with one logo."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:120, :160]
    scan = np.stack([90 + rows / 4, 80 + columns / 4, 100 + 0 * rows], axis=2) + rng.normal(
        0, 2, (120, 160, 1)
    )
    scan[10:110, 70:72] = 250
    Image.fromarray(scan.round().astype(np.uint8)).save(folder / "scan.jpg", quality=95)
    faces = np.zeros((120, 160), np.uint8)
    faces[:5, :5] = 255
    Image.fromarray(faces).save(folder / "faces.png")
    (folder / "folder").mkdir()
    for number in range(5):
        small = rng.integers(30, 200, (6, 8, 3), dtype=np.uint8)
        picture = np.array(Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC), float)
        picture[90:106, 20:80] = (picture[90:106, 20:80] + 255) / 2
        Image.fromarray(picture.astype(np.uint8)).save(folder / "folder" / f"{number}.png")


def limit(command: str) -> str:
    """Append what keeps a long command short."""
    words = shlex.split(command)
    return shlex.join([*words, *LIMITS[words[1]]]) if words[0] == "infill" and words[1] in LIMITS else command


@pytest.mark.filterwarnings("ignore:more than 15% is added")
@pytest.mark.parametrize(("page", "commands"), COMMANDS, ids=[page for page, _ in COMMANDS])
def test_every_command_runs_in_its_order(page, commands, folder, infill) -> None:
    for command in commands:
        if command.startswith("make "):
            done = subprocess.run(
                [*command.split(), "-n"], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}: {done.stderr}"
        elif command.startswith("infill serve"):
            words = shlex.split(command)[1:]  # it would not end: only its options are read
            get_command(app).commands[words[0]].make_context(words[0], words[1:])
        elif command.startswith("curl "):
            pass  # sent to a server by tests/serving/test_documented_requests.py
        elif command.startswith("pip install "):
            extras = re.findall(r"[a-z]+", "".join(re.findall(r"\[(.*?)\]", command)))
            assert set(extras) <= EXTRAS, command
        elif re.search("[|<>$;&]", command):
            if command.startswith("jq ") and shutil.which("jq") is None:
                continue
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}: {done.stderr}"
        else:
            program, *args = shlex.split(limit(command))
            assert program == "infill", f"no test can run {command!r}"
            ran = infill(*args)
            assert ran.code == 0, f"{command}: {ran.err}"


def test_the_commands_made_what_the_readme_says(folder, infill) -> None:
    fills = [command for command in read_commands("README.md") if command.startswith("infill fill photo.jpg")]
    ran = infill(*shlex.split(fills[0])[1:])
    before, after = (np.asarray(Image.open(name).convert("RGB")) for name in ("photo.jpg", "result.jpg"))
    assert ran.lines == ["result.jpg"]
    assert (before[60:110, 40:120] != after[60:110, 40:120]).any()


@pytest.mark.filterwarnings("ignore:more than 15% is added")
@pytest.mark.parametrize(("page", "code"), BLOCKS, ids=[f"{page} {code[:30]!r}" for page, code in BLOCKS])
def test_every_line_of_python_runs(page, code, folder) -> None:
    exec(compile(code, page, "exec"), {"__name__": "readme"})


def test_links_lead_to_files() -> None:
    for page in PAGES:
        links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
        missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
        assert not missing, page


def test_the_verbs_of_the_makefile_are_the_documented_ones() -> None:
    shown = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    verbs = {line.split()[1] for line in shown.splitlines()}
    assert verbs >= {"demo", "test", "test-slow", "lint", "wheel", "clean", "bench", "help"}
    for verb in verbs - {"help"}:
        done = subprocess.run(["make", "-n", verb], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_demo_writes_the_comparison(tmp_path) -> None:
    out = tmp_path / "demo" / "comparison.png"
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py", out, "mean"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(out) in done.stdout
    assert len(re.findall(r"in \d+\.\d\d s", done.stdout)) == 3
    assert len(re.findall(r"PSNR in the hole \d+\.\d\d dB", done.stdout)) == 1, "only damage has a truth"
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    panel = (pixels.shape[1] - 8) // 3
    rows = pixels[60:320]  # inside the first picture
    hole, filled = (rows[:, column * panel + 8 : (column + 1) * panel] for column in (1, 2))
    changed = (np.abs(filled - hole) > 8).any(axis=-1).mean()
    assert 0.02 < changed < 0.3, "the fill differs in the hole, and only there"
