"""The reference system against the tables and the training step of the report."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from infilling.learning import config
from infilling.learning.device import choose_place
from infilling.learning.learner import Learner
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.systems import build_system
from infilling.learning.systems.reference import Discriminator, Generator, Reference, Settings

# kind, inputs, outputs, kernel, stride, padding, bias, side after; or kind, argument, side after
GENERATOR = """
Conv2d 3 64 4 2 1 False 64
LeakyReLU 0.2 64
Conv2d 64 64 4 2 1 False 32
BatchNorm2d 64 32
LeakyReLU 0.2 32
Conv2d 64 128 4 2 1 False 16
BatchNorm2d 128 16
LeakyReLU 0.2 16
Conv2d 128 256 4 2 1 False 8
BatchNorm2d 256 8
LeakyReLU 0.2 8
Conv2d 256 512 4 2 1 False 4
BatchNorm2d 512 4
LeakyReLU 0.2 4
Conv2d 512 2048 4 1 0 False 1
BatchNorm2d 2048 1
LeakyReLU 0.2 1
ConvTranspose2d 2048 512 4 1 0 False 4
BatchNorm2d 512 4
ReLU 4
Dropout 0.2 4
ConvTranspose2d 1024 256 4 2 1 False 8
BatchNorm2d 256 8
ReLU 8
ConvTranspose2d 512 128 4 2 1 False 16
BatchNorm2d 128 16
ReLU 16
ConvTranspose2d 256 64 4 2 1 False 32
BatchNorm2d 64 32
ReLU 32
ConvTranspose2d 128 3 4 2 1 False 64
Tanh 64
"""
DISCRIMINATOR = """
Conv2d 3 64 4 2 1 False 32
LeakyReLU 0.2 32
Conv2d 64 128 4 2 1 False 16
BatchNorm2d 128 16
LeakyReLU 0.2 16
Dropout2d 0.25 16
Conv2d 128 16 1 1 0 True 16
Conv2d 128 16 1 1 0 True 16
Conv2d 128 128 1 1 0 True 16
Conv2d 128 256 4 2 1 False 8
BatchNorm2d 256 8
LeakyReLU 0.2 8
Conv2d 256 512 4 2 1 False 4
BatchNorm2d 512 4
LeakyReLU 0.2 4
Conv2d 512 1 4 1 0 False 1
"""


def describe(layer: nn.Module, output: Tensor) -> str:
    """One line of the tables above."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    words: list[object] = [
        next((kind.__name__ for kind in kinds if isinstance(layer, kind)), type(layer).__name__)
    ]
    if isinstance(layer, kinds):
        words += [
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size[0],
            layer.stride[0],
            layer.padding[0],
        ]
        words.append(layer.bias is not None)
        assert len({layer.kernel_size, layer.stride, layer.padding}) <= 3
        assert layer.kernel_size[0] == layer.kernel_size[1]
        assert (layer.groups, layer.dilation) == (1, (1, 1))
    elif isinstance(layer, nn.BatchNorm2d):
        words.append(layer.num_features)
    elif isinstance(layer, nn.LeakyReLU):
        words.append(layer.negative_slope)
    elif isinstance(layer, (nn.Dropout, nn.Dropout2d)):
        words.append(layer.p)
    assert output.shape[-1] == output.shape[-2]
    return " ".join(map(str, [*words, output.shape[-1]]))


def trace(network: nn.Module, x: Tensor) -> tuple[list[str], Tensor]:
    """The layers in the order in which they run, and what came out."""
    lines: list[str] = []
    for layer in network.modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda layer, _, output: lines.append(describe(layer, output)))
    with torch.no_grad():
        return lines, network.eval()(x)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_generator_is_the_tables() -> None:
    generator = Generator()
    lines, patch = trace(generator, torch.zeros(1, 3, 128, 128))
    assert lines == GENERATOR.strip().splitlines()
    assert patch.shape == (1, 3, 64, 64)
    assert count(generator) == 41_894_656


def test_the_discriminator_is_the_tables() -> None:
    discriminator = Discriminator()
    lines, probability = trace(discriminator, torch.zeros(2, 3, 64, 64))
    assert lines == DISCRIMINATOR.strip().splitlines()
    assert probability.shape == (2,)
    assert ((probability > 0) & (probability < 1)).all()  # the sigmoid
    assert count(discriminator) == 2_786_209
    assert discriminator.attention.gamma.item() == 0


def test_the_decoder_reads_the_encoder() -> None:
    """Each skip reaches the output: without it, the output changes."""
    torch.manual_seed(0)
    generator, x = Generator(4).eval(), torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        whole = generator(x)
        for decode, skipped in [("dec2", 32), ("dec3", 16), ("dec4", 8), ("dec5", 4)]:
            layer = getattr(generator, decode)

            def without_skip(_: nn.Module, inputs: tuple[Tensor], skipped: int = skipped) -> Tensor:
                upper = inputs[0].shape[1] - skipped
                return torch.cat([inputs[0][:, :upper], torch.zeros_like(inputs[0][:, upper:])], dim=1)

            handle = layer.register_forward_pre_hook(without_skip)
            assert not torch.equal(generator(x), whole)
            handle.remove()
        assert torch.equal(generator(x), whole)


@pytest.fixture
def batch() -> MaskedBatch:
    """Four pictures with a block of 32 to 64 px each."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(4, 1, 128, 128)
    for picture, (top, left, height, width) in zip(
        mask, [(10, 20, 64, 64), (0, 96, 40, 32), (64, 0, 64, 50), (33, 44, 55, 61)], strict=True
    ):
        picture[:, top : top + height, left : left + width] = 1
    return MaskedBatch(torch.rand(4, 3, 128, 128, generator=generator), mask)


@pytest.fixture
def system() -> Reference:
    torch.manual_seed(1)
    return Reference(Settings(width=4))


def test_it_learns_from_the_masked_picture_and_the_true_block(system: Reference, batch: MaskedBatch) -> None:
    seen: list[Tensor] = []
    system.generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    generated = system.generate(batch)
    holes = batch.mask.bool().expand_as(batch.image)
    assert (seen[0][holes] == 0).all()
    torch.testing.assert_close(seen[0][~holes], batch.image[~holes] * 2 - 1)
    block = batch.image[1:2, :, 0:40, 96:128] * 2 - 1
    expected = F.interpolate(block, (64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(generated.target[1:2], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        generated.target[0], batch.image[0, :, 10:74, 20:84] * 2 - 1
    )  # 64 px: as it is


def test_its_losses_by_hand(system: Reference, batch: MaskedBatch) -> None:
    generated = system.generate(batch)
    system.discriminator.eval()  # no dropout: two runs must agree
    real, fake = system.discriminator(generated.target), system.discriminator(generated.filled)
    loss_d, told_d = system.discriminator_loss(batch, generated)
    torch.testing.assert_close(loss_d, -real.log().mean() - (1 - fake).log().mean())
    torch.testing.assert_close(told_d["D(x)"], real.mean())
    torch.testing.assert_close(told_d["D(G(z)) before"], fake.mean())
    weights = torch.full((64, 64), 10.0)
    weights[7:57, 7:57] = 1
    squares = ((generated.filled - generated.target) ** 2 * weights).mean()
    loss_g, told_g = system.generator_loss(batch, generated)
    torch.testing.assert_close(loss_g, 0.01 * -fake.log().mean() + 0.99 * squares)
    torch.testing.assert_close(told_g["Loss_G"], -fake.log().mean())
    torch.testing.assert_close(told_g["reconstruction"], squares)
    torch.testing.assert_close(told_g["D(G(z)) after"], fake.mean())
    absolute = Reference(Settings(width=system.settings.width, reconstruction="l1"))
    absolute.discriminator = system.discriminator
    loss_g, _ = absolute.generator_loss(batch, generated)
    steps = ((generated.filled - generated.target).abs() * weights).mean()
    torch.testing.assert_close(loss_g, 0.01 * -fake.log().mean() + 0.99 * steps)


def test_a_step_is_the_reports_listing(batch: MaskedBatch) -> None:
    """Plain BCE on sigmoids, D first, then G against the new D: the same weights after two steps."""
    settings = config.parse_config(
        {
            "system": {"name": "reference", "width": 4},
            "train": {"batch": 4, "steps": 2, "device": "cpu", "precision": "fp32"},
        }
    )
    torch.manual_seed(5)
    learner = Learner(settings, choose_place(settings.train))
    plain = copy.deepcopy(learner.system)
    assert isinstance(plain, Reference)
    torch.manual_seed(7)
    told = [learner.take_step(batch) for _ in range(2)]
    torch.manual_seed(7)
    generator, discriminator, bce = plain.generator, plain.discriminator, nn.BCELoss()
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    ones, zeros = torch.ones(4), torch.zeros(4)
    for step in range(2):
        filled, target = plain.generate(batch)
        optimizer_d.zero_grad()
        error_real = bce(discriminator(target), ones)
        error_real.backward()
        error_fake = bce(discriminator(filled.detach()), zeros)
        error_fake.backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        output = discriminator(filled)
        reconstruction = (plain.ring * (filled - target) ** 2).mean()
        (0.01 * bce(output, ones) + 0.99 * reconstruction).backward()
        optimizer_g.step()
        torch.testing.assert_close(
            told[step]["Loss_D"], (error_real + error_fake).detach(), atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(told[step]["D(G(z)) after"], output.mean().detach(), atol=1e-5, rtol=1e-4)
    for (name, ours), theirs in zip(
        learner.system.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        # Adam divides by the gradient's size: where that is rounding noise, a step of 2e-4 may turn round.
        difference = (ours.float() - theirs.float()).abs()
        assert difference.max() <= 8.1e-4, name
        assert difference.mean() < 1e-6, name


def test_fill_puts_the_patch_into_the_block(system: Reference, batch: MaskedBatch) -> None:
    system.eval()
    with torch.no_grad():
        filled = system.fill(batch.image, batch.mask)
        patch = system.generator((2 * batch.image - 1) * (1 - batch.mask))
    block = F.interpolate((patch[1:2] + 1) / 2, (40, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(filled[1:2, :, 0:40, 96:128], block, atol=1e-5, rtol=0)
    known = (1 - batch.mask).bool().expand_as(filled)
    assert torch.equal(filled[known], batch.image[known])
    assert ((filled >= 0) & (filled <= 1)).all()


def test_what_is_inside_the_hole_never_matters(system: Reference, batch: MaskedBatch) -> None:
    system.eval()
    other = batch.image * (1 - batch.mask) + batch.mask * torch.rand(4, 3, 128, 128)
    with torch.no_grad():
        assert torch.equal(system.fill(other, batch.mask), system.fill(batch.image, batch.mask))


def test_a_hole_of_another_shape_is_filled_through_its_box(system: Reference, batch: MaskedBatch) -> None:
    system.eval()
    mask = torch.zeros(4, 1, 128, 128)
    mask[:, :, 20:30, 40:90] = mask[:, :, 25:70, 60:64] = 1
    with torch.no_grad():
        filled = system.fill(batch.image, mask)
        patch = system.generator((2 * batch.image - 1) * (1 - mask))
    box = F.interpolate((patch + 1) / 2, (50, 50), mode="bilinear", align_corners=False)
    hole = mask.bool().expand_as(filled)[:, :, 20:70, 40:90]
    torch.testing.assert_close(filled[:, :, 20:70, 40:90][hole], box[hole], atol=1e-5, rtol=0)


def test_it_is_in_the_table() -> None:
    built = build_system(Settings(width=4))
    assert isinstance(built, Reference)
    assert built.name == built.settings.name == "reference"
    assert (built.size_rule.fixed_size, built.size_rule.holes) == (128, "block")
