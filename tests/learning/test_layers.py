"""Blocks that several systems share."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from infilling.learning import layers

Box = tuple[int, int, int, int]


@st.composite
def boxes(draw: st.DrawFn, height: int, width: int) -> Box:
    """A box inside a picture: top, left, height, width."""
    box_height, box_width = draw(st.integers(1, height)), draw(st.integers(1, width))
    top, left = draw(st.integers(0, height - box_height)), draw(st.integers(0, width - box_width))
    return top, left, box_height, box_width


def cut(image: Tensor, box: Box) -> Tensor:
    top, left, height, width = box
    return image[..., top : top + height, left : left + width]


def make_mask(height: int, width: int, *all_boxes: Box) -> Tensor:
    mask = torch.zeros(len(all_boxes), 1, height, width)
    for picture, box in zip(mask, all_boxes, strict=True):
        cut(picture, box).fill_(1)
    return mask


@given(st.lists(boxes(24, 31), min_size=1, max_size=4), st.integers(1, 40))
def test_crop_is_torchs_resize_of_the_box(some: list[Box], size: int) -> None:
    image = torch.rand(len(some), 3, 24, 31, generator=torch.Generator().manual_seed(0))
    found = layers.find_boxes(make_mask(24, 31, *some))
    torch.testing.assert_close(found, torch.tensor(some).float())
    patch = layers.crop_boxes(image, found, size)
    expected = [
        F.interpolate(cut(each[None], box), (size, size), mode="bilinear", align_corners=False)
        for each, box in zip(image, some, strict=True)
    ]
    torch.testing.assert_close(patch, torch.cat(expected), atol=1e-5, rtol=0)


@given(st.lists(boxes(24, 31), min_size=1, max_size=4), st.integers(1, 40))
def test_paste_is_torchs_resize_to_the_box(some: list[Box], size: int) -> None:
    patch = torch.rand(len(some), 3, size, size, generator=torch.Generator().manual_seed(0))
    laid = layers.paste_patches(patch, torch.tensor(some).float(), 24, 31)
    assert laid.shape == (len(some), 3, 24, 31)
    for each, box, source in zip(laid, some, patch, strict=True):
        expected = F.interpolate(source[None], box[2:], mode="bilinear", align_corners=False)
        torch.testing.assert_close(cut(each[None], box), expected, atol=1e-5, rtol=0)


def test_a_box_bounds_all_parts_of_a_hole_and_is_the_picture_where_there_is_none() -> None:
    mask = torch.zeros(2, 1, 20, 30)
    mask[0, 0, 3, 25] = mask[0, 0, 17, 4] = 1
    assert layers.find_boxes(mask).tolist() == [[3, 4, 15, 22], [0, 0, 20, 30]]


def test_crop_and_paste_have_a_gradient() -> None:
    image = torch.rand(2, 1, 6, 5, dtype=torch.float64, requires_grad=True)
    patch = torch.rand(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    some = torch.tensor([[1, 0, 3, 5], [2, 2, 4, 2]], dtype=torch.float64)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.autograd.gradcheck(lambda x: layers.crop_boxes(x, some, 4), image)
        assert torch.autograd.gradcheck(lambda x: layers.paste_patches(x, some, 6, 5), patch)
    finally:
        torch.set_default_dtype(default)


def test_attention_is_the_formula_and_starts_as_nothing() -> None:
    torch.manual_seed(0)
    attention, x = layers.SelfAttention(16), torch.randn(2, 16, 3, 5)
    assert torch.equal(attention(x), x)  # γ is 0
    with torch.no_grad():
        attention.gamma.fill_(0.5)
    query, key, value = (layer(x).flatten(2) for layer in (attention.query, attention.key, attention.value))
    expected = x.clone()
    for n in range(2):
        for here in range(15):
            scores = torch.stack([query[n, :, here] @ key[n, :, there] for there in range(15)])
            seen = (value[n] * scores.softmax(0)).sum(1)
            expected[n, :, here // 5, here % 5] += 0.5 * seen
    torch.testing.assert_close(attention(x), expected)


def test_convolutions_to_and_from_a_point_are_torchs() -> None:
    torch.manual_seed(0)
    to, back = layers.ToPoint(5, 7, 4), layers.FromPoint(7, 5, 4)
    x, point = torch.randn(3, 5, 4, 4, requires_grad=True), torch.randn(3, 7, 1, 1, requires_grad=True)
    for ours, theirs, sources in [
        (to(x), F.conv2d(x, to.weight), (x, to.weight)),
        (back(point), F.conv_transpose2d(point, back.weight), (point, back.weight)),
    ]:
        torch.testing.assert_close(ours, theirs)
        for mine, other in zip(
            torch.autograd.grad(ours.sin().sum(), sources),
            torch.autograd.grad(theirs.sin().sum(), sources),
            strict=True,
        ):
            torch.testing.assert_close(mine, other)


def test_networks_start_as_dcgans_do() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(layers.halve(3, 64), layers.double(64, 32), nn.Conv2d(32, 64, 3))
    layers.init_normal(network)
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            assert layer.weight.mean().item() == pytest.approx(0, abs=2e-3)
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1, abs=0.02)
            assert 0.01 < layer.weight.std().item() < 0.03
        else:
            continue
        assert layer.bias is None or not layer.bias.any()
