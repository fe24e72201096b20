"""What is written down: tables, JSON and CSV that agree, a page that is whole, safe and loads nothing."""

import csv
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.judging.evaluations import evaluate

from infilling.errors import StorageError
from infilling.judging import charts, figures, page, report
from infilling.judging.metrics import ABSENT, METRICS
from infilling.judging.page import render_evaluation as render
from infilling.judging.results import Evaluation, Note

ROOT = Path(__file__).resolve().parent.parent.parent
VOID = {"meta", "img", "br", "link", "input"}


@pytest.fixture(scope="module")
def written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    out = tmp_path_factory.mktemp("out") / "a" / "report"
    return evaluate(folder, engines=["mean", "push-pull", "telea"], size=32, out=out), out


@pytest.fixture
def found(written: tuple[Evaluation, Path]) -> Evaluation:
    return written[0]


class Reader(HTMLParser):
    """Checks that tags close in order; keeps attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def test_three_files_and_nothing_else(written: tuple[Evaluation, Path]) -> None:
    assert {path.name for path in written[1].iterdir()} == {"report.json", "per-image.csv", "report.html"}


def test_json_holds_the_rows(written: tuple[Evaluation, Path]) -> None:
    found, out = written
    read = json.loads((out / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert [row["engine"] for row in read["rows"]] == ["mean", "push-pull", "telea"]
    for row, line in zip(found.rows, read["rows"], strict=True):
        assert line["values"] == {k: None if math.isnan(v) else v for k, v in row.values.items()}
        assert sum(cell["pictures"] for cell in line["bins"].values()) == 11
        assert line["groups"]["forest"]["values"]["psnr"] == row.groups["forest"].values["psnr"]
    assert read["metrics"]["psnr"] == {
        "label": "PSNR",
        "unit": "dB",
        "higher_is_better": True,
        "summary": METRICS["psnr"].summary,
    }
    assert read["settings"]["holes"] == "block"
    assert read["settings"]["fingerprint"] == found.settings["fingerprint"]


def test_csv_averages_to_the_rows(written: tuple[Evaluation, Path]) -> None:
    found, out = written
    with (out / "per-image.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 11
    for row in found.rows:
        mine = [line for line in lines if line["engine"] == row.engine]
        for name in ("psnr", "ssim", "hole_mae"):
            assert np.mean([float(line[name]) for line in mine]) == pytest.approx(row.values[name], rel=1e-4)
        assert {line["class"] for line in mine} == {"beach", "forest", "street"}
        assert all(0 < float(line["area"]) < 1 for line in mine)


def test_markdown_marks_the_best(found: Evaluation) -> None:
    lines = report.to_markdown(found).splitlines()
    header, rule, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:5]]
    assert header[0] == "engine"
    assert len({len(line) for line in (header, rule, *rows)}) == 1
    column = header.index("hole PSNR")
    values = {row[0]: row[column] for row in rows}
    best = max(found.rows, key=lambda row: row.values["hole_psnr"])
    assert values[best.engine] == f"**{best.values['hole_psnr']:.2f}**"
    assert sum("**" in value for value in values.values()) == 1
    assert any(line.startswith("- no lpips_like or fid_like") for line in lines)


def test_best_is_judged_as_it_is_shown(found: Evaluation) -> None:
    """Values that look the same are both marked; the nearest to 1 wins where neither way is better."""
    first, second, third = found.rows
    rows = (
        replace(first, values={"psnr": 20.001, "mae": 0.2, "seam": 1.3}),
        replace(second, values={"psnr": 20.004, "mae": 0.1, "seam": 0.8}),
        replace(third, values={"psnr": 19.0, "mae": 0.3, "seam": math.nan}),
    )
    best = figures.find_best(rows)
    assert best == {"psnr": {"mean", "push-pull"}, "mae": {"push-pull"}, "seam": {"push-pull"}}


def test_baseline_is_telea_where_it_was_judged(found: Evaluation) -> None:
    baseline = figures.find_baseline(found.rows)
    assert baseline is found.rows[2]
    assert figures.find_baseline(found.rows[:2]) is found.rows[0]
    assert figures.find_baseline(found.rows[2:]) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00123, "0.0012"),
        (0.0456, "0.046"),
        (0.78, "0.78"),
        (4.56, "4.6"),
        (123.4, "123"),
        (0, "0"),
        (math.nan, "–"),
    ],
)
def test_seconds_are_short(seconds: float, text: str) -> None:
    assert figures.show_seconds(seconds) == text


def test_page_is_whole_and_loads_nothing(written: tuple[Evaluation, Path]) -> None:
    text = (written[1] / "report.html").read_text()
    read = Reader(text)
    assert not set(read.tags) & {"script", "link", "iframe", "object", "form"}
    sources = [value for _, name, value in read.attributes if name in ("src", "href", "data", "srcset")]
    assert len(sources) == 9 * (2 + 3)
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert not re.search(r"url\(|@import|https?://", text)
    for words in (
        "telea",
        "hole PSNR",
        "By area of the hole",
        "Best for telea",
        "Worst for telea",
        "By class",
    ):
        assert words in read.text


def test_page_shows_the_pictures_exactly(found: Evaluation, tmp_path: Path) -> None:
    import base64

    uris = re.findall(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", render(found))
    for place, expected in ((0, found.examples[0].target), (4, found.examples[0].results["telea"])):
        (tmp_path / "x.webp").write_bytes(base64.b64decode(uris[place]))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "x.webp")), expected)


def test_names_cannot_break_the_page(found: Evaluation) -> None:
    evil = '<script>alert("x")</script>'
    rows = tuple(replace(row, engine=evil if row.engine == "mean" else row.engine) for row in found.rows)
    rows = (*rows, replace(rows[0], engine="x&y", pictures=0, values={}, bins={}, groups={}, reason=evil))
    examples = tuple(
        replace(
            example,
            name=evil,
            results={evil if e == "mean" else e: r for e, r in example.results.items()},
            values={evil if e == "mean" else e: v for e, v in example.values.items()},
        )
        for example in found.examples
    )
    groups = {evil: found.rows[2].groups["beach"], "b": found.rows[2].groups["forest"]}
    rows = (*rows[:2], replace(rows[2], groups=groups), rows[3])
    read = Reader(render(replace(found, rows=rows, examples=examples, notes=(Note(evil),))))
    assert "script" not in read.tags
    assert read.text.count(evil) > 5


@pytest.mark.parametrize("count", [1, 2])
def test_page_of_few_engines_and_pictures(folder: Path, count: int) -> None:
    found = evaluate(folder, engines=["mean"], size=32, count=count, holes="center")
    read = Reader(render(found))
    assert "mean reaches" in read.text
    assert "By area of the hole" not in read.text, "one bin is no curve"
    assert "differences" not in read.text, "there is nothing to differ from"


def test_page_of_twenty_engines(found: Evaluation) -> None:
    rows = tuple(replace(found.rows[0], engine=f"engine {number}") for number in range(20))
    assert Reader(render(replace(found, rows=rows, examples=()))).text.count("engine 19") >= 2


def test_nan_does_not_break_the_page(found: Evaluation) -> None:
    values = dict.fromkeys(found.rows[0].values, math.nan)
    read = Reader(render(replace(found, rows=(replace(found.rows[0], values=values), *found.rows[1:]))))
    assert "nan" not in read.text.lower()
    assert ABSENT in read.text


def test_an_unwritable_folder_is_one_line(found: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here already")
    with pytest.raises(StorageError, match="file") as caught:
        report.write_report(found, tmp_path / "file")
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(low=st.floats(-1e4, 1e4), span=st.floats(0, 1e4))
def test_ticks_enclose_the_values(low: float, span: float) -> None:
    ticks = charts.make_ticks(low, low + span)
    tolerance = 1e-6 * (ticks[-1] - ticks[0])
    assert ticks[0] <= low + tolerance
    assert ticks[-1] >= low + span - tolerance
    assert 2 <= len(ticks) <= 8
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])


def test_a_line_leaves_out_what_is_not_there() -> None:
    lines = [charts.Line("a", 0, [1.0, math.nan, 3.0]), charts.Line("b", 1, [2.0, 2.5, 2.0])]
    chart = charts.draw_lines([["x"], ["y"], ["z"]], lines, title="a < b", show="{:.2f}".format)
    picture = str(page.ENVIRONMENT.get_template("macros.html").module.chart(chart))
    read = Reader(picture)
    assert sum(name == "class" and value == "dot" for _, name, value in read.attributes) == 5
    assert "nan" not in picture
    assert 'aria-label="a &lt; b"' in picture


def test_a_metric_made_by_the_recipe_shows_everywhere(folder: Path) -> None:
    """One entry of the table: the recipe of the documentation, as it is printed there."""
    page_text = (ROOT / "docs" / "how-to" / "add-a-metric.md").read_text(encoding="utf-8")
    [recipe] = re.findall(r"```python\n(.*?)```", page_text, re.DOTALL)
    before = dict(METRICS)
    try:
        exec(compile(recipe, "add-a-metric.md", "exec"), {})
        found = evaluate(folder, engines=["mean", "telea"], size=32)
        read = Reader(render(found))
        read_json = json.loads(report.to_json(found))
        table = figures.make_table(found.rows)
        differences = figures.make_differences(found.rows)
        written = report.to_csv(found)
    finally:
        METRICS.clear()
        METRICS.update(before)
    example = found.examples[0]
    errors = np.abs(example.results["mean"].astype(float) - example.target)[example.mask] / 255
    [mine] = [each for each in found.judged if (each.engine, each.name) == ("mean", example.name)]
    assert mine.values["hole_worst"] == pytest.approx(errors.max())
    assert "worst" in table.header
    assert differences is not None
    assert "±" in differences.lines[0][differences.header.index("worst")]
    assert "hole_worst" in written.splitlines()[0].split(",")
    assert read_json["metrics"]["hole_worst"]["summary"] == "largest error of a value inside the hole"
    assert read.text.count("worst") >= 3, "column, curve, and what the figures mean"
    heads = [value for tag, name, value in read.attributes if (tag, name) == ("th", "title")]
    place = heads.index("largest error of a value inside the hole")
    assert place == 5, "the last of the group inside the hole"
