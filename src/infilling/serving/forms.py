"""Multipart and JSON bodies: read into memory, never to disk, and checked field by field."""

import json
import re
from collections.abc import Collection
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from infilling.errors import did_you_mean
from infilling.serving.problems import Problem

MAX_FILES = 66
MAX_FIELDS = 1200
MAX_FIELD_BYTES = 64 << 10

Model = TypeVar("Model", bound=BaseModel)
FileTable = dict[str, list[bytes]]


class Fields(BaseModel):
    """Fields of a request; a name that is not among them is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _MemoryParser(MultiPartParser):
    spool_max_size = 0  # files stay in memory whatever their size; the body's own limit bounds them


async def read_form(request: Request, model: type[Model], files: Collection[str]) -> tuple[Model, FileTable]:
    """Read a multipart body.

    Args:
        request: the request.
        model: its fields. One whose type is a list may come several times.
        files: names of the parts that are files; they too may come several times.

    Returns:
        The fields, and the bytes of the files by name.

    Raises:
        Problem: of another type, damaged, an unknown or repeated field, a value that cannot be used.
    """
    require_type(request, "multipart/form-data")
    parser = _MemoryParser(
        request.headers,
        request.stream(),
        max_files=MAX_FILES,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem("bad-request", f"the multipart body cannot be read: {error.message}") from error
    try:
        return _sort(form, model, files)
    finally:
        await form.close()


def read_json(body: bytes, model: type[Model]) -> Model:
    """Read a JSON object as `model`.

    Raises:
        Problem: no JSON, an unknown field, a value that cannot be used.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem("bad-request", f"the body is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise Problem("bad-request", "the body is not a JSON object")
    return check(values, model)


def require_type(request: Request, wanted: str) -> None:
    """Refuse a body of another media type."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != wanted:
        raise Problem("unsupported-type", f"send {wanted}, not {given or 'a body without a type'}")


def check(values: dict[str, Any], model: type[Model], others: Collection[str] = ()) -> Model:
    """Make the model of values; the first fault is named, an unknown field before all others."""
    known = [*_names(model), *others]
    for name in values:
        if name not in known:
            hint = did_you_mean(name[:80], known)
            raise Problem("unknown-field", f"there is no field {name[:80]!r}{hint}", field=name[:80])
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or None
        text = re.sub(r"^(Value error|Assertion failed), ", "", fault["msg"])
        raise Problem("invalid", f"{where}: {text}" if where else text, field=where) from error


def require_file(files: FileTable, name: str) -> bytes:
    """The one file of this name.

    Raises:
        Problem: it is missing, or there are several.
    """
    found = files.get(name, [])
    if len(found) != 1:
        text = "send one file" if not found else f"send one file, not {len(found)}"
        raise Problem("invalid", f"{name}: {text}", field=name)
    return found[0]


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _lists(model: type[BaseModel]) -> set[str]:
    found = model.model_fields.items()
    return {field.alias or name for name, field in found if "tuple" in str(field.annotation)}


def _sort(form: FormData, model: type[Model], files: Collection[str]) -> tuple[Model, FileTable]:
    """Take files and fields apart; every part must be what its name says."""
    values: dict[str, Any] = {}
    table: FileTable = {}
    lists = _lists(model)
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name in files:
                table.setdefault(name, []).append(value.file.read())
                continue
            if name in _names(model):
                raise Problem("invalid", f"{name} is a value, not a file", field=name)
        elif name in files:
            raise Problem("invalid", f"{name} is a file: send it with a file name", field=name)
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise Problem("invalid", f"{name} is given twice", field=name)
        else:
            values[name] = value
    return check(values, model, others=files), table
