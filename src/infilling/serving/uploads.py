"""Pictures that are uploaded once: the routes."""

from typing import Any

from fastapi import APIRouter, Request, Response

from infilling.pictures.readers import sniff
from infilling.serving import problems
from infilling.serving.guard import find_client
from infilling.serving.openapi import picture_body
from infilling.serving.problems import Problem
from infilling.serving.service import Service


def make_router(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/pictures", tags=["fill"])
    store = service.pictures

    @router.post(
        "",
        summary="Upload a picture once, to fill it many times",
        status_code=201,
        responses=problems.describe(
            "bad-request", "upload-timeout", "too-large", "unsupported-picture", "too-many", "busy", "closing"
        ),
        openapi_extra=picture_body(),
    )
    async def keep(request: Request) -> dict[str, Any]:
        """Send the bytes of a file as the body.

        The answer has an `id` for the field `image_id` of a fill, and the `seconds` after its last use at
        which the picture is forgotten. It stays in memory.
        """
        with service.admit(request):
            data = await request.body()
        if not data:
            raise Problem("bad-request", "the body is empty: send the bytes of a picture's file")
        if sniff(data) is None:
            raise Problem("unsupported-picture", "it is no PNG, JPEG, WebP, TIFF, BMP, AVIF or GIF file")
        id = store.put(data, find_client(request.scope))
        return {"id": id, "bytes": len(data), "seconds": store.seconds}

    @router.get("/{id}", summary="Is a picture still there", responses=problems.describe("unknown-picture"))
    async def look(id: str) -> dict[str, Any]:
        """Return the size of the picture's file; asking counts as a use."""
        return {"id": id, "bytes": len(store.get(id, "id")), "seconds": store.seconds}

    @router.delete("/{id}", summary="Forget a picture", status_code=204)
    async def forget(id: str) -> Response:
        """Forget the picture, if it is there."""
        store.forget(id)
        return Response(status_code=204)

    return router
