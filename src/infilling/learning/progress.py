"""Progress reports of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """The state of a run, and what just happened.

    Attributes:
        step: number of steps taken.
        images_seen: number of pictures seen.
        share: share of the way to the nearest limit, in [0, 1].
        row: the row of `stats.jsonl` if one was just written, else empty.
        note: an event in words, else empty.
        activity: what the run does now, if it is not learning: "preparing pictures 300/1,000"; else empty.
    """

    step: int = 0
    images_seen: int = 0
    share: float = 0.0
    row: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    activity: str = ""


Report = Callable[[Progress], None]


def ignore_progress(_progress: Progress) -> None:
    """Ignore a report."""
