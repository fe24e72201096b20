"""The settings of a run, with defaults and ranges: one frozen tree of tables."""

from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field

from infilling.learning.system import SystemSettings

Count = Annotated[int, Field(ge=1, le=10**12)]
"""Pictures or steps: 1 to 10¹²."""
CountOrNone = Annotated[int, Field(ge=0, le=10**12)]
"""Pictures: 0 to 10¹²; 0 for none."""
Rate = Annotated[float, Field(gt=0.0, le=10.0)]
"""A learning rate: above 0, at most 10."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
"""A share: 0 to 1."""
Minutes = Annotated[float, Field(gt=0.0, le=10**7)]
"""Minutes: above 0, at most 10⁷, which is 19 years."""


class _Table(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Table):
    """Pictures to learn from."""

    paths: tuple[str, ...] = ()
    """Folders, tar shards or IDX files, or URLs of shards; `--data` takes their place."""
    image_size: int = Field(default=128, ge=8, le=4096)
    """Side of the square pictures in a batch, pixels."""
    prepared_size: int | None = Field(default=None, ge=8, le=4096)
    """Side of the prepared pictures, where it is more than `image_size`: room for random crops."""
    crop: Literal["center", "random"] = "center"
    """Position of the square in a prepared picture that is larger."""
    flip: bool = False
    """Mirror every other picture left to right, at random."""
    zoom: float = Field(default=1.0, ge=1.0, le=64.0)
    """Enlarge a random part of each picture by a factor from 1 to this."""
    half_size_images: CountOrNone = 0
    """Number of first pictures that are learned from at half the side, at 1/4 of the cost."""
    validation_share: float = Field(default=0.02, ge=0.0, lt=1.0)
    """Share of the pictures held out of training, of which the sample grids are made."""
    cache: str | None = None
    """Folder of the prepared pictures; None: the user's cache folder."""
    stream: bool = False
    """Read tar shards again in every epoch and prepare nothing; those behind URLs always are."""
    lanes: int = Field(default=8, ge=1, le=65_536)
    """Shards open at a time, in all processes together: a streamed batch takes equally many of each."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """Threads of each process that decode pictures; None: one for each CPU."""
    trained_on: str = ""
    """Description of the pictures, written into the exported model."""
    licence: str = ""
    """Terms of the pictures, written into the exported model."""

    @property
    def decoded_size(self) -> int:
        """Side that pictures are decoded to, pixels."""
        return max(self.prepared_size or 0, self.image_size)

    @property
    def streamed(self) -> bool:
        """Whether pictures come out of shards while they are learned from."""
        return self.stream or any("://" in path for path in self.paths)


class HoleSettings(_Table):
    """Holes that are made in them."""

    kind: str = "block"
    """A hole maker's name, a mix such as "0.4 block + 0.6 freeform", or a folder of masks."""
    min_area: Share | None = None
    """Smallest share of the picture that a hole may take."""
    max_area: Share | None = None
    """Largest share of the picture that a hole may take."""
    pool: int = Field(default=0, ge=0, le=1_000_000)
    """Number of holes made once, to draw from and mirror at random; 0: new ones for every batch."""


class OptimizerSettings(_Table):
    """Optimiser and learning rate of one network."""

    kind: Literal["adam", "adamw"] = "adam"
    lr: Rate = 2e-4
    """Highest learning rate."""
    beta1: float = Field(default=0.5, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    eps: float = Field(default=1e-8, gt=0.0, le=1.0)
    weight_decay: float = Field(default=0.0, ge=0.0, le=10.0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_images: CountOrNone = 0
    """Pictures over which the rate rises in a straight line."""
    decay_images: Count | None = None
    """Pictures after which a cosine has reached its end; the rate stays there."""
    final_share: Share = 0.0
    """Share of the highest rate that is left at the end of a cosine."""
    restart_images: Count | None = None
    """Pictures after which the cosine has reached its end once and starts again, for a second stage."""
    restart_share: float = Field(default=1.0, gt=0.0, le=1.0)
    """Share of `lr` at which it starts again."""

    @pydantic.model_validator(mode="after")
    def _check_schedule(self) -> Self:
        begin, end = self.warmup_images, self.decay_images or 0
        if self.schedule == "cosine" and end <= begin:
            raise ValueError("a cosine schedule needs decay_images, more than warmup_images")
        if self.restart_images and not begin < self.restart_images < end:
            raise ValueError("restart_images must be between warmup_images and decay_images")
        return self


class TrainSettings(_Table):
    """Length, batches, optimisers and records of a run. The first limit reached ends it."""

    seed: int = Field(default=999, ge=0, lt=2**63)
    batch: int = Field(default=256, ge=1, le=1_048_576)
    """Pictures in a step, of all processes together."""
    accumulate: int = Field(default=1, ge=1, le=65_536)
    """Parts of a batch that are learned from one at a time, to save memory."""
    epochs: float | None = Field(default=None, gt=0.0, le=1_000_000.0)
    images: Count | None = None
    steps: Count | None = None
    max_minutes: Minutes | None = None
    """Minutes of this start of the command; a resumed run has as many again."""
    generator: OptimizerSettings = OptimizerSettings()
    discriminator: OptimizerSettings = OptimizerSettings()
    grad_clip: float | None = Field(default=None, gt=0.0, le=1e9)
    """Largest norm of one network's gradient; above it the gradient is scaled down."""
    ema_half_life_images: float = Field(default=10_000.0, ge=0.0, le=1e12)
    """Pictures after which a weight's share in its moving average has halved; 0: no average."""
    ema_ramp: float = Field(default=0.05, gt=0.0, le=100.0)
    """The half-life is at most this share of the pictures seen, so that the average forgets the start."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    channels_last: Literal["auto"] | bool = "auto"
    compile: bool = False
    """Compile networks with torch.compile: a minute at the start, faster steps on a GPU."""
    graphs: bool = False
    """Replay steps as CUDA graphs, on one GPU: a step's kernels are then started by one call."""
    log_every: Count = 50
    """Steps between rows of `stats.jsonl`."""
    sample_every: Count = 50
    """Steps between grids of the fixed held-out pictures."""
    samples: int = Field(default=16, ge=1, le=1024)
    """Held-out pictures in a grid."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    checkpoint_minutes: Minutes = 10.0
    """Minutes between checkpoints where steps are slow: the earlier of the two counts."""
    keep_checkpoints: int = Field(default=2, ge=1, le=100_000)
    """Number of checkpoints that are kept, the newest ones."""

    @pydantic.model_validator(mode="after")
    def _check_end(self) -> Self:
        if self.epochs is self.images is self.steps is self.max_minutes is None:
            raise ValueError("nothing ends this run: set epochs, images, steps or max_minutes")
        return self


class StartSettings(_Table):
    """Weights that the run starts from, instead of fresh ones."""

    weights: str | None = None
    """A run, a checkpoint or an ONNX file of the same system, or a released model's name."""


class FeatureSettings(_Table):
    """The feature network that perceptual losses read."""

    path: str | None = None


class Config(_Table):
    """All settings of a run."""

    system: pydantic.SerializeAsAny[SystemSettings]
    data: DataSettings = DataSettings()
    holes: HoleSettings = HoleSettings()
    train: TrainSettings
    start: StartSettings = StartSettings()
    features: FeatureSettings = FeatureSettings()
