"""The page of a leaderboard: one file, which loads nothing."""

from infilling.judging import figures, losses, page
from infilling.judging import leaderboard_tables as tables
from infilling.judging.leaderboard_results import RANKED_BY, HoleResults, Leaderboard, SceneRanking
from infilling.judging.metrics import METRICS
from infilling.judging.results import Example, Row


def render_leaderboard(board: Leaderboard) -> str:
    """Return the page: overview, figures and pictures per kind of holes, sizes, scenes, losses, notes."""
    scenes = list(tables.make_scenes(board.scenes))
    return page.render(
        "leaderboard.html",
        board=board,
        description=tables.describe(board),
        overview=tables.make_overview(board),
        winners=[(each.kind, winner) for each in board.results if (winner := _find_winner(each))],
        bins={each.kind: tables.make_bins(each) for each in board.results},
        charts={each.kind: list(page.draw_bins(each.evaluation.rows, top="first")) for each in board.results},
        baselines={each.kind: figures.find_baseline(each.evaluation.rows) for each in board.results},
        scenes=[(table, _list_examples(board.scenes, table.lines)) for table in scenes],
        settings=[table for table in tables.make_settings(board) if table.lines],
        losses=tables.make_losses(board),
        loss_charts=[
            (entry.name, losses.draw_losses(entry.losses, title=f"{entry.name}: Loss_D and Loss_G by step"))
            for entry in board.entries
            if entry.losses
        ],
        window=losses.WINDOW,
        files=tables.make_files(board),
    )


def _find_winner(results: HoleResults) -> Row | None:
    """Return the row with the highest hole PSNR; None without figures."""
    able = [row for row in results.evaluation.rows if row.pictures]
    return max(able, key=lambda row: METRICS[RANKED_BY].goodness(row.values[RANKED_BY]), default=None)


def _list_examples(scenes: SceneRanking | None, lines: tuple[tuple[str, ...], ...]) -> list[Example]:
    """Return the median pictures of the classes of a table."""
    ranked = scenes.ranked if scenes else ()
    examples = {scene.group or "(none)": scene.example for scene in ranked}
    found = [examples[line[0]] for line in lines]
    return [example for example in found if example]
