"""IOPaint's dialect: `inpaint`, `server-config` and `model`, as its third-party clients call them.

Its request has some fifty options, most of them for diffusion models. Clients send whole sets of them, so a
hint for another model is taken and not used; a switch that asks for something else than a fill is refused by
its name, and so is a field that IOPaint does not have.
"""

import asyncio
import base64
import binascii
import re
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field, field_validator

from infilling.filling.options import FillOptions
from infilling.pictures.mask import Box
from infilling.serving import problems
from infilling.serving.fill_task import FillAnswer, FillRequest
from infilling.serving.forms import Fields, read_json, require_type
from infilling.serving.openapi import PICTURES, json_body
from infilling.serving.problems import Problem
from infilling.serving.service import Service

DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(;[\w=.+-]+)*,")
SIDE = 1_000_000

Hint = Any
"""A value that only a model of another kind would look at."""


class InpaintFields(Fields):
    """The fields of IOPaint's `InpaintRequest`."""

    image: str = Field(description="Base64, bare or as a data: URL.")
    mask: str = Field(description="Base64; brighter than 127 is hole.")
    use_croper: bool = Field(False, description="Fill only inside the croper's box.")
    croper_x: int = Field(0, ge=-SIDE, le=SIDE)
    croper_y: int = Field(0, ge=-SIDE, le=SIDE)
    croper_width: int = Field(512, ge=1, le=SIDE)
    croper_height: int = Field(512, ge=1, le=SIDE)
    sd_seed: int = Field(42, description="Given back as X-Seed.")

    use_extender: Literal[False] = False
    enable_controlnet: Literal[False] = False
    enable_brushnet: Literal[False] = False
    enable_powerpaint_v2: Literal[False] = False
    sd_match_histograms: Literal[False] = False
    sd_keep_unmasked_area: Literal[True] = True
    paint_by_example_example_image: None = None

    ldm_steps: Hint = None
    ldm_sampler: Hint = None
    zits_wireframe: Hint = None
    hd_strategy: Hint = None
    hd_strategy_crop_trigger_size: Hint = None
    hd_strategy_crop_triger_size: Hint = None
    hd_strategy_crop_margin: Hint = None
    hd_strategy_resize_limit: Hint = None
    hd_trategy_resize_imit: Hint = None
    prompt: Hint = None
    negative_prompt: Hint = None
    extender_x: Hint = None
    extender_y: Hint = None
    extender_height: Hint = None
    extender_width: Hint = None
    sd_scale: Hint = None
    sd_mask_blur: Hint = None
    sd_strength: Hint = None
    sd_steps: Hint = None
    sd_guidance_scale: Hint = None
    sd_sampler: Hint = None
    sd_outpainting_softness: Hint = None
    sd_outpainting_space: Hint = None
    sd_freeu: Hint = None
    sd_freeu_config: Hint = None
    sd_lcm_lora: Hint = None
    cv2_flag: Hint = None
    cv2_radius: Hint = None
    p2p_image_guidance_scale: Hint = None
    controlnet_conditioning_scale: Hint = None
    controlnet_method: Hint = None
    brushnet_method: Hint = None
    brushnet_conditioning_scale: Hint = None
    powerpaint_task: Hint = None
    fitting_degree: Hint = None

    @field_validator("image", "mask")
    @classmethod
    def _are_there(cls, text: str) -> str:
        if not text:
            raise ValueError("it is empty")
        return text


def make_router(service: Service) -> APIRouter:
    """The routes of this dialect."""
    router = APIRouter(tags=["iopaint"])

    @router.post(
        "/api/v1/inpaint",
        summary="Fill the holes of a picture, as IOPaint's inpaint",
        response_class=Response,
        responses={
            200: PICTURES,
            **problems.describe(
                "bad-request",
                "unreadable",
                "too-large",
                "too-many-pixels",
                "unsupported-type",
                "unsupported-picture",
                "invalid",
                "unknown-field",
                "too-many",
                "busy",
                "closing",
                "timeout",
            ),
        },
        openapi_extra=json_body(InpaintFields),
    )
    async def inpaint(request: Request) -> Response:
        """Base64 in JSON in, PNG out. White in the mask is hole."""
        with service.admit(request) as job:
            require_type(request, "application/json")
            wanted, seed = await asyncio.to_thread(_read, await request.body())  # it may be long
            response = await service.fill(request, job, wanted, service.engines.find(None), _respond)
            response.headers["X-Seed"] = str(seed)
            return response

    @router.get("/api/v1/server-config", summary="As IOPaint's clients ask for it")
    async def server_config() -> dict[str, Any]:
        """What this server has of what IOPaint may have: models, no plugins."""
        return {
            "plugins": [],
            "modelInfos": [_describe(name) for name in service.engines.table],
            "removeBGModel": "briaai/RMBG-1.4",
            "removeBGModels": [],
            "realesrganModel": "realesr-general-x4v3",
            "realesrganModels": [],
            "interactiveSegModel": "vit_b",
            "interactiveSegModels": [],
            "enableFileManager": False,
            "enableAutoSaving": False,
            "enableControlnet": False,
            "controlnetMethod": None,
            "disableModelSwitch": True,
            "isDesktop": False,
            "samplers": [],
        }

    @router.get("/api/v1/model", summary="The engine that inpaint uses")
    async def model() -> dict[str, Any]:
        """The default engine."""
        return _describe(service.engines.default)

    return router


def _read(body: bytes) -> tuple[FillRequest, int]:
    """Return what a body asks for, and the seed that is given back."""
    fields = read_json(body, InpaintFields)
    box = Box(fields.croper_x, fields.croper_y, fields.croper_width, fields.croper_height)
    wanted = FillRequest(
        image=_decode(fields.image, "image"),
        mask=_decode(fields.mask, "mask"),
        within=_clip(box) if fields.use_croper else None,
        options=FillOptions(format="PNG"),
    )
    return wanted, fields.sd_seed


def _describe(name: str) -> dict[str, Any]:
    """An engine as IOPaint describes a model that erases."""
    return {
        "name": name,
        "path": name,
        "model_type": "inpaint",
        "is_single_file_diffusers": False,
        "need_prompt": False,
        "controlnets": [],
        "brushnets": [],
        "support_strength": False,
        "support_outpainting": False,
        "support_lcm_lora": False,
        "support_controlnet": False,
        "support_brushnet": False,
        "support_powerpaint_v2": False,
    }


def _decode(text: str, field: str) -> bytes:
    """Base64, with or without the head of a data: URL and line breaks."""
    head = DATA_URL.match(text[:200])
    try:
        return base64.b64decode("".join(text[head.end() if head else 0 :].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem("unreadable", "it is not base64", field=field) from error


def _clip(box: Box) -> Box:
    """The part of a box at or behind the picture's first pixel."""
    x, y = max(0, box.x), max(0, box.y)
    return Box(x, y, max(0, box.x + box.width - x), max(0, box.y + box.height - y))


def _respond(answer: FillAnswer) -> Response:
    return Response(answer.data, media_type=answer.media_type)
