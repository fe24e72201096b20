"""Masks that the server finds."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.pictures.prints import add_dust, add_fold, add_stamp, add_watermark
from tests.serving.conftest import Running, from_file, to_file

from infilling.filling.finders import Finder
from infilling.filling.workers import Progress
from infilling.pictures.mask import Box
from infilling.pictures.picture import Picture
from infilling.serving import fill_task, find_task
from infilling.serving.fill_task import FillRequest


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A blue ground with some noise and a red disc on it, (H, W, 3) uint8, and the disc, bool (H, W)."""
    rows, columns = np.mgrid[:120, :160]
    disc = (rows - 60) ** 2 + (columns - 70) ** 2 < 30**2
    image = np.where(disc[..., None], (200, 40, 40), (40, 90, 160)).astype(np.int16)
    noise = np.random.default_rng(1).integers(-6, 7, image.shape)
    return (image + noise).astype(np.uint8), disc


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_the_thing_under_a_point(shared: Running) -> None:
    image, disc = scene()
    id = shared.client.post("/api/v1/pictures", content=to_file(image)).json()["id"]
    data = {"point": ["70,60", "80.5,66"], "background": "5,5"}
    by_file = shared.client.post("/api/v1/mask/object", data=data, files={"image": to_file(image)})
    form = [
        *((name, (None, value)) for name in data for value in np.atleast_1d(data[name])),
        ("image_id", (None, id)),
    ]
    by_id = shared.client.post("/api/v1/mask/object", files=form)
    assert by_id.content == by_file.content
    assert overlap(from_file(by_file.content) > 127, disc) > 0.9


def test_the_box_round_what_was_found_comes_alone(shared: Running) -> None:
    image, _ = scene()

    def find(**data: str) -> httpx.Response:
        return shared.client.post("/api/v1/mask/object", data=data, files={"image": to_file(image)})

    whole, part = find(point="70,60"), find(point="70,60", box_only="true")
    x, y, width, height = map(int, part.headers["X-Infilling-Box"].split(","))
    mask = np.zeros((120, 160), np.uint8)
    mask[y : y + height, x : x + width] = from_file(part.content)
    assert (mask == from_file(whole.content)).all()
    assert (width, height) < (160, 120)
    nothing = shared.client.post(
        "/api/v1/mask/dust", data={"box_only": "true"}, files={"image": to_file(image * 0)}
    )
    assert nothing.headers["X-Infilling-Box"] == "0,0,1,1"
    assert not from_file(nothing.content).any()


def test_a_picture_that_is_asked_about_again_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    image, disc = scene()
    read: list[FillRequest] = []

    def read_pictures(request: FillRequest, most: int) -> tuple[Picture, Picture]:
        read.append(request)
        return fill_task.read_pictures(request, most)

    monkeypatch.setattr(find_task, "read_pictures", read_pictures)

    def find(pixels: np.ndarray, x: float, y: float, *patches: tuple[bytes, Box]) -> float:
        request = FillRequest(to_file(pixels), patches=patches)
        finder = Finder("object", {"points": [(x, y)]})
        answer = find_task.run_find(Progress(), request, finder, 10**6)
        return overlap(from_file(answer.data) > 127, disc)

    assert find(image, 70, 60) > 0.9
    assert find(image, 80, 66) > 0.9
    assert len(read) == 1
    assert find(image[:, ::-1], 89, 60) < 0.9  # another picture, in which it is elsewhere
    assert find(image, 70, 60, (to_file(image[:9, :9]), Box(0, 0, 9, 9))) > 0.9
    assert len(read) == 3


def test_scratches(shared: Running) -> None:
    image, _ = scene()
    image[20:100, 130:132] = 255
    answer = shared.client.post("/api/v1/mask/scratches", files={"image": to_file(image)})
    mask = Image.open(io.BytesIO(answer.content))
    assert (mask.format, mask.size) == ("PNG", (160, 120))
    found = np.asarray(mask) > 127
    assert found[30:90, 130:132].mean() > 0.9
    assert found.mean() < 0.05


@pytest.mark.parametrize("helper", ["dust", "stamp", "fold"])
def test_what_restores_a_print_is_found_here_too(shared: Running, helper: str) -> None:
    photo, truth = {"dust": add_dust, "stamp": add_stamp, "fold": add_fold}[helper](7)
    answer = shared.client.post(f"/api/v1/mask/{helper}", files={"image": to_file(photo)})
    assert answer.status_code == 200, answer.text
    found = from_file(answer.content) > 127
    assert found[truth].mean() > 0.6
    assert found.mean() < 0.2


def test_a_watermark_is_what_pictures_have_in_common(shared: Running) -> None:
    pictures, truth, _, _ = add_watermark(1, 6, 0.5, "logo")
    first, *others = map(to_file, pictures)
    ids = [shared.client.post("/api/v1/pictures", content=each).json()["id"] for each in others]

    def find(helper: str, *others: tuple[str, object]) -> httpx.Response:
        return shared.client.post(f"/api/v1/mask/{helper}", files=[("image", first), *others])

    by_file = find("watermark", *(("other", each) for each in others))
    assert from_file(by_file.content)[truth].mean() > 0.95 * 255
    assert find("watermark", *(("other_id", (None, id)) for id in ids)).content == by_file.content
    for refused in (find("watermark"), find("dust", ("other", others[0]))):
        assert (refused.status_code, refused.json()["field"]) == (422, "other")


@pytest.mark.parametrize(
    ("helper", "data", "field", "says"),
    [
        ("objekt", {}, "helper", "did you mean"),
        ("object", {}, "point", "at least one"),
        ("object", {"point": "900,5"}, "point", "outside"),
        ("object", {"point": "five"}, "point.0", "pattern"),
        ("object", {"points": "1,1"}, "points", "point"),
    ],
)
def test_what_cannot_be_found(
    shared: Running, helper: str, data: dict[str, str], field: str, says: str
) -> None:
    files = {"image": to_file(scene()[0])}
    answer = shared.client.post(f"/api/v1/mask/{helper}", data=data, files=files)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field
    assert says in answer.json()["detail"]


def test_options_and_a_box_say_how_and_where(shared: Running) -> None:
    image, _ = scene()
    image[20:100, 130:132] = 255

    def find(**data: str) -> np.ndarray:
        answer = shared.client.post("/api/v1/mask/scratches", data=data, files={"image": to_file(image)})
        assert answer.status_code == 200, answer.text
        return from_file(answer.content) > 127

    assert find(grow="4").sum() > find(grow="0").sum() > 0
    assert not find(length="100").any()
    assert not find(box="0,0,60,120").any()
    refused = shared.client.post(
        "/api/v1/mask/object", data={"width": "5", "point": "5,5"}, files={"image": to_file(image)}
    )
    assert refused.status_code == 422
    assert refused.json()["field"] == "width"
