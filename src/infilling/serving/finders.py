"""Masks of what is found in a picture: the routes."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from infilling.errors import did_you_mean
from infilling.serving import problems
from infilling.serving.fill_task import FillRequest
from infilling.serving.find_task import FINDERS, Places
from infilling.serving.forms import read_form
from infilling.serving.native import PictureFields, take_image, take_patches
from infilling.serving.openapi import BINARY, form_body
from infilling.serving.problems import Problem
from infilling.serving.service import Service

MOST_POINTS = 1000

Finder = Annotated[str, Path(max_length=80, json_schema_extra={"enum": list(FINDERS)})]
NUMBER = "[0-9]{1,6}([.][0-9]{1,3})?"
PointText = Annotated[str, Field(pattern=f"^{NUMBER},{NUMBER}$", examples=["120,80"])]
MASK = {"description": "The mask: white is what was found.", "content": {"image/png": {"schema": BINARY}}}


class FindFields(PictureFields):
    """The picture, and where to look in it."""

    point: tuple[PointText, ...] = Field(
        (), max_length=MOST_POINTS, description="On the thing: x,y in pixels. Repeat it along a scribble."
    )
    background: tuple[PointText, ...] = Field(
        (), max_length=MOST_POINTS, description="On what does not belong to it: x,y in pixels."
    )


def make_router(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["masks"])

    @router.post(
        "/api/v1/mask/{helper}",
        summary="Find something in a picture, as a mask",
        response_class=Response,
        responses={
            200: MASK,
            **problems.describe(
                "bad-request",
                "unreadable",
                "upload-timeout",
                "too-large",
                "too-many-pixels",
                "unsupported-type",
                "unsupported-picture",
                "unknown-picture",
                "invalid",
                "unknown-field",
                "too-many",
                "busy",
                "closing",
                "timeout",
            ),
        },
        openapi_extra=form_body(FindFields, required=(), optional=("image",), lists=("patch",)),
    )
    async def find(request: Request, helper: Finder) -> Response:
        """Return a mask of the picture's size, as a PNG; all black if nothing was found.

        `object` is the thing that `point` is on, `scratches` are thin lines.
        """
        if helper not in FINDERS:
            text = f"{helper!r} cannot be found here{did_you_mean(helper, FINDERS)}"
            raise Problem("invalid", text, field="helper")
        with service.admit(request) as job:
            fields, files = await read_form(request, FindFields, ("image", "patch"))
            image, patches = take_image(service, fields, files), take_patches(service, fields, files)
            places = Places(_parse(fields.point), _parse(fields.background))
            wanted = FillRequest(image=image, patches=patches)
            return await service.find(request, job, wanted, helper, places)

    return router


def _parse(texts: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
    """Read `x,y` texts."""
    pairs = (text.split(",") for text in texts)
    return tuple((float(x), float(y)) for x, y in pairs)
