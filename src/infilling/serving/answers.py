"""Answers that are the same for every dialect."""

import base64
from collections.abc import AsyncIterator, Sequence

from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from infilling.serving.problems import MEDIA_TYPE, Problem

PIECE_BYTES = 192 << 10  # a multiple of 3, so that Base64 of the pieces is Base64 of the whole


def respond_problem(problem: Problem) -> JSONResponse:
    """Return the response for a problem."""
    return JSONResponse(problem.to_json(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


class PictureResponse(Response):
    """A file that is sent in pieces, each when the caller has taken those before it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(self.body), PIECE_BYTES):
            piece = bytes(self.body[start : start + PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def stream_base64(parts: Sequence[str | bytes]) -> StreamingResponse:
    """Return JSON that holds files, made while it is sent: many copies of a file need the memory of one.

    Args:
        parts: pieces of JSON as text, and files, whose Base64 takes their place.
    """
    length = sum(4 * -(-len(part) // 3) if isinstance(part, bytes) else len(part) for part in parts)

    async def write() -> AsyncIterator[bytes]:
        for part in parts:
            if isinstance(part, str):
                yield part.encode("ascii")
                continue
            for start in range(0, len(part), PIECE_BYTES):
                yield base64.b64encode(part[start : start + PIECE_BYTES])

    headers = {"Content-Length": str(length)}
    return StreamingResponse(write(), media_type="application/json", headers=headers)
