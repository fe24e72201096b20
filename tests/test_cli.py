"""The command line: exit codes, what goes to stdout and what to stderr, and the options of `fill`."""

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import infilling
from infilling.cli import options
from infilling.errors import InfillingError
from infilling.filling import engine as engines

COMMAND = [sys.executable, "-m", "infilling"]
HOLE = (slice(10, 22), slice(8, 28))  # rows, columns of the mask below


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A PNG of waves, 48 wide and 40 high."""
    y, x = np.mgrid[:40, :48]
    pixels = np.stack([3 * y + x, 255 - 4 * x, (x * y) % 256], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """A white block on black, of the photo's size."""
    pixels = np.zeros((40, 48), np.uint8)
    pixels[HOLE] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def load(source: Path | bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(source if isinstance(source, bytes) else source.read_bytes())))


def find_kind(data: bytes) -> str | None:
    return Image.open(io.BytesIO(data)).format


def png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def is_one_line(text: str) -> bool:
    return text.startswith("error: ") and text.count("\n") == 1 and "Traceback" not in text


# -- fill ----------------------------------------------------------------------------------------------------


def test_fill_writes_what_python_fills_and_prints_its_path(infill, photo, mask, tmp_path) -> None:
    out = tmp_path / "result.png"
    ran = infill("fill", photo, "--mask", mask, "--out", out, "--engine", "push-pull")
    assert (ran.code, ran.lines, ran.err) == (0, [str(out)], "")
    hole = load(mask) == 255
    assert np.array_equal(load(out), infilling.fill(load(photo), hole, "push-pull"))
    assert np.array_equal(load(out)[~hole], load(photo)[~hole])
    assert not np.array_equal(load(out)[hole], load(photo)[hole])


def test_fill_names_the_result_after_the_picture(infill, photo) -> None:
    ran = infill("fill", photo, "--box", "8,10,20,12")
    assert ran.lines == [str(photo.with_name("photo.filled.png"))]
    assert load(photo.with_name("photo.filled.png")).shape == (40, 48, 3)


def test_boxes_are_x_y_width_height_and_add_up(infill, photo, mask) -> None:
    by_mask = infill("fill", photo, "--mask", mask, "--out", "-")
    by_boxes = infill("fill", photo, "--box", "8,10,12,12", "--box", "20,10,8,12", "--out", "-")
    assert by_boxes.code == 0
    assert by_boxes.out == by_mask.out


@pytest.mark.parametrize("where", [[], ["--out", "-"]], ids=["unsaid", "said"])
def test_pictures_go_through_a_pipe(infill, photo, mask, where) -> None:
    ran = infill("fill", "-", "--mask", mask, *where, stdin=photo.read_bytes())
    assert (ran.code, ran.err) == (0, "")
    assert np.array_equal(load(ran.out), infilling.fill(load(photo), load(mask)))


def test_a_picture_from_a_pipe_goes_to_a_file_of_its_format(infill, photo, tmp_path) -> None:
    out = tmp_path / "result.webp"
    ran = infill("fill", "-", "--box", "8,10,20,12", "-o", out, stdin=photo.read_bytes())
    assert ran.lines == [str(out)]
    assert find_kind(out.read_bytes()) == "WEBP"


def test_a_mask_may_come_from_the_pipe(infill, photo, mask, tmp_path) -> None:
    ran = infill("fill", photo, "--mask", "-", "-o", tmp_path / "a.png", stdin=mask.read_bytes())
    assert ran.code == 0
    assert np.array_equal(load(tmp_path / "a.png"), infilling.fill(load(photo), load(mask)))


def test_format_and_quality(infill, photo, mask) -> None:
    fine, coarse = (
        infill("fill", photo, "-m", mask, "-o", "-", "--format", "jpeg", "--quality", quality).out
        for quality in (95, 10)
    )
    assert find_kind(fine) == "JPEG"
    assert len(coarse) < len(fine)


def test_an_inverted_mask_marks_what_to_keep(infill, photo, mask, tmp_path) -> None:
    Image.fromarray(255 - load(mask)).save(tmp_path / "keep.png")
    kept = infill("fill", photo, "-m", tmp_path / "keep.png", "--invert-mask", "-o", "-")
    assert kept.out == infill("fill", photo, "-m", mask, "-o", "-").out


def test_the_picture_s_own_colour_marks_the_hole(infill, photo, mask) -> None:
    painted = load(photo).copy()
    painted[HOLE] = (255, 0, 255)
    ran = infill("fill", "-", "--mask-color", "#ff00ff", stdin=png(painted))
    assert ran.out == infill("fill", "-", "-m", mask, stdin=png(painted)).out


def test_the_picture_s_own_alpha_marks_the_hole(infill, photo) -> None:
    erased = np.dstack([load(photo), np.full((40, 48), 255, np.uint8)])
    erased[(*HOLE, 3)] = 0
    ran = infill("fill", "-", "--mask-from-alpha", stdin=png(erased))
    assert ran.code == 0
    assert (load(ran.out)[..., 3] == 255).all()
    assert np.array_equal(load(ran.out)[30:, :, :3], load(photo)[30:])


def test_a_mask_of_another_size_is_refused_or_resized(infill, photo, mask) -> None:
    small = png(load(mask)[::2, ::2])
    refused = infill("fill", photo, "-m", "-", "-o", "-", stdin=small)
    assert refused.code == 3
    assert is_one_line(refused.err)
    assert "24×20" in refused.err
    assert "48×40" in refused.err
    resized = infill("fill", photo, "-m", "-", "-o", "-", "--resize-mask", stdin=small)
    assert resized.out == infill("fill", photo, "-m", mask, "-o", "-").out


def test_grow_widens_the_hole(infill, photo, mask) -> None:
    grown = load(infill("fill", photo, "-m", mask, "-o", "-", "--grow", 3, "-e", "mean").out)
    wide = load(photo)[7:25, 5:31]
    assert not np.array_equal(grown[7, 18], load(photo)[7, 18])
    assert np.array_equal(grown[6], load(photo)[6])
    assert wide.shape == (18, 26, 3)


def test_fill_does_not_write_over_what_it_reads(infill, photo, mask) -> None:
    before = photo.read_bytes()
    by_another_name = photo.parent / "nowhere" / ".." / photo.name
    (photo.parent / "nowhere").mkdir()
    for out in (photo, by_another_name, mask):
        ran = infill("fill", photo, "-m", mask, "-o", out)
        assert ran.code == 3
        assert is_one_line(ran.err)
        assert "--overwrite" in ran.err
    assert photo.read_bytes() == before
    assert infill("fill", photo, "-m", mask, "-o", photo, "--overwrite").code == 0
    assert photo.read_bytes() != before


@pytest.mark.parametrize(
    "words",
    [
        "fill PHOTO --box 1,1,4,4 --patch-out PHOTO",
        "fill PHOTO --box 1,1,4,4 --sheet PHOTO",
        "fill PHOTO --box 1,1,4,4 --doubt PHOTO",
        "fill PHOTO --source MASK --box 1,1,4,4 --out MASK",
        "mask scratches PHOTO --out PHOTO",
        "mask color #ffffff PHOTO --preview PHOTO",
        "restore PHOTO --mask-out PHOTO",
        "extend PHOTO --left 5 --out PHOTO",
    ],
)
def test_no_result_replaces_what_is_read(infill, photo, mask, words) -> None:
    names = {"PHOTO": photo, "MASK": mask}
    before = [path.read_bytes() for path in names.values()]
    ran = infill(*[names.get(word, word) for word in words.split()])
    assert ran.code == 3
    assert is_one_line(ran.err)
    assert "is what is read" in ran.err
    assert [path.read_bytes() for path in names.values()] == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("fill PHOTO --box 1,1,4,4 --patch-out a.jpg", "name it .png"),
        ("fill PHOTO --box 1,1,4,4 --doubt a.jpg", "name it .png"),
        ("fill PHOTO --box 1,1,4,4 --sheet a.xyz", "not a format"),
        ("fill PHOTO --box 1,1,4,4 --out a.png --patch-out a.png", "named twice"),
        ("fill PHOTO --box 1,1,4,4 --sheet a.png --doubt a.png", "named twice"),
        ("fill PHOTO --box 1,1,4,4 --sheet none/a.png", "its folder is not there"),
        ("fill PHOTO --box 1,1,4,4 --count 1 --doubt a.png", "more than one"),
        ("mask color #ffffff PHOTO --out a.jpg", "name it .png"),
        ("restore PHOTO --mask-out a.jpg", "name it .png"),
    ],
)
def test_names_of_results_are_checked_before_the_work(infill, photo, monkeypatch, words, said) -> None:
    monkeypatch.chdir(photo.parent)
    before = sorted(photo.parent.iterdir())
    ran = infill(*[photo if word == "PHOTO" else word for word in words.split()])
    assert ran.code in (3, 8)
    assert is_one_line(ran.err)
    assert said in ran.err
    assert sorted(photo.parent.iterdir()) == before


def test_a_sheet_of_one_fill_is_written(infill, photo, tmp_path) -> None:
    ran = infill("fill", photo, "--box", "1,1,4,4", "--count", 1, "--sheet", tmp_path / "sheet.png")
    assert ran.code == 0
    assert (tmp_path / "sheet.png").exists()


# -- errors --------------------------------------------------------------------------------------------------


def test_every_error_class_has_its_own_code() -> None:
    tree = [error for error in InfillingError.__subclasses__() if error.__module__ == "infilling.errors"]
    codes = [error.exit_code for error in tree]
    assert len(set(codes)) == len(codes)
    assert min(codes) >= 3, "1 is anything, 2 is usage"


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (["fill", "nowhere.png", "--box", "1,1,4,4"], 3, "nowhere.png"),
        (["fill", "photo.png"], 3, "mask"),
        (["fill", "photo.png", "--box", "90,90,4,4"], 3, "90,90"),
        (["fill", "photo.png", "--box", "0,0,48,40"], 3, "whole picture"),
        (["fill", "broken.png", "--box", "1,1,4,4"], 3, "broken.png: damaged"),
        (["fill", "photo.png", "--box", "1,1,4,4", "--engine", "pull-push"], 4, "push-pull"),
        (["fill", "photo.png", "--box", "1,1,4,4", "--engine", "broken.onnx"], 4, "broken.onnx"),
        (["fill", "photo.png", "--box", "1,1,4,4", "--out", "nowhere/out.png"], 8, "nowhere/out.png"),
        (["holes", "blok"], 3, "block"),
        (["holes", "block", "--out", "photo.png/masks"], 8, "photo.png/masks"),
        (["data", "check", "empty"], 5, "empty"),
        (["models", "verify", "nothing"], 4, "nothing"),
        (["train", "nowhere.toml", "--out", "run"], 6, "nowhere.toml"),
        (["export", "empty"], 4, "empty"),
        (["evaluate", "--data", "empty", "--engine", "mean", "--out", "report"], 5, "empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_with_its_code(infill, photo, monkeypatch, args, code, word) -> None:
    monkeypatch.chdir(photo.parent)
    Path("broken.png").write_bytes(photo.read_bytes()[:100])
    Path("broken.onnx").write_bytes(b"not a model")
    Path("empty").mkdir()
    before = sorted(photo.parent.rglob("*"))
    ran = infill(*args)
    assert ran.code == code
    assert sorted(photo.parent.rglob("*")) == before, "something was left behind"
    assert ran.out == b""
    assert is_one_line(ran.err)
    assert word in ran.err


def test_a_full_disk_behind_stdout_is_one_line(photo) -> None:
    for args in (["fill", photo, "--box", "1,1,4,4", "--out", "-"], ["holes", "--count", "2"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([*COMMAND, *args], stdout=full, stderr=subprocess.PIPE, text=True)
        assert (done.returncode, done.stderr) == (
            8,
            "error: stdout: cannot be written (No space left on device)\n",
        )


def test_figures_are_printed_though_the_report_cannot_be_written(infill, photo, tmp_path) -> None:
    judge = ["evaluate", "--data", photo.parent, "-e", "mean", "--size", "32", "--out"]
    (tmp_path / "report" / "report.html").mkdir(parents=True)
    ran = infill(*judge, tmp_path / "report")
    assert ran.code == 8
    assert ran.out.startswith(b"engine\tPSNR")
    assert "report.html: cannot be written" in ran.err
    ran = infill(*judge, photo)
    assert (ran.code, ran.out) == (8, b"")


@pytest.mark.parametrize(
    "args",
    [
        ["fill"],
        ["fill", "photo.png", "--box", "1,1,4"],
        ["fill", "photo.png", "--box", "a,b,c,d"],
        ["fill", "photo.png", "--no-such-option"],
        ["fill", "-", "--mask", "-"],
        ["fill", "photo.png", "--grow", "-1"],
        ["train", "reference"],
        ["holes", "block", "--size", "12by12"],
        ["no-such-command"],
    ],
    ids=" ".join,
)
def test_usage_errors_are_2(infill, args) -> None:
    ran = infill(*args)
    assert ran.code == 2
    assert ran.out == b""
    assert "Traceback" not in ran.err


def test_a_missing_extra_says_what_to_install(infill, photo, monkeypatch) -> None:
    entry = replace(engines.ENGINES["telea"], module="no_such_module")
    monkeypatch.setitem(engines.ENGINES, "telea", entry)
    ran = infill("fill", photo, "--box", "1,1,4,4", "-e", "telea")
    assert ran.code == 7
    assert is_one_line(ran.err)
    assert "[classical]'" in ran.err
    assert "[classical]'" in infill("info").out.decode()


@pytest.mark.parametrize("args", [["train", "some.toml", "--out", "run"], ["export", "run"]], ids=" ".join)
def test_learning_without_torch_says_what_to_install(infill, monkeypatch, args) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as Python sees a package that is not there
    ran = infill(*args)
    assert ran.code == 7
    assert is_one_line(ran.err)
    assert "[train]'" in ran.err


def break_engine(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def make(threads: int | None, device: str) -> engines.Engine:
        raise error

    monkeypatch.setitem(engines.ENGINES, "broken", engines.EngineEntry("breaks", make))


def test_a_trace_is_shown_only_when_asked_for(infill, photo, monkeypatch) -> None:
    break_engine(monkeypatch, RuntimeError("two\nlines"))
    quiet = infill("fill", photo, "--box", "1,1,4,4", "-e", "broken")
    assert (quiet.code, quiet.out) == (1, b"")
    assert is_one_line(quiet.err)
    assert "RuntimeError: two lines" in quiet.err
    loud = infill("fill", photo, "--box", "1,1,4,4", "-e", "broken", "--verbose")
    assert loud.code == 1
    assert "Traceback" in loud.err
    assert loud.err.endswith(quiet.err)
    known = infill("fill", "nowhere.png", "--box", "1,1,4,4", "--verbose")
    assert "Traceback" in known.err


@pytest.mark.skipif(sys.platform != "linux", reason="reads the times of threads in /proc")
def test_no_more_threads_work_than_asked_for(tmp_path) -> None:
    """Not even of the linear algebra beneath numpy, by which patches are compared."""
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    code = (
        "import sys\nfrom pathlib import Path\nfrom infilling.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n"
        "    times = Path('/proc/self/task').glob('*/schedstat')\n"
        "    print(*(time.read_text().split()[0] for time in times))"
    )
    words = ["fill", tmp_path / "photo.png", "--box", "160,160,192,192", "--out", tmp_path / "out.png"]
    command = [sys.executable, "-c", code, *map(str, words), "--threads", "1"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [int(nanoseconds) > 1e7 for nanoseconds in told[-1].split()].count(True) == 1


def test_jobs_share_the_cores(infill, photo, monkeypatch) -> None:
    from infilling.filling.batch import Summary

    seen = []

    def fill_nothing(*_: object, **options: object) -> Summary:
        seen.append((options["threads"], os.environ["OMP_NUM_THREADS"]))
        return Summary({}, None)

    monkeypatch.setattr("infilling.filling.batch.batch", fill_nothing)
    monkeypatch.setattr("infilling.machine.count_cores", lambda: 8)
    words = ("batch", photo.parent, photo.parent / "out", "--box", "1,1,4,4", "--jobs", 2)
    infill(*words)
    infill(*words, "--threads", 1)
    assert seen == [(4, "4"), (1, "1")]


def test_ctrl_c_is_130_and_says_so_in_few_words(infill, photo, monkeypatch) -> None:
    break_engine(monkeypatch, KeyboardInterrupt())
    ran = infill("fill", photo, "--box", "1,1,4,4", "-e", "broken")
    assert (ran.code, ran.out) == (130, b"")
    assert "Traceback" not in ran.err


def test_warnings_of_the_package_are_one_line(infill, photo, monkeypatch) -> None:
    def make(threads: int | None, device: str) -> engines.Engine:
        logging.getLogger("infilling.filling").warning("left out %d of %d", 2, 7)
        with warnings.catch_warnings(action="always"):
            warnings.warn("something\nodd", stacklevel=1)
        return engines.open_engine("mean")

    monkeypatch.setitem(engines.ENGINES, "odd", engines.EngineEntry("warns", make))
    ran = infill("fill", photo, "--box", "1,1,4,4", "-e", "odd")
    assert (ran.code, ran.err) == (0, "warning: left out 2 of 7\nwarning: something odd\n")


def test_a_reader_that_leaves_is_no_error(photo) -> None:
    command = [*COMMAND, "fill", photo, "--box", "1,1,4,4", "--out", "-"]
    done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.stdout is not None
    assert done.stderr is not None
    done.stdout.close()
    assert done.stderr.read() == b""
    done.stderr.close()
    done.wait()


# -- the other commands --------------------------------------------------------------------------------------


def test_help_names_every_command_and_option(infill) -> None:
    ran = infill("--help")
    assert (ran.code, ran.err) == (0, "")
    for command in ("fill", "train", "evaluate", "export", "data", "holes", "models", "info"):
        assert re.search(rf"^  {command} ", ran.out.decode(), re.MULTILINE)
        assert infill(command, "-h").code == 0


def test_version(infill) -> None:
    assert infill("--version").lines == [f"infill {infilling.__version__}"]


def test_info_says_what_is_there_and_why_not(infill, monkeypatch) -> None:
    entry = replace(engines.ENGINES["telea"], module="no_such_module")
    monkeypatch.setitem(engines.ENGINES, "telea", entry)
    about = json.loads(infill("info", "--json").out)
    assert about["versions"]["infilling"] == infilling.__version__
    assert about["versions"]["numpy"] == np.__version__
    assert about["engines"]["push-pull"]["missing"] is None
    assert "[classical]'" in about["engines"]["telea"]["missing"]
    assert set(about["engines"]) >= set(engines.ENGINES)


def test_holes_writes_the_masks_of_a_seed(infill, tmp_path) -> None:
    from infilling.pictures import holes

    ran = infill("holes", "block", "-n", 12, "--size", "48x40", "--seed", 3, "--out", tmp_path / "masks")
    assert [Path(line).name for line in ran.lines] == [f"{number:02}.png" for number in range(12)]
    expected = holes.make_holes("block", np.random.default_rng(3), 12, 40, 48)
    assert np.array_equal([load(Path(line)) == 255 for line in ran.lines], expected)


def test_holes_lays_a_preview_out_without_loss(infill, tmp_path) -> None:
    preview = tmp_path / "preview.png"
    assert infill("holes", "center", "-n", 3, "--size", "32", "--preview", preview).lines == [str(preview)]
    pixels = load(preview)
    assert set(np.unique(pixels)) == {0, 128, 255}
    assert (pixels == 255).sum() == 3 * 16 * 16
    assert (pixels == 0).sum() == 3 * (32 * 32 - 16 * 16)


def test_holes_counts_areas(infill) -> None:
    ran = infill("holes", "center", "-n", 5, "--size", "64")
    assert ran.lines == ["hole\tmasks", "20-30%\t5", "mean\t25.0%"]


def test_data_check_counts_pictures_and_names_bad_ones(infill, photo) -> None:
    folder = photo.parent / "pictures" / "waves"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.png").write_bytes(photo.read_bytes())
    (folder / "bad.png").write_bytes(photo.read_bytes()[:80])
    ran = infill("data", "check", folder.parent)
    assert ran.code == 0
    assert ran.lines[0] == "3 pictures, 1 classes, 1 bad"
    assert any("48×40" in line for line in ran.lines)
    assert any("bad.png" in line for line in ran.lines)


def test_models_are_listed_fetched_and_verified(infill, tmp_path, monkeypatch) -> None:
    from hashlib import sha256

    from infilling.filling import models
    from infilling.pictures.frame import SizeRule

    served = tmp_path / "served.onnx"
    served.write_bytes(b"weights")
    model = models.Model(
        "for this test",
        "drawn.onnx",
        sha256(b"weights").hexdigest(),
        7,
        "CC0",
        "nothing",
        SizeRule(),
        served.as_uri(),
    )
    monkeypatch.setitem(models.MODELS, "drawn", model)
    monkeypatch.setenv("INFILLING_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INFILLING_OFFLINE", raising=False)
    assert "drawn\tmissing\t" in infill("models", "list").out.decode()
    assert infill("models", "verify", "drawn").code == 4
    ran = infill("models", "download", "drawn")
    assert ran.code == 0
    assert "CC0" in ran.err
    (path,) = ran.lines
    assert Path(path).read_bytes() == b"weights"
    assert infill("models", "verify", "drawn").lines == [path]
    Path(path).write_bytes(b"weighty")
    damaged = infill("models", "verify", "drawn")
    assert damaged.code == 4
    assert is_one_line(damaged.err)


# -- terminals -----------------------------------------------------------------------------------------------


def run_on_terminal(*args: str, **environment: str) -> str:
    """Run a command with a terminal on all sides, and return what it shows."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    command = subprocess.Popen(
        [*COMMAND, *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**kept, "TERM": "xterm", "COLUMNS": "120", **environment},
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(ours)
    command.wait()
    return shown.decode()


def test_colours_on_a_terminal_unless_told_not_to() -> None:
    failing = ("fill", "nowhere.png", "--box", "1,1,4,4")
    assert "\x1b[31m" in run_on_terminal(*failing)
    plain = run_on_terminal(*failing, NO_COLOR="1")
    assert "\x1b" not in plain
    assert plain.startswith("error: nowhere.png")


def test_a_picture_is_not_written_to_a_terminal(photo) -> None:
    shown = run_on_terminal("fill", str(photo), "--box", "1,1,4,4", "--out", "-")
    assert "terminal" in shown
    assert "PNG" not in shown


# -- completion ----------------------------------------------------------------------------------------------


def test_the_shell_completes_engines_and_holes(monkeypatch) -> None:
    assert options.engine_names("push") == ["push-pull"]
    assert options.hole_names("lama-th") == ["lama-thin", "lama-thick"]
    asked = {"_INFILL_COMPLETE": "complete_bash", "COMP_WORDS": "infill fill --engine te", "COMP_CWORD": "3"}
    script = Path(sys.executable).with_name("infill")
    done = subprocess.run([script], env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["telea"]


def test_a_process_ends_with_its_code_and_all_that_is_registered_for_its_end() -> None:
    code = "import atexit, sys\nfrom infilling.cli import run\natexit.register(print, 'at the end')\nrun()"
    for words, expected in ((["--version"], 0), (["fill"], 2)):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert done.returncode == expected
        assert done.stdout.endswith("at the end\n")


def test_a_command_loads_no_other() -> None:
    code = "import sys\nfrom infilling.cli import main\ntry: main()\nexcept SystemExit: print(*sys.modules)"
    words = [sys.executable, "-c", code, "info", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith("infilling.cli.")}
    assert loaded == {f"infilling.cli.{name}" for name in ("console", "options", "info")}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("holes", "--size", "9" * 40), "each from 1 to 16,384"),
        (("holes", "--count", "9" * 40), "more than 2,000,000,000 pixels: draw fewer"),
        (("evaluate", "--data", "in", "-e", "mean", "--size", "9" * 40), "16<=x<=16384"),
        (("fill", "p.png", "--box", "1,1,2,2", "--out", "x" * 300 + ".png"), "too long"),
        (("train", "x" * 300, "--data", "in", "--out", "run"), "no config is called"),
        (("data", "check", "x" * 300), "there is nothing at"),
        (("export", "x" * 300), "there is no checkpoint in"),
        (("batch", "in", "loop", "--box", "1,1,2,2"), "cannot be read"),
        (("batch", "in", "out", "--box", "1,1,2,2", "--jobs", "99999"), "a whole number, 1 to 256"),
    ],
)
def test_numbers_and_names_beyond_reason_are_refused(
    infill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("p.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    ran = infill(*words)
    assert told in " ".join(ran.err.split())
    assert "unexpected" not in ran.err
    assert ran.code in range(2, 9)


@pytest.mark.parametrize(("command", "threads"), [("fill", "1"), ("serve", "1"), ("evaluate", "None")])
def test_small_products_take_one_thread(command: str, threads: str) -> None:
    script = f"import os; from infilling.cli import _Commands; _Commands()['{command}']; "
    script += "print(os.environ.get('OPENBLAS_NUM_THREADS'))"
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [threads]
