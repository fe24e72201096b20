"""Rates, and the moving average of the generator."""

import math

import pytest
import torch
from torch import nn

from infilling.learning.optimizers import Ema, find_rate, make_optimizer
from infilling.learning.settings import OptimizerSettings


def test_a_constant_rate_rises_and_stays() -> None:
    settings = OptimizerSettings(lr=0.4, warmup_images=100)
    assert [find_rate(settings, seen) for seen in (0, 25, 100, 10**9)] == [0, pytest.approx(0.1), 0.4, 0.4]
    assert find_rate(OptimizerSettings(lr=0.4), 0) == 0.4


def test_a_cosine_falls_to_its_share() -> None:
    settings = OptimizerSettings(lr=2.0, schedule="cosine", decay_images=1000, final_share=0.1)
    assert find_rate(settings, 0) == 2.0
    assert find_rate(settings, 250) == pytest.approx(0.2 + 1.8 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert find_rate(settings, 1000) == pytest.approx(0.2)
    assert find_rate(settings, 9999) == pytest.approx(0.2)


def test_a_cosine_begins_anew_for_a_second_stage() -> None:
    settings = OptimizerSettings(
        lr=2.0,
        schedule="cosine",
        warmup_images=100,
        restart_images=500,
        restart_share=0.25,
        decay_images=700,
        final_share=0.1,
    )
    assert [find_rate(settings, seen) for seen in (50, 100, 300)] == pytest.approx([1.0, 2.0, 1.1])
    assert find_rate(settings, 499) == pytest.approx(0.2, rel=1e-3)
    assert [find_rate(settings, seen) for seen in (500, 600, 700, 9999)] == pytest.approx(
        [0.5, 0.275, 0.05, 0.05]
    )


@pytest.mark.parametrize(("kind", "expected"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_an_optimizer_has_its_settings(kind: str, expected: type[torch.optim.Optimizer]) -> None:
    settings = OptimizerSettings.model_validate(
        {"kind": kind, "lr": 0.3, "beta1": 0.1, "beta2": 0.2, "eps": 0.5, "weight_decay": 0.7}
    )
    optimizer = make_optimizer([nn.Parameter(torch.zeros(1))], settings)
    assert type(optimizer) is expected
    defaults = optimizer.defaults
    assert (defaults["lr"], defaults["betas"], defaults["eps"], defaults["weight_decay"]) == (
        0.3,
        (0.1, 0.2),
        0.5,
        0.7,
    )


def make_network(value: float) -> nn.Module:
    """A weight, a bias and batch norm's buffers, all of one value."""
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    for tensor in network.state_dict().values():
        tensor.fill_(value)
    return network


def test_a_weights_share_halves_in_its_half_life() -> None:
    ema = Ema(make_network(0.0), half_life_images=100, ramp=1e9)
    moving = make_network(1.0)
    for step in range(25):  # 4 pictures each
        ema.update(moving, 4, images_seen=1 + 4 * step)
    linear, norm = ema.generator.get_submodule("0"), ema.generator.get_submodule("1")
    torch.testing.assert_close(linear.weight, torch.full((3, 2), 0.5))
    torch.testing.assert_close(norm.weight, torch.full((3,), 0.5))  # a weight is averaged
    assert norm.running_mean.tolist() == [1.0, 1.0, 1.0]  # a buffer is copied
    assert norm.num_batches_tracked.item() == 1
    assert not ema.generator.training
    assert not any(parameter.requires_grad for parameter in ema.generator.parameters())


def test_the_ramp_forgets_the_start() -> None:
    ema = Ema(make_network(0.0), half_life_images=1e9, ramp=0.05)
    ema.update(make_network(2.0), 4, images_seen=0)  # nothing seen: a copy
    assert (next(ema.generator.parameters()) == 2).all()
    ema.update(make_network(4.0), 4, images_seen=80)  # a half-life of 4 pictures
    torch.testing.assert_close(next(ema.generator.parameters()), torch.full((3, 2), 3.0))


def test_no_half_life_is_no_average() -> None:
    ema = Ema(make_network(0.0), half_life_images=0, ramp=0.05)
    ema.update(make_network(7.0), 4, images_seen=10**6)
    assert (next(ema.generator.parameters()) == 7).all()
