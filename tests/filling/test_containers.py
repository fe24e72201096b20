"""Torch tensors and xarray's arrays: filled like the arrays in them, and given back as they came."""

from typing import Any

import numpy as np
import pytest
import torch

import infilling
from infilling.errors import InputError

HOLE = np.zeros((40, 50), bool)
HOLE[10:20, 15:30] = True


def make_photo(seed: int = 0) -> np.ndarray:
    rows, columns = np.mgrid[:40, :50] / 10
    wave = np.stack([np.sin(rows + seed), np.cos(columns), np.sin(rows - columns)], axis=2)
    return (0.5 + 0.3 * wave).astype(np.float32)


def fill(image: Any, mask: Any = None, **options: Any) -> Any:
    return infilling.fill(image, mask, engine="push-pull", **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.float64, torch.bfloat16, torch.float16])
def test_a_tensor_is_filled_like_its_array(dtype: torch.dtype) -> None:
    photo = torch.from_numpy(make_photo() * (255 if dtype == torch.uint8 else 1)).to(dtype)
    tensor = photo.permute(2, 0, 1)
    before = tensor.clone()
    filled = fill(tensor, torch.from_numpy(HOLE))
    assert (filled.dtype, filled.shape, filled.device) == (dtype, tensor.shape, tensor.device)
    array = photo.float().numpy() if dtype == torch.bfloat16 else photo.numpy()
    expected = torch.from_numpy(fill(array, HOLE)).to(dtype).permute(2, 0, 1)
    assert torch.equal(filled, expected)
    assert torch.equal(tensor, before)
    assert torch.equal(filled[:, ~HOLE], tensor[:, ~HOLE])


def test_batches_have_one_mask_or_one_each() -> None:
    batch = torch.from_numpy(np.stack([make_photo(seed) for seed in range(3)])).permute(0, 3, 1, 2)
    one = fill(batch, torch.from_numpy(HOLE))
    masks = torch.from_numpy(np.stack([HOLE, HOLE[::-1].copy(), HOLE[:, ::-1].copy()]))[:, None]
    each = fill(batch, masks.float())
    assert one.shape == each.shape == batch.shape
    for place in range(3):
        assert torch.equal(one[place], fill(batch[place], HOLE))
        assert torch.equal(each[place], fill(batch[place], masks[place, 0]))
    with pytest.raises(InputError, match=r"the mask is \(2, 40, 50\): give \(40, 50\), or"):
        fill(batch, torch.zeros(2, 1, 40, 50))


def test_gradients_stay_with_the_tensor_that_has_them() -> None:
    tensor = torch.rand(1, 40, 50, requires_grad=True)
    filled = fill(tensor, HOLE)
    assert not filled.requires_grad
    plane = fill(tensor.detach()[0], HOLE)
    assert plane.shape == (40, 50)
    assert torch.equal(plane, filled[0])


def test_tensors_that_cannot_be_filled() -> None:
    with pytest.raises(InputError, match="channels last"):
        fill(torch.rand(40, 50, 3), HOLE)
    with pytest.raises(InputError, match="a tensor is"):
        fill(torch.rand(5), HOLE)
    with pytest.raises(InputError, match="'out' is for an image given by its path"):
        fill(torch.rand(40, 50), HOLE, out="x.png")


def test_xarray_keeps_names_coordinates_and_attributes() -> None:
    xarray = pytest.importorskip("xarray")
    days = np.stack([make_photo(seed) for seed in range(2)]).transpose(0, 3, 1, 2).copy()
    days[:, :, HOLE] = np.nan
    image = xarray.DataArray(
        days,
        dims=("time", "band", "lat", "lon"),
        coords={"time": [1, 2], "lat": np.linspace(50, 46, 40), "lon": np.arange(50.0)},
        attrs={"units": "K"},
        name="t",
    )
    filled = fill(image)
    assert (filled.dims, filled.name, filled.attrs) == (image.dims, "t", {"units": "K"})
    xarray.testing.assert_equal(filled.where(~image.isnull()), image)
    expected = fill(days[1].transpose(1, 2, 0), bands=True).transpose(2, 0, 1)
    np.testing.assert_array_equal(filled.values[1], expected)
    mask = xarray.DataArray(HOLE, dims=("lat", "lon"), coords={"lat": image.lat, "lon": image.lon})
    turned = fill(image.fillna(0).transpose("lon", "band", "time", "lat"), mask)
    assert turned.dims == ("lon", "band", "time", "lat")
    xarray.testing.assert_allclose(turned.transpose(*image.dims), filled)
