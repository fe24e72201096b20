"""Arrays of other packages: torch tensors and xarray's arrays, as NumPy arrays and back.

Neither package is imported: who has such an array has loaded it.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from infilling.errors import InputError
from infilling.pictures.picture import Array

ROWS = ("y", "lat", "latitude", "row", "rows", "height", "northing")
COLUMNS = ("x", "lon", "longitude", "column", "columns", "col", "width", "easting")
CHANNELS = ("band", "bands", "channel", "channels", "c", "wavelength", "variable")


@dataclass(frozen=True, eq=False)
class Parts:
    """Arrays that are filled one by one.

    Attributes:
        arrays: each (H, W) or (H, W, C), with its mask; None: there is none.
        bands: all channels are data.
        join: makes what was given again, of the filled arrays.
    """

    arrays: Sequence[tuple[Array, Any]]
    bands: bool
    join: Callable[[Sequence[Array]], Any]


def take_apart(image: object, mask: Any) -> Parts | None:
    """Take a tensor or an xarray array apart; None for all that is neither.

    Args:
        image: a tensor (H, W), (C, H, W) or (N, C, H, W), or an array with named dimensions, of which two are
            rows and columns.
        mask: what says where the hole is; for several pictures one for all, or one for each.

    Raises:
        InputError: image or mask has another shape.
    """
    torch, xarray = sys.modules.get("torch"), sys.modules.get("xarray")
    if torch is not None and isinstance(image, torch.Tensor):
        return _take_tensor(image, mask, torch)
    if xarray is not None and isinstance(image, xarray.DataArray):
        return _take_named(image, mask, xarray)
    return None


# -- torch ---------------------------------------------------------------------------------------------------


def _take_tensor(tensor: Any, mask: Any, torch: Any) -> Parts:
    shape = tuple(tensor.shape)
    if tensor.ndim not in (2, 3, 4) or not tensor.numel():
        raise InputError(f"a tensor is (H, W), (C, H, W) or (N, C, H, W), none of them 0, not {shape}")
    if tensor.ndim == 3 and shape[2] in (1, 3, 4) and shape[0] > 16:
        raise InputError(f"a tensor of shape {shape} seems to have its channels last: give it as (C, H, W)")
    values = tensor.detach().cpu()
    array = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    planes = (1, *shape)[-3:]
    batch = array.reshape(-1, *planes)
    if torch.is_tensor(mask):
        mask = mask.detach().cpu().float().numpy()
    masks = _split_mask(mask, len(batch), shape[-2:])
    arrays = [(np.moveaxis(part, 0, -1), each) for part, each in zip(batch, masks, strict=True)]

    def join(filled: Sequence[Array]) -> Any:
        stacked = np.stack([np.moveaxis(each, -1, 0) for each in filled]).reshape(array.shape)
        return torch.from_numpy(np.ascontiguousarray(stacked)).to(tensor.device, tensor.dtype)

    return Parts(arrays, False, join)


def _split_mask(mask: Any, count: int, size: tuple[int, ...]) -> Sequence[Any]:
    """Return a mask for each of `count` pictures: (H, W) is for all, (N, H, W) one for each."""
    if not isinstance(mask, np.ndarray):
        return [mask] * count
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]
    planes = mask[None] if mask.ndim == 2 else mask
    if planes.shape not in ((1, *size), (count, *size)):
        wanted = f"({size[0]}, {size[1]}), or (N, 1, {size[0]}, {size[1]}) with N = {count}"
        raise InputError(f"the mask is {mask.shape}: give {wanted}")
    return list(np.broadcast_to(planes, (count, *size)))


# -- xarray --------------------------------------------------------------------------------------------------


def _take_named(image: Any, mask: Any, xarray: Any) -> Parts:
    if image.ndim < 2 or not image.size:
        raise InputError(f"an xarray array has rows and columns, not only {image.dims}")
    rows, columns = _find_dimension(image, ROWS, -2), _find_dimension(image, COLUMNS, -1)
    others = [name for name in image.dims if name not in (rows, columns)]
    channels = [name for name in others if str(name).lower() in CHANNELS][:1]
    apart = [name for name in others if name not in channels]
    ordered = image.transpose(*apart, rows, columns, *channels)
    shape = ordered.shape
    stack = ordered.values.reshape(-1, *shape[len(apart) :])
    size = int(image.sizes[rows]), int(image.sizes[columns])
    if isinstance(mask, xarray.DataArray):
        wide = mask.broadcast_like(ordered.isel(dict.fromkeys(channels, 0), drop=True))
        mask = wide.transpose(*apart, rows, columns).values.reshape(-1, *size)
    masks = _split_mask(mask, len(stack), size)

    def join(filled: Sequence[Array]) -> Any:
        return ordered.copy(data=np.stack(filled).reshape(shape)).transpose(*image.dims)

    return Parts(list(zip(stack, masks, strict=True)), bool(channels), join)


def _find_dimension(image: Any, names: Sequence[str], place: int) -> Any:
    """Return the dimension of one of some names; without one, the one at a place."""
    found = [name for name in image.dims if str(name).lower() in names]
    return found[0] if found else image.dims[place]
