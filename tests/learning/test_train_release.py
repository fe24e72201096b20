"""The script that trains the default model: both its runs, with a narrow network on drawn pictures."""

from pathlib import Path
from types import ModuleType

import pytest
from tests.helpers import load_script

from infilling.learning import checkpoint

NARROW = (
    "system.widths=[8, 16, 24]",
    "system.deep_widths=[16]",
    "system.depth=1",
    "system.fine_width=8",
    "system.critic_width=8",
    "data.image_size=64",
    "data.prepared_size=64",
    "holes.pool=0",
    "train.batch=2",
    "train.samples=1",
    "data.validation_share=0.2",
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("examples/train_release.py")


@pytest.mark.slow
def test_both_runs_train_and_the_second_starts_from_the_first(
    script: ModuleType, drawn: Path, data_dir: Path, tmp_path: Path
) -> None:
    features = data_dir / "features" / "efficientnet_lite1.safetensors"
    arguments = ["--scenes", drawn, "--photos", drawn, "--features", features, "--out", tmp_path]
    settings = [part for each in (*NARROW, f"data.cache={tmp_path}") for part in ("--set", each)]
    model = script.main([*map(str, arguments), "--images", "20", *settings])
    assert model == tmp_path / "detail" / "model.onnx"
    assert model.is_file()
    assert (tmp_path / "scenes" / "fidelity.onnx").is_file()
    scenes, detail = (checkpoint.read_weights(tmp_path / name) for name in ("scenes", "detail"))
    assert (scenes.images_seen, detail.images_seen) == (20, 2)
    assert detail.config.system.adversary_start_images == 0
    assert detail.config.start.weights == str(tmp_path / "scenes")


def test_a_gpu_gets_graphs_and_one_config_rules_both_runs(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    folders = ["--scenes", "a", "--photos", "b", "--features", "f", "--out", str(tmp_path)]
    options = script.parse_arguments([*folders, "--images", "4000000"])
    runs = dict(script.list_runs(options))
    assert all(config.train.graphs and config.train.compile for config in runs.values())
    assert [config.train.images for config in runs.values()] == [4_000_000, 400_000]
    assert runs["scenes"].data.half_size_images > 0
    assert (runs["detail"].data.image_size, runs["detail"].data.half_size_images) == (256, 0)
