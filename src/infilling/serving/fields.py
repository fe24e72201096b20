"""Fields of a request, checked one by one; JSON bodies, of which nothing is read that is not asked for."""

import re
from collections.abc import Collection
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from infilling.errors import did_you_mean
from infilling.serving.problems import Problem

MAX_FIELD_BYTES = 64 << 10
MAX_JSON_NAMES = 1000

Model = TypeVar("Model", bound=BaseModel)


class Fields(BaseModel):
    """Fields of a request; a name that is not among them is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_json(body: bytes, model: type[Model], files: Collection[str] = ()) -> Model:
    """Read a JSON object as `model`.

    Values are found without being read; those of fields whose type is Any are not read at all, and others
    only if they are short.

    Args:
        body: UTF-8.
        model: its fields.
        files: fields whose text may be of any length.

    Raises:
        Problem: no JSON, an unknown field, a value that cannot be used.
    """
    import msgspec

    values: dict[str, Any] = {}
    try:
        found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        if len(found) > MAX_JSON_NAMES:
            raise Problem("bad-request", f"the body has more than {MAX_JSON_NAMES:,} fields")
        for name, raw in found.items():
            field = model.model_fields.get(name)
            if field is None or field.annotation is Any:
                values[name] = None
            elif len(raw) > MAX_FIELD_BYTES and name not in files:
                raise Problem("invalid", f"{name} has more than {MAX_FIELD_BYTES:,} bytes", field=name)
            else:
                values[name] = msgspec.json.decode(raw)
    except msgspec.ValidationError as error:
        raise Problem("bad-request", f"the body is not a JSON object of values: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("bad-request", f"the body is not JSON in UTF-8: {error}") from error
    return check_fields(values, model)


def check_fields(values: dict[str, Any], model: type[Model], others: Collection[str] = ()) -> Model:
    """Make the model of values; the first fault is named, an unknown field before all others."""
    known = [*model.model_fields, *others]
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
