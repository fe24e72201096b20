"""Losses against values worked out by hand, against torch's own, and against closed forms."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from infilling.learning import losses

LOGITS = torch.tensor([0.0, math.log(3.0)])  # sigmoids 1/2 and 3/4


def test_bce_of_the_discriminator_by_hand() -> None:
    # −½(ln ½ + ln ¾) for the real, −½(ln ½ + ln ¼) for the fake: half of ln 64/3.
    expected = 0.5 * math.log(64 / 3)
    assert losses.bce_discriminator(LOGITS, LOGITS).item() == pytest.approx(expected, abs=1e-6)


def test_generator_losses_by_hand() -> None:
    assert losses.non_saturating_generator(LOGITS).item() == pytest.approx(0.5 * math.log(8 / 3), abs=1e-6)
    assert losses.saturating_generator(LOGITS).item() == pytest.approx(-0.5 * math.log(8), abs=1e-6)
    assert losses.hinge_generator(torch.tensor([[1.0], [-4.0]])).item() == 1.5


def test_hinge_by_hand() -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 1.0])
    assert losses.hinge_discriminator(real, fake).item() == pytest.approx((0 + 0.5) / 2 + (0 + 2) / 2)


def test_bce_equals_torchs_on_sigmoids_and_stays_finite_where_that_does_not() -> None:
    real, fake = torch.randn(50, generator=torch.Generator().manual_seed(0)), torch.linspace(-8, 8, 50)
    expected = F.binary_cross_entropy(real.sigmoid(), torch.ones(50)) + F.binary_cross_entropy(
        fake.sigmoid(), torch.zeros(50)
    )
    torch.testing.assert_close(losses.bce_discriminator(real, fake), expected)
    far = torch.tensor([-300.0], requires_grad=True)
    loss = losses.non_saturating_generator(far)
    loss.backward()
    assert loss.item() == 300.0
    assert far.grad is not None
    assert far.grad.item() == -1.0  # a sigmoid rounded to 0 would give none


@pytest.mark.parametrize("name", losses.ADVERSARIES)
def test_adversaries_pull_in_opposite_directions(name: str) -> None:
    adversary = losses.ADVERSARIES[name]
    fake = torch.zeros(3, requires_grad=True)
    (for_d,) = torch.autograd.grad(adversary.discriminator(torch.zeros(3), fake), fake)
    (for_g,) = torch.autograd.grad(adversary.generator(fake), fake)
    assert (for_d > 0).all()  # descending lowers the logits of what was generated
    assert (for_g < 0).all()


def test_the_saturating_loss_fades_where_the_discriminator_is_sure() -> None:
    fake = torch.tensor([-8.0], requires_grad=True)
    (saturating,) = torch.autograd.grad(losses.saturating_generator(fake), fake)
    (non_saturating,) = torch.autograd.grad(losses.non_saturating_generator(fake), fake)
    assert abs(saturating.item()) < 1e-3 < 0.999 < abs(non_saturating.item())


def test_the_ring_has_its_weights() -> None:
    ring = losses.weigh_ring(64, 64, ring=7, weight=10.0)
    assert ring.shape == (1, 1, 64, 64)
    inside = 50 * 50
    assert (ring == 1).sum().item() == inside
    assert (ring == 10).sum().item() == 64 * 64 - inside
    assert ring[0, 0, 6, 30] == 10
    assert ring[0, 0, 7, 7] == 1
    assert ring[0, 0, 56, 56] == 1
    assert ring[0, 0, 57, 30] == 10
    assert (losses.weigh_ring(6, 9, ring=5) == 10).all()  # nothing is inside


def test_reconstruction_by_hand() -> None:
    filled, target = torch.tensor([[[[0.0, 2.0], [1.0, 1.0]]]]), torch.tensor([[[[1.0, 0.0], [1.0, 4.0]]]])
    weight = torch.tensor([[[[10.0, 1.0], [1.0, 2.0]]]])
    assert losses.l1(filled, target).item() == (1 + 2 + 0 + 3) / 4
    assert losses.l2(filled, target).item() == (1 + 4 + 0 + 9) / 4
    assert losses.l1(filled, target, weight).item() == (10 + 2 + 0 + 6) / 4
    assert losses.l2(filled, target, weight).item() == (10 + 4 + 0 + 18) / 4


def test_the_ring_weighted_square_is_a_plain_mean() -> None:
    # A difference of 2 everywhere: 4 · (10 · ring + inside) / all.
    ring = losses.weigh_ring(64, 64, ring=7, weight=10.0)
    filled, target = torch.ones(2, 3, 64, 64), -torch.ones(2, 3, 64, 64)
    expected = 4 * (10 * (4096 - 2500) + 2500) / 4096
    assert losses.l2(filled, target, ring).item() == pytest.approx(expected, rel=1e-6)


def test_total_variation_by_hand() -> None:
    image = torch.tensor([[[[0.0, 1.0, 1.0], [2.0, 1.0, 4.0]]]])
    down, across = (2 + 0 + 3) / 3, (1 + 0 + 1 + 3) / 4
    assert losses.total_variation(image).item() == pytest.approx(down + across)
    mask = torch.zeros(1, 1, 2, 3)
    mask[0, 0, 0, 0] = 1  # one step down and one across touch it
    assert losses.total_variation(image, mask).item() == pytest.approx(2 + 1)
    assert losses.total_variation(image, torch.zeros(1, 1, 2, 3)).item() == 0


@pytest.mark.parametrize(
    "loss",
    [losses.bce_discriminator, losses.hinge_discriminator, losses.l1, losses.l2],
    ids=lambda loss: loss.__name__,
)
def test_losses_compute_in_fp32_inside_autocast(loss: object) -> None:
    first, second = torch.full((4, 3, 8, 8), 1 / 3).bfloat16(), torch.full((4, 3, 8, 8), 1 / 7)
    assert callable(loss)
    with torch.autocast("cpu", torch.bfloat16):
        value: Tensor = loss(first, second)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(first.float(), second))
