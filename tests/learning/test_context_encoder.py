"""The context encoder against its release and the report's theory chapter."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from infilling.errors import ConfigError
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.systems.context_encoder import ContextEncoder, Discriminator, Generator, Settings

# inputs, outputs, kernel, stride, padding, side after: as `train.lua` of the release builds them
GENERATOR = """
3 64 4 2 1 64
64 64 4 2 1 32
64 128 4 2 1 16
128 256 4 2 1 8
256 512 4 2 1 4
512 4000 4 1 0 1
4000 512 4 1 0 4
512 256 4 2 1 8
256 128 4 2 1 16
128 64 4 2 1 32
64 3 4 2 1 64
"""
DISCRIMINATOR = """
3 64 4 2 1 32
64 128 4 2 1 16
128 256 4 2 1 8
256 512 4 2 1 4
512 1 4 1 0 1
"""
PLUM = torch.tensor([117.0, 104.0, 123.0]).view(3, 1, 1) / 127.5 - 1


def trace(network: nn.Module, x: Tensor) -> tuple[list[str], Tensor]:
    lines: list[str] = []

    def describe(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
        assert layer.bias is None
        shape = (
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size[0],
            layer.stride[0],
            layer.padding[0],
        )
        lines.append(" ".join(map(str, [*shape, output.shape[-1]])))

    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(describe)
    with torch.no_grad():
        return lines, network.eval()(x)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def make(**settings: object) -> ContextEncoder:
    """A narrow one, for 64 px."""
    torch.manual_seed(1)
    return ContextEncoder(
        Settings.model_validate({"width": 4, "bottleneck": 16, "image_size": 64, **settings})
    )


@pytest.fixture
def batch() -> MaskedBatch:
    mask = torch.zeros(3, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    return MaskedBatch(torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)), mask)


def test_the_release() -> None:
    """71,112,704 weights and batch norms of 5,920 channels; the release's biases are kept at 0."""
    with torch.device("meta"):  # shapes only: nothing is computed
        generator, discriminator = Generator(Settings()), Discriminator(64)
        picture, region = torch.zeros(1, 3, 128, 128), torch.zeros(2, 3, 64, 64)
    lines, patch = trace(generator, picture)
    assert lines == GENERATOR.strip().splitlines()
    assert patch.shape == (1, 3, 64, 64)
    assert count(generator) == 71_112_704 + 2 * 5_920
    norms = [layer.num_features for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms == [64, 128, 256, 512, 4000, 512, 256, 128, 64]  # none on the first and the last convolution
    lines, logits = trace(discriminator, region)
    assert lines == DISCRIMINATOR.strip().splitlines()
    assert logits.shape == (2,)
    assert count(discriminator) == 2_763_776 + 2 * (128 + 256 + 512)


def test_the_random_region_variant() -> None:
    """`train_random.lua`: one more transposed convolution of 64 channels, one more in the discriminator."""
    with torch.device("meta"):
        system = ContextEncoder(Settings(output="picture", ring=0))
        masked = torch.zeros(1, 3, 128, 128)
    lines, picture = trace(system.generator, masked)
    assert lines[-2:] == ["64 64 4 2 1 64", "64 3 4 2 1 128"]
    assert picture.shape == (1, 3, 128, 128)
    assert count(system.generator) == 71_124_544 + 64 * 64 * 16 + 2 * 64
    assert count(system.discriminator) == 2_765_568 + 64 * 64 * 16 + 2 * 64
    assert system.size_rule.holes == "any"
    assert system.size_rule.fixed_size == 128


@pytest.mark.parametrize(("discriminates", "side"), [("region", 128), ("completed", 256)])
def test_the_theory_chapter(discriminates: str, side: int) -> None:
    """256 px in, the central 128 px out; D sees the region or the completed picture."""
    with torch.device("meta"), torch.no_grad():
        system = ContextEncoder(Settings.model_validate({"image_size": 256, "discriminates": discriminates}))
        assert system.eval().generator(torch.zeros(2, 3, 256, 256)).shape == (2, 3, 128, 128)
        assert system.discriminator(torch.zeros(2, 3, side, side)).shape == (2,)
    assert system.size_rule.holes == "center"
    assert system.size_rule.fixed_size == 256


@pytest.mark.parametrize("slope", [0.2, 0.01])
def test_the_slope_is_the_discriminators(slope: float) -> None:
    system = make(slope=slope)
    slopes = {
        layer.negative_slope for layer in system.discriminator.modules() if isinstance(layer, nn.LeakyReLU)
    }
    assert slopes == {slope}
    slopes = {layer.negative_slope for layer in system.generator.modules() if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {0.2}


def test_the_encoder_sees_the_mean_colour_and_nothing_of_the_hole(batch: MaskedBatch) -> None:
    system = make()
    seen: list[Tensor] = []
    system.generator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    system.generate(batch)
    torch.testing.assert_close(seen[0][..., 16:48, 16:48], PLUM.expand(3, 3, 32, 32))
    frame = ~batch.mask.bool().expand_as(batch.image)
    torch.testing.assert_close(seen[0][frame], batch.image[frame] * 2 - 1)


def test_losses_by_hand_of_the_release(batch: MaskedBatch) -> None:
    system = make()
    filled = system.generate(batch)
    target = batch.image[..., 16:48, 16:48] * 2 - 1
    system.discriminator.eval()  # its batch norm would see two batches apart
    real, fake = system.discriminator(target).sigmoid(), system.discriminator(filled).sigmoid()
    loss_d, told_d = system.discriminator_loss(batch, filled)
    torch.testing.assert_close(loss_d, -real.log().mean() - (1 - fake).log().mean())
    torch.testing.assert_close(told_d["D(x)"], real.mean())
    torch.testing.assert_close(told_d["D(G(z)) before"], fake.mean())
    weights = torch.full((32, 32), 10.0)
    weights[4:28, 4:28] = 1
    squares = (weights * (filled - target) ** 2).mean()
    loss_g, told_g = system.generator_loss(batch, filled)
    torch.testing.assert_close(loss_g, 0.999 * squares + 0.001 * -fake.log().mean())
    torch.testing.assert_close(told_g["reconstruction"], squares)
    torch.testing.assert_close(told_g["Loss_G"], -fake.log().mean())


@pytest.mark.parametrize("adversary", ["non-saturating", "saturating", "hinge"])
def test_losses_by_hand_of_the_theory_chapter(batch: MaskedBatch, adversary: str) -> None:
    """λ · L1 + the adversary, which sees the completed picture."""
    system = make(
        discriminates="completed",
        adversary=adversary,
        reconstruction="l1",
        reconstruction_weight=100.0,
        adversarial_weight=1.0,
        ring=0,
    )
    filled = system.generate(batch)
    image = batch.image * 2 - 1
    completed = image.clone()
    completed[..., 16:48, 16:48] = filled
    system.discriminator.eval()
    real, fake = system.discriminator(image), system.discriminator(completed)
    l1 = F.l1_loss(filled, image[..., 16:48, 16:48])
    expected = {
        "non-saturating": F.binary_cross_entropy(fake.sigmoid(), torch.ones(3)),
        "saturating": (1 - fake.sigmoid()).log().mean(),
        "hinge": -fake.mean(),
    }[adversary]
    torch.testing.assert_close(system.generator_loss(batch, filled)[0], 100 * l1 + expected)
    bce = -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()
    hinge = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    torch.testing.assert_close(
        system.discriminator_loss(batch, filled)[0], hinge if adversary == "hinge" else bce
    )


def test_losses_by_hand_of_the_random_region_variant() -> None:
    """Everything counts alike, or known pixels ten times with the release's `useOverlapPred`."""
    mask = (torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(2)) < 0.25).float()
    batch = MaskedBatch(torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(3)), mask)
    for ring, known_weight in ((0, 1.0), (1, 10.0)):
        system = make(output="picture", ring=ring)
        filled = system.generate(batch)
        squares = (filled - batch.image * 2 + 1) ** 2 * (mask + known_weight * (1 - mask))
        torch.testing.assert_close(system.generator_loss(batch, filled)[1]["reconstruction"], squares.mean())


def test_the_centre_is_filled_and_nothing_else(batch: MaskedBatch) -> None:
    system = make().eval()
    with torch.no_grad():
        filled = system.fill(batch.image, batch.mask)
        patch = system.generator(2 * (batch.image * (1 - batch.mask) + (PLUM + 1) / 2 * batch.mask) - 1)
    torch.testing.assert_close(filled[..., 16:48, 16:48], (patch + 1) / 2)
    frame = ~batch.mask.bool().expand_as(filled)
    assert torch.equal(filled[frame], batch.image[frame])


def test_a_hole_that_is_not_the_centre_is_refused_by_name(batch: MaskedBatch) -> None:
    moved = MaskedBatch(batch.image, batch.mask.roll(1, dims=-1))
    message = r"context-encoder fills the central 32×32 px .*holes.kind .*gated, .* fill holes anywhere"
    with pytest.raises(ConfigError, match=message):
        make().generate(moved)
    make(output="picture").generate(moved)


def test_sizes_that_cannot_be_halved_to_the_end_are_refused() -> None:
    with pytest.raises(ValidationError, match="power of two, not 96"):
        Settings(image_size=96)
