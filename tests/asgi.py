"""Requests to an ASGI application without a server or a socket, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answered:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def media(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]


def ask(
    app: ASGIApp,
    method: str,
    path: str,
    body: bytes | Mapping[str, Any] = b"",
    *,
    query: str = "",
    parts: int = 1,
    length: bool = True,
    **headers: str,
) -> Answered:
    """The answer to one request; ``headers`` are named with ``_`` for ``-``.

    Args:
        parts: in how many messages the body comes.
        length: whether the request says how long it is.
    """
    return anyio.run(lambda: asked(app, method, path, body, query=query, parts=parts, length=length, **headers))


async def asked(
    app: ASGIApp,
    method: str,
    path: str,
    body: bytes | Mapping[str, Any] = b"",
    *,
    query: str = "",
    parts: int = 1,
    length: bool = True,
    **headers: str,
) -> Answered:
    """As :func:`ask`, within an event loop."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("content_type", "application/json")
    given = {"host": "localhost", **({"content_length": str(len(body))} if length and body else {}), **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8012),
    }
    size = -(-len(body) // parts) or 1
    pieces = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    sent: list[Message] = []

    async def receive() -> Message:
        if not pieces:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start"
    assert [message.get("more_body", False) for message in rest] == [True] * (len(rest) - 1) + [False]
    found = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answered(start["status"], found, b"".join(message["body"] for message in rest))


def end(app: ASGIApp) -> None:
    """Tell an application that it ends, so that what it started ends as well."""

    async def told() -> None:
        messages: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            assert message["type"].endswith(".complete")

        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    anyio.run(told)
