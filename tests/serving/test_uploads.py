"""Pictures that are uploaded once, and filled by their id."""

from collections.abc import Callable

import numpy as np
import pytest
from tests.serving.conftest import Running, from_file, hole, photo, to_file

from infilling.serving.picture_store import PictureStore
from infilling.serving.problems import Problem
from infilling.serving.settings import Settings

PNG, MASK = to_file(photo(1)), to_file(hole())


def upload(server: Running, data: bytes, **headers: str) -> str:
    answer = server.client.post("/api/v1/pictures", content=data, headers=headers)
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


def test_a_fill_by_id_is_the_fill_of_the_file(shared: Running) -> None:
    id = upload(shared, PNG)
    assert upload(shared, PNG) == id
    by_id = shared.client.post("/api/v1/fill", files={"mask": MASK}, data={"image_id": id})
    by_file = shared.client.post("/api/v1/fill", files={"image": PNG, "mask": MASK})
    assert by_id.status_code == 200, by_id.text
    assert by_id.content == by_file.content
    assert shared.client.get(f"/api/v1/pictures/{id}").json()["bytes"] == len(PNG)


def test_patches_stay_on_the_server(shared: Running) -> None:
    """Two fills by ids give what two fills with patches sent back and forth give."""
    id, size = upload(shared, to_file(photo(2, (96, 128)))), (96, 128)
    first, second = np.zeros(size, bool), np.zeros(size, bool)
    first[10:40, 10:40], second[30:60, 30:70] = True, True
    ids: list[str] = []
    boxes: list[str] = []
    patches: list[bytes] = []
    for mask in (first, second):
        fields = {"image_id": id, "patch_id": ids, "patch_box": boxes, "patch_only": "true"}
        answer = shared.client.post("/api/v1/fill", files={"mask": to_file(mask)}, data=fields)
        assert answer.status_code == 200, answer.text
        files = [("mask", to_file(mask)), *(("patch", patch) for patch in patches)]
        fields = {"image_id": id, "patch_box": boxes, "patch_only": "true"}
        sent = shared.client.post("/api/v1/fill", files=files, data=fields)
        assert sent.content == answer.content
        ids.append(answer.headers["x-infilling-patch-id"])
        boxes.append(answer.headers["x-infilling-box"])
        patches.append(answer.content)
    assert from_file(patches[1]).shape[:2] == (30, 40)
    parts = [("image_id", id), *(("patch_id", each) for each in ids), *(("patch_box", box) for box in boxes)]
    answer = shared.client.post("/api/v1/fill", files=[(name, (None, text)) for name, text in parts])
    assert answer.status_code == 200, answer.text
    whole = from_file(answer.content)
    x, y, width, height = map(int, boxes[1].split(","))
    np.testing.assert_array_equal(whole[y : y + height, x : x + width], from_file(patches[1]))


def test_an_unknown_id_is_named(shared: Running) -> None:
    for field in ("image_id", "patch_id"):
        fields = {"image_id": upload(shared, PNG), "patch_box": "1,1,2,2"} | {field: "f" * 64}
        if field == "image_id":
            del fields["patch_box"]
        answer = shared.client.post("/api/v1/fill", files={"mask": MASK}, data=fields)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-picture")
        assert answer.json()["field"] == field


def test_an_image_comes_once(shared: Running) -> None:
    id = upload(shared, PNG)
    answer = shared.client.post("/api/v1/fill", files={"image": PNG, "mask": MASK}, data={"image_id": id})
    assert (answer.status_code, answer.json()["field"]) == (422, "image_id")


def test_what_is_no_picture_is_refused(shared: Running) -> None:
    for data, status in ((b"", 400), (b"<svg></svg>", 415)):
        assert shared.client.post("/api/v1/pictures", content=data).status_code == status


def test_a_picture_can_be_forgotten(shared: Running) -> None:
    id = upload(shared, to_file(photo(77)))
    assert shared.client.delete(f"/api/v1/pictures/{id}").status_code == 204
    assert shared.client.get(f"/api/v1/pictures/{id}").json()["code"] == "unknown-picture"


def test_with_a_token_nothing_goes_without_it(start: Callable[..., Running]) -> None:
    server = start(Settings(jobs=1, token="sesame"))
    id = upload(server, PNG, Authorization="Bearer sesame")
    assert server.client.post("/api/v1/pictures", content=PNG).status_code == 401
    assert server.client.get(f"/api/v1/pictures/{id}").status_code == 401
    assert server.client.delete(f"/api/v1/pictures/{id}").status_code == 401


def test_ids_depend_on_content_process_and_token() -> None:
    one, other = PictureStore(1000, 60, "a"), PictureStore(1000, 60, "a")
    assert one.put(b"x", "me") == one.put(b"x", "you") != one.put(b"y", "me")
    assert one.put(b"x", "me") != other.put(b"x", "me")


def test_what_is_not_used_is_forgotten() -> None:
    store = PictureStore(1000, -1)
    id = store.put(b"x", "me")
    with pytest.raises(Problem, match="upload it again"):
        store.get(id)
    assert store.size == 0


def test_the_store_is_bounded_and_fair() -> None:
    store = PictureStore(100, 60)
    mine = [store.put(bytes([n]) * 20, "me") for n in range(2)]
    theirs = [store.put(bytes([100 + n]) * 20, "they") for n in range(5)]
    assert store.size <= 100
    assert [store.get(id) for id in mine], "an address that holds more has pushed out one that holds less"
    for id in theirs[:3]:
        with pytest.raises(Problem):
            store.get(id)
    assert store.get(theirs[-1])
    with pytest.raises(Problem, match="50 bytes"):
        store.put(bytes(51), "me")
