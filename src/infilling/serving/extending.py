"""Larger canvases: the route."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import create_model

from infilling.filling.border import OPTIONS, USED
from infilling.filling.options import list_options
from infilling.serving import problems
from infilling.serving.extend_task import ExtendRequest, run_extend
from infilling.serving.fill_task import FillRequest
from infilling.serving.forms import read_form
from infilling.serving.native import (
    PICTURE_PROBLEMS,
    EngineFields,
    make_field,
    read_options,
    respond,
    take_image,
    take_patches,
)
from infilling.serving.openapi import PICTURES, form_body
from infilling.serving.service import Shared

FILES = ("image", "patch")


_USED = tuple(each for each in list_options() if each.name in USED)
_FIELDS: dict[str, Any] = {option.key: make_field(option) for option in (*OPTIONS, *_USED)}
ExtendFields: type[EngineFields] = create_model(
    "ExtendFields", __base__=EngineFields, __doc__="The picture, what is added to it, and how.", **_FIELDS
)


router = APIRouter(tags=["fill"])


@router.post(
    "/api/v1/extend",
    summary="Add a border to a picture, and continue the picture in it",
    response_class=Response,
    responses={200: PICTURES, **problems.describe(*PICTURE_PROBLEMS)},
    openapi_extra=form_body(ExtendFields, required=(), optional=("image",), lists=("patch",)),
)
async def extend(request: Request, service: Shared) -> Response:
    """Multipart in, a larger picture out.

    The picture itself stays as it is, and so do format, alpha, profile and metadata. `X-Infilling-Box`
    says where it is in the result. What is added is invented; more than 15 % of a side warns.
    """
    with service.admit(request) as job:
        fields, files = await read_form(request, ExtendFields, FILES)
        given = FillRequest(
            image=take_image(service, fields, files),
            patches=take_patches(service, fields, files),
            options=read_options(fields, files, _USED),
        )
        wanted = ExtendRequest(given, {each.name: getattr(fields, each.name) for each in OPTIONS})
        engine = service.engines.find(fields.engine)
        return await service.fill(request, job, wanted, engine, respond, task=run_extend)
