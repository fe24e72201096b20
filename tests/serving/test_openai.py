"""OpenAI's dialect, spoken by OpenAI's own client."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import openai
import pytest
from PIL import Image
from tests.serving.conftest import Running, from_file, hole, photo, to_file

import infilling


@pytest.fixture
def client(shared: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{shared.url}/v1", api_key="none", max_retries=0)


def upload(data: bytes, name: str = "photo.png") -> tuple[str, bytes, str]:
    return name, data, "image/png"


def taken(response: object, index: int = 0) -> np.ndarray:
    text = response.data[index].b64_json  # type: ignore[attr-defined]
    return from_file(base64.b64decode(text))


def through(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with its hole transparent."""
    return np.dstack([image, np.where(mask, 0, 255).astype(np.uint8)])


def test_transparent_in_the_mask_is_filled(client: openai.OpenAI) -> None:
    image, mask = photo(1), hole()
    given = upload(to_file(through(np.zeros_like(image), mask)))
    response = client.images.edit(
        image=upload(to_file(image)), mask=given, prompt="a cat", model="gpt-image-1"
    )
    np.testing.assert_array_equal(taken(response), infilling.fill(image, mask, "push-pull"))
    assert response.created > 1_700_000_000


def test_white_is_filled_in_a_mask_without_alpha(client: openai.OpenAI) -> None:
    image, mask = photo(2), hole()
    response = client.images.edit(image=upload(to_file(image)), mask=upload(to_file(mask)), prompt="")
    np.testing.assert_array_equal(taken(response), infilling.fill(image, mask, "push-pull"))


def test_without_a_mask_the_pictures_own_alpha_says_where(client: openai.OpenAI) -> None:
    image, mask = photo(3), hole()
    response = client.images.edit(image=upload(to_file(through(image, mask))), prompt="")
    result = taken(response)
    assert (result[..., 3] == 255).all()
    np.testing.assert_array_equal(result[~mask][:, :3], image[~mask])


def test_several_copies_and_urls(client: openai.OpenAI) -> None:
    files = {"image": upload(to_file(photo(4))), "mask": upload(to_file(hole()))}
    response = client.images.edit(**files, prompt="", n=3, response_format="url")  # type: ignore[call-overload]
    assert len(response.data) == 3
    head, _, text = response.data[2].url.partition(",")
    assert head == "data:image/png;base64"
    assert from_file(base64.b64decode(text)).shape == (48, 64, 3)


def test_size_and_format(client: openai.OpenAI) -> None:
    files = {"image": [upload(to_file(photo(5)))], "mask": upload(to_file(hole()))}
    response = client.images.edit(
        **files,
        prompt="",
        size="128x96",
        output_format="jpeg",
        output_compression=60,
        quality="high",
        user="me",
    )  # type: ignore[call-overload]
    image = Image.open(io.BytesIO(base64.b64decode(response.data[0].b64_json)))
    assert (image.format, image.size) == ("JPEG", (128, 96))
    assert response.output_format == "jpeg"


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"size": "1024x1024"}, "size"),
        ({"model": "no-such"}, "model"),
        ({"background": "transparent"}, "background"),
        ({"n": 11}, "n"),
        ({"image": [upload(to_file(photo(6)))] * 2}, "image"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ],
)
def test_errors_are_read_by_the_client(client: openai.OpenAI, changed: dict[str, object], param: str) -> None:
    files = {"image": upload(to_file(photo(6))), "mask": upload(to_file(hole())), "prompt": ""}
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.images.edit(**(files | changed))  # type: ignore[call-overload]
    assert caught.value.param == param
    assert caught.value.code in ("invalid", "unknown-field")


def test_a_picture_without_a_hole_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="alpha"):
        client.images.edit(image=upload(to_file(photo(7))), prompt="")
    with pytest.raises(openai.BadRequestError, match="damaged"):
        client.images.edit(image=upload(to_file(photo(7))[:99]), prompt="")


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["push-pull"]
    assert client.models.retrieve("push-pull").owned_by == "infilling"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-image-1")


def test_the_documented_program_runs(
    shared: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, mask = photo(8), hole()
    (tmp_path / "photo.png").write_bytes(to_file(image))
    (tmp_path / "mask.png").write_bytes(to_file(mask))
    page = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(program.replace("http://127.0.0.1:8000", shared.url), {})
    result = from_file((tmp_path / "filled.png").read_bytes())
    np.testing.assert_array_equal(result, infilling.fill(image, mask, "push-pull"))
