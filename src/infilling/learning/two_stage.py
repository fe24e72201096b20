"""What systems share that learn by L1 first, which fills closest to the truth, and then also by critics."""

from pydantic import NonNegativeFloat, NonNegativeInt
from torch import Tensor

from infilling.learning.critics import PHASES
from infilling.learning.features import SMALLEST_SIDE
from infilling.learning.scalars import D_FAKE_AFTER, LOSS_G, RECONSTRUCTION
from infilling.learning.system import AnySizeSettings, Channels, Depth, Losses, System
from infilling.learning.unet import Width
from infilling.pictures.frame import SizeRule


class TwoStageSettings(AnySizeSettings):
    """Widths, and the weights and stages of the losses."""

    widths: tuple[Width, Width, Width] = (32, 80, 192)
    """Channels at 1/2, 1/4 and 1/8 of the side; multiples of 8."""
    depth: Depth = 4
    """Residual blocks with self-attention at 1/8."""
    critic_width: Channels
    l1_weight: NonNegativeFloat
    perceptual_weight: NonNegativeFloat
    """In the second stage. 0 trains without a feature file: the critics then see pixels alone."""
    adversarial_weight: NonNegativeFloat
    feature_matching_weight: NonNegativeFloat = 10.0
    adversary_start_images: NonNegativeInt = 0
    """Pictures of the first stage, which has L1 alone."""
    adversary_ramp_images: NonNegativeInt
    """Pictures of the second stage over which the adversarial terms rise to their weight."""


class TwoStageSystem(System):
    """L1 first; from `adversary_start_images` on also perceptual distance, and critics with feature matching.

    The critics see the composited picture, so that seams count (lama#78), and judge only the cells that the
    hole covers: elsewhere true and filled are the same. Perceptual loss and critics see pictures from another
    pixel on in every step: a fixed grid of their strides would show in the fills.

    Args:
        settings: weights and stages.
        multiple_of: divisor of the pictures' sides, pixels.
        feature_layers: what the losses of the second stage read of a feature network.
    """

    settings: TwoStageSettings

    def __init__(
        self, settings: TwoStageSettings, *, multiple_of: int, feature_layers: tuple[str, ...]
    ) -> None:
        super().__init__(settings)
        self.size_rule = SizeRule(multiple_of=multiple_of, working_size=settings.working_size)
        self.discriminator_start_images = settings.adversary_start_images
        self.needs_features = settings.perceptual_weight > 0
        self.feature_layers = feature_layers if self.needs_features else ()
        self.smallest_side = (SMALLEST_SIDE if self.needs_features else PHASES) + PHASES - 1

    @property
    def is_first_stage(self) -> bool:
        """Whether the step at hand learns by L1 alone."""
        return self.images_seen < self.discriminator_start_images

    def fill(self, image: Tensor, mask: Tensor, noise: Tensor | None = None) -> Tensor:
        """Fill any holes of pictures whose sides fit the size rule.

        Args:
            image: (N, 3, H, W) in [0, 1].
            mask: (N, 1, H, W), 1 inside the hole.
            noise: (N, 1, H, W) of mean 0 and variance 1, from which it invents; None: no noise.
        """
        filled: Tensor = self.generator(image, mask, noise).clamp(0, 1)
        return filled

    def compare(self, l1: Tensor, perceptual: Tensor | None = None) -> Losses:
        """Return the weighted sum of the distances from the true picture."""
        total = self.settings.l1_weight * l1
        scalars = {"l1": l1.detach()}
        if perceptual is not None:
            total = total + self.settings.perceptual_weight * perceptual
            scalars["perceptual"] = perceptual.detach()
        return total, scalars | {RECONSTRUCTION: total.detach()}

    def add_critics(self, compared: Losses, adversarial: Tensor, matching: Tensor, chance: Tensor) -> Losses:
        """Add the critics' terms, whose weight rises over the first pictures of the second stage.

        Args:
            compared: what `compare` returned.
            adversarial: the adversary's loss.
            matching: distance of the critics' features of filled and true pictures.
            chance: share of filled pictures that the critics take for true, for the log alone.
        """
        total, scalars = compared
        settings = self.settings
        begun = self.seen - settings.adversary_start_images + 1
        ramp = (begun / max(1, settings.adversary_ramp_images)).clamp(0, 1).float()
        total = total + ramp * settings.adversarial_weight * adversarial
        total = total + ramp * settings.feature_matching_weight * matching
        measured = {LOSS_G: adversarial, "feature_matching": matching, D_FAKE_AFTER: chance}
        return total, scalars | {name: value.detach() for name, value in measured.items()}
