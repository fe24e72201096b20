"""The leaderboard: its arithmetic by hand, and one small board from configs to pages, stopped and gone on."""

import json
import math
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infilling.errors import ConfigError
from infilling.judging import evaluate, leaderboard_tables, losses, scores, training_runs
from infilling.judging.leaderboard import Listener, TrainingStopped, make_leaderboard
from infilling.judging.leaderboard_results import Leaderboard, rank_engines
from infilling.judging.results import Row
from infilling.judging.scores import EngineScores
from infilling.judging.settings import EvaluationSettings
from infilling.judging.training_runs import TrainingSettings
from infilling.learning import config as configs
from infilling.learning import dry_run, run_folder

ROOT = Path(__file__).resolve().parent.parent.parent
REFERENCE, CENTER = "reference", "context-encoder"
SMALL = (
    "system.width=4",
    "train.batch=2",
    "train.steps=2",
    "train.samples=1",
    "centered:system.bottleneck=8",
    "no-ring:system.ring=0",
)


# ---- arithmetic --------------------------------------------------------------------------------------------


def test_reference_costs_what_its_table_says() -> None:
    """2 × MAC by hand from the table of layers: k² · in · out · positions (of a ConvT: its input's)."""
    encoder = [(3, 64, 64), (64, 64, 32), (64, 128, 16), (128, 256, 8), (256, 512, 4)]
    decoder = [(1024, 256, 4), (512, 128, 8), (256, 64, 16), (128, 3, 32)]
    mac = sum(16 * a * b * side**2 for a, b, side in [*encoder, *decoder])
    mac += 16 * 512 * 2048 + 16 * 2048 * 512  # bottleneck and dec1: one position each
    cost = training_runs.measure_cost(configs.read_config(REFERENCE, ["train.device=cpu"]), 128)
    assert (cost.generator, cost.discriminator) == (41_894_656, 2_786_209)
    resizing = cost.flop - 2 * mac  # from patch to block: matrix products over few pixels
    assert 0 <= resizing < 0.03 * 2 * mac


def test_a_spike_is_found_above_the_running_median() -> None:
    rng = np.random.default_rng(0)
    steps = np.arange(0.0, 5000, 5)
    drifting = np.linspace(4, 2, 1000) + rng.normal(0, 0.05, 1000)
    drifting[600] += 7
    spike = losses.find_spike(steps, drifting)
    assert spike.step == 3000
    assert spike.above == pytest.approx(7, abs=0.25)


def test_a_match_is_summed_up() -> None:
    rows = [
        {"step": step, "Loss_D": 0.1 if step < 25 else 1.0, "Loss_G": 3.0, "D(x)": 0.9, "D(G(z)) before": 0.2}
        for step in range(100)
    ]
    rows[50]["Loss_G"] = 12.0
    match = losses.summarise([{"step": 0, "total": 1.0}, *rows])
    assert match is not None
    loss_d, loss_g = match.curves["Loss_D"], match.curves["Loss_G"]
    assert (loss_d.median, loss_g.median, match.d_real, match.d_fake) == (1.0, 3.0, 0.9, 0.2)
    assert loss_g.spike == (9.0, 50)
    assert match.beaten == 0.25
    assert (loss_g.low, loss_g.high) == (3.0, 3.0)


def test_without_an_adversary_there_is_no_match() -> None:
    assert losses.summarise([{"step": 1, "total": 0.3}]) is None


def test_thinning_keeps_every_spike() -> None:
    values = np.random.default_rng(1).normal(size=9000)
    values[4321], values[8765] = 50, -50
    points = losses.thin(np.arange(9000.0), values, columns=100)
    assert len(points) <= 200
    assert points == sorted(points)
    assert {(4321.0, 50.0), (8765.0, -50.0)} <= set(points)


def make_scores(value: float | None) -> EngineScores:
    values = {} if value is None else {"hole_psnr": value}
    return EngineScores(Row("x", "x", len(values), 0, 0.1, values, {}, {}))


def test_rank_is_fair_to_who_does_one_thing() -> None:
    """Hard holes lower everyone: an engine of these alone is measured against others on these."""
    found = rank_engines(
        [
            {
                "a": make_scores(30),
                "b": make_scores(29),
                "center": make_scores(None),
                "absent": make_scores(None),
            },
            {
                "a": make_scores(20),
                "b": make_scores(18),
                "center": make_scores(20.5),
                "absent": make_scores(None),
            },
        ]
    )
    assert list(found) == ["center", "a", "b", "absent"]
    assert found["center"] == pytest.approx(0.5)
    assert math.isnan(found["absent"])


# ---- one small board ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures of 128×128 px in three classes, one of them plain and one of noise."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    for number in range(10):
        side = (2, 12, 128)[number % 3]
        small = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        path = folder / ("plain", "waves", "noise")[number % 3] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        small.resize((128, 128), Image.Resampling.BICUBIC).save(path)
    return folder


def make(pictures: Path, out: Path, *overrides: str, count: int = 4, **options) -> Leaderboard:
    cache = f'data.cache="{out.parent / "cache"}"'
    learning = TrainingSettings((str(pictures),), 5, "cpu", (*SMALL, cache, *overrides))
    files = [REFERENCE, f"no-ring={REFERENCE}", f"centered={CENTER}"]
    jury = EvaluationSettings((str(pictures),), count=count, threads=1, device="cpu")
    return make_leaderboard(
        files, learning, jury, out, engines=["mean", "telea"], holes=["center", "freeform"], **options
    )


@pytest.fixture(scope="module")
def made(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Leaderboard, Path]:
    out = tmp_path_factory.mktemp("board") / "out"
    return make(pictures, out), out


def test_every_row_has_its_figures_and_costs(made: tuple[Leaderboard, Path]) -> None:
    board = made[0]
    assert {entry.name for entry in board.entries} == {"reference", "no-ring", "centered", "mean", "telea"}
    for entry in board.entries:
        assert (entry.cost is None) == (entry.name in ("mean", "telea"))
        if entry.training:
            assert (entry.training.steps, entry.training.images_seen) == (2, 4)
            assert entry.training.ended_by == "steps"
            assert entry.losses is not None
            assert entry.losses.steps.tolist() == [1, 2]
    for each in board.results:
        assert list(each.scores) == [entry.name for entry in board.entries]
        for name, standing in each.scores.items():
            if each.kind == "freeform" and name == "centered":
                continue
            assert len(standing.psnr) == 4
            assert list(standing.results) == [example.name for example in each.evaluation.examples]
            assert standing.row.values["hole_psnr"] == pytest.approx(np.mean(list(standing.psnr.values())))


def test_what_a_system_cannot_do_is_not_made_up(made: tuple[Leaderboard, Path]) -> None:
    board, out = made
    [freeform] = [each for each in board.results if each.kind == "freeform"]
    assert freeform.scores["centered"].row.pictures == 0
    assert any(note.startswith("freeform: n/a for centered: ") for note in board.notes)
    section = (out / "leaderboard.md").read_text().split("## Figures: freeform holes")[1].split("##")[0]
    [line] = [line for line in section.splitlines() if line.startswith("| centered")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells.count("n/a") == len(cells) - 4  # all but name, parameters, GFLOP, pictures seen
    assert "n/a:" in (out / "leaderboard.html").read_text()


def test_pictures_are_of_the_engines_they_are_named_after(made: tuple[Leaderboard, Path]) -> None:
    for each in made[0].results:
        for example in each.evaluation.examples:
            for name, result in example.results.items():
                hole = example.mask
                np.testing.assert_array_equal(result[~hole], example.target[~hole])
                error = (result[hole].astype(float) - example.target[hole]) / 255
                assert example.values[name] == pytest.approx(-10 * math.log10((error**2).mean()))


def test_scenes_are_ranked_by_the_best_that_was_trained(made: tuple[Leaderboard, Path]) -> None:
    board, out = made
    scenes = board.scenes
    assert scenes is not None
    assert scenes.engine in ("reference", "no-ring", "centered")
    assert (scenes.kind, scenes.pictures, scenes.engines[1:]) == ("center", 10, ("telea",))
    assert [scene.pictures for scene in sorted(scenes.ranked)] == [3, 4, 3]  # noise, plain, waves
    values = [scene.values[0] for scene in scenes.ranked]
    assert values == sorted(values, reverse=True)
    assert max(scenes.ranked, key=lambda scene: scene.values[1]).group == "plain"
    for scene in scenes.ranked:
        assert scene.example is not None
        assert scene.example.name.startswith(scene.group)
    assert f"easiest for {scenes.engine}" in (out / "leaderboard.md").read_text()


def test_tables_hold_together(made: tuple[Leaderboard, Path]) -> None:
    tables = leaderboard_tables.make_tables(made[0])
    titles = [table.title for table in tables]
    assert titles[:3] == ["Overview", "Figures: center holes", "Figures: freeform holes"]
    assert {"One system, set differently: reference", "Losses of the GANs"} <= set(titles)
    for table in tables:
        assert {len(line) for line in table.lines} == {len(table.header)}, table.title
    [differing] = [table for table in tables if table.title.startswith("One system")]
    assert differing.header[:2] == ("engine", "ring")
    assert {line[:2] for line in differing.lines} == {("reference", "7"), ("no-ring", "0")}
    text = (made[1] / "leaderboard.md").read_text()
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_page_is_whole_and_loads_nothing(made: tuple[Leaderboard, Path]) -> None:
    from html.parser import HTMLParser

    text = (made[1] / "leaderboard.html").read_text()
    opened: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("meta", "img"):
                opened.append(tag)

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Reader().feed(text)
    assert opened == []
    assert not re.search(r"url\(|@import|https?://|<script|<link", text)
    sources = re.findall(r'src="([^"]{22})', text)
    # originals, masked and results of 4 pictures on both kinds; three of the easiest and the hardest class
    assert len(sources) == 4 * (2 + 5) + 4 * (2 + 4) + 2 * 3
    assert set(sources) == {"data:image/webp;base64"}
    assert text.count("Loss_D and Loss_G by step") == 3


def test_nothing_is_made_twice(
    made: tuple[Leaderboard, Path], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, out = made

    def refuse(*args: object, **options: object) -> None:
        pytest.fail("this was done before")

    with monkeypatch.context() as patch:
        patch.setattr(training_runs, "train", refuse)
        patch.setattr(evaluate, "evaluate", refuse)
        again = make(pictures, out)
    assert [entry.training for entry in again.entries] == [entry.training for entry in board.entries]
    for one, other in zip(board.results, again.results, strict=True):
        for name, standing in one.scores.items():
            read = other.scores[name]
            assert read.psnr == standing.psnr
            assert read.results.keys() == standing.results.keys()
            for picture, pixels in standing.results.items():
                np.testing.assert_array_equal(read.results[picture], pixels)
            if standing.row.pictures:
                assert repr(read.row) == repr(standing.row)


def test_other_pictures_are_judged_anew(pictures: Path, tmp_path: Path) -> None:
    """Every call says how many pictures it had to judge."""

    def judge(count: int) -> list[int]:
        jury = EvaluationSettings((str(pictures),), count=count, threads=1)
        course = scores.make_hole_set(replace(jury, holes="center"))
        told: list[int] = []
        found = scores.judge_once(
            "mean", "mean", course, tmp_path, progress=lambda done, total: told.append(total)
        )
        assert list(found.psnr) == list(found.results) == list(course.shown)
        return told

    assert [judge(3), judge(3), judge(2), judge(3), judge(3)] == [[3], [], [2], [3], []]
    (tmp_path / "mean.json").write_text("{")
    assert judge(3) == [3], "a damaged file is no judgement"


def test_another_config_is_no_excuse_to_take_the_old_run(
    made: tuple[Leaderboard, Path], pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"ring_weight was 10\.0, now 3"):
        make(pictures, made[1], "reference:system.ring_weight=3")
    Image.new("RGB", (128, 128)).save(tmp_path / "other.png")
    with pytest.raises(ConfigError, match="choose another folder for other pictures"):
        make(tmp_path, made[1])


# ---- stopping and going on ---------------------------------------------------------------------------------


def enter(pictures: Path, out: Path, minutes: float, *overrides: str) -> training_runs.TrainingRun:
    settings = TrainingSettings(
        data=(str(pictures),),
        minutes=minutes,
        device="cpu",
        overrides=(*SMALL[:2], "train.samples=1", f'data.cache="{out / "cache"}"', *overrides),
    )
    [entrant] = training_runs.find_runs([REFERENCE], settings, out=out, size=128)
    return entrant


def test_a_signal_stops_and_the_same_call_goes_on(pictures: Path, tmp_path: Path) -> None:
    learning = TrainingSettings(
        (str(pictures),), 5, "cpu", (*SMALL[:4], f'data.cache="{tmp_path / "cache"}"')
    )
    jury = EvaluationSettings((str(pictures),), count=1, threads=1)

    def stop(text: str, share: float) -> None:
        if text == "reference learns: step 1":
            signal.raise_signal(signal.SIGTERM)

    def call(listener: Listener) -> Leaderboard:
        return make_leaderboard(
            [REFERENCE], learning, jury, tmp_path / "out", engines=[], holes=["center"], listener=listener
        )

    with pytest.raises(TrainingStopped, match="SIGTERM while reference was learning") as caught:
        call(Listener(stop))
    assert caught.value.exit_code == 143
    assert not (tmp_path / "out" / "leaderboard.html").exists()
    shown: list[tuple[str, float]] = []
    board = call(Listener(lambda *progress: shown.append(progress)))
    steps = [text for text, _ in shown if "learns: step" in text]
    assert steps == ["reference learns: step 2"] * len(steps)
    assert steps
    assert ("reference on center: 1 of 1", 1.0) in shown
    assert (
        1 not in [row["step"] for row in run_folder.read_stats(tmp_path / "out" / "runs" / "reference")][1:]
    )
    [entry] = board.entries
    assert entry.training is not None
    assert entry.training.steps == 2
    assert board.scenes is None or len(board.scenes.engines) == 1


def test_a_stopped_run_has_the_minutes_that_are_left(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    entrant = enter(pictures, tmp_path, 10)
    folder = entrant.folder

    def train(config, out, report) -> None:
        given.append(config.train.max_minutes)
        raise KeyboardInterrupt

    def ask(minutes: float) -> None:
        with pytest.raises(KeyboardInterrupt):
            training_runs.train_run(enter(pictures, tmp_path, minutes))

    monkeypatch.setattr(training_runs, "train", train)
    ask(10)
    (folder / "checkpoint" / "step-00000002").mkdir(parents=True)
    rows = [{"step": step, "images_seen": 2 * step, "seconds": 120.0 * step} for step in (1, 2, 3)]
    (folder / run_folder.STATS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    ask(10)  # 4 minutes up to the checkpoint; what came after it is lost
    limits = {"max_minutes": 10.0, "epochs": 100.0}
    ended = training_runs.TrainingResult(2, 4, 240.0, "max_minutes", "CPU", limits)
    (folder / training_runs.FINISHED).write_text(json.dumps(vars(ended)))
    assert training_runs.train_run(entrant) == ended
    assert training_runs.train_run(enter(pictures, tmp_path, 8)) == ended
    ask(15)
    assert given == [10.0, 6.0, 5.0]


def test_a_recipe_of_so_many_pictures_is_scaled_to_the_minutes(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `infill train --max-minutes` does it; called again, faster or not, the run is the same one."""
    entrant = enter(pictures, tmp_path, 0.5, "train.images=100", "train.generator.decay_images=50")
    for seconds in (6.0, 1.0):  # a step, for two pictures
        monkeypatch.setattr(dry_run, "_time_step", lambda *_, seconds=seconds: seconds)
        ended = training_runs.train_run(entrant)
        assert (ended.images_seen, ended.ended_by) == (10, "images")
    saved = configs.read_config(entrant.folder / run_folder.CONFIG).train
    assert (saved.images, saved.generator.decay_images) == (9, 4)  # nine tenths of 30 s, at 3 s a picture


def test_one_row_that_fails_stops_no_other(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infilling.errors import InfillingError

    def fail(config: object, out: object, report: object) -> None:
        raise InfillingError("step 3 gave Loss_D = nan")

    monkeypatch.setattr(training_runs, "train", fail)
    learning = TrainingSettings((str(pictures),), 5, "cpu", SMALL[:4])
    jury = EvaluationSettings((str(pictures),), count=2, threads=1)
    board = make_leaderboard([REFERENCE], learning, jury, tmp_path, engines=["mean"], holes=["center"])
    assert [entry.name for entry in board.entries] == ["mean", "reference"]
    assert any("training failed: step 3 gave Loss_D = nan" in note for note in board.notes)
    assert "| reference | reference |" in (tmp_path / "leaderboard.md").read_text()


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ([REFERENCE, REFERENCE], {}, "two rows are called reference: write NAME=FILE"),
        ([f"telea={REFERENCE}"], {}, "two rows are called telea"),
        ([f"a/b={REFERENCE}"], {}, "a row cannot be called 'a/b'"),
        ([REFERENCE], {"overrides": ("refrence:train.batch=2",)}, "the rows are reference"),
        ([REFERENCE], {"overrides": ("train.bach=2",)}, "did you mean batch"),
        ([REFERENCE], {"minutes": 0}, "minutes must be more than 0"),
        ([REFERENCE], {"holes": ["block", "block"]}, "each once"),
        ([REFERENCE], {"scenes": "nobody"}, "no row 'nobody' to rank scenes by"),
        (["default"], {}, "features.path"),
        ([], {"engines": []}, "nothing to judge"),
    ],
)
def test_a_mistake_is_found_before_anything_is_trained(
    files, options, message, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_runs, "train", lambda *args, **options: pytest.fail("it began to train"))
    learning = TrainingSettings(
        (str(pictures),), options.get("minutes", 1), "cpu", (*SMALL[:2], *options.get("overrides", ()))
    )
    if files == ["default"]:
        learning = TrainingSettings((str(pictures),), 1, "cpu")
    rest = {key: options[key] for key in ("holes", "scenes", "engines") if key in options}
    with pytest.raises(ConfigError, match=message) as caught:
        make_leaderboard(
            files,
            learning,
            EvaluationSettings((str(pictures),), count=1),
            tmp_path,
            **{"engines": ["telea"], "holes": ["center"]} | rest,
        )
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_what_it_wrote(
    infill: Callable, made: tuple[Leaderboard, Path], pictures: Path
) -> None:
    out = made[1]
    sets = [part for key in (*SMALL, f'data.cache="{out.parent / "cache"}"') for part in ("--set", key)]
    rows = [REFERENCE, f"no-ring={REFERENCE}", f"centered={CENTER}"]
    engines = ["--engine", "mean", "--engine", "telea", "--holes", "center", "--holes", "freeform"]
    ran = infill(
        *("leaderboard", *rows, "--data", pictures, "--judge", pictures, "--minutes", 5, "--out", out),
        *(*sets, *engines, "--count", 4, "--threads", 1, "--device", "cpu"),
    )
    assert ran.code == 0, ran.err
    assert ran.lines == [str(out / "leaderboard.html"), str(out / "leaderboard.md")]
    assert "reference: 2 steps, 4 pictures, ended by steps" in ran.err
    assert infill("leaderboard", "--help").code == 0
