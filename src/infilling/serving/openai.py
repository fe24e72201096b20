"""OpenAI's dialect: `images.edit` and the list of models, as its official client calls them."""

import re
import time
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field, field_validator

from infilling.filling.options import FillOptions
from infilling.serving import problems
from infilling.serving.answers import stream_base64
from infilling.serving.engines import EngineList, OfferedEngine
from infilling.serving.fields import Fields
from infilling.serving.fill_task import FillAnswer, FillRequest, run_fill
from infilling.serving.forms import find_file, read_form, require_file
from infilling.serving.openapi import form_body
from infilling.serving.problems import FILE_PROBLEMS, Problem
from infilling.serving.service import Shared

FILES = ("image", "image[]", "mask")
FOREIGN_MODELS = re.compile(r"(dall-e|gpt-image|chatgpt-image)")
"""Names that clients send because they have to send one: they stand for the default engine."""


class EditFields(Fields):
    """The fields of `images.edit`. Hints for other models are taken and not used."""

    prompt: str = Field("", max_length=32_000, description="Not used: an engine here takes no words.")
    model: str | None = Field(
        None, max_length=200, description="One of `/v1/models`; OpenAI's own names: the default."
    )
    n: int = Field(
        1,
        ge=1,
        le=10,
        description="Number of different fills, best first; fewer where they would be the same.",
    )
    size: str = Field(
        "auto",
        pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$",
        description="'auto', or of the same shape.",
    )
    response_format: Literal["b64_json", "url"] = Field("b64_json", description="'url' is a data: URL.")
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: int | None = Field(None, ge=0, le=100, description="Quality of JPEG and WebP.")
    background: Literal["auto", "opaque"] = Field("auto", description="Not used.")
    quality: str | None = Field(None, max_length=20, description="Not used.")
    input_fidelity: str | None = Field(None, max_length=20, description="Not used.")
    moderation: str | None = Field(None, max_length=20, description="Not used.")
    complexity: str | None = Field(None, max_length=20, description="Not used.")
    user: str | None = Field(None, max_length=1000, description="Not used.")
    safety_identifier: str | None = Field(None, max_length=1000, description="Not used.")
    stream: bool = Field(False, description="Only false.")
    partial_images: int = Field(0, description="Only 0.")

    @field_validator("stream", "partial_images")
    @classmethod
    def _are_off(cls, value: int) -> int:
        if value:
            raise ValueError("a fill comes in one piece: leave this out")
        return value


router = APIRouter(tags=["openai"])


@router.post(
    "/v1/images/edits",
    summary="Fill the holes of a picture, as OpenAI's images.edit",
    responses=problems.describe(*FILE_PROBLEMS),
    openapi_extra=form_body(EditFields, required=("image",), optional=("mask",)),
)
async def edit(request: Request, service: Shared) -> Response:
    """Fill what is transparent in `mask`.

    In a mask without transparency, what is white is filled; without a mask, what is transparent in the
    image itself.
    """
    with service.admit(request) as job:
        fields, files = await read_form(request, EditFields, FILES)
        images = {"image": files.get("image", []) + files.get("image[]", [])}
        wanted = FillRequest(
            image=require_file(images, "image"),
            mask=find_file(files, "mask"),
            options=FillOptions(
                mask_from_alpha="mask" not in files,
                format=fields.output_format,
                quality=None if fields.output_compression is None else max(1, fields.output_compression),
            ),
            alpha_if_any=True,
            count=fields.n,
            size=None if fields.size == "auto" else _parse_size(fields.size, service.settings.max_pixels),
        )
        engine = _find_engine(service.engines, fields.model)
        return await service.fill(
            request, job, wanted, engine, lambda answer: _respond(answer, fields), task=run_fill
        )


@router.get("/v1/models", summary="The engines")
async def models(service: Shared) -> dict[str, Any]:
    """List the engines by name, the default first."""
    return {"object": "list", "data": [_describe_engine(name) for name in service.engines.table]}


@router.get("/v1/models/{name}", summary="One engine", responses=problems.describe("not-found"))
async def model(name: str, service: Shared) -> dict[str, Any]:
    """One engine of the list."""
    if name not in service.engines.table:
        raise Problem("not-found", "no engine of this name is offered here", field="model")
    return _describe_engine(name)


def _describe_engine(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "infilling"}


def _find_engine(engines: EngineList, model: str | None) -> OfferedEngine:
    """Return the engine that a request names; for a model of OpenAI's own, the default."""
    is_theirs = model is not None and model not in engines.table and FOREIGN_MODELS.match(model)
    return engines.find(None if is_theirs else model, field="model")


def _parse_size(text: str, max_pixels: int) -> tuple[int, int]:
    """`WIDTHxHEIGHT` as (height, width)."""
    width, height = (int(side) for side in text.split("x"))
    if width * height > max_pixels:
        raise Problem("invalid", f"{text} has more than {max_pixels:,} pixels", field="size")
    return height, width


def _respond(answer: FillAnswer, fields: EditFields) -> Response:
    key, start = ("b64_json", "") if fields.response_format == "b64_json" else ("url", _start_url(answer))
    fills: list[str | bytes] = []
    for each in (answer, *answer.others):
        fills += [", " if fills else "", f'{{"{key}": "{start}', each.data, '"}']
    head = f'{{"created": {int(time.time())}, "output_format": "{fields.output_format}", "data": ['
    return stream_base64([head, *fills, "]}"])


def _start_url(answer: FillAnswer) -> str:
    return f"data:{answer.media_type};base64,"
