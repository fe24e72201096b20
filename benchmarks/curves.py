"""Loss curves of several runs under each other, from their own `stats.jsonl`.

    python benchmarks/curves.py [NAME=]RUN … --out losses.png

The figure has a row for each run: the unweighted adversarial losses of both networks over its steps, thin,
with their running medians on top, and D(x) and D(G(z)) where they were recorded. Printed for each run: the
share of its steps in which the losses are in the ranges that the reference's report gives for its own.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from infilling.judging.losses import WINDOW, run_median

LOSSES = {"Loss_D": "tab:blue", "Loss_G": "tab:red"}
CHANCES = {"D(x)": "tab:blue", "D(G(z)) before": "tab:red"}

REPORTED = {"Loss_G": (2.0, 9.0), "Loss_D": (0.5, 2.0)}  # ranges in the reference's report

Rows = Sequence[Mapping[str, float]]


def draw(axes: Axes, rows: Rows, names: Mapping[str, str]) -> None:
    """Draw some columns of a run over its steps."""
    for name, colour in names.items():
        points = np.array([(row["step"], row[name]) for row in rows if name in row])
        if not len(points):
            continue
        window = max(3, min(WINDOW, len(points) // 10 | 1))
        axes.plot(*points.T, color=colour, alpha=0.3, linewidth=0.7)
        axes.plot(points[:, 0], run_median(points[:, 1], window), color=colour, linewidth=1.5, label=name)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(loc="best", fontsize=8)


def compare_with_report(rows: Rows) -> str:
    """Return the share of the steps in which each loss is in the range of the reference's report."""
    parts = []
    for name, (low, high) in REPORTED.items():
        inside = np.array([low <= row[name] <= high for row in rows])
        parts.append(f"{name} {low:g} to {high:g} in {inside.mean():.0%} of the steps")
    return ", ".join(parts)


def main() -> None:
    """Read the runs, write the figure, and print the comparison."""
    parser = argparse.ArgumentParser(description="Loss curves of several runs under each other.")
    parser.add_argument("runs", nargs="+", metavar="[NAME=]RUN")
    parser.add_argument("--out", type=Path, default=Path("losses.png"))
    options = parser.parse_args()
    figure = Figure(figsize=(10, 2.6 * len(options.runs)), layout="constrained")
    grid = figure.subplots(len(options.runs), 2, squeeze=False)
    for (left, right), text in zip(grid, options.runs, strict=True):
        name, _, folder = text.rpartition("=")
        lines = (Path(folder) / "stats.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [row for line in lines if "Loss_G" in (row := json.loads(line))]
        if not rows:
            parser.error(f"{folder}: no row of its stats.jsonl has Loss_G; had it an adversary?")
        print(f"{name or Path(folder).name}: {compare_with_report(rows)}")
        left.set(title=f"{name or Path(folder).name}: losses", xlabel="step")
        draw(left, rows, LOSSES)
        right.set(title="what D says of true pictures and of fills", xlabel="step")
        draw(right, rows, CHANCES)
        if min(row["Loss_G"] for row in rows) >= 0:  # not a hinge, whose loss and scores have any sign
            left.set_ylim(bottom=0)
            right.set_ylim(0, 1)
    FigureCanvasAgg(figure)  # no window, no global state
    figure.savefig(options.out, dpi=100)
    print(options.out)


if __name__ == "__main__":
    main()
