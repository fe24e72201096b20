"""The autoencoder: shapes, count, its weighted loss by hand, and what it must not see."""

import pytest
import torch
from tests.learning.tensors import check_hidden
from torch import nn

from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.systems.autoencoder import Autoencoder, Generator, Settings


@pytest.fixture
def batch() -> MaskedBatch:
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(2, 1, 64, 96)
    mask[0, :, 10:40, 20:70] = 1
    mask[1, :, 30:, :30] = 1
    return MaskedBatch(torch.rand(2, 3, 64, 96, generator=generator), mask)


def test_shapes_and_count() -> None:
    """4×4 convolutions of 4, 64, 64, 128, 256, 512 channels and back, two 3×3 of 512, and batch norms."""
    generator = Generator().eval()
    shapes: list[tuple[int, ...]] = []
    for layer in generator.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(lambda _layer, _, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        assert generator(torch.zeros(1, 3, 128, 160), torch.zeros(1, 1, 128, 160)).shape == (1, 3, 128, 160)
    down = [(64, 64, 80), (64, 32, 40), (128, 16, 20), (256, 8, 10), (512, 4, 5)]
    up = [(256, 8, 10), (128, 16, 20), (64, 32, 40), (64, 64, 80), (3, 128, 160)]
    assert shapes == [*down, (512, 4, 5), (512, 4, 5), *up]
    down_weights = 16 * (4 * 64 + 64 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    up_weights = 16 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 64 + 64 * 3) + 3
    norms = 2 * (64 + 128 + 256 + 512 + 2 * 512 + 256 + 128 + 64 + 64)
    total = down_weights + 2 * 9 * 512 * 512 + up_weights + norms
    assert sum(parameter.numel() for parameter in generator.parameters()) == total == 10_366_851


@pytest.mark.parametrize("reconstruction", ["l1", "l2"])
def test_loss_by_hand(batch: MaskedBatch, reconstruction: str) -> None:
    settings = Settings.model_validate(
        {"width": 4, "reconstruction": reconstruction, "hole_weight": 5.0, "known_weight": 0.5}
    )
    system = Autoencoder(settings)
    filled = torch.zeros(2, 3, 64, 96)
    loss, told = system.generator_loss(batch, filled)
    error = (batch.image * 2 - 1).abs() if reconstruction == "l1" else (batch.image * 2 - 1) ** 2
    holes = batch.mask.bool().expand_as(error)
    expected = (5 * error[holes].sum() + 0.5 * error[~holes].sum()) / error.numel()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(told["reconstruction"], expected)
    assert system.discriminator is None
    assert [phase.name for phase in system.phases()] == ["generator"]


def test_what_the_hole_hides_does_not_matter(batch: MaskedBatch) -> None:
    system = Autoencoder(Settings(width=4)).eval()
    check_hidden(system, batch)


def test_every_place_of_the_code_sees_past_a_hole_of_half_the_side() -> None:
    """The known frame round a central hole of 64 px reaches the middle of the hole."""
    generator = Generator(4).eval()
    for layer in generator.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.constant_(layer.weight, 1 / (16 * layer.in_channels))  # a mean: no gradient fades
    image = torch.ones(1, 3, 128, 128, requires_grad=True)
    generator(image, torch.zeros(1, 1, 128, 128))[..., 60:68, 60:68].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().amax(dim=(0, 1))
    for edge in (seen[:32], seen[96:], seen[:, :32], seen[:, 96:]):
        assert edge.max() > 0
