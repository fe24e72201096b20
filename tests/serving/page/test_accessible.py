"""The page in every state, as axe-core judges it; axe-core is fetched from npm while the test runs."""

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.serving.conftest import Running, photo, to_file
from tests.serving.page.browser import DESK, PHONE, Page, drop, drop_several, expect, filled, opened, paint

AXE = "axe-core@4.14.1"
JUDGE = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
        .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
}"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, and axe-core comes from there")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run([npm, "pack", AXE], cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {AXE}: {done.stderr.strip().splitlines()[-1:]}")
    archive: Path = next(folder.glob("*.tgz"))
    with tarfile.open(archive) as files:
        member = files.extractfile("package/axe.min.js")
        assert member
        return member.read().decode()


@pytest.mark.parametrize(
    "kind",
    [DESK, DESK | {"color_scheme": "light", "viewport": {"width": 820, "height": 1180}}, PHONE],
    ids=["dark", "light", "phone"],
)
def test_axe_finds_nothing_serious(
    shared: Running, visit: Callable[..., Page], axe: str, kind: dict[str, Any]
) -> None:
    page = visit(shared, kind | {"locale": "en-GB"})
    page.evaluate(axe)
    assert page.evaluate(JUDGE) == [], "empty"
    drop_several(page, *((f"{n}.png", to_file(photo(n, (150, 200)))) for n in (1, 2)))
    expect(page.locator("#file")).to_contain_text("2.png")
    opened(page)
    assert page.evaluate(JUDGE) == [], "opened"
    paint(page, (0.5, 0.45))
    page.click("#fill")
    filled(page)
    assert page.evaluate(JUDGE) == [], "filled"
    for menu in ("engines", "mask-menu", "options", "history", "save-menu", "more"):
        page.click(f"#{menu} summary")
        assert page.evaluate(JUDGE) == [], menu
        page.keyboard.press("Escape")
    page.click("#compare")
    page.wait_for_timeout(1000)
    assert page.evaluate(JUDGE) == [], "compare"
    page.keyboard.press("Escape")
    page.click("#mask-menu summary")
    page.click("#extend")
    assert page.evaluate(JUDGE) == [], "extend"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.evaluate(JUDGE) == [], "keys"
    page.keyboard.press("Escape")
    drop(page, b"hello")
    expect(page.locator("#note")).to_be_visible()
    assert page.evaluate(JUDGE) == [], "problem"
