"""When a run ends, how fast it goes, and when it was last saved."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from infilling.learning.settings import TrainSettings


class Clock:
    """Counts a run's time.

    Args:
        seconds: of training before this start.
        images_seen: pictures seen before this start.
    """

    def __init__(self, seconds: float = 0.0, images_seen: int = 0) -> None:
        self._started = self._saved = time.monotonic()
        self._before = seconds
        self._paused = 0.0
        self._mark = (seconds, images_seen)

    @property
    def seconds(self) -> float:
        """Seconds of training in all starts, without pauses."""
        return self._before + time.monotonic() - self._started - self._paused

    @property
    def minutes(self) -> float:
        """Minutes since this start, pauses included."""
        return (time.monotonic() - self._started) / 60

    @property
    def minutes_unsaved(self) -> float:
        """Minutes since the last `note_save`."""
        return (time.monotonic() - self._saved) / 60

    def note_save(self) -> None:
        """Marks a save."""
        self._saved = time.monotonic()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What runs inside is not training: samples, checkpoints."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._paused += time.monotonic() - begun

    def measure_rate(self, images_seen: int) -> float:
        """Pictures per second of training since the last call."""
        seconds, images = self._mark
        self._mark = (self.seconds, images_seen)
        return (images_seen - images) / max(self._mark[0] - seconds, 1e-9)


class Limits:
    """The limits of a run, in pictures and in minutes of this start.

    Args:
        settings: of them `epochs`, `images`, `steps` and `max_minutes`.
        epoch_images: pictures in an epoch.
    """

    def __init__(self, settings: TrainSettings, epoch_images: int) -> None:
        limits = {
            "epochs": settings.epochs and math.ceil(settings.epochs * epoch_images),
            "images": settings.images,
            "steps": settings.steps and settings.steps * settings.batch,
        }
        self._images = {name: images for name, images in limits.items() if images}
        self._max_minutes = settings.max_minutes

    def find_reached(self, images_seen: int, clock: Clock) -> str | None:
        """The name of a limit that is reached, or None."""
        for name, images in self._images.items():
            if images_seen >= images:
                return name
        return "max_minutes" if self._max_minutes and clock.minutes >= self._max_minutes else None

    def find_share(self, images_seen: int, clock: Clock) -> float:
        """The share of the way to the nearest limit, in [0, 1]."""
        shares = [images_seen / images for images in self._images.values()]
        if self._max_minutes:
            shares.append(clock.minutes / self._max_minutes)
        return min(max(shares), 1.0)
