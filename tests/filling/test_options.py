"""The options of a fill: checked when they are made, and the same on every surface."""

import dataclasses
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import infilling
from infilling.errors import InfillingWarning, InputError, collect_warnings, warn
from infilling.filling.contract import Engine
from infilling.filling.engine import open_engine
from infilling.filling.options import FillOptions, list_options, make_options
from infilling.filling.pipeline import fill_file
from infilling.filling.values import check_boxes, parse_box
from infilling.pictures.files import encode
from infilling.pictures.picture import Picture

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = ["fill", "batch"]


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"grow": -1}, "grow", "grow -1 cannot be used: give 0 or more"),
        ({"grow": 10**9}, "grow", "grow 1000000000 cannot be used: give 500 or less"),
        ({"grow": 1.5}, "grow", "give a whole number"),
        ({"grow": "4"}, "grow", "give a whole number"),
        ({"grow": float("nan")}, "grow", "give a whole number"),
        ({"grow": None}, "grow", "give a whole number"),
        ({"quality": 0}, "quality", "give 1 or more"),
        ({"invert_mask": 1}, "invert_mask", "give True or False"),
        ({"format": 3}, "format", "give a text"),
        ({"mask_color": "pink"}, "mask_color", "give a text like '#ff00ff'"),
        ({"boxes": (1, 2, 3)}, "boxes", "give \\(x, y, width, height\\)"),
        ({"boxes": "1,2,3,4"}, "boxes", "give \\(x, y, width, height\\)"),
        ({"boxes": np.zeros((1, 4), complex)}, "boxes", "give \\(x, y, width, height\\)"),
        ({"boxes": np.ma.masked_all((1, 4))}, "boxes", "give \\(x, y, width, height\\)"),
        ({"boxes": np.broadcast_to(1, (1 << 40, 4))}, "boxes", "at most 1,000,000 such"),
        ({"boxes": [(1, 2, float("nan"), 4)]}, "boxes", "has no area"),
        ({"boxes": [(float("nan"), 2, 3, 4)]}, "boxes", "give \\(x, y"),
        ({"boxes": [(1, 2, float("inf"), 4)]}, "boxes", "give \\(x, y"),
        ({"boxes": [(1, 2, 3, 0)]}, "boxes", "box 1,2,3,0 .* has no area"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(options: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        FillOptions(**options)
    assert caught.value.field == field


def test_values_are_brought_to_the_type_of_the_field() -> None:
    options = FillOptions(grow=np.int64(3), detail=np.bool_(False), quality=90.0)  # type: ignore[arg-type]
    assert (options.grow, options.detail, options.quality) == (3, False, 90)
    assert [type(value) for value in (options.grow, options.detail, options.quality)] == [int, bool, int]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((1, 2, 3, 4), ((1, 2, 3, 4),)),
        ([1, 2, 3, 4], ((1, 2, 3, 4),)),
        ([(1, 2, 3, 4), [5, 6, 7, 8]], ((1, 2, 3, 4), (5, 6, 7, 8))),
        (np.array([[1, 2, 3, 4]], np.uint8), ((1, 2, 3, 4),)),
        (np.array([1.0, 2.0, 3.0, 4.0], np.float32), ((1, 2, 3, 4),)),
        ((1.5, 2.0, 3.0, 4.2), ((1, 2, 4, 5),)),  # columns 1.5 to 4.5 touch pixels 1 to 4
        ((-0.5, 0, 1, 1), ((-1, 0, 2, 1),)),
        (None, ()),
        ([], ()),
    ],
)
def test_boxes_are_one_or_several_of_any_numbers(given: Any, expected: tuple[Any, ...]) -> None:
    assert check_boxes(given) == expected


def test_box_texts() -> None:
    assert parse_box("-4,0,10,20") == (-4, 0, 10, 20)
    for text in ("1,2,3", "1,2,3,4,5", "a,b,c,d", "1.5,2,3,4", ""):
        with pytest.raises(InputError, match="is not x,y,width,height"):
            parse_box(text)


def test_an_unknown_option_names_the_near_one() -> None:
    with pytest.raises(InputError, match="there is no option 'feathr'; did you mean feather"):
        make_options(None, {"feathr": 3})
    with pytest.raises(InputError, match="there is no option 'feathr'; did you mean feather"):
        infilling.fill(np.zeros((4, 4), np.uint8), boxes=(0, 0, 1, 1), feathr=3)


def test_keywords_go_before_options() -> None:
    options = FillOptions(boxes=((0, 0, 2, 2),), grow=1)
    image = np.arange(400, dtype=np.uint8).reshape(20, 20)
    np.testing.assert_array_equal(
        infilling.fill(image, None, "mean", options=options, grow=3),
        infilling.fill(image, None, "mean", boxes=[(0, 0, 2, 2)], grow=3),
    )


# -- surfaces ----------------------------------------------------------------------------------------------


def test_every_surface_has_every_option() -> None:
    pytest.importorskip("fastapi", reason="the REST fields need it")
    from infilling.serving.native import FillFields

    properties = FillFields.model_json_schema()["properties"]
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    helps = {command: run_cli(command, "--help") for command in COMMANDS}
    keywords = inspect.signature(infilling.fill).parameters
    for option in list_options():
        assert keywords[option.name].default == option.default
        assert properties[option.key]["description"] == option.help
        for text in helps.values():
            assert f"--{option.key.replace('_', '-')}" in text
            assert option.help in " ".join(text.split())
        assert row(option) in page, f"docs/api.md lacks this row:\n{row(option)}"


def row(option: Any) -> str:
    """Return the row of the table in docs/api.md."""
    default = option.unset if option.default is None else f"`{option.default!r}`"
    limits = "" if option.low is None else f"; {option.low:g} to {option.high:g}"
    return f"| `{option.name}` | {default}{limits} | {option.help} |\n"


def run_cli(*words: str) -> str:
    command = [sys.executable, "-m", "infilling", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "2000"}
    )
    return done.stdout


NEW_OPTION = """
import dataclasses, sys
from infilling.filling import options

@dataclasses.dataclass(frozen=True)
class Wider(options.FillOptions):
    shine: int = dataclasses.field(
        default=2, metadata={"option": options.Option("How much it shines.", "result", low=0, high=9)}
    )

options.FillOptions = Wider
"""


def test_an_option_added_in_one_place_is_on_every_surface() -> None:
    pytest.importorskip("fastapi", reason="the REST fields need it")
    code = (
        NEW_OPTION
        + """
import inspect, json
import infilling
from infilling.serving.native import FillFields
from infilling.cli import main
fields = FillFields.model_json_schema()["properties"]["shine"]
signature = inspect.signature(infilling.fill)
try:
    infilling.fill(b"", boxes=(1, 1, 1, 1), shine=10)
except infilling.InputError as error:
    refused = str(error)
print(json.dumps([fields, signature.parameters["shine"].default, refused]), flush=True)
main([sys.argv[1], "--help"])
"""
    )
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-c", code, command], capture_output=True, text=True, check=True
        )
        first, _, shown = done.stdout.partition("\n")
        fields, default, refused = json.loads(first)
        assert fields | {"title": ""} == {
            "default": 2,
            "description": "How much it shines.",
            "maximum": 9,
            "minimum": 0,
            "title": "",
            "type": "integer",
        }
        assert default == 2
        assert refused == "shine 10 cannot be used: give 9 or less"
        assert "--shine" in shown
        assert "How much it shines." in shown


# -- warnings ------------------------------------------------------------------------------------------------


def test_warnings_are_collected_in_this_thread_or_warned() -> None:
    with collect_warnings() as outer:
        warn("one")
        with collect_warnings() as inner:
            warn("two")
        warn("one")
    assert (outer, inner) == (["one"], ["two"])
    with pytest.warns(InfillingWarning, match="three"):
        warn("three")


def test_nothing_marked_is_a_warning_in_the_result(tmp_path: Path) -> None:
    data = encode(Picture(np.zeros((8, 8, 3), np.uint8)))
    black = np.zeros((8, 8), np.uint8)
    engine: Engine = open_engine("mean")
    done = fill_file(data, black, engine)
    assert done.data is data
    assert len(done.warnings) == 1
    assert "nothing is marked" in done.warnings[0]
    with pytest.warns(InfillingWarning, match="nothing is marked"):
        infilling.fill(data, black, engine)
    with pytest.warns(InfillingWarning, match="nothing is marked"):
        infilling.fill(np.zeros((8, 8)), black, engine)
    Image.fromarray(black).save(tmp_path / "mask.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(data)
    words = [str(tmp_path / "in" / "a.png"), "-m", str(tmp_path / "mask.png")]
    done_cli = subprocess.run(
        [sys.executable, "-m", "infilling", "fill", *words], capture_output=True, text=True, check=True
    )
    assert done_cli.stderr == "warning: nothing is marked as hole, so nothing was filled\n"
    (tmp_path / "in" / "a.filled.png").unlink()
    folders = [str(tmp_path / "in"), str(tmp_path / "out"), "-m", str(tmp_path / "mask.png")]
    subprocess.run([sys.executable, "-m", "infilling", "batch", *folders], capture_output=True, check=True)
    [line] = map(json.loads, (tmp_path / "out" / "results.jsonl").read_text().splitlines())
    assert line["warnings"] == ["nothing is marked as hole, so nothing was filled"]


def test_a_mask_of_nearly_all_is_a_warning_in_the_result() -> None:
    """As a mask that marks what to keep is; inverted, it marks little, and nothing is said."""
    data, kept = encode(Picture(np.zeros((20, 20, 3), np.uint8))), np.full((20, 20), 255, np.uint8)
    kept[4:9, 4:9] = 0
    engine: Engine = open_engine("mean")
    [warning] = fill_file(data, kept, engine).warnings
    assert fill_file(data, kept, open_engine("default")).warnings == (warning,)  # which would say so too
    assert warning == "the mask marks 94 % of the picture as hole: if it marks what to keep, invert it"
    assert not fill_file(data, kept, engine, FillOptions(invert_mask=True)).warnings


def test_every_option_has_a_sentence_and_a_group() -> None:
    for option in list_options():
        assert option.help.endswith(".")
        assert option.group in ("mask", "result", "engine")
        assert option.kind is bool or option.metavar
        assert (option.default is None) == (option.unset is not None)
    assert {option.name for option in list_options()} == {f.name for f in dataclasses.fields(FillOptions)}
