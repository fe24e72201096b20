"""A leaderboard as tables of text, which the page and the Markdown file share."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from infilling.errors import count_things
from infilling.judging import figures, page
from infilling.judging.figures import NOT_ABLE, Table
from infilling.judging.leaderboard_results import Entry, HoleResults, Leaderboard, SceneClass, SceneRanking
from infilling.judging.losses import BEATEN, CURVES, GanLosses
from infilling.judging.metrics import ABSENT, METRICS, RANKED_BY
from infilling.judging.results import Difference, Row

EXTREMES = 10  # number of the easiest and of the hardest classes that are listed
GIGA = 1e9


def to_markdown(board: Leaderboard) -> str:
    """Return the whole leaderboard as Markdown, without the pictures and curves."""
    tables = [table.to_markdown() for table in make_tables(board)]
    parts = ["# Leaderboard\n", describe_board(board) + "\n", *tables]
    if board.notes:
        parts.append(f"## Notes\n\n{figures.list_notes(board.notes)}")
    return "\n".join(parts)


def make_tables(board: Leaderboard) -> list[Table]:
    """Return every table that has lines, in the order of the page."""
    tables = [make_overview(board)]
    tables += [make_figures(board, results) for results in board.results]
    tables += [make_bins(results) for results in board.results]
    tables += [table for table, _ in make_scenes(board.scenes)]
    tables += [*make_settings(board), make_losses(board), make_files(board)]
    return [table for table in tables if table.lines]


def describe_board(board: Leaderboard) -> str:
    """Return a sentence on what was trained and judged."""
    about = board.settings
    trained = sum(entry.training is not None for entry in board.entries)
    engines = count_things(len(board.entries), "engine")
    if trained:
        others = count_things(len(board.entries) - trained, "other engine")
        engines = (
            f"{count_things(trained, 'system')}, trained for {about['minutes each']:g} minutes each on "
            f"{' and '.join(about['trained on'])}, and {others}"
        )
    return (
        f"{engines}, judged on the same {about['pictures']:,} pictures of {about['size']} px with the same "
        f"holes (seed {about['seed']}), version {about['version']}, {about['written']}."
    )


def make_overview(board: Leaderboard) -> Table:
    """Return what each engine is and costs, and its hole PSNR on each kind of holes."""
    header = ["engine", "system", "parameters", "GFLOP", "images seen", "ms/picture"]
    columns = []
    for results in board.results:
        header.append(f"hole PSNR, {results.kind}")
        columns.append({name: _show_psnr(row) for name, row in results.rows.items()})
        if baseline := results.baseline:
            header.append(f"against {baseline.engine}")
            columns.append({name: _show_difference(row, baseline) for name, row in results.rows.items()})
    lines = []
    for entry in board.entries:
        milliseconds = _show_milliseconds(results.rows[entry.name] for results in board.results)
        about = (entry.name, entry.system.get("name", ABSENT), *_list_costs(entry), milliseconds)
        lines.append((*about, *(column[entry.name] for column in columns)))
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
    verdicts = [f"{group}: {', '.join(names)}" for group, names in groups.items() if names]
    if not verdicts:
        return ""
    return f"Against {baseline.engine} with {results.kind} holes: {'; '.join(verdicts)}."


def _judge_difference(difference: Difference | None) -> str:
    if difference is None:
        return NOT_ABLE
    if not abs(difference.mean) > difference.margin:
        return "no difference"
    return "better" if difference.mean > 0 else "worse"


def make_figures(board: Leaderboard, results: HoleResults) -> Table:
    """Return all metrics of one kind of holes, and the costs; the best of each column is bold."""
    costs = {entry.name: _list_costs(entry) for entry in board.entries}
    table = figures.make_table(results.evaluation.rows, "**{}**")
    lines = []
    for row, (name, *cells, _, _) in zip(results.evaluation.rows, table.lines, strict=True):
        *shown, pictures = _show_cells(row, [*cells, f"{row.pictures:,}"])
        lines.append((name, *shown, _show_milliseconds([row]), *costs[name], pictures))
    header = (*table.header[:-2], "ms/picture", "parameters", "GFLOP", "images seen", "pictures")
    return Table(header, tuple(lines), f"Figures: {results.kind} holes")


def make_bins(results: HoleResults) -> Table:
    """Return the hole PSNR by the share of the picture that the hole takes; no lines for a single bin."""
    rows = results.evaluation.rows
    bins = page.list_bins(rows)
    lines = []
    for row in rows:
        values = [page.show_psnr(row.get_bin(label, RANKED_BY)) for label in bins]
        lines.append((row.engine, *_show_cells(row, values)))
    return Table(
        header=("engine", *(f"{label} ({count})" for label, count in page.label_bins(bins))),
        lines=tuple(lines) if bins else (),
        title=f"Size of the hole: {results.kind} holes",
        before="Hole PSNR in dB by the share of the picture that the hole takes; in brackets, the number of "
        "pictures.",
    )


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
    easiest, hardest = scenes.ranked[:few], scenes.ranked[-few:][::-1]
    yield _list_scenes(scenes, "easiest", easiest, before), easiest
    yield _list_scenes(scenes, "hardest", hardest, ""), hardest


def _list_scenes(ranking: SceneRanking, which: str, chosen: Sequence[SceneClass], before: str) -> Table:
    lines = []
    for scene in chosen:
        values = map(page.show_psnr, scene.values)
        lines.append((scene.group or "(none)", f"{scene.pictures:,}", *values))
    title = f"Kind of scene: the {len(chosen)} {which} for {ranking.engine}"
    return Table(("scene", "pictures", *ranking.engines), tuple(lines), title, before)


def make_settings(board: Leaderboard) -> Iterator[Table]:
    """Yield the rows of each system that differ in their settings, such as their losses."""
    by_system: dict[str, list[Entry]] = defaultdict(list)
    for entry in board.entries:
        if entry.system:
            by_system[entry.system["name"]].append(entry)
    for name, entries in by_system.items():
        keys = find_differences([entry.system for entry in entries])
        lines = [(entry.name, *_list_settings(entry, keys, board)) for entry in entries]
        yield Table(
            header=("engine", *keys, *(f"hole PSNR, {results.kind}" for results in board.results)),
            lines=tuple(lines) if keys else (),
            title=f"One system, set differently: {name}",
            before="What differs between the rows of one system, and their hole PSNR in dB.",
        )


def _list_settings(entry: Entry, keys: Iterable[str], board: Leaderboard) -> list[str]:
    values = [_show_setting(entry.system.get(key, ABSENT)) for key in keys]
    return values + [_show_psnr(results.rows[entry.name]) for results in board.results]


def find_differences(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the keys that do not have the same value in all tables.

    >>> find_differences([{"name": "x", "ring": 7}, {"name": "x", "ring": 0}])
    ['ring']
    """

    def differs(key: str) -> bool:
        return any(table.get(key) != tables[0].get(key) for table in tables)

    keys = dict.fromkeys(chain.from_iterable(tables))  # in order, each once
    return list(filter(differs, keys))


def make_losses(board: Leaderboard) -> Table:
    """Return how even each generator and discriminator were; no lines without any GAN."""
    header = ["engine", "rows"]
    for name in CURVES:
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
        cells += [f"{loss.median:.3g}", f"{loss.low:.3g} to {loss.high:.3g}"]
        cells += [f"+{loss.spike.above:.3g}", f"{loss.spike.step:,}"]
    for chance in (losses.d_real, losses.d_fake):
        cells.append(ABSENT if math.isnan(chance) else f"{chance:.2f}")
    return [*cells, f"{losses.beaten:.0%}"]


def make_files(board: Leaderboard) -> Table:
    """Return the SHA-256 of the files that filled."""
    digests: dict[str, str] = {}
    for results in board.results:
        digests |= {name: row.digest for name, row in results.rows.items() if row.digest}
    return Table(("engine", "SHA-256"), tuple(digests.items()), "Files that filled")


def _list_costs(entry: Entry) -> tuple[str, str, str]:
    """Return parameters, GFLOP, and images seen."""
    parameters = operations = seen = ABSENT
    if entry.cost:
        parameters, operations = f"{entry.cost.generator:,}", f"{entry.cost.flop / GIGA:.3g}"
    if entry.training:
        seen = f"{entry.training.images_seen:,}"
    return parameters, operations, seen


def _show_milliseconds(rows: Iterable[Row]) -> str:
    seconds = [row.seconds for row in rows if row.pictures]
    return figures.show_seconds(1000 * sum(seconds) / len(seconds)) if seconds else NOT_ABLE


def _show_cells(row: Row, cells: Collection[str]) -> Collection[str]:
    """Return an engine's cells, each `NOT_ABLE` where it has no figures."""
    return cells if row.pictures else [NOT_ABLE] * len(cells)


def _show_psnr(row: Row) -> str:
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
