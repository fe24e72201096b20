"""A batch of pictures with a mask for each."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class MaskedBatch(NamedTuple):
    """Pictures and their holes.

    Attributes:
        image: (N, 3, H, W) float32 in [0, 1].
        mask: (N, 1, H, W) float32, 1 = hole, 0 = known; another one for every picture.
    """

    image: Tensor
    mask: Tensor


def halve_batch(batch: MaskedBatch) -> MaskedBatch:
    """Reduce pictures and masks to half the side; a cell that is half hole or more becomes hole."""
    channels_last = batch.image.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    image = F.avg_pool2d(batch.image, 2).contiguous(memory_format=layout)
    return MaskedBatch(image, (F.avg_pool2d(batch.mask, 2) >= 0.5).float())


def paste(image: Tensor, filled: Tensor | float, mask: Tensor) -> Tensor:
    """Return pictures with what was filled in their holes: (N, C, H, W) of any range, the mask 1 = hole."""
    return image * (1 - mask) + filled * mask


def cover_holes(batch: MaskedBatch) -> Tensor:
    """Return the pictures with their holes grey: (N, 3, H, W) in [0, 1]."""
    return paste(batch.image, 0.5, batch.mask)


def split_batch(batch: MaskedBatch, parts: int) -> list[MaskedBatch]:
    """Split a batch into parts of one size."""
    size = len(batch.image) // parts
    images, masks = torch.split(batch.image, size), torch.split(batch.mask, size)
    return [MaskedBatch(image, mask) for image, mask in zip(images, masks, strict=True)]
