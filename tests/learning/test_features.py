"""Feature networks against known pictures and plain convolutions; the perceptual distance by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from infilling.errors import InputError, ModelError
from infilling.learning import features
from infilling.learning.weights_file import read_tensors


@pytest.fixture(scope="module")
def path(data_dir: Path) -> Path:
    return data_dir / "features" / "squeezenet.safetensors"


@pytest.fixture(scope="module")
def network(path: Path) -> features.SqueezeNet:
    network = features.load_features(path)
    assert isinstance(network, features.SqueezeNet)
    return network


@pytest.fixture(scope="module")
def lite_path(data_dir: Path) -> Path:
    return data_dir / "features" / "efficientnet_lite1.safetensors"


@pytest.fixture(scope="module")
def lite(lite_path: Path) -> features.FeatureNetwork:
    return features.load_features(lite_path)


def square(picture: np.ndarray, side: int) -> torch.Tensor:
    image = Image.fromarray(picture)
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    image = image.crop((left, top, left + short, top + short)).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize(
    ("picture", "classes", "share"),
    [
        (skimage.data.cat, [281, 282, 283, 284, 285], 0.8),  # tabby, tiger, Persian, Siamese, Egyptian cat
        (skimage.data.coffee, [504, 967, 968], 0.8),  # mug, espresso, cup
        (
            skimage.data.rocket,
            [657, 744, 812],
            0.1,
        ),  # missile, projectile, space shuttle; the pole comes first
    ],
)
def test_known_pictures_are_recognised(
    network: features.SqueezeNet, picture: Callable[[], np.ndarray], classes: list[int], share: float
) -> None:
    with torch.no_grad():
        chances = network(square(picture(), 227)).softmax(1)[0]
    assert chances.sum().item() == pytest.approx(1, abs=1e-4)
    assert chances[classes].sum().item() > share
    assert set(chances.topk(3).indices.tolist()) & set(classes)


def test_red_and_blue_are_not_swapped(network: features.SqueezeNet) -> None:
    """With the channels the wrong way round the cup of coffee is recognised far less surely."""
    image = square(skimage.data.coffee(), 227)
    with torch.no_grad():
        right, swapped = (network(x).softmax(1)[0, [504, 967, 968]].sum() for x in (image, image.flip(1)))
    assert right > swapped + 0.05


def test_layers_equal_a_chain_written_out(network: features.SqueezeNet, path: Path) -> None:
    weights = {name: tensor.float() for name, tensor in load_file(path).items()}

    def convolve(x: torch.Tensor, name: str, **options: int) -> torch.Tensor:
        return torch.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **options).relu()

    image = torch.rand(2, 3, 50, 45, generator=torch.Generator().manual_seed(0))
    mean = torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1)
    x = convolve((image * 255 - mean)[:, [2, 1, 0]], "conv1", stride=2)
    expected = {"conv1": x}
    for number in range(2, 10):
        if number in (2, 5, 9):
            x = torch.nn.MaxPool2d(3, 2, ceil_mode=True)(x)
        x = convolve(x, f"fire{number}.squeeze")
        wide = convolve(x, f"fire{number}.expand3x3", padding=1)
        expected[f"fire{number}"] = x = torch.cat([convolve(x, f"fire{number}.expand1x1"), wide], 1)
    found = network.layers(image)
    assert tuple(found) == features.LAYERS
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-2)


def test_only_what_was_asked_for(network: features.SqueezeNet) -> None:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    some = network.layers(image, ("fire4", "conv1"))
    assert list(some) == ["conv1", "fire4"]
    torch.testing.assert_close(some["fire4"], network.layers(image)["fire4"])
    with pytest.raises(ValueError, match="fire10"):
        network.layers(image, ("fire10",))
    with pytest.raises(InputError, match="40×31"):
        network.layers(torch.zeros(1, 3, 31, 40))


def test_smallest_side_gives_every_layer(network: features.SqueezeNet) -> None:
    for value in network.layers(torch.zeros(1, 3, features.SMALLEST_SIDE, features.SMALLEST_SIDE)).values():
        assert min(value.shape) > 0


def test_gradient_reaches_the_picture_only(network: features.SqueezeNet) -> None:
    image = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(2), requires_grad=True)
    target = network.layers(image.detach().flip(3), features.PERCEPTUAL_LAYERS)
    features.perceptual_distance(network.layers(image, features.PERCEPTUAL_LAYERS), target).sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert (image.grad.abs().sum((1, 2, 3)) > 0).all()
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_gradient_is_finite_where_all_features_are_zero() -> None:
    silent = torch.zeros(1, 4, 2, 2, requires_grad=True)
    loud = torch.ones(1, 4, 2, 2)
    features.perceptual_distance({"conv1": silent}, {"conv1": loud}, ("conv1",)).sum().backward()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()


def test_distance_by_hand() -> None:
    """Unit vectors (1, 0) and (0.6, 0.8): 0.16 + 0.64 = 0.8 at one of two places, 0 at the other."""
    a = {"conv1": torch.tensor([[[[5.0, 2.0]], [[0.0, 2.0]]]]), "fire4": torch.tensor([[[[1.0]], [[0.0]]]])}
    b = {"conv1": torch.tensor([[[[3.0, 7.0]], [[4.0, 7.0]]]]), "fire4": torch.tensor([[[[0.0]], [[9.0]]]])}
    assert features.perceptual_distance(a, b, ("conv1",)).tolist() == pytest.approx([0.4])
    assert features.perceptual_distance(a, b, ("conv1", "fire4")).tolist() == pytest.approx([2.4])
    left = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    assert features.perceptual_distance(a, b, ("conv1",), left).tolist() == pytest.approx([0.8])
    assert features.perceptual_distance(a, b, ("conv1",), left.flip(3)).tolist() == pytest.approx([0.0])
    assert features.perceptual_distance(a, b, ("conv1",), left * 0).tolist() == [0.0]


def test_distance_knows_closer_from_farther(network: features.SqueezeNet) -> None:
    image = square(skimage.data.astronaut(), 128)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(3))
    versions = torch.cat([image, (image + 0.02 * noise).clip(0, 1), (image + 0.1 * noise).clip(0, 1)])
    found = {
        name: value.split([1, 3]) for name, value in network.layers(torch.cat([image, versions])).items()
    }
    target = {name: value[0] for name, value in found.items()}
    same, near, far = features.perceptual_distance({name: value[1] for name, value in found.items()}, target)
    assert same == 0
    assert 0 < near < far


def test_files_that_hold_no_squeezenet(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        features.load_features(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="not a regular file"):
        features.load_features(tmp_path)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot read the weights"):
        features.load_features(broken)
    tensors = load_file(path)
    for change, words in (
        ({"conv1.bias": torch.zeros(64)}, r"'conv1\.bias' has shape \(64,\), not \(96,\)"),
        ({"extra": torch.zeros(1)}, "'extra' is unknown to the network"),
    ):
        save_file(tensors | change, broken)
        with pytest.raises(ModelError, match=words) as caught:
            features.load_features(broken)
        assert "\n" not in str(caught.value)
    save_file({name: tensor for name, tensor in tensors.items() if name != "fire9.squeeze.weight"}, broken)
    with pytest.raises(ModelError, match=r"'fire9\.squeeze\.weight' is not in the file"):
        features.load_features(broken)


def test_lite_recognises_known_pictures(lite: features.FeatureNetwork) -> None:
    for picture, classes in ((skimage.data.cat, [281, 282, 285]), (skimage.data.coffee, [504, 967, 968])):
        with torch.no_grad():
            chances = lite(square(picture(), 240)).softmax(1)[0]
        assert chances[classes].sum().item() > 0.6
        assert int(chances.argmax()) in classes


def test_lite_layers_equal_a_chain_written_out(lite: features.FeatureNetwork, lite_path: Path) -> None:
    """Padding computed pixel by pixel as TensorFlow defines it: windows start at stride·i − total // 2."""
    weights = {name: tensor.float() for name, tensor in load_file(lite_path).items()}

    def convolve(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        side, groups = weight.shape[-1], x.shape[1] // weight.shape[1]
        height, width = (-(-length // stride) for length in x.shape[-2:])
        before = [
            max((n - 1) * stride + side - m, 0) // 2
            for n, m in zip((height, width), x.shape[-2:], strict=True)
        ]
        big = torch.nn.functional.pad(x, (before[1], side, before[0], side))
        out = torch.conv2d(big, weight, bias, stride=stride, groups=groups)
        return out[..., :height, :width]

    image = torch.rand(1, 3, 53, 46, generator=torch.Generator().manual_seed(0))
    x = convolve((image * 255 - 127) / 128, "stem", 2).clamp(0, 6)
    x = convolve(convolve(x, "blocks.0.depthwise").clamp(0, 6), "blocks.0.project")
    expected = {"stride2": x}
    for index in range(1, 7):
        y = convolve(x, f"blocks.{index}.expand").clamp(0, 6)
        y = convolve(y, f"blocks.{index}.depthwise", 2 if index in (1, 4) else 1).clamp(0, 6)
        y = convolve(y, f"blocks.{index}.project")
        x = x + y if index in (2, 3, 5, 6) else y
        expected |= {"stride4": x} if index == 3 else {"stride8": x} if index == 6 else {}
    found = lite.layers(image, lite.names)
    assert list(found) == list(features.LITE_LAYERS)
    assert [layer.shape[1] for layer in found.values()] == list(features.LITE_LAYERS.values())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)


def test_lite_computes_in_float32_under_autocast(lite: features.FeatureNetwork) -> None:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4), requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = lite.layers(image, ("stride16",))["stride16"]
    assert found.dtype == torch.float32
    found.sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in lite.parameters())


def test_files_that_hold_no_lite(lite_path: Path, tmp_path: Path) -> None:
    tensors, broken = load_file(lite_path), tmp_path / "broken.safetensors"
    strides = json.loads(read_tensors(lite_path)[1]["blocks"])
    for blocks, words in (
        (None, "is not EfficientNet-Lite: KeyError"),
        (strides[:-1], "its stages end in"),
        ([{"stride": 1}] * 21, "KeyError"),
    ):
        save_file(tensors, broken, metadata={"blocks": json.dumps(blocks)} if blocks else {})
        with pytest.raises(ModelError, match=words):
            features.load_features(broken)
    save_file(tensors | {"head.bias": torch.zeros(3)}, broken, metadata={"blocks": json.dumps(strides)})
    with pytest.raises(ModelError, match=r"'head\.bias' has shape \(3,\), not \(1280,\)"):
        features.load_features(broken)
