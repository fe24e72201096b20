"""The documentation site builds without a warning, has every command, and its tables stay readable."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import infilling
from infilling.cli import app
from infilling.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


def test_every_page_is_in_the_site(site: Path) -> None:
    for page in PAGES:
        path = page.relative_to(ROOT / "docs").with_suffix("")
        assert (site / path / "index.html").exists() or path.name == "index", page


def test_every_command_is_in_the_reference(site: Path) -> None:
    text = (site / "command-line" / "index.html").read_text(encoding="utf-8")
    command = get_command(app)
    for name, inner in command.commands.items():
        assert f"infill {name}" in text
        for inside in getattr(inner, "commands", {}):
            assert f"infill {name} {inside}" in text


def test_every_public_name_of_a_kind_is_in_the_reference(site: Path) -> None:
    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    assert 'id="infilling.fill"' in text
    assert "ImageKind" in text
    errors = {name for name in infilling.__all__ if name.endswith("Error")} - {"InfillingError"}
    for name in {*infilling.__all__} - errors - {"__version__"}:
        assert f'id="infilling.{name}"' in text, name


def test_every_public_name_is_on_the_page_of_the_interface() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert not [name for name in infilling.__all__ if not re.search(rf"`{name}\b", text)]


def test_the_page_of_the_command_line_is_made_from_the_code(site: Path) -> None:
    source = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert "--mask-from-alpha" not in source
    assert "--mask-from-alpha" in (site / "command-line" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_cell_of_a_table_is_longer_than_a_line(page: Path) -> None:
    rows = re.findall(r"^\|.*\|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    long = [cell.strip() for row in rows for cell in row.split("|") if len(cell.strip()) > 120]
    assert not long


def test_the_citation_has_the_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {VERSION}\n" in text
