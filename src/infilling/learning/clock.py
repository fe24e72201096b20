"""Time and limits of a run."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from infilling.learning.settings import TrainSettings


class Clock:
    """The time of a run.

    Args:
        seconds: seconds of learning before this start.
        images_seen: number of pictures seen before this start.
        started: `time.monotonic()` when this start began; None: now.
    """

    def __init__(self, seconds: float = 0.0, images_seen: int = 0, started: float | None = None) -> None:
        self._learning = self._saved = time.monotonic()
        self._started = self._learning if started is None else started
        self._before = seconds
        self._paused = 0.0
        self._mark = (seconds, images_seen)

    @property
    def seconds(self) -> float:
        """Seconds of learning in all starts, without pauses."""
        return self._before + time.monotonic() - self._learning - self._paused

    @property
    def minutes(self) -> float:
        """Minutes since this start began, with all that is not learning."""
        return (time.monotonic() - self._started) / 60

    @property
    def minutes_unsaved(self) -> float:
        """Minutes since the last `note_save`."""
        return (time.monotonic() - self._saved) / 60

    def note_save(self) -> None:
        """Mark a save."""
        self._saved = time.monotonic()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the time inside out of `seconds`: samples, checkpoints."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._paused += time.monotonic() - begun

    def measure_rate(self, images_seen: int) -> float:
        """Return the pictures per second of learning since the last call."""
        seconds, images = self._mark
        self._mark = (self.seconds, images_seen)
        return (images_seen - images) / max(self._mark[0] - seconds, 1e-9)


class Limits:
    """The limits of a run, in pictures and in minutes of this start.

    Args:
        settings: of them `epochs`, `images`, `steps` and `max_minutes`.
        epoch_images: number of pictures in an epoch; 0 where it is not known.
        reserve: minutes that the end of the run takes: the last sample, the checkpoint, the export.
    """

    def __init__(self, settings: TrainSettings, epoch_images: float, reserve: float = 0.0) -> None:
        self._images: dict[str, int] = {}  # limit → number of pictures
        if settings.epochs and epoch_images:
            self._images["epochs"] = math.ceil(settings.epochs * epoch_images)
        if settings.images:
            self._images["images"] = settings.images
        if settings.steps:
            self._images["steps"] = settings.steps * settings.batch
        self.minutes = (settings.max_minutes or math.inf) - reserve

    @property
    def images(self) -> int | None:
        """The pictures after which the run ends; None where only its minutes say."""
        return min(self._images.values(), default=None)

    def find_reached(self, images_seen: int, clock: Clock) -> str | None:
        """Return the name of a limit that is reached, or None."""
        for name, images in self._images.items():
            if images_seen >= images:
                return name
        return "max_minutes" if clock.minutes >= self.minutes else None

    def find_share(self, images_seen: int, clock: Clock) -> float:
        """Return the share of the way to the nearest limit, in [0, 1]."""
        shares = [images_seen / images for images in self._images.values()]
        by_time = clock.minutes / self.minutes if self.minutes > 0 else 1.0
        return min(max(*shares, by_time, 0.0), 1.0)
