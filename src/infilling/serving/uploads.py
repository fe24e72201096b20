"""Pictures that are uploaded once: the routes."""

from typing import Any

from fastapi import APIRouter, Request, Response

from infilling.serving import problems
from infilling.serving.fill_task import require_picture
from infilling.serving.guard import find_client
from infilling.serving.openapi import picture_body
from infilling.serving.problems import Problem
from infilling.serving.service import Shared

router = APIRouter(prefix="/api/v1/pictures", tags=["fill"])


@router.post(
    "",
    summary="Upload a picture once, to fill it many times",
    status_code=201,
    responses=problems.describe(
        "bad-request", "upload-timeout", "too-large", "unsupported-picture", "too-many", "busy", "closing"
    ),
    openapi_extra=picture_body(),
)
async def keep(request: Request, service: Shared) -> dict[str, Any]:
    """Send the bytes of a file as the body.

    The answer has an `id` for the field `image_id` of a fill, and the `seconds` after its last use at
    which the picture is forgotten. It stays in memory.
    """
    with service.admit(request):
        data = await request.body()
    if not data:
        raise Problem("bad-request", "the body is empty: send the bytes of a picture's file")
    require_picture(data)
    id = service.pictures.put(data, find_client(request.scope))
    return {"id": id, "bytes": len(data), "seconds": service.pictures.seconds}


@router.get("/{id}", summary="Is a picture still there", responses=problems.describe("unknown-picture"))
async def look(id: str, service: Shared) -> dict[str, Any]:
    """Return the size of the picture's file; asking counts as a use."""
    return {"id": id, "bytes": len(service.pictures.get(id, "id")), "seconds": service.pictures.seconds}


@router.delete("/{id}", summary="Forget a picture", status_code=204)
async def forget(id: str, service: Shared) -> Response:
    """Forget the picture, if it is there."""
    service.pictures.forget(id)
    return Response(status_code=204)
