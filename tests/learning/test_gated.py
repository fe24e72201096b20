"""Gated convolution, contextual attention and the patch discriminator against their definitions."""

from itertools import pairwise

import pytest
import torch
from tests.learning.tensors import check_hidden, random
from torch import Tensor, nn
from torch.nn import functional as F

from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.systems.gated import (
    Discriminator,
    Gated,
    GatedConv2d,
    Generator,
    HalvingConv2d,
    Settings,
    attend,
    fuse,
)


@pytest.fixture
def batch() -> MaskedBatch:
    mask = torch.zeros(2, 1, 64, 48)
    mask[0, :, 10:40, 20:40] = 1
    mask[1, :, 40:, :30] = 1
    return MaskedBatch(random(2, 3, 64, 48), mask)


def test_a_gate_by_hand() -> None:
    """Feature 2x, gate 3x − 1: relu(2 · 0.5) · sigmoid(0.5)."""
    layer = GatedConv2d(1, 1, kernel=1, activation=F.relu)
    with torch.no_grad():
        layer.convolution.weight.copy_(torch.tensor([2.0, 3.0]).view(2, 1, 1, 1))
        layer.convolution.bias.copy_(torch.tensor([0.0, -1.0]))
        assert layer(torch.full((1, 1, 1, 1), 0.5)).item() == pytest.approx(0.6224593)
        assert layer(torch.full((1, 1, 1, 1), -0.5)).item() == 0


def test_widths_strides_and_count_are_the_releases() -> None:
    """`inpaint_model.py` with cnum = 48: what is left after the gates, at 64 px; 4,052,478 in all."""
    generator, image, mask = Generator(), torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    shapes: list[tuple[int, ...]] = []
    for layer in generator.modules():
        if isinstance(layer, GatedConv2d):
            layer.register_forward_hook(
                lambda layer, inputs, output: shapes.append(
                    (inputs[0].shape[1], *output.shape[1:3], layer.convolution.dilation[0])
                )
            )
    with torch.no_grad():
        stages = generator.eval()(image, mask)
    assert stages.coarse.shape == stages.fine.shape == (1, 3, 64, 64)
    deep = [(96, 96, 16, dilation) for dilation in (2, 4, 8, 16)]
    large = [(96, 48, 32, 1), (48, 48, 32, 1), (48, 24, 64, 1), (24, 12, 64, 1)]
    coarse = [(5, 24, 64, 1), (24, 48, 32, 1), (48, 48, 32, 1), (48, 96, 16, 1), *[(96, 96, 16, 1)] * 2]
    coarse += [*deep, *[(96, 96, 16, 1)] * 2, *large]
    imagine = [(3, 24, 64, 1), (24, 24, 32, 1), (24, 48, 32, 1), (48, 48, 16, 1), (48, 96, 16, 1)]
    imagine += [(96, 96, 16, 1), *deep]
    look = [(3, 24, 64, 1), (24, 24, 32, 1), (24, 48, 32, 1), (48, 96, 16, 1), *[(96, 96, 16, 1)] * 2]
    look += [(96, 96, 16, 1)] * 2
    join = [(192, 96, 16, 1), (96, 96, 16, 1), *large]
    assert shapes == coarse + imagine + look + join
    assert sum(parameter.numel() for parameter in generator.parameters()) == 4_052_478


def test_the_discriminator_is_the_releases() -> None:
    """Six 5×5 convolutions of stride 2 on picture and mask, all with spectral norm."""
    discriminator = Discriminator()
    assert discriminator(torch.zeros(2, 3, 128, 128), torch.zeros(2, 1, 128, 128)).shape == (2, 256, 2, 2)
    widths = [4, 64, 128, 256, 256, 256, 256]
    expected = sum(25 * a * b + b for a, b in pairwise(widths))
    assert sum(parameter.numel() for parameter in discriminator.parameters()) == expected == 5_946_816


def test_spectral_norm_holds_every_layers_largest_singular_value_at_1() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(4)
    for layer in discriminator.layers:
        if isinstance(layer, nn.Conv2d):
            with torch.no_grad():
                layer.parametrizations.weight.original.mul_(7)
    for _ in range(60):  # one power iteration each
        discriminator(random(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
    discriminator.eval()
    for layer in discriminator.layers:
        if isinstance(layer, nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def attend_slowly(features: Tensor, mask: Tensor) -> Tensor:
    """The release's `contextual_attention`, place by place: scores, fusions, softmax, overlapping paste."""
    results = []
    for picture, holes in zip(features, mask, strict=True):
        _, height, width = holes.shape
        small = picture[None, :, ::2, ::2]
        patches = F.unfold(small, 3, padding=1)[0].T  # (places, C · 9)
        known = F.unfold(holes[None], 3, padding=1)[0].amax(0) == 0
        unit = patches / patches.norm(dim=1, keepdim=True).clamp_min(1e-4)
        scores = (patches @ unit.T).reshape(height, width, height, width)
        for rows_first in (True, False):
            fused = torch.zeros_like(scores)
            order = [(y, x) for y in range(height) for x in range(width)]
            if not rows_first:
                order = [(y, x) for x in range(width) for y in range(height)]
            for i, to in enumerate(order):
                for j, source in enumerate(order):
                    for step in (-1, 0, 1):
                        if 0 <= i + step < len(order) and 0 <= j + step < len(order):
                            fused[*to, *source] += scores[*order[i + step], *order[j + step]]
            scores = fused
        scores = scores.reshape(height * width, -1)
        weights = torch.zeros_like(scores)
        weights[:, known] = (10 * scores[:, known]).softmax(1)
        sources = F.unfold(picture[None], 4, padding=1, stride=2)[0]  # (C · 16, places)
        laid = F.fold((sources @ weights.T)[None], picture.shape[1:], 4, padding=1, stride=2)
        results.append(laid[0] / 4)
    return torch.stack(results)


def test_attention_equals_its_definition() -> None:
    features = random(2, 3, 12, 8) - 0.3
    mask = torch.zeros(2, 1, 6, 4)
    mask[0, :, 1:3, 2:] = 1
    mask[1, :, 5, 0] = 1
    torch.testing.assert_close(attend(features, mask), attend_slowly(features, mask), atol=1e-5, rtol=1e-5)


def test_fusion_favours_neighbours_that_shift_alike() -> None:
    """Three places in a row that each point one to the right add up; a stray one does not."""
    scores = torch.zeros(1, 16, 16)
    for place in (4, 5, 6):  # second row of a 4×4 map
        scores[0, place, place + 1] = 1
    scores[0, 12, 3] = 1
    fused = fuse(scores, 4, 4)[0]
    assert fused[5, 6] == 3
    assert fused[4, 5] == 2
    assert fused[12, 3] == 1


@pytest.mark.parametrize("period", [4, 8])
def test_a_hole_cut_from_a_periodic_texture_is_filled_from_its_copies(period: int) -> None:
    """From a faint and noisy guess in the hole, as the coarse stage gives it, attention makes the texture."""
    tile = torch.randn(1, 16, period, period, generator=torch.Generator().manual_seed(1))
    texture = tile.repeat(1, 1, 48 // period, 48 // period)
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., 8:16, 8:16] = 1
    hole = F.interpolate(mask, scale_factor=2).bool().expand_as(texture)
    guess = torch.where(hole, 0.5 * texture + 0.5 * random(*texture.shape, seed=2), texture)
    filled = attend(guess, mask)
    error = (filled - texture)[hole].square().mean()
    assert error < 1e-3
    assert (guess - texture)[hole].square().mean() > 0.3


def test_attention_copies_nothing_from_the_hole() -> None:
    """Values that exist in the hole alone are found nowhere in the result."""
    features = random(1, 4, 16, 16)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 3:5, 3:5] = 1
    hole = F.interpolate(mask, scale_factor=2).bool().expand_as(features)
    assert attend(torch.where(hole, 1000.0, features), mask).max() <= 1


def test_attention_without_a_known_patch_is_zero_and_has_a_gradient() -> None:
    features = random(1, 4, 8, 8).requires_grad_()
    filled = attend(features, torch.ones(1, 1, 4, 4))
    assert (filled == 0).all()
    (gradient,) = torch.autograd.grad(filled.sum(), features)
    assert gradient.isfinite().all()


def test_features_that_are_all_zero_have_a_gradient() -> None:
    """As behind a relu: at 0 the root of a patch's squared length has none."""
    features = random(1, 4, 16, 16)
    features[..., :8, :8] = 0
    features.requires_grad_()
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 5:7, 5:7] = 1
    (gradient,) = torch.autograd.grad(attend(features, mask).sum(), features)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("side", [1, 2, 5])
def test_a_halving_convolution_is_torchs_and_has_a_gradient_in_bf16(side: int) -> None:
    """The weights that meet nothing but zeros have none; oneDNN gave them what lay in memory."""
    torch.manual_seed(0)
    layer, x = HalvingConv2d(64, 64), random(4, 64, side, side)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias, stride=2, padding=2))
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x.contiguous(memory_format=torch.channels_last))
    found.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.isfinite().all()
    if side == 1:
        border = torch.ones(5, 5, dtype=torch.bool)
        border[2, 2] = False
        assert (layer.weight.grad[..., border] == 0).all()


def test_every_picture_has_its_own_mask(batch: MaskedBatch) -> None:
    torch.manual_seed(0)
    system = Gated(Settings(width=8)).eval()
    with torch.no_grad():
        together = system.fill(batch.image, batch.mask)
        for n in range(2):
            alone = system.fill(batch.image[n : n + 1], batch.mask[n : n + 1])
            torch.testing.assert_close(together[n : n + 1], alone)


def test_what_the_hole_hides_does_not_matter(batch: MaskedBatch) -> None:
    torch.manual_seed(0)
    system = Gated(Settings(width=8)).eval()
    check_hidden(system, batch)


def test_the_second_stage_starts_from_the_first(batch: MaskedBatch) -> None:
    """A picture that is wrong in the first stage changes the second one's."""
    torch.manual_seed(0)
    system = Gated(Settings(width=8)).eval()
    with torch.no_grad():
        before = system.generate(batch)
        system.generator.coarse[-1][-2].bias.add_(1.0)
        after = system.generate(batch)
    assert not torch.equal(before.coarse, after.coarse)
    assert not torch.equal(before.fine, after.fine)


def test_losses_by_hand(batch: MaskedBatch) -> None:
    torch.manual_seed(0)
    system = Gated(Settings(width=8, discriminator_width=4))
    system.discriminator.eval()  # spectral norm moves on with every call in training
    stages = system.generate(batch)
    image, mask = batch.image * 2 - 1, batch.mask
    completed = torch.where(mask.bool(), stages.fine, image)
    real, fake = system.discriminator(image, mask), system.discriminator(completed, mask)
    assert real.shape == (2, 16, 1, 1)
    loss_d, _ = system.discriminator_loss(batch, stages)
    torch.testing.assert_close(loss_d, (1 - real).clamp_min(0).mean() + (1 + fake).clamp_min(0).mean())
    loss_g, told = system.generator_loss(batch, stages)
    distance = (stages.coarse - image).abs().mean() + (stages.fine - image).abs().mean()
    torch.testing.assert_close(loss_g, distance - fake.mean())
    torch.testing.assert_close(told["reconstruction"], distance)
    torch.testing.assert_close(told["Loss_G"], -fake.mean())
