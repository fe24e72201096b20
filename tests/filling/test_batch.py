"""Folders: all that can be filled is, what cannot is told, and nothing is done twice."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from infilling.errors import InfillingWarning, InputError, ModelError
from infilling.filling import processes
from infilling.filling.batch import Summary, batch
from infilling.filling.batch_results import RESULTS, Result, open_lines, read_finished
from infilling.filling.batch_task import fill_one
from infilling.filling.fill import fill
from infilling.filling.options import FillOptions
from infilling.pictures.files import decode

BOX = FillOptions(boxes=((4, 4, 8, 8),))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("in", "masks"):
        (tmp_path / name).mkdir()
    return tmp_path


def make_image(mode: str = "RGB", size: tuple[int, int] = (40, 30), seed: int = 0) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), np.uint8)
    return Image.fromarray(values[..., 0] if channels == 1 else values, mode)


def save(image: Image.Image, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def save_mask(path: Path, size: tuple[int, int] = (40, 30)) -> None:
    mask = Image.new("L", size)
    mask.paste(255, (4, 4, 12, 12))
    save(mask, path)


def rows(out: Path, name: str = RESULTS) -> dict[str, dict[str, Any]]:
    lines = (out / name).read_text().splitlines()
    found = {row["picture"]: row for row in map(json.loads, lines)}
    assert len(found) == len(lines), "one line per picture"
    return found


def states(out: Path) -> dict[str, str]:
    return {name: row["state"] for name, row in rows(out).items()}


def run(folders: Path, **options: Any) -> Summary:
    if "masks" not in options and "options" not in options:
        options["masks"] = folders / "masks"
    return batch(folders / "in", folders / "out", **options)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RESULTS
    }


def test_a_mixed_folder_is_filled_but_for_what_is_bad(folders: Path) -> None:
    source, masks, out = (folders / name for name in ("in", "masks", "out"))
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn: 40×30 in the file is seen as 30×40
    save(make_image(), source / "a.jpg", quality=90)
    save(make_image(seed=1), source / "a.png")
    save(make_image("RGBA"), source / "sub/alpha.png")
    save(make_image(), source / "sub/deep/turned.jpg", exif=turned)
    save(make_image("L"), source / "grey.webp", lossless=True)
    (source / "broken.jpg").write_bytes(b"\xff\xd8 this is no picture")
    save(make_image(), source / "odd.png")
    save(make_image(), source / "alone.png")
    for name in ("a", "sub/alpha", "grey", "broken"):
        save_mask(masks / f"{name}.png")
    save_mask(masks / "sub/deep/turned_mask001.png", size=(30, 40))
    save_mask(masks / "odd.png", size=(41, 30))
    summary = run(folders)

    assert (summary.failed, summary.counts["filled"]) == (3, 5)
    told = rows(out)
    assert "not a picture" in told["broken.jpg"]["error"]
    assert "41×30" in told["odd.png"]["error"]
    assert "masks has none of alone.png.png, alone.png" in told["alone.png"]["error"]
    assert set(files(out)) == {"a.jpg", "a.png", "sub/alpha.png", "sub/deep/turned.jpg", "grey.webp"}
    for name in files(out):
        assert told[name]["state"] == "filled"
        assert told[name]["holes"] == 1
        assert told[name]["seconds"] > 0
        before, after = decode(source / name), decode(out / name)
        assert (after.format, after.pixels.shape) == (before.format, before.pixels.shape)
        if after.format != "JPEG":
            hole = np.zeros(before.pixels.shape[:2], bool)
            hole[4:12, 4:12] = True
            assert np.array_equal(before.pixels[~hole], after.pixels[~hole])
            assert not np.array_equal(before.pixels[hole], after.pixels[hole])
    before, after = decode(source / "sub/alpha.png"), decode(out / "sub/alpha.png")
    assert before.alpha is not None
    assert after.alpha is not None
    assert np.array_equal(before.alpha, after.alpha)
    with Image.open(out / "sub/deep/turned.jpg") as image:
        assert image.size == (30, 40)
        assert image.getexif()[0x0112] == 1


def test_every_result_is_what_fill_gives(folders: Path) -> None:
    save(make_image(), folders / "in/a.png")
    save(make_image(seed=1), folders / "in/b.jpg")
    run(folders, options=BOX)
    for name in ("a.png", "b.jpg"):
        data = (folders / "in" / name).read_bytes()
        assert (folders / "out" / name).read_bytes() == fill(data, boxes=[(4, 4, 8, 8)])


def test_a_second_run_fills_only_what_changed(folders: Path) -> None:
    for name in ("same", "picture", "mask", "gone", "failed"):
        save(make_image(), folders / f"in/{name}.png")
        save_mask(folders / f"masks/{name}.png")
    (folders / "masks/failed.png").unlink()
    assert run(folders).counts == {"filled": 4, "failed": 1}
    before = (folders / "out/same.png").stat().st_mtime_ns
    save(make_image(seed=3), folders / "in/picture.png")
    save(Image.new("L", (40, 30), 0), folders / "masks/mask.png")
    (folders / "out/gone.png").unlink()
    save_mask(folders / "masks/failed.png")
    run(folders)
    assert states(folders / "out") == {
        "same.png": "skipped",
        "picture.png": "filled",
        "mask.png": "unchanged",
        "gone.png": "filled",
        "failed.png": "filled",
    }
    assert (folders / "out/same.png").stat().st_mtime_ns == before
    assert (folders / "out/mask.png").read_bytes() == (folders / "in/mask.png").read_bytes()
    assert run(folders).counts == {"skipped": 5}
    assert run(folders, overwrite=True).counts == {"filled": 4, "unchanged": 1}


@pytest.mark.parametrize(
    "other", [{"options": FillOptions(boxes=((4, 4, 8, 9),))}, {"options": BOX, "engine": "mean"}]
)
def test_other_options_and_engines_fill_again(folders: Path, other: dict[str, Any]) -> None:
    save(make_image(), folders / "in/a.png")
    assert run(folders, options=BOX).counts == {"filled": 1}
    assert run(folders, **other).counts == {"filled": 1}
    assert run(folders, **other).counts == {"skipped": 1}


def test_a_file_of_other_origin_is_not_replaced(folders: Path) -> None:
    save(make_image(), folders / "in/a.png")
    save(make_image(seed=9), folders / "out/a.png")
    foreign = (folders / "out/a.png").read_bytes()
    assert run(folders, options=BOX).failed == 1
    assert "--overwrite" in rows(folders / "out")["a.png"]["error"]
    assert (folders / "out/a.png").read_bytes() == foreign
    assert run(folders, options=BOX, overwrite=True).counts == {"filled": 1}


def test_a_run_that_was_killed_goes_on(folders: Path) -> None:
    for number in range(4):
        save(make_image(seed=number), folders / f"in/{number}.png")
    run(folders, options=BOX)
    lines = (folders / "out" / RESULTS).read_bytes().splitlines(keepends=True)
    # Killed while the third line was written; the third and fourth file are there, and not noted.
    (folders / "out" / RESULTS).write_bytes(b"".join(lines[:2]) + lines[2][:20])
    assert run(folders, options=BOX).counts == {"skipped": 2, "filled": 2}
    assert len(rows(folders / "out")) == 4


def test_a_dry_run_writes_nothing(folders: Path) -> None:
    save(make_image(), folders / "in/a.png")
    seen = []
    summary = run(folders, options=BOX, dry_run=True, report=lambda *said: seen.append(said))
    assert (summary.counts, summary.results) == ({"pending": 1}, None)
    assert [(result.output, done, total) for result, done, total in seen] == [("a.png", 1, 1)]
    assert not (folders / "out").exists()
    run(folders, options=BOX)
    assert run(folders, options=BOX, dry_run=True).counts == {"skipped": 1}


def test_shards_share_the_pictures_and_know_each_others_results(folders: Path) -> None:
    for number in range(12):
        save(make_image(seed=number), folders / f"in/{number}.png")
    done = [set(rows_of(run(folders, options=BOX, shard=(part, 3)))) for part in (1, 2, 3)]
    assert all(done)
    assert sum(map(len, done)) == len(set.union(*done)) == 12
    assert set(files(folders / "out")) >= {f"{number}.png" for number in range(12)}
    assert run(folders, options=BOX).counts == {"skipped": 12}


def rows_of(summary: Summary) -> dict[str, Any]:
    assert summary.results is not None
    return rows(summary.results.parent, summary.results.name)


def test_processes_give_what_one_gives(folders: Path) -> None:
    for number in range(5):
        save(make_image(seed=number), folders / f"in/{number}.png")
    (folders / "in/bad.png").write_bytes(b"no")
    first = run(folders, options=BOX)
    alone = files(folders / "out")
    second = batch(folders / "in", folders / "other", options=BOX, jobs=2)
    assert first.counts == second.counts == {"filled": 5, "failed": 1}
    assert files(folders / "other") == alone


def test_a_process_that_dies_costs_one_picture(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        save(make_image(seed=number), folders / f"in/{number}.png")
    monkeypatch.setattr(processes, "fill_in_worker", die_on_two)
    summary = run(folders, options=BOX, jobs=2)
    assert summary.counts == {"filled": 2, "failed": 1}
    assert "process died" in rows(folders / "out")["2.png"]["error"]


def die_on_two(progress: Any, run: Any, job: Any, finished: bytes | None) -> Any:
    if job.picture == "2.png":
        os.kill(os.getpid(), signal.SIGKILL)
    return fill_one(run, run.open_engine(), job, finished)


def test_a_picture_that_takes_too_long_costs_itself(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        save(make_image(seed=number), folders / f"in/{number}.png")
    monkeypatch.setattr(processes, "fill_in_worker", hang_on_one)
    summary = run(folders, options=BOX, timeout=2.0)
    assert summary.counts == {"filled": 2, "failed": 1}
    assert "not done after 2 seconds, the limit of --timeout" in rows(folders / "out")["1.png"]["error"]


def hang_on_one(progress: Any, run: Any, job: Any, finished: bytes | None) -> Any:
    if job.picture == "1.png":
        zlib.compress(bytes(4_000_000_000), 9)  # in C, where no thread can be interrupted
    return fill_one(run, run.open_engine(), job, finished)


@pytest.mark.parametrize(
    "garbage", [b'{"picture":"a\xff"}\n', b"[" * 100_000 + b"\n", b"\xff" * 3_000_000, b"{}\n[]\n1\n"]
)
def test_garbage_among_the_results_is_read_around(folders: Path, garbage: bytes) -> None:
    for number in range(2):
        save(make_image(seed=number), folders / f"in/{number}.png")
    run(folders, options=BOX)
    path = folders / "out" / RESULTS
    path.write_bytes(garbage + b"\n" + path.read_bytes())
    with pytest.warns(InfillingWarning, match="of [0-9]+ lines cannot be read"):
        summary = run(folders, options=BOX)
    assert summary.counts == {"skipped": 2}
    assert set(rows(folders / "out")) == {"0.png", "1.png"}


@pytest.mark.parametrize(("torn", "kept"), [(b"", 2), (b'{"picture": "2.p', 2), (b"\xff" * 2_000_000, 3)])
def test_lines_follow_a_last_one_that_was_cut_off(tmp_path: Path, torn: bytes, kept: int) -> None:
    """What a kill left of a line is removed; a whole line that lacks its end gets it."""
    path, line = tmp_path / RESULTS, Result("1.png", "1.png", "filled", key="ab" * 32)
    with open_lines(path) as put:
        put(line)
    whole = path.read_bytes()
    path.write_bytes(whole + torn if torn else whole[:-1])
    with suppress(KeyboardInterrupt), open_lines(path) as put:
        put(dataclasses.replace(line, output="3.png"))
        raise KeyboardInterrupt
    assert path.read_bytes().count(b"\n") == kept
    if kept == 2:
        assert len(read_finished(tmp_path)) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with names")
def test_what_is_no_file_costs_itself(folders: Path) -> None:
    save(make_image(), folders / "in/a.png")
    save(make_image(), folders / "in/sub/b.png")
    os.mkfifo(folders / "in/f.png")
    os.symlink("loop", folders / "in/loop")
    os.symlink("loop.png", folders / "in/loop.png")
    summary = run(folders, options=BOX)
    assert summary.counts == {"filled": 2, "failed": 2}
    assert "pipe" in rows(folders / "out")["f.png"]["error"]


def test_pictures_with_every_way_to_say_the_hole(folders: Path) -> None:
    image = make_image("RGBA")
    image.putalpha(255)
    image.paste((0, 0, 0, 0), (4, 4, 12, 12))
    save(image, folders / "in/erased.png")
    run(folders, options=FillOptions(mask_from_alpha=True))
    alpha = decode(folders / "out/erased.png").alpha
    assert alpha is not None
    assert (alpha == 255).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"options": FillOptions()}, InputError, "nothing says where"),
        ({"options": BOX}, InputError, "no pictures"),
        ({"options": BOX, "engine": "telaa"}, ModelError, "telea"),
        ({"options": BOX, "jobs": 0}, InputError, "jobs 0 cannot be used"),
        ({"options": BOX, "jobs": 10**30}, InputError, "a whole number, 1 to 256"),
        ({"options": BOX, "shard": (3, 2)}, InputError, "shard .3, 2. cannot be used"),
    ],
)
def test_what_cannot_work_is_refused(
    folders: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(folders, **options)
    assert not (folders / "out").exists()


# -- the command ---------------------------------------------------------------------------------------------


def test_the_command_fills_tells_and_fails(folders: Path, infill: Any) -> None:
    save(make_image(), folders / "in/a.png")
    (folders / "in/b.png").write_bytes(b"no")
    ran = infill("batch", folders / "in", folders / "out", "--box", "4,4,8,8")
    assert ran.code == 1
    assert ran.lines == [str(folders / "out" / RESULTS)]
    assert "failed: b.png: " in ran.err
    assert "1 filled, 1 failed" in ran.err
    (folders / "in/b.png").unlink()
    assert infill("batch", folders / "in", folders / "out", "--box", "4,4,8,8").code == 0


def test_the_command_says_what_it_would_do(folders: Path, infill: Any) -> None:
    save(make_image(), folders / "in/a.jpg")
    ran = infill("batch", folders / "in", folders / "out", "--box", "4,4,8,8", "--dry-run", "--format", "png")
    assert ran.lines == ["pending\ta.jpg\ta.png"]
    assert infill("batch", folders / "in", folders / "out", "--shard", "0/2").code == 2


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_stops_cleanly(folders: Path, jobs: int) -> None:
    for number in range(300):
        save(make_image(size=(300, 200), seed=number % 3), folders / f"in/{number}.png")
    command = [sys.executable, "-m", "infilling", "batch", "in", "out", "--box", "40,40,90,90"]
    process = subprocess.Popen(
        [*command, "--jobs", str(jobs)],
        cwd=folders,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell that runs the tests in the background has SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not list(folders.glob("out/*.png")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err
    written = files(folders / "out")
    assert 0 < len(written) < 300
    for name in written:
        decode(folders / "out" / name)
    assert not list((folders / "out").glob(".*"))
    assert len((folders / "out" / RESULTS).read_text().splitlines()) <= len(written)
    assert run(folders, options=FillOptions(boxes=((40, 40, 90, 90),))).failed == 0


MEASURE = """
import resource, sys
from pathlib import Path
from infilling.filling.batch import batch
from infilling.filling.options import FillOptions
root = Path(sys.argv[1])
batch(root / "in", root / "out", engine="push-pull", options=FillOptions(boxes=((4, 4, 8, 8),)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_the_number_of_pictures(folders: Path) -> None:
    peaks = []
    for count in (100, 10_000):
        root = folders / str(count)
        save(make_image(), root / "in/0.png")
        data = (root / "in/0.png").read_bytes()
        for number in range(1, count):
            (root / f"in/{number}.png").write_bytes(data)
        ran = subprocess.run([sys.executable, "-c", MEASURE, root], capture_output=True, check=True)
        peaks.append(int(ran.stdout))
    assert peaks[1] <= 1.1 * peaks[0]


def test_pipes_loops_and_unmasked_pictures_have_a_line_and_stop_nothing(folders: Path) -> None:
    os.mkfifo(folders / "in" / "pipe.png")
    (folders / "in" / "loop.png").symlink_to("loop.png")
    (folders / "in" / "raw.cr2").write_bytes(b"II")
    summary = run(folders, engine="mean", skip_unmasked=True)
    lines = rows(folders / "out")
    assert lines["raw.cr2"]["state"] == "failed"
    assert {lines[name]["state"] for name in ("pipe.png", "loop.png")} == {"unmasked"}
    assert summary.counts["unmasked"] >= 2
    run(folders, options=BOX)
    lines = rows(folders / "out")
    assert "is a pipe" in lines["pipe.png"]["error"]
    assert "oo many levels" in lines["loop.png"]["error"]


@pytest.mark.parametrize(
    "content", [b'{"picture":"a\xff"}\n', b"[" * 100_000 + b"\n", b"null\n", b'{"key": 3}\n']
)
def test_a_line_that_is_none_is_passed_over(folders: Path, content: bytes) -> None:
    save(make_image(), folders / "in/a.png")
    (folders / "out").mkdir()
    (folders / "out" / RESULTS).write_bytes(content)
    assert run(folders, options=BOX).failed == 0


def test_arrays_are_filled_like_pictures(folders: Path) -> None:
    data = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    np.save(folders / "in" / "heights.npy", data)
    run(folders, options=BOX, engine="push-pull")
    filled = np.load(folders / "out" / "heights.npy")
    np.testing.assert_array_equal(filled, fill(data, engine="push-pull", boxes=BOX.boxes))
