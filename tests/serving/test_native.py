"""Our own dialect, over a real connection."""

import base64
import inspect
import io
import json
from collections.abc import Callable

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.serving.conftest import Running, SlowEngine, from_file, hole, offer, photo, to_file

import infilling
from infilling.pictures.frame import SizeRule
from infilling.serving.engines import offer_engines
from infilling.serving.native import FillFields
from infilling.serving.settings import Settings


def post(server: Running, files: object, **fields: object) -> httpx.Response:
    return server.client.post("/api/v1/fill", files=files, data=fields)  # type: ignore[arg-type]


def test_fill_gives_what_the_python_interface_gives(shared: Running) -> None:
    image, mask = photo(1), hole()
    answer = post(shared, {"image": to_file(image), "mask": to_file(mask)}, grow=2, feather=3)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    expected = infilling.fill(image, mask, "push-pull", grow=2, feather=3)
    np.testing.assert_array_equal(from_file(answer.content), expected)
    assert (from_file(answer.content) != image).any()


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "TIFF", "BMP", "AVIF"])
def test_the_format_stays(shared: Running, format: str) -> None:
    answer = post(shared, {"image": to_file(photo(2), format), "mask": to_file(hole())})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == f"image/{format.lower()}"
    assert Image.open(io.BytesIO(answer.content)).format == format


def test_metadata_stay_and_the_turn_is_applied(shared: Running) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a cat"
    image = to_file(photo(3), "JPEG", exif=exif, dpi=(300, 300))
    answer = post(shared, {"image": image, "mask": to_file(hole((64, 48)))})
    result = Image.open(io.BytesIO(answer.content))
    assert result.size == (48, 64)
    assert result.getexif()[0x010E] == "a cat"
    assert result.getexif().get(0x0112, 1) == 1
    assert result.info["dpi"] == (300, 300)


def test_every_option_means_what_it_means_in_python(shared: Running) -> None:
    image, mask = photo(4), hole()
    painted = image.copy()
    painted[5:15, 5:20] = (255, 0, 255)
    through = np.dstack([image, np.where(mask, 0, 255).astype(np.uint8)])
    cases = [
        (image, ~mask, {"invert_mask": "true"}, {"invert_mask": True}),
        (image, mask[::2, ::2], {"resize_mask": "1"}, {"resize_mask": True}),
        (image, None, {"box": ["3,4,10,12", "40,10,5,6"]}, {"boxes": [(3, 4, 10, 12), (40, 10, 5, 6)]}),
        (painted, None, {"mask_color": "#f0f"}, {"mask_color": "#f0f"}),
        (through, None, {"mask_from_alpha": "true"}, {"mask_from_alpha": True}),
    ]
    for given, marked, fields, options in cases:
        files = {"image": to_file(given)} | ({} if marked is None else {"mask": to_file(marked)})
        answer = post(shared, files, **fields)
        assert answer.status_code == 200, answer.text
        expected = infilling.fill(given, marked, "push-pull", **options)
        np.testing.assert_array_equal(from_file(answer.content), expected)


def test_no_option_of_python_is_missing() -> None:
    """Save those about files, bands of huge files, and the machine, which a caller does not decide."""
    fields = {"boxes": "box"}
    wanted = {fields.get(name, name) for name in inspect.signature(infilling.fill).parameters}
    wanted -= {
        "options",
        "adapter",
        "image",
        "mask",
        "out",
        "patch_out",
        "bands",
        "threads",
        "device",
        "max_pixels",
    }
    assert wanted <= set(FillFields.model_fields)


def test_the_file_is_the_one_that_python_writes(shared: Running) -> None:
    image, mask = to_file(photo(14)), to_file(hole())
    answer = post(shared, {"image": image, "mask": mask}, format="webp", quality=70, mark="true")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.content == infilling.fill(image, mask, "push-pull", format="webp", quality=70, mark=True)
    assert b"compositeSynthetic" in answer.content


def test_texture_can_be_left_out(start: Callable[..., Running]) -> None:
    engine = SlowEngine(size_rule=SizeRule(working_size=32))
    engine.gate.set()
    server = start(None, [offer(engine)])
    image, mask = photo(15, (160, 160)), np.zeros((160, 160), bool)
    mask[40:120, 40:120] = True
    answers = {}
    for detail in (True, False):
        answer = post(server, {"image": to_file(image), "mask": to_file(mask)}, detail=str(detail).lower())
        answers[detail] = from_file(answer.content)
        np.testing.assert_array_equal(answers[detail], infilling.fill(image, mask, engine, detail=detail))
    assert (answers[True] != answers[False]).any()


@pytest.mark.parametrize(
    "mask",
    [
        to_file(hole().astype(np.uint8) * 2),
        to_file(hole().astype(np.uint16) * 255),
        to_file(hole().astype(np.int32) * 7, "TIFF"),
        to_file(hole().astype(np.float32), "TIFF"),
        to_file(hole()[..., None] * np.array([90, 0, 0], np.uint8)),
    ],
    ids=["labels", "16 bits", "wide integers", "floats", "paint"],
)
def test_masks_are_read_as_by_python(mask: bytes, shared: Running) -> None:
    answer = post(shared, {"image": to_file(photo()), "mask": mask})
    assert answer.status_code == 200, answer.text
    expected = infilling.fill(photo(), mask, engine="push-pull")
    np.testing.assert_array_equal(from_file(answer.content), expected)
    assert (from_file(answer.content) != photo()).any()


def test_an_empty_mask_gives_the_file_back_byte_for_byte(shared: Running) -> None:
    image = to_file(photo(5), "JPEG")
    answer = post(shared, {"image": image, "mask": to_file(np.zeros((48, 64), bool))})
    assert answer.content == image


def test_what_cannot_be_written_is_a_png_even_where_nothing_changes(shared: Running) -> None:
    files = {"image": to_file(photo(10), "GIF"), "mask": to_file(np.zeros((48, 64), bool))}
    for fields in ({}, {"format": "png"}):
        answer = post(shared, files, **fields)
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG")


def test_patches_carry_earlier_fills_and_the_file_is_written_once(shared: Running) -> None:
    """Two fills by patches equal two fills of the lossless picture, and the JPEG is compressed only once."""
    image = to_file(photo(6, (96, 128)), "JPEG", quality=80)
    decoded = infilling.decode(image).pixels
    first, second = np.zeros((96, 128), bool), np.zeros((96, 128), bool)
    first[10:40, 10:40], second[30:60, 30:70] = True, True
    patches, boxes = [], []
    for mask in (first, second):
        files = [("image", image), ("mask", to_file(mask)), *(("patch", patch) for patch in patches)]
        parts = [(name, ("x", data)) for name, data in files]
        answer = post(shared, parts, patch_box=boxes, patch_only="true")
        assert answer.status_code == 200, answer.text
        boxes.append(answer.headers["x-infilling-box"])
        patches.append(answer.content)
    assert boxes == ["10,10,30,30", "30,30,40,30"]
    expected = infilling.fill(infilling.fill(decoded, first, "push-pull"), second, "push-pull")
    parts = [("image", ("x", image)), *(("patch", ("x", patch)) for patch in patches)]
    exact = post(shared, parts, patch_box=boxes, format="png")
    np.testing.assert_array_equal(from_file(exact.content), expected)
    saved = post(shared, parts, patch_box=boxes)
    assert saved.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(saved.content)).quantization == Image.open(io.BytesIO(image)).quantization


def test_sixteen_bits_go_through_patches(shared: Running) -> None:
    image = (photo(7)[..., 0].astype(np.uint16) << 8) | photo(8)[..., 0]
    data = to_file(image)
    assert infilling.decode(data).pixels.dtype == np.uint16
    answer = post(shared, {"image": data, "mask": to_file(hole())}, patch_only="1")
    patch, box = answer.content, answer.headers["x-infilling-box"]
    assert infilling.decode(patch).pixels.dtype == np.uint16
    whole = post(shared, [("image", ("x", data)), ("patch", ("x", patch))], patch_box=box)
    np.testing.assert_array_equal(infilling.decode(whole.content).pixels[..., 0][~hole()], image[~hole()])


def test_the_same_answer_says_how_long_it_took_and_by_whom(shared: Running) -> None:
    files = {"image": to_file(photo(9)), "mask": to_file(hole())}
    answer = shared.client.post("/api/v1/fill", files=files, headers={"X-Job-Id": "mine-1"})
    assert answer.headers["x-infilling-engine"] == "push-pull"
    assert answer.headers["x-job-id"] == "mine-1"
    assert "fill;dur=" in answer.headers["server-timing"]


PNG, MASK = to_file(photo(10)), to_file(hole())
REFUSED = {
    "no image": ({"mask": MASK}, {}, 422, "invalid", "image"),
    "two images": ([("image", ("a", PNG)), ("image", ("b", PNG))], {}, 422, "invalid", "image"),
    "unknown field": ({"image": PNG, "mask": MASK}, {"feathr": 3}, 422, "unknown-field", "feathr"),
    "unknown file": ({"image": PNG, "msak": MASK}, {}, 422, "unknown-field", "msak"),
    "a field twice": ({"image": PNG, "mask": MASK}, {"grow": ["1", "2"]}, 422, "invalid", "grow"),
    "no number": ({"image": PNG, "mask": MASK}, {"grow": "much"}, 422, "invalid", "grow"),
    "too wide": ({"image": PNG, "mask": MASK}, {"grow": 501}, 422, "invalid", "grow"),
    "bad box": ({"image": PNG}, {"box": "1,2,3"}, 422, "invalid", "box.0"),
    "empty box": ({"image": PNG}, {"box": "1,2,3,0"}, 422, "invalid", "box"),
    "box outside": ({"image": PNG}, {"box": "900,2,3,4"}, 422, "invalid", "box"),
    "no hole named": ({"image": PNG}, {}, 422, "invalid", "mask"),
    "all hole": ({"image": PNG, "mask": to_file(np.ones((48, 64), bool))}, {}, 422, "invalid", "mask"),
    "mask of another size": ({"image": PNG, "mask": to_file(hole((9, 9)))}, {}, 422, "invalid", "mask"),
    "unknown engine": ({"image": PNG, "mask": MASK}, {"engine": "push-pul"}, 422, "invalid", "engine"),
    "a path": ({"image": PNG, "mask": MASK}, {"engine": "/etc/passwd"}, 422, "invalid", "engine"),
    "unknown format": ({"image": PNG, "mask": MASK}, {"format": "gif"}, 422, "invalid", "format"),
    "patch without box": ({"image": PNG, "patch": PNG}, {}, 422, "invalid", "patch_box"),
    "patch outside": ({"image": PNG, "patch": PNG}, {"patch_box": "9,9,64,48"}, 422, "invalid", "patch_box"),
    "cut off": ({"image": PNG[:200], "mask": MASK}, {}, 400, "unreadable", "image"),
    "empty file": ({"image": b"", "mask": MASK}, {}, 400, "unreadable", "image"),
    "damaged mask": ({"image": PNG, "mask": MASK[:60]}, {}, 400, "unreadable", "mask"),
    "a text": ({"image": b"hello", "mask": MASK}, {}, 415, "unsupported-picture", "image"),
}


@pytest.mark.parametrize(("files", "fields", "status", "code", "field"), REFUSED.values(), ids=REFUSED)
def test_refusals_name_the_field(
    shared: Running, files: object, fields: dict[str, object], status: int, code: str, field: str
) -> None:
    answer = post(shared, files, **fields)
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert (answer.status_code, found["code"], found["field"]) == (status, code, field), found
    assert found["status"] == status
    assert found["detail"]
    assert "/work" not in found["detail"]


def test_near_names_are_told(shared: Running) -> None:
    answer = post(shared, {"image": PNG, "mask": MASK}, feathr=3)
    assert "did you mean feather?" in answer.json()["detail"]
    answer = post(shared, {"image": PNG, "mask": MASK}, engine="push-pul")
    assert "did you mean push-pull?" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--"])
def test_damaged_multipart_is_a_bad_request(shared: Running, body: bytes) -> None:
    head = {"content-type": "multipart/form-data; boundary=x"}
    answer = shared.client.post("/api/v1/fill", content=body, headers=head)
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] in ("bad-request", "invalid")


def test_other_bodies_are_of_an_unsupported_type(shared: Running) -> None:
    answer = shared.client.post("/api/v1/fill", json={"image": "x"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-type")


def test_reading_the_result_needs_no_server_of_another_kind(shared: Running) -> None:
    """A mask that the server takes marks what `read_mask` says it marks."""
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
    image = photo(11)
    answer = post(shared, {"image": to_file(image), "mask": to_file(grey)})
    changed = (from_file(answer.content) != image).any(axis=2)
    with pytest.warns(infilling.InfillingWarning, match="neither black nor bright"):
        marked = infilling.read_mask(to_file(grey))
    assert not (changed & ~marked).any()
    assert changed.any()


def test_the_server_tells_about_itself(shared: Running) -> None:
    client = shared.client
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    info = client.get("/api/v1/info").json()
    assert info["default"] == "push-pull"
    assert info["engines"][0]["summary"]
    docs = client.get("/docs")
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in docs.text
    assert "http" not in docs.text.replace("http://127.0.0.1:8000", "").replace("https://", "http://")


def test_metrics_count(shared: Running) -> None:
    def read() -> dict[str, float]:
        lines = shared.client.get("/metrics").text.splitlines()
        return {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines if x[0] != "#")}

    before = read()
    post(shared, {"image": PNG, "mask": MASK})
    post(shared, {"image": PNG})
    after = read()
    done = 'infilling_fills_total{engine="push-pull",outcome="done"}'
    refused = 'infilling_requests_total{method="POST",path="/api/v1/fill",status="422"}'
    assert after[done] - before.get(done, 0) == 1
    assert after[refused] - before.get(refused, 0) == 1
    assert after["infilling_fill_seconds_count"] == after['infilling_fill_seconds_bucket{le="+Inf"}']
    assert after["infilling_jobs"] == 2


def test_several_fills_are_those_of_python(start: Callable[..., Running]) -> None:
    running = start(engines=offer_engines(["patch-synthesis"]))
    image, mask = (
        to_file(np.kron(photo(8, (32, 48)), np.ones((3, 3, 1), np.uint8))),
        np.zeros((96, 144), bool),
    )
    mask[20:40, 10:30] = True
    wanted = infilling.fills(image, mask, "patch-synthesis", count=3, seed=5)
    found = post(running, {"image": image, "mask": to_file(mask)}, n=3, seed=5).json()
    assert [base64.b64decode(each["b64"]) for each in found["fills"]] == list(wanted)
    assert [each["made"] for each in found["fills"]] == list(wanted.labels)
    assert [each["media_type"] for each in found["fills"]] == ["image/png"] * 3
    assert [each["box"] for each in found["fills"]] == [None] * 3
    assert found["doubt"] == pytest.approx(wanted.doubt, abs=1e-5)
    parts = post(running, {"image": image, "mask": to_file(mask)}, n=2, patch_only="true").json()
    assert [each["box"] for each in parts["fills"]] == [[10, 20, 20, 20]] * 2
    for n in ("0", "17", "two"):
        assert post(running, {"image": image, "mask": to_file(mask)}, n=n).json()["field"] == "n"


def test_a_seed_gives_the_same_bytes_in_every_dialect(start: Callable[..., Running]) -> None:
    running = start(Settings(jobs=2), offer_engines(["patch-synthesis"]))
    image, mask = (
        to_file(np.kron(photo(8, (32, 48)), np.ones((3, 3, 1), np.uint8))),
        np.zeros((96, 144), bool),
    )
    mask[20:40, 10:30] = True
    wanted = infilling.fill(image, mask, "patch-synthesis", seed=6)
    assert wanted != infilling.fill(image, mask, "patch-synthesis")
    answers = [post(running, {"image": image, "mask": to_file(mask)}, seed=6).content for _ in range(3)]
    assert answers == [wanted] * 3
    body = {"image": base64.b64encode(image).decode(), "mask": base64.b64encode(to_file(mask)).decode()}
    assert running.client.post("/api/v1/inpaint", json={**body, "sd_seed": 6}).content == wanted


def test_a_source_and_a_seed_mean_what_they_mean_in_python(start: Callable[..., Running]) -> None:
    running = start(engines=offer_engines(["patch-synthesis", "mean"]))
    image, mask = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8), np.zeros((64, 96), bool)
    mask[20:40, 10:30] = True
    source, avoid = np.zeros_like(mask), np.zeros_like(mask)
    source[:, 40:] = avoid[:, 80:] = True
    files = {
        name: to_file(data)
        for name, data in (("image", image), ("mask", mask), ("source", source), ("avoid", avoid))
    }
    answer = post(running, files, seed=7)
    assert answer.status_code == 200, answer.text
    expected = infilling.fill(image, mask, "patch-synthesis", source=source, avoid=avoid, seed=7)
    np.testing.assert_array_equal(from_file(answer.content), expected)
    refused = post(running, files, engine="mean").json()
    assert (refused["code"], refused["field"]) == ("invalid", "source")
    refused = post(running, files | {"avoid": b"GIF"}).json()
    assert (refused["code"], refused["field"]) == ("unsupported-picture", "avoid")
    engines = running.client.get("/api/v1/info").json()["engines"]
    assert {each["name"]: each["seeded"] for each in engines} == {"patch-synthesis": True, "mean": False}


def test_a_tight_mask_is_a_warning_and_auto_takes_its_rim_in(shared: Running) -> None:
    image, tight = np.full((96, 96, 3), 110, np.uint8), np.zeros((96, 96), bool)
    image[:, 30:60], tight[:, 32:58] = (230, 60, 40), True
    files = {"image": to_file(image), "mask": to_file(tight.astype(np.uint8) * 255)}
    tight_fill = post(shared, files, mark="true").headers
    assert "--grow 2 would take in the rim" in json.loads(tight_fill["x-infilling-warnings"])[-1]
    assert json.loads(tight_fill["x-infilling-advice"])[-1] == {"code": "tight-mask", "grow": 2}
    answer = post(shared, files, grow="auto")
    assert not {"x-infilling-warnings", "x-infilling-advice"} & answer.headers.keys()
    np.testing.assert_array_equal(
        from_file(answer.content), infilling.fill(image, tight, "push-pull", grow=2)
    )
    wrong = post(shared, files, grow="wide")
    assert wrong.status_code == 422
    assert wrong.json()["field"] == "grow"
    assert "give a whole number or 'auto'" in wrong.json()["detail"]
