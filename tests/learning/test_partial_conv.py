"""Partial convolutions against hand-computed windows, the paper's table, and its losses."""

import copy
from pathlib import Path

import pytest
import torch
from tests.learning.tensors import check_hidden, random
from torch import Tensor, nn

from infilling.learning import config, features
from infilling.learning.device import choose_place
from infilling.learning.learner import Learner
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.systems.partial_conv import (
    Generator,
    PartialConv,
    PartialConv2d,
    Settings,
    compare_features,
    correlate,
)


@pytest.fixture
def batch() -> MaskedBatch:
    mask = torch.zeros(2, 1, 32, 48)
    mask[0, :, 5:20, 10:30] = 1
    mask[1, :, 16:, 24:] = 1
    return MaskedBatch(random(2, 3, 32, 48), mask)


def test_renormalisation_and_mask_by_hand() -> None:
    """A window of nine that sees one value of 2: its sum is scaled by 9/1. Where it sees none, all is 0."""
    layer = PartialConv2d([1], 1, 3)
    nn.init.ones_(layer.convolution.weight)
    nn.init.constant_(layer.convolution.bias, 0.5)
    x = torch.full((1, 1, 4, 4), 2.0)
    known = torch.zeros(1, 1, 4, 4)
    known[..., 0, 0] = 1
    filled, updated = layer([x], [known])
    assert filled[0, 0].tolist() == [[18.5, 18.5, 0, 0], [18.5, 18.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert updated[0, 0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    known[..., 0, 1] = 1
    filled, _ = layer([x], [known])
    assert filled[0, 0, 0].tolist() == [18.5, 18.5, 18.5, 0]  # 4 · 9/2 + 0.5, and 2 · 9/1 + 0.5 at the third


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (7, 2)])
def test_equals_windows_computed_one_by_one(kernel: int, stride: int) -> None:
    """Two parts with a mask each, as after a skip connection."""
    torch.manual_seed(0)
    layer = PartialConv2d([2, 3], 4, kernel, stride)
    nn.init.normal_(layer.convolution.bias)
    parts = [random(2, 2, 8, 6, seed=1), random(2, 3, 8, 6, seed=2)]
    known = [(random(2, 1, 8, 6, seed=seed) < 0.2).float() for seed in (3, 4)]
    filled, updated = layer(parts, known)
    x, mask = (
        torch.cat(parts, 1),
        torch.cat([known[0].expand(-1, 2, -1, -1), known[1].expand(-1, 3, -1, -1)], 1),
    )
    half = kernel // 2
    x, mask = (nn.functional.pad(each, (half, half, half, half)) for each in (x, mask))
    for n in range(2):
        for i in range(filled.shape[2]):
            for j in range(filled.shape[3]):
                window = (
                    n,
                    slice(None),
                    slice(i * stride, i * stride + kernel),
                    slice(j * stride, j * stride + kernel),
                )
                seen = mask[window].sum()
                expected = torch.zeros(4)
                if seen > 0:
                    summed = (layer.convolution.weight * (x[window] * mask[window])).sum((1, 2, 3))
                    expected = summed * (5 * kernel**2 / seen) + layer.convolution.bias
                torch.testing.assert_close(filled[n, :, i, j], expected, atol=1e-5, rtol=1e-4)
                assert updated[n, 0, i, j] == (seen > 0)


def test_with_everything_known_it_is_a_convolution_inside_the_border() -> None:
    layer, x = PartialConv2d([3], 5, 3), random(1, 3, 9, 9)
    filled, updated = layer([x], [torch.ones(1, 1, 9, 9)])
    torch.testing.assert_close(filled[..., 1:-1, 1:-1], layer.convolution(x)[..., 1:-1, 1:-1])
    assert updated.all()


def test_the_papers_table() -> None:
    """Its appendix, at 256 px: 7, 5, 5, 3 … kernels; 64 to 512 channels; 3×3 decoders on what skips add."""
    generator, image, mask = Generator(), torch.zeros(1, 3, 256, 256), torch.zeros(1, 1, 256, 256)
    shapes: list[tuple[int, ...]] = []
    for layer in generator.modules():
        if isinstance(layer, PartialConv2d):
            layer.register_forward_hook(  # inputs, kernel, outputs, side
                lambda layer, _, output: shapes.append(
                    (*layer.convolution.weight.shape[1:3], *output[0].shape[1:3])
                )
            )
    with torch.no_grad():
        assert generator.eval()(image, mask).shape == (1, 3, 256, 256)
    down = [(3, 7, 64, 128), (64, 5, 128, 64), (128, 5, 256, 32), (256, 3, 512, 16)]
    down += [(512, 3, 512, side) for side in (8, 4, 2, 1)]
    up = [(1024, 3, 512, side) for side in (2, 4, 8, 16)]
    up += [(768, 3, 256, 32), (384, 3, 128, 64), (192, 3, 64, 128), (67, 3, 3, 256)]
    assert shapes == down + up
    weights = sum(inputs * kernel**2 * outputs + outputs for inputs, kernel, outputs, _ in shapes)
    norms = 2 * sum(outputs for _, _, outputs, _ in shapes[1:-1])  # neither the first nor the last has one
    assert sum(parameter.numel() for parameter in generator.parameters()) == weights + norms == 32_865_236


def test_activations_and_norms_are_the_papers() -> None:
    generator = Generator(4, 5)
    first, *others = generator.encoder
    assert isinstance(first.norm, nn.Identity)
    assert all(isinstance(block.norm, nn.BatchNorm2d) for block in others)
    assert all(isinstance(block.activation, nn.ReLU) for block in generator.encoder)
    *others, last = generator.decoder
    assert isinstance(last.norm, nn.Identity)
    assert isinstance(last.activation, nn.Identity)
    assert all(isinstance(block.norm, nn.BatchNorm2d) for block in others)
    assert {block.activation.negative_slope for block in others} == {0.2}


def test_what_the_hole_hides_does_not_matter(batch: MaskedBatch) -> None:
    torch.manual_seed(0)
    system = PartialConv(Settings(width=4, depth=4)).eval()
    check_hidden(system, batch)


def test_pixel_losses_by_hand(batch: MaskedBatch) -> None:
    """known + 6 hole + 0.1 variation over the steps that touch the hole."""
    system = PartialConv(Settings(width=4, depth=4))
    filled = random(2, 3, 32, 48, seed=9)
    image, hole = batch.image, batch.mask.bool()
    error = (filled - image).abs()
    holes = hole.expand_as(error)
    known_loss, hole_loss = error[~holes].sum() / error.numel(), error[holes].sum() / error.numel()
    result = torch.where(hole, filled, image)
    across = (
        (result[..., 1:] - result[..., :-1])
        .abs()[(hole[..., 1:] | hole[..., :-1]).expand(2, 3, 32, 47)]
        .mean()
    )
    down = (result[..., 1:, :] - result[..., :-1, :]).abs()
    down = down[(hole[..., 1:, :] | hole[..., :-1, :]).expand_as(down)].mean()
    loss, told = system.generator_loss(batch, filled)
    torch.testing.assert_close(loss, known_loss + 6 * hole_loss + 0.1 * (across + down))
    torch.testing.assert_close(told["reconstruction"], known_loss + 6 * hole_loss)
    assert "style" not in told


def test_correlation_by_hand() -> None:
    """Two channels at three places: (1, 2, 3) and (0, 1, −1); sums of products over C·H·W = 6."""
    layer = torch.tensor([[[[1.0, 2.0, 3.0]], [[0.0, 1.0, -1.0]]]])
    torch.testing.assert_close(correlate(layer), torch.tensor([[[14.0, -1.0], [-1.0, 2.0]]]) / 6)


class Doubled(nn.Module):
    """A feature network whose one layer is twice the picture's first channel."""

    def layers(self, image: Tensor, _names: object) -> dict[str, Tensor]:
        return {"conv1": 2 * image[:, :1]}


def test_feature_losses_by_hand() -> None:
    """The target's layer is 1 everywhere, and so is its mean; 0.75 gives a layer of 1.5, 0.25 one of 0.5."""
    target, filled, result = (torch.full((1, 3, 2, 2), value) for value in (0.5, 0.75, 0.25))
    perceptual, style = compare_features(Doubled(), filled, result, target)  # type: ignore[arg-type]
    assert perceptual.item() == pytest.approx(0.5 + 0.5)
    assert style.item() == pytest.approx((1.5**2 - 1) + (1 - 0.5**2))  # one channel: the mean square
    doubled = compare_features(Doubled(), 2 * filled, 2 * result, 2 * target)  # type: ignore[arg-type]
    torch.testing.assert_close(torch.stack(doubled), torch.stack([perceptual, style]))


def test_feature_losses_join_in_when_a_network_is_given(batch: MaskedBatch, data_dir: Path) -> None:
    torch.manual_seed(0)
    system = PartialConv(Settings(width=4, depth=4))
    generated = system.generate(batch)
    plain, _ = system.generator_loss(batch, generated)
    system.features = features.load_features(data_dir / "features" / "squeezenet.safetensors")
    loss, told = system.generator_loss(batch, generated)
    torch.testing.assert_close(loss, plain + 0.05 * told["perceptual"] + 120 * told["style"])
    assert told["perceptual"] > 0
    assert told["style"] > 0
    perfect = compare_features(system.features, batch.image, batch.image, batch.image)
    assert max(perfect) < 1e-5
    loss.backward()
    assert all(parameter.grad is not None for parameter in system.generator.parameters())
    assert not any(parameter.requires_grad for parameter in system.features.parameters())


def test_frozen_encoder_norms_neither_learn_nor_adapt(batch: MaskedBatch) -> None:
    tree = {
        "system": {"name": "partial-conv", "width": 4, "depth": 4, "freeze_encoder_norm": True},
        "train": {"batch": 2, "steps": 1, "device": "cpu", "precision": "fp32"},
    }
    settings = config.parse_config(tree)
    torch.manual_seed(0)
    learner = Learner(settings, choose_place(settings.train))
    before = copy.deepcopy(learner.system.generator.state_dict())
    learner.take_step(batch)
    changed = {
        name
        for name, value in learner.system.generator.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert not {name for name in changed if name.startswith("encoder") and ".norm." in name}
    assert "encoder.1.convolution.convolution.weight" in changed
    assert "decoder.0.norm.running_mean" in changed
