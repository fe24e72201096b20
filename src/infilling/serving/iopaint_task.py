"""IOPaint's request, read and carried out by a worker process: its JSON may be large and hostile."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from pydantic import Field, create_model, field_validator

from infilling.filling.options import MOST_SEED, FillOptions
from infilling.filling.workers import Progress
from infilling.pictures.mask import Box
from infilling.serving.engines import OfferedEngine
from infilling.serving.fields import Fields, read_json
from infilling.serving.fill_task import FillAnswer, FillRequest, run_fill
from infilling.serving.problems import Problem

DATA_URL = re.compile(r'data:[^,;"]*((?:;(?:[^,;"]|"[^"]*")*)*),', re.IGNORECASE)
LONGEST_HEAD = 2000  # characters of a data: URL before its data
SIDE = 1_000_000
SEEDS = 2**64

HINTS = (
    *("ldm_steps", "ldm_sampler", "zits_wireframe", "hd_strategy", "hd_strategy_crop_trigger_size"),
    *("hd_strategy_crop_triger_size", "hd_strategy_crop_margin", "hd_strategy_resize_limit"),
    *("hd_trategy_resize_imit", "prompt", "negative_prompt", "extender_x", "extender_y", "extender_height"),
    *("extender_width", "sd_scale", "sd_mask_blur", "sd_strength", "sd_steps", "sd_guidance_scale"),
    *("sd_sampler", "sd_outpainting_softness", "sd_outpainting_space", "sd_freeu", "sd_freeu_config"),
    *("sd_lcm_lora", "cv2_flag", "cv2_radius", "p2p_image_guidance_scale", "controlnet_conditioning_scale"),
    *("controlnet_method", "brushnet_method", "brushnet_conditioning_scale", "powerpaint_task"),
    "fitting_degree",
)
"""Fields whose values only a model of another kind would look at."""


class InpaintBase(Fields):
    """The fields that are read."""

    image: str = Field(description="Base64, bare or as a data: URL.")
    mask: str = Field(description="Base64; brighter than 127 is hole.")
    use_croper: bool = Field(False, description="Fill only inside the croper's box.")
    croper_x: int = Field(0, ge=-SIDE, le=SIDE)
    croper_y: int = Field(0, ge=-SIDE, le=SIDE)
    croper_width: int = Field(512, ge=1, le=SIDE)
    croper_height: int = Field(512, ge=1, le=SIDE)
    sd_seed: int = Field(
        0,
        ge=-SEEDS,
        le=SEEDS,
        description="The seed, given back as X-Seed; below 0 it is 0, which is the usual fill.",
    )

    use_extender: Literal[False] = False
    enable_controlnet: Literal[False] = False
    enable_brushnet: Literal[False] = False
    enable_powerpaint_v2: Literal[False] = False
    sd_match_histograms: Literal[False] = False
    sd_keep_unmasked_area: Literal[True] = True
    paint_by_example_example_image: None = None

    @field_validator("image", "mask")
    @classmethod
    def _are_there(cls, text: str) -> str:
        if not text:
            raise ValueError("it is empty")
        return text


InpaintFields: type[InpaintBase] = create_model(
    "InpaintFields",
    __base__=InpaintBase,
    __doc__="The fields of IOPaint's `InpaintRequest`.",
    **dict.fromkeys(HINTS, (Any, None)),  # type: ignore[call-overload]
)


@dataclass(frozen=True)
class InpaintAnswer(FillAnswer):
    """A filled picture, and the seed that is given back."""

    seed: int = 0


def run_inpaint(
    progress: Progress, body: bytes, engine: OfferedEngine, threads: int, max_pixels: int
) -> InpaintAnswer:
    """Read a request and carry it out; see `run_fill`.

    Args:
        progress: receives the share that is done.
        body: JSON in UTF-8.
        engine: what fills.
        threads: threads that the engine may use.
        max_pixels: largest picture and mask, in pixels.

    Raises:
        Problem: it cannot be carried out.
    """
    fields = read_json(body, InpaintFields, files=("image", "mask"))
    box = Box(fields.croper_x, fields.croper_y, fields.croper_width, fields.croper_height)
    wanted = FillRequest(
        image=_decode(fields.image, "image"),
        mask=_decode(fields.mask, "mask"),
        within=_clip(box) if fields.use_croper else None,
        options=FillOptions(format="PNG", seed=max(0, fields.sd_seed) % (MOST_SEED + 1)),
    )
    answer = run_fill(progress, wanted, engine, threads, max_pixels)
    return InpaintAnswer(**vars(answer), seed=fields.sd_seed)


def _decode(text: str, field: str) -> bytes:
    """Return the bytes of a text in base64, bare or as a data: URL (RFC 2397), with or without line breaks.

    A URL's data are base64 if its head says so, or if nothing in them is escaped.
    """
    text = text.lstrip()
    head = DATA_URL.match(text[:LONGEST_HEAD])
    data = text[head.end() if head else 0 :].encode(errors="replace")
    if head and b"%" in data:
        data = unquote_to_bytes(data)
        if not head[1].lower().endswith(";base64"):
            return data
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error as error:
        raise Problem("unreadable", "it is not base64", field=field) from error


def _clip(box: Box) -> Box:
    """Clip a box at the picture's first pixel."""
    x, y = max(0, box.x), max(0, box.y)
    return Box(x, y, max(0, box.x + box.width - x), max(0, box.y + box.height - y))
