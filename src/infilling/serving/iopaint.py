"""IOPaint's dialect: `inpaint`, `server-config` and `model`, as its third-party clients call them.

Its request has some fifty options, most of them for diffusion models. Clients send whole sets of them, so a
hint for another model is taken and not used; a switch that asks for something else than a fill is refused by
its name, and so is a field that IOPaint does not have.
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from infilling.serving import problems
from infilling.serving.answers import PictureResponse
from infilling.serving.forms import read_body, require_type
from infilling.serving.iopaint_task import InpaintAnswer, InpaintFields, run_inpaint
from infilling.serving.openapi import PICTURES, json_body
from infilling.serving.problems import FILE_PROBLEMS
from infilling.serving.service import SEED_HEADER, Shared

NO_LISTS = ("plugins", "removeBGModels", "realesrganModels", "interactiveSegModels", "samplers")
NO_PARTS = ("enableFileManager", "enableAutoSaving", "enableControlnet", "isDesktop")
NO_POWERS = (
    *("is_single_file_diffusers", "need_prompt", "support_strength", "support_outpainting"),
    *("support_lcm_lora", "support_controlnet", "support_brushnet", "support_powerpaint_v2"),
)
"""What IOPaint's description of itself and of a model has, and is empty or off here."""

router = APIRouter(tags=["iopaint"])


@router.post(
    "/api/v1/inpaint",
    summary="Fill the holes of a picture, as IOPaint's inpaint",
    response_class=Response,
    responses={200: PICTURES, **problems.describe(*FILE_PROBLEMS)},
    openapi_extra=json_body(InpaintFields),
)
async def inpaint(request: Request, service: Shared) -> Response:
    """Base64 in JSON in, PNG out. White in the mask is hole."""
    with service.admit(request) as job:
        require_type(request, "application/json")
        body = await read_body(request, service.settings.max_json_bytes)
        return await service.fill(request, job, body, service.engines.find(None), _respond, task=run_inpaint)


@router.get("/api/v1/server-config", summary="As IOPaint's clients ask for it")
async def server_config(service: Shared) -> dict[str, Any]:
    """Describe this server as IOPaint describes itself: models, no plugins."""
    return {
        "modelInfos": [_describe_engine(name) for name in service.engines.table],
        "removeBGModel": "briaai/RMBG-1.4",
        "realesrganModel": "realesr-general-x4v3",
        "interactiveSegModel": "vit_b",
        "controlnetMethod": None,
        "disableModelSwitch": True,
        **dict.fromkeys(NO_LISTS, ()),
        **dict.fromkeys(NO_PARTS, False),
    }


@router.get("/api/v1/model", summary="The engine that inpaint uses")
async def model(service: Shared) -> dict[str, Any]:
    """Return the default engine."""
    return _describe_engine(service.engines.default)


def _describe_engine(name: str) -> dict[str, Any]:
    """Describe an engine as IOPaint describes a model that erases."""
    about = {"name": name, "path": name, "model_type": "inpaint", "controlnets": [], "brushnets": []}
    return about | dict.fromkeys(NO_POWERS, False)


def _respond(answer: InpaintAnswer) -> Response:
    headers = {SEED_HEADER: str(answer.seed)}
    return PictureResponse(answer.data, media_type=answer.media_type, headers=headers)
