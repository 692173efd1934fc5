"""The description of the API by OpenAPI 3.1, with examples.

Owns that document.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from b12kg.guideline import Guideline


def endpoint(guideline: Guideline, secured: bool) -> Callable[[Request], Awaitable[Response]]:
    """What answers with the document."""

    async def answer(_: Request) -> Response:
        return Response(b"{}", media_type="application/json")

    return answer
