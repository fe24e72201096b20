"""Multipart bodies: read into memory, never to disk, and checked field by field."""

from collections.abc import Collection
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from infilling.serving.fields import MAX_FIELD_BYTES, Model, check_fields
from infilling.serving.problems import Problem

MAX_FILES = 66
MAX_FIELDS = 1200
MAX_PART_HEAD_BYTES = 16 << 10

FileTable = dict[str, list[bytes]]


class _StrictParser(MultiPartParser):
    """Keeps files in memory whatever their size, takes UTF-8 only, and bounds the heads of parts."""

    spool_max_size = 0  # never to disk; the body's own limit bounds the files

    def on_part_begin(self) -> None:
        """Begin to count."""
        super().on_part_begin()
        self._head_bytes = 0

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's name."""
        self._count_head(end - start)
        super().on_header_field(data, start, end)

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's value."""
        self._count_head(end - start)
        super().on_header_value(data, start, end)

    def on_headers_finished(self) -> None:
        """Look at the head of a part."""
        _require_utf8(self._current_part.content_disposition or b"")
        super().on_headers_finished()

    def on_part_end(self) -> None:
        """Look at the value of a field."""
        _require_utf8(self._current_part.data)
        super().on_part_end()

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > MAX_PART_HEAD_BYTES:
            raise MultiPartException(f"the head of a part has more than {MAX_PART_HEAD_BYTES:,} bytes")


def _require_utf8(text: bytes | bytearray) -> None:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MultiPartException("a name or a value is not UTF-8") from error


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
    _, options = parse_options_header(request.headers["content-type"])
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() not in ("utf-8", "utf8"):
        raise Problem("unsupported-type", f"a multipart body is in UTF-8 here, not in {charset[:80]!r}")
    parser = _StrictParser(
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


def require_type(request: Request, wanted: str) -> None:
    """Refuse a body of another media type."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != wanted:
        raise Problem("unsupported-type", f"send {wanted}, not {given or 'a body without a type'}")


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read a body that is not to be longer than `max_bytes`.

    Raises:
        Problem: `too-large`.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > max_bytes:
            raise Problem("too-large", f"a body of this type may have {max_bytes:,} bytes here")
    return bytes(body)


def require_file(files: FileTable, name: str) -> bytes:
    """Return the one file of this name.

    Raises:
        Problem: it is missing, or there are several.
    """
    found = files.get(name, [])
    if len(found) != 1:
        text = "send one file" if not found else f"send one file, not {len(found)}"
        raise Problem("invalid", f"{name}: {text}", field=name)
    return found[0]


def find_file(files: FileTable, name: str) -> bytes | None:
    """Return the one file of this name; None if there is none.

    Raises:
        Problem: there are several.
    """
    return require_file(files, name) if name in files else None


def _sort(form: FormData, model: type[Model], files: Collection[str]) -> tuple[Model, FileTable]:
    """Take files and fields apart; every part must be what its name says."""
    values: dict[str, Any] = {}
    table: FileTable = {}
    lists = {name for name, field in model.model_fields.items() if "tuple" in str(field.annotation)}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name in files:
                table.setdefault(name, []).append(value.file.read())
                continue
            if name in model.model_fields:
                raise Problem("invalid", f"{name} is a value, not a file", field=name)
        elif name in files:
            raise Problem("invalid", f"{name} is a file: send it with a file name", field=name)
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise Problem("invalid", f"{name} is given twice", field=name)
        else:
            values[name] = value
    return check_fields(values, model, others=files), table
