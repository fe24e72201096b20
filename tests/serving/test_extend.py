"""Borders through REST."""

import numpy as np
from tests.serving.conftest import Running, from_file, hole, photo, to_file

import infilling


def test_a_border_is_that_of_python(shared: Running) -> None:
    image = to_file(photo(31, (48, 80)), "JPEG")
    answer = shared.client.post(
        "/api/v1/extend", files={"image": image}, data={"left": "10%", "bottom": "7", "quality": "80"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-infilling-box"] == "8,0,80,48"
    assert answer.content == infilling.extend(image, "push-pull", left="10%", bottom=7, quality=80)


def test_a_wide_border_warns_and_earlier_fills_go_along(shared: Running) -> None:
    given, mask = photo(32), to_file(hole())
    image = to_file(given)
    id = shared.client.post("/api/v1/pictures", content=image).json()["id"]
    patch = shared.client.post(
        "/api/v1/fill", files={"mask": mask}, data={"image_id": id, "patch_only": "true"}
    )
    wanted = infilling.fill(given, hole(), "push-pull")
    form = {"image_id": id, "patch_id": patch.headers["x-infilling-patch-id"], "right": "50%"}
    form["patch_box"] = patch.headers["x-infilling-box"]
    parts = {key: (None, text) for key, text in form.items()}  # as multipart, with no file among them
    answer = shared.client.post("/api/v1/extend", files=parts)
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(from_file(answer.content)[:, : given.shape[1]], wanted)
    assert "right 50%" in answer.headers["x-infilling-warnings"]


def test_what_cannot_be_added_is_refused_by_its_field(shared: Running) -> None:
    for form, field in (
        ({}, "left"),
        ({"to": "16/9"}, "to"),
        ({"left": "12px"}, "left"),
        ({"top": "%"}, "top"),
        ({"left": "999999"}, "left"),
        ({"mask": "x"}, "mask"),
        ({"seed": "-1"}, "seed"),
    ):
        answer = shared.client.post("/api/v1/extend", files={"image": to_file(photo(33))}, data=form)
        assert answer.status_code == 422, answer.text
        assert answer.json()["field"] == field
