"""Steps that are replayed: the same as steps that are taken, with a capture that needs no GPU."""

from collections.abc import Callable

import pytest
import torch

from infilling.errors import ConfigError
from infilling.learning import config
from infilling.learning.device import choose_place
from infilling.learning.learner import Learner
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.optimizers import load_optimizer, make_optimizer, set_rate
from infilling.learning.settings import OptimizerSettings
from infilling.learning.step_graphs import WARM_UP, StepGraphs


def capture_by_hand(function: Callable[[], None]) -> Callable[[], None]:
    """Record a function as one that runs it: what a graph would do on a GPU, without its speed."""
    return function


def make_batch(value: float, side: int = 32) -> MaskedBatch:
    mask = torch.zeros(2, 1, side, side)
    mask[..., 8:24, 8:24] = 1
    image = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(int(value * 100)))
    return MaskedBatch(image, mask)


def test_a_step_is_captured_once_after_warm_up_and_then_replayed_on_new_batches() -> None:
    captured: list[Callable[[], None]] = []

    def capture(function: Callable[[], None]) -> Callable[[], None]:
        captured.append(function)
        return function

    seen: list[int] = []

    def step(batch: MaskedBatch) -> dict[str, torch.Tensor]:
        seen.append(id(batch.image))
        return {"mean": batch.image.mean()}

    graphs = StepGraphs(capture)
    kept = []
    for index in range(WARM_UP + 3):
        batch = make_batch(index / 100)
        scalars = graphs.run("a", step, batch)
        kept.append((scalars["mean"], batch.image.mean()))
    assert len(captured) == 1
    assert len(set(seen[WARM_UP:])) == 1  # one place for all replayed batches
    assert all(torch.equal(found, expected) for found, expected in kept)  # not the last replay's
    graphs.run("b", step, make_batch(0))
    graphs.run("a", step, make_batch(0, side=64))
    assert len(captured) == 1  # another kind and another shape warm up again


def make_learner(**train: object) -> Learner:
    tree = {
        "system": {
            "name": "scene-unet",
            "widths": [8, 16, 24],
            "deep_widths": [16],
            "depth": 1,
            "critic_width": 8,
            "perceptual_weight": 0,
            "adversary_start_images": 8,
            "adversary_ramp_images": 30,
        },
        "train": {"images": 100, "batch": 2, "device": "cpu", "precision": "fp32", **train},
    }
    settings = config.parse_config(tree)
    torch.manual_seed(0)
    return Learner(settings, choose_place(settings.train))


def test_a_run_with_graphs_learns_what_one_without_does() -> None:
    """Through both stages and the lazy phase; rate, ramp and pictures change from step to step."""
    plain, replayed = make_learner(), make_learner()
    replayed._graphs = StepGraphs(capture_by_hand)
    for learner in (plain, replayed):
        torch.manual_seed(1)
        for index in range(24):
            scalars = learner.take_step(make_batch(index / 100))
        assert {"Loss_D", "Loss_G"} <= scalars.keys()
    pairs = zip(plain.system.state_dict().items(), replayed.system.state_dict().values(), strict=True)
    for (name, expected), found in pairs:
        assert torch.equal(found, expected), name


def test_graphs_without_a_gpu_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.graphs is for one GPU, not for the device cpu"):
        make_learner(graphs=True)


def test_an_optimisers_state_moves_between_captured_and_plain_runs() -> None:
    settings = OptimizerSettings(lr=0.5)
    weights = [torch.ones(3, requires_grad=True) for _ in range(2)]
    plain, other = (make_optimizer([each], settings) for each in weights)
    other.param_groups[0]["lr"] = torch.tensor(0.25)  # as a capturable one has it
    for _ in range(3):
        weights[0].grad = torch.ones(3)
        plain.step()
    rate = other.param_groups[0]["lr"]
    load_optimizer(other, plain.state_dict())
    set_rate(other, 0.125)
    assert other.param_groups[0]["lr"] is rate
    assert rate.item() == 0.125
    state = other.state_dict()["state"][0]
    torch.testing.assert_close(state["exp_avg"], plain.state_dict()["state"][0]["exp_avg"])
    load_optimizer(plain, other.state_dict())
    assert plain.param_groups[0]["lr"] == 0.5
