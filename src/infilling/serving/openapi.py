"""Pieces of the OpenAPI description that FastAPI cannot find by itself: bodies that are read by hand."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from infilling.pictures.picture import WRITABLE

BINARY = {"type": "string", "format": "binary"}
PICTURES: dict[str, Any] = {
    "description": "The picture.",
    "content": {f"image/{name.lower()}": {"schema": BINARY} for name in WRITABLE},
}


def form_body(
    model: type[BaseModel],
    *,
    required: Sequence[str],
    optional: Sequence[str] = (),
    lists: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the `requestBody` of a form: the model's fields and its files."""
    schema = model.model_json_schema()
    properties: dict[str, Any] = dict.fromkeys((*required, *optional), BINARY)
    properties |= {name: {"type": "array", "items": BINARY} for name in lists}
    properties |= schema["properties"]
    body = {
        "type": "object",
        "properties": properties,
        "required": [*required, *schema.get("required", [])],
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": body}}}}


def picture_body() -> dict[str, Any]:
    """Return the `requestBody` of a file that is sent as it is."""
    types = (*PICTURES["content"], "application/octet-stream")
    return {"requestBody": {"required": True, "content": {name: {"schema": BINARY} for name in types}}}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the `requestBody` of a JSON object."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
