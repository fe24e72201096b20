"""The HTML page of an evaluation: one file, nothing loaded from anywhere, light and dark."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image

from infilling.judging import charts, metrics, report
from infilling.judging.charts import Line
from infilling.judging.metrics import METRICS
from infilling.judging.results import Cell, Evaluation, Example, Mask, Pixels, Row
from infilling.judging.style import STYLE

CHARTED = ("hole_psnr", "ssim", "hole_mae", "lpips_like", "lpips")
SHOWN_FAILURES = 50

_GROUPS = {
    "inside the hole": ("hole_psnr", "hole_mae", "hole_rmse", "gradient_energy", "seam"),
    "whole picture": ("psnr", "mae", "rmse", "ssim", "global_ssim"),
    "as a network sees it": ("lpips_like", "fid_like", "lpips", "fid"),
}


def render(evaluation: Evaluation) -> str:
    """Gives the page: figures and their differences, curves per area bin, pictures, classes, notes."""
    body = "\n".join(
        part
        for part in (
            _render_head(evaluation),
            render_figures(evaluation),
            _render_curves(evaluation),
            _render_examples(evaluation),
            _render_classes(evaluation),
            _render_notes(evaluation),
        )
        if part
    )
    return wrap(f"Evaluation of {', '.join(row.engine for row in evaluation.rows)}", body)


def wrap(title: str, body: str) -> str:
    """Makes a whole page of its body."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _render_head(evaluation: Evaluation) -> str:
    settings, last = evaluation.settings, _find_last(evaluation)
    holes = settings["holes"]
    named = (
        " + ".join(f"{weight:g} {name}" for name, weight in holes.items())
        if isinstance(holes, Mapping)
        else holes
    )
    facts = (
        f"{settings['pictures']:,} pictures",
        f"{settings['size']} px",
        f"holes: {named}",
        f"seed {settings['seed']}",
        settings["started"],
    )
    lead = f"<b>{escape(last.engine)}</b> reaches {_say('hole_psnr', last)} inside the holes"
    baseline = report.find_baseline(evaluation)
    if baseline and baseline is not last:
        gain = last.values["hole_psnr"] - baseline.values["hole_psnr"]
        lead += f", {sign(gain, 2)} dB against {escape(baseline.engine)}"
    return (
        f"<header><h1>Filled holes, judged</h1><p class=lead>{lead}.</p>"
        f"<ul class=facts>{''.join(f'<li>{escape(str(fact))}</li>' for fact in facts)}</ul></header>"
    )


def render_figures(evaluation: Evaluation) -> str:
    """Gives the section of the figures, each with its difference from the baseline's."""
    found, best, baseline = (
        report.find_metrics(evaluation),
        report.find_best(evaluation),
        report.find_baseline(evaluation),
    )
    groups = {title: [name for name in names if name in found] for title, names in _GROUPS.items()}
    names = [name for members in groups.values() for name in members]
    over = "".join(
        f'<th colspan="{len(members)}">{title}</th>' for title, members in groups.items() if members
    )
    heads = "".join(_render_column_head(name) for name in names)
    lines = []
    for row in evaluation.rows:
        if not row.pictures:
            why = f'<td class=absent colspan="{len(names) + 2}">n/a: {escape(row.reason or "")}</td>'
            lines.append(f"<tr><th>{render_name(evaluation, row)}</th>{why}</tr>")
            continue
        cells = [
            _render_cell(evaluation, baseline, row, name, row.engine in best.get(name, ())) for name in names
        ]
        failed = f"<small>{row.failures:,} failed</small>" if row.failures else ""
        cost = f"<td>{report.show_seconds(row.seconds)}</td><td>{row.pictures:,}{failed}</td>"
        lines.append(f"<tr><th>{render_name(evaluation, row)}</th>{''.join(cells)}{cost}</tr>")
    against = (
        f" Small figures are differences from {escape(baseline.engine)}; green is better." if baseline else ""
    )
    return (
        "<section><h2>Figures</h2><div class=scroll><table class=figures><thead>"
        f'<tr><th></th>{over}<th colspan="2">cost</th></tr>'
        f"<tr><th>engine</th>{heads}<th>s / picture</th><th>pictures</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
        f"<p class=hint>Means over pictures; the best of each column is boxed.{against}</p></section>"
    )


def _render_column_head(name: str) -> str:
    metric = METRICS[name]
    arrow = {True: "↑", False: "↓", None: "→1"}[metric.higher_is_better]
    unit = f" <small>{metric.unit}</small>" if metric.unit else ""
    label = escape(metric.label.removeprefix("hole "))  # the group says it
    return f'<th title="{escape(metric.summary)}">{label}{unit} <i>{arrow}</i></th>'


def _render_cell(evaluation: Evaluation, baseline: Row | None, row: Row, name: str, is_best: bool) -> str:
    """One figure, and under it a bar for its difference from the baseline: right and green is better."""
    value = row.values.get(name, math.nan)
    text = report.show(name, value)
    shown = f"<b>{text}</b>" if is_best else text
    gains = _find_gains(evaluation, baseline, name)
    if baseline is None or row is baseline or row.engine not in gains:
        return f"<td>{shown}</td>"
    # One engine that is far off must not make the bars of all others vanish.
    sizes = sorted(map(abs, gains.values()))
    full = min(sizes[-1], 3 * sizes[-2]) or sizes[-1] or 1.0
    share = max(-1.0, min(1.0, gains[row.engine] / full))
    delta = round(value - baseline.values[name], METRICS[name].digits)
    kind = ("good" if share > 0 else "bad") if delta else "same"
    left = 50 if share > 0 else 50 * (1 + share)
    bar = f'<span class="bar {kind}" style="left:{left:.0f}%;width:{50 * abs(share):.0f}%"></span>'
    change = sign(delta, METRICS[name].digits) if delta else "±0"
    return f'<td>{shown}<span class=track>{bar}</span><small class="{kind}">{change}</small></td>'


def _find_gains(evaluation: Evaluation, baseline: Row | None, name: str) -> dict[str, float]:
    """How much better than the baseline each engine is, the baseline (0) among them."""
    start = baseline.values.get(name, math.nan) if baseline else math.nan
    values = {row.engine: row.values.get(name, math.nan) for row in evaluation.rows}
    return {
        engine: metrics.goodness(name, value) - metrics.goodness(name, start)
        for engine, value in values.items()
        if not math.isnan(value + start)
    }


def sign(value: float, digits: int) -> str:
    """Writes a difference, a true minus in front of what is negative."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _render_curves(evaluation: Evaluation) -> str:
    rows = [row for row in evaluation.rows if row.bins]
    bins = list(rows[-1].bins)
    if len(bins) < 2:
        return ""
    counts = {name: max(row.bins[name].pictures for row in rows if name in row.bins) for name in bins}
    labels = [f"{name.replace('-', '–')}\n{counts[name]:,}" for name in bins]
    figures = []
    for name in CHARTED:
        if name not in report.find_metrics(evaluation):
            continue
        lines = [
            Line(row.engine, find_colour(evaluation, row), [_look_up(row.bins.get(of), name) for of in bins])
            for row in rows
        ]
        metric = METRICS[name]
        title = f"{metric.label}{f', {metric.unit}' if metric.unit else ''}"
        arrow = {True: "higher is better", False: "lower is better", None: "1 is best"}[
            metric.higher_is_better
        ]
        chart = charts.draw_lines(labels, lines, title=f"{title} by area of the hole", digits=metric.digits)
        figures.append(
            f"<figure><figcaption>{escape(title)} <small>{arrow}</small></figcaption>{chart}</figure>"
        )
    legend = "".join(f"<li>{render_name(evaluation, row)}</li>" for row in rows)
    return (
        "<section><h2>By area of the hole</h2>"
        f"<ul class=legend>{legend}</ul><div class=charts>{''.join(figures)}</div>"
        "<p class=hint>Share of the picture that the hole takes; under it, how many pictures.</p></section>"
    )


def _look_up(cell: Cell | None, name: str) -> float:
    return cell.values.get(name, math.nan) if cell else math.nan


def _render_examples(evaluation: Evaluation) -> str:
    if not evaluation.examples:
        return ""
    engines = [row.engine for row in evaluation.rows if row.pictures]
    last, blocks = engines[-1], []
    for title in dict.fromkeys(example.title for example in evaluation.examples):
        chosen = [example for example in evaluation.examples if example.title == title]
        blocks.append(f"<h3>{title.capitalize()} for {escape(last)}</h3>")
        blocks += [_render_example(example, engines) for example in chosen]
    return (
        "<section><h2>Pictures</h2><p class=hint>Chosen by hole PSNR in dB, which stands under each result. "
        "What fills a hole is invented: it shows what could have been there.</p>"
        f'<div class=pictures style="--columns:{len(engines) + 2}">{"".join(blocks)}</div></section>'
    )


def _render_example(example: Example, engines: Sequence[str]) -> str:
    cells = [
        render_picture(example.target, "original", f"<i>{escape(example.name)}</i>"),
        render_picture(mark_hole(example.target, example.mask), "masked", ""),
    ]
    top = max(example.values.values(), default=0.0)
    for engine in engines:
        value = example.values.get(engine, math.nan)
        kind = " class=top" if value == top and len(engines) > 1 else ""
        figure = f"<b{kind}>{report.show('hole_psnr', value)}</b>"
        cells.append(render_picture(example.results.get(engine), engine, figure))
    return f"<div class=row>{''.join(cells)}</div>"


def render_picture(pixels: Pixels | None, label: str, note: str, *, lossless: bool = True) -> str:
    """A picture with its name and a note (HTML) below; an empty square where there is none."""
    label = escape(label)
    shown = "<span class=none></span>"
    if pixels is not None:
        shown = f'<img src="{_to_uri(pixels, lossless)}" alt="{label}">'
    return f"<figure>{shown}<figcaption>{label}{note}</figcaption></figure>"


def _to_uri(pixels: Pixels, lossless: bool) -> str:
    """Gives a picture as the text of a WebP, for `src`."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "WEBP", lossless=lossless, quality=90)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"


def mark_hole(target: Pixels, mask: Mask) -> Pixels:
    """Shows the hole as a chequered field."""
    rows, columns = np.indices(mask.shape) // 8
    field = np.where((rows + columns) % 2, 214, 170).astype(np.uint8)
    return np.where(mask[..., None], field[..., None], target)


def _render_classes(evaluation: Evaluation) -> str:
    rows = [row for row in evaluation.rows if row.groups]
    if not rows or len(rows[-1].groups) < 2:
        return ""
    last = rows[-1].groups
    order = sorted(last, key=lambda group: -_look_up(last[group], "hole_psnr"))
    heads = "".join(f"<th>{render_name(evaluation, row)}</th>" for row in rows)
    lines = []
    for group in order:
        values = [_look_up(row.groups.get(group), "hole_psnr") for row in rows]
        shown = [report.show("hole_psnr", value) for value in values]
        top = report.show("hole_psnr", np.nanmax(values)) if len(rows) > 1 else ""
        cells = "".join(f"<td>{f'<b>{text}</b>' if text == top else text}</td>" for text in shown)
        lines.append(f"<tr><th>{escape(group or '(none)')}</th><td>{last[group].pictures}</td>{cells}</tr>")
    return (
        "<section><details><summary><h2>By class</h2> "
        f"hole PSNR in dB of {len(order)} classes, the easiest first</summary>"
        "<div class=scroll><table class=classes>"
        f"<thead><tr><th>class</th><th>pictures</th>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div></details></section>"
    )


def _render_notes(evaluation: Evaluation) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in evaluation.notes)
    settings = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(plain(value))}</dd>" for key, value in evaluation.settings.items()
    )
    metrics_list = "".join(
        f"<dt>{escape(METRICS[name].label)}</dt><dd>{escape(METRICS[name].summary)}</dd>"
        for name in report.find_metrics(evaluation)
    )
    failed = "".join(
        f"<li>{escape(failure.engine)}, {escape(failure.name)}: {escape(failure.reason)}</li>"
        for failure in evaluation.failures[:SHOWN_FAILURES]
    )
    more = len(evaluation.failures) - SHOWN_FAILURES
    rest = f"<li>and {more:,} more in report.json</li>" if more > 0 else ""
    title = f"{len(evaluation.failures):,} failures"
    failures = f"<details><summary>{title}</summary><ul>{failed}{rest}</ul></details>" if failed else ""
    return (
        f"<section class=notes><h2>Notes</h2><ul>{notes}</ul>{failures}"
        f"<div class=two><div><h3>What the figures mean</h3><dl>{metrics_list}</dl></div>"
        f"<div><h3>How this was made</h3><dl>{settings}</dl></div></div></section>"
    )


def plain(value: object) -> str:
    """Writes a setting as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _find_last(evaluation: Evaluation) -> Row:
    return [row for row in evaluation.rows if row.pictures][-1]


def _say(name: str, row: Row) -> str:
    return f"{report.show(name, row.values[name])} {METRICS[name].unit}".strip()


def find_colour(evaluation: Evaluation, row: Row) -> int:
    """The last engine, the one in question, has the first colour; the others follow in their order."""
    return len(evaluation.rows) - 1 - evaluation.rows.index(row)


def render_name(evaluation: Evaluation, row: Row) -> str:
    """Gives an engine's name as HTML, the sample of its line before it where it has figures."""
    key = charts.draw_key(find_colour(evaluation, row)) if row.pictures else ""
    return f"{key}{escape(row.engine)}"
