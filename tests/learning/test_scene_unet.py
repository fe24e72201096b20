"""The default model's system: deep levels and noise that add nothing at first, its losses by hand."""

import itertools
import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from infilling.errors import ConfigError
from infilling.filling.network import ModelCard, NetworkEngine, make_noise
from infilling.learning import config, features
from infilling.learning.critics import zoom_in
from infilling.learning.device import choose_place
from infilling.learning.export import read_generator, to_onnx
from infilling.learning.learner import Learner
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.systems.scene_unet import (
    CELL,
    CRITIC_LAYERS,
    Generated,
    Masks,
    MixingCritics,
    SceneUNet,
    Settings,
    View,
    _average_critics,
    _compare_layers,
    _compare_pixels,
    _weigh_hole,
)
from infilling.learning.unet import Generator

NARROW = Settings(
    widths=(8, 16, 24),
    deep_widths=(16, 24),
    depth=1,
    fine_width=8,
    fine_depth=1,
    critic_width=8,
    perceptual_weight=0,
    adversary_start_images=100,
    adversary_ramp_images=10,
)


def make_batch(seed: int = 0, count: int = 2, side: int = 64) -> MaskedBatch:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(count, 3, side, side, generator=generator)
    mask = torch.zeros(count, 1, side, side)
    mask[:, :, side // 4 : side // 2, side // 4 : 3 * side // 4] = 1
    return MaskedBatch(image, mask)


def move_zeros(network: nn.Module, seed: int = 0) -> nn.Module:
    """Move every layer that starts at zero, so that every parameter matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return network


def make_lite() -> features.FeatureNetwork:
    """Return a feature network of the right layers and random weights."""
    torch.manual_seed(0)
    widths = [16, *features.LITE_LAYERS.values()]
    blocks = [
        features.Block(before, before, after, 3, 1 if index == 0 else 2, skip=False)
        for index, (before, after) in enumerate(itertools.pairwise(widths))
    ]
    return features.EfficientNetLite(blocks).eval().requires_grad_(False)


# -- the generator ------------------------------------------------------------------------------------------


def test_it_keeps_to_its_size_and_cost() -> None:
    generator = SceneUNet(Settings()).generator
    assert sum(p.numel() for p in generator.parameters()) <= 20_000_000  # 40 MB in 16 bits
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        generator(torch.rand(1, 3, 256, 256), torch.ones(1, 1, 256, 256))
    assert counter.get_total_flops() <= 60e9


def test_new_layers_and_noise_add_nothing_at_first_and_then_they_matter() -> None:
    torch.manual_seed(0)
    shallow = move_zeros(Generator((8, 16, 24), depth=1)).eval()
    deep = Generator((8, 16, 24), 1, (16, 24), fine=(16, 1), noisy=True).eval()
    deep.load_state_dict(deep.state_dict() | shallow.state_dict())
    image, mask = make_batch()
    noise = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = shallow(image, mask)
    torch.testing.assert_close(deep(image, mask, noise), expected)
    move_zeros(deep)
    without = deep(image, mask)
    assert not torch.allclose(without, expected, atol=1e-4)
    assert not torch.allclose(deep(image, mask, noise), without, atol=1e-4)
    elsewhere = torch.where(mask > 0, noise, noise + 1)
    torch.testing.assert_close(deep(image, mask, elsewhere), deep(image, mask, noise))


def test_it_sees_further_than_the_levels_above() -> None:
    """A pixel far away moves the fill through the deep levels; attention is left out."""
    reach = {}
    for name, widths in (("shallow", ()), ("deep", (16, 24))):
        torch.manual_seed(0)
        generator = move_zeros(Generator((8, 16, 24), 1, widths, prefill=False, attention=False)).eval()
        for norm in (module for module in generator.modules() if isinstance(module, nn.GroupNorm)):
            norm.forward = lambda x: x  # type: ignore[method-assign]  # it sees all of the picture
        image = torch.zeros(1, 3, 256, 64, requires_grad=True)
        mask = torch.zeros(1, 1, 256, 64)
        mask[..., :8, 28:36] = 1
        (generator(image, mask) * mask).sum().backward()
        assert image.grad is not None
        reach[name] = int(image.grad.abs().sum((0, 1, 3)).nonzero().max())
    assert reach["deep"] > reach["shallow"] + 60


def test_an_exported_network_fills_holes_anywhere_as_torch_does() -> None:
    system = SceneUNet(NARROW)
    move_zeros(system.generator)
    card = ModelCard("scene-unet", system.size_rule, "noise", "none", "0")
    session = onnxruntime.InferenceSession(to_onnx(system.eval(), card))
    image, mask = make_batch(count=3, side=96)
    noise = torch.randn(3, 1, 96, 96, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = system.fill(image, mask, noise)
    inputs = {"image": image.numpy(), "mask": mask.numpy(), "noise": noise.numpy()}
    (filled,) = session.run(["filled"], inputs)
    torch.testing.assert_close(torch.from_numpy(filled), expected, rtol=0, atol=1e-5)


def test_the_seed_of_an_engine_is_its_noise(tmp_path: Path) -> None:
    system = SceneUNet(NARROW)
    move_zeros(system.generator)
    with torch.no_grad():
        system.generator.residual.weight.mul_(20)
    card = ModelCard("scene-unet", system.size_rule, "noise", "none", "0", takes_noise=True)
    path = tmp_path / "noisy.onnx"
    path.write_bytes(to_onnx(system.eval(), card))
    engine = NetworkEngine(path)
    image, mask = (each.numpy() for each in make_batch())
    first = engine.fill(image, mask)
    assert np.array_equal(first, engine.fill(image, mask, seed=0))
    assert np.abs(first - engine.fill(image, mask, seed=1)).max() > 0.01
    noise = torch.from_numpy(make_noise(64, 64, 0)).expand(2, -1, -1, -1)
    with torch.no_grad():
        expected = system.fill(*make_batch(), noise).numpy()
    np.testing.assert_allclose(first, expected, atol=1e-5)
    alone = engine.fill(image[1:], mask[1:])
    np.testing.assert_allclose(first[1:], alone, atol=1e-5)


def test_noise_has_mean_zero_and_variance_one_and_is_the_same_everywhere() -> None:
    noise = make_noise(200, 100, 7)
    assert noise.shape == (1, 1, 200, 100)
    assert abs(noise.mean()) < 0.02
    assert abs(noise.var() - 1) < 0.02
    first = (np.random.default_rng(7).random() - 0.5) * 12**0.5
    assert noise[0, 0, 0, 0] == np.float32(first)


def test_it_starts_from_the_released_network_of_the_other_system() -> None:
    tree = {
        "system": {"name": "scene-unet", "perceptual_weight": 0},
        "start": {"weights": "fidelity"},
        "train": {"images": 10},
    }
    settings = config.parse_config(tree)
    learner = Learner(settings, choose_place(settings.train))
    other = Generator()
    other.load_state_dict(read_generator("fidelity")[1])
    image, mask = make_batch()
    with torch.no_grad():
        torch.testing.assert_close(learner.system.fill(image, mask), other(image, mask).clamp(0, 1))
    settings = config.parse_config(tree | {"system": {"name": "reference"}})
    with pytest.raises(ConfigError, match="of the system push-pull-unet, not reference"):
        Learner(settings, choose_place(settings.train))


# -- the critics and the losses -----------------------------------------------------------------------------


def test_every_critic_scores_its_cells_and_the_finest_sees_the_coarsest_scale() -> None:
    torch.manual_seed(0)
    critics, lite = MixingCritics(8).eval(), make_lite()
    image, mask = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    seen = lite.layers(image, CRITIC_LAYERS)
    judged = critics(image, mask, critics.mix(seen))
    assert [scores.shape[2:] for scores, _ in judged] == [(8, 8), (2, 2), (4, 4), (8, 8), (16, 16)]
    other = critics(image, mask, critics.mix(seen | {"stride32": seen["stride32"].flip(0)}))
    assert not torch.allclose(judged[-1][0], other[-1][0])
    assert len(MixingCritics(8, with_features=False)(image, mask, {})) == 1


def test_projections_are_the_same_in_every_run_and_do_not_learn() -> None:
    torch.manual_seed(1)
    first, second = MixingCritics(8), MixingCritics(8)
    for name in CRITIC_LAYERS:
        assert torch.equal(first.get_buffer(f"mix_{name}"), second.get_buffer(f"mix_{name}"))
    assert not any("mix" in name for name, _ in first.named_parameters())


def test_weights_fall_from_the_rim_to_the_middle_of_a_large_hole() -> None:
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 16:112, 16:112] = 1
    weight = _weigh_hole(mask, 0.25)
    assert (weight[mask == 0] == 0).all()
    assert weight[0, 0, 64, 64].item() == pytest.approx(0.25)
    across = weight[0, 0, 64, 16:65]
    assert across[0] > 0.8
    assert (across.diff() <= 1e-6).all()
    assert torch.equal(_weigh_hole(mask, 1.0), mask)


def test_pixels_are_compared_by_the_means_of_their_cells_by_hand() -> None:
    image, mask = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 1, 8, 8)
    mask[..., :CELL, :CELL] = 1
    brighter = image + 0.125 * mask
    checker = image + 0.25 * mask * ((torch.arange(8) % 2) * 2 - 1)  # of mean 0 in each cell
    assert _compare_pixels(brighter, image, mask, CELL, 1.0).item() == pytest.approx(0.125)
    assert _compare_pixels(checker, image, mask, CELL, 1.0).item() == pytest.approx(0)
    assert _compare_pixels(checker, image, mask, 1, 1.0).item() == pytest.approx(0.25)


def test_layers_are_compared_by_direction_over_the_hole_by_hand() -> None:
    """Unit vectors (1, 0) and (0.6, 0.8): 0.16 + 0.64 = 0.8 at one of two places of the hole."""
    mask = torch.ones(1, 1, 1, 2)
    found = {"a": torch.tensor([[[[5.0, 2.0]], [[0.0, 2.0]]]])}
    wanted = {"a": torch.tensor([[[[3.0, 7.0]], [[4.0, 7.0]]]])}
    assert _compare_layers(found, wanted, mask, 1.0).item() == pytest.approx(0.4)
    assert _compare_layers(found, wanted, mask, 0.5).item() == pytest.approx(0.2)  # all of it is far inside
    assert _compare_layers(found, found, mask, 1.0).item() == 0


def test_the_first_stage_is_l1_over_the_hole_by_hand() -> None:
    system, batch = SceneUNet(NARROW), make_batch()
    brighter = torch.where(batch.mask > 0, batch.image + 0.25, batch.image)
    off = Generated(View(brighter, {}), View(batch.image, {}), Masks(batch.mask, batch.mask))
    total, scalars = system.generator_loss(batch, off)
    assert scalars["l1"].item() == pytest.approx(0.25, abs=1e-6)
    assert total.item() == pytest.approx(NARROW.l1_weight * 0.25, abs=1e-6)
    critic, penalty, generator = system.phases()
    assert [penalty.due(step, 100) for step in range(9)] == [True, *[False] * 7, True]
    assert not penalty.due(0, 99)
    assert not critic.due(0, 99)
    assert critic.due(0, 100)
    assert generator.due(0, 0)


def test_both_sides_of_the_critics_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    system, batch = SceneUNet(NARROW), make_batch()
    scores = {True: 0.5, False: -0.25}  # of the true picture and of the filled one

    def judge(image: torch.Tensor, mask: torch.Tensor, *seen: object) -> object:
        is_true = bool(image.any())
        covered = (F.avg_pool2d(mask, 8) >= 0.3).float()
        judged = torch.where(covered > 0, scores[is_true], 1e6)  # elsewhere what must not count
        return [(judged, [torch.full((1, 2), 0.5 if is_true else 2.0)])]

    monkeypatch.setattr(system.discriminator, "forward", judge)
    filled = torch.zeros_like(batch.image)
    made = Generated(View(filled, {}), View(batch.image, {}), Masks(batch.mask, batch.mask))
    loss, scalars = system.discriminator_loss(batch, made)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-0.75)))
    assert scalars["D(x)"].item() == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert scalars["D(G(z)) before"].item() == pytest.approx(1 / (1 + math.exp(0.25)))
    system.images_seen = 1_000
    total, scalars = system.generator_loss(batch, made)
    assert scalars["Loss_G"].item() == pytest.approx(math.log(1 + math.exp(0.75)))
    assert scalars["feature_matching"].item() == pytest.approx(1.5)
    critics = NARROW.adversarial_weight * scalars["Loss_G"] + NARROW.feature_matching_weight * 1.5
    assert total.item() == pytest.approx((scalars["reconstruction"] + critics).item())


def test_the_critic_of_pixels_counts_as_much_as_all_others() -> None:
    mask = torch.ones(1, 1, 32, 32)
    pixels, fine, coarse = (
        torch.full((1, 1, side, side), value) for side, value in ((4, 1.0), (8, 2.0), (2, 6.0))
    )
    assert _average_critics([pixels, fine, coarse], Masks(mask, mask)).item() == pytest.approx(
        (1 + (2 + 6) / 2) / 2
    )
    assert _average_critics([pixels], Masks(mask, mask)).item() == 1


def test_the_window_of_the_feature_network_shows_the_same_of_all_three() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 64).expand(4, 3, 64, 64)
    mask = torch.zeros(4, 1, 64, 64)
    mask[..., 20:40, 20:40] = 1
    filled = ramp * (1 - mask)
    image, seen, hole = zoom_in(ramp, filled, mask)
    assert image.shape == seen.shape == (4, 3, 57, 57)
    assert torch.equal(torch.where(hole > 0, image, seen), image)  # known pixels are the same
    assert set(hole.unique().tolist()) == {0.0, 1.0}
    step = image[:, 0, 0].diff(dim=1).median(1).values * 63  # pixels of the picture to a pixel of the window
    assert (step <= 1 + 1e-4).all()
    assert (step >= 1 / 1.25 - 1e-4).all()
    assert len(step.unique()) == 4
    same, _, _ = zoom_in(ramp, filled, mask)
    assert not torch.equal(image, same)


def test_steepness_is_the_gradient_of_the_scores_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A score of 3 times a cell's red: 8·8 pixels of slope 3/64 each, squared, at both pictures."""
    system, batch = SceneUNet(NARROW.model_copy(update={"gradient_penalty": 0.5})), make_batch()

    def judge(image: torch.Tensor, *seen: object) -> object:
        return [(3 * F.avg_pool2d(image[:, :1], 8), [])]

    monkeypatch.setattr(system.discriminator, "forward", judge)
    made = Generated(View(batch.image, {}), View(batch.image, {}), Masks(batch.mask, batch.mask))
    loss, scalars = system.penalty_loss(batch, made)
    assert scalars["steepness"].item() == pytest.approx(2 * 64 * (3 / 64) ** 2)
    assert loss.item() == pytest.approx(0.5 * 8 * 0.5 * scalars["steepness"].item())


@pytest.mark.parametrize("with_features", [False, True])
def test_gradient_reaches_every_parameter_and_the_critics_leave_the_generator_alone(
    with_features: bool,
) -> None:
    torch.manual_seed(0)
    system = SceneUNet(NARROW.model_copy(update={"perceptual_weight": float(with_features)}))
    if with_features:
        system.features = make_lite()
    move_zeros(system.generator)
    image, mask = make_batch(side=96)
    mask[..., 4:-4] = 1  # whole cells of every critic
    batch, system.images_seen = MaskedBatch(image, mask), 1_000
    made = system.generate(batch)
    system.discriminator_loss(batch, made)[0].backward()
    assert all(p.grad is None for p in system.generator.parameters())
    learned = dict(system.discriminator.named_parameters())
    # What a score is on average cancels in a difference of two.
    assert all(
        p.grad is not None and p.grad.any() for name, p in learned.items() if not name.endswith("bias")
    )
    system.generator_loss(batch, made)[0].backward()
    assert all(p.grad is not None and p.grad.any() for p in system.generator.parameters())


def test_it_trains_with_efficientnet_and_refuses_squeezenet(data_dir: Path) -> None:
    tree = {
        "system": NARROW.model_dump() | {"perceptual_weight": 1.0, "adversary_start_images": 2},
        "features": {"path": str(data_dir / "features" / "efficientnet_lite1.safetensors")},
        "train": {"images": 6, "batch": 2},
    }
    learner = Learner(settings := config.parse_config(tree), choose_place(settings.train))
    batch = make_batch()
    scalars = [learner.take_step(batch) for _ in range(3)]
    assert "Loss_D" not in scalars[0]
    assert all(torch.stack(list(each.values())).isfinite().all() for each in scalars)
    assert {"Loss_D", "perceptual", "D(G(z)) after"} <= scalars[2].keys()
    learner.step = 8
    assert learner.take_step(batch)["steepness"].isfinite()
    squeezenet = {"path": str(data_dir / "features" / "squeezenet.safetensors")}
    settings = config.parse_config(tree | {"features": squeezenet})
    with pytest.raises(ConfigError, match="scene-unet reads the layers stride2"):
        Learner(settings, choose_place(settings.train))
