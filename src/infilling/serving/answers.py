"""Answers that are the same for every dialect."""

from fastapi.responses import JSONResponse

from infilling.serving.problems import MEDIA_TYPE, Problem


def respond(problem: Problem) -> JSONResponse:
    """Return the response for a problem."""
    return JSONResponse(problem.to_json(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE)
