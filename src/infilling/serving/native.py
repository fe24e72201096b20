"""Our own dialect: a picture and a mask in, a picture out."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field, PlainValidator, WithJsonSchema, create_model, field_validator

from infilling.errors import InputError
from infilling.filling.models import suggest_download
from infilling.filling.options import FillOptions, Option, find_key, list_options
from infilling.filling.values import BOX, parse_box
from infilling.filling.variants import MOST_COUNT
from infilling.pictures.mask import Box
from infilling.serving import problems
from infilling.serving.answers import PictureResponse, stream_base64
from infilling.serving.engines import OfferedEngine
from infilling.serving.fields import Fields
from infilling.serving.fill_task import FillAnswer, FillRequest, run_fill
from infilling.serving.forms import FileTable, find_file, read_form, require_file
from infilling.serving.guard import find_client
from infilling.serving.metrics import MEDIA_TYPE
from infilling.serving.openapi import BINARY, PICTURES, form_body
from infilling.serving.problems import FILE_PROBLEMS, Problem
from infilling.serving.service import BOX_HEADER, PATCH_HEADER, Service, Shared
from infilling.version import VERSION

MOST_BOXES = 1000
MOST_PATCHES = 500
MAX_TEXT = 100  # characters of a text that has no pattern
FILES = ("image", "mask", "patch", *(option.key for option in list_options() if option.is_file))


PICTURE_PROBLEMS = (*FILE_PROBLEMS, "upload-timeout", "unknown-picture")
"""What can be wrong with a request that sends a picture, or names one that was sent before."""

BoxText = Annotated[str, Field(pattern=f"^{BOX}$", examples=["40,30,64,64"])]


IdText = Annotated[str, Field(max_length=64)]


class PictureFields(Fields):
    """The fields that say which picture is meant, and what of it has been filled before."""

    image_id: str | None = Field(
        None, max_length=64, description="A picture of `/api/v1/pictures`, in place of `image`."
    )
    patch_id: tuple[IdText, ...] = Field(
        (),
        max_length=MOST_PATCHES,
        description="Patches by `X-Infilling-Patch-Id`, placed after those of `patch`.",
    )
    patch_box: tuple[BoxText, ...] = Field(
        (), max_length=MOST_PATCHES, description="Where each `patch` goes, then where each `patch_id` goes."
    )

    @field_validator("patch_box")
    @classmethod
    def _have_area(cls, boxes: tuple[str, ...]) -> tuple[str, ...]:
        for text in boxes:
            if 0 in parse_box(text)[2:]:
                raise ValueError(f"box {text} has no area")
        return boxes


class EngineFields(PictureFields):
    """The picture, and the engine by its name."""

    engine: str | None = Field(None, max_length=200, description="One of `/v1/models`.")


class PageFields(EngineFields):
    """The fields that `infilling.fill` does not have; the last two are for the page."""

    n: int = Field(
        1,
        ge=1,
        le=MOST_COUNT,
        description="Number of different fills. Above 1 the answer is JSON: `fills`, best first, each with "
        "`b64`, `media_type`, `box`, `made` (how) and `score` (lower is better), and `doubt`, how far they "
        "differ.",
    )
    patch_only: bool = Field(
        False, description="Answer with the box round the hole, as PNG; see `X-Infilling-Box`."
    )


def make_field(option: Option) -> tuple[Any, Any]:
    """Return an option as a field of a request: its type, and what OpenAPI says about it."""
    if option.is_file:  # it comes as a file, so that the value stays None
        return Annotated[None, WithJsonSchema(BINARY)], Field(None, description=option.help)
    if option.element:
        return tuple[BoxText, ...], Field((), max_length=MOST_BOXES, description=option.help)
    if option.word:
        return _accept_word(option), Field(option.default, description=option.help)
    limits: dict[str, Any] = {"ge": option.low, "le": option.high}
    if option.pattern:
        limits = {"pattern": f"^{option.pattern}$"}
    elif option.kind is str:
        limits = {"max_length": MAX_TEXT}
    kind: Any = option.kind | None if option.default is None else option.kind
    return kind, Field(option.default, description=option.help, **limits)


def _accept_word(option: Option) -> Any:
    """Return the type of a field that is a number or a word."""

    def read(value: Any) -> Any:
        try:
            return option.parse(str(value))
        except InputError as error:
            raise ValueError(str(error)) from error

    number = {"type": "integer", "minimum": option.low, "maximum": option.high}
    shown = WithJsonSchema({"anyOf": [number, {"const": option.word, "type": "string"}]})
    return Annotated[Any, PlainValidator(read), shown]


_FIELDS: dict[str, Any] = {option.key: make_field(option) for option in list_options()}
FillFields: type[PageFields] = create_model(
    "FillFields",
    __base__=PageFields,
    __doc__="The options of `infilling.fill`, and those that the page uses.",
    **_FIELDS,
)


router = APIRouter()


@router.post(
    "/api/v1/fill",
    summary="Fill the holes of a picture",
    response_class=Response,
    responses={200: PICTURES, **problems.describe(*PICTURE_PROBLEMS)},
    openapi_extra=form_body(FillFields, required=(), optional=("image", "mask"), lists=("patch",)),
    tags=["fill"],
)
async def fill(request: Request, service: Shared) -> Response:
    """Multipart in, picture out.

    White in `mask` is hole; the mask has the image's size. What is known stays as it is, and so do size,
    format, alpha, profile and metadata. Without any hole the image is written again, which is of use with
    `patch` or `format`. With `image_id` and `patch_only` the patch is kept too, under the id in the
    header `X-Infilling-Patch-Id`. With `n` above 1 several fills come, as JSON.
    """
    with service.admit(request) as job:
        fields, files = await read_form(request, FillFields, FILES)
        engine = service.engines.find(fields.engine)
        options = read_options(fields, files)
        patches = take_patches(service, fields, files)
        wanted = FillRequest(
            image=take_image(service, fields, files),
            mask=find_file(files, "mask"),
            options=options,
            patch_only=fields.patch_only,
            patches=patches,
            idle_allowed=bool(patches or options.format),
            count=fields.n,
        )
        answer = respond if fields.n == 1 else respond_several
        response = await service.fill(request, job, wanted, engine, answer, task=run_fill)
        if fields.n == 1 and fields.image_id and fields.patch_only:
            id = service.pictures.put(bytes(response.body), find_client(request.scope))
            response.headers[PATCH_HEADER] = id
        return response


@router.get("/api/v1/jobs/{id}", summary="How far a fill is", tags=["fill"])
async def job(id: str, service: Shared) -> dict[str, Any]:
    """Name a fill with the header `X-Job-Id`, and ask by that name while it is under way.

    `state` is `uploading`, `waiting`, `running`, or `unknown` before and after. `ahead` counts the fills
    that will be started before it. `share` is the part that is done, from 0 to 1, and `seconds_left` an
    estimate, or null.
    """
    found = service.pool.callers.get(id)
    if found is None:
        return {"state": "unknown", "ahead": 0, "share": 0.0, "seconds_left": None}
    return {
        "state": found.state,
        "ahead": service.pool.count_ahead(found),
        "share": round(found.share, 4),
        "seconds_left": found.seconds_left,
    }


@router.get("/api/v1/info", summary="Engines and limits", tags=["server"])
async def info(service: Shared) -> dict[str, Any]:
    """Return the facts that the page shows."""
    engines = service.engines
    return {
        "version": VERSION,
        "default": engines.default,
        "hint": suggest_download(),
        "engines": [_describe_engine(engine) for engine in engines.table.values()],
        "max_bytes": service.settings.max_bytes,
        "max_pixels": service.settings.max_pixels,
    }


def _describe_engine(engine: OfferedEngine) -> dict[str, Any]:
    return {name: getattr(engine, name) for name in ("name", "title", "summary", "seeded")}


@router.get("/healthz", summary="Is the process alive", tags=["server"])
async def healthz(service: Shared) -> dict[str, str]:
    """Return ok while the server answers."""
    return {"status": "ok"}


@router.get("/readyz", summary="Can it take a fill", tags=["server"], responses=problems.describe("closing"))
async def readyz(service: Shared) -> dict[str, str]:
    """Ok until the server is being stopped."""
    if service.pool.closing:
        raise Problem("closing", "the server is being stopped", retry_after=60)
    return {"status": "ready"}


@router.get("/metrics", summary="Figures for Prometheus", tags=["server"], response_class=PlainTextResponse)
async def metrics(service: Shared) -> Response:
    """Return counts of requests and fills, seconds, and the queue."""
    return Response(service.metrics.render(), media_type=MEDIA_TYPE)


def read_options(fields: Fields, files: FileTable, listed: Iterable[Option] = list_options()) -> FillOptions:
    """Return the options of a fill.

    Args:
        fields: of the request; each option is one of them.
        files: of the request; those that options name are among them.
        listed: the options that a request may set.

    Raises:
        Problem: a value cannot be used.
    """
    values: dict[str, Any] = {}
    try:
        for each in listed:
            value: Any = find_file(files, each.key) if each.is_file else getattr(fields, each.key)
            values[each.name] = tuple(map(each.parse, value)) if each.element else value
        return FillOptions(**values)
    except InputError as error:
        raise Problem("invalid", str(error), field=find_key(error.field)) from error


def take_image(service: Service, fields: PictureFields, files: FileTable) -> bytes:
    """Return the picture's file: the one that was sent, or one that is kept."""
    if fields.image_id is None:
        return require_file(files, "image")
    if "image" in files:
        raise Problem("invalid", "send image or image_id, not both", field="image_id")
    return service.pictures.get(fields.image_id)


def take_patches(service: Service, fields: PictureFields, files: FileTable) -> tuple[tuple[bytes, Box], ...]:
    """Return the results of earlier fills, each with its box: first those sent, then those kept."""
    kept = [service.pictures.get(id, "patch_id") for id in fields.patch_id]
    patches = [*files.get("patch", []), *kept]
    if len(patches) != len(fields.patch_box):
        raise Problem("invalid", "each patch has one patch_box", field="patch_box")
    return tuple(zip(patches, map(_inside, fields.patch_box), strict=True))


def _inside(text: str) -> Box:
    box = Box(*parse_box(text))
    if box.x < 0 or box.y < 0:
        raise Problem("invalid", f"patch_box {text} begins outside the picture", field="patch_box")
    return box


def respond_several(answer: FillAnswer) -> Response:
    """Return JSON that holds several fills, best first."""
    parts: list[str | bytes] = ['{"fills": [']
    for number, each in enumerate((answer, *answer.others)):
        about = {
            "media_type": each.media_type,
            "box": each.box,
            "made": each.label,
            "score": round(each.score, 4),
        }
        parts += [", " if number else "", json.dumps(about)[:-1], ', "b64": "', each.data, '"}']
    return stream_base64([*parts, f'], "doubt": {answer.doubt:.5f}}}'])


def respond(answer: FillAnswer) -> Response:
    """Return a picture, with the part of the whole that it shows."""
    headers = {} if answer.box is None else {BOX_HEADER: ",".join(map(str, answer.box))}
    return PictureResponse(answer.data, media_type=answer.media_type, headers=headers)
