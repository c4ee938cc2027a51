"""The body of a request: a movie in JSON, of limited size, that arrives in limited time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from imdb_pipeline.results.new_movie import parse_json

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10


class BodyError(Exception):
    """The body was not taken. ``status`` is what to answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_json(request: Request) -> Any:
    """Return the JSON value of a request's body.

    Raises
    ------
    BodyError
        It is larger than ``MAX_BODY_BYTES``, whether its length was said before or not, or it is not there in time.
    InputError
        It is no JSON.
    """
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > MAX_BODY_BYTES:
        raise _too_large()
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MAX_BODY_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise BodyError(408, f"the body did not arrive within {BODY_SECONDS} seconds") from None
    return parse_json(bytes(content), source="the body")


def _too_large() -> BodyError:
    return BodyError(413, f"the body is larger than {MAX_BODY_BYTES:,} bytes; give the JSON of one movie")
