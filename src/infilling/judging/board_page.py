"""The leaderboard's page: one file, nothing loaded from anywhere."""

import math
from collections.abc import Iterable
from html import escape

from infilling.judging import board as boards
from infilling.judging import board_tables, charts, losses, page, report
from infilling.judging.board import Board, Round, Scenes
from infilling.judging.board_tables import NOT_ABLE, Table
from infilling.judging.charts import Line
from infilling.judging.metrics import METRICS
from infilling.judging.results import Evaluation, Example


def render(board: Board) -> str:
    """Gives the page: overview, figures and pictures per kind of holes, sizes, scenes, losses, notes."""
    parts = [_render_head(board), _render_table(board_tables.make_overview(board))]
    for place, each in enumerate(board.rounds):
        title = f'<h2 style="margin:36px 0 0">{escape(each.kind.capitalize())} holes</h2>'
        parts += [title, page.render_figures(each.evaluation)]
        parts += [_render_bins(each), _render_pictures(each.evaluation, is_open=place == 0)]
    parts += [_render_scenes(board), *map(_render_table, board_tables.make_settings(board))]
    parts += [_render_losses(board), _render_notes(board)]
    return page.wrap("Leaderboard", "\n".join(part for part in parts if part))


def _render_head(board: Board) -> str:
    bests = []
    for each in board.rounds:
        rows = [row for row in each.evaluation.rows if row.pictures]
        if rows:
            best = max(rows, key=lambda row: row.values["hole_psnr"])
            figure = f"{report.show('hole_psnr', best.values['hole_psnr'])} dB"
            bests.append(f"<b>{escape(best.engine)}</b> with {escape(each.kind)} holes ({figure})")
    lead = f"<p class=lead>First inside the holes: {', '.join(bests)}.</p>" if bests else ""
    told = escape(board_tables.describe(board))
    return f"<header><h1>Leaderboard</h1>{lead}<p class=hint>{told}</p></header>"


def _render_table(table: Table) -> str:
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    lines = "".join(f"<tr><th>{escape(line[0])}</th>{_render_cells(line[1:])}</tr>" for line in table.lines)
    before, after = (
        "".join(f"<p class=hint>{escape(line)}</p>" for line in text.split("\n\n") if line)
        for text in (table.before, table.after)
    )
    return (
        f"<section><h2>{escape(table.title)}</h2>{before}<div class=scroll><table><thead><tr>{heads}</tr>"
        f"</thead><tbody>{lines}</tbody></table></div>{after}</section>"
    )


def _render_cells(cells: Iterable[str]) -> str:
    absent = (NOT_ABLE, report.ABSENT)
    return "".join(
        f"<td>{f'<small>{cell}</small>' if cell in absent else escape(cell)}</td>" for cell in cells
    )


def _render_bins(each: Round) -> str:
    """The table of area bins, and its curves; the best engine's is on top."""
    bins = board_tables.list_bins(each)
    if len(bins) < 2:
        return ""
    evaluation = each.evaluation
    rows = [row for row in evaluation.rows if row.bins]
    labels = [f"{label.replace('-', '–')}\n{count:,}" for label, count in bins.items()]
    figures = []
    for name in page.CHARTED:
        if name not in report.find_metrics(evaluation):
            continue
        lines = [
            Line(
                row.engine,
                page.find_colour(evaluation, row),
                [
                    boards.get_value(row.bins[label], name) if label in row.bins else math.nan
                    for label in bins
                ],
            )
            for row in reversed(rows)
        ]
        metric = METRICS[name]
        title = f"{metric.label}{f', {metric.unit}' if metric.unit else ''} by area of the hole"
        chart = charts.draw_lines(labels, lines, title=title, digits=metric.digits)
        figures.append(f"<figure><figcaption>{escape(title)}</figcaption>{chart}</figure>")
    legend = "".join(f"<li>{page.render_name(evaluation, row)}</li>" for row in rows)
    return (
        f"{_render_table(board_tables.make_bins(each))}"
        f"<section><ul class=legend>{legend}</ul><div class=charts>{''.join(figures)}</div></section>"
    )


def _render_pictures(evaluation: Evaluation, *, is_open: bool) -> str:
    """The same pictures for every engine."""
    engines = [row.engine for row in evaluation.rows if row.pictures]
    rows = "".join(_render_example(example, engines) for example in evaluation.examples)
    if not rows:
        return ""
    title = f"the same {len(evaluation.examples)} pictures for every engine, at even distances among all"
    return (
        f"<section><details{' open' if is_open else ''}><summary><h2>Pictures</h2> {title}; hole PSNR in dB. "
        f"What fills a hole is invented.</summary>"
        f'<div class=pictures style="--columns:{len(engines) + 2}">{rows}</div></details></section>'
    )


def _render_example(example: Example, engines: Iterable[str]) -> str:
    name = f"<i>{escape(example.name)}</i>"
    cells = [
        page.render_picture(example.target, "original", name, lossless=False),
        page.render_picture(page.mark_hole(example.target, example.mask), "masked", "", lossless=False),
    ]
    top = max(example.values.values(), default=math.nan)
    for engine in engines:
        value = example.values.get(engine, math.nan)
        figure = f"<b{' class=top' if value == top else ''}>{report.show('hole_psnr', value)}</b>"
        cells.append(page.render_picture(example.results.get(engine), engine, figure, lossless=False))
    return f"<div class=row>{''.join(cells)}</div>"


def _render_scenes(board: Board) -> str:
    """The easiest and hardest classes, each table followed by a picture of each of its classes."""
    if board.scenes is None:
        return ""
    easiest, hardest = board_tables.make_scenes(board)
    few = len(easiest.lines)
    ranked = board.scenes.ranked
    return (
        _render_table(easiest)
        + _render_middles(board.scenes, [scene.example for scene in ranked[:few]])
        + _render_table(hardest)
        + _render_middles(board.scenes, [scene.example for scene in ranked[-few:][::-1]])
    )


def _render_middles(scenes: Scenes, examples: Iterable[Example | None]) -> str:
    cells = []
    for example in examples:
        if example is None:
            continue
        figure = f"<b>{report.show('hole_psnr', example.values[scenes.engine])}</b>"
        shown = [
            page.render_picture(example.target, example.title or "(none)", "", lossless=False),
            page.render_picture(page.mark_hole(example.target, example.mask), "masked", "", lossless=False),
            page.render_picture(example.results[scenes.engine], scenes.engine, figure, lossless=False),
        ]
        cells += shown
    if not cells:
        return ""
    pictures = f'<div class=pictures style="--columns:6"><div class=row>{"".join(cells)}</div></div>'
    title = "the picture in the middle of each of these classes"
    return f"<section><details open><summary>{title}</summary>{pictures}</details></section>"


def _render_losses(board: Board) -> str:
    """The table of losses, and the curves of every GAN."""
    table = board_tables.make_losses(board)
    if table is None:
        return ""
    figures = []
    for entry in board.entries:
        if entry.match:
            title = f"{entry.name}: Loss_D and Loss_G by step"
            chart = losses.draw(entry.match, title=title)
            figures.append(f"<figure><figcaption>{escape(entry.name)}</figcaption>{chart}</figure>")
    legend = "".join(
        f"<li>{charts.draw_key(number)}{name}</li>" for number, name in enumerate(("Loss_D", "Loss_G"))
    )
    return (
        f"{_render_table(table)}<section><ul class=legend>{legend}</ul>"
        f"<div class=charts>{''.join(figures)}</div><p class=hint>Over the steps; the strong line is the "
        f"running median over {losses.WINDOW} rows. What is above the chart runs along its edge.</p>"
        "</section>"
    )


def _render_notes(board: Board) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in board.notes)
    about = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(page.plain(value))}</dd>" for key, value in board.settings.items()
    )
    made = f"<h3>How this was made</h3><dl>{about}</dl>"
    return f"<section class=notes><h2>Notes</h2><ul>{notes}</ul>{made}</section>"
