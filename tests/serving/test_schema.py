"""Requests made up from our own OpenAPI description: none of them breaks the server."""

import pytest
from hypothesis import HealthCheck, settings
from tests.serving.conftest import Running, hole, photo, to_file

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

IMAGE, MASK = to_file(photo(1)), to_file(hole())


def usual(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )


OPERATIONS = [
    ("POST", "/api/v1/fill"),
    ("POST", "/api/v1/mask/{helper}"),
    ("POST", "/v1/images/edits"),
    ("POST", "/api/v1/inpaint"),
    ("GET", "/api/v1/jobs/{id}"),
    ("GET", "/v1/models/{name}"),
]


@pytest.fixture(scope="module")
def description(shared: Running) -> object:
    return schemathesis.openapi.from_dict(shared.client.get("/openapi.json").json())


def test_every_operation_is_described(shared: Running, description: object) -> None:
    labels = {found.ok().label for found in description.get_all_operations()}  # type: ignore[attr-defined]
    assert {f"{method} {path}" for method, path in OPERATIONS} <= labels


def run(description: object, url: str, examples: int, method: str, path: str) -> None:
    statuses = []

    @usual(examples)
    @given(case=description[path][method].as_strategy())  # type: ignore[index]
    def call(case: object) -> None:
        answer = case.call(base_url=url)  # type: ignore[attr-defined]
        statuses.append(answer.status_code)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == ["application/problem+json"]
            assert answer.json()["code"]

    call()
    assert statuses


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_made_up_request_breaks_it(shared: Running, description: object, method: str, path: str) -> None:
    run(description, shared.url, 15, method, path)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_none_of_many_made_up_requests(shared: Running, description: object, method: str, path: str) -> None:
    run(description, shared.url, 300, method, path)


@usual(60)
@given(
    fields=st.dictionaries(
        st.sampled_from(
            ["grow", "feather", "box", "format", "quality", "engine", "mask_color", "invert_mask"]
        ),
        st.one_of(
            st.text(max_size=12), st.integers(-5, 500).map(str), st.sampled_from(["1,2,3,4", "png", "#fff"])
        ),
        max_size=4,
    ),
    cut=st.integers(0, len(IMAGE)),
    flip=st.integers(0, len(IMAGE) - 1),
)
def test_damaged_pictures_and_odd_options(
    shared: Running, fields: dict[str, str], cut: int, flip: int
) -> None:
    """With real pictures, so that requests get past the door: cut off, or with one byte changed."""
    image = bytearray(IMAGE if cut % 3 else IMAGE[:cut])
    if flip < len(image) and cut % 2:
        image[flip] ^= 0x40
    answer = shared.client.post("/api/v1/fill", files={"image": bytes(image), "mask": MASK}, data=fields)
    assert answer.status_code < 500, answer.text
    assert answer.status_code == 200 or answer.json()["code"]
