"""Configs, overrides and metadata beyond reason are refused in one short line."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from infilling.errors import ConfigError, InfillingError, ModelError
from infilling.learning import systems
from infilling.learning.checkpoint import read_weights
from infilling.learning.config import parse_config, read_config
from infilling.learning.device import choose_place
from infilling.learning.learner import Learner
from infilling.learning.system import SystemSettings

TREE = {"system": {"name": "reference"}, "train": {"steps": 3}}
DEEP = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * DEEP,
        "a = " + "[" * 40 + "]" * 40,
        ".".join(["a"] * DEEP) + " = 1",
        "[" + ".".join(["a"] * DEEP) + "]",
        "a = " + "{a=" * DEEP,
        "a = " + "9" * 10_000,
        "# " + "x" * 2_000_000,
        "a = 2026-13-45",
        "\x00",
    ],
    ids=["lists", "closed lists", "keys", "table", "inline tables", "digits", "size", "date", "null"],
)
def test_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "train.batch=" + "[" * DEEP,
        "train.batch=" + "[" * 40 + "]" * 40,
        ".".join(["a"] * DEEP) + "=1",
        "train.batch=" + "9" * 10_000,
        "train.batch=" + "x" * 2_000_000,
        "system.name=" + "x" * 100_000,
        "system.name=" + "a.b:" * 1000,
    ],
    ids=["lists", "closed lists", "keys", "digits", "size", "name", "module"],
)
def test_overrides(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(TREE, [override])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("train.seed", [-1, 2**63, 1.5]),
        ("train.batch", [0, -1, 10**9]),
        ("train.steps", [0, 10**13]),
        ("train.epochs", [0, -1, 1e9, "inf", "nan"]),
        ("train.max_minutes", [0, "inf", "nan", 1e300]),
        ("train.generator.lr", [0, -1e-3, "inf", "nan", 1e6]),
        ("train.accumulate", [0, 10**9]),
        ("train.samples", [0, 10**9]),
        ("train.grad_clip", [0, "inf"]),
        ("train.keep_checkpoints", [0]),
        ("holes.pool", [-1, 10**9]),
        ("holes.min_area", [-0.1, 1.1, "nan"]),
        ("data.image_size", [0, 10**6]),
        ("data.zoom", [0.5, "inf", 1e9]),
        ("data.validation_share", [-0.1, 1.0]),
        ("data.workers", [0, 10**9]),
        ("data.lanes", [0, 10**9]),
    ],
)
def test_numbers_out_of_their_range(key: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
            parse_config(TREE, [f"{key}={value}"])


@pytest.mark.parametrize(
    "settings",
    [
        "widths=[8]",
        "widths=[8, 8, 8, 8]",
        "widths=[7, 8, 9]",
        "widths=[0, 8, 8]",
        "widths=[-8, 8, 8]",
        "widths=8",
        "widths=[800000, 800000, 800000]",
        "widths=[8000000000000, 8, 8]",
        "depth=1000000000",
        "critic_width=10000000000",
    ],
)
@pytest.mark.parametrize("name", ["push-pull-unet", "scene-unet"])
def test_widths_that_do_not_fit(name: str, settings: str) -> None:

    def make() -> None:
        tree = {"system": {"name": name, "perceptual_weight": 0}, "train": {"steps": 1, "device": "cpu"}}
        config = parse_config(tree, [f"system.{settings}"])
        Learner(config, choose_place(config.train))

    with pytest.raises(ConfigError) as caught:
        make()
    assert len(str(caught.value)) < 400


def test_a_system_too_large_for_any_machine_is_counted_first() -> None:
    settings = parse_config(TREE, ["system.width=65536"]).system
    with pytest.raises(ConfigError, match=r"reference would have [\d,]+ parameters"):
        systems.build_system(settings)


def test_parameters_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same settings; other settings are counted too."""
    made: list[tuple[torch.device, int]] = []

    class Layer(torch.nn.Linear):
        def __init__(self, settings: SystemSettings) -> None:
            super().__init__(3, settings.width)
            made.append((self.weight.device, settings.width))

    settings = [parse_config(TREE, [f"system.width={width}"]).system for width in (4, 4, 5)]
    monkeypatch.setattr(systems, "_find_classes", lambda name: (None, Layer))
    for each in settings:
        systems.build_system(each)
    meta, cpu = torch.device("meta"), torch.device("cpu")
    assert made == [(meta, 4), (cpu, 4), (cpu, 4), (meta, 5), (cpu, 5)]


@pytest.mark.parametrize(
    "config", ["[" * DEEP, "{" * 5, "[]", "7", '{"system": 3}', json.dumps({"system": {"name": "x" * 9999}})]
)
def test_metadata_of_weights(tmp_path: Path, config: str) -> None:
    path = tmp_path / "weights.safetensors"
    metadata = {"config": config, "step": "1", "images_seen": "1"}
    save_file({"generator.a": torch.zeros(1)}, path, metadata)
    with pytest.raises(ModelError, match="cannot read the weights in") as caught:
        read_weights(path)
    assert len(str(caught.value)) < 500


def test_a_step_that_no_checkpoint_has_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "checkpoint" / ("step-" + "9" * 200)).mkdir(parents=True)
    with pytest.raises(InfillingError, match="there is no checkpoint"):
        read_weights(tmp_path)
