"""A leaderboard as tables of text, which the page and the Markdown file share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infilling.judging import board as boards
from infilling.judging import report
from infilling.judging.board import Board, Entry, Round, Scene
from infilling.judging.losses import BEATEN, REPORTED, Match
from infilling.judging.metrics import METRICS
from infilling.judging.report import ABSENT
from infilling.judging.results import Row

NOT_ABLE = "n/a"
EXTREMES = 10
_GIGA = 1e9


@dataclass(frozen=True)
class Table:
    """A table of text; `before` and `after` are paragraphs round it."""

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    before: str = ""
    after: str = ""


def to_markdown(board: Board) -> str:
    """Gives the whole leaderboard as Markdown, without the pictures and curves."""
    parts = ["# Leaderboard\n", describe(board) + "\n", *map(_write, make_tables(board))]
    if board.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in board.notes) + "\n")
    return "\n".join(parts)


def make_tables(board: Board) -> list[Table]:
    """Gives every table that has something to tell, in the order of the page."""
    found = [
        make_overview(board),
        *(make_figures(board, each) for each in board.rounds),
        *(make_bins(each) for each in board.rounds if len(list_bins(each)) > 1),
        *make_scenes(board),
        *make_settings(board),
    ]
    return [*found, *([losses] if (losses := make_losses(board)) else [])]


def describe(board: Board) -> str:
    """Says in a sentence what was done."""
    about = board.settings
    learned = [entry for entry in board.entries if entry.training]
    trained = (
        f"{len(learned)} systems, trained for {about['minutes each']:g} minutes each on "
        f"{' and '.join(about['trained on'])}, and {len(board.entries) - len(learned)} other engines"
        if learned
        else f"{len(board.entries)} engines"
    )
    return (
        f"{trained}, judged on the same {about['pictures']:,} pictures of {about['size']} px with the same "
        f"holes (seed {about['seed']}), version {about['version']}, {about['written']}."
    )


def make_overview(board: Board) -> Table:
    """What each engine is and costs, and what it reaches on each kind of holes."""
    rivals = {each.kind: boards.find_rival(each.standings) for each in board.rounds}
    header = ["engine", "system", "parameters", "GFLOP", "images seen", "ms/picture"]
    for each in board.rounds:
        header += [f"hole PSNR, {each.kind}", *([f"against {rival}"] if (rival := rivals[each.kind]) else [])]
    lines = []
    for entry in board.entries:
        line = [entry.name, entry.system.get("name", ABSENT), *_list_costs(entry), _show_speed(board, entry)]
        for each in board.rounds:
            line.append(_show_figure(each.standings[entry.name].row, "hole_psnr"))
            if rivals[each.kind]:
                line.append(_show_difference(each, entry.name))
        lines.append(tuple(line))
    return Table(
        "Overview",
        tuple(header),
        tuple(lines),
        before="The best first. Hole PSNR in dB; ± is 95 % of the error of a mean of differences, picture by "
        "picture. Parameters are the generator's; GFLOP are 10⁹ operations to fill one picture, two for each "
        "multiplication and addition.",
        after="\n\n".join(filter(None, map(judge, board.rounds))),
    )


def judge(each: Round) -> str:
    """Says who is better and who is worse than the classical bar, as far as the pictures can tell."""
    rival = boards.find_rival(each.standings)
    if rival is None:
        return ""
    groups: dict[str, list[str]] = {"better": [], "not to be told apart": [], "worse": [], NOT_ABLE: []}
    for name, standing in each.standings.items():
        if name == rival:
            continue
        difference = boards.compare(standing.scores, each.standings[rival].scores)
        if difference is None:
            groups[NOT_ABLE].append(name)
        elif not abs(difference.mean) > difference.margin:
            groups["not to be told apart"].append(name)
        else:
            groups["better" if difference.mean > 0 else "worse"].append(name)
    said = "; ".join(f"{group}: {', '.join(names)}" for group, names in groups.items() if names)
    return f"Against {rival} with {each.kind} holes: {said}." if said else ""


def make_figures(board: Board, each: Round) -> Table:
    """All metrics of one kind of holes, and what they cost; the best of each column is bold."""
    names = report.find_metrics(each.evaluation)
    best = report.find_best(each.evaluation)
    entries = {entry.name: entry for entry in board.entries}
    costs = ("ms/picture", "parameters", "GFLOP", "images seen", "pictures")
    lines = []
    for row in each.evaluation.rows:
        cells = [row.engine]
        for name in names:
            text = _show_figure(row, name)
            cells.append(f"**{text}**" if row.engine in best.get(name, ()) else text)
        pictures = f"{row.pictures:,}" if row.pictures else NOT_ABLE
        lines.append((*cells, _show_milliseconds([row]), *_list_costs(entries[row.engine]), pictures))
    header = ("engine", *(METRICS[name].label for name in names), *costs)
    return Table(f"Figures: {each.kind} holes", header, tuple(lines))


def list_bins(each: Round) -> dict[str, int]:
    """Area bins of one kind of holes, in order of area, and how many pictures are in each."""
    counts: dict[str, int] = {}
    for row in sorted(each.evaluation.rows, key=lambda row: -len(row.bins)):
        for label, cell in row.bins.items():
            counts[label] = max(counts.get(label, 0), cell.pictures)
    return counts


def make_bins(each: Round) -> Table:
    """Hole PSNR by the share of the picture that the hole takes."""
    bins = list_bins(each)
    lines = []
    for row in each.evaluation.rows:
        values = [boards.get_value(row.bins[label]) if label in row.bins else math.nan for label in bins]
        lines.append((row.engine, *(_show(value, "hole_psnr", row) for value in values)))
    header = ("engine", *(f"{label.replace('-', '–')} ({count:,})" for label, count in bins.items()))
    before = (
        "Hole PSNR in dB by the share of the picture that the hole takes; in brackets, how many pictures."
    )
    return Table(f"Size of the hole: {each.kind} holes", header, tuple(lines), before=before)


def make_scenes(board: Board) -> Iterable[Table]:
    """The easiest and the hardest kinds of scene."""
    scenes = board.scenes
    if scenes is None:
        return
    header = ["scene", "pictures", scenes.engine, *([scenes.baseline] if scenes.baseline else [])]

    def list_lines(chosen: Iterable[Scene]) -> tuple[tuple[str, ...], ...]:
        return tuple(
            (
                scene.group or "(none)",
                f"{scene.pictures:,}",
                report.show("hole_psnr", scene.value),
                *([report.show("hole_psnr", scene.baseline)] if scenes.baseline else []),
            )
            for scene in chosen
        )

    few = max(1, min(EXTREMES, len(scenes.ranked) // 2))
    counts = [scene.pictures for scene in scenes.ranked]
    before = (
        f"Hole PSNR in dB by class of {scenes.pictures:,} pictures with {scenes.kind} holes, "
        f"{min(counts):,} to {max(counts):,} in each of {len(counts):,} classes."
    )
    easiest, hardest = list_lines(scenes.ranked[:few]), list_lines(scenes.ranked[-few:][::-1])
    yield Table(
        f"Kind of scene: the {few} easiest for {scenes.engine}", tuple(header), easiest, before=before
    )
    yield Table(f"Kind of scene: the {few} hardest for {scenes.engine}", tuple(header), hardest)


def make_settings(board: Board) -> Iterable[Table]:
    """Rows of one system that differ in their settings, such as their losses."""
    by_system: dict[str, list[Entry]] = {}
    for entry in board.entries:
        if entry.system:
            by_system.setdefault(entry.system["name"], []).append(entry)
    for name, entries in by_system.items():
        keys = find_differences([entry.system for entry in entries])
        if not keys:
            continue
        header = ("engine", *keys, *(f"hole PSNR, {each.kind}" for each in board.rounds))
        lines = tuple(
            (
                entry.name,
                *(_show_setting(entry.system.get(key, ABSENT)) for key in keys),
                *(_show_figure(each.standings[entry.name].row, "hole_psnr") for each in board.rounds),
            )
            for entry in entries
        )
        before = "What differs between the rows of one system, and the hole PSNR in dB that they reach."
        yield Table(f"One system, set differently: {name}", header, lines, before=before)


def find_differences(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that do not have the same value in all tables.

    >>> find_differences([{"name": "x", "ring": 7}, {"name": "x", "ring": 0}])
    ['ring']
    """
    keys = dict.fromkeys(key for table in tables for key in table)
    return [key for key in keys if any(table.get(key) != tables[0].get(key) for table in tables)]


def make_losses(board: Board) -> Table | None:
    """How even each match between generator and discriminator was; None without any."""
    header = ["engine", "rows"]
    for name in ("Loss_D", "Loss_G"):
        header += [f"{name}, median", "5–95 %", "largest spike", "at step"]
    header += ["D(x)", "D(G(z))", f"Loss_D < {BEATEN:g}"]
    matched = [(entry.name, entry.match) for entry in board.entries if entry.match]
    if not matched:
        return None
    lines = []
    for name, match in matched:
        line = [name, f"{len(match.steps):,}"]
        for median, (low, high), spike in (
            (match.median_d, match.range_d, match.spike_d),
            (match.median_g, match.range_g, match.spike_g),
        ):
            line += [f"{median:.3g}", f"{low:.3g} to {high:.3g}", f"+{spike.above:.3g}", f"{spike.step:,}"]
        rest = [ABSENT if math.isnan(value) else f"{value:.2f}" for value in (match.d_real, match.d_fake)]
        lines.append((*line, *rest, f"{match.beaten:.0%}"))
    return Table(
        "Losses of the GANs",
        tuple(header),
        tuple(lines),
        before="Medians over the rows of stats.jsonl. A spike is counted from the running median. D(x) and "
        "D(G(z)) before its step are probabilities under BCE, scores under the hinge. The last column is the "
        "share of steps in which D was hardly ever wrong: too strong to teach.",
        after="\n\n".join(
            _say_reported(entry.name, entry.match)
            for entry in board.entries
            if entry.match and entry.system["name"] == "reference"
        ),
    )


def _say_reported(name: str, match: Match) -> str:
    """Compares the reference's losses with what its report saw."""
    said = [
        f"{loss} {low:g} to {high:g}: {match.reported[loss]:.0%} of our steps"
        for loss, (low, high) in REPORTED.items()
    ]
    return f"{name} beside what the reference's report saw: {'; '.join(said)}."


def _list_costs(entry: Entry) -> tuple[str, str, str]:
    """Parameters, GFLOP, images seen."""
    cost, training = entry.cost, entry.training
    return (
        f"{cost.generator:,}" if cost else ABSENT,
        f"{cost.flop / _GIGA:.3g}" if cost else ABSENT,
        f"{training.images_seen:,}" if training else ABSENT,
    )


def _show_speed(board: Board, entry: Entry) -> str:
    return _show_milliseconds([each.standings[entry.name].row for each in board.rounds])


def _show_milliseconds(rows: Sequence[Row]) -> str:
    seconds = [row.seconds for row in rows if row.pictures]
    return report.show_seconds(1000 * sum(seconds) / len(seconds)) if seconds else NOT_ABLE


def _show_figure(row: Row, name: str) -> str:
    return _show(row.values.get(name, math.nan), name, row)


def _show(value: float, name: str, row: Row) -> str:
    return report.show(name, value) if row.pictures else NOT_ABLE


def _show_difference(each: Round, name: str) -> str:
    rival = boards.find_rival(each.standings)
    standing = each.standings[name]
    if rival is None or name == rival:
        return ABSENT
    difference = boards.compare(standing.scores, each.standings[rival].scores)
    if difference is None:
        return NOT_ABLE
    mean = f"{difference.mean:+.2f}".replace("-", "−")
    return mean if math.isnan(difference.margin) else f"{mean} ± {difference.margin:.2f}"


def _show_setting(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_show_setting, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _write(table: Table) -> str:
    """A table as Markdown; what would end a cell is escaped."""
    rule = ["---", *["---:"] * (len(table.header) - 1)]
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (table.header, *table.lines)]
    lines.insert(1, rule)
    text = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    around = [f"{part}\n" for part in (table.before,) if part]
    return "\n".join([f"## {table.title}\n", *around, text, *([f"{table.after}\n"] if table.after else [])])
