"""The script that averages networks: against the fills of what it averages, and by hand."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from tests.helpers import load_script

from infilling.filling.engine import open_engine
from infilling.learning import export
from infilling.learning.systems.scene_unet import SceneUNet, Settings


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("examples/mix_weights.py")


def test_averages_by_shares_what_only_some_have_too(script: ModuleType) -> None:
    small = {"stem.weight": torch.tensor([2.0])}
    large = {
        "stem.weight": torch.tensor([4.0]),
        "deep.up.weight": torch.tensor([8.0]),
        "deep.down.weight": torch.tensor([5.0]),
    }

    mixed = script.mix_states([0.25, 0.75], [large, small])

    assert {name: value.item() for name, value in mixed.items()} == {
        "stem.weight": 2.5,
        "deep.up.weight": 2.0,  # a quarter of 8: the other one adds nothing there
        "deep.down.weight": 5.0,
    }


def test_a_released_model_alone_stays_what_it_is(script: ModuleType, tmp_path: Path) -> None:
    name, state = export.read_generator("fidelity")
    script.main([str(tmp_path / "same.onnx"), "0.75", "fidelity", "0.25", "fidelity"])

    system, copied = export.read_generator(str(tmp_path / "same.onnx"))

    assert system == name
    assert all(torch.allclose(copied[each], value, atol=1e-3, rtol=1e-3) for each, value in state.items())
    assert export.read_teachers(str(tmp_path / "same.onnx")) == ("squeezenet",)


@pytest.mark.slow
def test_scene_unet_mixed_with_what_it_started_from_fills_as_that(script: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    system = SceneUNet(Settings(perceptual_weight=0)).eval()
    start = export.read_generator("fidelity")[1]
    own = {name: value for name, value in system.generator.state_dict().items() if name not in start}
    for name, value in own.items():
        if not name.startswith(script.ENTRANCES):
            value.add_(0.01 * torch.randn_like(value))  # no two layers are the same, as after training
    system.generator.load_state_dict(own | start)
    path = tmp_path / "scene.onnx"
    path.write_bytes(export.to_onnx(system, script.make_card(system, None, ()), half=True))

    script.main([str(tmp_path / "mixture.onnx"), "0.5", str(path), "0.5", "fidelity"])

    image = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    mask = np.zeros((1, 1, 64, 64), np.float32)
    mask[..., 20:44, 12:40] = 1
    expected = open_engine("fidelity", threads=1).fill(image, mask)
    mixed = open_engine(str(tmp_path / "mixture.onnx"), threads=1).fill(image, mask)
    np.testing.assert_allclose(mixed, expected, atol=2e-3)


def test_refuses_shares_that_are_no_average(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"the shares add up to 0\.9, not 1"):
        script.main([str(tmp_path / "no.onnx"), "0.5", "default", "0.4", "fidelity"])
