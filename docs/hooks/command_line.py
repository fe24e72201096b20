"""Write the page of the command line from the program itself, each time the site is built."""

from typing import Any

from typer.cli import get_docs_for_click
from typer.main import get_command

PAGE = "command-line.md"
MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put the commands and their options in the place of the mark."""
    if page.file.src_uri != PAGE:
        return markdown
    return markdown.replace(MARK, describe_commands())


def describe_commands() -> str:
    """Return every command with its options as Markdown, one heading a command."""
    from click import Context

    from infilling.cli import app

    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=Context(command), name="infill")
    return text.partition("\n")[2]  # the page has its own title
