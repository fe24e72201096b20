"""IOPaint's dialect, by requests as its third-party clients write them."""

import base64
import json
import re
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from tests.serving.conftest import Running, from_file, hole, photo, to_file

import infilling


def encode(data: bytes, head: str = "data:image/png;base64,") -> str:
    return head + base64.b64encode(data).decode()


def ask(server: Running, **fields: object) -> httpx.Response:
    return server.client.post("/api/v1/inpaint", json=fields)


WEB_PAGE: dict[str, Any] = {
    # what IOPaint's own page sends for a model that erases, its two misspelled names included
    "ldm_steps": 30,
    "ldm_sampler": "ddim",
    "zits_wireframe": True,
    "cv2_flag": "INPAINT_NS",
    "cv2_radius": 5,
    "hd_strategy": "Crop",
    "hd_strategy_crop_triger_size": 640,
    "hd_strategy_crop_margin": 128,
    "hd_trategy_resize_imit": 2048,
    "prompt": "",
    "negative_prompt": "out of frame",
    "use_croper": False,
    "croper_x": 0,
    "croper_y": 0,
    "croper_height": 512,
    "croper_width": 512,
    "use_extender": False,
    "extender_x": 0,
    "extender_y": 0,
    "extender_height": 512,
    "extender_width": 512,
    "sd_mask_blur": 12,
    "sd_strength": 1.0,
    "sd_steps": 50,
    "sd_guidance_scale": 7.5,
    "sd_sampler": "DPM++ 2M",
    "sd_seed": -1,
    "sd_match_histograms": False,
    "sd_lcm_lora": False,
    "paint_by_example_example_image": None,
    "p2p_image_guidance_scale": 1.5,
    "enable_controlnet": False,
    "controlnet_conditioning_scale": 0.4,
    "controlnet_method": "",
    "enable_brushnet": False,
    "brushnet_method": "random_mask",
    "brushnet_conditioning_scale": 1.0,
    "powerpaint_task": "text-guided",
}


def test_krita(shared: Running) -> None:
    """The plug-in sends an ARGB picture and a grey mask as data URLs, and reads the answer as PNG."""
    image, mask = photo(1), hole()
    opaque = np.dstack([image, np.full(mask.shape, 255, np.uint8)])
    answer = ask(shared, image=encode(to_file(opaque)), mask=encode(to_file(mask)))
    answer.raise_for_status()
    assert answer.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(from_file(answer.content), infilling.fill(opaque, mask, "push-pull"))


def test_the_web_page(shared: Running) -> None:
    image, mask = photo(2), hole()
    answer = ask(shared, **WEB_PAGE, image=encode(to_file(image, "JPEG")), mask=encode(to_file(mask)))
    answer.raise_for_status()
    assert answer.headers["x-seed"] == "-1"
    assert from_file(answer.content).shape == image.shape


def test_bare_base64_with_line_breaks(shared: Running) -> None:
    """As `base64 photo.png` and Go's and Python's encoders write it."""
    image, mask = photo(3), hole()
    answer = ask(
        shared,
        image=base64.encodebytes(to_file(image)).decode(),
        mask=base64.b64encode(to_file(mask)).decode(),
    )
    np.testing.assert_array_equal(from_file(answer.content), infilling.fill(image, mask, "push-pull"))


HEADS = [
    "data:;base64,",
    "data:image/png;name=my%20photo.png;base64,",
    'data:image/png;name="a,b;c.png";base64,',
    "DATA:image/PNG;BASE64,",
    " \n data:image/png;base64,",
    "data:image/png,",
]


@pytest.mark.parametrize("head", HEADS)
def test_data_urls_of_forms_and_browsers(shared: Running, head: str) -> None:
    image, mask = photo(3), hole()
    answer = ask(shared, image=encode(to_file(image), head), mask=encode(to_file(mask), head))
    np.testing.assert_array_equal(from_file(answer.content), infilling.fill(image, mask, "push-pull"))


@pytest.mark.parametrize("base64_said", [True, False])
def test_data_urls_with_escaped_data(shared: Running, base64_said: bool) -> None:
    image, mask = photo(3), hole()

    def escape(data: bytes) -> str:
        if base64_said:
            return "data:image/png;base64," + quote(base64.b64encode(data).decode(), safe="")
        return "data:image/png," + quote(data)

    answer = ask(shared, image=escape(to_file(image)), mask=escape(to_file(mask)))
    np.testing.assert_array_equal(from_file(answer.content), infilling.fill(image, mask, "push-pull"))


def test_darktable_asks_for_the_configuration(shared: Running) -> None:
    """Its script looks for these words in the text."""
    text = shared.client.get("/api/v1/server-config").text
    assert re.search(r'"plugins"', text)
    assert re.search(r'"enableFileManager"\s*:\s*false', text)
    models = json.loads(text)["modelInfos"]
    assert [model["name"] for model in models] == ["push-pull"]
    current = shared.client.get("/api/v1/model").json()
    assert (current["name"], current["model_type"], current["need_prompt"]) == ("push-pull", "inpaint", False)


def test_the_croper_bounds_the_hole(shared: Running) -> None:
    image, mask = photo(4), np.zeros((48, 64), bool)
    mask[5:15, 5:15] = mask[30:40, 40:50] = True
    box = {"use_croper": True, "croper_x": -8, "croper_y": 0, "croper_width": 32, "croper_height": 32}
    answer = ask(shared, image=encode(to_file(image)), mask=encode(to_file(mask)), **box)
    mask[30:40, 40:50] = False
    np.testing.assert_array_equal(from_file(answer.content), infilling.fill(image, mask, "push-pull"))


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("use_extender", True, "invalid"),
        ("enable_controlnet", True, "invalid"),
        ("enable_brushnet", True, "invalid"),
        ("enable_powerpaint_v2", True, "invalid"),
        ("sd_keep_unmasked_area", False, "invalid"),
        ("paint_by_example_example_image", "aGk=", "invalid"),
        ("croper_width", 0, "invalid"),
        ("mask", "", "invalid"),
        ("mask", "not base64!", "unreadable"),
        ("image", "https://example.org/photo.png", "unreadable"),
        ("hdStrategy", "Crop", "unknown-field"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    shared: Running, field: str, value: object, code: str
) -> None:
    fields = {"image": encode(to_file(photo(5))), "mask": encode(to_file(hole()))} | {field: value}
    found = ask(shared, **fields).json()
    assert (found["code"], found["field"]) == (code, field)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"image": 3}', b"[" * 100_000, b"\xff"])
def test_what_is_not_a_request(shared: Running, body: bytes) -> None:
    answer = shared.client.post("/api/v1/inpaint", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] in ("bad-request", "invalid")
