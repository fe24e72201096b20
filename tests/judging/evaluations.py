"""Evaluations by keywords, as the command makes them of its options."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infilling.judging import evaluate as evaluation
from infilling.judging.evaluate import Paths, Progress
from infilling.judging.report import write_report
from infilling.judging.results import Evaluation
from infilling.judging.settings import EvaluationSettings


def evaluate(
    data: Paths,
    *,
    engines: Sequence[str | Path],
    features: Paths | None = None,
    lpips: Paths | None = None,
    fid: str | Path | None = None,
    out: Path | None = None,
    report: Progress | None = None,
    **settings: Any,
) -> Evaluation:
    """Judge engines, and write the report where `out` names a folder."""
    networks = evaluation.find_networks(features, lpips, fid)
    made = EvaluationSettings(evaluation.list_paths(data), networks=networks, **settings)
    found = evaluation.evaluate(engines, made, report)
    if out is not None:
        write_report(found, out)
    return found
