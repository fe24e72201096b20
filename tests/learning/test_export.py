"""The ONNX file: what it says of itself, what it computes, what is refused."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from infilling.errors import ConfigError, DependencyError, ModelError, StorageError
from infilling.filling import models
from infilling.filling.models import Model
from infilling.learning import checkpoint, export
from infilling.learning.device import choose_place
from infilling.learning.learner import Learner
from infilling.learning.settings import Config
from infilling.pictures.frame import SizeRule
from infilling.version import VERSION

MakeConfig = Callable[..., Config]
Pixels = NDArray[np.float32]


def save(settings: Config, run: Path) -> Path:
    """A run that has taken no step, of weights that all do something and of which no two are the same."""
    torch.manual_seed(0)
    learner = Learner(settings, choose_place(settings.train))
    learner.images_seen = 1234
    with torch.no_grad():
        for buffer in learner.ema.generator.buffers():
            if buffer.is_floating_point():
                buffer.add_(torch.rand_like(buffer))
        for parameter in learner.ema.generator.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    learner.save(run, {})
    return run


def run_model(path: Path, image: Pixels, mask: Pixels) -> Pixels:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    filled: Pixels = session.run(["filled"], {"image": image, "mask": mask})[0]
    return filled


def make_pictures(count: int, height: int, width: int) -> tuple[Pixels, Pixels]:
    rng = np.random.default_rng(7)
    mask = np.zeros((count, 1, height, width), np.float32)
    mask[:, :, 3 : height // 2, 5 : width // 3] = 1
    return rng.random((count, 3, height, width), dtype=np.float32), mask


def test_it_says_what_it_is(make_config: MakeConfig, tmp_path: Path) -> None:
    settings = make_config("data.trained_on=drawn colours", "data.licence=CC0-1.0")
    out = export.export_model(save(settings, tmp_path), tmp_path / "model.onnx")
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    (entry,) = model.metadata_props
    assert entry.key == "infilling"
    assert json.loads(entry.value) == {
        "system": "tiny",
        "size_rule": {"multiple_of": 4, "working_size": None, "fixed_size": None, "holes": "any"},
        "trained_on": "drawn colours",
        "licence": "CC0-1.0",
        "images_seen": 1234,
        "takes_noise": False,
        "taught_by": [],
        "version": VERSION,
    }
    assert [each.name for each in model.graph.input] == ["image", "mask"]
    assert [each.name for each in model.graph.output] == ["filled"]


@pytest.mark.parametrize("size", [(1, 4, 4), (5, 48, 100), (2, 128, 128)])
def test_any_batch_and_size_where_the_system_takes_any(
    make_config: MakeConfig, tmp_path: Path, size: tuple[int, int, int]
) -> None:
    out = export.export_model(save(make_config(), tmp_path), tmp_path / "model.onnx")
    image, mask = make_pictures(*size)
    system, _ = checkpoint.load_system(tmp_path)
    with torch.no_grad():
        expected = system.fill(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(run_model(out, image, mask), expected, atol=1e-5)


def test_the_reference_takes_any_batch_of_any_boxes(make_config: MakeConfig, tmp_path: Path) -> None:
    settings = make_config("system.width=4", "data.image_size=128", name="reference")
    out = export.export_model(save(settings, tmp_path), tmp_path / "model.onnx")
    shape = onnx.load(out).graph.output[0].type.tensor_type.shape.dim
    assert [each.dim_param or each.dim_value for each in shape] == ["batch", 3, 128, 128]
    image, mask = make_pictures(5, 128, 128)
    mask[1], mask[2], mask[3] = 0, 1, 0
    mask[3, :, 127, 127] = 1
    mask[4, :, 100:110, 90:128] = 1  # two parts: their bounding box
    system, _ = checkpoint.load_system(tmp_path)
    with torch.no_grad():
        expected = system.fill(torch.from_numpy(image), torch.from_numpy(mask)).numpy()
    filled = run_model(out, image, mask)
    np.testing.assert_allclose(filled, expected, atol=1e-5)
    assert (filled[1] == image[1]).all()  # nothing to fill


@pytest.mark.parametrize("half", [False, True])
def test_each_weight_is_in_the_file_once(make_config: MakeConfig, tmp_path: Path, half: bool) -> None:
    settings = make_config("system.width=8", "data.image_size=128", name="reference")
    out = export.export_model(save(settings, tmp_path), tmp_path / "model.onnx", half=half)
    system, _ = checkpoint.load_system(tmp_path)
    parameters = {f"system.generator.{name}": each for name, each in system.generator.named_parameters()}
    stored = {each.name.removesuffix(".half"): each for each in onnx.load(out).graph.initializer}
    assert parameters.keys() <= stored.keys()
    size = sum(each.numel() for each in parameters.values()) * (2 if half else 4)
    held = sum(len(onnx.numpy_helper.to_array(each).tobytes()) for each in stored.values())
    assert 0.99 * size < held < 1.05 * size
    assert out.stat().st_size < held + 60_000


def test_half_the_bits_are_half_the_file_and_nearly_the_same(make_config: MakeConfig, tmp_path: Path) -> None:
    settings = make_config("system.width=16", "data.image_size=128", name="reference")
    save(settings, tmp_path)
    full = export.export_model(tmp_path, tmp_path / "full.onnx")
    half = export.export_model(tmp_path, tmp_path / "half.onnx", half=True)
    assert half.stat().st_size < 0.52 * full.stat().st_size
    onnx.checker.check_model(onnx.load(half), full_check=True)
    image, mask = make_pictures(2, 128, 128)
    difference = np.abs(run_model(half, image, mask) - run_model(full, image, mask))
    assert 0 < difference.max() < 5e-3


def test_half_the_bits_may_move_one_value_in_a_thousand_by_more_than_a_level(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    save(make_config("system.width=16"), tmp_path)
    system, _ = checkpoint.load_system(tmp_path)
    data = export.export_model(tmp_path, tmp_path / "half.onnx", half=True).read_bytes()
    export._check_parity(system, data, half=True)
    with torch.no_grad():
        for parameter in system.generator.parameters():
            parameter.add_(0.05)
    with pytest.raises(ModelError, match="tiny: the exported model differs by more than 1/255 in a share of"):
        export._check_parity(system, data, half=True)


def test_a_model_that_freezes_a_size_is_refused_and_not_written(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    save(make_config("system.frozen_size=true"), tmp_path)
    with pytest.raises(
        ModelError, match=r"tiny: the exported model differs from torch by .* on pictures of 96×112"
    ):
        export.export_model(tmp_path, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_missing_package_is_said_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnx" else object())
    with pytest.raises(DependencyError, match=r"exporting needs onnx: pip install .*\[train\]'"):
        export.check_installed()


def test_no_package_beyond_those_of_the_extra_is_needed(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxscript", "onnx_ir", "onnxslim", "torchvision"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises
    run = save(make_config(), tmp_path)
    assert export.export_model(run, tmp_path / "half.onnx", half=True).is_file()


def test_bad_ends_are_one_line(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no checkpoint in "):
        export.export_model(tmp_path / "missing", tmp_path / "model.onnx")
    save(make_config(), tmp_path)
    with pytest.raises(StorageError):
        export.export_model(tmp_path, tmp_path / "missing" / "model.onnx")


UNET = ["system.widths=[8, 16, 24]", "system.depth=1", "system.critic_width=8", "system.perceptual_weight=0"]


@pytest.mark.parametrize("half", [False, True])
def test_what_was_exported_can_be_learned_on_from(
    make_config: MakeConfig, tmp_path: Path, half: bool
) -> None:
    save(make_config(*UNET, name="push-pull-unet"), tmp_path / "run")
    model = export.export_model(tmp_path / "run", tmp_path / "model.onnx", half=half)
    torch.manual_seed(1)
    settings = make_config(*UNET, f'start.weights="{model}"', name="push-pull-unet")
    learner = Learner(settings, choose_place(settings.train))
    first = checkpoint.read_weights(tmp_path / "run").take("ema")
    mine = learner.system.generator.state_dict()
    assert mine.keys() == first.keys()
    for name, values in mine.items():
        torch.testing.assert_close(values, first[name], atol=2**-25, rtol=2**-11 if half else 0)


def test_a_released_model_is_a_start_by_its_name(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(make_config(*UNET, name="push-pull-unet"), tmp_path / "run")
    model = export.export_model(tmp_path / "run", tmp_path / "model.onnx")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    row = Model("a test", "model.onnx", digest, model.stat().st_size, "CC0-1.0", "noise", SizeRule())
    monkeypatch.setitem(models.MODELS, "small", row)
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    assert export.is_exported("small")
    assert not export.is_exported("runs/small")
    name, tensors = export.read_generator("small")
    assert name == "push-pull-unet"
    assert tensors.keys() == checkpoint.read_weights(tmp_path / "run").take("ema").keys()


def test_the_card_names_who_taught(
    make_config: MakeConfig, tmp_path: Path, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The feature network that losses read, also of what the run started from; not one that nothing reads."""
    path = f"features.path='{data_dir / 'features' / 'squeezenet.safetensors'}'"

    def list_teachers(run: str, *settings: str) -> tuple[str, ...]:
        save(make_config(*UNET, *settings, name="push-pull-unet"), tmp_path / run)
        return export._read_onnx(str(export.export_model(tmp_path / run, tmp_path / f"{run}.onnx")))[
            0
        ].taught_by

    taught = (path, "system.perceptual_weight=0.1", "data.image_size=64")
    assert list_teachers("alone", path) == ()
    assert list_teachers("pupil", *taught) == ("squeezenet",)
    assert list_teachers("grandchild", f"start.weights='{tmp_path / 'pupil.onnx'}'") == ("squeezenet",)
    assert export.read_teachers(str(tmp_path / "grandchild")) == ("squeezenet",)
    (tmp_path / "pupil.onnx").unlink()
    assert list_teachers("orphan", f"start.weights='{tmp_path / 'alone'}'") == ()
    assert export.read_teachers(str(tmp_path / "pupil.onnx")) == ()
    assert "are not recorded" in caplog.text


def test_starts_that_are_none(make_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match=r"cannot read weights from .*noise.onnx"):
        export.read_generator(str(tmp_path / "noise.onnx"))
    with pytest.raises(ModelError, match=r"cannot read weights from .*missing.onnx"):
        export.read_generator(str(tmp_path / "missing.onnx"))
    model = export.export_model(save(make_config(), tmp_path / "run"), tmp_path / "tiny.onnx")
    settings = make_config(*UNET, f'start.weights="{model}"', name="push-pull-unet")
    with pytest.raises(ConfigError, match=r"tiny.onnx are of the system tiny, not push-pull-unet"):
        Learner(settings, choose_place(settings.train))
