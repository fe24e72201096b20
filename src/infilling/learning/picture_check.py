"""Check of pictures before training: their number, classes and sizes, and which are bad."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from infilling.learning.decoding import Progress, decode_items
from infilling.learning.picture_items import Skipped
from infilling.learning.picture_sources import find_sources, list_items

SIDE = 16  # pixels: decoding is only a test here, so JPEGs are decoded at their smallest


@dataclass(frozen=True)
class DataReport:
    """What pictures a path holds.

    Attributes:
        count: number of pictures that can be read.
        classes: number of pictures in each class, by name; pictures outside any folder have the class "".
        sizes: number of pictures of each (height, width), the most frequent first.
        bad: what cannot be read, and why; a shard that ends early is here too.
        ignored: number of other files in a folder, by suffix.
    """

    count: int
    classes: dict[str, int]
    sizes: dict[tuple[int, int], int]
    bad: tuple[Skipped, ...]
    ignored: dict[str, int]

    def short_sides(self) -> tuple[int, float, int]:
        """Return the smallest, median and largest short side, pixels; zeros without pictures."""
        sides = Counter[int]()
        for size, count in self.sizes.items():
            sides[min(size)] += count
        if not sides:
            return 0, 0.0, 0
        return min(sides), median(sides.elements()), max(sides)


def check_pictures(
    paths: str | Path | Iterable[str | Path], *, workers: int | None = None, progress: Progress | None = None
) -> DataReport:
    """Decode every picture of folders, tar shards or IDX files, and keep none.

    Raises:
        DataError: nothing at a path, or a shard or IDX file that cannot be read as one.
    """
    found = find_sources(paths)
    items, bad = list_items(found)
    classes, sizes = Counter[str](), Counter[tuple[int, int]]()
    for item, result in decode_items(items, SIDE, workers, progress):
        if isinstance(result, str):
            bad.append(Skipped(item.name, result))
        else:
            classes[item.label] += 1
            sizes[result[1]] += 1
    ignored = Counter[str]()
    for source in found:
        ignored.update(source.ignored)
    return DataReport(
        sizes.total(), dict(sorted(classes.items())), dict(sizes.most_common()), tuple(bad), dict(ignored)
    )


def describe_report(report: DataReport, *, most: int = 20) -> Iterator[str]:
    """Yield a report's lines, the longer lists cut after `most` entries."""
    named = {name: count for name, count in report.classes.items() if name}
    yield f"{report.count:,} pictures, {len(named)} classes, {len(report.bad)} bad"
    smallest, middle, largest = report.short_sides()
    if report.count:
        yield f"short side {smallest} to {largest} px, median {middle:g}"
    sizes = [f"{width}×{height}: {count:,}" for (height, width), count in report.sizes.items()]
    yield from _cut_list(sizes, most, "sizes")
    classes = [f"{name}: {count:,}" for name, count in named.items()]
    yield from _cut_list(classes, most, "classes")
    bad = [f"bad: {name}: {reason}" for name, reason in report.bad]
    yield from _cut_list(bad, most, "bad files")
    if report.ignored:
        yield "other files: " + ", ".join(f"{count:,} {suffix}" for suffix, count in report.ignored.items())


def _cut_list(lines: Sequence[str], most: int, what: str) -> Iterator[str]:
    yield from (f"  {line}" for line in lines[:most])
    if len(lines) > most:
        yield f"  … and {len(lines) - most:,} more {what}"
