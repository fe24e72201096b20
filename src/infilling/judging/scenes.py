"""Which kinds of scene are easy and which are hard: one engine, and the baseline, class by class."""

from collections.abc import Callable, Iterable, Mapping

from infilling.judging import page, scores
from infilling.judging.figures import BASELINE
from infilling.judging.leaderboard_results import SceneClass, SceneRanking
from infilling.judging.leaderboard_tables import EXTREMES
from infilling.judging.metrics import RANKED_BY
from infilling.judging.results import Example
from infilling.judging.scores import EngineScores, HoleSet


def rank_scenes(
    engine: str, rows: Mapping[str, str], hole_set: HoleSet, judge: Callable[[str], EngineScores]
) -> SceneRanking | None:
    """Rank the classes of pictures by the hole PSNR of an engine.

    Args:
        engine: name of the row that ranks them.
        rows: name of each row → what `find_engines` takes.
        hole_set: the pictures, and their holes.
        judge: returns the scores of a row on the hole set.

    Returns:
        The ranking; None where the pictures have no classes.
    """
    mine = judge(engine)
    ranked = page.rank_classes(mine.row)
    if not ranked:
        return None
    judged = [mine]
    if BASELINE in rows and engine != BASELINE:
        judged.append(judge(BASELINE))
    shown = [each.row for each in judged if each.row.groups]
    extremes = [*ranked[:EXTREMES], *ranked[EXTREMES:][-EXTREMES:]]
    examples = _find_medians(engine, rows[engine], extremes, mine, hole_set)
    classes = []
    for group in ranked:
        values = tuple(row.get_group(group, RANKED_BY) for row in shown)
        pictures = mine.row.groups[group].pictures
        classes.append(SceneClass(group, pictures, values, examples.get(group)))
    return SceneRanking(
        engines=tuple(row.engine for row in shown),
        kind=hole_set.kind,
        pictures=mine.row.pictures,
        ranked=tuple(classes),
    )


def _find_medians(
    name: str, engine: str, groups: Iterable[str], found: EngineScores, hole_set: HoleSet
) -> dict[str, Example]:
    """Fill the median picture of each class once more, to show it."""
    medians = {group: _find_median(group, found, hole_set) for group in groups}
    names = list(medians.values())
    results = scores.fill_named_pictures(engine, hole_set, names)
    opened = scores.open_named_pictures(hole_set, names)
    examples = {}
    for group, picture in medians.items():
        if picture in results:
            filled, psnr = {name: results[picture]}, {name: found.psnr[picture]}
            examples[group] = Example(group, picture, *opened[picture], filled, psnr)
    return examples


def _find_median(group: str, found: EngineScores, hole_set: HoleSet) -> str:
    """Name the picture in the middle of a class by hole PSNR."""
    in_class = {item.name for item in hole_set.items if item.label == group}
    names = sorted(in_class & found.psnr.keys(), key=lambda name: (-found.psnr[name], name))
    return names[len(names) // 2]
