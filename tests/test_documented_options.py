"""Every command and every option that the documentation names exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from typer.main import get_command

from infilling.cli import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPTION = r"(?<!\S)--[a-z][a-z-]+"
TOOLS = [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
COMMANDS: click.Command = get_command(app)


def read_code(page: Path) -> Iterator[str]:
    """The lines in fenced blocks, and what is between backquotes in the text."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^ *```(?:sh|text)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    yield from "".join(blocks).splitlines()
    yield from re.findall(r"`([^`]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))


def read_calls(page: Path) -> Iterator[str]:
    """What follows each `infill` that begins a line or a quoted piece, up to a pipe or a comment."""
    for code in read_code(page):
        if found := re.match(r"(?:[A-Z_]+=\S+ )*infill ([^|#;]*)", code.strip().replace("\n", " ")):
            yield found[1]


def list_options(command: click.Command) -> set[str]:
    """The long options of a command and of those inside it."""
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    inner = getattr(command, "commands", {}).values()
    return options.union({"--help"}, *(list_options(each) for each in inner))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_has_its_options(page: Path) -> None:
    for call in read_calls(page):
        command = COMMANDS
        known = {name for each in command.params for name in each.opts}
        for word in call.split():
            if word not in getattr(command, "commands", {}):
                break
            command = command.commands[word]
        assert command is not COMMANDS or not re.match(r"[a-z]", call), f"infill {call}"
        unknown = set(re.findall(OPTION, call)) - list_options(command) - known
        assert not unknown, f"infill {call}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_named_alone_exists(page: Path) -> None:
    scripts = "".join(tool.read_text(encoding="utf-8") for tool in TOOLS)
    known = list_options(COMMANDS) | set(re.findall(r'"(--[a-z-]+)"', scripts))
    named = {code.split()[0].split("=")[0] for code in read_code(page) if re.match(OPTION, code)}
    assert not named - known
