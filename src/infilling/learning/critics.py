"""Critics of filled pictures that several systems share, and the means over what they judge."""

from collections.abc import Mapping
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from infilling.learning.features import scale_to_unit

PHASES = 8  # shifts of the pictures against the strides of the critics and the feature network, pixels
MOST_ZOOM = 1.25  # largest factor by which the view of the feature network is enlarged
COVERED = 0.3  # smallest share of a critic's cell that the hole covers for the cell to be judged

Judgement = tuple[Tensor, list[Tensor]]
"""A critic's scores (N, 1, h, w), one for each of its cells, and the features of its layers."""


class PixelCritic(nn.Module):
    """(picture, mask) → a score for each 8×8 cell; spectral norm below the score."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                spectral_norm(nn.Conv2d(4, width, 4, stride=2, padding=1)),
                spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
                spectral_norm(nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1)),
                spectral_norm(nn.Conv2d(4 * width, 4 * width, 3, padding=1)),
            ]
        )
        self.score = nn.Conv2d(4 * width, 1, 3, padding=1)  # free: held to norm 1, scores stay near zero

    def forward(self, image: Tensor, mask: Tensor) -> Judgement:
        """Score a picture (N, 3, H, W) in [0, 1] with its mask (N, 1, H, W)."""
        x = torch.cat([image * 2 - 1, mask], dim=1)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


class FeatureCritic(nn.Module):
    """(a layer of a frozen feature network, mask) → a score for each of the layer's cells.

    It need not learn from nothing what texture is (Projected GANs, Sauer et al., NeurIPS 2021): after 2,000
    pictures such a critic recognises fills that one of pixels still takes for true.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.enter = spectral_norm(nn.Conv2d(channels + 1, width, 1))
        self.layers = nn.ModuleList([spectral_norm(nn.Conv2d(width, width, 3, padding=1)) for _ in range(2)])
        self.score = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, seen: Tensor, mask: Tensor) -> Judgement:
        """Score what the layer sees (N, C, h, w) of a picture with this mask (N, 1, H, W)."""
        seen = scale_to_unit(seen.float()) * seen.shape[1] ** 0.5  # each place by its direction alone
        covered = F.adaptive_avg_pool2d(mask, (seen.shape[-2], seen.shape[-1]))
        x = F.leaky_relu(self.enter(torch.cat([seen, covered], dim=1)), 0.2)
        features = [x]
        for layer in self.layers:
            x = x + F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


class Critics(nn.Module):
    """Critics of one picture: of its pixels, and of each layer that a feature network shows them.

    Args:
        width: number of channels of each critic.
        layers: name → number of channels; empty without a feature network.
    """

    def __init__(self, width: int, layers: Mapping[str, int]) -> None:
        super().__init__()
        self.pixels = PixelCritic(width)
        self.heads = nn.ModuleDict({name: FeatureCritic(count, width) for name, count in layers.items()})

    def forward(
        self, image: Tensor, mask: Tensor, seen: Mapping[str, Tensor], seen_mask: Tensor | None = None
    ) -> list[Judgement]:
        """Ask every critic, that of pixels first, the others in the order of `seen`.

        Args:
            image: (N, 3, H, W) in [0, 1], the composited picture.
            mask: (N, 1, H, W), 1 inside the hole.
            seen: name → (N, C, h, w); layers without a critic are left out.
            seen_mask: where the hole is in what the feature network saw, if that is not `mask`.
        """
        seen_mask = mask if seen_mask is None else seen_mask
        heads = [self.heads[name](layer, seen_mask) for name, layer in seen.items() if name in self.heads]
        return [self.pixels(image, mask), *heads]


def shift_together(image: Tensor, generated: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Leave seven rows and columns out of all three, the same random 0–7 of them at the top and the left.

    The place is a tensor on the pictures' device, so that a step can be captured as a CUDA graph.
    """
    height, width = (side - PHASES + 1 for side in image.shape[-2:])  # one size for all places
    top, left = torch.randint(0, PHASES, (2, 1), device=image.device)
    rows = top + torch.arange(height, device=image.device)
    columns = left + torch.arange(width, device=image.device)
    image, generated, mask = (
        each.index_select(-2, rows).index_select(-1, columns) for each in (image, generated, mask)
    )
    return image, generated, mask


def zoom_in(image: Tensor, generated: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Look at all three through one window a picture, a little enlarged and off the grid of pixels.

    A feature network reacts to patterns of single pixels that nobody sees. From other distances and between
    pixels it reacts otherwise, so that a generator does not learn to draw them.

    Returns:
        (N, 3, h, w), (N, 3, h, w) and (N, 1, h, w) of the sides that `shift_together` leaves; the mask is 1
        where any of the hole is seen.
    """
    count, _, *sides = image.shape
    height, width = (side - PHASES + 1 for side in sides)
    random = torch.rand(3, count, 1, device=image.device)
    zoom = 1 + random[0] * (MOST_ZOOM - 1)
    theta = image.new_zeros((count, 2, 3), dtype=torch.float32)
    for axis, (seen, side) in enumerate(((width, sides[1]), (height, sides[0]))):
        share = seen / side / zoom  # of the picture that the window shows
        theta[:, axis, axis] = share[:, 0]
        theta[:, axis, 2] = ((2 * random[1 + axis] - 1) * (1 - share))[:, 0]
    grid = F.affine_grid(theta, [count, 1, height, width], align_corners=False)
    together = torch.cat([image.float(), generated.float(), mask.float()], dim=1)
    together = F.grid_sample(together, grid, padding_mode="border", align_corners=False)
    return together[:, :3], together[:, 3:6], (together[:, 6:] > 0).float()


def mean_covered(values: list[Tensor], mask: Tensor) -> Tensor:
    """Return the mean over critics of each one's mean over the cells that the hole covers.

    Args:
        values: values of the cells of each critic, (N, 1, h, w).
        mask: holes, (N, 1, H, W), 1 inside.
    """
    means = []
    for value in values:
        share = F.adaptive_avg_pool2d(mask.float(), (value.shape[-2], value.shape[-1]))
        covered = (share >= COVERED).float()
        means.append((value * covered).sum() / covered.sum().clamp_min(1))  # 0 where it covers none
    return torch.stack(means).mean()


def match_features(found: list[Judgement], wanted: list[Judgement]) -> Tensor:
    """Return the L1 between the critics' features of filled and of true pictures, averaged over layers."""
    fake = chain.from_iterable(features for _, features in found)
    real = chain.from_iterable(features for _, features in wanted)
    distances = [F.l1_loss(a.float(), b.float()) for a, b in zip(fake, real, strict=True)]
    return torch.stack(distances).mean()
