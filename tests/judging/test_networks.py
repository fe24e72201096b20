"""LPIPS against torchmetrics, Inception-v3 against its published size, and files that hold something else."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics.functional.image.lpips as outside
from safetensors.torch import save_file

from infilling.errors import DataError, ModelError
from infilling.judging import networks
from infilling.judging.inception import Inception
from infilling.judging.metrics import METRICS
from infilling.learning import features

LIN = Path(outside.__file__).parent / "lpips_models"


def pictures(count: int, side: int = 40) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def distance(name: str, embed: networks.Embed, a: np.ndarray, b: np.ndarray) -> float:
    return METRICS[name].compute(METRICS[name].update(embed(a).maps, embed(b).maps, None))


def test_squeezenet_distance_is_the_loss_that_training_uses(data_dir: Path) -> None:
    path = data_dir / "features" / "squeezenet.safetensors"
    a, b = pictures(2), pictures(2)[::-1].copy()
    network = features.load_features(path)
    tensors = [torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255 for array in (a, b)]
    expected = features.perceptual_distance(*(network.layers(tensor) for tensor in tensors))
    embed = networks.open_feature_network("squeezenet", [path])
    assert distance("lpips_like", embed, a, b) == pytest.approx(expected.mean().item(), rel=1e-4)
    seen = embed(a)
    assert seen.vectors is not None
    pooled = network.layers(tensors[0], ("fire9",))["fire9"].mean((2, 3))
    np.testing.assert_allclose(seen.vectors, pooled, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("net", "make"), [("alex", networks.alexnet), ("vgg", networks.vgg16)])
def test_lpips_equals_torchmetrics(
    net: str, make: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same random backbone on both sides, and the published linear weights that torchmetrics carries."""
    assert callable(make)
    torch.manual_seed(0)
    backbone = make()
    file = tmp_path / "backbone.safetensors"
    save_file({f"features.{name}": value for name, value in backbone.state_dict().items()}, file)
    monkeypatch.setattr(outside, "_get_tv_model_features", lambda *_: backbone)
    judge = outside._LPIPS(net=net)
    a, b = pictures(2), pictures(2)[::-1].copy()
    tensors = [torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255 for array in (a, b)]
    expected = judge(*tensors, normalize=True).mean().item()
    assert expected > 1e-3
    found = distance("lpips", networks.open_feature_network("lpips", [file, LIN / f"{net}.pth"]), a, b)
    assert found == pytest.approx(expected, rel=1e-4)


def test_lpips_without_its_linear_weights_or_with_others(tmp_path: Path) -> None:
    file = tmp_path / "alexnet.safetensors"
    tensors = {f"features.{name}": value for name, value in networks.alexnet().state_dict().items()}
    save_file(tensors, file)
    with pytest.raises(
        ModelError, match=r"not those of LPIPS with AlexNet: 'lin0\.model\.1\.weight' is not in the file"
    ):
        networks.open_feature_network("lpips", [file])
    with pytest.raises(ModelError, match=r"'features\.0\.(bias|weight)' is not in the file"):
        networks.open_feature_network("lpips", [LIN / "alex.pth"])
    with pytest.raises(ModelError, match=r"'lin1\.model\.1\.weight' has shape \(1, 128, 1, 1\)"):
        networks.open_feature_network("lpips", [file, LIN / "vgg.pth"])
    small = networks.open_feature_network("lpips", [file, LIN / "alex.pth"])
    with pytest.raises(DataError, match="at least 32"):
        small(pictures(1, 31))
    save_file(tensors | {"features.3.weight": torch.zeros(1)}, file)
    with pytest.raises(ModelError, match=r"'features\.3\.weight' has shape \(1,\), not \(192, 64, 5, 5\)"):
        networks.open_feature_network("lpips", [file, LIN / "alex.pth"])


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(Inception().state_dict() | {"fc.weight": torch.zeros(1008, 2048)}, file)
    return file


def test_inception_is_the_published_one() -> None:
    """21,785,568 parameters without the head, 94 convolutions, and the names of the converted release."""
    network = Inception()
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_785_568
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert sum(name.endswith("conv.weight") for name in shapes) == 94
    for name, shape in {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
        "Mixed_5d.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_6a.branch3x3dbl_3.conv.weight": (96, 96, 3, 3),
        "Mixed_6b.branch7x7dbl_2.conv.weight": (128, 128, 7, 1),
        "Mixed_6e.branch7x7_2.conv.weight": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7b.branch3x3_2b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch3x3dbl_1.conv.weight": (448, 2048, 1, 1),
        "Mixed_7c.branch_pool.bn.running_var": (192,),
    }.items():
        assert shapes[name] == shape


def test_inception_sees_pictures_of_any_size(inception_file: Path) -> None:
    embed = networks.open_feature_network("inception", [inception_file])
    seen = embed(pictures(1, 40))
    assert seen.maps == ()
    assert seen.vectors is not None
    assert seen.vectors.shape == (1, 2048)
    assert np.isfinite(seen.vectors).all()
    assert seen.vectors.std() > 0


def test_files_that_are_no_weights(inception_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        networks.open_feature_network("inception", [tmp_path / "none.pth"])
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights at all")
        with pytest.raises(ModelError, match="cannot read the weights") as caught:
            networks.open_feature_network("inception", [tmp_path / name])
        assert "\n" not in str(caught.value)
    torch.save({"epoch": 3}, tmp_path / "state.pth")
    with pytest.raises(ModelError, match="does not hold a state dict"):
        networks.open_feature_network("lpips", [tmp_path / "state.pth"])
    with pytest.raises(ModelError, match=r"AlexNet: 'features\.0\.bias' is not in the file"):
        networks.open_feature_network("lpips", [inception_file])
    with pytest.raises(ModelError, match="one feature file, not 2"):
        networks.open_feature_network("squeezenet", ["a", "b"])


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]

    torch.save({"features.0.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ModelError, match="cannot read the weights"):
        networks.open_feature_network("lpips", [tmp_path / "trap.pth"])
    assert not (tmp_path / "sprung").exists()


def test_the_second_network_is_recognised_and_compares_its_stages(data_dir: Path) -> None:
    """Distances of unit vectors at four strides, as `perceptual_distance` computes them."""
    files = [data_dir / "features" / f"{name}.safetensors" for name in ("efficientnet_lite1", "squeezenet")]
    kinds = networks.recognise_features(files)
    assert kinds == {"efficientnet": (str(files[0]),), "squeezenet": (str(files[1]),)}
    a, b = pictures(2, 64), pictures(2, 64)[::-1].copy()
    network = features.load_features(files[0])
    tensors = [torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255 for array in (a, b)]
    layers = ("stride2", "stride4", "stride8", "stride16")
    seen = [network.layers(tensor, layers) for tensor in tensors]
    expected = features.perceptual_distance(*seen, layers)
    embed = networks.open_feature_network("efficientnet", kinds["efficientnet"])
    assert distance("lpips_lite", embed, a, b) == pytest.approx(expected.mean().item(), rel=1e-4)
    with pytest.raises(ModelError, match=r"both .*lite1.* and .*lite1.* hold EfficientNet-Lite: give one"):
        networks.recognise_features([files[0], files[0]])
    with pytest.raises(ModelError, match="is EfficientNet-Lite; this needs SqueezeNet"):
        networks.open_feature_network("squeezenet", [files[0]])
