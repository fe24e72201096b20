"""Figures against ones computed step by step; the same holes for all; failures that stop nothing."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from tests.filling.published import lama
from tests.judging.evaluations import evaluate

from infilling.errors import ConfigError, DataError, InputError, ModelError
from infilling.filling import models
from infilling.filling.contract import find_teachers
from infilling.filling.engine import ENGINES, EngineEntry, open_engine
from infilling.filling.pipeline import fill_picture
from infilling.judging import evaluate as evaluation
from infilling.judging.judge import Judge, make_hole
from infilling.judging.metrics import METRICS, judge
from infilling.judging.report import write_report
from infilling.judging.results import Evaluation, Failure
from infilling.judging.settings import EvaluationSettings
from infilling.pictures import holes
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Picture

PIXELS = [name for name, metric in METRICS.items() if metric.takes == "pixels"]


class Odd:
    """Fills with what it was given; fails on pictures that are bright in the top left corner."""

    name = "odd"
    size_rule = SizeRule()

    def fill(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if image[0, :, 0, 0].mean() > 0.5:
            raise RuntimeError("too\nbright")
        return image.copy()


class Broken(Odd):
    def fill(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        raise RuntimeError("always")


def settings(**changes: object) -> EvaluationSettings:
    return replace(EvaluationSettings(size=32, threads=1), **changes)  # type: ignore[arg-type]


def test_a_name_that_is_not_utf8_is_judged_and_reported(folder: Path, tmp_path: Path) -> None:
    picture = next(folder.rglob("*.*"))
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(picture.read_bytes())
    (tmp_path / os.fsdecode(b"\xfe.png")).write_bytes(b"no picture")
    done = evaluate(tmp_path, engines=["mean"], size=32)
    write_report(done, tmp_path / "report")
    assert b"udcff" in (tmp_path / "report" / "per-image.csv").read_bytes()
    assert b"udcfe" in (tmp_path / "report" / "report.json").read_bytes()


@pytest.fixture(scope="module")
def found(folder: Path) -> Evaluation:
    return evaluate(folder, engines=["mean", "telea"], size=32)


def test_figures_equal_those_computed_step_by_step(folder: Path, found: Evaluation) -> None:
    engine = open_engine("telea")
    values: dict[str, list[float]] = {name: [] for name in PIXELS}
    for path in sorted(folder.rglob("*.png")):
        target = np.asarray(Image.open(path))
        mask = make_hole(settings(), path.relative_to(folder).as_posix())
        result = fill_picture(Picture(target), mask, engine).pixels
        np.testing.assert_array_equal(result[~mask], target[~mask])
        for name in PIXELS:
            values[name].append(judge(name, result, target, mask))
    row = found.rows[1]
    assert (row.engine, row.pictures, row.failures, row.reason) == ("telea", 11, 0, None)
    for name in PIXELS:
        if name in ("gradient_energy", "seam"):
            assert 0 < row.values[name] < 3
        else:
            assert row.values[name] == pytest.approx(np.mean(values[name]), rel=1e-12)
    assert 0 < row.seconds < 1


def test_groups_add_up_to_the_whole(found: Evaluation) -> None:
    for row in found.rows:
        assert list(row.groups) == ["beach", "forest", "street"]
        assert [cell.pictures for cell in row.groups.values()] == [4, 4, 3]
        for cells in (row.bins, row.groups):
            assert sum(cell.pictures for cell in cells.values()) == row.pictures
            for name in ("psnr", "ssim", "hole_mae"):
                whole = sum(cell.pictures * cell.values[name] for cell in cells.values()) / row.pictures
                assert whole == pytest.approx(row.values[name], rel=1e-12)
    for judged in found.judged:
        assert judged.area_bin == holes.area_bin(make_hole(settings(), judged.name))


def test_holes_follow_from_seed_name_size_and_kind_alone(
    folder: Path, found: Evaluation, tmp_path: Path
) -> None:
    """Other engines, fewer pictures, another place: the same holes, so the same figures."""
    (tmp_path / "forest").mkdir()
    for path in (folder / "forest").iterdir():
        (tmp_path / "forest" / path.name).write_bytes(path.read_bytes())
    again = evaluate(tmp_path, engines=["push-pull", "telea"], size=32)
    before = {judged.name: judged.values for judged in found.judged if judged.engine == "telea"}
    after = {judged.name: judged.values for judged in again.judged if judged.engine == "telea"}
    assert len(after) == 4
    assert after == {name: before[name] for name in after}
    hole = make_hole(settings(), "a.png")
    np.testing.assert_array_equal(hole, make_hole(settings(threads=9, networks={"x": ("y",)}), "a.png"))
    for other in (settings(seed=8), settings(holes="freeform")):
        assert (make_hole(other, "a.png") != hole).any()
    assert (make_hole(settings(), "b.png") != hole).any()


def test_fingerprint_tells_whether_evaluations_compare(folder: Path, found: Evaluation) -> None:
    prints = {
        evaluate(folder, engines=["mean"], size=32, **options).settings["fingerprint"]  # type: ignore[arg-type]
        for options in ({"seed": 8}, {"holes": "center"}, {"count": 10}, {"seed": 7}, {"threads": 1})
    }
    assert len(prints) == 4
    assert found.settings["fingerprint"] in prints


def test_processes_change_nothing(folder: Path, found: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of chunks are added in order: the figures are equal to the last bit."""
    monkeypatch.setattr(evaluation, "CHUNK", 4)
    told: list[tuple[int, int]] = []
    one, two = (
        evaluate(folder, engines=["mean", "telea"], size=32, jobs=jobs, report=lambda *now: told.append(now))
        for jobs in (1, 2)
    )
    for a, b in zip(one.rows, two.rows, strict=True):
        assert (a.values, a.bins, a.groups) == (b.values, b.bins, b.groups)
    assert [j.values for j in one.judged] == [j.values for j in two.judged]
    assert one.settings["fingerprint"] == two.settings["fingerprint"] == found.settings["fingerprint"]
    assert told == [(4, 11), (8, 11), (11, 11)] * 2


def test_count_takes_pictures_from_everywhere(folder: Path) -> None:
    names = {judged.name for judged in evaluate(folder, engines=["mean"], size=32, count=3).judged}
    assert names == {"beach/00.png", "beach/09.png", "forest/10.png"}
    assert evaluate(folder, engines=["mean"], size=32, count=99).settings["pictures"] == 11


def test_the_answer_is_hidden_from_engines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that hands back what it sees leaves black holes."""
    monkeypatch.setitem(ENGINES, "odd", EngineEntry("", lambda *_: Odd()))
    found = evaluate(folder, engines=["odd"], size=32)
    for example in found.examples:
        assert (example.results["odd"][example.mask] == 0).all()
        assert (example.results["odd"][~example.mask] == example.target[~example.mask]).all()


def test_failures_are_counted_and_stop_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "odd", EngineEntry("", lambda *_: Odd()))
    monkeypatch.setitem(ENGINES, "broken", EngineEntry("", lambda *_: Broken()))
    found = evaluate(folder, engines=["odd", "broken", "mean"], size=32)
    odd, broken, mean = found.rows
    assert 0 < odd.failures < 11
    assert odd.pictures + odd.failures == 11
    assert (broken.pictures, broken.failures) == (0, 11)
    assert np.isnan(broken.seconds)
    assert broken.reason == "failed on every picture: RuntimeError: always"
    assert mean.pictures == 11
    reasons = {failure.reason for failure in found.failures if failure.engine == "odd"}
    assert reasons == {"RuntimeError: too bright"}
    assert any(f"odd failed on {odd.failures} pictures" in note for note in map(str, found.notes))
    assert all("broken" not in example.results for example in found.examples)
    with pytest.raises(ModelError, match="no engine filled a picture: broken"):
        evaluate(folder, engines=["broken"], size=32)


def test_a_missing_extra_is_a_row_with_a_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "telea", replace(ENGINES["telea"], module="no_such_module"))
    found = evaluate(folder, engines=["telea", "mean"], size=32)
    assert found.rows[0].pictures == 0
    assert "[classical]'" in str(found.rows[0].reason)
    assert found.rows[1].pictures == 11
    with pytest.raises(ModelError, match=r"\[classical\]"):
        evaluate(folder, engines=["telea"], size=32)


def test_pictures_that_cannot_be_read_are_left_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes((folder / "beach" / "00.png").read_bytes())
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    found = evaluate(tmp_path, engines=["mean"], size=32)
    assert [left.name for left in found.left] == ["bad.png"]
    assert found.rows[0].pictures == found.settings["pictures"] == 1
    assert any("pictures could not be read, first bad.png" in note for note in map(str, found.notes))
    (tmp_path / "good.png").unlink()
    with pytest.raises(DataError, match=r"none of 1 pictures can be read: bad\.png"):
        evaluate(tmp_path, engines=["mean"], size=32)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"engines": []}, ConfigError, "no engine to judge"),
        ({"engines": ["teleo"]}, ModelError, "telea"),
        ({"engines": ["nowhere.onnx"]}, ModelError, r"nowhere\.onnx"),
        ({"holes": "blok"}, InputError, "block"),
        ({"jobs": 0}, ConfigError, "jobs must be at least 1, not 0"),
        ({"count": 0}, ConfigError, "count"),
        ({"size": 8}, ConfigError, "size must be at least 16"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"features": "none.safetensors"}, ModelError, r"none\.safetensors"),
    ],
)
def test_bad_options_are_one_line(
    folder: Path, options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        evaluate(folder, **{"engines": ["mean"], "size": 32, **options})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        evaluate(tmp_path, engines=["mean"])
    with pytest.raises(DataError, match="nothing at"):
        evaluate(tmp_path / "none", engines=["mean"])


def test_two_sources_may_share_names(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "beach").mkdir()
    Image.fromarray(np.full((32, 32, 3), 9, np.uint8)).save(tmp_path / "beach" / "00.png")
    found = evaluate([folder, tmp_path], engines=["mean"], size=32)
    names = [judged.name for judged in found.judged]
    assert len(set(names)) == 12
    assert sum(name.endswith("beach/00.png") for name in names) == 2


def test_examples_are_the_best_the_median_and_the_worst(found: Evaluation) -> None:
    ranked = sorted((j for j in found.judged if j.engine == "telea"), key=lambda j: -j.values["hole_psnr"])
    names = [judged.name for judged in ranked]
    shown = {
        title: [e.name for e in found.examples if e.title == title] for title in ("best", "median", "worst")
    }
    assert shown == {"best": names[:3], "median": names[4:7], "worst": names[-3:]}
    for example in found.examples:
        for engine, result in example.results.items():
            again = judge("hole_psnr", result, example.target, example.mask)
            assert again == pytest.approx(example.values[engine], abs=1e-9)


def test_classical_engines_are_judged_without_torch(folder: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.judging.evaluations import evaluate\n"
        f"evaluate({str(folder)!r}, engines=['mean', 'telea'], size=32, count=2, out=Path(sys.argv[1]))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(folder.parent / "report")], check=True)


# ---- network files and runs --------------------------------------------------------------------------------


def test_network_files_get_labels_of_their_own(
    folder: Path, make_network: Callable[..., Path], tmp_path: Path
) -> None:
    grey, run = make_network(tmp_path / "grey.onnx"), make_network(tmp_path / "first" / "model.onnx", 0.2)
    asked = [grey, run, run.parent, "mean", grey, "default"]
    found = evaluate(folder, engines=asked, size=32, count=2)
    labels = [row.engine for row in found.rows]
    assert labels == ["grey", "first", "first (2)", "mean", "grey (2)", "default"]
    assert [row.source for row in found.rows] == list(map(str, asked))
    assert found.rows[1].values == found.rows[2].values != found.rows[0].values
    for example in found.examples:
        assert (example.results["grey"][example.mask] == 128).all()


def test_a_run_is_exported_when_its_model_is_missing_or_old(
    folder: Path, make_network: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infilling.learning import export

    calls: list[Path] = []

    def fake(source: Path, out: Path) -> Path:
        calls.append(source)
        return make_network(out)

    monkeypatch.setattr(export, "export_model", fake)
    run = tmp_path / "run"
    weights = run / "checkpoint" / "step-00000001" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    for expected in (1, 1):  # missing; fresh
        evaluate(folder, engines=[run], size=32, count=1)
        assert len(calls) == expected
    newer = (run / "model.onnx").stat().st_mtime + 10
    os.utime(weights, (newer, newer))
    evaluate(folder, engines=[run], size=32, count=1)
    assert calls == [run, run]
    weights.unlink()
    (run / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"neither model\.onnx nor a checkpoint"):
        evaluate(folder, engines=[run], size=32, count=1)


def test_a_centre_network_has_no_figures_for_other_holes(
    folder: Path, make_network: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_network(tmp_path / "centre.onnx", holes="center")
    for kind, able in (("block", False), ({"center": 1, "block": 1}, False), ("center", True)):
        found = evaluate(folder, engines=[path, "mean"], size=32, holes=kind, count=2)
        row = found.rows[0]
        assert (row.pictures, bool(row.values), row.reason is None) == (2 * able, able, able)
        assert (
            any("no figures for centre: fills the centre only" in note for note in map(str, found.notes))
            != able
        )
    with pytest.raises(ModelError, match=r"no engine filled a picture: centre: .*push-pull.* anywhere"):
        evaluate(folder, engines=[path], size=32, holes="block", count=2)


# ---- feature networks --------------------------------------------------------------------------------------


def test_feature_figures(data_dir: Path) -> None:
    """Per picture and on average as the network's own distance; FID of few pictures is refused with N."""
    import torch

    from infilling.learning import features

    path = data_dir / "features" / "squeezenet.safetensors"
    found = evaluate(
        data_dir / "val.tar", engines=["mean", "telea"], size=48, count=4, features=path, threads=1
    )
    network = features.load_features(path)
    distances = {}
    for example in found.examples:
        for engine, result in example.results.items():
            batch = np.stack([result, example.target]).transpose(0, 3, 1, 2).astype(np.float32) / 255
            a, b = (network.layers(image[None]) for image in torch.from_numpy(batch))
            distances[engine, example.name] = features.perceptual_distance(a, b).item()
    per_picture = {(j.engine, j.name): j.values["lpips_like"] for j in found.judged}
    assert len(distances) >= 4
    assert {key: per_picture[key] for key in distances} == pytest.approx(distances, rel=1e-3)
    for row in found.rows:
        mean = np.mean([value for (engine, _), value in per_picture.items() if engine == row.engine])
        assert row.values["lpips_like"] == pytest.approx(mean, rel=1e-12)
        assert "fid_like" not in row.values
    assert any("fid_like for telea" in note and "here are 4" in note for note in map(str, found.notes))
    assert not any("--features" in note for note in map(str, found.notes))
    assert any("--lpips" in note for note in map(str, found.notes))


@pytest.mark.slow
def test_classical_engines_on_the_validation_set(data_dir: Path, tmp_path: Path) -> None:
    """Telea reaches about 24.8 dB there; all features are present; the report is whole."""
    found = evaluate(
        data_dir / "val.tar",
        engines=["mean", "telea"],
        features=data_dir / "features" / "squeezenet.safetensors",
        count=400,
        jobs=2,
        out=tmp_path,
    )
    mean, telea = found.rows
    assert telea.values["psnr"] == pytest.approx(24.8, abs=0.4)
    assert telea.values["fid_like"] < mean.values["fid_like"]
    assert telea.values["lpips_like"] < mean.values["lpips_like"]
    assert (tmp_path / "report.html").stat().st_size > 100_000


def test_a_judge_says_in_one_line_why_a_fill_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    from infilling.judging.engines import find_engines

    monkeypatch.setitem(ENGINES, "broken", EngineEntry("", lambda *_: Broken()))
    one = Judge(settings(), find_engines(["broken"], settings()))
    target = np.zeros((32, 32, 3), np.uint8)
    assert one.try_fill("broken", "x.png", target, make_hole(settings(), "x.png")) == Failure(
        "broken", "x.png", "RuntimeError: always"
    )


def test_a_network_of_others_is_judged_and_named_by_its_digest(folder: Path, tmp_path: Path) -> None:
    """It fills with the mean of what is known, as `mean` does, and the pipeline fits that in."""
    path = lama(tmp_path / "others.onnx", sides=(32, 32))
    others, mean = evaluate(folder, engines=[path, "mean"], size=32, count=2).rows
    assert (others.engine, others.digest) == ("others", hashlib.sha256(path.read_bytes()).hexdigest())
    assert (others.pictures, others.failures) == (2, 0)
    assert others.values["hole_psnr"] > mean.values["hole_psnr"]


def test_rows_name_the_file_that_filled_and_its_teachers(
    folder: Path, make_network: Callable[..., Path], tmp_path: Path
) -> None:
    """By the card, or by the table where a released file is older than such cards."""
    path = make_network(tmp_path / "grey.onnx")
    model = onnx.load(path)
    card = json.loads(model.metadata_props[0].value) | {"taught_by": ["efficientnet"]}
    onnx.helper.set_model_props(model, {"infilling": json.dumps(card)})
    onnx.save(model, tmp_path / "pupil.onnx")
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(models.find_path(models.MODELS["default"]).read_bytes())
    engines = ["telea", path, tmp_path / "pupil.onnx", "default", copy]
    found = evaluate(folder, engines=engines, size=32, count=1)
    released = models.MODELS["default"]
    assert [row.digest for row in found.rows] == [
        None,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        hashlib.sha256((tmp_path / "pupil.onnx").read_bytes()).hexdigest(),
        released.sha256,
        released.sha256,
    ]
    expected = [(), (), ("efficientnet",), released.taught_by, released.taught_by]
    assert [row.taught_by for row in found.rows] == expected


@pytest.mark.parametrize("name", ["default", "fidelity"])
def test_the_table_of_models_says_of_released_files_what_their_cards_say(name: str) -> None:
    engine = open_engine(name)
    assert models.MODELS[name].taught_by
    if teachers := find_teachers(engine):
        assert models.MODELS[name].taught_by == teachers
