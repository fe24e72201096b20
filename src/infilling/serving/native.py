"""Our own dialect: a picture and a mask in, a picture out."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field, field_validator

from infilling.pictures.mask import Box
from infilling.serving import problems
from infilling.serving.forms import Fields, read_form, require_file
from infilling.serving.metrics import MEDIA_TYPE
from infilling.serving.openapi import PICTURES, form_body
from infilling.serving.problems import Problem
from infilling.serving.service import Service
from infilling.serving.work import Answer, Order
from infilling.version import VERSION

MOST_BOXES = 1000
FILES = ("image", "mask", "patch")
BOX_PATTERN = r"^-?\d{1,7},-?\d{1,7},\d{1,7},\d{1,7}$"

BoxText = Annotated[str, Field(pattern=BOX_PATTERN, examples=["40,30,64,64"])]


class FillFields(Fields):
    """The options of `infilling.fill`, and three that the page uses."""

    engine: str | None = Field(None, max_length=200, description="One of `/v1/models`.")
    box: tuple[BoxText, ...] = Field(
        (), max_length=MOST_BOXES, description="A hole: x,y,width,height. Repeat it."
    )
    invert_mask: bool = Field(False, description="Bright is what to keep.")
    resize_mask: bool = Field(False, description="Bring a mask of another size to the picture's.")
    mask_from_alpha: bool = Field(
        False, description="What is transparent in the mask, or in the image, is hole."
    )
    mask_color: str | None = Field(
        None, pattern=r"^#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$", description="The hole's colour."
    )
    grow: int = Field(0, ge=0, le=200, description="Pixels to widen every hole by.")
    feather: int = Field(0, ge=0, le=500, description="Pixels inwards over which colours are matched.")
    detail: bool = Field(True, description="Give holes texture from around them.")
    mark: bool = Field(False, description="Say in the file's XMP that parts of it are made up by `engine`.")
    format: str | None = Field(
        None, max_length=10, description="png, jpeg, webp, tiff, bmp, avif; else the image's."
    )
    quality: int | None = Field(None, ge=1, le=100, description="For JPEG, WebP and AVIF.")
    patch_box: tuple[BoxText, ...] = Field((), max_length=60, description="Where each `patch` goes.")
    patch_only: bool = Field(
        False, description="Answer with the box round the hole, as PNG; see `X-Infilling-Box`."
    )

    @field_validator("box", "patch_box")
    @classmethod
    def _have_area(cls, boxes: tuple[str, ...]) -> tuple[str, ...]:
        for text in boxes:
            if 0 in parse_box(text)[2:]:
                raise ValueError(f"box {text} has no area")
        return boxes


def parse_box(text: str) -> Box:
    """Read `x,y,width,height`."""
    return Box(*(int(part) for part in text.split(",")))


def make_router(service: Service) -> APIRouter:
    """The routes of this dialect, of the page's needs, and of those who watch the server."""
    router = APIRouter()

    @router.post(
        "/api/v1/fill",
        summary="Fill the holes of a picture",
        response_class=Response,
        responses={
            200: PICTURES,
            **problems.describe(
                "bad-request",
                "unreadable",
                "upload-timeout",
                "too-large",
                "too-many-pixels",
                "unsupported-type",
                "unsupported-picture",
                "invalid",
                "unknown-field",
                "busy",
                "closing",
                "timeout",
            ),
        },
        openapi_extra=form_body(FillFields, required=("image",), optional=("mask",), lists=("patch",)),
        tags=["fill"],
    )
    async def fill(request: Request) -> Response:
        """Multipart in, picture out.

        White in `mask` is hole; the mask has the image's size. What is known stays as it is, and so do size,
        format, alpha, profile and metadata. Without any hole the image is written again, which is of use with
        `patch` or `format`.
        """
        with service.admit(request) as job:
            fields, files = await read_form(request, FillFields, FILES)
            offer = service.offers.find(fields.engine)
            patches = files.get("patch", [])
            if len(patches) != len(fields.patch_box):
                raise Problem("invalid", "each patch has one patch_box", field="patch_box")
            order = Order(
                image=require_file(files, "image"),
                mask=require_file(files, "mask") if "mask" in files else None,
                boxes=tuple(parse_box(text) for text in fields.box),
                patches=tuple(zip(patches, map(_inside, fields.patch_box), strict=True)),
                idle_allowed=bool(patches or fields.format),
                **fields.model_dump(exclude={"engine", "box", "patch_box"}),
            )
            return await service.fill(request, job, order, offer, _respond)

    @router.get("/api/v1/jobs/{id}", summary="How far a fill is", tags=["fill"])
    async def job(id: str) -> dict[str, Any]:
        """Name the fill with the header `X-Job-Id` and ask by that name while it is under way. Its state is
        `uploading`, `waiting`, `running`, or `unknown` before and after."""
        found = service.pool.callers.get(id)
        if found is None:
            return {"state": "unknown", "ahead": 0, "regions": 0}
        return {"state": found.state, "ahead": service.pool.count_ahead(found), "regions": found.steps}

    @router.get("/api/v1/info", summary="Engines and limits", tags=["server"])
    async def info() -> dict[str, Any]:
        """What the page shows."""
        offers = service.offers
        return {
            "version": VERSION,
            "default": offers.default,
            "engines": [{"name": offer.name, "summary": offer.summary} for offer in offers.table.values()],
            "max_bytes": service.settings.max_bytes,
            "max_pixels": service.settings.max_pixels,
        }

    @router.get("/healthz", summary="Is the process alive", tags=["server"])
    async def healthz() -> dict[str, str]:
        """Always ok while the server answers."""
        return {"status": "ok"}

    @router.get(
        "/readyz", summary="Can it take a fill", tags=["server"], responses=problems.describe("closing")
    )
    async def readyz() -> dict[str, str]:
        """Ok until the server is being stopped."""
        if service.pool.closing:
            raise Problem("closing", "the server is being stopped", retry_after=60)
        return {"status": "ready"}

    @router.get(
        "/metrics", summary="Figures for Prometheus", tags=["server"], response_class=PlainTextResponse
    )
    async def metrics() -> Response:
        """Counts of requests and fills, seconds, and the queue."""
        return Response(service.metrics.render(service.pool), media_type=MEDIA_TYPE)

    return router


def _inside(text: str) -> Box:
    box = parse_box(text)
    if box.x < 0 or box.y < 0:
        raise Problem("invalid", f"patch_box {text} begins outside the picture", field="patch_box")
    return box


def _respond(answer: Answer) -> Response:
    headers = {} if answer.box is None else {"X-Infilling-Box": ",".join(map(str, answer.box))}
    return Response(answer.data, media_type=answer.media_type, headers=headers)
