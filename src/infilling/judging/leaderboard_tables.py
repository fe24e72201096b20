"""A leaderboard as tables of text, which the page and the Markdown file share."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from infilling.judging import figures, page
from infilling.judging.figures import NOT_ABLE, Table
from infilling.judging.leaderboard_results import (
    RANKED_BY,
    Entry,
    HoleResults,
    Leaderboard,
    SceneClass,
    SceneRanking,
)
from infilling.judging.losses import BEATEN, GanLosses
from infilling.judging.metrics import ABSENT, METRICS
from infilling.judging.results import Difference, Row

EXTREMES = 10  # number of the easiest and of the hardest classes that are listed
_GIGA = 1e9
_COSTS = ("ms/picture", "parameters", "GFLOP", "images seen", "pictures")


def to_markdown(board: Leaderboard) -> str:
    """Return the whole leaderboard as Markdown, without the pictures and curves."""
    tables = [table.to_markdown() for table in make_tables(board)]
    parts = ["# Leaderboard\n", describe_board(board) + "\n", *tables]
    if board.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in board.notes) + "\n")
    return "\n".join(parts)


def make_tables(board: Leaderboard) -> list[Table]:
    """Return every table that has lines, in the order of the page."""
    tables = [make_overview(board), *(make_figures(board, each) for each in board.results)]
    tables += [make_bins(each) for each in board.results]
    tables += [table for table, _ in make_scenes(board.scenes)]
    tables += [*make_settings(board), make_losses(board), make_files(board)]
    return [table for table in tables if table.lines]


def describe_board(board: Leaderboard) -> str:
    """Return a sentence on what was trained and judged."""
    about = board.settings
    learned = [entry for entry in board.entries if entry.training]
    engines = f"{len(board.entries)} engines"
    if learned:
        engines = (
            f"{len(learned)} systems, trained for {about['minutes each']:g} minutes each on "
            f"{' and '.join(about['trained on'])}, and {len(board.entries) - len(learned)} other engines"
        )
    return (
        f"{engines}, judged on the same {about['pictures']:,} pictures of {about['size']} px with the same "
        f"holes (seed {about['seed']}), version {about['version']}, {about['written']}."
    )


def make_overview(board: Leaderboard) -> Table:
    """Return what each engine is and costs, and its hole PSNR on each kind of holes."""
    header = ["engine", "system", "parameters", "GFLOP", "images seen", "ms/picture"]
    for each in board.results:
        header += [f"hole PSNR, {each.kind}"]
        header += [f"against {each.baseline.engine}"] if each.baseline else []
    lines = []
    for entry in board.entries:
        rows = [each.rows[entry.name] for each in board.results]
        line = [entry.name, entry.system.get("name", ABSENT), *_list_costs(entry), _show_milliseconds(rows)]
        for each, row in zip(board.results, rows, strict=True):
            line += [_show_figure(row)]
            line += [_show_difference(row, each.baseline)] if each.baseline else []
        lines.append(tuple(line))
    return Table(
        tuple(header),
        tuple(lines),
        "Overview",
        before="The best first. Hole PSNR in dB; ± is the 95 % confidence interval of a mean difference, "
        "picture by picture. Parameters are the generator's; GFLOP are 10⁹ operations to fill one picture, "
        "two for each multiplication and addition.",
        after="\n\n".join(filter(None, map(compare_with_baseline, board.results))),
    )


def compare_with_baseline(results: HoleResults) -> str:
    """Return who is better and who is worse than the classical baseline, as far as the pictures can tell."""
    baseline = results.baseline
    if baseline is None:
        return ""
    groups: dict[str, list[str]] = {"better": [], "no difference": [], "worse": [], NOT_ABLE: []}
    for name, row in results.rows.items():
        if name != baseline.engine:
            groups[_judge_difference(row.differences.get(RANKED_BY))].append(name)
    verdicts = "; ".join(f"{group}: {', '.join(names)}" for group, names in groups.items() if names)
    return f"Against {baseline.engine} with {results.kind} holes: {verdicts}." if verdicts else ""


def _judge_difference(difference: Difference | None) -> str:
    if difference is None:
        return NOT_ABLE
    if not abs(difference.mean) > difference.margin:
        return "no difference"
    return "better" if difference.mean > 0 else "worse"


def make_figures(board: Leaderboard, results: HoleResults) -> Table:
    """Return all metrics of one kind of holes, and the costs; the best of each column is bold."""
    entries = {entry.name: entry for entry in board.entries}
    rows = results.evaluation.rows
    table = figures.make_table(rows, "**{}**")
    lines = []
    for row, (name, *cells, _seconds, _pictures) in zip(rows, table.lines, strict=True):
        shown = cells if row.pictures else [NOT_ABLE] * len(cells)
        pictures = f"{row.pictures:,}" if row.pictures else NOT_ABLE
        lines.append((name, *shown, _show_milliseconds([row]), *_list_costs(entries[name]), pictures))
    header = (*table.header[:-2], *_COSTS)
    return Table(header, tuple(lines), f"Figures: {results.kind} holes")


def make_bins(results: HoleResults) -> Table:
    """Return the hole PSNR by the share of the picture that the hole takes."""
    rows = results.evaluation.rows
    bins = page.list_bins(rows)
    return Table(
        header=("engine", *(f"{label.replace('-', '–')} ({count:,})" for label, count in bins.items())),
        lines=tuple((row.engine, *_list_bins(row, bins)) for row in rows if bins),
        title=f"Size of the hole: {results.kind} holes",
        before="Hole PSNR in dB by the share of the picture that the hole takes; in brackets, the number of "
        "pictures.",
    )


def _list_bins(row: Row, bins: Iterable[str]) -> list[str]:
    if not row.pictures:
        return [NOT_ABLE for _ in bins]
    return [page.show_psnr(page.get_value(row.bins.get(label))) for label in bins]


def make_scenes(scenes: SceneRanking | None) -> Iterator[tuple[Table, Sequence[SceneClass]]]:
    """Yield the easiest and the hardest kinds of scene, as a table and as classes."""
    if scenes is None:
        return
    few = max(1, min(EXTREMES, len(scenes.ranked) // 2))
    counts = [scene.pictures for scene in scenes.ranked]
    before = (
        f"Hole PSNR in dB by class of {scenes.pictures:,} pictures with {scenes.kind} holes, "
        f"{min(counts):,} to {max(counts):,} in each of {len(counts):,} classes."
    )
    header = ("scene", "pictures", scenes.engine, *([scenes.baseline] if scenes.baseline else []))
    for which, chosen, text in (
        ("easiest", scenes.ranked[:few], before),
        ("hardest", scenes.ranked[-few:][::-1], ""),
    ):
        lines = tuple(_list_scene(scene, bool(scenes.baseline)) for scene in chosen)
        yield Table(header, lines, f"Kind of scene: the {few} {which} for {scenes.engine}", text), chosen


def _list_scene(scene: SceneClass, has_baseline: bool) -> tuple[str, ...]:
    values = [scene.value, scene.baseline] if has_baseline else [scene.value]
    return (scene.group or "(none)", f"{scene.pictures:,}", *map(page.show_psnr, values))


def make_settings(board: Leaderboard) -> Iterator[Table]:
    """Yield the rows of each system that differ in their settings, such as their losses."""
    by_system: dict[str, list[Entry]] = {}
    for entry in board.entries:
        if entry.system:
            by_system.setdefault(entry.system["name"], []).append(entry)
    for name, entries in by_system.items():
        keys = find_differences([entry.system for entry in entries])
        yield Table(
            header=("engine", *keys, *(f"hole PSNR, {each.kind}" for each in board.results)),
            lines=tuple((entry.name, *_list_settings(entry, keys, board)) for entry in entries if keys),
            title=f"One system, set differently: {name}",
            before="What differs between the rows of one system, and their hole PSNR in dB.",
        )


def _list_settings(entry: Entry, keys: Iterable[str], board: Leaderboard) -> list[str]:
    values = [_show_setting(entry.system.get(key, ABSENT)) for key in keys]
    return values + [_show_figure(each.rows[entry.name]) for each in board.results]


def find_differences(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the keys that do not have the same value in all tables.

    >>> find_differences([{"name": "x", "ring": 7}, {"name": "x", "ring": 0}])
    ['ring']
    """
    keys = dict.fromkeys(key for table in tables for key in table)
    return [key for key in keys if any(table.get(key) != tables[0].get(key) for table in tables)]


def make_losses(board: Leaderboard) -> Table:
    """Return how even each generator and discriminator were; no lines without any GAN."""
    header = ["engine", "rows"]
    for name in ("Loss_D", "Loss_G"):
        header += [f"{name}, median", "5–95 %", "largest spike", "at step"]
    return Table(
        header=(*header, "D(x)", "D(G(z))", f"Loss_D < {BEATEN:g}"),
        lines=tuple((entry.name, *_list_losses(entry.losses)) for entry in board.entries if entry.losses),
        title="Losses of the GANs",
        before="Medians over the rows of stats.jsonl. A spike is measured from the running median. D(x) and "
        "D(G(z)) before its step are probabilities under BCE, scores under the hinge. The last column is the "
        "share of steps in which D was hardly ever wrong: too strong to teach.",
    )


def _list_losses(losses: GanLosses) -> list[str]:
    cells = [f"{len(losses.steps):,}"]
    for loss in losses.curves.values():
        spike = loss.spike
        cells += [f"{loss.median:.3g}", f"{loss.low:.3g} to {loss.high:.3g}"]
        cells += [f"+{spike.above:.3g}", f"{spike.step:,}"]
    chances = [ABSENT if math.isnan(value) else f"{value:.2f}" for value in (losses.d_real, losses.d_fake)]
    return [*cells, *chances, f"{losses.beaten:.0%}"]


def make_files(board: Leaderboard) -> Table:
    """Return the SHA-256 of the files that filled."""
    digests = {name: row.digest for each in board.results for name, row in each.rows.items() if row.digest}
    return Table(("engine", "SHA-256"), tuple(digests.items()), "Files that filled")


def _list_costs(entry: Entry) -> tuple[str, str, str]:
    """Return parameters, GFLOP, and images seen."""
    cost, training = entry.cost, entry.training
    parameters, operations = (f"{cost.generator:,}", f"{cost.flop / _GIGA:.3g}") if cost else (ABSENT, ABSENT)
    return parameters, operations, f"{training.images_seen:,}" if training else ABSENT


def _show_milliseconds(rows: Iterable[Row]) -> str:
    seconds = [row.seconds for row in rows if row.pictures]
    return figures.show_seconds(1000 * sum(seconds) / len(seconds)) if seconds else NOT_ABLE


def _show_figure(row: Row) -> str:
    return page.show_psnr(row.values[RANKED_BY]) if row.pictures else NOT_ABLE


def _show_difference(row: Row, baseline: Row) -> str:
    if row is baseline:
        return ABSENT
    difference = row.differences.get(RANKED_BY)
    return figures.show_difference(difference, METRICS[RANKED_BY].digits) if difference else NOT_ABLE


def _show_setting(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_show_setting, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
