"""The page at `/docs`: every operation, its fields and a command to try, made from OpenAPI's description."""

from collections.abc import Iterator
from html import escape
from typing import Any

EXAMPLES = {
    "/api/v1/fill": "curl -F image=@photo.jpg -F mask=@mask.png -F grow=4 -o filled.jpg {base}/api/v1/fill",
    "/v1/images/edits": "curl -F image=@photo.png -F mask=@mask.png -F prompt= {base}/v1/images/edits",
    "/api/v1/inpaint": (
        'jq -n --rawfile i <(base64 photo.png) --rawfile m <(base64 mask.png) "{{image:\\$i,mask:\\$m}}" |\n'
        "  curl -H 'Content-Type: application/json' -d @- -o filled.png {base}/api/v1/inpaint"
    ),
}
BASE = "http://127.0.0.1:8000"
HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>infilling: REST</title>
<link rel="icon" href="static/icon.svg">
<link rel="stylesheet" href="static/docs.css">
<main>
<h1>REST</h1>
<p>As a machine reads it: <a href="openapi.json">openapi.json</a>. The page: <a href="./">paint a hole</a>.
Every error is problem JSON with a stable <code>code</code>, a <code>detail</code>,
and the <code>field</code> at fault.</p>
"""


def render(description: dict[str, Any]) -> str:
    """Make the HTML page for an OpenAPI description."""
    return HEAD + "\n".join(_render_paths(description["paths"])) + "\n</main>\n</html>\n"


def _render_paths(paths: dict[str, Any]) -> Iterator[str]:
    for path, operations in paths.items():
        for method, operation in operations.items():
            yield f"<section><h2><b>{method.upper()}</b> <code>{escape(path)}</code></h2>"
            text = _mark(operation.get("description", ""))
            yield f"<p><strong>{escape(operation['summary'])}.</strong> {text}</p>"
            if path in EXAMPLES and method == "post":
                yield f"<pre>{escape(EXAMPLES[path].format(base=BASE))}</pre>"
            yield from _render_body(operation)
            yield from _render_answers(operation)
            yield "</section>"


def _render_body(operation: dict[str, Any]) -> Iterator[str]:
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"]
        fields = schema.get("properties", {})
        told = {name: field for name, field in fields.items() if _tell(field)}
        untold = ", ".join(f"<code>{escape(name)}</code>" for name in fields if name not in told)
        yield f"<table><caption>{escape(media_type)}</caption>"
        for name, field in told.items():
            needed = " <em>required</em>" if name in schema.get("required", []) else ""
            head = f"<th scope=row><code>{escape(name)}</code>{needed}</th>"
            yield f"<tr>{head}<td>{_mark(_tell(field))}</td></tr>"
        yield "</table>"
        if untold:
            yield f"<p>Also taken: {untold}.</p>"


def _render_answers(operation: dict[str, Any]) -> Iterator[str]:
    answers = operation.get("responses", {}).items()
    rows = [
        f"<tr><th scope=row>{code}</th><td>{_mark(answer['description'])}</td></tr>"
        for code, answer in answers
    ]
    yield "<details><summary>Answers</summary><table>" + "".join(rows) + "</table></details>"


def _tell(field: dict[str, Any]) -> str:
    """A field in words: what it is, and what it is if it is left out."""
    if field.get("format") == "binary":
        return "A file."
    if field.get("items", {}).get("format") == "binary":
        return "Files."
    text = str(field.get("description", ""))
    default = field.get("default")
    return f"{text} Default: {default}." if text and default not in (None, [], "") else text


def _mark(text: str) -> str:
    """Escape a text and set what stands between backticks as code."""
    parts = escape(" ".join(text.split())).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
