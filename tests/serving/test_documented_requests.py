"""The curl commands of the documentation, sent to a server in their order; curl and jq have to be there."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.serving.conftest import Running, from_file, hole, photo, to_file

from infilling.serving.engines import OfferedEngine
from infilling.serving.find_task import FINDERS
from infilling.serving.settings import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ["serve.md", "how-to/extend-a-picture.md"]
ADDRESS = "http://127.0.0.1:8000"
ANSWERS = {
    "5f0c…": r'"id": ?"(.*?)"',
    "9a41…": r"(?i)infilling-patch-id: (\S+)",
    "120,80,64,48": r"(?i)infilling-box: (\S+)",
}
"""What a page shows of an answer, for use in a later request, and where it is in the answer."""


def read_requests(page: str) -> list[str]:
    """The commands of a page that begin with curl."""
    blocks = re.findall(
        r"^```sh\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("curl ")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the requests send."""
    size = (160, 200)
    (tmp_path / "photo.jpg").write_bytes(to_file(photo(3, size), "JPEG"))
    (tmp_path / "mask.png").write_bytes(to_file(hole(size)))
    (tmp_path / "grass.png").write_bytes(to_file(~hole(size)))
    scan = photo(4, size).copy()
    scan[10:150, 100:102] = 255
    (tmp_path / "scan.jpg").write_bytes(to_file(scan, "JPEG", quality=95))
    return tmp_path


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
@pytest.mark.parametrize("page", PAGES)
def test_every_documented_request_is_answered(page: str, start: Callable[..., Running], folder: Path) -> None:
    server = start(Settings(jobs=1), [OfferedEngine("patch-synthesis", "Copy", "copies", "patch-synthesis")])
    seen: dict[str, str] = {}
    for request in read_requests(page):
        command = request.replace(ADDRESS, server.url).replace("curl ", "curl --fail-with-body -sS ", 1)
        for shown, real in seen.items():
            command = command.replace(shown, real)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{request}: {done.stdout} {done.stderr}"
        for shown, pattern in ANSWERS.items():
            if found := re.search(pattern, done.stdout):
                seen[shown] = found[1]
        for name in re.findall(r"(?:-o |> )(\S+)", request):
            assert from_file((folder / name).read_bytes()).ndim >= 2, f"{request}: {name} is no picture"
    assert page != "serve.md" or set(seen) == set(ANSWERS)


def test_every_finder_is_on_the_page() -> None:
    page = (DOCS / "serve.md").read_text(encoding="utf-8")
    for name in FINDERS:
        assert f"| `{name}` |" in page
