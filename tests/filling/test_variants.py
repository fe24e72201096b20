"""Several fills of one hole: they differ, are in order, repeat by seed everywhere, and show their doubt."""

import hashlib
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import infilling
from infilling.errors import InfillingWarning
from infilling.filling.fills import fill_best
from infilling.filling.progress import watch
from infilling.filling.scores import Scores, find_different, find_scored_part, score_fills
from infilling.filling.variants import MOST_COUNT

Pixels = NDArray[np.uint8]


def draw_texture(height: int = 200, width: int = 240, seed: int = 5) -> Pixels:
    """Blotches of several sizes in warm and cold colours, from left to right."""
    rng = np.random.default_rng(seed)
    noise = sum(np.kron(rng.random((height // s, width // s)), np.ones((s, s))) for s in (2, 4, 8)) / 3
    ramp = np.linspace(0, 1, width)[None, :]
    picture = np.stack([noise * (1 - ramp), noise * 0.5, noise * ramp], axis=-1)
    return (picture * 255).astype(np.uint8)


IMAGE = draw_texture()
HOLE = np.zeros(IMAGE.shape[:2], bool)
HOLE[60:140, 80:170] = True


@pytest.fixture(scope="module")
def several() -> infilling.Fills[Pixels]:
    return infilling.fills(IMAGE, HOLE, count=5)


def test_the_fills_differ_and_keep_what_is_known(several: infilling.Fills[Pixels]) -> None:
    assert len(several) == len(several.labels) == len(several.scores) == 5
    assert len(set(several.labels)) == 5
    for fill in several:
        np.testing.assert_array_equal(fill[~HOLE], IMAGE[~HOLE])
    inside = [fill[HOLE] for fill in several]
    assert find_different(inside) == [0, 1, 2, 3, 4]
    assert list(several.scores) == sorted(several.scores)


def test_the_usual_fill_is_among_them(several: infilling.Fills[Pixels]) -> None:
    usual = infilling.fill(IMAGE, HOLE)
    np.testing.assert_array_equal(several[several.labels.index("default")], usual)
    np.testing.assert_array_equal(infilling.fills(IMAGE, HOLE, count=1)[0], usual)


def test_a_label_says_how_to_get_that_fill_again(several: infilling.Fills[Pixels]) -> None:
    again = {"default, seed 1": {"seed": 1}, "default, free": {"guide": 0}, "default, steered": {"guide": 3}}
    for label, options in again.items():
        np.testing.assert_array_equal(
            several[several.labels.index(label)], infilling.fill(IMAGE, HOLE, **options)
        )


def test_the_spread_is_that_of_the_fills_by_numpy(several: infilling.Fills[Pixels]) -> None:
    assert not several.spread[~HOLE].any()
    stack = np.stack([fill / 255 for fill in several])
    np.testing.assert_allclose(several.spread[HOLE], stack.std(axis=0).mean(axis=-1)[HOLE], atol=1e-6)
    assert several.doubt == pytest.approx(several.spread[HOLE].mean())


def test_what_looks_the_same_is_left_out_with_a_word() -> None:
    flat = np.full((80, 80, 3), 90, np.uint8)
    hole = np.zeros((80, 80), bool)
    hole[30:50, 30:50] = True
    with (
        pytest.warns(InfillingWarning, match="differ to the eye"),
        pytest.warns(InfillingWarning, match="doubt"),
    ):
        fills = infilling.fills(flat, hole, "patch-synthesis", count=3)
    assert len(fills) == 1
    assert fills.doubt == 0


def test_an_engine_without_seeds_is_joined_by_copies() -> None:
    fills = infilling.fills(IMAGE, HOLE, "push-pull", count=3)
    assert {label.partition(",")[0] for label in fills.labels} == {"push-pull", "patch-synthesis"}


def test_a_blurred_fill_is_not_the_best() -> None:
    """It has the smallest step at its seam, and its patches are near to some known one."""
    fills = infilling.fills(IMAGE, HOLE, "push-pull", count=3)
    assert fills.labels[-1] == "push-pull"


# -- every kind of image -------------------------------------------------------------------------------------


def test_files_are_numbered_and_keep_their_metadata(tmp_path: Path) -> None:
    path, exif = tmp_path / "photo.jpg", Image.Exif()
    exif[0x010F] = "Maker"
    Image.fromarray(IMAGE).save(path, exif=exif, dpi=(300, 300))
    fills = infilling.fills(path, HOLE, count=3, sheet=tmp_path / "sheet.png", doubt=tmp_path / "doubt.png")
    names = ["photo.filled.jpg", "photo.filled-2.jpg", "photo.filled-3.jpg"]
    assert list(fills) == [tmp_path / name for name in names]
    for each in fills:
        with Image.open(each) as written:
            assert written.getexif()[0x010F] == "Maker"
    best = fill_best(
        path.read_bytes(), HOLE, infilling.open_engine("default"), infilling.FillOptions(), count=3
    )
    assert best.data == fills[0].read_bytes()
    assert best.doubt == fills.doubt
    with Image.open(tmp_path / "doubt.png") as doubt:
        shown = np.asarray(doubt)
    np.testing.assert_array_equal(shown, np.rint(np.minimum(fills.spread * 4, 1) * 255))
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 2 * 90


def test_pillow_images_and_floats_of_any_range_come_back_as_they_are() -> None:
    images = infilling.fills(Image.fromarray(IMAGE), HOLE, count=2)
    assert [type(image) for image in images] == [Image.Image, Image.Image]
    heights = IMAGE[..., 0].astype(np.float64) * 10 - 700
    heights[0, 0] = np.nan
    fills = infilling.fills(heights, HOLE, "patch-synthesis", count=2, only="mask")
    assert all(fill.dtype == np.float64 and np.isnan(fill[0, 0]) for fill in fills)
    assert 0 < fills.doubt < 0.5


def test_files_of_data_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGE)
    with pytest.raises(infilling.InputError, match=r"a\.npy: several fills are not for files of data"):
        infilling.fills(tmp_path / "a.npy", HOLE, count=2)
    for count in (0, MOST_COUNT + 1, 2.0, True):
        with pytest.raises(infilling.InputError, match="count"):
            infilling.fills(IMAGE, HOLE, count=count)  # type: ignore[arg-type]


def test_progress_grows_over_all_fills() -> None:
    seen: list[float] = []
    with watch(lambda done, total: seen.append(done / total)):
        infilling.fills(IMAGE, HOLE, count=3)
    assert seen == sorted(seen)
    assert 0.7 < seen[-1] <= 1


# -- the same bytes everywhere -------------------------------------------------------------------------------


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_seed_gives_the_same_bytes_in_threads_processes_and_batches(tmp_path: Path) -> None:
    picture, mask = tmp_path / "in" / "photo.png", tmp_path / "mask.png"
    picture.parent.mkdir()
    Image.fromarray(IMAGE).save(picture)
    Image.fromarray(HOLE).save(mask)
    data = picture.read_bytes()
    wanted = infilling.fill(data, HOLE, seed=3)
    assert wanted != infilling.fill(data, HOLE, seed=4)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: infilling.fill(data, HOLE, seed=3), range(3))) == [wanted] * 3

    infill = [sys.executable, "-m", "infilling"]
    words = [str(picture), "-m", str(mask), "--seed", "3", "--out", str(tmp_path / "cli.png")]
    subprocess.run([*infill, "fill", *words], check=True, capture_output=True)
    assert (tmp_path / "cli.png").read_bytes() == wanted
    words = [str(picture.parent), str(tmp_path / "out"), "-m", str(mask), "--seed", "3", "--jobs", "2"]
    subprocess.run([*infill, "batch", *words], check=True, capture_output=True)
    assert (tmp_path / "out" / "photo.png").read_bytes() == wanted


def test_several_fills_are_the_same_from_the_shell_and_in_batches(tmp_path: Path) -> None:
    picture, mask = tmp_path / "in" / "photo.png", tmp_path / "mask.png"
    picture.parent.mkdir()
    Image.fromarray(IMAGE).save(picture)
    Image.fromarray(HOLE).save(mask)
    fills = infilling.fills(picture.read_bytes(), HOLE, count=3, seed=2)
    infill = [sys.executable, "-m", "infilling"]
    words = [
        str(picture),
        "-m",
        str(mask),
        "--seed",
        "2",
        "--count",
        "3",
        "--doubt",
        str(tmp_path / "doubt.png"),
    ]
    done = subprocess.run([*infill, "fill", *words], check=True, capture_output=True, text=True)
    written = [Path(line) for line in done.stdout.splitlines()]
    assert [each.read_bytes() for each in written] == list(fills)
    assert all(label in done.stderr for label in fills.labels)
    for each in written:
        each.unlink()
    words = [str(picture.parent), str(tmp_path / "out"), "-m", str(mask), "--seed", "2", "--count", "3"]
    subprocess.run([*infill, "batch", *words], check=True, capture_output=True)
    assert (tmp_path / "out" / "photo.png").read_bytes() == fills[0]
    [line] = map(json.loads, (tmp_path / "out" / "results.jsonl").read_text().splitlines())
    assert line["doubt"] == pytest.approx(fills.doubt, abs=1e-5)


def test_several_fills_are_not_for_a_pipe(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(IMAGE).save(file, "PNG")
    words = [sys.executable, "-m", "infilling", "fill", "-", "--box", "9,9,9,9", "--count", "2"]
    done = subprocess.run(words, input=file.getvalue(), capture_output=True, check=False)
    assert done.returncode == 2
    assert b"--count" in done.stderr


# -- scores --------------------------------------------------------------------------------------------------


def test_the_score_puts_the_truth_before_a_step_a_blur_and_foreign_texture() -> None:
    step, blur, foreign = IMAGE.copy(), IMAGE.copy(), IMAGE.copy()
    step[HOLE] = np.clip(step[HOLE].astype(int) + 60, 0, 255)
    blur[HOLE] = IMAGE[HOLE].mean(axis=0)
    foreign[HOLE] = np.random.default_rng(0).integers(0, 256, (int(HOLE.sum()), 3))
    scores = score_fills([IMAGE, step, blur, foreign], HOLE).combine()
    assert scores.argmin() == 0


def test_figures_of_a_fill_by_hand() -> None:
    """One white column in black: the step is 1 at each seam, and no known patch has any white."""
    black = np.zeros((8, 24, 3), np.float32)
    hole = np.zeros((8, 24), bool)
    hole[:, 12] = True
    white = black.copy()
    white[hole] = 1
    scores = score_fills([black, white], hole, black)
    assert scores.seam.tolist() == [0, 1]
    assert scores.patch.tolist() == pytest.approx([0, 1 / 7])  # one column of a patch of seven
    assert scores.dissent.tolist() == [0, 1]


def test_the_window_holds_most_of_holes_that_are_far_apart() -> None:
    hole = np.zeros((3000, 5000), bool)
    hole[10:20, 10:20] = True
    hole[2500:2600, 4000:4100] = True
    window = find_scored_part(hole)
    assert hole[window.slices].sum() == 10_000
    assert max(window[2:]) <= 2000


def test_without_a_median_nothing_is_divided_by_zero() -> None:
    zero = np.zeros(2)
    assert Scores(zero, zero, zero, zero).combine().tolist() == [0, 0]
