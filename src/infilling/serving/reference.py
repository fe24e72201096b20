"""The page at `/docs`: every operation, its fields and a command to try, made from OpenAPI's description."""

from typing import Any

from markupsafe import Markup, escape

from infilling.templates import make_environment

EXAMPLES = {
    "/api/v1/fill": "curl -F image=@photo.jpg -F mask=@mask.png -F grow=4 -o filled.jpg {base}/api/v1/fill",
    "/api/v1/extend": "curl -F image=@photo.jpg -F to=16:9 -o extended.jpg {base}/api/v1/extend",
    "/api/v1/pictures": "curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' {base}/api/v1/pictures",
    "/v1/images/edits": "curl -F image=@photo.png -F mask=@mask.png -F prompt= {base}/v1/images/edits",
    "/api/v1/inpaint": (
        'jq -n --rawfile i <(base64 photo.png) --rawfile m <(base64 mask.png) "{{image:\\$i,mask:\\$m}}" |\n'
        "  curl -H 'Content-Type: application/json' -d @- -o filled.png {base}/api/v1/inpaint"
    ),
}
BASE = "http://127.0.0.1:8000"


def render(description: dict[str, Any]) -> str:
    """Return the HTML page for an OpenAPI description."""
    environment = make_environment("infilling.serving")
    environment.filters |= {"describe": _describe_field, "mark": _mark_code, "undescribed": _list_undescribed}
    examples = {path: text.format(base=BASE) for path, text in EXAMPLES.items()}
    template = environment.get_template("reference.html")
    return template.render(paths=description["paths"], examples=examples)


def _describe_field(field: dict[str, Any]) -> str:
    """Return a field in words: what it is, and its default."""
    if field.get("format") == "binary":
        return "A file."
    if field.get("items", {}).get("format") == "binary":
        return "Files."
    text = str(field.get("description", ""))
    default = field.get("default")
    return f"{text} Default: {default}." if text and default not in (None, [], "") else text


def _list_undescribed(fields: dict[str, Any]) -> list[str]:
    """Return the names of fields of which nothing is said."""
    return [name for name, field in fields.items() if not _describe_field(field)]


def _mark_code(text: str) -> Markup:
    """Escape a text and set what stands between backticks as code."""
    parts = str(escape(" ".join(text.split()))).split("`")
    marked = (f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
    return Markup("".join(marked))
