"""The default model's network: its pre-fill, its promises to the exporter, its two stages."""

import math

import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from infilling.errors import ConfigError
from infilling.filling.network import ModelCard
from infilling.learning import config, critics
from infilling.learning.critics import (
    COVERED,
    Critics,
    FeatureCritic,
    Judgement,
    mean_covered,
    shift_together,
)
from infilling.learning.device import choose_place
from infilling.learning.export import to_onnx
from infilling.learning.features import SqueezeNet
from infilling.learning.learner import Learner
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.systems.push_pull_unet import CRITIC_LAYERS, PushPullUNet, Settings
from infilling.learning.unet import (
    PYRAMID_LEVELS,
    CellAttention,
    Generator,
    _attend,
    _convolve_cells,
    push_pull,
)

NARROW = Settings(
    widths=(8, 16, 24),
    depth=1,
    critic_width=8,
    perceptual_weight=0,
    adversary_start_images=100,
    adversary_ramp_images=10,
)


def make_batch(seed: int = 0, count: int = 2, height: int = 32, width: int = 32) -> MaskedBatch:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(count, 3, height, width, generator=generator)
    mask = torch.zeros(count, 1, height, width)
    mask[:, :, 8:24, 8:24] = 1
    return MaskedBatch(image, mask)


def make_generator(seed: int = 0) -> Generator:
    """A narrow generator whose zero layers were moved, so that every parameter matters."""
    torch.manual_seed(seed)
    generator = Generator((8, 16, 24), depth=1)
    with torch.no_grad():
        for parameter in generator.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return generator.eval()


def test_widths_that_cannot_be_normalised_in_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        Settings(widths=(8, 16, 36))


def test_cells_are_convolved_as_an_unshuffled_picture_is() -> None:
    torch.manual_seed(0)
    layer, picture = nn.Conv2d(7 * 4, 5, 3, padding=1), torch.randn(2, 7, 12, 20)
    expected = layer(F.pixel_unshuffle(picture, 2))
    torch.testing.assert_close(_convolve_cells(layer, picture), expected, rtol=1e-4, atol=1e-5)


HOLES = {
    "corners": [(0, 1, 0, 1), (47, 48, 63, 64)],
    "one pixel": [(21, 22, 33, 34)],
    "odd sides": [(7, 12, 9, 20)],
    "at the left": [(20, 31, 0, 5)],
    "at the bottom": [(41, 48, 30, 50)],
    "a line across": [(24, 25, 0, 64)],
    "everything but a line": [(0, 47, 0, 64)],
    "none": [],
}


def test_an_exported_network_fills_holes_anywhere_as_torch_does() -> None:
    """In the file the last layers see the surroundings of the holes alone."""
    system = PushPullUNet(NARROW)
    system.generator = make_generator()
    with torch.no_grad():
        system.generator.residual.weight.mul_(20)  # so that what these layers make is seen
    card = ModelCard("push-pull-unet", system.size_rule, "noise", "none", "0")
    session = onnxruntime.InferenceSession(to_onnx(system.eval(), card))
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(3))
    masks = torch.zeros(len(HOLES), 1, 48, 64)
    for mask, boxes in zip(masks, HOLES.values(), strict=True):
        for top, bottom, left, right in boxes:
            mask[:, top:bottom, left:right] = 1
    for name, mask in [*zip(HOLES, masks.split(1), strict=True), ("two pictures", masks[1:3])]:
        images = image.expand(len(mask), -1, -1, -1)
        with torch.no_grad():
            expected = system.fill(images, mask)
        (filled,) = session.run(["filled"], {"image": images.numpy(), "mask": mask.numpy()})
        torch.testing.assert_close(torch.from_numpy(filled), expected, rtol=0, atol=1e-5, msg=name)


# -- pre-fill -----------------------------------------------------------------------------------------------


def test_one_unknown_pixel_becomes_the_mean_of_its_cell_by_hand() -> None:
    image = torch.tensor([[[[3.0, 6.0], [9.0, 100.0]]]])
    known = torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]]])
    filled = push_pull(image, known)
    assert filled[0, 0].tolist() == [[3.0, 6.0], [9.0, 6.0]]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 7), (128, 128), (300, 520)])
def test_the_prefill_keeps_known_pixels_and_stays_within_their_range(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 3, *size, generator=generator)
    known = (torch.rand(2, 1, *size, generator=generator) < 0.3).float()
    known[:, :, 0, 0] = 1
    filled = push_pull(image, known)
    assert torch.equal(filled * known, image * known)
    for picture, result, kept in zip(image, filled, known, strict=True):
        values = picture[:, kept[0] > 0]
        assert (result >= values.amin(1)[:, None, None] - 1e-5).all()
        assert (result <= values.amax(1)[:, None, None] + 1e-5).all()


def test_a_hole_beyond_the_pyramid_takes_the_mean_of_the_known() -> None:
    side = 4 * 2**PYRAMID_LEVELS
    image = torch.zeros(1, 1, side, side)
    image[..., :8, :8] = 0.75
    known = (image > 0).float()
    assert push_pull(image, known)[0, 0, -1, -1].item() == pytest.approx(0.75)


# -- the generator ------------------------------------------------------------------------------------------


def test_it_keeps_to_its_size_and_cost() -> None:
    generator = Generator()
    assert sum(p.numel() for p in generator.parameters()) <= 5_500_000
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        generator(torch.rand(1, 3, 256, 256), torch.ones(1, 1, 256, 256))
    assert counter.get_total_flops() <= 25e9  # 2 × multiply-accumulate


def test_it_starts_at_the_prefill() -> None:
    batch = make_batch()
    filled = Generator((8, 16, 24), depth=1)(*batch)
    prefill = push_pull(batch.image, 1 - batch.mask)
    torch.testing.assert_close(filled, prefill, atol=1e-6, rtol=0)


def test_without_the_prefill_it_starts_at_grey_and_without_attention_it_has_none() -> None:
    batch = make_batch()
    plain = Generator((8, 16, 24), depth=5, prefill=False, attention=False)
    torch.testing.assert_close(plain(*batch), batch.image * (1 - batch.mask) + 0.5 * batch.mask)
    assert not any(isinstance(module, CellAttention) for module in plain.modules())
    assert [block[0].conv1.dilation[0] for block in plain.middle] == [1, 2, 4, 8, 1]


@pytest.mark.parametrize("size", [(8, 8), (40, 24), (64, 136)])
def test_it_takes_any_multiple_of_eight(size: tuple[int, int]) -> None:
    image, mask = torch.rand(1, 3, *size), torch.zeros(1, 1, *size)
    mask[..., 2:6, 3:7] = 1
    filled = make_generator()(image, mask)
    assert filled.shape == image.shape
    torch.testing.assert_close(filled * (1 - mask), image * (1 - mask), atol=1e-6, rtol=0)


def test_what_lies_inside_the_hole_does_not_matter() -> None:
    image, mask = make_batch()
    generator = make_generator()
    other = torch.where(mask > 0, torch.rand_like(image), image)
    torch.testing.assert_close(generator(image, mask), generator(other, mask), atol=1e-6, rtol=0)


def test_a_picture_does_not_depend_on_its_batch() -> None:
    image, mask = make_batch(count=3)
    generator = make_generator()
    alone = generator(image[1:2], mask[1:2])
    torch.testing.assert_close(generator(image, mask)[1:2], alone, atol=1e-5, rtol=0)


# -- the critic and the losses ------------------------------------------------------------------------------


def make_features(seed: int = 0) -> SqueezeNet:
    """A feature network of random weights, frozen."""
    torch.manual_seed(seed)
    return SqueezeNet().eval().requires_grad_(False)


def test_every_critic_gives_a_score_for_each_of_its_cells() -> None:
    image, mask = torch.rand(2, 3, 64, 48), torch.zeros(2, 1, 64, 48)
    seen = make_features().layers(image, tuple(CRITIC_LAYERS))
    pixels, *heads = Critics(8, CRITIC_LAYERS)(image, mask, seen)
    assert pixels[0].shape == (2, 1, 8, 6)
    assert [f.shape[1] for f in pixels[1]] == [8, 16, 32, 32]
    assert [scores.shape[2:] for scores, _ in heads] == [layer.shape[2:] for layer in seen.values()]
    assert len(Critics(8, {})(image, mask, {})) == 1


def test_a_critic_of_features_is_told_where_the_hole_is_and_not_how_bright_a_layer_is() -> None:
    torch.manual_seed(0)
    critic, seen = FeatureCritic(6, 8).eval(), torch.rand(1, 6, 5, 5) + 0.1
    nowhere, everywhere = torch.zeros(1, 1, 40, 40), torch.ones(1, 1, 40, 40)
    torch.testing.assert_close(critic(seen, nowhere)[0], critic(seen * 7, nowhere)[0])
    assert not torch.allclose(critic(seen, nowhere)[0], critic(seen, everywhere)[0])


def test_only_cells_that_the_hole_covers_are_judged_and_critics_count_alike() -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 0:8, 0:8] = 1  # all of one cell
    mask[..., 8:16, 8:10] = 1  # a quarter of another: under the threshold
    fine, coarse = torch.full((1, 1, 4, 4), 100.0), torch.tensor([[[[5.0, 100.0], [100.0, 100.0]]]])
    fine[..., 0, 0] = 3
    mean = mean_covered([fine, coarse], mask)  # of the coarse critic's first cell the hole takes 0.3125
    assert mean.item() == pytest.approx((3 + 5) / 2)


def test_a_hole_too_small_for_any_cell_is_not_judged() -> None:
    assert mean_covered([torch.ones(1, 1, 4, 4)], torch.zeros(1, 1, 32, 32)).item() == 0


def test_the_critic_rests_until_the_second_stage() -> None:
    system, batch = PushPullUNet(NARROW), make_batch()
    critic, generator = system.phases()
    assert not critic.due(0, 99)
    assert critic.due(0, 100)
    assert generator.due(0, 0)
    system.images_seen = 99
    assert "Loss_G" not in system.generator_loss(batch, system.generate(batch))[1]
    system.images_seen = 100
    assert "Loss_G" in system.generator_loss(batch, system.generate(batch))[1]


def test_the_first_stage_is_l1_over_the_hole_by_hand() -> None:
    system, batch = PushPullUNet(NARROW), make_batch()
    generated = torch.where(batch.mask > 0, batch.image + 0.25, batch.image)
    total, scalars = system.generator_loss(batch, generated)
    assert scalars["l1"].item() == pytest.approx(0.25, abs=1e-6)
    assert total.item() == pytest.approx(NARROW.l1_weight * 0.25, abs=1e-6)


def test_both_sides_of_the_critics_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    system, batch = PushPullUNet(NARROW), make_batch()
    filled = torch.zeros_like(batch.image)
    scores = {True: 0.5, False: -0.25}  # of the true picture and of the filled one

    def judge(image: torch.Tensor, mask: torch.Tensor, seen: dict[str, torch.Tensor]) -> list[Judgement]:
        is_true = bool(image.any())
        assert not seen
        covered = (F.avg_pool2d(mask, 8) >= COVERED).float()
        judged = torch.where(covered > 0, scores[is_true], 1e6)  # elsewhere what must not count
        return [(judged, [torch.full((1, 2), 0.5 if is_true else 2.0)])]

    monkeypatch.setattr(critics, "PHASES", 1)
    monkeypatch.setattr(system.discriminator, "forward", judge)
    loss, scalars = system.discriminator_loss(batch, filled)
    share = {name: 1 / (1 + math.exp(-value)) for name, value in scores.items()}
    assert loss.item() == pytest.approx(-math.log(share[True]) - math.log(1 - share[False]))
    assert scalars["D(x)"].item() == pytest.approx(share[True])
    assert scalars["D(G(z)) before"].item() == pytest.approx(share[False])
    system.images_seen = 1_000
    total, scalars = system.generator_loss(batch, filled)
    assert scalars["Loss_G"].item() == pytest.approx(-math.log(share[False]))
    assert scalars["D(G(z)) after"].item() == pytest.approx(share[False])
    assert scalars["feature_matching"].item() == pytest.approx(1.5)
    parts = scalars["reconstruction"].item() - NARROW.adversarial_weight * math.log(share[False])
    assert total.item() == pytest.approx(parts + NARROW.feature_matching_weight * 1.5)


@pytest.mark.parametrize(("size", "halved", "seen"), [(32, 0, 32), (64, 200, 32)])
def test_pictures_too_small_for_the_second_stage_are_refused_before_the_first(
    size: int, halved: int, seen: int
) -> None:
    tree = {
        "system": NARROW.model_copy(update={"perceptual_weight": 0.2}).model_dump(),
        "data": {"image_size": size, "half_size_images": halved},
        "train": {"images": 1000},
    }
    settings = config.parse_config(tree)
    with pytest.raises(ConfigError, match=f"look at 39 px or more, here at {seen}: set data.image_size"):
        Learner(settings, choose_place(settings.train))


def test_the_critics_see_pictures_from_another_pixel_on_in_every_step() -> None:
    torch.manual_seed(0)
    image, mask = make_batch()
    places = set()
    for _ in range(200):
        shifted, same, hole = shift_together(image, image, mask)
        assert torch.equal(shifted, same)
        assert shifted.shape[2:] == hole.shape[2:] == (25, 25)
        found = [
            (y, x)
            for y in range(8)
            for x in range(8)
            if torch.equal(shifted, image[..., y : y + 25, x : x + 25])
            and torch.equal(hole, mask[..., y : y + 25, x : x + 25])
        ]
        places.update(found[:1])
        assert found
    assert {y for y, _ in places} == {x for _, x in places} == set(range(8))


@pytest.mark.parametrize("with_features", [False, True])
def test_gradient_reaches_every_parameter_of_both_networks(with_features: bool) -> None:
    torch.manual_seed(0)
    weight = 0.2 if with_features else 0.0
    system = PushPullUNet(NARROW.model_copy(update={"perceptual_weight": weight}))
    batch = make_batch(height=64, width=64)
    if with_features:
        system.features = make_features()
    system.generator = make_generator()
    system.images_seen = 1_000
    system.generator_loss(batch, system.generate(batch))[0].backward()
    assert all(p.grad is not None and p.grad.any() for p in system.generator.parameters())
    system.discriminator.zero_grad()
    seen = system.features.layers(batch.image, tuple(CRITIC_LAYERS)) if with_features else {}
    judged = system.discriminator(*batch, seen)  # both sides of its loss cancel in the last biases
    torch.stack([scores.sum() for scores, _ in judged]).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in system.discriminator.parameters())


def test_a_narrow_one_learns_two_pictures() -> None:
    torch.manual_seed(0)
    wave = (torch.linspace(0, 1, 32) * 12 * torch.pi).sin() * 0.4 + 0.5
    stripes = wave.expand(3, 32, 32)
    batch = MaskedBatch(torch.stack([stripes, stripes.mT]), make_batch().mask)
    system = PushPullUNet(NARROW)
    optimizer = torch.optim.AdamW(system.generator.parameters(), lr=5e-3)
    first = system.generator_loss(batch, system.generate(batch))[0].item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = system.generator_loss(batch, system.generate(batch))[0]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * first


def test_attention_is_the_fused_kernels_by_another_way() -> None:
    torch.manual_seed(0)
    layer = CellAttention(24, heads=3)
    with torch.no_grad():
        layer.to_out.weight.normal_()
    x = torch.randn(2, 24, 5, 7)
    position = F.interpolate(layer.position, size=(5, 7), mode="bilinear", align_corners=False)
    qkv = layer.to_qkv(layer.norm(x) + position)
    q, k, v = qkv.reshape(2, 3, 3, 8, 35).transpose(-1, -2).unbind(1)
    seen = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(x.shape)
    torch.testing.assert_close(layer(x), x + layer.to_out(seen), atol=1e-5, rtol=1e-5)


def test_clipped_attention_is_the_same_without_weights_too_small_for_normal_numbers() -> None:
    torch.manual_seed(0)
    q, k = 30 * torch.randn(1, 2, 300, 8), torch.randn(1, 2, 300, 8)  # logits hundreds apart
    every = torch.eye(300).expand(1, 2, 300, 300)  # of which attention gives its weights
    smallest = torch.finfo(torch.float32).smallest_normal
    plain, clipped = _attend(q, k, every), _attend(q, k, every, clip=True)
    assert ((plain > 0) & (plain < smallest)).any()
    assert (clipped >= smallest).all()
    torch.testing.assert_close(clipped, plain, atol=1e-15, rtol=0)
