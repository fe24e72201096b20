"""The phrases that CONTRIBUTING rules out stay out of code, docs and the page's strings."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PHRASES = {
    "so many": "the number",
    "so manieth": "1/N",
    "told": "reported",
    "laid": "placed",
    "lies": "is in",
    "anew": "again",
    "go on": "continue",
    "goes on": "continues",
    "going on": "continuing",
    "went on": "continued",
    "foretell": "predict",
    "put by": "buffered",
    "came to": "resolved",
}
"""What reads like a translation, and what a colleague would say."""
PATTERN = re.compile(rf"\b({'|'.join(PHRASES)})\b", re.IGNORECASE)
KINDS = {".css", ".html", ".js", ".json", ".md", ".py", ".toml"}
FILES = sorted(
    path
    for folder in (ROOT / "src", ROOT / "docs")
    for path in folder.rglob("*")
    if path.suffix in KINDS and "__pycache__" not in path.parts
)
TOP = sorted(ROOT.glob("*.md"))


def find_phrases(text: str) -> list[str]:
    """List `line: phrase → better` for every phrase of a text."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        for phrase in PATTERN.findall(line):
            found.append(f"{number}: {phrase} → {PHRASES[phrase.lower()]}")
    return found


@pytest.mark.parametrize("path", [*FILES, *TOP], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_phrase_reads_like_a_translation(path: Path) -> None:
    assert find_phrases(path.read_text(encoding="utf-8")) == []


def test_a_phrase_would_be_found() -> None:
    assert find_phrases("first\nThe mask lies here, drawn Anew.") == ["2: lies → is in", "2: Anew → again"]
    assert find_phrases("Untold replies are overlaid.") == []
